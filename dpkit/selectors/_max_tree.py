"""The row of the highest value while values change: O(log n) a change. For compiled loops."""

import numpy as np
from numba import njit

# best[m] is the winner of best[2 m] and best[2 m + 1], best[1] the winner of all; the second half
# are the rows, or -1 for none


def max_tree(values: np.ndarray) -> np.ndarray:
    """best, over all rows of `values`."""
    size = 1
    while size < len(values):
        size *= 2
    best = np.full(2 * size, -1)
    best[size : size + len(values)] = np.arange(len(values))
    _play(values, best)
    return best


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _play(values, best):
    for m in range(len(best) // 2 - 1, 0, -1):
        best[m] = _winner(values, best[2 * m], best[2 * m + 1])


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def update_tree(values: np.ndarray, best: np.ndarray, row: int, out: bool) -> None:
    """Update `best` after the value of `row` changed, or if `out`, take the row out for good."""
    m = len(best) // 2 + row
    best[m] = -1 if out else row
    m //= 2
    while m:
        before = best[m]
        best[m] = _winner(values, best[2 * m], best[2 * m + 1])
        # nobody above hears of the change: most end here, near the leaf
        if best[m] == before and before != row:
            break
        m //= 2


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _winner(values, a, b):
    """The row of higher value, the first of equals."""
    if b < 0 or (a >= 0 and values[a] >= values[b]):
        return a
    return b
