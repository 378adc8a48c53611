"""What the scores of snapshots share: their checks, the probabilities of one exit, the length of
the error vector.
"""

from collections.abc import Sequence

import numpy as np

from dpkit.records import Snapshot, require_kind
from dpkit.storage.blocks import unfit_rows

FEATURE_ROWS = 2048  # rows of features in a block: as float64 and 2048 wide, 34 MB


def require_one_set(snapshots: Sequence[Snapshot], name: str) -> None:
    """Raise unless these are Snapshots of the same samples, one at least; `name` needs them."""
    if not snapshots:
        raise ValueError(
            f"{name} needs at least one Snapshot; got none: pass take_snapshot(net, images)"
        )
    for snapshot in snapshots:
        require_kind(snapshot, Snapshot, name)
        if not np.array_equal(snapshot.labels, snapshots[0].labels):
            raise ValueError(
                f"{name} averages snapshots of the same samples; these have different labels: "
                "take them all on one set"
            )


def require_features(snapshot: Snapshot, name: str) -> np.ndarray:
    """The snapshot's features; ValueError unless it kept them and all of them are finite."""
    if snapshot.features is None:
        raise ValueError(
            f"{name} reads features, and this Snapshot kept none: pass take_snapshot(net, images)"
        )
    wrong = unfit_rows(snapshot.features)
    if len(wrong):
        raise ValueError(
            f"{name} needs finite features; {len(wrong)} of {snapshot.num_samples} rows hold NaN "
            f"or infinity (first: row {wrong[0]}): the network diverged, so train it again at a "
            "lower rate"
        )
    return snapshot.features


def exit_probs(snapshot: Snapshot, exit: int, name: str) -> np.ndarray:
    """(n, C): the snapshot's probabilities at one exit, 0 the shallowest, -1 the final one.
    ValueError if it is not there.
    """
    require_kind(snapshot, Snapshot, name)
    exits = len(snapshot.probs)
    if isinstance(exit, bool) or not isinstance(exit, (int, np.integer)):
        raise ValueError(
            f"{name}'s exit must be a whole number, 0 the shallowest and -1 the final one; got "
            f"{exit!r}"
        )
    if not -exits <= exit < exits:
        least = exit + 1 if exit >= 0 else -exit
        raise ValueError(
            f"{name} at exit {exit} needs a Snapshot with at least {_NUMBERS.get(least, least)} "
            f"exits; this one has {_NUMBERS.get(exits, exits)}: wrap the net in EarlyExitNet "
            "before training, or choose another exit"
        )
    return snapshot.probs[exit]


_NUMBERS = {1: "one", 2: "two", 3: "three"}


def error_lengths(snapshot: Snapshot, rows: slice) -> np.ndarray:
    """|| p - onehot(y) ||_2 at the final exit, of these rows. (B,) float64."""
    error = snapshot.probs[-1, rows].astype(np.float64)
    error[np.arange(len(error)), snapshot.labels[rows]] -= 1
    return np.linalg.norm(error, axis=1)
