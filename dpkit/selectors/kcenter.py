import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from dpkit.records import Selection
from dpkit.selectors._choose import check_features, check_keep, class_parts, generator, join_choices
from dpkit.selectors._max_tree import max_tree, update_tree
from dpkit.selectors._neighbours import square_distance
from dpkit.storage.long_work import LongWork

_AT_ONCE = 2**26  # squared differences between two looks at the clock: some 50 ms


def keep_kcenter(
    features: np.ndarray,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
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
    labels, per_class : (n,) and None | "balanced" | "proportional" | recall, as in keep_top: every
        class covered by itself, from a start of its own.

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

    parts, note = class_parts(labels, n, keep, per_class, rng)
    # measured, for each sample there is: most distances are never computed, or not to the end
    pick_seconds = 25e-9 + 4e-11 * features.shape[1]
    seconds = pick_seconds * sum(len(rows) * count for rows, count in parts if count < len(rows))
    work = LongWork(f"kcenter of {n:,} samples", seconds=seconds)

    def choose(rows, count):
        rows = rng.permutation(rows)  # the first is the start, and ties go by place
        if count in (0, len(rows)):
            return rows[:count]
        return rows[_spread(features, rows, count, work, len(rows) * pick_seconds)]

    kept = join_choices(choose(rows, count) for rows, count in parts)
    return Selection(np.sort(kept), n, "kcenter", params | {"per_class": per_class, **note})


def _spread(features, rows, count, work, seconds):
    """Places in `rows` in the order picked, from the first on; of equally far ones the first."""
    picked, seen = np.zeros(count, np.int64), np.ones(len(rows), np.int64)
    near = np.empty(len(rows))
    _measure_first(features, rows, near)
    best = max_tree(near)
    update_tree(near, best, 0, True)
    done, at_once = 1, max(_AT_ONCE // features.shape[1], 1)
    # a part at a time, as compiled code cannot be interrupted inside
    while done < count:
        before = done
        done = _more_picks(features, rows, picked, done, near, seen, best, at_once)
        work.add((done - before) * seconds)
    return picked


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _measure_first(features, rows, near):
    """near becomes the squared distances to the first of `rows`."""
    for i in range(len(rows)):
        near[i] = square_distance(features[rows[i]], features[rows[0]], np.inf)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _more_picks(features, rows, picked, done, near, seen, best, distances):
    """Go on after `done` picks for about so many distances; return how many are then picked.

    near: squared distance to the nearest of the first `seen` picks, an upper bound of that to all.
    """
    while done < len(picked) and distances > 0:
        i = best[1]
        # most samples are near some early pick: only where the bound is the highest of all is it
        # worth bringing up to date
        if seen[i] < done:
            distances -= done - seen[i]
            while seen[i] < done:
                near[i] = min(
                    near[i],
                    square_distance(features[rows[i]], features[rows[picked[seen[i]]]], near[i]),
                )
                seen[i] += 1
            update_tree(near, best, i, False)
        else:
            distances -= 1
            picked[done] = i
            done += 1
            update_tree(near, best, i, True)
    return done
