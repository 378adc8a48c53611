import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Scores, Selection, require_kind
from dpkit.selectors._choose import by_class, check_keep, generator, gumbel_top, take_top_of
from dpkit.storage.blocks import row_blocks

_C = 15  # alpha + beta in the paper's convention: how narrow the Beta density is
_OFFSET = {"paper": 15, "code": 16}


def beta_parameters(
    prune_ratio: float, mu_d: float, c_d: float, *, convention: str = "paper"
) -> tuple[float, float]:
    """(alpha, beta) of the Beta density that DUAL's sampling multiplies its scores by.

        beta_r  = 15 (1 - mu_D) (1 - r^c_D)
        alpha_r = 15 - beta_r                      convention="code": 16 - beta_r

    The density's mean moves from mu_D (r -> 0) to 1 (r -> 1): the more is pruned, the more easy
    samples are needed.

    Parameters
    ----------
    prune_ratio : r, the fraction removed, in [0, 1].
    mu_d : mean probability of the hardest samples, in [0, 1].
    c_d : how late the move comes, > 0; the released scripts use 4 (CIFAR) and 11 (ImageNet).
    convention : "paper" or "code", as above.

    Returns
    -------
    (alpha, beta), floats.

    Raises
    ------
    ValueError for another convention, and for a number out of its range.

    References
    ----------
    Cho et al., ICML 2025, arXiv 2502.06905.

    Examples
    --------
    >>> alpha, beta = dpkit.beta_parameters(0.5, mu_d=0.2, c_d=1)
    >>> round(alpha, 2), round(beta, 2)                      # beta = 15 * 0.8 * 0.5
    (9.0, 6.0)
    """
    if convention not in _OFFSET:
        raise ValueError(f'convention must be "paper" or "code"; got {convention!r}')
    if not 0 <= prune_ratio <= 1:
        raise ValueError(
            f"prune_ratio is the fraction removed and must be in [0, 1]; got {prune_ratio}"
        )
    if not 0 <= mu_d <= 1:
        raise ValueError(f"mu_d is a mean probability and must be in [0, 1]; got {mu_d}")
    if not c_d > 0:
        raise ValueError(f"c_d must be a number above 0 (4 on CIFAR, 11 on ImageNet); got {c_d}")
    beta = _C * (1 - mu_d) * (1 - prune_ratio**c_d)
    return _OFFSET[convention] - beta, beta


def keep_beta(
    scores: Scores,
    keep: int,
    *,
    mean_prob: ArrayLike,
    c_d: float,
    rng: int | np.random.Generator,
    convention: str = "paper",
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
) -> Selection:
    """Draw `keep` samples, weighted by score times a Beta density over easiness (DUAL+beta).

        weight(x) = BetaPDF(mean_prob(x); alpha_r, beta_r) * score(x),   r = 1 - keep / n

    Drawn without replacement. At small r the density sits on hard samples, at large r on easy ones
    (see beta_parameters). The draw is done in log space with Gumbel noise: exact, O(n), and samples
    of weight zero only fill what is missing. It goes by blocks of rows, so beyond the two arrays it
    holds only samples that may still be kept.

    Parameters
    ----------
    scores : Scores (n,), not negative.
    keep : how many stay, 0..n.
    mean_prob : (n,) in [0, 1], each sample's probability averaged over the recorded epochs:
        dynamics.mean_prob().
    c_d : > 0; 4 for CIFAR, 11 for ImageNet in the released scripts.
    rng : seed or numpy Generator.
    convention : mu_D and alpha differ between the "paper" (mean_prob of the highest-scoring sample;
        15 - beta) and its released "code" (mean over the ten highest; 16 - beta).
    labels, per_class : (n,) and None | "balanced" | "proportional" | recall, as in keep_top: drawn
        class by class under quotas, with the whole set's weights.

    Returns
    -------
    Selection of exactly `keep` samples; its params hold mu_d, alpha and beta.

    Raises
    ------
    ValueError for negative scores, mean_prob outside [0, 1] or NaN, keep outside 0..n.

    References
    ----------
    Cho et al., ICML 2025, arXiv 2502.06905.

    Examples
    --------
    >>> scores = dpkit.Scores([0.3, 0.0, 0.2, 0.0], name="mine")         # two have weight zero
    >>> chosen = dpkit.keep_beta(scores, 2, mean_prob=np.array([0.2, 0.9, 0.4, 0.9]), c_d=1, rng=0)
    >>> chosen.kept, chosen.params["mu_d"]                               # mu_d: of row 0
    (array([0, 2]), 0.2)
    """
    require_kind(scores, Scores, "keep_beta")
    n = scores.num_samples
    keep = check_keep(keep, n)
    mean_prob = np.asarray(mean_prob, dtype=np.float64)
    if mean_prob.shape != (n,):
        raise ValueError(f"mean_prob must be ({n},), one per sample; got shape {mean_prob.shape}")
    if not (mean_prob.min(initial=0) >= 0 and mean_prob.max(initial=1) <= 1):  # also NaN
        row = int(np.flatnonzero(~((mean_prob >= 0) & (mean_prob <= 1)))[0])
        raise ValueError(
            f"mean_prob must be probabilities in [0, 1]; got {mean_prob[row]} at row {row}: "
            "pass dynamics.mean_prob() of a training on the whole set"
        )
    if scores.values.min(initial=0) < 0:
        raise ValueError(
            "keep_beta multiplies scores by weights, so they must not be negative; "
            f"{scores.name!r} has {scores.values.min():.4g}: use a score that starts at 0, such as "
            "dual"
        )
    rng, params = generator(rng)
    r = 1 - keep / n if n else 0.0
    mu_d = _hardest_mean(scores.values, mean_prob, convention, rng)
    alpha, beta = beta_parameters(r, mu_d, c_d, convention=convention)

    def log_weights(rows):
        # alpha or beta can fall below 1, where the density ends in infinity
        p = np.clip(mean_prob[rows], 1e-6, 1 - 1e-6)
        with np.errstate(divide="ignore"):
            return (alpha - 1) * np.log(p) + (beta - 1) * np.log1p(-p) + np.log(scores.values[rows])

    params |= {
        "scores": scores.name,
        "c_d": c_d,
        "convention": convention,
        "mu_d": mu_d,
        "alpha": alpha,
        "beta": beta,
    }
    if per_class is None:
        kept = gumbel_top(map(log_weights, row_blocks(n, mean_prob, scores.values)), keep, rng)
    else:
        kept, note = by_class(
            labels,
            n,
            keep,
            per_class,
            rng,
            lambda rows, count: rows[
                gumbel_top((log_weights(rows[some]) for some in row_blocks(len(rows))), count, rng)
            ],
        )
        params |= {"per_class": per_class, **note}
    return Selection(np.sort(kept), n, "beta", params)


def _hardest_mean(
    values: np.ndarray, mean_prob: np.ndarray, convention: str, rng: np.random.Generator
) -> float:
    """mu_D: mean_prob of the highest-scoring sample(s), or of the ten highest ("code")."""
    if len(values) == 0:
        return 0.5
    if convention == "code":
        top = take_top_of(
            (values[rows] for rows in row_blocks(len(values), values)), min(10, len(values)), rng
        )
    else:
        highest = values.max()
        top = np.concatenate(
            [
                rows.start + np.flatnonzero(values[rows] == highest)
                for rows in row_blocks(len(values), values)
            ]
        )
    return float(mean_prob[top].mean())
