from dpkit.records import Scores, TrainingDynamics, mean_over_epochs, require_kind


def aum(dynamics: TrainingDynamics) -> Scores:
    """Minus the area under the margin: minus the mean over epochs of the logit margin (AUM; Pleiss et al., 2020).

    margin = logit of the given label - largest other logit. A LOW area is a hard, often mislabelled sample, so the
    sign is turned: higher = harder. Unit: logits. (DUAL's released code takes the last epoch's margin only, and
    its high end.)

    dynamics: margin (n, T).   Returns Scores (n,), higher = more worth keeping.   Source: arXiv 2001.10528.
    """
    require_kind(dynamics, TrainingDynamics, "aum")
    dynamics.require_trained("aum")
    return Scores(-mean_over_epochs(dynamics.margin), "aum")
