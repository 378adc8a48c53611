import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from dpkit.records import Selection
from dpkit.selectors._choose import by_class, check_features, check_keep, generator
from dpkit.selectors._max_tree import max_tree, update_tree
from dpkit.selectors._neighbours import square_distance


def keep_kcenter(
    features: np.ndarray,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | None = None,
) -> Selection:
    """Cover the set: from a random start, pick what is farthest from all picks (k-centre greedy).

        next = argmax_x min_{p picked} |x - p|,   Euclidean

    The largest distance from any sample to its nearest pick is at most twice the least possible
    with `keep` picks.

    Parameters
    ----------
    features : (n, d) finite numbers, snapshot.features.
    keep : how many stay, 0..n.
    rng : seed or numpy Generator: draws the first pick, and among samples equally far.
    labels, per_class : (n,) and None | "balanced" | "proportional": every class covered by itself,
        from a start of its own.

    Returns
    -------
    Selection of exactly `keep` samples, different ones even where features are the same. At most
    O(n d) a pick, mostly far less; memory O(n).

    Raises
    ------
    ValueError for features that are not finite, keep outside 0..n.

    References
    ----------
    Sener & Savarese, ICLR 2018, Algorithm 1; the bound is Gonzalez's (1985).

    Examples
    --------
    >>> features = np.array([[0.0], [0.0], [5.0], [9.0], [9.0]])
    >>> chosen = dpkit.keep_kcenter(features, 3, rng=0)
    >>> features[chosen.kept, 0]                             # whichever is the first
    array([0., 5., 9.])
    """
    features = check_features(features)
    n = len(features)
    keep = check_keep(keep, n)
    rng, params = generator(rng)

    def choose(rows, count):
        rows = rng.permutation(rows)  # the first is the start, and ties go by place
        return rows[:count] if count in (0, len(rows)) else rows[_spread(features, rows, count)]

    kept, note = by_class(labels, n, keep, per_class, rng, choose)
    return Selection(np.sort(kept), n, "kcenter", params | {"per_class": per_class, **note})


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _spread(features, rows, count):
    """Places in `rows` in the order picked, from the first on; of equally far ones the first.
    Distances in float64.
    """
    n = len(rows)
    # squared distance to the nearest of the first `seen` picks: an upper bound of that to all
    near = np.empty(n)
    seen = np.ones(n, np.int64)
    picked = np.zeros(count, np.int64)
    for i in range(n):
        near[i] = square_distance(features[rows[i]], features[rows[0]], np.inf)
    best = max_tree(near)
    update_tree(near, best, 0, True)
    for t in range(1, count):
        # most samples are near some early pick: only where the bound is the highest of all is it
        # worth bringing up to date
        while seen[best[1]] < t:
            i = best[1]
            while seen[i] < t:
                near[i] = min(
                    near[i],
                    square_distance(features[rows[i]], features[rows[picked[seen[i]]]], near[i]),
                )
                seen[i] += 1
            update_tree(near, best, i, False)
        picked[t] = best[1]
        update_tree(near, best, picked[t], True)
    return picked
