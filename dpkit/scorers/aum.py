import numpy as np

from dpkit.records import Scores, TrainingDynamics, require_kind
from dpkit.storage.blocks import mean_over_epochs, row_blocks


def aum(dynamics: TrainingDynamics, *, scale: str = "logit") -> Scores:
    """Minus the area under the margin: minus the mean over epochs of the margin (AUM; Pleiss et
    al., 2020).

    margin = logit of the given label - largest other logit. A LOW area is a hard, often mislabelled
    sample, so the sign is turned: higher = harder. Unit: logits, or probability in [-1, 1]. (DUAL's
    released code takes the last epoch's margin only, and its high end.)

    dynamics: margin (n, T); target_prob (n, T) too, if scale is "probability".
    scale:    "logit", as in the paper, or "probability", p_y - largest other p, which CCS and
              DUAL's code use: it orders samples differently.
    Returns Scores (n,), higher = more worth keeping.  ValueError for another scale.   Source: arXiv
    2001.10528.
    """
    require_kind(dynamics, TrainingDynamics, "aum")
    if scale not in ("logit", "probability"):
        raise ValueError(f'aum\'s scale must be "logit" or "probability"; got {scale!r}')
    dynamics.require_trained("aum")
    area = (
        mean_over_epochs(dynamics.margin)
        if scale == "logit"
        else _mean_probability_margin(dynamics)
    )
    return Scores(-area, "aum", {"scale": scale})


def _mean_probability_margin(dynamics):
    """The mean over epochs of p_y - max other p = p_y (1 - exp(-margin)), as softmax turns
    differences into ratios. (n,).
    """
    total = np.zeros(dynamics.num_samples)
    for rows in row_blocks(len(total), dynamics.target_prob, dynamics.margin, size=16384):
        for t in range(dynamics.num_epochs):  # epoch after epoch, as in mean_over_epochs
            p, margin = (
                array[rows, t].astype(np.float64)
                for array in (dynamics.target_prob, dynamics.margin)
            )
            # A p_y too small for float32 is stored as 0, and 0 * exp(-margin) would make the surest
            # mistakes look undecided.
            # As the smallest normal number it gives -1, the hardest, or near it. exp(700) is finite
            # and enough for all.
            p[p == 0] = np.finfo(np.float32).tiny
            total[rows] += np.clip(
                -p * np.expm1(np.minimum(-margin, 700)), -1, 1
            )  # rounding alone may leave [-1, 1]
    return total / dynamics.num_epochs
