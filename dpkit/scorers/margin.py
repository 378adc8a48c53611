import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import exit_probs
from dpkit.storage.blocks import row_blocks


def margin(snapshot: Snapshot, *, exit: int = -1) -> Scores:
    """How close the two likeliest classes are: one minus the classification margin.

        M(x) = 1 - (p_first - p_second),   the two largest probabilities

    A score of 1 is a tie between two classes. The label is not read: the margin of a record's
    `margin`, and of aum, is of the given label.

    Parameters
    ----------
    snapshot : probs (exits, n, C), C at least 2.
    exit : which exit to read, 0 the shallowest, -1 the final one.

    Returns
    -------
    Scores (n,), in probability, 0..1; higher is more worth keeping.

    Raises
    ------
    ValueError if the snapshot has no such exit, or one class only.

    References
    ----------
    Scheffer et al., 2001; as a score for pruning, Coleman et al., arXiv 1906.11829, and DeepCore,
    arXiv 2204.08499.

    Examples
    --------
    >>> snapshot = dpkit.Snapshot([[[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]], None, labels=[0, 0])
    >>> dpkit.margin(snapshot).values.round(2)
    array([0.5, 0.9])
    """
    probs = exit_probs(snapshot, exit, "margin")
    if probs.shape[1] < 2:
        raise ValueError(
            "margin needs at least two classes to compare; this Snapshot has one: use a set with "
            "more classes"
        )
    values = np.empty(len(probs))
    for rows in row_blocks(len(values), probs):
        second, first = np.partition(probs[rows], (-2, -1), axis=1)[:, -2:].T.astype(np.float64)
        values[rows] = 1 - (first - second)
    return Scores(values, "margin", {"exit": exit})
