import numpy as np

from dpkit.records import Scores, TrainingDynamics, require_kind
from dpkit.storage.blocks import row_blocks


def tdds(dynamics: TrainingDynamics, *, window: int = 10, decay: float = 0.9) -> Scores:
    """How unevenly the predicted distribution moves, the last epochs counting most (TDDS).

        a_t  = sum_c | p_{t+1}(c) (log p_{t+1}(c) - log p_t(c)) |       the move from t to t + 1
        D_k  = sqrt( sum of (a_t - mean of a in the window)^2 over t = k..k+J-2 ),      k = 0..T-J
        TDDS = sum_k decay * (1 - decay)^(T-J-k) * D_k

    A window of J epochs holds J - 1 moves, and windows are shifted by one epoch each. At decay 0.9
    the last two windows are 99% of the weight. (DUAL's ports of this score never shift the window,
    and the one for CIFAR omits the softmax.)

    Parameters
    ----------
    dynamics : divergence (n, T - 1), in nats, column t holding a_t; a Recorder keeps it on request:
        Recorder(..., tdds=True).
    window : J, in epochs, 3..T (two epochs hold one move, which cannot be uneven).
    decay : weight of the newest window.

    Returns
    -------
    Scores (n,), in nats, >= 0; higher is more worth keeping.

    Raises
    ------
    ValueError without divergence, or if a setting does not fit.

    References
    ----------
    Zhang et al., "Spanning Training Progress: Temporal Dual-Depth Scoring for Enhanced Dataset
    Pruning", CVPR 2024, arXiv 2311.13613.

    Examples
    --------
    >>> moves = np.array([[0.2, 0.2, 0.2], [0.2, 0.2, 0.4]]) # even; a jump at the end
    >>> p = np.full((2, 4), 0.5)
    >>> d = dpkit.TrainingDynamics(p, p, p > 0, labels=[0, 0], divergence=moves)
    >>> dpkit.tdds(d, window=3).values.round(3)              # 0.9 * sqrt(0.1^2 + 0.1^2)
    array([0.   , 0.127])
    """
    require_kind(dynamics, TrainingDynamics, "tdds")
    moves, epochs = dynamics.divergence, dynamics.num_epochs
    if moves is None:
        raise ValueError(
            "tdds needs a record with divergence, and this one has none: record with Recorder(..., "
            "tdds=True)"
        )
    if (
        isinstance(window, bool)
        or not isinstance(window, (int, np.integer))
        or not 3 <= window <= epochs
    ):
        raise ValueError(
            f"tdds's window must be 3..{epochs} epochs (this record has {epochs}); got {window}: "
            "record longer or choose a shorter window"
        )
    if not 0 < decay <= 1:  # also refuses NaN
        raise ValueError(
            f"tdds's decay is the newest window's weight and must be in (0, 1]; got {decay}"
        )
    dynamics.require_trained("tdds")
    values = np.zeros(dynamics.num_samples)
    for rows in row_blocks(len(values), moves, size=8192):
        for k in range(epochs - window + 1):
            values[rows] += (
                decay
                * (1 - decay) ** (epochs - window - k)
                * _deviation(moves, rows, k, k + window - 1)
            )
    return Scores(values, "tdds", {"window": window, "decay": decay})


def _deviation(moves, rows, begin, end):
    """Root of the summed squared deviations from the mean of columns begin..end-1. (B,) float64.

    In two passes: rolling sums that still hold the large moves of the first epochs lose the small
    ones of the last.
    """
    total = np.zeros(rows.stop - rows.start)
    for t in range(begin, end):
        total += moves[rows, t]
    mean = total / (end - begin)
    squares = np.zeros(len(mean))
    for t in range(begin, end):
        squares += (moves[rows, t] - mean) ** 2
    return np.sqrt(squares)
