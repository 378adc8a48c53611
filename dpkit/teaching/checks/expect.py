"""What an assignment's test cells say when a number is not the one that was expected: one sentence,
in a learner's words.
"""

import numpy as np
from numpy.typing import ArrayLike


def same(
    found: ArrayLike, expected: ArrayLike, hint: str = "", *, rtol: float = 1e-6, atol: float = 1e-9
) -> None:
    """AssertionError, worded for whoever wrote the function, unless `found` is `expected`; `hint`
    is added to it.

    found:    what the learner's function gave: a number, a list, an array, or a tuple of these.
    expected: the same for the right answer. True and False must be found as bool, whole numbers as
              whole numbers.
    """
    told = _difference(found, expected, rtol, atol)
    if told:
        raise AssertionError(f"{told}: {hint}" if hint else told)


def _difference(found, expected, rtol, atol):
    if found is None or found is Ellipsis:
        return "the function returns nothing: end it with return"
    if isinstance(expected, tuple):
        if not isinstance(found, (tuple, list, np.ndarray)) or len(found) != len(expected):
            return f"expected {len(expected)} things, got {_kind(found)}"
        parts = [_difference(mine, theirs, rtol, atol) for mine, theirs in zip(found, expected)]
        return next(
            (f"number {k} of what comes back: {told}" for k, told in enumerate(parts, 1) if told),
            None,
        )
    expected = np.asarray(expected)
    given = found
    try:
        found = np.asarray(found)
    except ValueError:  # rows of different lengths
        return f"expected numbers of shape {expected.shape}, got {_kind(found)}"
    if found.dtype.kind not in "biuf":
        return (
            f"expected {'one number' if expected.ndim == 0 else 'numbers'}, got "
            f"{_kind(found if found.ndim else given)}"
        )
    if found.shape != expected.shape:
        return f"expected {_shape(expected)}, got {_shape(found)}"
    wanted = {"b": "True and False", "i": "whole numbers", "u": "whole numbers"}.get(
        expected.dtype.kind
    )
    if (
        wanted
        and found.size
        and found.dtype.kind not in {"b": "b", "i": "iu", "u": "iu"}[expected.dtype.kind]
    ):
        return f"expected {wanted}, got {found.dtype}"
    off = np.argwhere(~np.isclose(found, expected, rtol=rtol, atol=atol))
    if len(off):
        at = tuple(off[0].tolist())
        where = f" at [{', '.join(map(str, at))}]" if at else ""
        return f"expected {_number(expected[at])}{where}, got {_number(found[at])}"
    return None


def _number(value):
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def _shape(array):
    return "one number" if array.ndim == 0 else f"shape {array.shape}"


def _kind(value):
    return (
        f"{_shape(value)} of {value.dtype}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
    )
