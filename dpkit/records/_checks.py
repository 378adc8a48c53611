"""Checks that several records share."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records.scores import Scores

NO_LABEL = -1  # of a sample that was not trained on, where nobody told its label


def require_kind(value: Any, kind: type, what: str) -> None:
    """Raise TypeError unless `value` is a record of this kind; `what` names who needs it.

    Scores, orders and index sets are never mixed up.
    """
    if not isinstance(value, kind):
        hint = (
            "; wrap it: Scores(values, name=...), higher = more worth keeping"
            if kind is Scores
            else ""
        )
        raise TypeError(f"{what} needs {kind.__name__}; got {type(value).__name__}{hint}")


def check_moment(moment: str) -> None:
    """ValueError unless it is a moment at which dynamics are recorded."""
    if moment not in ("train", "eval"):
        raise ValueError(f'moment must be "train" or "eval"; got {moment!r}')


def whole_labels(
    labels: ArrayLike, n: int, classes: int | None = None, least: int = 0
) -> np.ndarray:
    """labels as (n,) int64 from `least`, to classes - 1 if that is given.

    ValueError unless they are n whole numbers.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels must be ({n},), one per sample; got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        wrong = (
            np.flatnonzero(labels != np.floor(labels)) if labels.dtype.kind == "f" else np.arange(1)
        )
        if len(wrong):
            raise ValueError(
                f"labels must be whole numbers; got {labels.dtype} with {labels[wrong[0]]!r} at "
                f"row {wrong[0]}"
            )
    labels = labels.astype(np.int64)
    top = np.iinfo(np.int64).max if classes is None else classes - 1
    wrong = np.flatnonzero((labels < least) | (labels > top))
    if len(wrong):
        upper = "" if classes is None else str(top)
        raise ValueError(
            f"labels must be in {least}..{upper}; {len(wrong)} are not (first: {labels[wrong[0]]} "
            f"at row {wrong[0]})"
        )
    return labels
