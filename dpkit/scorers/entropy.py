import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import exit_probs
from dpkit.storage.blocks import row_blocks


def entropy(snapshot: Snapshot, *, exit: int = -1) -> Scores:
    """How spread out the predicted probabilities are: their entropy.

        H(x) = - sum_c p_c log p_c,   with 0 log 0 = 0

    High means undecided between classes: keep it. The label is not read, so a mislabelled sample of
    which the network is sure scores low.

    Parameters
    ----------
    snapshot : probs (exits, n, C).
    exit : which exit to read, 0 the shallowest, -1 the final one.

    Returns
    -------
    Scores (n,), in nats, 0..log C; higher is more worth keeping.

    Raises
    ------
    ValueError if the snapshot has no such exit.

    References
    ----------
    Shannon; as a query score, Settles, 2009, section 3.1; as a score for pruning, Coleman et al.,
    arXiv 1906.11829.

    Examples
    --------
    >>> snapshot = dpkit.Snapshot([[[1.0, 0.0], [0.5, 0.5]]], None, labels=[0, 0])
    >>> dpkit.entropy(snapshot).values.round(2)              # sure; log 2
    array([0.  , 0.69])
    """
    from scipy.special import entr  # half a second of imports, for this score alone

    probs = exit_probs(snapshot, exit, "entropy")
    values = np.empty(len(probs))
    for rows in row_blocks(len(values), probs):
        values[rows] = entr(probs[rows].astype(np.float64)).sum(axis=1)
    return Scores(values, "entropy", {"exit": exit})
