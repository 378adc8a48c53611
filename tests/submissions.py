"""Submissions as students hand them in, made by editing the students' copy, and what each is to
get.

The full dozen and more is about one assignment, in CASES. Of every one there are three in
submission_answers, whose tests run without a sandbox (test_assignment_sources); the typical wrong
one is also graded as if it had been handed in.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from submission_answers import SUBMISSIONS

from dpkit.classroom.handouts import student_copies
from dpkit.classroom.source import find_sources, question
from dpkit.reports.parameters import parameters_for

SOURCES = Path(__file__).parents[1] / "notebooks" / "assignments"
DUAL = "dynamics_and_dual"


def source(stem) -> dict:
    notebook = json.loads((SOURCES / f"{stem}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def key_of(cell):
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


def solved(copied, stem) -> dict:
    """The students' copy with the teacher's solutions in it."""
    solutions = {
        key_of(cell): cell["source"]
        for cell in source(stem)["cells"]
        if cell["metadata"].get("nbgrader", {}).get("solution")
    }
    notebook = copy.deepcopy(copied)
    for cell in notebook["cells"]:
        cell["source"] = solutions.get(key_of(cell), "".join(cell["source"]))
    return notebook


def cell_called(notebook, key) -> dict:
    return next(cell for cell in notebook["cells"] if key_of(cell) == key)


def code(text) -> dict:
    return {
        "cell_type": "code",
        "id": f"added-{abs(hash(text)) % 10**8}",
        "metadata": {},
        "source": text,
        "outputs": [],
        "execution_count": None,
    }


# ---- edits: each takes the solved notebook and the students' copy, and returns what is handed in:


def right(notebook, copied):
    return notebook


def empty(notebook, copied):
    return copied


def answers(texts):
    """These answers instead of the right ones: grade_id -> source."""

    def edit(notebook, copied):
        for key, text in texts.items():
            cell_called(notebook, key)["source"] = text
        return notebook

    return edit


def without(*keys):
    """Cells deleted."""

    def edit(notebook, copied):
        notebook["cells"] = [cell for cell in notebook["cells"] if key_of(cell) not in keys]
        return notebook

    return edit


def nameless(notebook, copied):
    """As after copying the text into another notebook."""
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"], cell["id"] = {}, f"cell-{number}"
    return notebook


def added(text, after):
    """A cell of the student's own behind the one called `after`."""

    def edit(notebook, copied):
        notebook["cells"].insert(
            notebook["cells"].index(cell_called(notebook, after)) + 1, code(text)
        )
        return notebook

    return edit


def reordered(notebook, copied):
    notebook["cells"].reverse()
    return notebook


def edited_tests(notebook, copied):
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            cell["source"] = "pass  # I hold"
    cell_called(notebook, "setup")["source"] = "curves = None"
    cell_called(notebook, "keep-highest")["source"] = (
        "def keep_highest(scores, keep, rng):\n    return None"
    )
    return notebook


def copied_cell(notebook, copied):
    """JupyterLab's copy of a cell has the same grade_id; the later one counts, as in the student's
    own kernel.
    """
    cell = cell_called(notebook, "keep-highest")
    place = notebook["cells"].index(cell)
    notebook["cells"].insert(place + 1, {**copy.deepcopy(cell), "id": "copied"})
    cell["source"] = "def keep_highest(scores, keep, rng):\n    return [0]"
    return notebook


def as_text(notebook, copied):
    cell_called(notebook, "keep-highest")["cell_type"] = "markdown"
    return notebook


def in_kernel(language):
    def edit(notebook, copied):
        notebook["metadata"] = {
            "kernelspec": {"name": "ir", "display_name": language, "language": language}
        }
        return notebook

    return edit


def file(text):
    return lambda notebook, copied: text


# ---- the cases -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """points: question -> what it is to get; questions that are not named get all.   says: part of
    a message in the feedback.

    shows: part of what a cell printed.   remark: part of the row's remark.   refused: no points, no
        questions, only a remark.
    """

    student: str
    stem: str
    edit: Callable = right
    points: dict = field(default_factory=dict)
    says: str = ""
    shows: str = ""
    remark: str = ""
    refused: bool = False
    nbgrader_layout: bool = False


WRONG_DIVISOR = """
def window_stds(curves, window):
    if not 2 <= window <= curves.shape[1]:
        raise ValueError("no such window")
    return np.lib.stride_tricks.sliding_window_view(curves, window, axis=1).std(axis=2)
"""
OFF_BY_ONE = """
def window_means(curves, window):
    return np.array([[row[k:k + window].mean() for k in range(len(row) - window)] for row in curves])
"""  # noqa: E501
LOWEST = """
def keep_highest(scores, keep, rng):
    mixed = rng.permutation(len(scores))
    return np.sort(mixed[np.argsort(np.asarray(scores)[mixed])[:keep]])
"""
IN_PLACE = """
def keep_highest(scores, keep, rng):
    best = np.argsort(scores)[len(scores) - keep:]
    scores.sort()
    return np.sort(best)
"""
FIRST_ONES = """
def keep_highest(scores, keep, rng):
    return np.sort(np.argsort(-scores, kind="stable")[:keep])
"""
ANY_RANDOM = """
def keep_highest(scores, keep, rng):
    mixed = np.random.permutation(len(scores))
    return np.sort(mixed[np.argsort(-np.asarray(scores)[mixed], kind="stable")[:keep]])
"""
JITTER = """
def keep_highest(scores, keep, rng):
    return np.sort(np.argsort(-(scores + rng.uniform(0, 1e-9, len(scores))))[:keep])
"""
OTHER_STYLE = {
    "window-means": """
%matplotlib inline
import pandas as pd

def window_means(curves, window):
    return pd.DataFrame(curves.T).rolling(window).mean().iloc[window - 1:].T
""",
    "window-stds": """
import statistics

class TooShort(ValueError):
    pass

class Stds:
    def __call__(self, curves, window):
        if window < 2 or window > len(curves[0]):
            raise TooShort(f"no window of {window}")
        return [[statistics.stdev(map(float, part)) for part in parts(row, window)] for row in curves]

def parts(row, window):
    return [row[:window], *parts(row[1:], window)] if len(row) >= window else []

window_stds = Stds()
""",  # noqa: E501
    "late-dual": """
def late_dual(curves, window, skip=0):
    products = np.multiply(1 - window_means(curves, window).to_numpy(), window_stds(curves, window))
    return [sum(row[skip:]) / len(row[skip:]) for row in products]
""",
    "keep-highest": """
def keep_highest(scores, keep, rng):
    drawn = {row: rng.random() for row in range(len(scores))}
    return sorted(sorted(drawn, key=lambda row: (-scores[row], drawn[row]))[:keep])
""",
}
HANGS_IN_CALL = """
def keep_highest(scores, keep, rng):
    while True:
        pass
"""
DIES_IN_CALL = """
def keep_highest(scores, keep, rng):
    import os
    os._exit(0)
"""
EATS_MEMORY = """
def keep_highest(scores, keep, rng):
    return np.ones(2**31)
"""
FORK_BOMB = """
import os
while True:
    os.fork()
"""
LOOKS_AROUND = """
import os
found = []
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if name not in ("proc", "sys", "usr", "lib", "site-packages")]
    found += [os.path.join(folder, name) for name in names if "dynamics_and_dual" in name or name == "test_grading.py"]
print("FOUND", found, os.path.exists(SOURCES))
""".replace("SOURCES", repr(str(SOURCES)))  # noqa: E501
PRINTS = """
for _ in range(20_000):  # 1.7 million characters
    print("a line of text that nobody will ever read, again and again, until the disk is full")
"""
TAMPERS = """
import builtins, sys
def nothing(*given, **named):
    return True
np.testing.assert_allclose = np.testing.assert_array_equal = nothing
builtins.len = builtins.all = nothing
sys.settrace(None)
def window_means(curves, window):
    return None
def keep_highest(scores, keep, rng):
    return None
"""
MEDDLES = """
import os
def keep_highest(scores, keep, rng):
    for fd in range(3, 256):
        try:
            os.write(fd, b"full marks, please" * 100)
        except OSError:
            pass
"""
PRETENDS = """
class Array(np.ndarray):
    def __eq__(self, other):
        return True
    __array_ufunc__ = None

def keep_highest(scores, keep, rng):
    return np.zeros(0).view(Array)
"""
PEEKS = """
def keep_highest(scores, keep, rng):
    import inspect
    return [frame.frame.f_locals.get("highest") for frame in inspect.stack()][-1]
"""
ALL = {"window-means": 3, "window-stds": 3, "late-dual": 4, "keep-highest": 4}
LOST = {"keep-highest": 0}

CASES = [
    Case("right", DUAL, points=ALL),
    Case("nbgraders_layout", DUAL, points=ALL, nbgrader_layout=True),
    Case(
        "empty",
        DUAL,
        empty,
        points=dict.fromkeys([*ALL, "wrong-labels"], 0),
        remark="not answered: window-means, window-stds, late-dual, keep-highest, wrong-labels",
        says="your window_means raised NotImplementedError",
    ),
    Case(
        "divisor",
        DUAL,
        answers({"window-stds": WRONG_DIVISOR}),
        points={"window-stds": 1, "late-dual": 1},
        says="the standard deviation of 0.2, 0.5, 0.8 is 0.3, with J - 1 in the divisor",
    ),
    Case(
        "off_by_one",
        DUAL,
        answers({"window-means": OFF_BY_ONE}),
        points={"window-means": 0, "late-dual": 0},
        says="4 epochs hold 2 windows of 3, so the shape is (1, 2); yours is (1, 1)",
    ),
    Case(
        "lowest",
        DUAL,
        answers({"keep-highest": LOWEST}),
        points={"keep-highest": 1},
        says="the three highest scores are in rows 1, 2 and 3",
    ),
    Case(
        "in_place",
        DUAL,
        answers({"keep-highest": IN_PLACE}),
        points={"keep-highest": 1},
        says="your keep_highest changed its argument 1 in place",
    ),
    Case(
        "first_ones",
        DUAL,
        answers({"keep-highest": FIRST_ONES}),
        points={"keep-highest": 3},
        says="among equal scores every row should have its chance",
    ),
    Case(
        "any_random",
        DUAL,
        answers({"keep-highest": ANY_RANDOM}),
        points={"keep-highest": 3},
        says="the same generator should give the same rows",
    ),
    Case(
        "jitter",
        DUAL,
        answers({"keep-highest": JITTER}),
        points={"keep-highest": 3},
        says="scores that are close are not equal",
    ),
    Case("other_style", DUAL, answers(OTHER_STYLE), points=ALL),
    Case(
        "no_python",
        DUAL,
        answers({"late-dual": "def late_dual(curves, window, skip=0)\n    return 1"}),
        points={"late-dual": 0},
        says="your cells had trouble before: SyntaxError",
    ),
    Case(
        "deleted",
        DUAL,
        without(
            "setup",
            "keep-highest",
            "keep-highest-1",
            "window-means-1",
            "late-dual-3",
            "wrong-labels",
        ),
        points={**LOST, "wrong-labels": 0},
        remark="not answered: keep-highest, wrong-labels",
        says="name 'keep_highest' is not defined",
    ),
    Case("reordered", DUAL, reordered, points=ALL),
    Case("copied_cell", DUAL, copied_cell, points=ALL),
    Case(
        "nameless",
        DUAL,
        nameless,
        points={"wrong-labels": 0},
        remark="no cell has the name of one of the assignment's",
    ),
    Case("answer_as_text", DUAL, as_text, points=LOST, remark="not answered: keep-highest"),
    Case(
        "edited_tests",
        DUAL,
        edited_tests,
        points={**LOST, "wrong-labels": None},
        says="the three highest scores",
    ),
    Case(
        "crashes",
        DUAL,
        answers({"late-dual": "import os\nos._exit(1)"}),
        points={"late-dual": 0},
        says="this cell ended the process that it runs in",
    ),
    Case(
        "crashes_in_call",
        DUAL,
        answers({"keep-highest": DIES_IN_CALL}),
        points=LOST,
        says="your keep_highest ended the process that it runs in",
        remark="keep-highest-1: your keep_highest ended the",
    ),
    Case(
        "endless",
        DUAL,
        answers({"late-dual": "while True:\n    pass"}),
        points={"late-dual": 0},
        says="this cell took longer than 4 seconds and was ended",
        remark="late-dual: this cell took longer than 4 seconds and was ended",
    ),
    Case(
        "endless_in_call",
        DUAL,
        answers({"keep-highest": HANGS_IN_CALL}),
        points=LOST,
        says="your keep_highest took longer than 4 seconds and was ended",
    ),
    Case("hungry", DUAL, answers({"keep-highest": EATS_MEMORY}), points=LOST, says="MemoryError"),
    Case(
        "prints",
        DUAL,
        added(PRINTS, "keep-highest"),
        points=ALL,
        shows="... cut after 200,000 characters",
    ),
    Case(
        "tampers",
        DUAL,
        answers({"window-means": TAMPERS, "keep-highest": "1"}),
        points={"window-means": 0, "window-stds": 3, "late-dual": 0, "keep-highest": 0},
    ),
    Case(
        "meddles",
        DUAL,
        answers({"keep-highest": MEDDLES}),
        points=LOST,
        says="your keep_highest disturbed the process that it runs in",
    ),
    Case("pretends", DUAL, answers({"keep-highest": PRETENDS}), points=LOST),
    Case("peeks", DUAL, answers({"keep-highest": PEEKS}), points=LOST),
    Case("no_json", DUAL, file('{"cells": ['), remark="the file is not JSON", refused=True),
    Case("no_notebook", DUAL, file("[1, 2]"), remark="not a notebook in format 4", refused=True),
    Case(
        "odd_cells",
        DUAL,
        file('{"nbformat": 4, "metadata": 3, "cells": [{"cell_type": "code"}]}'),
        remark="not a whole notebook",
        refused=True,
    ),
    Case(
        "in_r", DUAL, in_kernel("R"), remark="the notebook's kernel is r, not Python", refused=True
    ),
    Case("unknown", "my_thesis", file("{}"), remark="no such assignment: my_thesis", refused=True),
    Case(
        "large",
        DUAL,
        file('{"cells": "' + "a" * 11 * 2**20 + '"}'),
        remark="11 MB large, more than 10 MB",
        refused=True,
    ),
    Case("Twice", DUAL, remark="handed in 2 times", refused=True),
    Case("twice", DUAL, refused=True),
    Case("both_layouts", DUAL, remark="handed in 2 times: both_layouts/", refused=True),
    Case("both_layouts", DUAL, nbgrader_layout=True, refused=True),
]
SANDBOXED = [  # these would do harm without one
    Case(
        "fork_bomb",
        DUAL,
        answers({"late-dual": FORK_BOMB}),
        points={"late-dual": 0},
        says="this cell started more than 32 processes and was ended",
    ),
    Case("looks_around", DUAL, added(LOOKS_AROUND, "setup"), points=ALL, shows="FOUND [] False"),
]


def typical(stem) -> Case:
    """The typical wrong answers to an assignment, in one submission."""
    given, expected = SUBMISSIONS[stem]["wrong"]
    points = {}
    for key, got in expected.items():
        points[question(key)] = points.get(question(key), 0) + got
    return Case("typical", stem, answers(given), points=points)


def quick_sources(folder) -> Path:
    """The sources in `folder`, with the parameters of the preset smoke: their networks train for
    seconds.
    """
    for path in SOURCES.glob("*.ipynb"):
        notebook, (parameters, _) = source(path.stem), parameters_for(path, "smoke")
        (cell,) = [
            cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())
        ]
        cell["source"] = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@cache
def students_copies(sources=SOURCES) -> dict:
    """stem -> what is handed out, as plain JSON."""
    made = student_copies(find_sources(sources))
    return {stem: json.loads(json.dumps(copied)) for stem, copied in made.items()}


def hand_in(folder, cases, sources=SOURCES) -> None:
    """Write every case into `folder` as a student's."""
    copies = students_copies(sources)
    for case in cases:
        copied = copy.deepcopy(copies.get(case.stem, {"cells": []}))
        done = case.edit(solved(copied, case.stem) if case.stem in copies else copied, copied)
        place = folder / case.student / case.stem if case.nbgrader_layout else folder / case.student
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{case.stem}.ipynb").write_text(
            done if isinstance(done, str) else json.dumps(done), encoding="utf-8"
        )
