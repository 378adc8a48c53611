"""The exercises of lesson 02."""

from collections.abc import Callable

import numpy as np

from dpkit.records import Scores, keep_count
from dpkit.teaching.checks._answer import Verdict, judge

PROBS = np.array(
    [
        [0.1, 0.3, 0.2, 0.7, 0.4, 0.9],  # learned with ups and downs
        [0.9, 0.95, 0.97, 0.99, 0.99, 1.0],  # easy
        [0.1, 0.05, 0.1, 0.0, 0.1, 0.05],  # never learned
        [0.2, 0.8, 0.2, 0.8, 0.2, 0.8],
    ]
)


def _windows(target_prob, window, count=None):
    """(n, windows, J)"""
    return np.lib.stride_tricks.sliding_window_view(target_prob, window, axis=1)[:, :count]


def _side_by_side(target_prob, window):
    return np.stack(
        [
            target_prob[:, k : k + window]
            for k in range(0, target_prob.shape[1] - window + 1, window)
        ],
        1,
    )


def _difficulty(p):
    return 1 - p.mean(-1)


def _std(p):
    return p.std(-1, ddof=1)


def _dual(factors=(_difficulty, _std), windows=_windows):
    """DUAL, or what becomes of it with other factors and other windows."""
    return lambda target_prob, window: np.prod(
        [of(windows(target_prob, window)) for of in factors], axis=0
    ).mean(1)


def dual(answer: Callable) -> Verdict:
    """DUAL by hand: `answer(target_prob (n, T), window J)` gives the scores (n,)."""
    return judge(
        answer,
        [(PROBS, 2), (PROBS, 4), (PROBS[:, :5], 3)],
        _dual(),
        [
            (
                _dual((_difficulty, lambda p: p.std(-1))),
                (
                    "The divisor: `std` divides by J here, DUAL by J - 1. NumPy wants to be told: "
                    "`std(..., ddof=1)`."
                ),
            ),
            (
                _dual((_difficulty, lambda p: p.var(-1, ddof=1))),
                "The spread is the variance here. DUAL takes its root, the standard deviation.",
            ),
            (
                _dual((lambda p: p.mean(-1), _std)),
                (
                    "The direction: the mean itself is large for easy samples. Difficulty is 1 "
                    "minus the mean."
                ),
            ),
            (
                _dual((_std,)),
                (
                    "The uncertainty alone is Dyn-Unc. DUAL multiplies it, window by window, by "
                    "the difficulty 1 - mean."
                ),
            ),
            (
                _dual((_difficulty,)),
                (
                    "The difficulty alone is here. DUAL multiplies it, window by window, by the "
                    "standard deviation."
                ),
            ),
            (
                lambda q, J: _difficulty(q) * _std(q),
                (
                    "That is one window as long as the whole record. Take windows of J epochs, and "
                    "the mean over the windows."
                ),
            ),
            (
                lambda q, J: _difficulty(q) * _std(_windows(q, J)).mean(1),
                (
                    "The difficulty is that of the whole record. Both factors belong to one "
                    "window: multiply first, then take the mean."
                ),
            ),
            (
                lambda q, J: _difficulty(_windows(q, J)).mean(1) * _std(_windows(q, J)).mean(1),
                (
                    "The mean of a product is not the product of the means: multiply within each "
                    "window, then take the mean over them."
                ),
            ),
            (
                _dual(windows=lambda q, J: _windows(q, J, -1)),
                (
                    "One window is missing, the last: T epochs hold T - J + 1 windows. (`range(T - "
                    "J)` stops one too early.)"
                ),
            ),
            (
                lambda q, J: _dual()(q, J) * (q.shape[1] - J + 1),
                (
                    "The windows are added up. The score is their mean, so that records of "
                    "different length compare."
                ),
            ),
            (
                _dual(windows=_side_by_side),
                (
                    "The windows stand side by side. Let them slide: the next one begins one epoch "
                    "later, not J."
                ),
            ),
            (lambda q, J: -_dual()(q, J), "The order is reversed: a high score says keep it."),
        ],
        "Difficulty times spread, in sliding windows: that is `dpkit.dual`.",
    )


def _best(scores, ratio):
    """Ids of the highest scores, highest first."""
    return np.argsort(-scores.values, kind="stable")[: keep_count(len(scores.values), ratio)]


def _low(scores):
    return Scores(-scores.values, scores.name)


def most_wanted(answer: Callable) -> Verdict:
    """Keep by score: `answer(scores, ratio)` with Scores (n,) and the fraction REMOVED gives the
    ids to keep, ascending.
    """
    order = (
        "The right samples, but in the order of their scores. Ids come ascending, "
        "`np.sort(...)`: row i is sample i."
    )
    cut = (
        "The count is cut off: `int` and `//` drop what stands behind the point. "
        "`dpkit.keep_count` rounds those that stay."
    )
    lowest = "The order is reversed: these are the lowest scores. High means keep it."
    numbers = "These are scores. Asked for is where they stand: `np.argsort` gives ids."
    mixed = Scores(np.array([0.3, 0.1, 0.9, 0.5, 0.2, 0.8, 0.05, 0.6, 0.4, 0.7]), "dual")
    return judge(
        answer,
        [
            (mixed, 0.38),
            (mixed, 0.72),
            (Scores(np.array([3.0, np.inf, 1.0, 2.0, 0.5]), "forgetting"), 0.4),
        ],
        lambda scores, ratio: np.sort(_best(scores, ratio)),
        [
            (_best, order),
            (lambda scores, ratio: _best(scores, ratio)[::-1], order),
            (
                lambda scores, ratio: np.sort(
                    np.argsort(-scores.values)[: int(len(scores.values) * (1 - ratio))]
                ),
                cut,
            ),
            (
                lambda scores, ratio: np.sort(
                    np.argsort(scores.values)[int(len(scores.values) * ratio) :]
                ),
                cut,
            ),
            (lambda scores, ratio: np.sort(_best(_low(scores), ratio)), lowest),
            (lambda scores, ratio: _best(_low(scores), ratio), lowest),
            (
                lambda scores, ratio: np.sort(_best(scores, 1 - ratio)),
                "The ratio is the fraction REMOVED; so many were kept here.",
            ),
            (
                lambda scores, ratio: np.setdiff1d(
                    np.arange(len(scores.values)), _best(scores, ratio)
                ),
                "These are the samples to prune. Asked for are those to keep.",
            ),
            (
                lambda scores, ratio: np.isin(np.arange(len(scores.values)), _best(scores, ratio)),
                (
                    "That is a mask, one True or False per sample. Asked for are the ids: "
                    "`np.flatnonzero(mask)`."
                ),
            ),
            (lambda scores, ratio: scores.values[_best(scores, ratio)], numbers),
            (lambda scores, ratio: np.sort(scores.values[_best(scores, ratio)]), numbers),
        ],
        (
            "The ids of the highest scores, ascending: that is what `dpkit.keep_top` puts into a "
            "Selection."
        ),
        whole=True,
    )


def _shared(first, second, ratio, how=lambda a, b, n: len(np.intersect1d(a, b)) / len(a)):
    """What the kept ids a and b of two choices among n have in common, or another measure of it."""
    return how(_best(first, ratio), _best(second, ratio), len(first.values))


def _with(how):
    return lambda first, second, ratio: _shared(first, second, ratio, how)


def overlap(answer: Callable) -> Verdict:
    """`answer(first, second, ratio)` with two Scores (n,) and the fraction REMOVED gives the share
    of kept ids in common.
    """
    a = Scores(np.array([0.31, 0.12, 0.93, 0.54, 0.25, 0.86, 0.07, 0.68, 0.49, 0.7]), "dual")
    b = Scores(np.array([3.0, 8.0, 9.0, 4.0, 2.0, 1.0, 5.0, 7.0, 0.0, 6.0]), "el2n")
    places = (
        "The two are compared place by place. An image counts if both keep it, at whatever "
        "place: `np.intersect1d`."
    )
    return judge(
        answer,
        [(a, b, 0.4), (a, b, 0.7), (b, a, 0.8)],
        _shared,
        [
            (
                _with(lambda a, b, n: len(np.intersect1d(a, b)) / n),
                (
                    "The divisor: shared images are counted among all n. Divide by those that are "
                    "kept, so that equal choices give 1."
                ),
            ),
            (
                _with(lambda a, b, n: len(np.intersect1d(a, b)) / len(np.union1d(a, b))),
                (
                    "The divisor: shared images are divided by those that either keeps. Divide by "
                    "how many one choice keeps."
                ),
            ),
            (
                _with(lambda a, b, n: len(np.intersect1d(a, b))),
                (
                    "That is a count. Divide it by how many are kept, so that choices of different "
                    "size compare."
                ),
            ),
            (_with(lambda a, b, n: np.mean(a == b)), places),
            (_with(lambda a, b, n: np.mean(np.sort(a) == np.sort(b))), places),
            (
                _with(lambda a, b, n: np.mean(np.isin(range(n), a) == np.isin(range(n), b))),
                "Images that both throw away are counted as well. Count only those that both keep.",
            ),
            (
                lambda first, second, ratio: _shared(first, second, 1 - ratio),
                "The ratio is the fraction REMOVED; so many were kept here.",
            ),
            (
                lambda first, second, ratio: _shared(_low(first), _low(second), ratio),
                "These are the choices of the lowest scores. High means keep it.",
            ),
            (
                lambda first, second, ratio: _shared(_low(first), _low(second), 1 - ratio),
                (
                    "That is how much the two pruned parts share. Asked for is what the two kept "
                    "ones share."
                ),
            ),
            (
                lambda first, second, ratio: (
                    len(
                        np.intersect1d(
                            *(some.values[_best(some, ratio)] for some in (first, second))
                        )
                    )
                    / keep_count(len(first.values), ratio)
                ),
                (
                    "The scores themselves are compared, and two kinds of score hardly share a "
                    "number. Compare ids: who is kept?"
                ),
            ),
        ],
        (
            "Shared images among those kept. By chance it would be 1 - ratio; below that, two "
            "scores want opposite things."
        ),
    )
