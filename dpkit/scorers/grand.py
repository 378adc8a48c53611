import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import FEATURE_ROWS, error_lengths, require_features, require_one_set
from dpkit.storage.blocks import row_blocks


def grand(*snapshots: Snapshot) -> Scores:
    """Length of the loss gradient of the last layer, averaged over networks (GraNd).

        GraNd(x) = || p - onehot(y) ||_2 * || [h, 1] ||_2

    The gradient of cross-entropy in the head's weights is the outer product (p - onehot(y)) h^T,
    and p - onehot(y) in its biases. The length of an outer product is the product of the lengths,
    so no gradient is ever formed. Each sample has the gradient of its own loss: DeepCore's code
    divides by the size of the batch, so the samples of a last, short batch come out larger (x3.2 on
    CIFAR-10). differs from paper: the last layer only (the whole network: gradient_norms), and
    clean images in eval mode.

    Parameters
    ----------
    snapshots : one or more, of the same samples in the same order; probs[-1] (n, C), features (n,
        d) and labels (n,) are read. The paper averages ten or more networks a few epochs old: one
        alone is a noisy estimate.

    Returns
    -------
    Scores (n,), in nats per unit of weight, >= 0; higher is more worth keeping.

    Raises
    ------
    ValueError if the snapshots' labels differ, or if features are missing or not finite.

    References
    ----------
    Paul et al., NeurIPS 2021, arXiv 2107.07075.

    Examples
    --------
    >>> probs = [[[0.8, 0.2], [0.5, 0.5]]]                   # errors 0.28 and 0.71
    >>> features = [[2, 2], [0, 0]]                          # [h, 1] has length 3 and 1
    >>> dpkit.grand(dpkit.Snapshot(probs, features, labels=[0, 0])).values.round(2)
    array([0.85, 0.71])
    """
    require_one_set(snapshots, "grand")
    features = [require_features(snapshot, "grand") for snapshot in snapshots]
    values = np.zeros(snapshots[0].num_samples)
    arrays = [snapshot.probs for snapshot in snapshots] + features
    for rows in row_blocks(len(values), *arrays, size=FEATURE_ROWS):
        for snapshot, its_features in zip(snapshots, features):
            h = its_features[rows].astype(np.float64)
            values[rows] += error_lengths(snapshot, rows) * np.sqrt(1 + np.einsum("ij,ij->i", h, h))
    return Scores(values / len(snapshots), "grand", {"snapshots": len(snapshots)})
