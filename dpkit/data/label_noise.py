"""Wrong labels on purpose, seeded, to ask a method what it does with them. On plain arrays."""

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import keep_count


def flip_labels(
    labels: ArrayLike, fraction: float, *, num_classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric label noise: a fraction of the labels becomes another class, each equally likely.

    Parameters
    ----------
    labels : (n,) whole numbers in 0..num_classes-1.
    fraction : in [0, 1); n - keep_count(n, fraction) labels are flipped.
    num_classes : C, at least 2.
    seed : decides which, and what they become.

    Returns
    -------
    (noisy labels (n,) int64, the rows that were flipped, ascending int64). Every flipped label is a
    wrong one.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be (n,) whole numbers; got {labels.dtype} of shape {labels.shape}"
        )
    if num_classes < 2 or (len(labels) and not 0 <= labels.min() <= labels.max() < num_classes):
        raise ValueError(
            f"labels must be in 0..{num_classes - 1}, of at least two classes; got "
            f"{labels.min(initial=0)}..{labels.max(initial=0)}"
        )
    if not 0 <= fraction < 1:
        raise ValueError(
            f"fraction, the share of labels to flip, must be in [0, 1); got {fraction!r}"
        )
    # a stream of its own: plain default_rng(seed) would draw the very rows that
    # keep_random(rng=seed) keeps
    n, rng = len(labels), np.random.default_rng([seed, 1])
    flipped = np.sort(rng.choice(n, n - keep_count(n, fraction), replace=False))
    noisy = labels.astype(np.int64)
    noisy[flipped] = (noisy[flipped] + rng.integers(1, num_classes, len(flipped))) % num_classes
    return noisy, flipped
