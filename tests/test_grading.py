"""Marks that student code cannot reach: a corpus of submissions, each with the points and the words
that it is to get.
"""

import html
import json
import re
import socket
import threading

import pytest

pytest.importorskip("nbgrader")
pytest.importorskip("IPython")

import submissions
from submission_answers import SUBMISSIONS
from submissions import ALL, CASES, DUAL, SANDBOXED, Case, added, hand_in, typical

from dpkit.classroom import grading, sandbox
from dpkit.classroom.source import read_source

NO_SANDBOX = sandbox.why_not()
WRITES_OUTSIDE = """
for path in (TARGET, "/x", "/usr/x", "/etc/x", "/dev/x", "/sandbox/library/dpkit/x", np.__path__[0] + "/x"):
    try:
        open(path, "w").write("x")
    except OSError as error:
        print("WRITING", error.strerror)
"""  # noqa: E501
CALLS_OUT = """
import socket
try:
    socket.create_connection(("127.0.0.1", PORT), 2)
except OSError as error:
    print("CALLING", type(error).__name__)
"""
LIMITS = sandbox.Limits(seconds=4, total=300, memory=2**30, processes=32)


@pytest.fixture(scope="module")
def harmful(tmp_path_factory):
    """Two cases that need to know of something outside: a file to write and a port to reach.
    (cases, target, caught)
    """
    target, caught = tmp_path_factory.mktemp("outside") / "written", []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            try:
                while True:
                    caught.append(server.accept())
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        writes = WRITES_OUTSIDE.replace("TARGET", repr(str(target)))
        calls = CALLS_OUT.replace("PORT", str(server.getsockname()[1]))
        yield (
            [
                Case(
                    "writes_outside",
                    DUAL,
                    added(writes, "setup"),
                    points=ALL,
                    shows="WRITING No such file",
                ),
                Case(
                    "calls_out",
                    DUAL,
                    added(calls, "setup"),
                    points=ALL,
                    shows="CALLING ConnectionRefused",
                ),
            ],
            target,
            caught,
        )


@pytest.fixture(scope="module")
def graded(harmful, tmp_path_factory):
    """(student, assignment) -> row of one grading of the whole corpus; the folder of the grades;
    the lines of progress.
    """
    folder, lines = tmp_path_factory.mktemp("course"), []
    cases = CASES + ([] if NO_SANDBOX else SANDBOXED + harmful[0])
    hand_in(folder / "handed_in", cases)
    rows = grading.grade(
        folder / "handed_in",
        out=folder / "grades",
        source=submissions.SOURCES,
        workers=2,
        limits=LIMITS,
        trust=bool(NO_SANDBOX),
        say=lines.append,
    )
    return {(row["student"], row["assignment"]): row for row in rows}, folder, lines


def row_of(graded, case):
    return graded[0][case.student, case.stem]


def pages(graded, case):
    return (graded[1] / "grades" / "feedback" / case.student / f"{case.stem}.html").read_text(
        encoding="utf-8"
    )


def record(graded, case):
    return json.loads(
        (graded[1] / "grades" / ".graded" / case.student / f"{case.stem}.json").read_text()
    )


def check(graded, case):
    row = row_of(graded, case)
    got = {name: points for name, (points, _) in row["questions"].items()}
    most = {name: points for name, (_, points) in row["questions"].items()}
    cells = read_source(submissions.SOURCES / f"{case.stem}.ipynb")
    written = {cell.question: None for cell in cells if cell.role == "written"}
    assert got == {**most, **written, **case.points}, row["messages"]
    assert row["total"] == sum(points or 0 for points in got.values()) and row["max"] == sum(
        most.values()
    )
    results = record(graded, case)["results"].values()
    assert case.says in "\n".join(done["failed"] or "" for done in results)
    assert case.shows in json.dumps([done["outputs"] for done in results])
    assert case.remark in row["remark"] and not row["unfinished"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.refused], ids=lambda case: case.student
)
def test_a_submission_gets_its_points_and_is_told_why(graded, case):
    check(graded, case)


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
@pytest.mark.parametrize("case", SANDBOXED, ids=lambda case: case.student)
def test_harmful_code_costs_only_its_own_question(graded, case):
    check(graded, case)


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_nothing_is_written_outside_and_nobody_is_called(graded, harmful):
    cases, target, caught = harmful
    for case in cases:
        check(graded, case)
    assert not target.exists() and not caught
    shown = json.dumps(record(graded, cases[0])["results"])
    assert shown.count("WRITING") == 7  # every try failed


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.refused and case.remark], ids=lambda case: case.student
)
def test_what_cannot_be_graded_is_a_row_with_a_remark(graded, case):
    row = row_of(graded, case)
    assert case.remark in row["remark"] and row["total"] == 0 and not row["questions"]
    assert not (graded[1] / "grades" / "feedback" / case.student).exists()


# ---- what is shown, and to whom ------------------------------------------------------------------


def test_typical_answers_to_every_assignment_get_their_points(tmp_path, tmp_path_factory):
    cases = [typical(stem) for stem in SUBMISSIONS]
    sources = submissions.quick_sources(tmp_path_factory.mktemp("sources"))
    hand_in(tmp_path / "handed_in", cases, sources)
    rows = grading.grade(
        tmp_path / "handed_in",
        out=tmp_path / "grades",
        source=sources,
        workers=2,
        limits=sandbox.Limits(seconds=60),
        trust=bool(NO_SANDBOX),
        say=lambda line: None,
    )
    got = {row["assignment"]: row["questions"] for row in rows}
    for case in cases:
        assert {
            name: points for name, (points, _) in got[case.stem].items() if points is not None
        } == case.points, case.stem


def test_no_page_shows_a_hidden_test_or_loads_anything(graded):
    from test_assignments import secrets

    grades = graded[1] / "grades"
    found = list(grades.glob("feedback/*/*.html"))
    assert len(found) > 20
    solutions, hidden, teacher = secrets(DUAL)
    for path in [*found, grades / "summary.html"]:
        text = path.read_text(encoding="utf-8")
        plain = html.unescape(re.sub(r"<[^>]+>", "", text))
        assert not [line for line in hidden | teacher if line in plain], path
        assert "default-src 'none'" in text
        assert not re.search(r"<(script|link|iframe|img[^>]+src=\"(?!data:))", text)


def test_the_summary_names_messages_and_no_student(graded):
    text = html.unescape((graded[1] / "grades" / "summary.html").read_text())
    assert (
        "the three highest scores are in rows 1, 2 and 3" in text and "the file is not JSON" in text
    )
    assert "handed in 2 times" in text and "no such assignment" in text
    for case in CASES:
        if "_" in case.student:  # the others are words of English, too
            assert case.student not in text
    assert "my_thesis" not in text  # a file may be named after its author


def test_html_and_pictures_in_a_students_text_stay_text():
    from nbformat.v4 import new_markdown_cell

    from dpkit.reports.page import cell_html

    text = (
        "a < b, <b>bold</b>\n\n<script>alert(1)</script>\n\n![x](/etc/hostname) "
        "![y](https://example.org/y.png) `x<y>`"
    )
    shown = cell_html(new_markdown_cell(text), ".", [], plain=True)
    assert (
        "<script" not in shown
        and "<b>" not in shown
        and "<img" not in shown
        and "data:" not in shown
    )
