import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import FEATURE_ROWS, error_lengths, require_features, require_one_set
from dpkit.storage.blocks import row_blocks


def grand(*snapshots: Snapshot) -> Scores:
    """Length of the loss gradient of the last layer, averaged over networks (GraNd; Paul et al.,
    NeurIPS 2021).

    The gradient of cross-entropy in the head's weights is the outer product (p - onehot(y)) h^T,
    and p - onehot(y) in its biases; the length of an outer product is the product of the lengths,
    so no gradient is ever formed: GraNd(x) = || p - onehot(y) ||_2 * || [h, 1] ||_2.   Unit: nats
    per unit of weight, >= 0. Each sample has the gradient of its own loss: DeepCore's code divides
    by the size of the batch, so the samples of a last, short batch come out larger (x3.2 on
    CIFAR-10). differs from paper: the last layer only (the whole network: gradient_norms), and
    clean images in eval mode.

    snapshots: one or more, of the same samples in the same order; probs[-1] (n, C) and features (n,
    d) are read. The paper averages ten or more networks a few epochs old: one alone is a noisy
    estimate. Returns Scores (n,), higher = more worth keeping.  ValueError if the snapshots' labels
    differ, or if features are missing or not finite.   Source: arXiv 2107.07075.
    """
    require_one_set(snapshots, "grand")
    for snapshot in snapshots:
        require_features(snapshot, "grand")
    values = np.zeros(snapshots[0].num_samples)
    arrays = [array for snapshot in snapshots for array in (snapshot.probs, snapshot.features)]
    for rows in row_blocks(len(values), *arrays, size=FEATURE_ROWS):
        for snapshot in snapshots:
            h = snapshot.features[rows].astype(np.float64)
            values[rows] += error_lengths(snapshot, rows) * np.sqrt(1 + np.einsum("ij,ij->i", h, h))
    return Scores(values / len(snapshots), "grand", {"snapshots": len(snapshots)})
