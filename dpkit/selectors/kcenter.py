import numpy as np
from numba import njit

from dpkit.records import Selection
from dpkit.selectors._choose import by_class, check_features, check_keep, generator
from dpkit.selectors._neighbours import square_distance


def keep_kcenter(features, keep: int, *, rng, labels=None, per_class=None) -> Selection:
    """Cover the set: from a random sample on, pick the one farthest from all picked so far (k-centre greedy).

        next = argmax_x min_{p picked} |x - p|,   Euclidean.
    The largest distance from any sample to its nearest pick is at most twice the least possible with `keep` picks.

    features:  (n, d) finite numbers, snapshot.features.
    rng:       seed or numpy Generator: draws the first pick, and among samples equally far.
    labels (n,), per_class: None | "balanced" | "proportional": every class covered by itself, from a start of its own.
    Returns a Selection of exactly `keep` samples, different ones even where features are the same.
    ValueError for features that are not finite, keep outside 0..n. O(n d) a pick at most; memory one copy of the features.
    Source: Sener & Savarese, ICLR 2018, Algorithm 1; the bound is Gonzalez's (1985).
    """
    features = check_features(features)
    n = len(features)
    keep = check_keep(keep, n)
    rng, params = generator(rng)

    def choose(rows, count):
        rows = rng.permutation(rows)  # the first is the start, and ties go by place
        return rows[:count] if count in (0, len(rows)) else rows[_spread(_widest_first(features, rows), count)]

    kept, note = by_class(labels, n, keep, per_class, rng, choose)
    return Selection(np.sort(kept), n, "kcenter", params | {"per_class": per_class, **note})


def _widest_first(features, rows):
    """A copy of these rows, columns in order of falling variance: most distances are then soon known to be too large."""
    order = np.argsort(-features.var(axis=0, dtype=np.float64), kind="stable")
    return features[rows[:, None], order]


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _spread(features, count):
    """Rows in the order picked, from row 0 on; of equally far ones the first. Distances in float64, by differences."""
    n = len(features)
    near = np.full(n, np.inf)  # squared distance to the nearest pick; -1 for the picks
    picked = np.empty(count, np.int64)
    p = 0
    for t in range(count):
        picked[t] = p
        near[p] = -1.0
        farthest, last = -1.0, p
        for i in range(n):
            if near[i] > 0:
                near[i] = min(near[i], square_distance(features[i], features[last], near[i]))
            if near[i] > farthest:
                farthest, p = near[i], i
    return picked
