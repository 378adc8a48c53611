"""What a method reads of what the record stage left: its part of that, and the labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dpkit.records import NO_LABEL, Scores, Snapshot, TrainingDynamics

PART_OF_RECORD = {"exits": "final"}  # the exits are those of the final snapshot


def part_of(evidence: Any, kind: Any) -> Any:
    """The dynamics, the early or the final snapshot of what the record stage left; one record
    stands for itself."""
    if isinstance(evidence, (TrainingDynamics, Snapshot, Scores)):
        return evidence
    return getattr(evidence, PART_OF_RECORD.get(kind, kind), None)


def labels_of(part: Any) -> np.ndarray | None:
    """A record's labels, NO_LABEL where a sample was not trained on: records of version 0.6 have 0
    there; None: it has none."""
    if isinstance(part, TrainingDynamics):
        return np.where(part.trained(), part.labels, NO_LABEL)
    return getattr(part, "labels", None)


def one_set_of_labels(method: str, told: Mapping[str, Any]) -> np.ndarray | None:
    """The labels that all who tell them agree on, each where it is told; None if nobody does."""
    found = {who: np.asarray(labels) for who, labels in told.items() if labels is not None}
    for who, labels in found.items():
        first, expected = next(iter(found.items()))
        same = labels.shape == expected.shape
        differ = (
            (labels != expected) & (labels != NO_LABEL) & (expected != NO_LABEL)
            if same
            else np.ones(1, bool)
        )
        if differ.any():
            rows = np.flatnonzero(differ) if same else np.zeros(0, int)
            where = (
                f"in {len(rows)} of {len(labels)} rows (first: row {rows[0]})"
                if len(rows)
                else "in number"
            )
            raise ValueError(
                f"{method} reads {' and '.join(found)} of the same samples, and the labels of "
                f"{first} and {who} differ {where}: take all of them from one training"
            )
    if not found:
        return None
    whole, *others = found.values()
    for labels in others:
        whole = np.where(whole == NO_LABEL, labels, whole)
    return whole
