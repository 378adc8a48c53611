"""How a learner's function is tried: the calls, what they may return, and the sentence about
what is wrong.

Most checks are one call of `judge`: some small cases, the right function, and the mistakes people
make, each as the function it amounts to and the sentence that helps. What the learner's function
gives is compared with all of them.
"""

import copy
import inspect
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

SECONDS = 10.0  # for one call
RELATIVE, ABSOLUTE = 1e-5, 1e-7  # float32 passes, a wrong divisor does not
GREEN, ORANGE = "#1b7837", "#b35806"  # apart for the colour-blind too; the words say it as well


class Wrong(Exception):
    """Ends a check; its text is what the learner reads."""


class _Late(BaseException):
    """Not an Exception, so that a learner's `except Exception` does not swallow it."""


@dataclass(frozen=True)
class Verdict:
    """What a check says: true if the answer is right, and a sentence either way. Shown by a
    notebook, or printed.
    """

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return f"{'Right' if self.right else 'Not yet'}. {self.message}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour, word = (GREEN, "✓ Right.") if self.right else (ORANGE, "✗ Not yet.")
        first, *rest = self.message.split("\n")
        more = f'<pre style="margin:.4em 0 0">{escape(chr(10).join(rest))}</pre>' if rest else ""
        box = f"max-width:44em;border-left:4px solid {colour};padding:.3em .8em"
        return f'<div style="{box}"><b style="color:{colour}">{word}</b> {_html(first)}{more}</div>'


def _html(text) -> str:
    """`code` in backquotes becomes <code>."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def examine(answer: Callable, check: Callable, done: str) -> Verdict:
    """The verdict of `check(ask)`, which raises Wrong; `ask(*arguments)` calls the answer."""
    try:
        if not callable(answer):
            raise Wrong(
                "Hand over the function itself, without calling it: its name, and no parentheses "
                "after it."
            )
        check(lambda *arguments, seconds=SECONDS: call(answer, arguments, seconds))
    except Wrong as wrong:
        return Verdict(False, str(wrong))
    return Verdict(True, done)


def judge(
    answer: Callable,
    cases: Sequence[tuple],
    right: Callable,
    mistakes: Sequence[tuple[Callable, str]],
    done: str,
    *,
    whole: bool = False,
    seconds: float = SECONDS,
) -> Verdict:
    """Compare `answer` with `right` on all cases, and if they differ, with each mistake.

    cases:    tuples of arguments, small enough to print; together they tell every mistake from the
              right answer.
    right:    the function that was asked for. It gives a number, an array, or a tuple of these.
    mistakes: pairs of (a function that makes it, the sentence for whoever made it). The first that
              fits is told.
    done:     the sentence for a right answer.
    whole:    the numbers index arrays later, so floats are sent back.
    """

    def check(ask):
        expected = [right(*copy.deepcopy(case)) for case in cases]
        given = [
            _plain(ask(*case, seconds=seconds), theirs) for case, theirs in zip(cases, expected)
        ]
        off = [k for k, (mine, theirs) in enumerate(zip(given, expected)) if not same(mine, theirs)]
        if not off:
            if whole and any(mine.dtype.kind == "f" for mine in given):
                raise Wrong(
                    "The right numbers, but as floats, 3.0 and not 3, which cannot index an array. "
                    "Make them whole: `.astype(int)`, or `np.zeros(n, int)` to begin with."
                )
            return
        for mistake, sentence in mistakes:
            if _made(mistake, cases, given, off):
                raise Wrong(sentence)
        shapes = {k: said for k in off if (said := _misshapen(given[k], expected[k]))}
        k, said = (
            next(iter(shapes.items()))
            if shapes
            else (off[0], _difference(given[off[0]], expected[off[0]]))
        )
        raise Wrong(f"{said}\n{shown(answer, cases[k])}")

    return examine(answer, check, done)


# ---- calling -------------------------------------------------------------------------------------


def call(answer: Callable, arguments: tuple, seconds: float = SECONDS) -> Any:
    """The learner's function on copies of `arguments`: its result, or Wrong with the reason."""
    handed = copy.deepcopy(arguments)
    name = getattr(answer, "__name__", "your function")
    try:
        with _limited(seconds):
            result = answer(*handed)
    except _Late:
        raise Wrong(
            f"`{name}` was not back after {seconds:g} seconds. Is there a loop that never ends?"
        ) from None
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")  # a bare `assert` says nothing
        raise Wrong(f"`{name}` stopped with {said}{_where(answer, error)}") from None
    names = _names(answer, len(arguments))
    changed = [
        word for word, mine, theirs in zip(names, handed, arguments) if not same(mine, theirs, 0, 0)
    ]
    if changed:
        raise Wrong(
            f"`{name}` changes its input `{changed[0]}` in place, so whoever uses it afterwards "
            "gets other numbers. Make a new array (`a = a + 1`, `np.sort(a)`) instead of changing "
            "the old one (`a += 1`, `a.sort()`)."
        )
    if result is None or result is Ellipsis:
        raise Wrong(
            f"`{name}` returns nothing yet: put your lines in place of `...`, and end with "
            "`return`."
        )
    return result


@contextmanager
def _limited(seconds):
    """Raise _Late after so many seconds, where a timer can: in the main thread, not on Windows."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def late(*_):
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    # again and again: a bare `except:` may swallow the first
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _where(answer, error) -> str:
    """ ", in line 3: `x = y / 0`", of the learner's own lines."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return (
        f", in line {own[-1].lineno}" + (f": `{own[-1].line}`" if own[-1].line else "") + "."
        if own
        else "."
    )


def _names(answer, count) -> list[str]:
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names, *(f"argument {k + 1}" for k in range(len(names), count))]


# ---- comparing -----------------------------------------------------------------------------------


def same(mine: Any, theirs: Any, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> bool:
    """Equal up to rounding, shapes included."""
    if isinstance(theirs, (tuple, list)):
        return (
            isinstance(mine, (tuple, list))
            and len(mine) == len(theirs)
            and all(same(*pair, relative, absolute) for pair in zip(mine, theirs))
        )
    if is_dataclass(theirs):
        return type(mine) is type(theirs) and all(
            same(getattr(mine, part.name), getattr(theirs, part.name), relative, absolute)
            for part in fields(theirs)
        )
    if isinstance(theirs, np.random.Generator):
        return True  # being drawn from is what it is for
    try:
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        if mine.shape != theirs.shape:
            return False
        if theirs.dtype.kind in "biufc" and mine.dtype.kind in "biufc":
            return bool(np.allclose(mine, theirs, relative, absolute, equal_nan=True))
        return bool(np.array_equal(mine, theirs))
    except (TypeError, ValueError):
        return mine == theirs


def _made(mistake, cases, given, off) -> bool:
    """Whether the mistake gives what the learner's function gave, wherever it gives numbers at all,
    a wrong one included.
    """
    told = [
        k
        for k, case in enumerate(cases)
        if (theirs := _tried(mistake, case)) is not None and same(given[k], theirs)
    ]
    return bool({*told} & {*off}) and all(
        k in told or _tried(mistake, case) is None for k, case in enumerate(cases)
    )


def _tried(mistake, case):
    """What a mistake gives, or None where it fails or gives NaN."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = mistake(*copy.deepcopy(case))
        parts = result if isinstance(result, tuple) else (result,)
        return (
            None
            if any(np.isnan(part).any() for part in parts if np.asarray(part).dtype.kind == "f")
            else result
        )
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return None


def _plain(given, expected):
    """The result as it is compared; Wrong if it is of a kind that cannot be."""
    if isinstance(expected, tuple):
        if not isinstance(given, (tuple, list)) or len(given) != len(expected):
            raise Wrong(
                f"The result should be {len(expected)} values, `return a, "
                f"b{', ...' * (len(expected) > 2)}`; yours is {_kind(given)}."
            )
        return tuple(map(_plain, given, expected))
    # None: one of several values
    if isinstance(expected, (str, bool)) or (given is None and np.ndim(expected) == 0):
        return given
    expected = 0 if expected is None else expected
    wants_array = np.ndim(expected) > 0
    if wants_array and isinstance(given, (list, tuple)):
        raise Wrong(
            f"The result is a {type(given).__name__} of {len(given)}. Return an array, "
            "`np.array(...)`, so that one can go on calculating with it."
        )
    try:
        # a tensor with a gradient
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        raise Wrong(
            f"The result should be {'an array of numbers' if wants_array else 'a number'}; yours "
            f"is {_kind(given)}."
        )
    if (
        array.dtype.kind in "fc"
        and np.isnan(array).any()
        and not np.isnan(np.asarray(expected, float)).any()
    ):
        at = (
            ""
            if array.ndim == 0
            else f", first at {[int(k) for k in np.argwhere(np.isnan(array))[0]]}"
        )
        raise Wrong(
            f"There is NaN in the result{at}. It comes from 0 / 0, from infinity / infinity "
            "(`np.exp(1000)` is infinite), from a mean of nothing, or from `np.nan` itself."
        )
    return array


def _kind(thing) -> str:
    if isinstance(thing, np.ndarray):
        return f"an array of shape {thing.shape}" + (
            "" if thing.dtype.kind in "biufc" else f", of type {thing.dtype}"
        )
    kind = type(thing).__name__
    return (
        f"{thing!r}"
        if isinstance(thing, (int, float, str))
        else f"a{'n' * (kind[0] in 'AEIOUaeiou')} {kind}"
    )


def _misshapen(mine, theirs, what="The result") -> str | None:
    if isinstance(theirs, tuple):
        said = (
            _misshapen(*pair, f"Value {k + 1} of the result")
            for k, pair in enumerate(zip(mine, theirs))
        )
        return next(filter(None, said), None)
    if isinstance(theirs, (str, bool)) or np.shape(mine) == np.shape(theirs):
        return None
    return (
        f"{what} has shape {np.shape(mine)}; expected was "
        f"{np.shape(theirs) or 'a single number, ()'}."
    )


def _difference(mine, theirs, what="") -> str:
    """Where the two differ first, in numbers. what: the part of the result that they are."""
    if isinstance(theirs, tuple):
        k = next(k for k, pair in enumerate(zip(mine, theirs)) if not same(*pair))
        return _difference(mine[k], theirs[k], f"Value {k + 1} of the result")
    if isinstance(theirs, (str, bool)) or np.ndim(theirs) == 0:
        return f"{what or 'The result'} is {_figure(mine)}; expected was {_figure(theirs)}."
    off = np.argwhere(~np.isclose(mine, theirs, RELATIVE, ABSOLUTE, equal_nan=True))
    at = [int(k) for k in off[0]]
    differ = "differs" if len(off) == 1 else "differ"
    return (
        f"{what and what + ': '}{len(off)} of {np.size(theirs)} numbers {differ}, first "
        f"[{', '.join(map(str, at))}]: yours is {_figure(mine[tuple(at)])}, expected was "
        f"{_figure(np.asarray(theirs)[tuple(at)])}."
    )


def _figure(value) -> str:
    return f"{value:.6g}" if np.asarray(value).dtype.kind == "f" else f"{value}"


def shown(answer: Callable, case: tuple) -> str:
    """The arguments of a case, to try by hand."""
    lines = []
    for name, value in zip(_names(answer, len(case)), case):
        if isinstance(value, np.random.Generator):
            continue
        if is_dataclass(value):
            lines += [
                f"{name}.{part.name} = {_listed(array)}"
                for part in fields(value)
                if isinstance(array := getattr(value, part.name), np.ndarray)
            ]
        else:
            lines.append(f"{name} = {_listed(value)}")
    return "\n".join(["tried with", *lines])


def _listed(value) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    numbers = np.array2string(
        value, precision=4, threshold=60, edgeitems=4, separator=", ", prefix="np.array("
    )
    return f"np.array({numbers})"
