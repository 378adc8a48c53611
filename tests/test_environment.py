"""pyproject.toml, environment.yml, CONTRIBUTING.md, CITATION.cff and .ci/setup say the same."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# where conda-forge calls a package otherwise
CONDA_NAME = {"torch": "pytorch", "playwright": "playwright-python"}


def split(requirement: str) -> tuple[str, str]:
    """'numpy >=2,<3' -> ('numpy', '>=2,<3')"""
    name, bounds = re.fullmatch(r"([\w-]+)\s*(.*)", requirement).groups()
    return name, bounds


def pip_requirements() -> dict[str, str]:
    extras = PROJECT["optional-dependencies"]
    wanted = (extras[name] for name in ("notebooks", "classroom", "scale", "dev"))
    return dict(split(r) for r in sum(wanted, PROJECT["dependencies"]))


def conda_environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def conda_requirements() -> dict[str, str]:
    return dict(split(r) for r in conda_environment()["dependencies"] if isinstance(r, str))


def test_conda_asks_for_the_same_packages_within_the_same_bounds():
    expected = {CONDA_NAME.get(name, name): bounds for name, bounds in pip_requirements().items()}
    assert conda_requirements() == expected | {"python": PROJECT["requires-python"], "pip": ""}


def test_conda_uses_conda_forge_alone_and_installs_dpkit_itself():
    environment = conda_environment()
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert [d for d in environment["dependencies"] if isinstance(d, dict)] == [
        {"pip": ["-e .[notebooks,classroom,scale,dev]"]}
    ]


@pytest.mark.parametrize("name", pip_requirements())
def test_dependency_is_bounded_on_both_sides_and_has_a_reason(name):
    assert re.fullmatch(r">=[\d.]+,<[\d.]+", pip_requirements()[name])
    assert re.search(
        rf"^- `{name}`: \w+", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_no_reason_is_given_for_what_is_not_a_dependency():
    reasons = re.findall(
        r"^- `([\w-]+)`: ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(reasons) == sorted(pip_requirements())


def test_citation_is_whole_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {
        "cff-version",
        "message",
        "title",
        "authors",
        "version",
        "license",
        "references",
    } <= citation.keys()
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", PROJECT["version"])
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= reference.keys()
        assert "doi" in reference or "identifiers" in reference


def test_changelog_starts_with_this_version():
    assert (
        re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
        == PROJECT["version"]
    )


def test_set_up_takes_the_same_pythons_as_the_package():
    script = (ROOT / ".ci/setup").read_text()
    lowest, below = re.search(r"\((3, \d+)\) <= sys.version_info < \((3, \d+)\)", script).groups()
    assert PROJECT["requires-python"] == f">={lowest},<{below}".replace(", ", ".")


@pytest.fixture
def set_up(tmp_path):
    """Runs .ci/setup in an empty project on a machine with no Python; returns its exit code and
    what it said.
    """
    shutil.copy(ROOT / ".ci/setup", tmp_path / "setup")
    (tmp_path / "pyproject.toml").write_text("")

    (tmp_path / "bin").mkdir()
    for tool in ("cksum", "cat"):  # all it needs before it has a Python
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))

    def run(**environment):
        command = [shutil.which("sh"), "setup"]
        env = {"PATH": str(tmp_path / "bin")} | environment
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        return done.returncode, done.stderr

    return run


def add_python3(tmp_path: Path, version: str) -> None:
    """A python3 on that machine which takes itself for another version."""
    path = tmp_path / "bin" / "python3"
    numbers = tuple(int(n) for n in version.split("."))
    path.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = {numbers}; $2"\n'
    )
    path.chmod(0o755)


posix = pytest.mark.skipif(os.name != "posix", reason="set-up is for POSIX systems")


@posix
def test_set_up_says_so_when_there_is_no_python(set_up):
    code, said = set_up()
    assert code == 1
    assert "3.11, 3.12 or 3.13" in said and "there is no python3" in said and "PYTHON=" in said


@posix
@pytest.mark.parametrize("version", ["3.10.13", "3.14.0"])
def test_set_up_refuses_a_python_out_of_range_by_its_number(set_up, tmp_path, version):
    add_python3(tmp_path, version)
    code, said = set_up()
    assert code == 1
    assert "python3 is " + version.rpartition(".")[0] in said


@posix
def test_set_up_refuses_a_named_python_that_does_not_start(set_up):
    code, said = set_up(PYTHON="nowhere/python3")
    assert code == 1
    assert "PYTHON=nowhere/python3 does not start" in said


def test_nothing_advises_a_package_name_that_is_not_ours_to_promise():
    """On a registry, dpkit may be somebody else's; in this folder it is this one."""
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "notebooks").rglob("*.ipynb"),
        *(ROOT / "notebooks").rglob("*.md"),
        *(ROOT / "dpkit").rglob("*.py"),
    ]
    found = [path for path in pages if re.search(r"pip install\W+dpkit\b", path.read_text("utf-8"))]
    assert not found
