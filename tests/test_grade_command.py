"""dpkit grade, as a teacher types it: what it writes, what it leaves alone, and what it says when
it cannot.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader")
pytest.importorskip("IPython")

import submissions
from submissions import DUAL, Case, hand_in

from dpkit.classroom import sandbox
from dpkit.cli import main
from dpkit.storage import claims

ROOT = Path(__file__).parents[1]
NO_SANDBOX = sandbox.why_not()


@pytest.fixture
def course(tmp_path):
    """A small course: (folder of submissions, folder of grades, grade(*words) -> exit code)."""
    hand_in(
        tmp_path / "in",
        [Case("ann", DUAL), Case("bob", DUAL, submissions.answers({"late-dual": "1 / 0"}))],
    )

    def grade(*words):
        words = ["--out", str(tmp_path / "grades"), "--source", str(submissions.SOURCES), *words]
        return main(["grade", str(tmp_path / "in"), *words, *(["--trust"] if NO_SANDBOX else [])])

    return tmp_path / "in", tmp_path / "grades", grade


def table(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {(line["student"], line["assignment"]): line for line in csv.DictReader(file)}


def test_grades_feedback_and_summary_are_written_and_nothing_is_done_twice(course, capsys):
    folder, grades, grade = course
    assert grade() == 0
    told = capsys.readouterr().err
    assert (
        "ann, dynamics_and_dual: 14 of 18, to read: wrong-labels" in told
        and "(graded before)" not in told
    )
    line = table(grades / "grades.csv")["bob", DUAL]
    assert (line["total"], line["max"], line["late-dual"], line["wrong-labels"]) == (
        "10",
        "18",
        "0",
        "",
    )
    assert line["to read"] == "wrong-labels"
    first = {path: path.read_bytes() for path in grades.rglob("*") if path.is_file()}
    assert grade() == 0 and capsys.readouterr().err.count("(graded before)") == 2
    assert {path: path.read_bytes() for path in grades.rglob("*") if path.is_file()} == first
    assert grade("--student", "bob") == 0
    told = capsys.readouterr().err
    assert "[1/1] bob" in told and "(graded before)" not in told and "ann" not in told
    assert table(grades / "grades.csv")["ann", DUAL]["total"] == "14"
    (folder / "bob" / f"{DUAL}.ipynb").write_text("{}")
    assert grade("--assignment", DUAL) == 0
    assert "not a notebook" in table(grades / "grades.csv")["bob", DUAL]["remark"]
    assert not (grades / "feedback" / "bob" / f"{DUAL}.html").exists()  # it told of another file
    assert grade("--student", "ann") == 0  # nor does what was known of that other file come back
    assert "not a notebook" in table(grades / "grades.csv")["bob", DUAL]["remark"]
    assert (
        grade("--student", "Zoe") == 2
        and "no student is called 'Zoe'; there are ann, bob" in capsys.readouterr().err
    )
    assert (
        grade("--assignment", "x") == 2 and "no assignment is called 'x'" in capsys.readouterr().err
    )


def test_a_folder_into_which_another_run_grades_is_refused(course, capsys):
    _, grades, grade = course
    with_claim = grades.with_name(f".grades.claimed-{claims.host_name()}-{os.getppid()}-1")
    with_claim.touch()
    assert grade() == 2 and "grades is being written by another run" in capsys.readouterr().err
    assert not grades.exists()
    with_claim.unlink()
    grades.with_name("file").write_text("mine")
    assert grade("--out", str(grades.with_name("file"))) == 2
    assert "file is no folder; name another folder" in capsys.readouterr().err


def test_a_teachers_points_on_written_answers_are_merged_and_never_overwritten(course, capsys):
    _, grades, grade = course
    grades.mkdir()
    written = grades / "written.csv"
    written.write_text(
        "student;assignment;question;points;comment\n"
        "ann;dynamics_and_dual;wrong-labels;2,5;<b>Well</b> argued\n"
        "ann;dynamics_and_dual;late-dual-1;1;\nbob;dynamics_and_dual;wrong-labels;5;\nbob;;;;\n"
    )
    before = written.read_bytes()
    assert grade() == 0
    told = capsys.readouterr().err
    assert (
        "careful: written.csv, line 3: there is no student 'ann' with a written answer "
        "'late-dual-1'" in told
    )
    assert "careful: written.csv, line 4: points must be a number in 0..4; got '5'" in told
    line = table(grades / "grades.csv")["ann", DUAL]
    assert (line["total"], line["wrong-labels"], line["to read"]) == ("16.5", "2.5", "")
    page = (grades / "feedback" / "ann" / f"{DUAL}.html").read_text()
    assert (
        "16.5 of 18 points" in page
        and "&lt;b&gt;Well&lt;/b&gt; argued" in page
        and "2.5 of 4 points" in page
    )
    assert list(table(grades / "to_read.csv")) == [("bob", DUAL)]
    assert written.read_bytes() == before
    written.write_text("name,points\n")
    assert (
        grade() == 2
        and "must have the columns student, assignment, question, points, comment"
        in capsys.readouterr().err
    )
    written.write_text(
        f"student,assignment,question,points,comment\nann,{DUAL},wrong-labels,2,{'x' * 200_000}\n"
    )
    assert (
        grade() == 2
        and "cannot be read as CSV (field larger than field limit" in capsys.readouterr().err
    )
    written.write_bytes("student,assignment,question,points,comment\nZoë,,,1,".encode("cp1252"))
    assert grade() == 2 and "save it as CSV in UTF-8" in capsys.readouterr().err
    assert table(grades / "grades.csv")["ann", DUAL] == line  # nothing is lost
    written.write_text(
        f"student,assignment,question,points,comment\nann,{DUAL},wrong-labels,2,\nann,{DUAL},wrong-labels,3,\n"
    )
    assert (
        grade() == 0
        and "written.csv, lines 2 and 3 are of one answer; the last counts"
        in capsys.readouterr().err
    )
    assert table(grades / "grades.csv")["ann", DUAL]["wrong-labels"] == "3"


def test_a_teacher_may_give_points_where_the_answers_own_cell_is_empty():
    from dpkit.classroom.tables import points_of

    step = {"role": "written", "answered": False}
    assert points_of(step, None, None) == 0 and points_of(step, None, (2.5, "found below")) == 2.5


def test_the_summary_blames_an_empty_answer_and_not_the_one_built_on_it():
    from dpkit.classroom.tables import add_points

    row = {"questions": {}, "max": 0, "total": 0, "to read": [], "messages": []}
    for question in ("means", "score"):
        step = {"name": f"{question}-1", "role": "test", "points": 1, "got": 0.0}
        add_points(
            row, step, {"failed": "your means raised NotImplementedError (line 4)"}, {"means"}
        )
    assert row["messages"] == [
        ("means", "not answered"),
        ("score", "your means raised NotImplementedError (line 4)"),
    ]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: None, "there is no folder"),
        (lambda folder: folder.mkdir(), "there is no submission in"),
        (lambda folder: (folder / "ann").mkdir(parents=True), "there is no submission in"),
        (
            lambda folder: (folder.mkdir(), (folder / "ann.ipynb").write_text("{}")),
            "a folder for each student",
        ),
    ],
)
def test_without_submissions_one_sentence_and_no_folder(tmp_path, capsys, make, told):
    make(tmp_path / "in")
    assert (
        main(
            [
                "grade",
                str(tmp_path / "in"),
                "--source",
                str(submissions.SOURCES),
                "--out",
                str(tmp_path / "grades"),
            ]
        )
        == 2
    )
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and told in said[0] and not (tmp_path / "grades").exists()


def test_what_was_handed_out_is_not_what_was_handed_in(tmp_path, capsys):
    hand_in(tmp_path, [Case(DUAL, DUAL)])
    assert (
        main(
            [
                "grade",
                str(tmp_path),
                "--source",
                str(submissions.SOURCES),
                "--out",
                str(tmp_path / "grades"),
            ]
        )
        == 2
    )
    assert "have the names of assignments" in capsys.readouterr().err


def test_links_and_loose_ends_in_a_half_made_course_are_rows(course, capsys):
    folder, grades, grade = course
    shutil.rmtree(folder / "ann")
    for name in ("link", "cat", ".git"):
        (folder / name).mkdir()
    # the solutions, no less
    (folder / "link" / f"{DUAL}.ipynb").symlink_to(submissions.SOURCES / f"{DUAL}.ipynb")
    (folder / ".git" / f"{DUAL}.ipynb").write_text("{}")
    (folder / "eve").mkdir()
    (folder / "eve" / DUAL).symlink_to(folder / "bob")  # another student's
    (folder / "link" / "=1+1.ipynb").write_text("{}")
    (folder / "dir" / f"{DUAL}.ipynb").mkdir(parents=True)
    (folder / "grades" / ".graded").mkdir(parents=True)  # earlier grades, and no student
    (folder / "bob" / ".graded").mkdir()  # a student who wants to be passed over
    (folder / "late.ipynb").write_text("{}")
    assert grade() == 0
    told = capsys.readouterr().err.splitlines()
    assert "careful: late.ipynb lies in no student's folder and was not graded" in told
    assert "careful: cat, nothing: no notebook was handed in" in told
    rows = table(grades / "grades.csv")
    assert (
        "not a file of its own" in rows["link", DUAL]["remark"]
        and rows["link", DUAL]["total"] == "0"
    )
    assert "not a file of its own" in rows["dir", DUAL]["remark"]
    assert rows["cat", ""]["remark"] == "no notebook was handed in" and len(rows) == 6
    assert "its folder is not one of its own but a link" in rows["eve", DUAL]["remark"]
    assert (rows["eve", DUAL]["total"], rows["eve", DUAL]["max"]) == ("0", "18")
    # a spreadsheet would take it for a formula
    assert "no such assignment" in rows["link", "'=1+1"]["remark"]


def test_a_folder_of_somebody_elses_is_left_alone(course, capsys):
    _, grades, grade = course
    grades.mkdir()
    (grades / "thesis.txt").write_text("years of work")
    assert grade() == 2 and "holds thesis.txt and no grades of ours" in capsys.readouterr().err
    assert [path.name for path in grades.iterdir()] == ["thesis.txt"]
    # the mark of a run that works there, or died, is nobody's file
    (grades / "thesis.txt").rename(grades / f".run.claimed-{claims.host_name()}-{os.getppid()}-1-1")
    assert grade() == 2 and "is being written by another run" in capsys.readouterr().err


def test_where_there_is_no_sandbox_one_line_says_why_and_names_trust(
    course, capsys, monkeypatch, tmp_path
):
    folder, grades, _ = course
    words = ["grade", str(folder), "--out", str(grades), "--source", str(submissions.SOURCES)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(words) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "sudo apt-get install bubblewrap, or add --trust" in told[0]
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    assert main(words) == 2
    told = capsys.readouterr().err.splitlines()
    assert (
        len(told) == 1
        and "No permissions to create new namespace" in told[0]
        and "--trust" in told[0]
    )
    assert not grades.exists()
    assert main([*words, "--trust"]) == 0
    assert table(grades / "grades.csv")["ann", DUAL]["total"] == "14"
    assert main([*words, "--trust", "--seconds", "0"]) == 2


def test_a_test_that_never_ends_is_ended_and_what_was_marked_before_it_counts(monkeypatch):
    from dataclasses import asdict

    from dpkit.classroom import marker_process

    monkeypatch.setattr(marker_process, "GRACE", 0)
    steps = [
        {"role": "test", "name": "a", "points": 1.0, "source": source}
        for source in ("0.5", "while True:\n    pass")
    ]
    with marker_process.Running() as running:
        job = {"limits": asdict(sandbox.Limits(total=8)), "trust": True, "hidden": []}
        results, remark, final = marker_process.run_marker(steps, job, running)
    assert list(results) == ["0"] and results["0"]["outputs"][0]["data"] == {"text/plain": "0.5"}
    assert remark == "the grading was ended after 8 seconds" and final


def test_an_unchanged_cell_of_the_assignment_may_take_as_long_as_a_setup_cell():
    from dpkit.classroom.merging import merge
    from dpkit.classroom.source import Cell

    cells = [Cell("plain", "look", "code", "contest(my_score, seeds)", "contest(my_score, seeds)")]
    for text, own in (("contest(my_score, seeds)", False), ("while True: pass", True)):
        (step,) = merge(cells, [{"kind": "code", "id": "look", "key": None, "source": text}])
        assert step["role"] == "student" and step["own"] == own


def test_a_fault_of_the_assignment_is_not_the_students(course, tmp_path, capsys):
    folder, grades, _ = course
    shutil.rmtree(folder / "bob")
    notebook = submissions.source(DUAL)
    submissions.cell_called(notebook, "setup")["source"] += "\nraise OSError('no such data')"
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / f"{DUAL}.ipynb").write_text(json.dumps(notebook))
    words = ["grade", str(folder), "--out", str(grades), "--source", str(tmp_path / "sources")]
    words += ["--trust"] if NO_SANDBOX else []
    assert main(words) == 1
    assert (
        "the assignment itself is at fault: the setup cell setup raised OSError: no such data"
        in capsys.readouterr().err
    )
    # once repaired, it will be graded
    assert main(words) == 1 and "(graded before)" not in capsys.readouterr().err


def test_ctrl_c_ends_everything_and_keeps_what_is_done(course, wait_until):
    folder, grades, _ = course
    hand_in(
        folder, [Case("eve", DUAL, submissions.answers({"late-dual": "while True:\n    pass"}))]
    )
    words = [
        "grade",
        str(folder),
        "--out",
        str(grades),
        "--source",
        str(submissions.SOURCES),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "dpkit", *words, *(["--trust"] if NO_SANDBOX else [])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    # at least one is done, and others are at work
    wait_until(lambda: list(grades.glob(".graded/*/*.json")))
    family = sandbox.below(process.pid)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert (
        process.returncode == 130
        and told.splitlines()[-1] == "dpkit: interrupted; the same command goes on from here"
    )
    wait_until(lambda: not any(one.is_running() for one in family))
    assert all(json.loads(path.read_text())["key"] for path in grades.glob(".graded/*/*.json"))
    assert not (grades / "grades.csv").exists()  # no table of half a class
