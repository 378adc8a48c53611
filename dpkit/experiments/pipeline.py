"""The one way through: the stages of a trial in order, and what each leaves for the next.

A stage is added by a line in STAGES and a file of its own, with its Stage and its function. `prune`
runs those up to the selection, a trial all, a sweep one at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from dpkit.data.image_set import ImageSet
from dpkit.experiments import choosing, stages
from dpkit.experiments.costs import Cost
from dpkit.methods.method import Method
from dpkit.records import Scores, Selection


@dataclass
class Run:
    """What the stages are asked, and what they have left so far.

    images, test: the set, None where no stage looks at it.   labels: (n,), the given ones.
    record, retrain: arguments of stages.record and stages.retrain besides the set, seed and cache.
    keep: how many samples stay.   cache: folder of finished stages.
    on_epoch: called as on_epoch(stage, report) after every epoch that is run or read.
    evidence: may be given: then nothing is recorded.
    costs, folders: by stage, of those that were run or found; folders of those that have one.
    """

    method: Method
    options: dict
    keep: int
    seed: int
    labels: np.ndarray
    cache: Path
    images: ImageSet | None = None
    test: ImageSet | None = None
    record: dict = field(default_factory=dict)
    retrain: dict = field(default_factory=dict)
    on_epoch: Callable | None = None
    evidence: stages.Evidence | None = None
    scores: Scores | None = None
    selection: Selection | None = None
    result: dict | None = None
    costs: dict[str, Cost] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)

    def until(self, stage: str) -> "Run":
        """Run or find the stages up to this one, in order; returns itself."""
        for each, run in STAGES:
            run(self)
            if each.name == stage:
                return self
        raise ValueError(f"there is no stage {stage!r}; there are {', '.join(stage_versions())}")


def _record(run: Run) -> None:
    if run.method.reads and run.evidence is None:
        assert run.images is not None  # who records has them
        parts = run.record.get("parts") or run.method.parts
        run.evidence = stages.record(
            run.images,
            **run.record | {"parts": parts},
            seed=run.seed,
            cache=run.cache,
            on_epoch=run.on_epoch,
        )
    run.costs["record"] = run.evidence.cost if run.evidence else Cost()


def _score(run: Run) -> None:
    run.scores, run.costs["score"], folder = stages.score(
        run.method, run.evidence, options=run.options, cache=run.cache
    )
    run.folders |= {"score": folder} if folder else {}


def _select(run: Run) -> None:
    run.selection, run.costs["select"], run.folders["select"] = stages.select(
        run.method,
        run.evidence,
        run.keep,
        labels=run.labels,
        seed=run.seed,
        options=run.options,
        cache=run.cache,
        scored=(run.scores, run.costs["score"], run.folders.get("score")),
    )


def _retrain(run: Run) -> None:
    assert run.images is not None and run.test is not None and run.selection is not None
    result = stages.retrain(
        run.images,
        run.test,
        run.selection,
        **run.retrain,
        seed=run.seed,
        cache=run.cache,
        on_epoch=run.on_epoch,
    )
    # an older result in the cache does not tell all of it
    cost = {each.name: result.pop(f"retrain_{each.name}", None) for each in fields(Cost)}
    run.result, run.costs["retrain"] = result, Cost(**cost)


STAGES = [
    (stages.RECORD, _record),
    (choosing.SCORE, _score),
    (choosing.SELECT, _select),
    (stages.RETRAIN, _retrain),
]


def stage_versions(recorded: bool = True) -> dict[str, int]:
    """{stage: version} of the stages. recorded: with those that only a method runs that reads a
    recorded training.
    """
    return {stage.name: stage.version for stage, _ in STAGES if recorded or not stage.needs_record}


def has_current_numbers(versions: dict[str, int]) -> bool:
    """Whether stages of these versions have the numbers that today's would have."""
    return all(
        versions.get(stage.name) in (stage.version, *stage.compatible) for stage, _ in STAGES
    )
