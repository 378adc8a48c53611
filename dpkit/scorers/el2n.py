import numpy as np

from dpkit.records import Scores, Snapshot, require_kind, row_blocks


def el2n(*snapshots: Snapshot) -> Scores:
    """Length of the error vector early in training, averaged over networks (EL2N; Paul et al., NeurIPS 2021).

    EL2N(x) = || softmax(x) - onehot(y) ||_2  at the final exit. Unit: probability, in [0, sqrt(2)].
    The paper averages ten or more short runs: pass their snapshots together. One early snapshot is a noisy estimate.
    Ours looks at clean images in eval mode; DUAL's code takes epoch 20 of the training pass, CCS's sums epochs 0-9.

    snapshots: one or more, of the same samples in the same order; probs[-1] (n, C) is read.
    Returns Scores (n,), higher = more worth keeping.  ValueError if the snapshots' labels differ.
    Source: arXiv 2107.07075.
    """
    if not snapshots:
        raise ValueError("el2n needs at least one Snapshot; got none: pass take_snapshot(net, images)")
    for snapshot in snapshots:
        require_kind(snapshot, Snapshot, "el2n")
        if not np.array_equal(snapshot.labels, snapshots[0].labels):
            raise ValueError("el2n averages snapshots of the same samples; these have different labels: "
                             "take them all on one set")
    n = snapshots[0].num_samples
    values = np.zeros(n)
    for rows in row_blocks(n, *(snapshot.probs for snapshot in snapshots)):
        for snapshot in snapshots:
            error = snapshot.probs[-1, rows].astype(np.float64)
            error[np.arange(len(error)), snapshot.labels[rows]] -= 1
            values[rows] += np.linalg.norm(error, axis=1)
    return Scores(values / len(snapshots), "el2n", {"snapshots": len(snapshots)})
