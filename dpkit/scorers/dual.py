from dpkit.records import Scores, TrainingDynamics
from dpkit.scorers._windows import window_mean


def dual(dynamics: TrainingDynamics, *, window: int = 10) -> Scores:
    """Difficulty times uncertainty, averaged over sliding windows (DUAL; Cho et al., ICML 2025).

    Within a window of J epochs:  DUAL_k = (1 - mean_k) * std_k,  std with J - 1 in the divisor;
    the score is the mean over the T - J + 1 windows. Unit: probability squared, in [0, 0.39].
    High means hard *and* still wavering: keep it. Mislabelled samples also score high.

    dynamics: target_prob (n, T), probabilities of the given label seen during training; T is 30 on
        CIFAR.
    window:   J, in epochs, 2..T.
    Returns Scores (n,), higher = more worth keeping.  Raises ValueError if the window does not fit
    T.
    Source: arXiv 2502.06905, "Difficulty and Uncertainty-Aware Lightweight Score". The released
    code scales std by 10; the order is unchanged.
    """
    return Scores(
        window_mean(dynamics, window, "dual", difficulty=True), "dual", {"window": window}
    )
