"""Every check against right answers and typical wrong ones; every exercise of a lesson against its
own solution.
"""

import ast
import json
import re
import sys
import warnings
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import dpkit
from dpkit.teaching import checks
from dpkit.teaching.checks import _answer

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
NAMES = sorted(set(checks.__all__) - {"Verdict"})
ANSWERS = {}
for path in sorted((ROOT / "tests" / "answers").glob("*.py")):
    ANSWERS |= import_module(f"answers.{path.stem}").ANSWERS


def check(name):
    return getattr(checks, name)


# ---- the checks ----------------------------------------------------------------------------------


def test_every_check_has_a_right_answer_and_four_wrong_ones_with_messages_of_their_own():
    assert sorted(ANSWERS) == NAMES
    for name, (right, wrong) in ANSWERS.items():
        assert right and len(wrong) >= 4, name
        told = [str(check(name)(answer)) for answer in wrong]
        assert len({*told}) == len(told), name


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, (right, _) in ANSWERS.items() for answer in right]
)
def test_a_right_answer_is_right(name, answer):
    verdict = check(name)(answer)
    assert verdict, verdict


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        (name, answer, words)
        for name, (_, wrong) in ANSWERS.items()
        for answer, words in wrong.items()
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, words):
    verdict = check(name)(answer)
    assert not verdict
    assert words in verdict.message, verdict


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_of_a_list_is_told_in_its_own_words(name, monkeypatch):
    module, listed = import_module(check(name).__module__), []

    def heard(answer, cases, right, mistakes, *more, **named):
        listed[:] = mistakes
        return _answer.judge(answer, cases, right, mistakes, *more, **named)

    monkeypatch.setattr(module, "judge", heard, raising=False)
    check(name)(ANSWERS[name][0][0])
    assert len(listed) >= 4
    for mistake, sentence in list(listed):
        with warnings.catch_warnings(action="ignore"):
            assert check(name)(mistake).message == sentence


def crooked(answer, bend):
    """`answer` with its result bent; its arguments keep their names."""

    def bent(*arguments):
        return bend(answer(*arguments))

    return bent


def each(result, bend):
    """Every one of several values bent by itself."""
    return tuple(map(bend, result)) if isinstance(result, (tuple, list)) else bend(result)


def raises(*_):
    return {}["missing"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (lambda result: None, "returns nothing yet"),
        (lambda result: ..., "returns nothing yet"),
        (raises, "stopped with KeyError: 'missing'"),
        (lambda result: object(), "an object"),
        (lambda result: "0.5", "'0.5'"),
        (lambda result: each(result, lambda part: np.full((7, 7, 7), 0.5)), "shape (7, 7, 7)"),
        (lambda result: each(result, lambda part: np.full(np.shape(part), np.nan)), "NaN"),
    ],
    ids=["nothing", "stub", "raises", "object", "text", "shape", "NaN"],
)
def test_what_is_no_answer_at_all_is_refused_in_words(name, bend, words):
    verdict = check(name)(crooked(ANSWERS[name][0][0], bend))
    assert not verdict
    assert words in verdict.message, verdict


@pytest.mark.parametrize("name", NAMES)
def test_a_result_instead_of_a_function_is_noticed(name):
    verdict = check(name)(np.zeros(3))
    assert not verdict and "the function itself" in verdict.message


def test_a_function_that_never_returns_is_stopped():
    def endless(values):
        while True:
            try:
                while True:
                    pass
            except:  # noqa: E722  what a learner may have written
                if not values:
                    raise

    with pytest.raises(_answer.Wrong, match="not back after 0.2 seconds"):
        _answer.call(endless, ([],), seconds=0.2)


def test_an_error_names_the_line_where_the_learner_wrote_it():
    def divides(a, b):
        return a / b

    with pytest.raises(
        _answer.Wrong,
        match=r"`divides` stopped with ZeroDivisionError: .*, in line \d+: `return a / b`",
    ):
        _answer.call(divides, (1, 0))


def test_an_error_without_words_and_an_exit_are_said_too():
    def unfinished(a):
        raise NotImplementedError

    with pytest.raises(
        _answer.Wrong,
        match=r"stopped with NotImplementedError, in line \d+: `raise NotImplementedError`",
    ):
        _answer.call(unfinished, (1,))
    with pytest.raises(_answer.Wrong, match="stopped with SystemExit: 0, in line"):
        _answer.call(lambda a: sys.exit(a), (0,))


def test_a_tensor_with_a_gradient_is_an_array():
    double = lambda values: 2 * torch.from_numpy(values).requires_grad_()  # noqa: E731
    assert _answer.judge(double, [(np.array([1.0, 2.0]),)], lambda values: 2 * values, [], "done")


def test_a_list_is_sent_back_for_an_array_and_an_unknown_mistake_is_shown_with_its_input():
    double = lambda values: values * 2  # noqa: E731
    case = [(np.array([1.0, 2.0]),)]
    assert "np.array(...)" in _answer.judge(lambda values: [2.0, 4.0], case, double, [], "").message
    assert (
        "shape (2,), of type object."
        in _answer.judge(lambda values: values.astype(object), case, double, [], "").message
    )
    message = _answer.judge(lambda values: values * 3, case, double, [], "").message
    assert (
        message
        == "2 of 2 numbers differ, first [0]: yours is 3, expected was 2.\ntried with\nvalues = "
        "np.array([1., 2.])"
    )


def test_a_change_in_place_is_noticed_however_small():
    with pytest.raises(_answer.Wrong, match="changes its input `p` in place"):
        _answer.call(lambda p: np.clip(p, 1e-6, 1 - 1e-6, out=p), (np.array([0.5, 1.0]),))


def test_one_of_several_values_may_be_none_and_a_wrong_shape_among_them_is_said():
    def judged(answer):
        mistakes = [(lambda n: (n, 0), "zero")]
        return _answer.judge(answer, [(1,)], lambda n: (n, None), mistakes, "done")

    assert judged(lambda n: (n, None)) and judged(lambda n: (n, 0)).message == "zero"
    assert (
        "Value 1 of the result is None; expected was 1." in judged(lambda n: (None, None)).message
    )
    assert "Value 2 of the result is 3; expected was None." in judged(lambda n: (n, 3)).message
    assert "Value 1 of the result has shape (2,)" in judged(lambda n: (np.ones(2), None)).message


def test_a_mistake_that_does_not_show_on_the_cases_is_not_told():
    case = [(np.array([1.0]),), (np.array([2.0]),)]
    small_ones = lambda v: np.where(v < 2, 3 * v, 2 * v)  # noqa: E731
    verdict = _answer.judge(
        lambda v: v * 3, case, lambda v: v * 2, [(small_ones, "small ones")], ""
    )
    assert "small ones" not in verdict.message


def test_a_verdict_is_shown_without_running_what_is_in_it():
    html = checks.Verdict(False, "`<script>` & more\n<b>")._repr_html_()
    assert (
        "<script>" not in html
        and "<code>&lt;script&gt;</code> &amp; more" in html
        and "&lt;b&gt;" in html
    )


# ---- the exercises of the lessons ----------------------------------------------------------------

TITLE = re.compile(r"\*\*Exercise: .+\*\* · (★☆☆|★★☆|★★★) · (\d+) minutes")
SOLUTION = re.compile(
    r"<details><summary>A solution</summary>\s*```python\n(.*?)```\s*</details>", re.DOTALL
)


def exercises():
    found = []
    for path in LESSONS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for before, cell in pairwise(cells):
            if "exercise" in cell["metadata"].get("tags", []):
                found.append((path.stem, "".join(before["source"]), "".join(cell["source"])))
    return found


def named(source):
    """The check that the last line of a cell calls."""
    return re.search(r"^(?:dpkit\.)?checks\.(\w+)\(\w+\)$", source, re.MULTILINE)[1]


def verdict_of(source, instead=None):
    """The value of the cell's last line, after the lines before it or what stands `instead` of
    them.
    """
    *lines, last = ast.parse(source).body
    space = {"np": np, "dpkit": dpkit, "checks": checks}
    exec(instead if instead is not None else compile(ast.Module(lines, []), "cell", "exec"), space)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_three_exercises(path):
    assert len([1 for stem, *_ in exercises() if stem == path.stem]) >= 3


def test_every_check_belongs_to_one_exercise():
    assert sorted(named(source) for *_, source in exercises()) == NAMES


@pytest.mark.parametrize(
    ("stem", "text", "source"), exercises(), ids=lambda value: "" if "\n" in value else value
)
def test_an_exercise_says_how_hard_it_is_has_a_hint_and_its_solution_is_right(stem, text, source):
    assert TITLE.search(text)
    assert "<details><summary>Hint</summary>" in text
    assert "returns nothing yet" in verdict_of(source).message
    (solution,) = SOLUTION.findall(text)
    verdict = verdict_of(source, solution)
    assert verdict, verdict
