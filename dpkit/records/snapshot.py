"""Snapshot: one network looked at once."""

from dataclasses import dataclass, field

import numpy as np

from dpkit.records._checks import whole_labels
from dpkit.records._saved import Saved
from dpkit.storage.blocks import row_blocks


@dataclass(frozen=True, eq=False)
class Snapshot(Saved):
    """One network looked at once: eval mode, clean images.

    Parameters
    ----------
    probs : (exits, n, C) float32, class probabilities of every exit, shallow to final.
    features : (n, d) float32, what the final linear layer reads; None if it was not kept.
    labels : (n,) int64 in 0..C-1.
    params : what else to keep with it.

    Raises
    ------
    ValueError if probs are no probabilities, or shapes or labels do not fit.

    Examples
    --------
    >>> probs = np.array([[0.8, 0.2], [0.3, 0.7]])           # (n, C) of one exit
    >>> snapshot = dpkit.Snapshot(probs[None], features=None, labels=[0, 1])
    >>> snapshot.probs.shape, snapshot.num_samples, snapshot.num_classes
    ((1, 2, 2), 2, 2)
    """

    probs: np.ndarray
    features: np.ndarray | None
    labels: np.ndarray
    params: dict = field(default_factory=dict)
    _arrays = ("probs", "features", "labels")
    _optional = ("features",)

    def __post_init__(self) -> None:
        probs = np.asarray(self.probs)
        if probs.ndim != 3:
            raise ValueError(
                f"probs must be (exits, samples, classes); got shape {probs.shape}; "
                "for a network with one exit pass probs[None]"
            )
        probs = np.ascontiguousarray(probs, dtype=np.float32)
        exits, n, classes = probs.shape
        labels = whole_labels(self.labels, n, classes)
        for rows in row_blocks(n, probs):
            total = probs[:, rows].sum(axis=-1, dtype=np.float64)
            low, high = probs[:, rows].min(initial=0), probs[:, rows].max(initial=0)
            if not (low >= 0 and high <= 1 and np.all(np.abs(total - 1) < 1e-3)):
                raise ValueError(
                    "probs must be probabilities: in [0, 1] and summing to 1 over the classes; "
                    f"got values in [{low:.3g}, {high:.3g}] with sums in [{total.min():.3g}, "
                    f"{total.max():.3g}]: softmax first"
                )
        features = self.features
        if features is not None:
            features = np.asarray(features)
            if features.ndim != 2 or len(features) != n:
                raise ValueError(
                    f"features must be ({n}, d), a row per sample; got shape {features.shape}"
                )
            features = np.ascontiguousarray(features, dtype=np.float32)
        self._set(probs=probs, features=features, labels=labels, params=dict(self.params))

    @property
    def num_samples(self) -> int:
        """n, the size of the set."""

        return self.probs.shape[1]

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""

        return self.probs.shape[2]
