"""One source for each assignment: what students get holds nothing of what they must not see."""

import ast
import json
import shutil

import pytest

pytest.importorskip("nbgrader")

import nbformat
from submissions import DUAL, SOURCES, cell_called, key_of, solved, source
from test_notebooks import FOLDER

from dpkit.classroom import handouts
from dpkit.classroom.source import find_sources, read_source, role_of
from dpkit.cli import main
from dpkit.reports.parameters import Refused

STEMS = sorted(path.stem for path in SOURCES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    out = tmp_path_factory.mktemp("course") / "classroom"
    assert handouts.make_assignments(SOURCES, out) == STEMS
    return out


def lines_of(text, begin, end):
    """The lines between two marks, without blank ones."""
    inside, found = False, set()
    for line in text.splitlines():
        inside = inside and end not in line
        if inside and line.strip():
            found.add(line.strip())
        inside = inside or begin in line
    return found


def secrets(stem):
    """(lines of solutions, of hidden tests, of the teacher's own cells), as far as they stand
    nowhere in the open.
    """
    cells = source(stem)["cells"]
    solutions = set().union(
        *(lines_of(cell["source"], "BEGIN SOLUTION", "END SOLUTION") for cell in cells)
    )
    hidden = set().union(
        *(lines_of(cell["source"], "BEGIN HIDDEN TESTS", "END HIDDEN TESTS") for cell in cells)
    )
    teacher = {
        line.strip()
        for cell in cells
        if role_of(cell) == "teacher"
        for line in cell["source"].splitlines()
    } - {""}
    open_cells = [cell.handed for cell in read_source(SOURCES / f"{stem}.ipynb")]
    in_the_open = {line.strip() for text in open_cells for line in text.splitlines()}
    return [found - in_the_open for found in (solutions, hidden, teacher)]


@pytest.mark.parametrize("stem", STEMS)
def test_no_line_of_a_solution_or_a_hidden_test_reaches_the_students_copy(classroom, stem):
    copied = nbformat.read(classroom / "handout" / stem / f"{stem}.ipynb", as_version=4)
    nbformat.validate(copied)
    given = {line.strip() for cell in copied.cells for line in cell.source.splitlines()}
    solutions, hidden, teacher = secrets(stem)
    seen = given & (solutions | hidden | teacher)
    assert not seen, (
        f"{stem}: students can read these lines of a solution, a hidden test or a teacher's cell: "
        f"{sorted(seen)}"
    )
    for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "reports.begin"):
        assert mark not in "\n".join(given), (
            f"{stem}: {mark} stands in the students' copy; spell the marks as the teachers' "
            "page does, and tag cells for the report `teacher`"
        )
    left = [cell.id for cell in copied.cells if cell.get("outputs") or cell.get("attachments")]
    assert not left, f"{stem}: clear the outputs and attachments of the cells {left}"


@pytest.mark.parametrize("stem", STEMS)
def test_the_tutorial_has_the_solutions_and_no_hidden_test(classroom, stem):
    tutorial = nbformat.read(classroom / "tutorials" / f"{stem}.ipynb", as_version=4)
    given = {line.strip() for cell in tutorial.cells for line in cell.source.splitlines()}
    solutions, hidden, teacher = secrets(stem)
    assert solutions <= given, (
        f"{stem}: the tutorial lacks these lines of the solutions: {sorted(solutions - given)}"
    )
    seen = given & (hidden | teacher)
    assert not seen, (
        f"{stem}: the tutorial shows these lines of a hidden test or a teacher's cell: "
        f"{sorted(seen)}"
    )
    texts = "\n".join(cell.source for cell in tutorial.cells if cell.cell_type == "markdown")
    assert "BEGIN SOLUTION" not in texts and "END SOLUTION" not in texts  # they would be headings


@pytest.mark.parametrize("stem", STEMS)
def test_a_student_can_tell_what_is_tested(stem):
    for cell in read_source(SOURCES / f"{stem}.ipynb"):
        if cell.role == "test":
            assert cell.handed.strip(), (
                f"{stem}: nothing of the test {cell.key} is left in the students' copy; put a "
                "comment before its hidden part"
            )
            parts = ast.walk(ast.parse(cell.source))
            bare = [
                ast.unparse(part)
                for part in parts
                if isinstance(part, ast.Assert) and part.msg is None
            ]
            assert not bare, (
                f"{stem}: give each assert of {cell.key} a message in the learner's words: {bare}"
            )


@pytest.mark.parametrize("stem", STEMS)
def test_no_link_of_the_copy_leads_out_of_the_students_folder(classroom, stem):
    for folder in ("handout", "tutorials"):
        (path,) = (classroom / folder).rglob(f"{stem}.ipynb")
        assert "](../" not in path.read_text(encoding="utf-8"), (
            f"{stem}: a link leads to ../, where students have nothing; write it [text](../file), "
            "which turns into text"
        )


@pytest.mark.parametrize("stem", STEMS)
def test_every_assignment_has_its_place_in_the_smoke_preset(stem):
    import yaml

    assert stem in yaml.safe_load((FOLDER / "presets" / "smoke.yaml").read_text()), (
        f"{stem}: add an entry to notebooks/presets/smoke.yaml"
    )


def test_nbgraders_own_validation_finds_what_fails_and_nothing_else(classroom, tmp_path):
    """As the student's Validate button does it, in a kernel."""
    from nbgrader.validator import Validator

    copied = json.loads((classroom / "handout" / DUAL / f"{DUAL}.ipynb").read_text())
    half = solved(copied, DUAL)
    cell_called(half, "late-dual")["source"] = cell_called(copied, "late-dual")["source"]
    (tmp_path / "half.ipynb").write_text(json.dumps(half))
    done = Validator().validate(str(tmp_path / "half.ipynb"))
    assert set(done) == {"failed"} and len(done["failed"]) == 2
    assert all("late_dual" in cell["source"] for cell in done["failed"])


# ---- the command ---------------------------------------------------------------------------------


def edited(folder, edit):
    """A folder of sources with one assignment, edited."""
    notebook = source(DUAL)
    edit(notebook)
    folder.mkdir()
    (folder / f"{DUAL}.ipynb").write_text(json.dumps(notebook))
    return str(folder)


def text(key, source):
    return lambda notebook: cell_called(notebook, key).update(source=source)


def marked(key, **marks):
    return lambda notebook: cell_called(notebook, key)["metadata"]["nbgrader"].update(marks)


def test_the_command_writes_a_folder_and_replaces_only_its_own(classroom, tmp_path, capsys):
    out = tmp_path / "all"
    shutil.copytree(classroom, out)
    one = edited(tmp_path / "sources", lambda notebook: None)
    # another course's, of which four would be gone
    assert main(["assignments", "--source", one, "--out", str(out)]) == 2
    assert "holds the handout of beta_sampling, early_exits" in capsys.readouterr().err
    assert sorted(path.name for path in (out / "handout").iterdir()) == STEMS
    out = tmp_path / "classroom"
    for _ in range(2):
        assert main(["assignments", "--source", one, "--out", str(out)]) == 0
        assert f"{out}/handout/{DUAL}/{DUAL}.ipynb" in capsys.readouterr().out
    assert sorted(path.name for path in (out / "handout").iterdir()) == [DUAL]
    before = (out / "handout" / DUAL / f"{DUAL}.ipynb").read_text()
    (out / "handed_in").mkdir()
    (out / "handed_in" / "work.ipynb").write_text("{}")
    assert main(["assignments", "--source", one, "--out", str(out)]) == 2
    assert (
        "handed_in/work.ipynb was added or changed since dpkit wrote the folder"
        in capsys.readouterr().err
    )
    assert (out / "handed_in" / "work.ipynb").exists() and (
        out / "handout" / DUAL / f"{DUAL}.ipynb"
    ).read_text() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["assignments", "--source", one, "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (out / "manifest.json").write_text("{")
    assert main(["assignments", "--source", one, "--out", str(out)]) == 2
    assert "manifest.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            text("setup", "%matplotlib inline"),
            "cell setup: setup and test cells must be plain Python",
        ),
        (text("setup", "### BEGIN SOLUTION\n1\n### END SOLUTION"), "a solution stands outside"),
        (
            text("setup", "### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS"),
            "hidden tests stand outside",
        ),
        (text("late-dual", "### BEGIN SOLUTION\n1"), "every ### BEGIN needs its ### END"),
        (text("late-dual-1", "### BEGIN HIDDEN TESTS\n1"), "every ### BEGIN needs its ### END"),
        (
            text("late-dual-1", "### begin hidden test\n1"),
            "line 1 must be ### BEGIN HIDDEN TESTS; after",
        ),
        (text("late-dual", "# BEGIN-SOLUTIONS\n1"), "line 1 must be ### BEGIN SOLUTION"),
        (
            text("late-dual-1", "1\n### END HIDDEN TESTS"),
            "an ### END HIDDEN TESTS without its ### BEGIN",
        ),
        (
            lambda notebook: [
                cell["metadata"].pop("tags")
                for cell in notebook["cells"]
                if "report." in "".join(cell["source"])
            ],
            "a cell of the report needs the tag teacher",
        ),
        (marked("late-dual-1", points=0), "points must be a number above 0; got 0"),
        (marked("late-dual-1", locked=False), "a test cell must be locked"),
        (marked("late-dual-1", task=True), "a task cell gets no points here"),
        (marked("late-dual-1", grade_id="setup"), "two cells are called setup"),
        (marked("late-dual-1", schema_version=1), "schema_version must be 3; got 1"),
        (
            lambda notebook: notebook.update(
                cells=[cell for cell in notebook["cells"] if not key_of(cell)]
            ),
            "gives no points",
        ),
    ],
)
def test_a_mistake_in_a_source_is_said_before_anything_is_written(tmp_path, capsys, edit, told):
    out = tmp_path / "classroom"
    assert (
        main(["assignments", "--source", edited(tmp_path / "sources", edit), "--out", str(out)])
        == 2
    )
    assert told in capsys.readouterr().err and not out.exists()


def test_without_sources_or_without_nbgrader_one_line_says_what_to_do(
    tmp_path, capsys, monkeypatch
):
    assert main(["assignments", "--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "there is no assignment in" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "nbgrader", None)
    monkeypatch.setitem(__import__("sys").modules, "IPython", None)
    for words, packages in (
        (["assignments"], "nbgrader"),
        (["grade", str(tmp_path)], "nbgrader ipython"),
    ):
        assert main(words) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and told[0].endswith(f"not installed here: pip install {packages}")


def test_a_source_with_two_mistakes_is_told_both(tmp_path):
    def edit(notebook):
        cell_called(notebook, "late-dual-1")["metadata"]["nbgrader"].update(points=-1)
        cell_called(notebook, "late-dual-2")["metadata"]["nbgrader"].update(locked=False)

    with pytest.raises(Refused) as refused:
        read_source(find_sources(edited(tmp_path / "sources", edit))[DUAL])
    assert len(refused.value.mistakes) == 2
