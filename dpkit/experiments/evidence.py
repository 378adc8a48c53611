"""Evidence: what a watched training leaves for scoring and selecting."""

from dataclasses import dataclass
from pathlib import Path

from dpkit.experiments.costs import Cost
from dpkit.records import Scores, Snapshot, TrainingDynamics


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one watched training left: dynamics, its cost, where it lies (None: nowhere), and two
    looks at the network:

    snapshot on the way, for early scores such as EL2N, and final after the last epoch, for features
    and confidence. What was not asked for is None.
    scores: made elsewhere; then there is nothing else.
    name: of what was seen, for keys of the stages after it; default: the folder's.
    """

    dynamics: TrainingDynamics | None
    snapshot: Snapshot | None
    cost: Cost
    folder: Path | None = None
    final: Snapshot | None = None
    name: str = ""
    scores: Scores | None = None

    def __post_init__(self) -> None:
        if not self.name and self.folder is not None:
            object.__setattr__(self, "name", self.folder.name)
