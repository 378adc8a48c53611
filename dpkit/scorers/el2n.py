import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import error_lengths, require_one_set
from dpkit.storage.blocks import row_blocks


def el2n(*snapshots: Snapshot) -> Scores:
    """Length of the error vector early in training, averaged over networks (EL2N).

        EL2N(x) = || softmax(x) - onehot(y) ||_2   at the final exit

    The paper averages ten or more short runs: pass their snapshots together. One early snapshot is
    a noisy estimate. Ours looks at clean images in eval mode; DUAL's code takes epoch 20 of the
    training pass, CCS's sums epochs 0-9.

    Parameters
    ----------
    snapshots : one or more, of the same samples in the same order; probs[-1] (n, C) and labels (n,)
        are read.

    Returns
    -------
    Scores (n,), in probability, 0..sqrt(2); higher is more worth keeping.

    Raises
    ------
    ValueError if there is no snapshot, or the snapshots' labels differ.

    References
    ----------
    Paul et al., NeurIPS 2021, arXiv 2107.07075.

    Examples
    --------
    >>> probs = [[[0.8, 0.2], [0.5, 0.5], [0.0, 1.0]]]       # one exit; right, undecided, wrong
    >>> snapshot = dpkit.Snapshot(probs, None, labels=[0, 0, 0])
    >>> dpkit.el2n(snapshot).values.round(2)
    array([0.28, 0.71, 1.41])
    """
    require_one_set(snapshots, "el2n")
    values = np.zeros(snapshots[0].num_samples)
    for rows in row_blocks(len(values), *(snapshot.probs for snapshot in snapshots)):
        for snapshot in snapshots:
            values[rows] += error_lengths(snapshot, rows)
    return Scores(values / len(snapshots), "el2n", {"snapshots": len(snapshots)})
