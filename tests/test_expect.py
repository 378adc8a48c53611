"""What a test cell of an assignment says of a wrong number, in the words a learner reads."""

import numpy as np
import pytest

from dpkit.teaching.checks.expect import same


def said(found, expected):
    with pytest.raises(AssertionError) as error:
        same(found, expected, "look at the hint")
    assert str(error.value).endswith(": look at the hint")
    return str(error.value).removesuffix(": look at the hint")


def test_what_is_right_passes():
    same(2, 2)
    same([1, 2], np.array([1, 2]))
    same(np.float32(0.1), 0.1)
    same([np.inf, -np.inf], [np.inf, -np.inf])
    same([], np.empty(0, int))
    same(np.array([4, 1]), (4, 1))
    same((np.zeros(2), 3), ([0.0, 0.0], 3.0))


@pytest.mark.parametrize(
    ("found", "expected", "sentence"),
    [
        (None, 1.0, "the function returns nothing: end it with return"),
        (..., 1.0, "the function returns nothing: end it with return"),
        (2.5, 2.0, "expected 2, got 2.5"),
        ([1.0, 2.0], [1.0, 3.0], "expected 3 at [1], got 2"),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [0.5, 4.0]], "expected 0.5 at [1, 0], got 3"),
        ([1.0, 2.0], 3.0, "expected one number, got shape (2,)"),
        (3.0, [3.0], "expected shape (1,), got one number"),
        ([[1.0], [2.0]], [1.0, 2.0], "expected shape (2,), got shape (2, 1)"),
        ([1.0, np.nan], [1.0, 2.0], "expected 2 at [1], got nan"),
        ([1, 0], [True, False], "expected True and False, got int64"),
        ([0.0, 2.0], np.array([0, 2]), "expected whole numbers, got float64"),
        ("three", 3, "expected one number, got str"),
        ([[1, 2], [3]], [1, 2], "expected numbers of shape (2,), got list"),
        (1 + 2j, 1.0, "expected one number, got complex"),
        (4.0, (4.0, 1.0), "expected 2 things, got float"),
        ({"a": 1}, [1.0], "expected numbers, got dict"),
        ((4.0, 2.0), (4.0, 1.0), "number 2 of what comes back: expected 1, got 2"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(found, expected, sentence):
    assert said(found, expected) == sentence
