"""Before a sweep's first training: what is unfit is refused, and each trial's row has its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dpkit import storage
from dpkit.experiments import clusters, grids
from dpkit.experiments.parcels import own_sets, pack
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.space import record_bytes
from dpkit.experiments.stages import RECORD
from dpkit.experiments.stored_sets import store
from dpkit.experiments.sweep_worker import facts_of, functions_of
from dpkit.experiments.trials import Trial, exits_of
from dpkit.nets import builders
from dpkit.records import keep_count

if TYPE_CHECKING:
    from distributed import Client


@dataclass
class Cell:
    """A trial, the name of its row, and the names of the stages before it."""

    trial: Trial
    name: str
    record: str | None
    num_samples: int
    expected: dict  # what a worker must find, or its row would be another's
    parcel: bytes = b""  # the trial, as it is sent
    versions: dict = field(default_factory=dict)
    record_bytes: tuple[int, int] | None = None


def cells_of(
    trials: Sequence[Trial], client: Client | None, device: str, cache: str | Path
) -> list[Cell]:
    """The trials with their rows' names, which depend on the images and the kind of machine.

    InvalidGrid if a set is unfit, or a trial does not suit it.
    """
    facts, mistakes = _facts_and_mistakes(trials, client, device, cache)
    if mistakes:
        raise grids.InvalidGrid(mistakes)
    sets = _stored(trials, cache)
    return [
        replace(
            cell_of(trial, facts[_set_of(trial)], sets),
            record_bytes=_record_bytes(trial, facts[_set_of(trial)]),
        )
        for trial in trials
    ]


def _record_bytes(trial, facts) -> tuple[int, int] | None:
    """What the trial's record will take of a disk; None for a method that needs none."""
    if trial.method_object.evidence is None:
        return None
    return record_bytes(
        trial.recorded_model,
        shape=(facts["channels"], *facts["pixels"]),
        num_classes=facts["classes"],
        num_samples=facts["n"],
        epochs=trial.record_epochs,
        num_exits=len(exits_of(trial).get("exits", ())),
    )


def mistakes_of(
    trials: Sequence[Trial], client: Client | None, device: str, cache: str | Path
) -> list[str]:
    """A sentence for each set that is unfit, and each trial that does not suit its set."""
    return _facts_and_mistakes(trials, client, device, cache)[1]


def _facts_and_mistakes(trials, client, device, cache):
    """({set: its facts}, mistakes) of these trials; on a cluster a worker looks at the sets."""
    sets = _stored(trials, cache) if client else {}
    resources = clusters.training_resources(client) if client else None
    facts, mistakes = {}, []
    for trial in trials:
        which = _set_of(trial)
        if which not in facts:
            sent = [sets.get(part, part) for part in which]
            facts[which] = (
                client.submit(facts_of, *sent, device, pure=False, resources=resources).result()
                if client
                else facts_of(*which, device)
            )
            if "mistake" in facts[which]:
                mistakes.append(
                    f"the set {trial.set_name} cannot be used: {facts[which]['mistake']}"
                )
        mistakes += _mistakes_in(trial, facts[which])
    return facts, mistakes


def _mistakes_in(trial, facts) -> list[str]:
    """Why the trial's functions cannot be known, or do not suit a set with these facts."""
    mistakes, n = [], facts.get("n")
    try:
        functions_of(trial)
        if n:
            for model in (trial.model, trial.recorded_model):
                builders.check_pixels(model, *facts["pixels"])
            trial.method_object.check(trial.options, n, facts["classes"], trial.prune_ratio)
    except ValueError as error:
        mistakes.append(str(error))
    if n and keep_count(n, trial.prune_ratio) == 0:
        mistakes.append(
            f"prune_ratio {trial.prune_ratio} of {trial.set_name}'s {n} images leaves none to "
            "train on"
        )
    return mistakes


def _set_of(trial) -> tuple:
    return trial.dataset, trial.num_samples, trial.test


def _stored(trials, cache) -> dict:
    return store((images for trial in trials for images in own_sets(trial).values()), cache)


def cell_of(trial: Trial, facts: dict, sets: dict | None = None) -> Cell:
    """The trial with the name of its row. sets: what `store` returned for its image sets."""
    method = trial.method_object
    watched = method.evidence is not None
    versions = stage_versions(recorded=watched)
    seen = {
        "images": facts["images"],
        "around": facts["around"][trial.record.precision],
        "version": RECORD.version,
    }
    record = {
        name: getattr(trial, name) for name in ("record_epochs", "seed", "snapshot_epoch")
    } | seen
    functions = functions_of(trial)
    in_full = {
        "options": method.options | trial.options,  # a changed default is another row
        "reads": [method.evidence, *method.extras],
    } | functions
    exits = exits_of(trial)
    plain = {
        name: value
        for name, value in trial.plain().items()
        if name not in ("exits", "exit_weights")
    }
    key = {
        "trial": plain | exits | in_full,
        "versions": versions,
        "images": facts["images"],
        "test": facts["test"],
        "around": facts["around"][trial.retrain.precision],
    } | ({"record": seen} if watched else {})
    name = storage.key_hash(key)
    seen_by = functions.get("record_model", functions["model"])
    shared = (
        storage.key_hash(record | exits | {"recipe": trial.record.plain(), "model": seen_by})
        if watched
        else None
    )
    expected = {
        "images": facts["images"],
        "test": facts["test"],
        "around": facts["around"][trial.retrain.precision],
        "functions": functions,
    }
    return Cell(trial, name, shared, facts["n"], expected, pack(trial, sets), versions)
