"""Before a sweep's first training: what is unfit is refused, and each trial's row has its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dpkit import storage
from dpkit.experiments import grids
from dpkit.experiments.attendance import ANSWER, Attendance
from dpkit.experiments.given_sets import must_be_loaded
from dpkit.experiments.parcels import own_sets, pack
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.space import record_bytes
from dpkit.experiments.stages import RECORD
from dpkit.experiments.stored_sets import store
from dpkit.experiments.sweep_worker import facts_of, functions_of, software
from dpkit.experiments.trials import Trial, exits_of, with_sets
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.records import keep_count


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
    trials: Sequence[Trial], attendance: Attendance | None, device: str, cache: str | Path
) -> list[Cell]:
    """The trials with their rows' names, which depend on the images and the kind of machine.

    InvalidGrid if a set is unfit, or a trial does not suit it.
    """
    facts, mistakes = _facts_and_mistakes(trials, attendance, device, cache)
    if mistakes:
        raise grids.InvalidGrid(mistakes)
    sets = _stored(trials, cache)
    sizes: dict = {}
    return [
        replace(
            cell_of(trial, facts[_set_of(trial)], sets),
            record_bytes=_record_bytes(trial, facts[_set_of(trial)], sizes),
        )
        for trial in trials
    ]


def _record_bytes(trial, facts, sizes) -> tuple[int, int] | None:
    """What the trial's record will take of a disk; None if that is not known, or for a method that
    needs none.

    sizes: those that are known already. Within a grid a name stands for one network.
    """
    if not trial.method_object.reads:
        return None
    model, exits = trial.recorded_model, len(exits_of(trial).get("exits", ()))
    alike = _set_of(trial), model_name(model), trial.record_epochs, exits
    if alike not in sizes:
        sizes[alike] = record_bytes(
            model,
            shape=(facts["channels"], *facts["pixels"]),
            num_classes=facts["classes"],
            num_samples=facts["n"],
            epochs=trial.record_epochs,
            num_exits=exits,
        )
    return sizes[alike]


def trials_of(
    grid: Any, attendance: Attendance | None, device: str, cache: str | Path
) -> list[Trial]:
    """The trials of a grid; InvalidGrid with its mistakes. On this machine they are told together
    with those that its sets show; on a cluster at once, as only a worker sees the sets.
    """
    try:
        return _with_sets(grids.trials_of(grid))
    except grids.InvalidGrid as refused:
        if attendance:
            raise
        named = [
            trial
            for trial in refused.trials
            if not must_be_loaded(trial.dataset, trial.test, trial.size)
        ]
        more = _facts_and_mistakes(named, None, device, cache)[1]
        raise grids.InvalidGrid(refused.mistakes + more) from None


def _with_sets(trials) -> list[Trial]:
    """The trials with their sets, each read once; InvalidGrid if one cannot be used."""
    first = {(trial.dataset, trial.test, trial.size): trial for trial in trials}
    found, mistakes = {}, []
    for which, trial in first.items():
        try:
            found[which] = with_sets(trial)
        except (OSError, ValueError) as error:
            mistakes.append(f"the set {trial.set_name} cannot be used: {error}")
    if mistakes:
        raise grids.InvalidGrid(mistakes)
    there = []
    for trial in trials:
        read = found[trial.dataset, trial.test, trial.size]
        there.append(replace(trial, dataset=read.dataset, test=read.test, size=read.size))
    if mistakes := grids.names_twice(there):
        raise grids.InvalidGrid(mistakes)
    return there


def _facts_and_mistakes(trials, attendance, device, cache):
    """({set: its facts}, mistakes) of these trials; on a cluster a worker looks at the sets."""
    facts, mistakes = {}, []
    if attendance:  # what is known without a worker: none may be there, and none may come
        mistakes = [sentence for trial in trials for sentence in _mistakes_in(trial, {})]
    if mistakes:
        return facts, mistakes
    sets = _stored(trials, cache) if attendance else {}
    for trial in trials:
        which = _set_of(trial)
        if which not in facts:
            sent = [sets.get(part, part) for part in which]
            facts[which] = (
                _facts_of_all(attendance, trial.set_name, sent, device)
                if attendance
                else facts_of(*which, device)
            )
            if "mistake" in facts[which]:
                mistakes.append(
                    f"the set {trial.set_name} cannot be used: {facts[which]['mistake']}"
                )
        mistakes += _mistakes_in(trial, facts[which])
    return facts, mistakes


def _facts_of_all(attendance, name, parts, device) -> dict:
    """facts_of the set, on which all workers that answer agree; else {"mistake": who differs}.

    Who is late, or joins later, looks for itself before each stage.
    """
    what = f"the workers to look at the set {name}"
    found: dict = {}
    while not found:  # those who are asked may be gone before they answer
        there = attendance.first_workers()
        requests = {
            worker: attendance.client.submit(
                facts_of,
                *parts,
                device,
                pure=False,
                workers=[worker],
                resources=attendance.resources or None,
            )
            for worker in [each for each in there if each not in attendance.late] or there
        }
        for worker, future in attendance.answered(requests, what).items():
            try:
                found[worker] = future.result(timeout=ANSWER)
            except TimeoutError:  # it was lost with its worker just now
                continue
            except (ImportError, AttributeError, TypeError) as error:
                found[worker] = {"mistake": f"it has no dpkit, or another one: {error}"}
    return _agreed(found)


def _agreed(found) -> dict:
    """The facts of all workers, {worker: facts}; or {"mistake": which of them cannot be used}."""
    good = [facts for facts in found.values() if "mistake" not in facts]
    if not good and len({facts["mistake"] for facts in found.values()}) == 1:
        return next(iter(found.values()))
    expected, unlike = _in_words(good[0] if good else {}) | software(), []
    for worker, facts in found.items():
        if "mistake" in facts:
            unlike.append(f"not by the worker at {worker}: {facts['mistake']}")
            continue
        words = _in_words(facts)
        differences = [
            f"{key} {words.get(key)}, not {value}"
            for key, value in expected.items()
            if words.get(key) != value
        ]
        if differences:
            unlike.append(f"the worker at {worker} differs: {'; '.join(differences)}")
    if not unlike:
        return good[0]
    return {
        "mistake": f"{'; '.join(unlike)} (let all workers have the same dpkit, Python and torch, "
        "the same kind of processor or GPU, and see the same data)"
    }


def _in_words(facts) -> dict:
    """Facts of a worker without nesting: what may differ, by name."""
    around = facts.get("around", {})
    plain = {name: value for name, value in facts.items() if name != "around"}
    return plain | around.get("fp32", {}) | {"precision": around.get("auto", {}).get("precision")}


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
    watched = bool(method.reads)
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
    expected = software() | {
        "images": facts["images"],
        "test": facts["test"],
        "around": facts["around"][trial.retrain.precision],
        "functions": functions,
    }
    return Cell(trial, name, shared, facts["n"], expected, pack(trial, sets), versions)
