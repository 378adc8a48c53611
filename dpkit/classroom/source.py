"""An assignment's source notebook, read: which cell plays which role, and what a student gets to
see of it.

Plain nbgrader metadata says it, so nbgrader itself can grade the same file:
    setup    locked code, neither grade nor solution: runs before everything that needs it, in both
             processes
    answer   code with solution, no grade: the student's
    test     code with grade, no solution: points; may hold a hidden part; runs where no student
             code is
    written  text with grade and solution: read by the teacher
    teacher  tagged "teacher": the report's own cells; no student gets them
    plain    anything else: text, and code to look at things with
A question is all test and written cells of one name without its last number: dual-score-1 and
dual-score-2 are dual-score.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpkit.reports import notebooks
from dpkit.reports.parameters import Refused, read_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode


KERNEL = "python"
LIKE_MARKER = re.compile(r"\s*#+\W*(begin|end)\W+(hidden|solution)", re.I)


@dataclass(frozen=True)
class Cell:
    """One cell of the source.

    key:    the grade_id, or the cell's id where it has none.
    source: the teacher's.
    handed: as the student gets it.
    """

    role: str
    key: str
    kind: str  # "code" or "markdown"
    source: str
    handed: str
    points: float = 0.0

    @property
    def question(self) -> str:
        return question(self.key)


def question(key: str) -> str:
    return re.sub(r"-\d+$", "", key)


def source_folder(named: str | Path | None = None) -> Path:
    """The folder of the sources: the one named, else notebooks/assignments here, else that of the
    installed package.
    """
    here = Path("notebooks", "assignments")
    return Path(named or (here if here.is_dir() else own_folder()))


def own_folder() -> Path:
    """The folder of the assignments that come with dpkit."""
    return notebooks.folder() / notebooks.KINDS["assignments"]


def find_sources(folder: str | Path) -> dict[str, Path]:
    """stem -> file, of the assignments in a folder. Raises Refused if there are none."""
    found = {path.stem: path for path in sorted(Path(folder).glob("*.ipynb"))}
    if not found:
        raise Refused(
            f"there is no assignment in {folder}; name the folder with the source notebooks by "
            "--source"
        )
    return found


def read_source(path: Path) -> list[Cell]:
    """The cells of an assignment without the teacher's. Raises Refused with every mistake."""
    notebook = read_notebook(path)
    mistakes, cells = [], []
    for number, cell in enumerate(notebook["cells"]):
        marks = cell["metadata"].get("nbgrader") or {}
        role = role_of(cell)
        key = marks.get("grade_id") or cell.get("id") or f"cell-{number}"
        mistakes += [
            f"{path.name}, cell {key}: {mistake}" for mistake in _mistakes(cell, role, marks)
        ]
        if role == "teacher":
            continue
        try:
            text = handed(cell["source"], cell["cell_type"], role)
        except RuntimeError as error:  # nbgrader's, of a BEGIN without its END
            mistakes.append(f"{path.name}, cell {key}: {error}; every ### BEGIN needs its ### END")
            continue
        points = float(marks.get("points", 0)) if role in ("test", "written") else 0.0
        cells.append(Cell(role, key, cell["cell_type"], cell["source"], text, points))
    keys = [cell.key for cell in cells]
    mistakes += [
        f"{path.name}: two cells are called {key}; give each a grade_id of its own"
        for key in sorted({key for key in keys if keys.count(key) > 1})
    ]
    if not any(cell.points for cell in cells):
        mistakes.append(
            f"{path.name} gives no points; an assignment needs test cells (see the teacher's page)"
        )
    if mistakes:
        raise Refused(*mistakes)
    return cells


def role_of(cell: NotebookNode) -> str:
    if "teacher" in cell["metadata"].get("tags", []):
        return "teacher"
    marks = cell["metadata"].get("nbgrader") or {}
    grade, solution, code = marks.get("grade"), marks.get("solution"), cell["cell_type"] == "code"
    if grade and solution:
        return "written"
    if grade and code:
        return "test"
    if solution and code:
        return "answer"
    return "setup" if marks.get("locked") and code else "plain"


def _mistakes(cell, role, marks):
    """What would go wrong later, in words for whoever writes the assignment."""
    yield from _wrong_marks(cell, role, marks)
    if role in ("setup", "test"):
        try:
            ast.parse(cell["source"])
        except SyntaxError as error:
            yield (
                "setup and test cells must be plain Python without magics; line "
                f"{error.lineno}: {error.msg}"
            )
    yield from _given_away(cell["source"], role)


def _wrong_marks(cell, role, marks):
    """nbgrader's metadata, where it says what cannot be marked."""
    if role == "written" and cell["cell_type"] != "markdown":
        yield (
            "an answer that is read by the teacher must be a text cell; split code into an "
            "answer cell and a test cell"
        )
    points = marks.get("points")
    if role in ("test", "written") and not (isinstance(points, (int, float)) and points > 0):
        yield f"points must be a number above 0; got {points!r}"
    if role == "test" and not marks.get("locked"):
        yield "a test cell must be locked"
    if marks.get("task"):
        yield "a task cell gets no points here; make it a manually graded answer"
    if marks and marks.get("schema_version") != 3:
        yield f"nbgrader's schema_version must be 3; got {marks.get('schema_version')!r}"


def _given_away(source, role):
    """What students would see and should not."""
    if role != "test" and "BEGIN HIDDEN TESTS" in source:
        yield "hidden tests stand outside a test cell, where they would be given away"
    if role not in ("answer", "written") and "BEGIN SOLUTION" in source:
        yield "a solution stands outside an answer cell, where it would be given away"
    for number, line in enumerate(source.splitlines(), 1):
        marker = _meant_marker(line)
        if marker is not None and marker not in line:
            yield (
                f"line {number} must be ### {marker}; after {line.strip()!r} all would be "
                "handed out"
            )
    for what in ("SOLUTION", "HIDDEN TESTS"):
        if source.count(f"END {what}") > source.count(f"BEGIN {what}"):
            yield (
                f"there is an ### END {what} without its ### BEGIN, so what stands before it "
                "would be handed out"
            )
    if role == "plain" and re.search(r"\breport\.(check|figure|table|finish)\(", source):
        yield "a cell of the report needs the tag teacher, or it would be handed out"


def _meant_marker(line):
    """The marker that a line is, or is nearly; None for other lines."""
    like = LIKE_MARKER.match(line)
    if not like:
        return None
    return f"{like[1].upper()} {'SOLUTION' if like[2].lower() == 'solution' else 'HIDDEN TESTS'}"


def handed(source: str, kind: str, role: str) -> str:
    """A cell's text as nbgrader hands it out: without solutions, without hidden tests."""
    from nbformat.v4 import new_code_cell, new_markdown_cell
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    marks = {
        "nbgrader": {
            "grade": role in ("test", "written"),
            "solution": role in ("answer", "written"),
        }
    }
    cell = (new_code_cell if kind == "code" else new_markdown_cell)(source, metadata=marks)
    if role in ("answer", "written"):
        ClearSolutions().preprocess_cell(cell, {"language": KERNEL}, 0)
    if role == "test":
        ClearHiddenTests().preprocess_cell(cell, {}, 0)
    return unlinked(cell.source) if kind == "markdown" else cell.source


def unlinked(text: str) -> str:
    """Without links to the lessons, which lead nowhere from a student's folder."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
