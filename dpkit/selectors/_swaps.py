"""Proposals of an annealing one after another, compiled; see `anneal` for the formula."""

from typing import NamedTuple

import numpy as np
from numba import njit

_compiled = njit(
    cache=True, nogil=True, error_model="numpy", boundscheck=False, fastmath={"reassoc", "contract"}
)


class Factors(NamedTuple):
    """The vectors: S_i = left_i (x) right_i, with |S_i|^2 in `square`.

    left:   (n, C); ones, (n, 1), where the vectors are written out in `right`.
    right:  (n, d).
    square: (n,) float64.
    """

    left: np.ndarray
    right: np.ndarray
    square: np.ndarray


class State(NamedTuple):
    """Which samples are pruned, and their sum. Swaps change all of it in place.

    pruned, kept: (m,) and (n - m,) int64, rows.
    total:        (C, d) float64, the sum of the vectors of the pruned.
    carried:      the same in the type of the vectors, which is quicker to read.
    """

    pruned: np.ndarray
    kept: np.ndarray
    total: np.ndarray
    carried: np.ndarray

    def before(self, proposals: "Proposals", later: np.ndarray) -> np.ndarray:
        """The pruned rows as they were before the swaps `later`, ascending."""
        pruned, kept = self.pruned.copy(), self.kept.copy()
        for t in later[::-1]:
            a, b = proposals.first[t], proposals.second[t]
            pruned[a], kept[b] = kept[b], pruned[a]
        return np.sort(pruned)


class Proposals(NamedTuple):
    """What to swap: places in State.pruned and State.kept, and how lucky each try is.

    first, second: (size,) int64.
    luck:          (size,) float64, exponential: accepted if the change is below temperature * luck.
    """

    first: np.ndarray
    second: np.ndarray
    luck: np.ndarray


@_compiled
def _change(left, right, square, carried, a, b):
    """By how much |u|^2 rises when a, which is pruned, and b, which is kept, are swapped."""
    ra, rb, row, la, lb = right[a], right[b], carried[0], left[a, 0], left[b, 0]
    inner, alike, both = right.dtype.type(0), right.dtype.type(0), right.dtype.type(0)
    # one pass over the two rows: fetching them is what takes the time
    for k in range(right.shape[1]):
        inner += ra[k] * rb[k]
        both += row[k] * (lb * rb[k] - la * ra[k])
    for c in range(1, left.shape[1]):
        row, la, lb = carried[c], left[a, c], left[b, c]
        for k in range(right.shape[1]):
            both += row[k] * (lb * rb[k] - la * ra[k])
    for c in range(left.shape[1]):
        alike += left[a, c] * left[b, c]
    return square[a] + square[b] - 2.0 * inner * alike + 2.0 * both


@_compiled
def mean_change(vectors: Factors, state: State, first: np.ndarray, second: np.ndarray) -> float:
    """Mean |change| of the swaps of these places: the unit of the temperatures."""
    left, right, square = vectors
    total = 0.0
    for t in range(len(first)):
        a, b = state.pruned[first[t]], state.kept[second[t]]
        total += abs(_change(left, right, square, state.carried, a, b))
    return total / len(first)


@_compiled
def try_swaps(
    vectors: Factors,
    state: State,
    proposals: "Proposals",
    hot: float,
    cold: float,
    objective: float,
    best: float,
    swaps: np.ndarray,
) -> tuple[float, float, int, int]:
    """Try all proposals, at temperatures that fall from `hot` to `cold`.

    objective is |u|^2 of the state, best the smallest so far. Returns (objective, best, taken, at):
    the first `taken` of swaps (size,) int32 are now the accepted proposals, and best is that of the
    state after `at` of them; at is -1 where none was better than before.

    No array is returned, here and in the other compiled loops: numba runs Python to make one, and
    a Ctrl-C that waited for the loop then comes out as a SystemError.
    """
    # unpacked here: read from the tuples inside the loop they cost a tenth more time
    left, right, square = vectors
    pruned, kept, u, carried = state
    first, second, luck = proposals
    size, parts, width = len(first), left.shape[1], right.shape[1]
    temperature, falls = hot, (cold / hot) ** (1 / size) if hot > 0 and cold > 0 else 1.0
    taken, at = 0, -1
    for t in range(size):
        a, b = pruned[first[t]], kept[second[t]]
        if _change(left, right, square, carried, a, b) < temperature * luck[t]:
            ra, rb = right[a], right[b]
            objective = 0.0
            for c in range(parts):
                la, lb = left[a, c], left[b, c]
                for k in range(width):
                    u[c, k] += np.float64(lb) * rb[k] - np.float64(la) * ra[k]
                    carried[c, k] = u[c, k]
                    objective += u[c, k] * u[c, k]
            pruned[first[t]], kept[second[t]] = b, a
            swaps[taken] = t
            taken += 1
            if objective < best:
                best, at = objective, taken
        temperature *= falls
    return objective, best, taken, at
