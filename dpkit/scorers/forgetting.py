import numpy as np

from dpkit.records import Scores, TrainingDynamics, require_kind
from dpkit.storage.blocks import row_blocks


def forgetting(dynamics: TrainingDynamics) -> Scores:
    """How often a sample was forgotten: right in one epoch, wrong in the next (Toneva et al., ICLR
    2019).

    Unit: events, 0..T/2. A sample that was never right has +inf: it was never learned, so it counts
    as hardest. Public code disagrees about those: 0 in DUAL's, T in Toneva's, 1000 in dataset
    cartography.

    dynamics: correct (n, T).   Returns Scores (n,), higher = more worth keeping.   Source: arXiv
        1812.05159.
    """
    require_kind(dynamics, TrainingDynamics, "forgetting")
    dynamics.require_trained("forgetting")
    events = np.zeros(dynamics.num_samples)
    for rows in row_blocks(len(events), dynamics.correct):
        correct = dynamics.correct[rows]
        learned = correct[:, 0].copy()
        for t in range(1, dynamics.num_epochs):  # epoch by epoch: no (n, T) temporaries
            events[rows] += correct[:, t - 1] & ~correct[:, t]
            learned |= correct[:, t]
        events[rows][~learned] = np.inf
    return Scores(events, "forgetting")
