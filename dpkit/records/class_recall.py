"""class_recall: how much of each class a network gets right, as its training was recorded."""

import numpy as np

from dpkit.records.training_dynamics import TrainingDynamics

EPOCHS = 10  # of one epoch alone the recall of a small class is mostly noise


def class_recall(dynamics: TrainingDynamics, *, last: int = EPOCHS) -> np.ndarray:
    """The share of each class's images that the network got right in the last recorded epochs.

    Parameters
    ----------
    dynamics : correct (n, T) and labels (n,); samples that were not trained on do not count.
    last : epochs to average over, from 1; all, if fewer were recorded.

    Returns
    -------
    (C,) float64 in [0, 1], of class 0, 1, ...; NaN for a class that has no trained sample. It is
    training recall, above that on images that the network has not seen, unless the record is of
    such: out of fold, say.

    Examples
    --------
    >>> correct = np.array([[True, True], [False, True], [False, False]])  # 3 samples, 2 epochs
    >>> d = dpkit.TrainingDynamics(correct * 0.9, correct - 0.5, correct, labels=[0, 0, 1])
    >>> dpkit.class_recall(d), dpkit.class_recall(d, last=1)
    (array([0.75, 0.  ]), array([1., 0.]))
    """
    if isinstance(last, bool) or not isinstance(last, (int, np.integer)) or last < 1:
        raise ValueError(f"last counts epochs and must be a whole number from 1; got {last!r}")
    seen = dynamics.trained()
    labels = dynamics.labels[seen]
    epochs = range(max(dynamics.num_epochs - last, 0), dynamics.num_epochs)
    correct = dynamics.require("correct", "class_recall")
    right = np.sum([np.bincount(labels, weights=correct[seen, t]) for t in epochs], axis=0)
    with np.errstate(invalid="ignore"):
        return right / (len(epochs) * np.bincount(labels))


def recall_in_words(dynamics: TrainingDynamics) -> str:
    """What class_recall is of, by default: "training, mean of the last 10 of 30 epochs"."""
    epochs = dynamics.num_epochs
    return f"training, mean of the last {min(EPOCHS, epochs)} of {epochs} recorded epochs"


def recall_note(params: dict) -> str | None:
    """What class quotas by difficulty went by."""
    if "recall_of" not in params:
        return None
    recall = np.array(params["recall"])
    low, high = np.nanargmin(recall), np.nanargmax(recall)
    told = (
        f"class quotas go by 1 - recall in {params['recall_of']}: from {recall[low]:.2f} for class "
        f"number {low} to {recall[high]:.2f} for class number {high}"
    )
    if recall[high] <= 0.99:
        return told
    return told + (
        "; careful: a class of recall near 1 keeps next to nothing, so record fewer epochs, or "
        "give recall on images that the network has not seen, as a list"
    )
