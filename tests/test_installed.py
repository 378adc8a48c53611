"""dpkit outside its repository: a wheel, unpacked somewhere, does all that a folder of one's own
needs.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dpkit
from dpkit.cli import main
from dpkit.reports import notebooks

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """The folder in which the wheel is unpacked, as pip does it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves files beside pyproject.toml
    for name in ("dpkit", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    (source / "notebooks" / "reports").mkdir()  # what a reader leaves there is no part of dpkit
    (source / "notebooks" / "reports" / "mine.ipynb").write_text("{}")
    words = ["wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", folder]
    command = [sys.executable, "-m", "pip", *words, "--disable-pip-version-check"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def installed(unpacked, tmp_path):
    """installed(*words): the finished `dpkit words...` of the wheel, in an empty folder."""
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}

    def run(*words, module="dpkit"):
        command = [sys.executable, "-m", module, *words] if module else [sys.executable, *words]
        return subprocess.run(
            command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True
        )

    return run


def test_the_wheel_holds_each_notebook_and_preset_as_it_is_in_the_repository(unpacked):
    shipped = unpacked / "dpkit" / "notebooks"
    found = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*") if path.is_file()}
    assert found == set(notebooks.files())
    for path in (ROOT / "notebooks").rglob("*.*"):
        name = path.relative_to(ROOT / "notebooks")
        if path.suffix in (".ipynb", ".yaml", ".md") and ".ipynb_checkpoints" not in path.parts:
            assert (shipped / name).read_bytes() == path.read_bytes(), name


def test_the_version_is_that_of_the_package(installed, monkeypatch, capsys):
    code = "import sys, dpkit; print(dpkit.__version__, 'torch' in sys.modules)"
    assert installed("-c", code, module=None).stdout == f"{VERSION} False\n"

    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "dpkit unknown\n"
    assert "__version__" not in dpkit.__all__


def test_lessons_are_copied_from_the_package(installed, tmp_path):
    done = installed("lessons", "--to")
    assert done.returncode == 0, done
    target = tmp_path / "empty" / "notebooks"
    copied = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert copied == set(notebooks.files())
    assert set(done.stdout.splitlines()[:-1]) == {f"notebooks/{name}" for name in copied}


def test_lessons_are_listed_with_their_titles(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lessons"]) == 0
    listed = capsys.readouterr().out
    assert "  00_start_here              Start here: which training images can go?\n" in listed
    assert all(name in listed for kind in notebooks.KINDS for name in notebooks.titles(kind))
    assert not any(tmp_path.iterdir())


def test_a_readers_work_is_never_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lessons", "--to", "course"]) == 0
    target, count = tmp_path / "course", len(notebooks.files())
    (target / "02_dual_score.ipynb").write_text("my answers")
    (target / "00_start_here.ipynb").unlink()
    capsys.readouterr()
    assert main(["lessons", "--to", "course"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "02_dual_score.ipynb in course differs from dpkit's; nothing was written" in said.err
    assert not (target / "00_start_here.ipynb").exists()
    shutil.move(target / "02_dual_score.ipynb", target / "mine.ipynb")
    assert main(["lessons", "--to", "course"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "course/00_start_here.ipynb",
        "course/02_dual_score.ipynb",
        f"2 files written, {count - 2} were there already",
    ]
    assert (target / "mine.ipynb").read_text() == "my answers"
    assert main(["lessons", "--to", "course/mine.ipynb"]) == 2
    assert "course/mine.ipynb is no folder; name another folder" in capsys.readouterr().err


def test_assignments_are_made_from_those_of_the_package_where_none_lie_here(installed, tmp_path):
    pytest.importorskip("nbgrader")
    done = installed("assignments")
    assert done.returncode == 0, done
    assert done.stdout.endswith("made from the assignments that come with dpkit\n")
    made = (tmp_path / "empty" / "classroom" / "handout").iterdir()
    assert {path.name for path in made} == set(notebooks.titles("assignments"))


def test_a_report_finds_a_notebook_by_its_name(installed, tmp_path):
    pytest.importorskip("papermill")
    done = installed("report", "dynamics_and_dual", "--preset", "smoke")
    assert done.returncode == 0, done
    (folder,) = (tmp_path / "empty" / "reports").iterdir()
    assert folder.name == "dynamics_and_dual-smoke" and (folder / "report.html").exists()
    assert json.loads((folder / "result.json").read_text())["parameters"]["window"] == 3


def test_a_name_that_no_notebook_has_is_refused_with_the_nearest():
    assert notebooks.find("00_start_here") == ROOT / "notebooks" / "00_start_here.ipynb"
    assert notebooks.find("eeprune.ipynb").parent.name == "reproductions"
    assert notebooks.find("reproductions/eeprune") == notebooks.find("eeprune.ipynb")
    with pytest.raises(notebooks.Refused, match="did you mean '00_start_here'"):
        notebooks.find("00_start_her")


def test_a_file_of_ones_own_comes_before_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eeprune.ipynb").write_text("{}")
    assert notebooks.find("eeprune.ipynb") == tmp_path / "eeprune.ipynb"
    assert notebooks.find("eeprune") != tmp_path / "eeprune.ipynb"


def test_the_sandbox_shows_nothing_of_the_packages_solutions(installed):
    code = """
import subprocess
from dpkit.classroom import grading, sandbox
inside = sandbox.LIBRARY + "/dpkit/notebooks"
words = sandbox.command(["-c", f"import os; print(os.listdir({inside!r}), os.listdir({inside!r} + '/..'))"])
print(words[words.index(inside) - 1], *[folder.name for folder in grading.answer_folders()])
if sandbox.why_not() is None:
    print(subprocess.run(words, env=sandbox.environment(), capture_output=True, text=True).stdout)
else:
    print("[] 'notebooks'")
"""  # noqa: E501
    done = installed("-c", code, module=None)
    first, second, *_ = done.stdout.splitlines()
    assert first == "--tmpfs notebooks", done
    assert second.startswith("[] ") and "'notebooks'" in second
