from dpkit.records import Scores, TrainingDynamics
from dpkit.scorers._windows import window_mean


def dual(dynamics: TrainingDynamics, *, window: int = 10) -> Scores:
    """Difficulty times uncertainty, averaged over sliding windows (DUAL).

        DUAL_k = (1 - mean_k) * std_k,   score = mean over k of DUAL_k

    mean_k and std_k are of the J epochs of window k, std with J - 1 in the divisor; there are T - J
    + 1 windows. High means hard *and* still wavering: keep it. Mislabelled samples score high as
    well.

    Parameters
    ----------
    dynamics : target_prob (n, T), probabilities of the given label seen during training; T is 30 on
        CIFAR.
    window : J, in epochs, 2..T.

    Returns
    -------
    Scores (n,), in probability squared, 0..0.39; higher is more worth keeping.

    Raises
    ------
    ValueError if the window does not fit T, or rows are NaN (named).

    References
    ----------
    Cho et al., "Lightweight Dataset Pruning without Full Training via Example Difficulty and
    Prediction Uncertainty", ICML 2025, arXiv 2502.06905. The released code scales std by 10; the
    order is unchanged.

    Examples
    --------
    >>> p = np.array([[0.9, 0.9, 0.9], [0.1, 0.9, 0.1]])     # settled, wavering
    >>> d = dpkit.TrainingDynamics(p, p, p > 0.5, labels=[0, 0])
    >>> dpkit.dual(d, window=3).values.round(2)              # (1 - 0.37) * 0.46
    array([0.  , 0.29])
    """
    return Scores(
        window_mean(dynamics, window, "dual", difficulty=True), "dual", {"window": window}
    )
