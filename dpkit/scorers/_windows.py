"""The compiled loop under the sliding-window scores (DUAL, Dyn-Unc)."""

import numpy as np
from numba import njit

from dpkit.records import TrainingDynamics, require_kind
from dpkit.storage.blocks import row_blocks

_BLOCK = 1024  # samples per block: five float64 rows of it stay in the nearest cache


def window_mean(
    dynamics: TrainingDynamics, window: int, name: str, *, difficulty: bool
) -> np.ndarray:
    """Mean over all sliding windows of std, or of (1 - mean) * std if `difficulty`. (n,) float64;
    std divides by J - 1.
    """
    require_kind(dynamics, TrainingDynamics, name)
    epochs = dynamics.num_epochs
    if (
        isinstance(window, bool)
        or not isinstance(window, (int, np.integer))
        or not 2 <= window <= epochs
    ):
        raise ValueError(
            f"{name}'s window must be 2..{epochs} epochs (this record has {epochs}); got {window}: "
            "record longer or choose a shorter window"
        )
    dynamics.require_trained(name)
    values = np.empty(dynamics.num_samples)
    for rows in row_blocks(len(values), dynamics.target_prob):
        _window_mean(dynamics.target_prob.T, int(window), difficulty, values, rows.start, rows.stop)
    return values


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _window_mean(prob, window, difficulty, out, begin, end):
    # prob is (T, n); rows begin..end-1 are scored, in `out`. Rolling sums in float64, of each
    # sample's distance to its first value: unshifted float32 sums lose all digits of the variance
    # once p saturates. Epochs are the outer loop, so the inner ones vectorise. The whole prob comes
    # with begin and end, as a slice of it would be strided and slow.
    epochs = len(prob)
    total, squares = np.empty(_BLOCK), np.empty(_BLOCK)
    windows = epochs - window + 1
    for start in range(begin, end, _BLOCK):
        size = min(_BLOCK, end - start)
        first = prob[0, start : start + size]
        result = out[start : start + size]
        total[:] = 0.0
        squares[:] = 0.0
        result[:] = 0.0
        for t in range(epochs):
            new = prob[t, start : start + size]
            if t < window:
                for i in range(size):
                    x = np.float64(new[i]) - first[i]
                    total[i] += x
                    squares[i] += x * x
            else:
                gone = prob[t - window, start : start + size]
                for i in range(size):
                    x = np.float64(new[i]) - first[i]
                    old = np.float64(gone[i]) - first[i]
                    total[i] += x - old
                    squares[i] += (x - old) * (x + old)
            if t >= window - 1:
                for i in range(size):
                    mean = total[i] / window
                    std = np.sqrt(max(squares[i] - total[i] * mean, 0.0) / (window - 1))
                    result[i] += (1.0 - (mean + first[i])) * std if difficulty else std
        for i in range(size):
            result[i] /= windows
