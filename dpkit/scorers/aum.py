import numpy as np

from dpkit.records import Scores, TrainingDynamics, require_kind
from dpkit.storage.blocks import mean_over_epochs, row_blocks


def aum(dynamics: TrainingDynamics, *, scale: str = "logit") -> Scores:
    """Minus the mean over epochs of the margin: the area under it (AUM).

        AUM(x) = - 1/T sum_k margin_k(x),   margin = logit of the given label - largest other logit

    A LOW area is a hard, often mislabelled sample, so the sign is turned: higher means harder.
    DUAL's released code takes the last epoch's margin only, and its high end.

    Parameters
    ----------
    dynamics : margin (n, T), in logits; target_prob (n, T) too, if scale is "probability".
    scale : "logit", as in the paper, or "probability", p_y - largest other p, which CCS and DUAL's
        code use: it orders samples differently.

    Returns
    -------
    Scores (n,), in logits, or by scale="probability" in probability, -1..1; higher is more worth
    keeping.

    Raises
    ------
    ValueError for another scale, or rows that are NaN (named).

    References
    ----------
    Pleiss et al., NeurIPS 2020, arXiv 2001.10528.

    Examples
    --------
    >>> margin = np.array([[2, 3, 4], [-1, 0, -2]])          # far ahead, behind
    >>> p = np.array([[0.9, 0.9, 0.9], [0.2, 0.5, 0.1]])
    >>> d = dpkit.TrainingDynamics(p, margin, margin > 0, labels=[0, 0])
    >>> dpkit.aum(d).values
    array([-3.,  1.])
    """
    require_kind(dynamics, TrainingDynamics, "aum")
    if scale not in ("logit", "probability"):
        raise ValueError(f'aum\'s scale must be "logit" or "probability"; got {scale!r}')
    margins = dynamics.require("margin", "aum")
    dynamics.require_trained("aum")
    area = (
        mean_over_epochs(margins)
        if scale == "logit"
        else _mean_probability_margin(dynamics.target_prob, margins)
    )
    return Scores(-area, "aum", {"scale": scale})


def _mean_probability_margin(target_prob, margins):
    """The mean over epochs of p_y - max other p = p_y (1 - exp(-margin)), as softmax turns
    differences into ratios. (n,).
    """
    total = np.zeros(len(margins))
    for rows in row_blocks(len(total), target_prob, margins, size=16384):
        for t in range(margins.shape[1]):  # epoch after epoch, as in mean_over_epochs
            p, margin = (array[rows, t].astype(np.float64) for array in (target_prob, margins))
            # A p_y too small for float32 is stored as 0, and 0 * exp(-margin) would make the surest
            # mistakes look undecided. As the smallest normal number it gives -1, the hardest, or
            # near it. exp(700) is finite and enough for all.
            p[p == 0] = np.finfo(np.float32).tiny
            # rounding alone may leave [-1, 1]
            total[rows] += np.clip(-p * np.expm1(np.minimum(-margin, 700)), -1, 1)
    return total / margins.shape[1]
