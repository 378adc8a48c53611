import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Selection
from dpkit.selectors._choose import (
    by_class,
    check_features,
    check_keep,
    check_labels,
    generator,
    take_top,
)
from dpkit.storage.blocks import by_label, row_blocks


def keep_nearest_to_centre(
    features: np.ndarray,
    keep: int,
    *,
    labels: ArrayLike,
    rng: int | np.random.Generator,
    per_class: str | ArrayLike | None = "proportional",
) -> Selection:
    """Keep the samples closest to the mean of their class: |x - mu_y|, Euclidean.

    Parameters
    ----------
    features : (n, d) finite numbers, snapshot.features.
    keep : how many stay, 0..n.
    labels : (n,) whole numbers: whose mean each sample is measured from.
    rng : seed or numpy Generator; draws among samples tied at the edge.
    per_class : "proportional" | "balanced" | recall, as in keep_top | None: the closest of the
        whole set, however many of each class those are.

    Returns
    -------
    Selection of exactly `keep` samples.

    Raises
    ------
    ValueError for features that are not finite, keep outside 0..n.

    References
    ----------
    Yang et al., ICLR 2023, who call this herding.

    Examples
    --------
    >>> features = np.array([[4.0], [6.0], [7.0], [7.4]])    # mean 6.1
    >>> dpkit.keep_nearest_to_centre(features, 3, labels=[0, 0, 0, 0], rng=0).kept
    array([1, 2, 3])
    """
    features = check_features(features)
    n = len(features)
    keep = check_keep(keep, n)
    rng, params = generator(rng)
    if labels is None and per_class is None:
        raise ValueError(
            f"keep_nearest_to_centre measures from the classes' means: it needs labels=, ({n},) "
            "whole numbers; got none"
        )
    labels = check_labels(labels, n, per_class)
    near = np.empty(n)
    for _, members in by_label(labels):
        mean = features[members].mean(axis=0, dtype=np.float64)
        for rows in row_blocks(len(members), size=4096):
            near[members[rows]] = -np.square(features[members[rows]] - mean).sum(axis=1)
    kept, note = by_class(
        labels, n, keep, per_class, rng, lambda rows, count: rows[take_top(near[rows], count, rng)]
    )
    return Selection(
        np.sort(kept), n, "nearest_to_centre", params | {"per_class": per_class, **note}
    )
