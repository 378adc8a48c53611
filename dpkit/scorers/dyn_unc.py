from dpkit.records import Scores, TrainingDynamics
from dpkit.scorers._windows import window_mean


def dyn_unc(dynamics: TrainingDynamics, *, window: int = 10) -> Scores:
    """Uncertainty alone: the standard deviation in a window, averaged over windows (Dyn-Unc).

        score = mean over k of std_k,   std_k of the J probabilities in window k

    std has J - 1 in the divisor. There are T - J + 1 windows.

    Parameters
    ----------
    dynamics : target_prob (n, T), probabilities of the given label.
    window : J, in epochs, 2..T.

    Returns
    -------
    Scores (n,), in probability, 0..0.71, and at most 0.53 for J = 10; higher is more worth keeping.

    Raises
    ------
    ValueError if the window does not fit T, or rows are NaN (named).

    References
    ----------
    He et al., 2024, arXiv 2306.05175. The released code drops the last window; this one does not.

    Examples
    --------
    >>> p = np.array([[0.9, 0.9, 0.9], [0.1, 0.9, 0.1]])     # settled, wavering
    >>> d = dpkit.TrainingDynamics(p, p, p > 0.5, labels=[0, 0])
    >>> dpkit.dyn_unc(d, window=3).values.round(2)
    array([0.  , 0.46])
    """
    return Scores(
        window_mean(dynamics, window, "dyn_unc", difficulty=False), "dyn_unc", {"window": window}
    )
