"""Imports point only down the list in CONTRIBUTING.md, and what should be quick to import loads little."""

import ast
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import dpkit

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dpkit"
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NUMERIC = {"numpy", "scipy", "numba", "sklearn"}  # all that a pure function over arrays may stand on


def name_of(path: Path) -> str:
    """The name under which a file stands in the list: every file of scorers/ is "scorers"."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = {path: name_of(path) for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(set(FILES.values()) - {"__init__"})


@cache
def floors() -> list[tuple[int, list[str]]]:
    """The list as it stands in CONTRIBUTING.md, top to bottom: (floor, names on the line)."""
    block = re.search(r"^## The floors.*?^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]
    lines, floor = [], None
    for line in block.splitlines():
        number, names = re.match(r"(\d*)\s+((?:\w+/?, )*\w+/?)\s", line).groups()
        floor = int(number) if number else floor
        lines.append((floor, [name.strip("/") for name in names.split(", ")]))
    return lines


def place(name: str) -> int:
    """How far down the list a module stands."""
    return next(i for i, (_, names) in enumerate(floors()) if name in names)


def imports(path: Path) -> set[str]:
    """Full names of everything a file imports, inside functions too: {"numpy", "dpkit.records.Scores", ...}."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(path.relative_to(ROOT).parts[: -node.level]) if node.level else []
            base += [node.module] if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def inside(path: Path) -> set[str]:
    """The dpkit modules a file imports from, its own family left out."""
    return {full.split(".")[1] for full in imports(path) if full.startswith("dpkit.")} - {FILES[path]}


def outside(path: Path) -> set[str]:
    """The packages of others that a file imports."""
    return {full.split(".")[0] for full in imports(path)} - {"dpkit"} - set(sys.stdlib_module_names)


def files_of(*names):
    return [path for path, name in FILES.items() if name in names]


def test_the_reader_of_imports_sees_every_form():
    assert {"numpy", "dpkit.store"} <= imports(PACKAGE / "records.py")
    assert "dpkit.reports" in imports(PACKAGE / "__main__.py")  # inside a function
    assert {"records", "_choose"} & inside(PACKAGE / "selectors" / "top.py") == {"records"}


def test_every_module_has_one_place_in_the_list():
    listed = [name for _, names in floors() for name in names]
    assert len(listed) == len(set(listed))
    assert set(MODULES) - set(listed) == set(), "give these a floor in CONTRIBUTING.md"
    assert set(listed) - set(MODULES) == set(), "CONTRIBUTING.md lists modules that do not exist"


def test_the_list_goes_downwards():
    numbers = [floor for floor, _ in floors()]
    assert numbers == sorted(numbers, reverse=True) and numbers[-1] == 0


@pytest.mark.parametrize("path", [path for path, name in FILES.items() if name != "__init__"],
                         ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_only_down(path):
    for other in inside(path):
        assert place(other) > place(FILES[path]), f"{path.name} imports {other}, which does not stand below it"


@pytest.mark.parametrize("path", files_of("scorers", "selectors"), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_scorers_and_selectors_stand_on_records_and_numbers_alone(path):
    assert inside(path) <= {"records", "blocks", "vectors"} and outside(path) <= NUMERIC


@pytest.mark.parametrize("path", files_of("plots"), ids=lambda path: path.name)
def test_plots_stand_on_records_and_rows_alone(path):
    assert inside(path) <= {"records", "kinds"} and "torch" not in outside(path)


@pytest.mark.parametrize("path", files_of("store", "records", "blocks", "two_point"), ids=lambda path: path.name)
def test_the_ground_floor_needs_numpy_and_a_place_on_disk_with_locks(path):
    assert outside(path) <= {"numpy", "platformdirs", "filelock"}


@pytest.mark.parametrize("path", files_of(*(name for name in MODULES if name.startswith("report"))), ids=lambda path: path.name)
def test_reports_know_no_network(path):
    assert not outside(path) & {"torch", "torchvision"}
    assert all(name == "store" or name.startswith("report") for name in inside(path))


@pytest.mark.parametrize("line, absent", [
    ("import dpkit", "torch numpy pandas matplotlib papermill"),
    ("import dpkit.reports", "torch pandas matplotlib papermill"),
    ("import dpkit.records, dpkit.scorers, dpkit.selectors", "torch pandas matplotlib papermill"),
    ("import dpkit.trials", "papermill jupyter_client nbconvert nbformat distributed dask matplotlib"),
])
def test_importing_loads_no_more_than_it_needs(python, line, absent):
    done = python(f"import sys\n{line}\nprint([name for name in {absent.split()} if name in sys.modules])")
    assert done.stdout == "[]\n", done


def test_every_public_name_resolves_to_something_that_is_not_a_module():
    assert dpkit.__all__ == sorted(dpkit.__all__) == dir(dpkit)
    for name in dpkit.__all__:
        assert not isinstance(getattr(dpkit, name), ModuleType), name


def test_modules_are_attributes_and_a_wrong_name_is_told_what_there_is():
    assert dpkit.records.Scores is dpkit.Scores
    with pytest.raises(AttributeError, match="dpkit has no 'duel'; it has: .*dual"):
        dpkit.duel  # noqa: B018
