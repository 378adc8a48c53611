"""A folder of submissions -> grades.csv, a feedback page for each, and a summary. What is done is
not done again.

A submission fails alone, whatever is in it: it is marked in a process of its own, the tables are
written before any page, and each page is made in a process that may take a minute and no more.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path

import dpkit
from dpkit import storage
from dpkit.classroom import sandbox, tables
from dpkit.classroom.marker_process import Running, Stopped, run_marker
from dpkit.classroom.merging import Unusable, merge, read_submission
from dpkit.classroom.pages import summary_page, write_feedback
from dpkit.classroom.sandbox import Limits
from dpkit.classroom.source import find_sources, read_source, source_folder
from dpkit.classroom.submissions import DONE, find_submissions, loose_notebooks
from dpkit.reports import notebooks
from dpkit.reports.parameters import Refused

VERSION = 2  # of the marking; raised by hand when the same file would get other points


def grade(
    submissions: str | Path,
    *,
    out: str | Path = "grades",
    source: str | Path | None = None,
    student: str | None = None,
    assignment: str | None = None,
    workers: int = 1,
    trust: bool = False,
    limits: Limits | None = None,
    say: Callable[[str], object] = print,
) -> list[dict]:
    """Grade what lies in `submissions` and write grades.csv, to_read.csv, feedback/ and
    summary.html into `out`.

    source:  folder of the source notebooks; by default notebooks/assignments here, else those that
        come with dpkit.
    student: grade this one's again, and nobody else's.
    assignment: only this one.
    trust:   without a sandbox.
    limits:  sandbox.Limits.   say: called with each line of progress.
    Returns the rows of grades.csv.  Raises Refused; FileExistsError if another run grades into
    `out` now; OSError if the results cannot be written.
    """
    limits, out, folder = limits or sandbox.Limits(), Path(out), Path(submissions)
    storage.check_folder(out)
    source = source_folder(source)
    sources = find_sources(source)
    found = find_submissions(folder, sources)
    _check_asked(found, sources, student, assignment)
    _check_ours(out, found, folder)
    why = None if trust else sandbox.why_not()
    if why:
        raise Refused(why)
    cells = {stem: read_source(path) for stem, path in sources.items()}
    written, mistakes = tables.read_written(out / tables.WRITTEN, found, cells)
    with storage.claimed(out, inside=True):
        (out / DONE).mkdir(parents=True, exist_ok=True)
        hidden = [path for path in (folder, out, source, *answer_folders()) if path.is_dir()]
        job = {
            "limits": asdict(limits),
            "trust": trust,
            "hidden": [str(path.resolve()) for path in hidden],
        }
        asked = _of(found, student, assignment)
        todo = [one for one in asked if not one.refused]
        mark = partial(
            _graded, cells=cells, sources=sources, job=job, out=out, again=student is not None
        )
        rows = _mark_all(todo, mark, written, workers, say)
        for one in found:
            if one not in rows:
                rows[one] = _row(one, _unmarked(out, one), written)
        _fill_max(rows, cells)
        # before any page, which can take nothing from them then
        tables.write_tables(out, [rows[one] for one in found])
        mistakes += [
            f"{one.student}, {one.assignment or 'nothing'}: {one.refused}"
            for one in found
            if one.refused
        ]
        mistakes += _write_pages(out, rows, written)
        rows = [rows[one] for one in found]
        with storage.whole_file(out / "summary.html") as file:
            file.write(summary_page(rows).encode(errors="replace"))
        for mistake in [*loose_notebooks(folder), *mistakes]:  # last, where they are seen
            say(f"careful: {mistake}")
        return rows


def _of(found, student, assignment) -> list:
    """The submissions of this student and this assignment; None: of all."""
    return [
        one
        for one in found
        if assignment in (None, one.assignment) and student in (None, one.student)
    ]


def _fill_max(rows, cells):
    """What there was to reach, in the rows of those that were not marked."""
    for row in rows.values():
        row["max"] = row["max"] or sum(cell.points for cell in cells.get(row["assignment"], ()))


def _mark_all(todo, mark, written, workers, say) -> dict:
    """{submission: row}; as many are marked at once as there are workers."""
    rows = {}
    with ThreadPoolExecutor(max(1, workers)) as pool, Running() as running:
        waiting = {pool.submit(mark, one, running=running): one for one in todo}
        for count, future in enumerate(as_completed(waiting), 1):
            one, (record, fresh) = waiting[future], future.result()
            rows[one] = _row(one, record, written)
            say(
                f"[{count}/{len(todo)}] {one.student}, {one.assignment}: "
                f"{tables.in_words(rows[one])}" + ("" if fresh else " (graded before)")
            )
    return rows


def _unmarked(out, one) -> dict:
    """The record of a submission that is not marked now."""
    if one.refused:
        return {"refused": one.refused}
    return _before(out, one) or {"refused": "not graded yet"}


def answer_folders() -> list[Path]:
    """Folders of dpkit that hold answers, hidden from students' code: its notebooks, and its tests
    in a source tree.
    """
    root = Path(__file__).resolve().parents[2]
    tests = [root / "tests"] if (root / "pyproject.toml").is_file() else []
    return [notebooks.folder(), *tests]


def _check_asked(found, sources, student, assignment):
    students = list(dict.fromkeys(one.student for one in found))
    if student is not None and student not in students:
        raise Refused(f"no student is called {student!r}; there are {', '.join(students)}")
    if assignment is not None and assignment not in sources:
        raise Refused(f"no assignment is called {assignment!r}; there are {', '.join(sources)}")


def _check_ours(out, found, folder):
    names = storage.names_in(out) if out.is_dir() else set()
    if names - {tables.WRITTEN} and DONE not in names:
        raise Refused(f"{out} holds {min(names)} and no grades of ours; name another --out")
    lost = tables.lost_rows(out / tables.GRADES, found)
    if lost:
        raise Refused(
            f"{out / tables.GRADES} has the points of {' in '.join(lost[0])}"
            + (f" and {len(lost) - 1} more rows" if len(lost) > 1 else "")
            + f" for which nothing is in {folder}, and they would be lost; name another --out "
            "for another class, or "
            "move that file away if they are to go"
        )


# ---- one submission ------------------------------------------------------------------------------


def _place(out, one) -> Path:
    return out / DONE / one.student / f"{one.assignment}.json"


def _before(out, one) -> dict | None:
    """What is known of this submission from an earlier run; None if that is nothing, or damaged."""
    try:
        record = json.loads(_place(out, one).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and (
        "refused" in record or {"key", "steps", "results", "remark"} <= record.keys()
    )
    return record if whole else None


def _graded(one, *, cells, sources, job, out, again, running) -> tuple[dict, bool]:
    """(what was found out about a submission, whether just now): {"key", "steps", "results",
    "remark"} or {"refused"}.
    """
    try:
        return _marked(one, cells, sources, job, out, again, running)
    except (OSError, Stopped):  # a full disk, or Ctrl-C: nobody's answer
        raise
    except Exception as error:
        return {"refused": _surprise(error), "unfinished": True}, True


def _surprise(error) -> str:
    """A remark for what we did not think of: no submission is the end of another."""
    told = f"{type(error).__name__}: {str(error)[:200]}".encode(errors="replace").decode()
    return f"could not be graded ({told}); look at the file yourself"


def _marked(one, cells, sources, job, out, again, running) -> tuple[dict, bool]:
    try:
        theirs, data = read_submission(one.path)
    except Unusable as unusable:
        record = {"refused": str(unusable)}
        # in the place of what was known of an earlier file
        storage.write_json(_place(out, one), record)
        return record, True
    key = _key(data, sources[one.assignment].read_bytes(), job)
    before = _before(out, one)
    if before and before.get("key") == key and not again:
        return before, False
    steps = merge(cells[one.assignment], theirs)
    results, remark, final = run_marker(steps, job, running)
    if running.over:  # it was ended by Ctrl-C: half a result must not take a whole one's place
        raise Stopped
    record = {"key": key if final else None, "steps": steps, "results": results, "remark": remark}
    storage.write_json(_place(out, one), record)
    return record, True


def _key(*parts) -> str:
    parts = [
        part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        for part in parts
    ]
    hashes = [
        hashlib.sha256(part).hexdigest()
        for part in [*parts, f"{VERSION} {dpkit.__version__}".encode()]
    ]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


# ---- rows and pages ------------------------------------------------------------------------------


def _row(one, record, written) -> dict:
    try:
        return _row_of(one, record, written)
    except Exception as error:  # a record that was changed, perhaps
        return _row_of(one, {"refused": _surprise(error), "unfinished": True}, written)


def _row_of(one, record, written) -> dict:
    row = {
        "student": one.student,
        "assignment": one.assignment,
        "total": 0.0,
        "max": 0.0,
        "to read": [],
        "remark": "",
        "questions": {},
        "messages": [],
        "unfinished": False,
    }
    if "refused" in record:
        return {
            **row,
            "remark": str(record["refused"]),
            "unfinished": bool(record.get("unfinished")),
        }
    empty = {step["name"] for step in record["steps"] if not step["answered"]}
    for number, step in enumerate(record["steps"]):
        if step["points"]:
            done = record["results"].get(str(number))
            step["got"] = tables.points_of(
                step, done, written.get((one.student, one.assignment, step["name"]))
            )
            tables.add_points(row, step, done, empty)
    remark = "; ".join(tables.remarks_on(record["steps"], record["results"], record["remark"]))
    return {**row, "remark": remark, "unfinished": record["key"] is None, "record": record}


def _write_pages(out, rows, written) -> list[str]:
    """Write the feedback pages that are not there yet. Returns a sentence for each that could not
    be made as it should be.
    """
    mistakes = []
    for one, row in rows.items():
        record = row.pop("record", None)
        page = out / "feedback" / one.student / f"{one.assignment}.html"
        if record is None:
            page.unlink(missing_ok=True)  # it told of an earlier file
            continue
        comments = {
            name: comment
            for (student, stem, name), (_, comment) in written.items()
            if (student, stem) == (one.student, one.assignment)
        }
        mark = _key(row, comments, record["results"])
        if page.is_file() and (_before(out, one) or {}).get("page") == mark:
            continue
        why = write_feedback(page, row, record["steps"], record["results"], comments)
        if why is None:
            storage.write_json(_place(out, one), {**record, "page": mark})
        else:  # tried again next time
            mistakes.append(
                f"{one.student}, {one.assignment}: the feedback page holds the points alone, as "
                f"{why}"
            )
    return mistakes
