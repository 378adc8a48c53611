"""Imports between the rooms of dpkit/ point only downwards, and what should be quick to import
loads little.
"""

import ast
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dpkit

PACKAGE = Path(dpkit.__file__).parent
# a room and those that it may import from, all of them further down
ROOMS = {
    "cli": "classroom reports experiments methods training nets storage",
    "classroom": "reports records storage",
    "teaching": "reports plots selectors scorers records",
    "experiments": "reports plots methods training nets data records storage",
    "reports": "storage",
    "plots": "records storage",
    "methods": "influence selectors scorers records storage",
    "training": "nets data records storage",
    "nets": "data records storage",
    "data": "records storage",
    "influence": "records storage",
    "selectors": "records storage",
    "scorers": "records storage",
    "records": "storage",
    "storage": "",
}
NUMERIC = {"numpy", "scipy", "numba", "sklearn"}
# what a room may load of other people's packages, where that is a promise
PACKAGES = {
    # torch: only where it is loaded already
    "storage": {"numpy", "platformdirs", "filelock", "psutil", "pydantic", "torch"},
    "records": {"numpy", "scipy"},
    "scorers": NUMERIC,
    "selectors": NUMERIC,
    "influence": NUMERIC,
    "methods": NUMERIC,
    "plots": {"numpy", "scipy", "matplotlib", "seaborn"},
}


def imports(path: Path) -> set[str]:
    """Full names of everything a file imports, inside functions too: {"numpy",
    "dpkit.records.Scores", ...}.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(path.relative_to(PACKAGE.parent).parts[: -node.level]) if node.level else []
            base += [node.module] if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def used(room: str) -> tuple[set, set]:
    """(rooms, packages of others) that the files of a room import."""
    names = {name for path in (PACKAGE / room).rglob("*.py") for name in imports(path)}
    ours = {name.split(".")[1] for name in names if name.startswith("dpkit.")} - {room}
    others = (
        {name.split(".")[0] for name in names}
        - {"dpkit", "lazy_loader"}
        - set(sys.stdlib_module_names)
    )
    return ours, others


def test_the_reader_of_imports_sees_every_form():
    assert {"numpy", "dpkit.records.scores.Scores"} <= imports(PACKAGE / "records" / "_checks.py")
    assert "pandas" in imports(PACKAGE / "experiments" / "results.py")  # inside a function
    assert used("records") == ({"storage"}, {"numpy", "scipy"})


def test_every_file_is_in_a_room():
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}
    rooms = {
        path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_downwards(room):
    allowed, order = set(ROOMS[room].split()), list(ROOMS)
    assert all(order.index(room) < order.index(other) for other in allowed)
    assert used(room)[0] == allowed, "change the picture in CONTRIBUTING.md too"


@pytest.mark.parametrize("room", PACKAGES)
def test_rooms_load_no_more_of_others_than_they_promise(room):
    assert used(room)[1] <= PACKAGES[room]


def test_the_picture_names_every_room():
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = page.split("## The rooms")[1].split("```")[1]
    named = [
        line.split("/")[0].strip() for line in picture.splitlines() if "/" in line.split("  ")[0]
    ]
    assert [name for name in named if name] == list(ROOMS)


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        ("import dpkit", "torch numpy pandas matplotlib papermill pydantic"),
        ("import dpkit.cli", "torch numpy pandas matplotlib papermill pydantic"),
        ("import dpkit.reports", "torch pandas matplotlib papermill pydantic"),
        ("import dpkit.methods.catalog", "torch pandas matplotlib papermill pydantic"),
        ("import dpkit.nets.catalog", "torch numpy pandas matplotlib papermill pydantic"),
        (
            "import dpkit.experiments.trials",
            "papermill jupyter_client nbconvert nbformat distributed dask matplotlib",
        ),
    ],
)
def test_importing_loads_no_more_than_it_needs(python, line, absent):
    done = python(f"import sys\n{line}\nprint([n for n in {absent.split()} if n in sys.modules])")
    assert done.stdout == "[]\n", done


# ---- names ---------------------------------------------------------------------------------------


def test_scorers_selectors_checks_and_networks_are_at_their_doors():
    doors = runpy.run_path(str(PACKAGE.parent / ".ci" / "doors.py"))
    for room in (dpkit.scorers, dpkit.selectors):
        names = list(doors["exported"](room.__name__.removeprefix("dpkit.")))
        assert room.__all__ == names, "run `make doors`"
        assert {*names} <= {*dpkit.__all__}, "run `make doors`"
    assert {*doors["networks"]()} <= {*dpkit.nets.__all__}, "run `make doors`"
    checks = ["Verdict", *doors["exported"](doors["CHECKS"])]
    assert dpkit.teaching.checks.__all__ == checks, "run `make doors`"


def test_every_public_name_resolves_and_rooms_are_modules():
    assert len(dpkit.__all__) == len(set(dpkit.__all__))
    modules = {name for name in dpkit.__all__ if isinstance(getattr(dpkit, name), ModuleType)}
    others = {"checks", "explorers", "two_point", "grids", "publishing", "results", "stages"}
    assert modules == {*ROOMS, *others, "sweeps", "trials"}


def test_names_and_modules_complete_in_a_notebook_and_in_an_editor():
    assert {"dual", "checks", "records", "store"} <= set(dir(dpkit))
    jedi = pytest.importorskip("jedi")
    for make in (jedi.Script, lambda code: jedi.Interpreter(code, [{"dpkit": dpkit}])):
        found = {one.name for one in make("import dpkit\ndpkit.ch").complete(2, 8)}
        assert "checks" in found
        found = {one.name for one in make("import dpkit\ndpkit.du").complete(2, 8)}
        assert "dual" in found
        (signature,) = make("import dpkit\ndpkit.dual(").get_signatures(2, 11)
        assert [one.name for one in signature.params] == ["dynamics", "window"]
    core = pytest.importorskip("IPython.core.completer")
    completer = core.IPCompleter(namespace={"dpkit": dpkit}, use_jedi=False)
    assert any("checks" in one for one in completer.complete("dpkit.ch")[1])


def test_a_wrong_name_is_told_what_there_is():
    with pytest.raises(AttributeError, match="dpkit has no 'duel'; it has: .*dual"):
        dpkit.duel  # noqa: B018


def test_names_and_modules_of_before_are_found_and_are_the_same(python):
    code = """
import sys, importlib
import dpkit
moved = set(dir(dpkit)) - set(dpkit.__all__)
assert len(moved) > 40
for old in moved:
    module = importlib.import_module("dpkit." + old)
    assert module is getattr(dpkit, old) is sys.modules[module.__name__], old
    assert module.__name__.count(".") > 1, old
from dpkit.checks.expect import __name__ as where
from dpkit.store import write_json
from dpkit.training import Recipe, train
from dpkit.influence import influence_vectors
from dpkit.catalog import METHODS
import dpkit.stages as stages, dpkit.two_point
assert stages.__spec__.name == "dpkit.experiments.stages"
print(where)
"""
    done = python(code)
    assert done.stdout == "dpkit.teaching.checks.expect\n", done.stderr
