"""The assignments' sources: fit for nbgrader, and every hidden test has a wrong answer that it
catches.
"""

import copy
import re
import types

import numpy as np
import pytest
from submission_answers import FOLDER, SUBMISSIONS, cells, solutions

from dpkit.classroom.source import read_source, role_of

STEMS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
CASES = [(stem, case) for stem in sorted(SUBMISSIONS) for case in SUBMISSIONS[stem]]


def mark_of(cell):
    return cell["metadata"].get("nbgrader", {})


# ---- metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_a_source_is_valid_nbgrader(stem):
    pytest.importorskip("nbgrader", reason="the extra [classroom] is not installed")
    from nbgrader.nbgraderformat import reads

    for number, cell in enumerate(cells(stem)):
        if mark := mark_of(cell):
            missing = {"schema_version", "grade", "locked", "solution", "grade_id"} - set(mark)
            assert not missing, (
                f"{stem}, cell {number}: its nbgrader metadata lack {sorted(missing)}; choose its "
                "type in nbgrader once more"
            )
            assert mark.get("cell_type", cell["cell_type"]) == cell["cell_type"], (
                f"{stem}, cell {mark['grade_id']}: cell_type in its nbgrader metadata must be "
                f"{cell['cell_type']}"
            )
    read_source(FOLDER / f"{stem}.ipynb")  # Refused says what to do
    # ValidationError says what is wrong
    reads((FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8"), as_version=4)


@pytest.mark.parametrize("stem", STEMS)
def test_every_answer_brings_points_or_has_notes_for_marking(stem):
    waiting = None
    for cell in [*cells(stem), None]:
        kind = role_of(cell) if cell else "end"
        if kind in ("answer", "end"):
            assert waiting is None, (
                f"{stem}: no test follows the answer {waiting}; put a test cell right behind it"
            )
        if kind in ("answer", "written"):
            assert "### BEGIN SOLUTION" in cell["source"], (
                f"{stem}: the answer {mark_of(cell)['grade_id']} has no solution; put one between "
                "### BEGIN SOLUTION and ### END SOLUTION"
            )
        if kind == "answer":
            waiting = mark_of(cell)["grade_id"]
        if kind == "test":
            waiting = None
        if kind == "written":
            assert re.search(r"Marking.*### END SOLUTION", cell["source"], re.DOTALL), (
                f"{stem}: the written answer {mark_of(cell)['grade_id']} has no notes for marking; "
                "begin them with 'Marking' before ### END SOLUTION"
            )


@pytest.mark.parametrize("stem", STEMS)
def test_one_cell_of_parameters_that_graders_run_and_nobody_changes(stem):
    parameters = [cell for cell in cells(stem) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(parameters) == 1, (
        f"{stem}: tag one cell `parameters`, for the report; {len(parameters)} cells have the tag"
    )
    assert role_of(parameters[0]) == "setup", (
        f"{stem}: make the cell tagged `parameters` read-only in nbgrader"
    )


@pytest.fixture(scope="module")
def copies():
    """{stem: cells of the student's copy}, made by nbgrader."""
    pytest.importorskip("nbgrader", reason="the extra [classroom] is not installed")
    from submissions import students_copies

    return {
        stem: [
            cell | {"source": "".join(cell["source"])} for cell in students_copies()[stem]["cells"]
        ]
        for stem in STEMS
    }


# ---- the marks -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready():
    """stem -> the namespace after the parameters and setup cells, made once: networks are trained
    in it.
    """
    made = {}

    def namespace(stem):
        if stem not in made:
            made[stem] = {"__name__": "__main__"}
            for cell in cells(stem):
                if role_of(cell) == "setup":
                    exec(cell["source"], made[stem])
        return dict(made[stem])

    return namespace


def across(function):
    """A stand-in for `function` in another process: it gets copies, gives copies, and must leave
    what it gets as it was.
    """

    def call(*arguments, **named):  # a generator comes back as far on as the function drew from it
        handed = [
            given if isinstance(given, np.random.Generator) else copy.deepcopy(given)
            for given in arguments
        ]
        result = copy.deepcopy(function(*handed, **named))
        for mine, theirs in zip(handed, arguments):
            if isinstance(mine, np.ndarray):
                np.testing.assert_array_equal(mine, theirs)
        return result

    return call


def points(stem, answers, namespace, wrap=lambda function: function):
    """{grade_id: points}; each test cell sees the setup and the answers, and nothing of another
    test.
    """
    for source in answers.values():
        exec(source, namespace)
    own = {
        name: wrap(value)
        for name, value in namespace.items()
        if isinstance(value, types.FunctionType)
        and any(f"def {name}(" in source for source in answers.values())
    }
    given = {}
    for cell in cells(stem):
        if role_of(cell) == "test":
            try:
                with np.errstate(all="ignore"):
                    exec(cell["source"], namespace | own)
                given[mark_of(cell)["grade_id"]] = mark_of(cell)["points"]
            except Exception:
                given[mark_of(cell)["grade_id"]] = 0
    return given


@pytest.mark.parametrize("stem", STEMS)
def test_every_assignment_has_three_submissions(stem):
    assert stem in SUBMISSIONS, (
        f"{stem}: add an entry to SUBMISSIONS in tests/submission_answers.py: right, empty and a "
        "typical mistake"
    )
    has = set(SUBMISSIONS[stem])
    assert {"right", "empty"} < has, (
        f"{stem}: its entry in tests/submission_answers.py needs right, empty and a mistake; "
        f"it has {sorted(has)}"
    )


@pytest.mark.parametrize(("stem", "case"), CASES)
@pytest.mark.parametrize("wrap", [lambda function: function, across], ids=["here", "across"])
@pytest.mark.filterwarnings("ignore")
def test_a_submission_gets_the_points_it_deserves(stem, case, wrap, ready):
    answers, expected = SUBMISSIONS[stem][case]
    given = points(stem, answers, ready(stem), wrap)
    wrong = {
        test: f"{given.get(test)}, not {most}"
        for test, most in expected.items()
        if given.get(test) != most
    }
    assert given == expected, (
        f"{stem}, submission {case}: mend the test cells, or the points expected in "
        f"tests/submission_answers.py: {wrong}"
    )


@pytest.mark.parametrize("stem", sorted(SUBMISSIONS))
@pytest.mark.filterwarnings("ignore")
def test_every_hidden_test_catches_a_wrong_answer_to_its_own_question(stem, ready):
    question, hidden, caught = None, {}, set()
    for cell in cells(stem):
        question = mark_of(cell)["grade_id"] if role_of(cell) == "answer" else question
        if "BEGIN HIDDEN TESTS" in cell["source"]:
            hidden[mark_of(cell)["grade_id"]] = question
    for case, (answers, _) in SUBMISSIONS[stem].items():
        for question, wrong in answers.items() if case != "right" else ():
            # all other questions are right
            given = points(stem, solutions(stem) | {question: wrong}, ready(stem))
            caught |= {
                test for test, asked in hidden.items() if asked == question and given[test] == 0
            }
    missing = sorted(set(hidden) - caught)
    assert not missing, (
        f"{stem}: no submission fails the hidden tests in {missing}; add a mistake that does to "
        "tests/submission_answers.py"
    )


@pytest.mark.parametrize("stem", STEMS)
def test_an_unanswered_copy_runs_and_says_what_is_missing(stem, copies, ready):
    namespace = ready(stem)
    for cell in copies[stem]:
        where = f"{stem}, cell {mark_of(cell).get('grade_id')}"
        if role_of(cell) == "answer":
            try:
                exec(cell["source"], namespace)
            except NotImplementedError:
                pytest.fail(
                    f"{where}: put the solution inside a function, so that an unanswered copy can "
                    "be run"
                )
        elif role_of(cell) == "test":
            try:
                # what is left of a hidden test may ask for nothing
                exec(cell["source"], dict(namespace))
            except NotImplementedError:
                pass
            except Exception as error:
                pytest.fail(
                    f"{where}: without an answer a test must end in NotImplementedError; this one "
                    f"says {error!r}"
                )
