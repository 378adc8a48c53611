import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from dpkit.records import Scores, Selection, require_kind
from dpkit.selectors._choose import check_features, check_keep, class_parts, generator, join_choices
from dpkit.selectors._cutoff import clip_infinite, cut
from dpkit.selectors._max_tree import max_tree, update_tree
from dpkit.selectors._neighbours import nearest, search_memory, search_seconds
from dpkit.storage.blocks import row_blocks
from dpkit.storage.long_work import LongWork

_AT_ONCE = 2**15  # rows or picks that compiled code does before it can be interrupted


def keep_d2(
    scores: Scores,
    keep: int,
    *,
    features: np.ndarray,
    rng: int | np.random.Generator,
    neighbours: int = 5,
    gamma: float = 0.1,
    mode: str = "sum",
    cutoff: float | str = 0.0,
    difficulty: Scores | None = None,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
) -> Selection:
    """Pick the highest again and again, and lower what lies near: difficulty with diversity (D2).

    On the graph of nearest neighbours (i and j are joined if either is among the other's k nearest;
    d_ij Euclidean):

        forward:  v_i = s_i + sum_j exp(-d_ij) s_j           mode="sum", the paper's
                  v_i = s_i * sum_j exp(-d_ij) s_j           mode="product", in the released code
        reverse:  pick p of highest v;  v_j -= exp(-gamma d_jp) v_p for its neighbours j;
                  `keep` times, v_p as it now stands

    Once all that is left has been lowered below 0 (a fifth to a half of the picks, when half the
    set is kept), a pick lifts its neighbours: so does the released code.

    Parameters
    ----------
    scores : s, Scores (n,); forgetting on CIFAR, AUM on ImageNet in the paper. An infinite one
        counts as the largest (+inf: never learned) or smallest finite one left. If any is negative
        all are raised until the lowest is 0.
    keep : how many stay, 0..n.
    features : (n, d) finite numbers, snapshot.features. Distances depend on their scale.
    rng : seed or numpy Generator: ties are drawn, so equal samples have equal chances; without ties
        nothing is.
    neighbours : k, 1..n - 1; 5 in the released example. In a class of no more than k samples all
        are joined.
    gamma : >= 0; smaller reaches further; .1 in the released example.
    mode : "sum" or "product", as above.
    cutoff : fraction of hardest samples removed first, by `difficulty` (default: `scores`; AUM in
        the released example), or a name, as in keep_ccs. The example has .4 at r = .9; a fraction
        above the prune ratio is refused.
    difficulty : Scores (n,), higher = harder (default: `scores`).
    labels, per_class : (n,) and None | "balanced" | "proportional" | recall, as in keep_top:
        cutoff, graph and picks class by class (the example cuts off over the whole set first). A
        class left with less than its quota: as in keep_ccs.

    Returns
    -------
    Selection of exactly `keep` samples. O(n^2 d / 2) time for the graph, then O((n + keep) k log
    n); memory O(n (d + k)), no n x n matrix.

    Raises
    ------
    ValueError for features that are not finite or not n rows, and for a cutoff that leaves fewer
    than `keep`.

    Notes
    -----
    Its authors searched k, gamma and the cutoff for each ratio. With these defaults at every ratio
    and CCS's cutoffs, as in dpkit.METHODS, it keeps easier samples of CIFAR-10 than a random draw
    does (results/baselines-cifar10-small_cnn).

    References
    ----------
    Maharana et al., ICLR 2024, and its released code. The paper writes d^2, and gamma in the
    forward pass too; the code does not.

    Examples
    --------
    >>> scores = dpkit.Scores([1.0, 0.9, 0.8], name="mine")
    >>> features = np.array([[0.0], [0.1], [10.0]])          # rows 0 and 1 are near twins
    >>> dpkit.keep_d2(scores, 2, features=features, neighbours=1, rng=0).kept
    array([0, 2])
    """
    require_kind(scores, Scores, "keep_d2")
    n = scores.num_samples
    keep = check_keep(keep, n)
    features = check_features(features, n)
    if mode not in ("sum", "product"):
        raise ValueError(f'mode must be "sum" or "product"; got {mode!r}')
    if not 0 <= gamma < np.inf:  # also NaN
        raise ValueError(f"gamma must be a number from 0 (.1 in the released example); got {gamma}")
    if (
        isinstance(neighbours, (bool, np.bool_))
        or not isinstance(neighbours, (int, np.integer))
        or neighbours < 1
    ):
        raise ValueError(
            "neighbours must be a whole number from 1 (5 in the released example); got "
            f"{neighbours!r}"
        )
    if neighbours >= max(n, 2):
        raise ValueError(
            f"neighbours must be below {n}, the set's size, as no sample is its own neighbour; got "
            f"{neighbours}"
        )
    rng, params = generator(rng)
    left, settings = cut(scores, difficulty, cutoff, keep, labels, per_class, rng)
    s = clip_infinite(scores.values[left])
    # differs from paper: it does not say what a negative score does, which would turn the forward
    # pass around
    values = np.zeros(n)
    values[left] = s - min(s.min(initial=0), 0)

    parts, note = class_parts(labels, n, keep, per_class, rng, left=left)
    sizes, d = [len(rows) for rows, count in parts if 0 < count < len(rows)], features.shape[1]
    largest = max(sizes, default=0)
    work = LongWork(
        f"d2 of {n:,} samples",
        seconds=sum(search_seconds(size, d) for size in sizes),
        # the rows in another order, the search, and the graph with what sorts its edges
        memory=features.itemsize * largest * d
        + search_memory(largest, d, neighbours)
        + 80.0 * largest * neighbours,
    )

    def choose(rows, count):
        if count in (0, len(rows)):
            return rows[:count]
        # from here on ties go by place, which is now a matter of chance
        rows = rng.permutation(rows)
        graph = _graph(features[rows], min(neighbours, len(rows) - 1), work)
        return rows[_pick(values[rows], *graph, count, gamma, mode == "sum")]

    kept = join_choices(choose(rows, count) for rows, count in parts)
    params |= settings | {
        "neighbours": int(neighbours),
        "gamma": float(gamma),
        "mode": mode,
        **note,
    }
    return Selection(np.sort(kept), n, "d2", params)


def _graph(features, k, work):
    """The symmetrised kNN graph by rows: starts (n + 1,), neighbours and distances (edges,)."""
    n = len(features)
    to, distances = nearest(features, k, work)
    at = np.repeat(np.arange(n), k)
    # i * n + j names the edge i -> j; one that comes from both ends comes twice
    edges, first = np.unique(
        np.concatenate([at * n + to.ravel(), to.ravel() * n + at]), return_index=True
    )
    return (
        np.searchsorted(edges, np.arange(n + 1) * n),
        edges % n,
        np.tile(distances.ravel(), 2)[first],
    )


def _pick(s, starts, to, distances, keep, gamma, add):
    """Both passes. Rows in the order picked; of equal values the first row."""
    v, picked = np.empty(len(s)), np.empty(keep, np.int64)
    for rows in row_blocks(len(s), size=_AT_ONCE):
        _forward(s, starts, to, distances, add, rows.start, v[rows])
    best, waits = max_tree(v), np.ones(len(s), np.bool_)
    for part in row_blocks(keep, size=_AT_ONCE):
        _reverse(v, best, waits, starts, to, distances, gamma, picked[part])
    return picked


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _forward(s, starts, to, distances, add, first, v):
    """v of the rows from `first` on."""
    for row in range(len(v)):
        i = first + row
        received = 0.0
        for e in range(starts[i], starts[i + 1]):
            received += np.exp(-distances[e]) * s[to[e]]
        v[row] = s[i] + received if add else s[i] * received


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _reverse(v, best, waits, starts, to, distances, gamma, picked):
    """The next picks, as many as `picked` has places."""
    for t in range(len(picked)):
        p = picked[t] = best[1]
        waits[p] = False
        update_tree(v, best, p, True)
        for e in range(starts[p], starts[p + 1]):
            j = to[e]
            if waits[j]:
                v[j] -= np.exp(-gamma * distances[e]) * v[p]
                update_tree(v, best, j, False)
