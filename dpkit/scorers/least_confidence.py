import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import exit_probs
from dpkit.storage.blocks import row_blocks


def least_confidence(snapshot: Snapshot, *, exit: int = -1) -> Scores:
    """How little the network trusts its own answer (least confidence).

        LC(x) = 1 - max_c p_c

    The label is not read. It is of probabilities: DeepCore's code takes raw logits, whose largest
    also grows with the scale of the features, and so orders samples differently.

    Parameters
    ----------
    snapshot : probs (exits, n, C).
    exit : which exit to read, 0 the shallowest, -1 the final one.

    Returns
    -------
    Scores (n,), in probability, 0..1 - 1/C; higher is more worth keeping.

    Raises
    ------
    ValueError if the snapshot has no such exit.

    References
    ----------
    Lewis & Gale, 1994; as a score for pruning, Coleman et al., arXiv 1906.11829.

    Examples
    --------
    >>> snapshot = dpkit.Snapshot([[[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]], None, labels=[0, 0])
    >>> dpkit.least_confidence(snapshot).values.round(2)
    array([0.3, 0.6])
    """
    probs = exit_probs(snapshot, exit, "least_confidence")
    values = np.empty(len(probs))
    for rows in row_blocks(len(values), probs):
        values[rows] = 1 - probs[rows].max(axis=1).astype(np.float64)
    return Scores(values, "least_confidence", {"exit": exit})
