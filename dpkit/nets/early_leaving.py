"""Who would leave where, and what that saves: read from a snapshot of a network with exits, without
running it again.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from dpkit.records import Snapshot, require_kind
from dpkit.storage.blocks import row_blocks


def leaves_at(snapshot: Snapshot, threshold: float) -> np.ndarray:
    """The first exit that is surer than `threshold` of each sample; the final one if none is.

    snapshot:  probs (exits, n, C) is read.   threshold: of an exit's largest probability, in [0,
    1). Returns (n,) int64, 0 the shallowest: where `exits.leave_early` would let it go.  ValueError
    for another threshold.
    """
    require_kind(snapshot, Snapshot, "leaves_at")
    check_threshold(threshold)
    exits, n, _ = snapshot.probs.shape
    where = np.full(n, exits - 1)
    for rows in row_blocks(n, snapshot.probs):
        sure = snapshot.probs[:-1, rows].max(axis=-1) > threshold
        if exits > 1:
            where[rows] = np.where(sure.any(axis=0), sure.argmax(axis=0), exits - 1)
    return where


def leaving_curve(
    snapshot: Snapshot, flops: Sequence[float], thresholds: Iterable[float]
) -> list[dict]:
    """What leaving early costs in accuracy and saves in compute, for each threshold.

    flops: of one image at each exit, shallow to final, as exits.exit_flops counts them.
    Returns a line per threshold: threshold, accuracy in [0, 1], flops (mean of an image), saved
    (share of those of the final exit), and left, the share of the samples that leaves at each exit.
    ValueError if the costs do not fit the exits.
    """
    flops = np.asarray(flops, float)
    if flops.shape != (len(snapshot.probs),):
        raise ValueError(
            f"flops must be one number per exit, {len(snapshot.probs)} here; got shape "
            f"{flops.shape}"
        )
    lines, rows = [], np.arange(snapshot.num_samples)
    answers = snapshot.probs.argmax(axis=-1)
    for threshold in thresholds:
        where = leaves_at(snapshot, threshold)
        left = np.bincount(where, minlength=len(flops)) / max(len(where), 1)
        lines.append(
            {
                "threshold": float(threshold),
                "accuracy": float((answers[where, rows] == snapshot.labels).mean()),
                "flops": float(left @ flops),
                "saved": float(1 - left @ flops / flops[-1]),
                "left": left.tolist(),
            }
        )
    return lines


def check_threshold(threshold: float) -> None:
    """ValueError unless this is a probability that an exit can be surer than."""
    number = isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold < 1:
        raise ValueError(
            "threshold is a probability that an exit must be surer than, in [0, 1); got "
            f"{threshold!r}"
        )
