"""Points, and the tables they stand in: grades.csv and to_read.csv, which we write, and
written.csv, which the teacher does.
"""

import csv
import io
import math
from collections.abc import Collection, Sequence
from pathlib import Path

from dpkit import storage
from dpkit.classroom.marker import headline
from dpkit.classroom.source import question
from dpkit.reports.parameters import Refused

GRADES, TO_READ, WRITTEN = "grades.csv", "to_read.csv", "written.csv"
COLUMNS = ("student", "assignment", "total", "max", "to read", "remark")
ENDED = ("Ended", "Lost")  # what a cell or a test says when the student's process was ended
READING = ("student", "assignment", "question", "points", "comment")


def points_of(step: dict, done: dict | None, written: tuple | None) -> float | None:
    """The points of a test or a written answer, by nbgrader's rules; None while it is not read.

    done: what the marker said of a test, None if it did not get there.
    written: (points, comment) by the teacher.
    """
    from nbformat import from_dict
    from nbgrader.utils import determine_grade

    if step["role"] == "written":
        return written[0] if written else None if step["answered"] else 0.0
    if done is None:
        return 0.0
    cell = from_dict(
        {
            "cell_type": "code",
            "source": step["source"],
            "outputs": done["outputs"],
            "metadata": {"nbgrader": {"grade": True, "solution": False, "points": step["points"]}},
        }
    )
    return float(determine_grade(cell)[0])


def add_points(row: dict, step: dict, done: dict | None, empty: Collection[str]) -> None:
    """Enter a step's points into the student's row. empty: names of the answers that are as they
    were handed out.
    """
    name = question(step["name"])
    got, most = row["questions"].get(name, (0.0, 0.0))
    row["questions"][name] = (
        None if got is None or step["got"] is None else got + step["got"],
        most + step["points"],
    )
    row["max"] += step["points"]
    row["total"] += step["got"] or 0.0
    if step["got"] is None:
        row["to read"].append(step["name"])
    if done and done["failed"] and step["role"] == "test":
        # not that of an answer it is built on
        stub = name in empty and "raised NotImplementedError" in done["failed"]
        row["messages"].append((name, "not answered" if stub else headline(done["failed"])))


def remarks_on(steps: Sequence[dict], results: dict, remark: str) -> list[str]:
    """What a teacher should know besides the points. results: step -> what the marker said; remark:
    of the marking itself.
    """
    found = [remark] if remark else []
    # old records do not say which cells are there
    if not any(
        step.get("there", True) for step in steps if step["points"] or step["role"] == "setup"
    ):
        found.append(
            "no cell has the name of one of the assignment's, so written answers were not found: "
            "hand in the notebook that was handed out, not a copy of its text"
        )
    else:
        empty = [step["name"] for step in steps if not step["answered"]]
        found += [f"not answered: {', '.join(empty)}"] if empty else []
    ended = [
        f"{steps[int(number)]['name']}: {headline(done['failed'])}"
        for number, done in results.items()
        if any(one.get("ename") in ENDED for one in done["outputs"])
    ]
    return found + ended[:1]


def in_words(row: dict) -> str:
    # a terminal obeys some of them
    remark = "".join(letter if letter.isprintable() else " " for letter in row["remark"])
    if not row["questions"]:
        return remark
    still = f", to read: {', '.join(row['to read'])}" if row["to read"] else ""
    return f"{row['total']:g} of {row['max']:g}{still}" + (f"; {remark}" if remark else "")


def write_tables(out: Path, rows: Sequence[dict]) -> None:
    """grades.csv, one row for each student and assignment, and to_read.csv, a line for each answer
    still to be read.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["questions"]))
    lines = [
        [
            _safe(row["student"]),
            _safe(row["assignment"]),
            _number(row["total"]),
            _number(row["max"]),
            "; ".join(row["to read"]),
            _safe(row["remark"]),
            *(_number(row["questions"].get(name, (None, 0))[0]) for name in names),
        ]
        for row in rows
    ]
    _write(out / GRADES, [[*COLUMNS, *names], *lines])
    unread = [
        [
            row["student"],
            row["assignment"],
            name,
            "",
            "",
            f"feedback/{row['student']}/{row['assignment']}.html",
        ]
        for row in rows
        for name in row["to read"]
    ]
    _write(out / TO_READ, [[*READING, "where it stands"], *unread])


def _number(value) -> str:
    return "" if value is None else f"{value:g}"


def _safe(text) -> str:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _write(path, lines):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    with storage.whole_file(path) as file:
        # or Excel takes it for another encoding
        file.write(text.getvalue().encode("utf-8-sig", errors="replace"))


def lost_rows(path: Path, found: Collection) -> list[tuple[str, str]]:
    """(student, assignment) of the rows with points in an earlier grades.csv that none of the
    submissions found is of.
    """
    there = {(_safe(one.student), _safe(one.assignment)) for one in found}
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, ValueError, csv.Error):  # not there, or the teacher's own by now
        return []
    marked = [
        line
        for line in lines
        if any(points for name, points in line.items() if name not in COLUMNS)
    ]
    rows = [(line.get("student") or "", line.get("assignment") or "") for line in marked]
    return [row for row in rows if row not in there]


def read_written(path: Path, found: Collection, cells: dict) -> tuple[dict, list[str]]:
    """The teacher's points on written answers.

    cells: stem -> the source's cells.
    Semicolons and decimal commas, as some spreadsheets write them, are read too.
    Returns ((student, assignment, question) -> (points, comment), mistakes).
    Raises Refused if the file as a whole cannot be read: without it all points on written answers
    would be gone.
    """
    students, points, mistakes = {one.student for one in found}, {}, []
    said: dict[tuple, int] = {}
    worth = {
        (stem, cell.key): cell.points
        for stem, those in cells.items()
        for cell in those
        if cell.role == "written"
    }
    for number, line in enumerate(_written_lines(path), 2):
        student, stem, name, mark = ((line[column] or "").strip() for column in READING[:4])
        if not mark:  # not filled in yet
            continue
        place, most = (student, stem, name), worth.get((stem, name))
        if student not in students or most is None:
            mistakes.append(
                f"{path.name}, line {number}: there is no student {student!r} with a written "
                f"answer {name!r} in {stem!r}"
            )
            continue
        got = _points_in(mark)
        if not 0 <= got <= most:
            mistakes.append(
                f"{path.name}, line {number}: points must be a number in 0..{most:g}; got {mark!r}"
            )
            continue
        if place in points:
            mistakes.append(
                f"{path.name}, lines {said[place]} and {number} are of one answer; the last counts"
            )
        said[place] = number
        points[place] = got, (line["comment"] or "").strip()
    return points, mistakes


def _written_lines(path) -> list[dict]:
    """The lines of written.csv by column, none if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read ({error}); save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = list(reader)
    except csv.Error as error:
        raise Refused(
            f"{path} cannot be read as CSV ({error}); write it anew from {TO_READ}"
        ) from None
    lacking = [name for name in READING if name not in (reader.fieldnames or ())]
    if lacking:
        raise Refused(
            f"{path} must have the columns {', '.join(READING)}; it lacks {', '.join(lacking)}"
        )
    return lines


def _points_in(mark) -> float:
    """The number a teacher wrote, with a decimal point or comma; NaN if it is none."""
    try:
        return float(mark.replace(",", "."))
    except ValueError:
        return math.nan
