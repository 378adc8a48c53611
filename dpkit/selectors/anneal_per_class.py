"""As many samples as possible whose removal moves the last layer by epsilon or less.

One annealing for every size that is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dpkit.records import Selection, keep_count
from dpkit.records.vectors import OuterVectors, check_vectors, shift_factor, sum_of
from dpkit.selectors._choose import generator
from dpkit.selectors.anneal import Annealed, annealing, check_limits, selection_without

_ALL_SIZES = 32  # up to so many, every size is tried


@dataclass(frozen=True, eq=False, slots=True)
class SizeSearch:
    """Where anneal_within stands.

    size:   how many samples it now tries to prune.
    now:    that annealing's last report.
    pruned: (m,) int64, the largest set found so far that moves it by epsilon or less; empty as long
            as there is none.
    moves:  how far the best set of this size moves the layer: now.best, of="mean" times n / (n -
    size).
    """

    size: int
    now: Annealed
    pruned: np.ndarray
    moves: float


def anneal_within(
    vectors: np.ndarray | OuterVectors,
    epsilon: float,
    *,
    rng: int | np.random.Generator,
    of: str = "mean",
    max_prune_ratio: float = 0.9,
    steps: int | None = None,
    seconds: float | None = None,
    hottest: float = 1.0,
    coldest: float = 1e-4,
) -> Selection:
    """Prune as many samples as can be found that move the last layer by `epsilon` or less (Eq. 3).

        maximise m, the number pruned, subject to |shift| <= epsilon
        shift = n / (n - m) * sum of S_i over the pruned           of="mean"
        shift = sum of S_i over the pruned                         of="sum"

    The vectors of ALL samples add up to nothing, or to about nothing, so the sum alone would let
    nearly everything go: at most max_prune_ratio of the set may. Sizes are tried from the cap down;
    for each a set is annealed until it is short enough. Where there are many, the cap is tried and
    then sizes by bisection, as if below a size that fits all fit. They need not, so another cap may
    find more.

    Parameters
    ----------
    vectors : (n, p) influence vectors, or OuterVectors.
    epsilon : the bound, >= 0, in the unit of `vectors`: S, which carries 1 / n.
    rng : seed or numpy Generator.
    of : the convention of the vectors, "mean" or "sum".
    max_prune_ratio : the cap, a fraction of the set, in [0, 1).
    steps, seconds : limits for each size that is tried (50 n proposals if nothing is said).
    hottest, coldest : as in anneal.

    Returns
    -------
    Selection that never exceeds epsilon; a larger set may exist. params hold norm, the length of
    its sum, moves, how far that moves the layer, and whether the cap was met.

    Raises
    ------
    ValueError if no set of one sample or more was found that is short enough: the message names the
    shortest that was.

    References
    ----------
    Yang et al., ICLR 2023, Eq. 3.

    Examples
    --------
    >>> vectors = np.array([[1.0], [-1.0], [3.0], [5.0]])    # any three add up to 3 or more
    >>> dpkit.anneal_within(vectors, 0.5, of="sum", max_prune_ratio=0.75, rng=0).pruned
    array([0, 1])
    """
    rng, params = generator(rng)
    last, shortest = None, (np.inf, 0)
    for last in annealing_within(
        vectors,
        epsilon,
        rng=rng,
        of=of,
        max_prune_ratio=max_prune_ratio,
        steps=steps,
        seconds=seconds,
        hottest=hottest,
        coldest=coldest,
    ):
        shortest = min(shortest, (last.moves, last.size))
    n = len(vectors)
    cap = n - keep_count(n, max_prune_ratio)
    pruned = last.pruned if last else np.empty(0, np.int64)
    if cap and not len(pruned):
        raise ValueError(
            f"no set of 1 to {cap} samples was found that moves the layer by epsilon = "
            f"{epsilon:.6g} or less; the least found is {shortest[0]:.6g}, of {shortest[1]} "
            "samples: raise epsilon to that, or search longer"
        )
    size = len(pruned)
    vectors = check_vectors(vectors, "anneal_within")
    norm = float(np.linalg.norm(sum_of(vectors, pruned))) if size else 0.0
    found = {
        "epsilon": float(epsilon),
        "of": of,
        "norm": norm,
        "moves": shift_factor(vectors, of)(size) * norm,
        "max_prune_ratio": max_prune_ratio,
        "capped": size == cap,
    }
    return selection_without(pruned, n, "anneal_within", params | found)


def annealing_within(
    vectors: np.ndarray | OuterVectors,
    epsilon: float,
    *,
    rng: int | np.random.Generator,
    of: str = "mean",
    max_prune_ratio: float = 0.9,
    steps: int | None = None,
    seconds: float | None = None,
    hottest: float = 1.0,
    coldest: float = 1e-4,
) -> Iterator[SizeSearch]:
    """What `anneal_within` iterates over: reports of where it stands.

    Parameters
    ----------
    vectors, epsilon and all others : as for anneal_within.

    Yields
    ------
    SizeSearch, after every few thousand proposals.

    Examples
    --------
    >>> vectors = np.array([[1.0], [-1.0], [3.0], [5.0]])
    >>> *_, last = dpkit.annealing_within(vectors, 0.5, of="sum", max_prune_ratio=0.75, rng=0)
    >>> last.size, last.pruned
    (2, array([0, 1]))
    """
    vectors = check_vectors(vectors, "anneal_within")
    n = len(vectors)
    if not 0 <= epsilon < np.inf:  # also NaN
        raise ValueError(
            f"epsilon must be a length, 0 or more; got {epsilon}: it bounds how far the layer moves"
        )
    cap = n - keep_count(n, max_prune_ratio)
    check_limits(steps, seconds, 1, hottest, coldest)
    rng, _ = generator(rng)
    factor = shift_factor(vectors, of)
    limits = {"steps": steps, "seconds": seconds, "hottest": hottest, "coldest": coldest}
    return _annealing_within(vectors, epsilon, rng, factor, cap, limits)


def _annealing_within(vectors, epsilon, rng, factor, cap, limits):
    found, low, high, size = np.empty(0, np.int64), 0, cap + 1, cap
    while low < size < high:
        for now in annealing(vectors, len(vectors) - size, rng=rng, **limits):
            # the length that annealing carries along is rounded: what counts is the sum itself
            moves = factor(size) * now.best
            if (
                moves <= epsilon * (1 + 1e-9)
                and factor(size) * np.linalg.norm(sum_of(vectors, now.pruned)) <= epsilon
            ):
                found = now.pruned
            yield SizeSearch(size, now, found, moves)
            if len(found) == size:
                break
        low, high = (size, high) if len(found) == size else (low, size)
        size = (low + high) // 2 if cap > _ALL_SIZES else high - 1
