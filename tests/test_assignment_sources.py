"""The assignments' sources: fit for nbgrader, and every hidden test has a wrong answer that it catches."""

import ast
import copy
import types

import numpy as np
import pytest
from submission_answers import FOLDER, SUBMISSIONS, cells, solutions

from dpkit.classroom.source import role_of

STEMS = sorted(SUBMISSIONS)
CASES = [(stem, case) for stem in STEMS for case in SUBMISSIONS[stem]]


def mark_of(cell):
    return cell["metadata"].get("nbgrader", {})


# ---- metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_a_source_is_valid_nbgrader(stem):
    pytest.importorskip("nbgrader", reason="the extra [classroom] is not installed")
    from nbgrader.nbgraderformat import reads

    notebook = reads((FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8"), as_version=4)  # ValidationError if it is not
    fields = {"schema_version", "grade", "locked", "solution", "task", "grade_id", "cell_type"}
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader")
        if mark is not None:
            assert set(mark) - {"points"} == fields and ("points" in mark) == mark["grade"]
            assert mark["schema_version"] == 3 and mark["cell_type"] == cell.cell_type and not mark["task"]


@pytest.mark.parametrize("stem", STEMS)
def test_every_answer_is_marked_and_in_small_steps(stem):
    waiting, points = None, []
    for cell in cells(stem):
        kind, mark = role_of(cell), mark_of(cell)
        if kind == "answer":
            assert waiting is None, f"no test follows the answer {waiting}"
            waiting = mark["grade_id"]
            (function,) = [part.name for part in ast.parse(cell["source"]).body if isinstance(part, ast.FunctionDef)]
        if kind == "test":
            assert mark["locked"] and 1 <= mark["points"] <= 2
            assert function in {part.id for part in ast.walk(ast.parse(cell["source"])) if isinstance(part, ast.Name)}
            waiting = None
        if kind == "written":
            assert cell["cell_type"] == "markdown" and 2 <= mark["points"] <= 6 and "Marking" in cell["source"]
        points.append(mark.get("points", 0))
    assert waiting is None and sum(points) == 20
    parameters = [cell for cell in cells(stem) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(parameters) == 1 and role_of(parameters[0]) == "setup"  # a grader runs it, and nobody changes it


@pytest.fixture(scope="module")
def copies():
    """{stem: cells of the student's copy}, made by nbgrader."""
    pytest.importorskip("nbgrader", reason="the extra [classroom] is not installed")
    from submissions import students_copies

    return {stem: [cell | {"source": "".join(cell["source"])} for cell in students_copies()[stem]["cells"]] for stem in STEMS}


# ---- the marks ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready():
    """stem -> the namespace after the parameters and setup cells, made once: networks are trained in it."""
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
    """A stand-in for `function` in another process: it gets copies, gives copies, and must leave what it gets as it was."""
    def call(*arguments):
        handed = copy.deepcopy(arguments)
        result = copy.deepcopy(function(*handed))
        for mine, theirs in zip(handed, arguments):
            if isinstance(mine, np.ndarray):
                np.testing.assert_array_equal(mine, theirs)
        return result

    return call


def points(stem, answers, namespace, wrap=lambda function: function):
    """{grade_id: points}; each test cell sees the setup and the answers, and nothing of another test."""
    for source in answers.values():
        exec(source, namespace)
    own = {name: wrap(value) for name, value in namespace.items()
           if isinstance(value, types.FunctionType) and any(f"def {name}(" in source for source in answers.values())}
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


@pytest.mark.parametrize(("stem", "case"), CASES)
@pytest.mark.parametrize("wrap", [lambda function: function, across], ids=["here", "across"])
@pytest.mark.filterwarnings("ignore")
def test_a_submission_gets_the_points_it_deserves(stem, case, wrap, ready):
    answers, expected = SUBMISSIONS[stem][case]
    assert points(stem, answers, ready(stem), wrap) == expected


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.filterwarnings("ignore")
def test_every_hidden_test_catches_a_wrong_answer_to_its_own_question(stem, ready):
    question, hidden, caught = None, {}, set()
    for cell in cells(stem):
        question = mark_of(cell)["grade_id"] if role_of(cell) == "answer" else question
        if "BEGIN HIDDEN TESTS" in cell["source"]:
            hidden[mark_of(cell)["grade_id"]] = question
    for case, (answers, _) in SUBMISSIONS[stem].items():
        for question, wrong in answers.items() if case != "right" else ():
            given = points(stem, solutions(stem) | {question: wrong}, ready(stem))  # all other questions are right
            caught |= {test for test, asked in hidden.items() if asked == question and given[test] == 0}
    assert hidden and caught == set(hidden)


@pytest.mark.parametrize("stem", STEMS)
def test_an_unanswered_copy_runs_and_says_what_is_missing(stem, copies, ready):
    namespace = ready(stem)
    for cell in copies[stem]:
        if role_of(cell) == "answer":
            exec(cell["source"], namespace)
        elif role_of(cell) == "test" and "(" in cell["source"]:  # with its hidden part taken out it may be a comment alone
            with pytest.raises(NotImplementedError):
                exec(cell["source"], dict(namespace))
