"""The records everything else is a function of: what was seen, what it is worth, and what is kept.

Row i is original sample i, in every array of every record, forever. Records are frozen, checked
when they are made, and hold read-only numpy arrays; scorers, selectors and plots see nothing else.
`.save(folder)` writes one .npy per array and a manifest with checksums; `Type.load(folder)`
memory-maps them, and what reads them goes by `row_blocks`, so what was seen epoch by epoch may be
larger than memory.
"""

from dpkit.records._checks import NO_LABEL, check_moment, require_kind, whole_labels
from dpkit.records.scores import Scores
from dpkit.records.selection import Selection, keep_count
from dpkit.records.snapshot import Snapshot
from dpkit.records.training_dynamics import TrainingDynamics

__all__ = [
    "NO_LABEL",
    "Scores",
    "Selection",
    "Snapshot",
    "TrainingDynamics",
    "check_moment",
    "keep_count",
    "require_kind",
    "whole_labels",
]
