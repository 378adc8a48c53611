import numpy as np

from dpkit.records import Scores, TrainingDynamics, require_kind
from dpkit.storage.blocks import row_blocks


def forgetting(dynamics: TrainingDynamics) -> Scores:
    """How often a sample was forgotten: right in one epoch, wrong in the next.

        F(x) = number of epochs k with correct_k and not correct_{k+1};   +inf if x was never right

    A sample that was never right was never learned, so it counts as hardest. Public code disagrees
    about those: 0 in DUAL's, T in Toneva's, 1000 in dataset cartography.

    Parameters
    ----------
    dynamics : correct (n, T).

    Returns
    -------
    Scores (n,), in events, 0..T/2, or +inf; higher is more worth keeping.

    Raises
    ------
    ValueError if rows are NaN (named).

    References
    ----------
    Toneva et al., ICLR 2019, arXiv 1812.05159.

    Examples
    --------
    >>> correct = np.array([[0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
    >>> p = np.where(correct, 0.9, 0.1)
    >>> d = dpkit.TrainingDynamics(p, p, correct, labels=[0, 0, 0])
    >>> dpkit.forgetting(d).values                           # learned; forgotten twice; never right
    array([ 0.,  2., inf])
    """
    require_kind(dynamics, TrainingDynamics, "forgetting")
    answers = dynamics.require("correct", "forgetting")
    dynamics.require_trained("forgetting")
    events = np.zeros(dynamics.num_samples)
    for rows in row_blocks(len(events), answers):
        correct = answers[rows]
        learned = correct[:, 0].copy()
        for t in range(1, dynamics.num_epochs):  # epoch by epoch: no (n, T) temporaries
            events[rows] += correct[:, t - 1] & ~correct[:, t]
            learned |= correct[:, t]
        events[rows][~learned] = np.inf
    return Scores(events, "forgetting")
