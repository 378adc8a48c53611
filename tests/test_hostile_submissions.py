"""Whatever is handed in, every student has a row; and no page holds what the student did not
write.
"""

import csv
import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("nbgrader")
pytest.importorskip("IPython")

from dpkit.classroom import grading, pages, sandbox
from dpkit.cli import main

NO_SANDBOX = sandbox.why_not()
TASK = "task"
SECRET = "the-hidden-number-is-417"


def cell(kind, source, key=None, **more):
    marks = (
        {}
        if key is None
        else {
            "nbgrader": {
                "schema_version": 3,
                "grade_id": key,
                "grade": "points" in more,
                "locked": more.get("locked", False),
                "solution": more.get("solution", False),
                "points": more.get("points", 0),
                "task": False,
            }
        }
    )
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {
        "cell_type": kind,
        "id": key or f"plain-{abs(hash(source)) % 10**6}",
        "metadata": marks,
        "source": source,
        **code,
    }


def notebook(*cells, **more):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


SOURCE = notebook(
    cell("code", "import numpy as np", "setup", locked=True),
    cell(
        "code",
        "### BEGIN SOLUTION\ndef answer():\n    return 'yes'\n### END SOLUTION",
        "answer",
        solution=True,
    ),
    cell(
        "code",
        f"found = answer()\nassert found == 'yes', f'expected yes; got {{found}}'\n### BEGIN "
        f"HIDDEN TESTS\nassert '{SECRET}'\n### END HIDDEN TESTS",
        "answer-1",
        points=2,
        locked=True,
    ),
    cell(
        "markdown",
        "### BEGIN SOLUTION\nBecause. Marking: a reason.\n### END SOLUTION",
        "why",
        points=1,
        solution=True,
    ),
)
RIGHT = "def answer():\n    return 'yes'"


def handed_in(code=RIGHT, text="Because.", *more, **fields):
    return json.dumps(
        notebook(cell("code", code, "answer"), cell("markdown", text, "why"), *more, **fields)
    )


def changed(**fields):
    """A right one whose first cell has these fields."""
    made = json.loads(handed_in())
    made["cells"][0] |= fields
    return json.dumps(made)


def deep(levels, inside="1"):
    return "[" * levels + inside + "]" * levels


def reading(*names):
    """Every way we know to ask for a file from a text."""
    ways = [
        "!![x]({0})",
        "![x]({0})",
        "!!![x](<{0}>)",
        "![x][r]\n\n[r]: {0}",
        '<img src="{0}">',
        "<iframe src={0}></iframe>",
        '<object data="{0}"></object>',
        "<embed src={0}>",
        "<link rel=stylesheet href={0}>",
        "[x](file://{0})",
        "<style>@import url({0})</style>",
        "<svg><image href={0}></svg>",
        r"$\input{{{0}}}$",
        "![x](file://{0})",
        "![x](attachment:{0})",
        "{{% include '{0}' %}}",
        "%load {0}",
        r"$\text{{<img src={0}>}}$",
        "## <video title='>' src={0} onloadstart=alert(1)>",
        "[x](&#102;ile://{0})",
    ]
    return "\n\n".join(way.format(name) for way in ways for name in names)


PRINTS_PICTURES = """
from IPython.display import display
for _ in range(60):
    display({"image/png": "A" * 1_000_000, "text/html": "<img src=/etc/hostname>", "text/markdown": "!![x](/etc/hostname)",
             "image/svg+xml": "<svg><image href='/etc/hostname'/></svg>", "text/plain": "x"}, raw=True)
"""  # noqa: E501
BOMBS = "\n\n".join(["a" + " " * 20_000 + "b", "[" * 9_000, r"\begin{a}" * 1_000])
GRADED = {  # student -> (what is handed in, points, what stands in the row's remark)
    "honest": (handed_in(), "2", ""),
    "embeds": (
        handed_in(RIGHT, reading("sources/task.ipynb", "./in/honest/task.ipynb", "ABSOLUTE")),
        "2",
        "",
    ),
    "embeds_more": (
        handed_in(
            RIGHT,
            "Great!![image.png](attachment:image.png)",
            cell("raw", "!![x](sources/task.ipynb)"),
            cell("markdown", "# !![x](sources/task.ipynb)"),
        ),
        "2",
        "",
    ),
    "attached": (changed(attachments={"image.png": {"image/png": 3}}), "2", ""),
    "half_a_pair": (handed_in("def answer():\n    return '\\ud800'"), "0", ""),
    "half_in_error": (handed_in("def answer():\n    raise ValueError('\\udfff' * 3)"), "0", ""),
    "half_printed": (handed_in(f"print('\\ud800 \\udc00')\n{RIGHT}"), "2", ""),
    "half_in_file": (handed_in(f"{RIGHT}  # \ud800", "Because \udfff."), "2", ""),
    "half_in_names": (changed(cell_type="code\ud800", id="\udfff"), "0", "not answered: answer"),
    "half_ends_it": (
        handed_in(
            "def answer():\n    class \u00c4(BaseException): pass\n    raise \u00c4('\\ud83d')"
        ),
        "0",
        "",
    ),
    "nothings": (handed_in(f"{RIGHT}\n\x00", "Be\x00cause."), "0", ""),
    "nothing_said": (handed_in("print('\\0')\ndef answer():\n    return '\\0'"), "0", ""),
    "lines": (
        handed_in("def answer():\n    return 'a\\u2028b\\x85c\\u2029d\\x0ce\\x1cf\\rg\\nh'"),
        "0",
        "",
    ),
    "terminal": (
        handed_in(
            "print('\\x1b]0;owned\\x07')\ndef answer():\n    raise ValueError('\\x1b]0;owned\\x07')"
        ),
        "0",
        "",
    ),
    "ends_it": (
        handed_in("def answer():\n    import os\n    os._exit(0)"),
        "0",
        "answer-1: your answer ended the process",
    ),
    "long_line": (handed_in(f"print('x' * 199_000)\n{RIGHT}"), "2", ""),
    "pictures": (
        handed_in(
            PRINTS_PICTURES + RIGHT, "x", *[cell("code", PRINTS_PICTURES) for _ in range(20)]
        ),
        "2",
        "",
    ),
    "bombs": (handed_in(RIGHT, BOMBS), "2", ""),
    "nested": (
        handed_in(
            RIGHT, "> " * 3000 + "x\n\n" + "- " * 3000 + "x\n\n$" + "{" * 5000 + "$" + "(" * 3000
        ),
        "2",
        "",
    ),
    "deep_metadata": (
        changed(metadata={"nbgrader": {"grade_id": "answer"}, "x": json.loads(deep(400))}),
        "2",
        "",
    ),
    "odd_outputs": (changed(outputs=[{"output_type": 3}, 7, None], execution_count="x"), "2", ""),
}
REFUSED = {  # student -> (what is handed in, what stands in the row's remark)
    "format_3": (handed_in(nbformat=3), "not a notebook in format 4"),
    "format_text": (handed_in(nbformat="4"), "in format 4"),
    "format_list": (handed_in(nbformat=[4]), "in format 4"),
    "no_cells": (handed_in(cells={}), "in format 4"),
    "deep": ('{"nbformat": 4, "metadata": {}, "cells": ' + deep(100_000) + "}", "not JSON"),
    "deep_cell": (handed_in(cells=[json.loads(deep(500))]), "not a whole notebook"),
    "number_cell": (handed_in(cells=[3]), "not a whole notebook"),
    "null_source": (changed(source=None), "not a whole"),
    "deep_source": (changed(source=json.loads(deep(500))), "not a whole notebook"),
    "binary": ("\x00\x01\x02", "not JSON"),
    "empty_file": ("", "not JSON"),
    "number": ("9" * 5000, "not JSON"),
}
ODD = {  # graded, with the metadata passed over
    "list_metadata": changed(metadata=[1]),
    "text_marks": changed(metadata={"nbgrader": "answer"}),
    "deep_id": changed(id=json.loads(deep(500))),
    "list_key": changed(metadata={"nbgrader": {"grade_id": ["answer"]}}),
    "odd_kernel": handed_in(
        metadata={
            "kernelspec": {"name": json.loads(deep(500)), "language": 7},
            "language_info": [1],
        }
    ),
}


def rows(grades, name="grades.csv"):
    with open(grades / name, encoding="utf-8-sig", newline="") as file:
        return {line["student"]: line for line in csv.DictReader(file)}


def course(folder, students):
    """Sources and submissions in `folder`; returns grade(*words) -> exit code, run from there."""
    (folder / "sources").mkdir()
    (folder / "sources" / f"{TASK}.ipynb").write_text(json.dumps(SOURCE))
    for student, text in students.items():
        (folder / "in" / student).mkdir(parents=True)
        text = text.replace("ABSOLUTE", str(folder / "sources" / f"{TASK}.ipynb"))
        (folder / "in" / student / f"{TASK}.ipynb").write_text(
            text, encoding="utf-8", errors="surrogatepass"
        )

    def grade(*words, given="in", out="grades"):
        return main(
            [
                "grade",
                given,
                "--source",
                "sources",
                "--out",
                out,
                "--workers",
                "2",
                *words,
                *(["--trust"] if NO_SANDBOX else []),
            ]
        )

    return grade


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    students = {name: given[0] for name, given in {**GRADED, **REFUSED}.items()} | ODD
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(pages, "SECONDS", 10)
        # nothing of this is the assignment's or the machine's fault
        assert course(folder, students)() == 0
    return folder


def test_every_student_has_a_row(graded):
    assert {*rows(graded / "grades")} == {*GRADED, *REFUSED, *ODD}
    assert {*rows(graded / "grades", "to_read.csv")} <= {*GRADED, *ODD}
    assert (graded / "grades" / "summary.html").stat().st_size > 1000


@pytest.mark.parametrize("student", GRADED)
def test_a_hostile_submission_gets_its_points_and_a_page(graded, student):
    row = rows(graded / "grades")[student]
    assert row["answer"] == GRADED[student][1], row
    assert GRADED[student][2] in row["remark"]
    page = (graded / "grades" / "feedback" / student / f"{TASK}.html").read_text(encoding="utf-8")
    assert f"{student}: {TASK}" in page and f"{float(row['total']):g} of 3 points" in page


@pytest.mark.parametrize("student", REFUSED)
def test_what_is_no_notebook_is_a_row_with_its_reason(graded, student):
    row = rows(graded / "grades")[student]
    assert REFUSED[student][1] in row["remark"] and row["total"] == "0"


@pytest.mark.parametrize("student", ODD)
def test_metadata_of_the_wrong_kind_does_not_stop_the_grading(graded, student):
    assert rows(graded / "grades")[student]["answer"] == "2"


def test_no_page_holds_another_file_or_an_address_of_one(graded):
    import base64

    from test_report_page import tags

    # at each place in base64
    pieces = [base64.b64encode(SECRET.encode()[i : i + 9]).decode() for i in range(3)] + [SECRET]
    for page in (graded / "grades" / "feedback").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not [piece for piece in pieces if piece in text], page
        for tag, attributes in tags(text.partition("<main>")[2]):
            assert tag not in (
                "script",
                "iframe",
                "object",
                "embed",
                "link",
                "style",
                "svg",
                "base",
                "form",
            ), page
            address = attributes.get("src", attributes.get("href", "#"))
            assert address.startswith(("#", "data:image/png;base64,AAAA")), page


def test_pages_are_no_larger_than_what_a_notebook_may_show(graded):
    page = graded / "grades" / "feedback" / "pictures" / f"{TASK}.html"
    assert (
        page.stat().st_size < 40_000_000
        and "the notebook showed more than fits a page" in page.read_text()
    )


# ---- the tables come first -----------------------------------------------------------------------


@pytest.fixture
def two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return course(tmp_path, {"ann": handed_in(), "bob": handed_in()}), tmp_path / "grades"


@pytest.mark.parametrize("how", ["raises", "dies", "takes_hours", "too_deep"])
def test_a_page_that_cannot_be_made_leaves_all_points_and_every_other_page(
    two, monkeypatch, capsys, how
):
    import os
    import time

    make, (grade, grades) = pages.feedback_page, two

    def made(row, *others):
        # the table is there by now
        assert rows(grades)["ann"]["total"] == rows(grades)["bob"]["total"] == "2"
        if row["student"] == "ann":
            {
                "raises": lambda: 1 / 0,
                "dies": lambda: os._exit(11),
                "takes_hours": lambda: time.sleep(3600),
                "too_deep": lambda: (lambda again: again(again))(lambda again: again(again)),
            }[how]()
        return make(row, *others)

    monkeypatch.setattr(pages, "feedback_page", made)
    monkeypatch.setattr(pages, "SECONDS", 2 if how == "takes_hours" else 60)
    assert grade() == 0
    told = capsys.readouterr().err
    why = (
        "making it took longer than 2 seconds"
        if how == "takes_hours"
        else "what was handed in cannot be shown"
    )
    assert f"careful: ann, task: the feedback page holds the points alone, as {why}" in told
    page = (grades / "feedback" / "ann" / f"{TASK}.html").read_text()
    assert "2 of 3 points" in page and why in page
    assert '<span class="nf">answer' in (grades / "feedback" / "bob" / f"{TASK}.html").read_text()
    monkeypatch.setattr(pages, "feedback_page", make)
    assert grade() == 0 and "careful" not in capsys.readouterr().err  # tried again, and whole now
    assert '<span class="nf">answer' in (grades / "feedback" / "ann" / f"{TASK}.html").read_text()


def test_a_fault_of_ours_in_one_submission_is_a_row_and_not_the_end(two, monkeypatch, capsys):
    grade, grades = two
    merge = grading.merge

    def merged(cells, theirs):
        if "'no'" in theirs[0]["source"]:
            raise LookupError("something nobody thought of \ud800")
        return merge(cells, theirs)

    Path("in", "bob", f"{TASK}.ipynb").write_text(handed_in("def answer():\n    return 'no'"))
    monkeypatch.setattr(grading, "merge", merged)
    assert grade() == 1
    assert (
        "could not be graded (LookupError: something nobody thought of ?)"
        in rows(grades)["bob"]["remark"]
    )
    assert (
        rows(grades)["ann"]["total"] == "2"
        and "bob, task: could not be graded" in capsys.readouterr().err
    )


def test_a_damaged_record_of_earlier_grades_is_nobody_elses_end(two, capsys):
    grade, grades = two
    assert grade() == 0
    place = grades / ".graded" / "ann" / f"{TASK}.json"
    for text in ("", '"refused"', '{"key": 1}', "[" * 100_000):
        place.write_text(text)
        assert grade("--assignment", TASK, "--student", "bob") == 0
        assert (
            rows(grades)["ann"]["remark"] == "not graded yet"
            and rows(grades)["bob"]["total"] == "2"
        )
    place.write_text('{"key": 1, "steps": [3], "results": 7, "remark": ""}')
    assert (
        grade("--student", "bob") == 1
        and "could not be graded (TypeError" in rows(grades)["ann"]["remark"]
    )
    assert grade() == 0 and rows(grades)["ann"]["total"] == "2"  # made again


# ---- grades of others ----------------------------------------------------------------------------


def test_grades_of_another_class_are_not_replaced(two, capsys):
    grade, grades = two
    assert grade() == 0
    before = (grades / "grades.csv").read_bytes()
    Path("other", "zoe").mkdir(parents=True)
    Path("other", "zoe", f"{TASK}.ipynb").write_text(handed_in())
    assert grade(given="other") == 2
    told = capsys.readouterr().err
    assert (
        "grades/grades.csv has the points of ann in task and 1 more rows for which nothing is in "
        "other" in told
    )
    assert "name another --out for another class, or move that file away" in told
    assert (grades / "grades.csv").read_bytes() == before
    assert grade(given="other", out="others") == 0 and rows(Path("others"))["zoe"]["total"] == "2"
    (grades / "grades.csv").rename("old.csv")
    assert grade(given="other") == 0 and {*rows(grades)} == {"zoe"}


# ---- the sandbox ---------------------------------------------------------------------------------

WRITABLE = """
import os
for top in ("/proc", "/sys"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                continue
            if "/fd/" not in path:  # the pipes that it was started with
                print(path)
print(len(os.listdir("/proc")) > 20, os.access("/proc/self/stat", os.R_OK))
"""


def inside(code):
    words = sandbox.command(["-c", code])
    return subprocess.run(
        words, env=sandbox.environment(), capture_output=True, text=True, timeout=120
    )


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_nothing_of_the_kernel_is_writable_in_the_sandbox():
    assert inside(WRITABLE).stdout == "True True\n"


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
@pytest.mark.parametrize(
    "command",
    [
        "mount -o remount,rw /proc",
        "umount /proc",
        "unshare -rm mount -o remount,rw /proc",
        "unshare -rmpf mount -t proc none /proc",
    ],
)
def test_nobody_gets_a_proc_to_write_to(command):
    done = inside(
        f"import os; print(os.system({command!r} + '; echo core > /proc/sys/kernel/core_pattern') "
        "== 0)"
    )
    assert done.stdout == "False\n", done
