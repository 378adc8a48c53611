"""The exercises of lesson 08."""

from collections.abc import Callable

import numpy as np

from dpkit.teaching.checks._answer import Verdict, judge

# the lesson's: two near copies, and a far side
FIVE = np.array([(0, 0), (0.3, 0), (0.6, 0.2), (3, 0), (3.5, 0.5)])
SEVEN = np.array([(0, 0), (1, 0), (0.4, 1.7), (5, 5), (5.5, 4.2), (7, 7.3), (-2, 6.1)])


def _pour(counts, keep, order=np.argsort, share=lambda to_keep, left, keep: to_keep // left):
    """Budgets by water-filling, or its result in another order or with another equal share."""
    budget, to_keep = np.zeros(len(counts)), keep
    for filled, k in enumerate(order(counts)):
        budget[k] = min(counts[k], share(to_keep, len(counts) - filled, keep))
        to_keep -= budget[k]
    return budget


def water_filling(answer: Callable) -> Verdict:
    """CCS's budgets: `answer(counts, keep)` with the samples in each stratum (strata,) gives how
    many each keeps (strata,).
    """
    cases = [
        (np.array([2, 9, 4, 30]), 20),
        (np.array([12, 0, 5, 1, 40]), 29),
        (np.array([3, 8, 1]), 12),
        (np.array([7, 3]), 6),
    ]
    return judge(
        answer,
        cases,
        _pour,
        [
            (
                lambda counts, keep: _pour(counts, keep)[np.argsort(counts)],
                (
                    "The right budgets, in the order of size. Asked for is the order of `counts`: "
                    "write each to its place, `budget[k]`."
                ),
            ),
            (
                lambda counts, keep: np.minimum(counts, keep // len(counts)),
                "Every stratum gets the first equal share, and what small ones cannot hold is "
                "lost. Pour it on: take a new share for each, from what is still to be kept.",
            ),
            (
                lambda counts, keep: _pour(counts, keep, order=lambda counts: range(len(counts))),
                (
                    "The strata are filled as they stand. Begin with the smallest, "
                    "`np.argsort(counts)`: only then nothing is left over."
                ),
            ),
            (
                lambda counts, keep: _pour(counts, keep, order=lambda counts: np.argsort(-counts)),
                (
                    "The largest stratum is filled first. Begin with the smallest: what it cannot "
                    "hold goes to the larger ones."
                ),
            ),
            (
                lambda counts, keep: _pour(
                    counts, keep, share=lambda to_keep, left, keep: to_keep / left
                ),
                "There are fractions of a sample. The equal share is rounded down: `//`.",
            ),
            (
                lambda counts, keep: _pour(
                    counts, keep, share=lambda to_keep, left, keep: -(-to_keep // left)
                ),
                (
                    "Where the shares are uneven, a smaller stratum gets more than a larger one "
                    "here. Round the equal share down: `//`."
                ),
            ),
            (
                lambda counts, keep: _pour(
                    counts, keep, share=lambda to_keep, left, keep: to_keep // len(counts)
                ),
                (
                    "What is left is divided among all strata each time. Those that are filled "
                    "take no more: divide by those still left."
                ),
            ),
            (
                lambda counts, keep: _pour(
                    counts, keep, share=lambda to_keep, left, keep: keep // left
                ),
                (
                    "The share is of `keep`, again and again. Take it of what is still to be kept: "
                    "subtract each budget."
                ),
            ),
            (
                lambda counts, keep: np.round(keep * counts / counts.sum()),
                (
                    "Every stratum gives in proportion to its size, as a random draw does. "
                    "Water-filling pours the same into each."
                ),
            ),
            (
                lambda counts, keep: counts - _pour(counts, keep),
                "These are the samples that go. A budget is how many are KEPT.",
            ),
        ],
        "From the smallest stratum up, and nothing is lost: those are the budgets of `keep_ccs`.",
    )


def _distances(x):
    return np.linalg.norm(x[:, None] - x, axis=2)


def _among_nearest(x, k):
    """near[i, j]: j is among the k nearest of i. (n, n) bool"""
    d = np.where(np.eye(len(x), dtype=bool), np.inf, _distances(x))
    return d.argsort(1).argsort(1) < k


def _joined(x, k):
    return _among_nearest(x, k) | _among_nearest(x, k).T


def _with_itself(x, k):
    """As `_among_nearest`, but everybody's own distance 0 counts as one of the k."""
    return _distances(x).argsort(1).argsort(1) < k


def _ids_of_nearest(x, k):
    return np.where(np.eye(len(x), dtype=bool), np.inf, _distances(x)).argsort(1)[:, :k]


def neighbour_graph(answer: Callable) -> Verdict:
    """D2's graph: `answer(features, k)` with features (n, d) gives joined (n, n), True where two
    samples are joined.
    """
    return judge(
        answer,
        [(FIVE, 1), (FIVE, 2), (SEVEN, 2), (SEVEN, 3)],
        _joined,
        [
            (
                _among_nearest,
                (
                    "The graph goes one way: i may name j as near, and j not i. They are joined if "
                    "EITHER does: `near | near.T`."
                ),
            ),
            (
                lambda x, k: _among_nearest(x, k).T,
                (
                    "The graph goes one way, from the named one to whoever names it. They are "
                    "joined if EITHER does: `near | near.T`."
                ),
            ),
            (
                lambda x, k: _among_nearest(x, k) & _among_nearest(x, k).T,
                (
                    "Only those are joined who name EACH OTHER. One of the two is enough: `|` "
                    "instead of `&`."
                ),
            ),
            (
                lambda x, k: _among_nearest(x, k).astype(int) + _among_nearest(x, k).T,
                (
                    "There is a 2 where both name each other, so that they would count twice. Use "
                    "`|` with bools instead of `+`."
                ),
            ),
            (
                lambda x, k: _with_itself(x, k) | _with_itself(x, k).T,
                (
                    "Everybody is their own nearest, at distance 0, and takes one of the k places. "
                    "Put infinity on the diagonal first."
                ),
            ),
            (
                lambda x, k: (
                    (_with_itself(x, k) | _with_itself(x, k).T) & ~np.eye(len(x), dtype=bool)
                ),
                (
                    "There is one neighbour too few: the nearest of all, at distance 0, is the "
                    "sample itself, and it took a place."
                ),
            ),
            (
                lambda x, k: _joined(x, k) | np.eye(len(x), dtype=bool),
                (
                    "The right neighbours, but everybody is joined to themselves as well: the "
                    "diagonal should be False."
                ),
            ),
            (
                lambda x, k: _joined(x, k + 1),
                (
                    "There is one neighbour too many: with infinity on the diagonal the first k of "
                    "`argsort` are the k nearest."
                ),
            ),
            (
                lambda x, k: ~_with_itself(x, len(x) - k) | ~_with_itself(x, len(x) - k).T,
                (
                    "These are the farthest. `argsort` begins with the smallest distance, so the "
                    "nearest come first."
                ),
            ),
            (
                _ids_of_nearest,
                (
                    "These are the ids of the k nearest. Asked for is a matrix: set `near[i, ids] "
                    "= True`, then join both ways."
                ),
            ),
        ],
        "Near from either side: that is the graph of `keep_d2`.",
    )


def _away(x, kept):
    """(n, kept)"""
    return _distances(x)[:, kept]


def cover_radius(answer: Callable) -> Verdict:
    """k-centre's aim: `answer(features (n, d), ids of the kept)` gives one distance."""
    return judge(
        answer,
        [(FIVE, np.array([1, 3])), (SEVEN, np.array([0, 3, 6])), (SEVEN, np.array([4]))],
        lambda x, kept: _away(x, kept).min(1).max(),
        [
            (
                lambda x, kept: _away(x, kept).min(1).mean(),
                (
                    "That is the mean distance, the average image's. The radius is the worst case: "
                    "`max`."
                ),
            ),
            (
                lambda x, kept: _away(x, kept).min(1)[np.setdiff1d(np.arange(len(x)), kept)].mean(),
                "That is the mean distance of the pruned. The radius is the worst case: `max`.",
            ),
            (
                lambda x, kept: _away(x, kept).min(1).max() ** 2,
                "The distance is squared: a root is missing.",
            ),
            (
                lambda x, kept: _away(x, kept).max(),
                (
                    "That is the farthest pair. A sample is covered by its NEAREST kept one: first "
                    "the `min` over the kept."
                ),
            ),
            (
                lambda x, kept: _away(x, kept).min(0).max(),
                (
                    "That is 0, as every kept sample is nearest to itself: the axes are exchanged. "
                    "For each SAMPLE, the `min` over kept."
                ),
            ),
            (
                lambda x, kept: _away(x, kept).max(1).min(),
                (
                    "`min` and `max` have changed places: first each sample's nearest kept one, "
                    "`min`, then the worst-off sample, `max`."
                ),
            ),
            (
                lambda x, kept: _away(x, kept).min(1),
                (
                    "These are the distances of all samples to their nearest kept one. The radius "
                    "is the largest of them: `max`."
                ),
            ),
            (
                lambda x, kept: _away(x, kept).min(1).argmax(),
                (
                    "That is WHICH sample is worst off (`argmax`). Asked for is how far away it "
                    "is: `max`."
                ),
            ),
            (
                lambda x, kept: np.abs(x[:, None] - x[kept]).sum(2).min(1).max(),
                (
                    "The coordinates' differences are added up. A distance is the root of their "
                    "summed squares."
                ),
            ),
        ],
        "The worst-off sample's distance to its nearest kept one: what `keep_kcenter` makes small.",
    )
