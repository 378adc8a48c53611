from dpkit.records import Scores, TrainingDynamics
from dpkit.scorers._windows import window_mean


def dyn_unc(dynamics: TrainingDynamics, *, window: int = 10) -> Scores:
    """Uncertainty alone: the standard deviation in a window, averaged over windows (Dyn-Unc; He et
    al., 2024).

    Within a window of J epochs:  s_k = std of target_prob, J - 1 in the divisor;  the score is the
    mean over the T - J + 1 windows. Unit: probability, in [0, 0.71], and at most 0.53 for J = 10.

    dynamics: target_prob (n, T).   window: J, in epochs, 2..T.
    Returns Scores (n,), higher = more worth keeping.  Raises ValueError if the window does not fit
    T.
    Source: arXiv 2306.05175. The released code drops the last window; this one does not.
    """
    return Scores(
        window_mean(dynamics, window, "dyn_unc", difficulty=False), "dyn_unc", {"window": window}
    )
