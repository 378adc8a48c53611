"""The four stages of a trial: record, score, select, retrain. Each is done once and kept.

A finished stage lies in the cache folder under a hash of everything it depends on: the images, the
settings, the seed, the stages before it and its own version number. Many methods and ratios of one
seed so cost one scoring training, a killed run goes on where it was, and two runs over one cache
share the work: who comes second waits, and finds it done.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpkit import storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments.cache import Stage, done_once, load_once, once, partial_of, read_stage
from dpkit.experiments.choosing import score, select
from dpkit.experiments.costs import Cost, measured
from dpkit.experiments.environment import compute_environment, device_name, load_sets, own_code
from dpkit.experiments.evidence import Evidence
from dpkit.nets import builders
from dpkit.nets.early_exits import exit_loss
from dpkit.records import Selection, Snapshot, TrainingDynamics
from dpkit.records.training_dynamics import MOST_PROBS
from dpkit.storage.identity import identity_or_new
from dpkit.storage.provenance import processor
from dpkit.training.checkpoint import undamaged
from dpkit.training.inference import evaluate, resolve_precision, take_snapshot
from dpkit.training.loop import Recipe, cross_entropy, train

__all__ = [
    "RECORD",
    "RETRAIN",
    "Evidence",
    "compute_environment",
    "derived_seed",
    "device_name",
    "load_sets",
    "own_code",
    "record",
    "record_location",
    "retrain",
    "score",
    "select",
]

# version 1 lacked the final snapshot and the divergence
RECORD = Stage("record", version=2, compatible=(1,), needs_record=True)
RETRAIN = Stage("retrain")

# ---- record --------------------------------------------------------------------------------------


def record(
    images: ImageSet,
    *,
    model: str | Callable,
    recipe: Recipe,
    epochs: int,
    seed: int,
    cache: str | Path,
    snapshot_epoch: int = 10,
    exits: Sequence[int] = (),
    exit_weights: Sequence[float] = (),
    parts: Collection[str] = ("dynamics", "snapshot", "final"),
    on_epoch: Callable | None = None,
) -> Evidence:
    """Train a fresh network for `epochs` of the recipe's schedule, watched; or read it from cache.

    snapshot_epoch: epochs after which the network is looked at for the early Snapshot; the last
                    one, if that is sooner.
    The dynamics have the divergence for TDDS where samples * classes is at most 2**28.
    exits:  stages after which the network has early exits, trained jointly with these weights
            (none: all alike).
    parts:  what to read of it afterwards; large snapshots take their time.
    on_epoch:  called as on_epoch("record", report) after every epoch that is run or read from a
               checkpoint.
    """
    if "scores" in parts:
        raise ValueError(
            "no training leaves scores that were made elsewhere, and this method reads them: give "
            "them to prune(scores=...)"
        )
    training: dict[str, Any] = {
        "model": model,
        "recipe": recipe,
        "epochs": epochs,
        "seed": seed,
        "snapshot_epoch": min(snapshot_epoch, epochs),
        "exits": exits,
        "exit_weights": exit_weights,
    }
    key, folder = record_location(images, **training, cache=cache)

    def work(part):
        return _record_training(images, part, partial_of(folder), on_epoch, **training)

    def read(folder):
        return _read_looks(folder, parts, one_look=snapshot_epoch >= epochs)

    cost, (dynamics, early, final) = done_once(folder, key, work, read)
    cost = replace(cost, epochs=epochs, samples=epochs * len(images))
    return Evidence(dynamics, early, cost, folder, final)


def _record_training(
    images,
    part,
    partial,
    on_epoch,
    *,
    model,
    recipe,
    epochs,
    seed,
    snapshot_epoch,
    exits,
    exit_weights,
) -> Cost:
    """Train, and write dynamics and snapshots into the folder `part`; what it cost."""
    net = builders.make_net(model, images, seed=derived_seed(seed, 0), exits=exits)
    how = {
        "seed": derived_seed(seed, 1),
        "loss": exit_loss(exit_weights or None) if exits else cross_entropy,
        "checkpoint": partial,
        "tdds": len(images) * images.num_classes <= MOST_PROBS,
    }
    # one, if both are the same epoch
    looks = {snapshot_epoch: partial / "snapshot", epochs: partial / "final"}
    for look in looks.values():
        if look.exists():  # before the training, which could not make an early one any more
            _read_look(look)
    reports = []
    with measured(images.device) as cost:
        for report in islice(train(net, images, recipe, **how), epochs):
            reports.append(report)
            look = looks.get(report.epoch + 1)
            # kept at once: a training that goes on from a checkpoint is past this network
            if look and not look.exists():
                begun = time.perf_counter()
                take_snapshot(net, images, precision=recipe.precision).save(look)
                storage.write_json(look.with_suffix(".json"), time.perf_counter() - begun)
            if on_epoch:
                on_epoch("record", report)
    cost.seconds = sum(report.seconds for report in reports)
    cost.seconds += sum(_read_look(look) for look in looks.values())
    params = {
        "seed": seed,
        "model": builders.model_name(model),
        "recipe": recipe.settings(),
        "set": images.name,
    }
    labels = images.labels.cpu().numpy()
    TrainingDynamics.from_reports(reports, labels, params=params).save(part / "dynamics")
    for look in looks.values():
        shutil.copytree(look, part / look.name)
    return cost


def _read_look(look) -> float:
    """The seconds that a snapshot in a checkpoint took; UnusableCheckpoint if it is not whole."""
    time_of_it = look.with_suffix(".json")
    with undamaged(look):
        Snapshot.load(look)
        return json.loads(time_of_it.read_text()) if time_of_it.exists() else 0.0


def _read_looks(folder, parts, one_look) -> tuple:
    """What of a record is wanted: (dynamics, early snapshot, final one), each perhaps None.
    one_look: the early snapshot is the final one.
    """
    dynamics = final = early = None
    if "dynamics" in parts:
        dynamics = load_once(TrainingDynamics, folder / "dynamics")
    if "final" in parts or (one_look and "snapshot" in parts):
        final = load_once(Snapshot, folder / "final")
    if one_look:
        early = final
    elif "snapshot" in parts:
        early = load_once(Snapshot, folder / "snapshot")
    return dynamics, early, final


def record_location(
    images: ImageSet,
    *,
    model: str | Callable,
    recipe: Recipe,
    epochs: int,
    seed: int,
    cache: str | Path,
    snapshot_epoch: int = 10,
    exits: Sequence[int] = (),
    exit_weights: Sequence[float] = (),
) -> tuple[dict, Path]:
    """(all that `record` with these arguments depends on, the folder that it leaves behind)."""
    key = training_key(RECORD, images, model, recipe, seed) | {
        "epochs": epochs,
        "snapshot_epoch": min(snapshot_epoch, epochs),
    }
    if exits:
        key |= {"exits": list(exits), "exit_weights": list(exit_weights)}
    return key, Path(cache) / f"record-{storage.key_hash(key)}"


# ---- retrain -------------------------------------------------------------------------------------


def retrain(
    images: ImageSet,
    test: ImageSet,
    selection: Selection,
    *,
    model: str | Callable,
    recipe: Recipe,
    seed: int,
    cache: str | Path,
    best_every: int = 0,
    on_epoch: Callable | None = None,
) -> dict:
    """Train a fresh network on the kept samples, test it after the last step; or read the cache.

    best_every: also test every so many epochs (0: never), for best_accuracy, the highest of all.
                Choosing the best epoch is choosing on the test set: it stands beside the accuracy,
                to compare with papers that do.
    The test set is taken with the classes, by name, and the normalisation of the training set;
    ValueError, before any training, for a class that this has not.
    """
    test = test.aligned(images.facts, "retrain")
    key = training_key(RETRAIN, images, model, recipe, seed) | {
        "kept": hashlib.sha256(selection.kept.tobytes()).hexdigest(),
        "test": test.fingerprint,
    }
    if best_every:
        key["best_every"] = best_every
    file = Path(cache) / f"retrain-{storage.key_hash(key)}.json"
    partial = partial_of(file)

    def train_and_test():
        kept = images.subset(selection)
        # nothing of it may come from what was pruned
        net = builders.make_net(model, kept, seed=derived_seed(seed, 2))
        seconds = 0.0
        tested = _Tested(partial / "tested.json", net, test, recipe.precision, best_every)
        with measured(images.device) as cost:
            for report in train(
                net, kept, recipe, seed=derived_seed(seed, 3), checkpoint=partial, record=False
            ):
                seconds += report.seconds
                tested.after(report.epoch)
                if on_epoch:
                    on_epoch("retrain", report)
        found = evaluate(net, test, precision=recipe.precision)
        # the last step may break what the loss before it did not show
        if not math.isfinite(found.loss):
            raise FloatingPointError(
                f"the test loss is {found.loss} after the last step: the training diverged; use a "
                f"smaller lr than {recipe.lr}"
            )
        return {
            "accuracy": found.accuracy,
            "class_accuracy": found.class_accuracy,
            "best_accuracy": tested.best(found.accuracy),
            "test_loss": found.loss,
            "retrain_steps": report.steps,
            "retrain_seconds": seconds,
            "retrain_peak_memory": cost.peak_memory,
            "device": device_name(images.device),
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "precision": resolve_precision(images, recipe.precision),
            "torch": torch.__version__,
            "dpkit": version("dpkit"),
        }

    def make():
        storage.write_json(file, storage.with_checksum({"key": key, "row": train_and_test()}))

    def read():
        found = read_stage(file, key)["row"]
        return found | {"accuracy": float(found["accuracy"])}

    row, found_there = once(file, make, read)
    n = len(selection.kept)
    counted = {"retrain_epochs": recipe.epochs_over(n), "retrain_samples": recipe.samples_seen(n)}
    return row | counted | {"from_cache": found_there}


class _Tested:
    """Test accuracies by epoch, in a file: a resumed training has lost its earlier networks."""

    def __init__(self, file, net, test, precision, every):
        self.file, self.net, self.test = file, net, test
        self.precision, self.every = precision, every
        with undamaged(file):
            self.found = storage.read_checked(file) if file.exists() else {}

    def after(self, epoch):
        if self.every and (epoch + 1) % self.every == 0 and str(epoch) not in self.found:
            # of the epochs read from a checkpoint only the last can be missing here, and its
            # network is the one at hand
            self.found[str(epoch)] = evaluate(
                self.net, self.test, precision=self.precision
            ).accuracy
            storage.write_json(self.file, storage.with_checksum(self.found))

    def best(self, last):
        return max([last, *self.found.values()]) if self.every else None


# ---- what the stages share -----------------------------------------------------------------------


def derived_seed(seed: int, draw: int) -> int:
    """Different draws for each stage of one seed."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def training_key(
    stage: Stage, images: ImageSet, model: str | Callable, recipe: Recipe, seed: int
) -> dict:
    """What a training depends on in any stage: the set, the network, how, and on which machine."""
    build = identity_or_new(builders.find_builder(model))
    return {
        "stage": stage.name,
        "version": stage.version,
        "data": images.fingerprint,
        "model": build,
        "recipe": recipe.settings(),
        "seed": seed,
    } | compute_environment(images, recipe)
