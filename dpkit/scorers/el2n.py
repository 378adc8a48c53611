import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import error_lengths, require_one_set
from dpkit.storage.blocks import row_blocks


def el2n(*snapshots: Snapshot) -> Scores:
    """Length of the error vector early in training, averaged over networks (EL2N; Paul et al.,
    NeurIPS 2021).

    EL2N(x) = || softmax(x) - onehot(y) ||_2  at the final exit. Unit: probability, in [0, sqrt(2)].
    The paper averages ten or more short runs: pass their snapshots together. One early snapshot is
    a noisy estimate. Ours looks at clean images in eval mode; DUAL's code takes epoch 20 of the
    training pass, CCS's sums epochs 0-9.

    snapshots: one or more, of the same samples in the same order; probs[-1] (n, C) is read.
    Returns Scores (n,), higher = more worth keeping.  ValueError if the snapshots' labels differ.
    Source: arXiv 2107.07075.
    """
    require_one_set(snapshots, "el2n")
    values = np.zeros(snapshots[0].num_samples)
    for rows in row_blocks(len(values), *(snapshot.probs for snapshot in snapshots)):
        for snapshot in snapshots:
            values[rows] += error_lengths(snapshot, rows)
    return Scores(values / len(snapshots), "el2n", {"snapshots": len(snapshots)})
