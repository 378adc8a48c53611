"""One cell of an experiment: watch a training, score, select, retrain, and the row that comes out.

Stages are kept in a cache folder under a hash of everything they depend on, so many methods and ratios of one seed
cost one scoring training, a killed run goes on where it was, and finished work is never done again.
"""

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from dpkit import catalog, store
from dpkit.data import ImageSet, auto_device, load
from dpkit.predict import evaluate, picked_precision, take_snapshot
from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics, keep_count
from dpkit.training import Recipe, train

# Bump a stage's version when its numbers change (also in CHANGELOG.md): older results are then left unused.
VERSIONS = {"record": 1, "retrain": 1}


@dataclass(frozen=True)
class Trial:
    """Everything a row depends on but the machine.

    prune_ratio:   the fraction removed, in [0, 1).   seed: of recording, selection and retraining, all different draws.
    num_samples:   use only the first that many training images (0: all).
    record:        recipe of the watched training; record_epochs of its epochs are run and recorded.
    retrain:       recipe of the training on the kept samples.
    snapshot_epoch: epochs after which the watched network is looked at for methods that need a snapshot (EL2N is an
                   early score); the last recorded epoch, if that is sooner.
    options:       settings of the scorer and the selector where they differ from the catalog's, e.g. {"c_d": 5.5}.
    """

    dataset: str
    method: str
    prune_ratio: float
    seed: int
    record: Recipe
    record_epochs: int
    retrain: Recipe
    model: str = "small_cnn"
    num_samples: int = 0
    snapshot_epoch: int = 10
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        catalog.find(catalog.METHODS, self.method, "method")
        catalog.find(catalog.MODELS, self.model, "model")
        keep_count(1, self.prune_ratio)
        if self.record.budget != "epochs" or not 1 <= self.record_epochs <= self.record.epochs:
            raise ValueError(f"record_epochs must be 1..{self.record.epochs} (the record recipe's epochs); "
                             f"got {self.record_epochs}")
        of_scorer, _ = _routed(self.method, self.options)
        usual = catalog.defaults(self.method)
        if "window" in usual:
            window = of_scorer.get("window", usual["window"])
            if self.record_epochs < window:
                raise ValueError(f"{self.method} needs at least as many recorded epochs as its window of {window}; "
                                 f"record_epochs is {self.record_epochs}: record longer, or set options={{'window': ...}}")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one watched training left: dynamics, a snapshot taken on the way, the seconds it took, and where it lies."""

    dynamics: TrainingDynamics
    snapshot: Snapshot | None
    seconds: float
    folder: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished trial: its row as a flat dict, the selection it trained on, and the scores behind it (None: no score)."""

    row: dict
    selection: Selection
    scores: Scores | None


def run_trial(trial: Trial, *, cache=None, device="auto", watch=None) -> dict:
    """Record (or find the record), score, select, retrain (or find the result); return the row as a flat dict.

    cache:  folder for finished stages; default store.cache_folder().
    watch:  called as watch(stage, report) after every epoch that is run or read from a checkpoint, for progress.
    The row's seconds are those of the run that did the work; from_cache says whether the retraining was an earlier run's.
    accuracy is on the test set after the LAST step.
    """
    return outcome_of(trial, cache=cache, device=device, watch=watch).row


def outcome_of(trial: Trial, *, cache=None, device="auto", watch=None) -> Outcome:
    """As run_trial, with the scores and the selection beside the row: what a published table needs."""
    cache = Path(cache or store.cache_folder())
    images, test = load_sets(trial.dataset, trial.num_samples, device)
    evidence = None
    if catalog.METHODS[trial.method].evidence:
        evidence = record(images, model=trial.model, recipe=trial.record, epochs=trial.record_epochs, seed=trial.seed,
                          cache=cache, snapshot_epoch=trial.snapshot_epoch, watch=watch)
    keep = keep_count(len(images), trial.prune_ratio)
    begun = time.perf_counter()
    scores = score_of(trial.method, evidence, **trial.options)
    selection = choose(trial.method, evidence, keep, num_samples=len(images), rng=trial.seed, scores=scores, **trial.options)
    select_seconds = time.perf_counter() - begun
    result = retrain(images, test, selection, model=trial.model, recipe=trial.retrain, seed=trial.seed, cache=cache,
                     watch=watch)
    row = {
        "dataset": trial.dataset, "num_samples": len(images), "model": trial.model, "method": trial.method,
        "options": catalog.worded(catalog.METHODS[trial.method].options | trial.options),
        "prune_ratio": trial.prune_ratio, "keep": len(selection.kept), "seed": trial.seed, **result,
        "record_epochs": trial.record_epochs if evidence else 0, "record_seconds": evidence.seconds if evidence else 0.0,
        "select_seconds": select_seconds,
    }
    return Outcome(row, selection, scores)


def choose(method: str, evidence: Evidence | None, keep: int, *, num_samples: int, rng, scores=None, **options) -> Selection:
    """Score and select with a catalog method from what was recorded (None will do for methods that look at nothing).

    options: settings of the scorer (window) and of the selector (c_d), each given to whom it belongs.
    scores:  those that score_of gave for the same method, evidence and options, if they are there already.
    """
    if scores is None:
        scores = score_of(method, evidence, **options)
    return catalog.select(method, scores, keep, evidence=_seen(method, evidence), num_samples=num_samples, rng=rng,
                          **_routed(method, options)[1])


def score_of(method: str, evidence: Evidence | None, **options) -> Scores | None:
    """The Scores that `choose` selects by with the same options; None for methods without a score."""
    return catalog.score(method, _seen(method, evidence), **_routed(method, options)[0])


def _seen(method, evidence):
    kind = catalog.find(catalog.METHODS, method, "method").evidence
    return getattr(evidence, kind) if kind else None


def _routed(method, options):
    """(the scorer's, the selector's) of these settings; ValueError for one that the method does not take."""
    names = catalog.settings(method)
    unknown = sorted(set(options) - set(names[0]) - set(names[1]))
    if unknown:
        raise ValueError(f"{method} takes the settings {', '.join(names[0] + names[1]) or 'none'}; got {', '.join(unknown)}")
    return tuple({name: options[name] for name in group if name in options} for group in names)


def record(images: ImageSet, *, model: str, recipe: Recipe, epochs: int, seed: int, cache, snapshot_epoch: int = 10,
           watch=None) -> Evidence:
    """Train a fresh network for `epochs` of the recipe's schedule, watched; or read that from the cache."""
    snapshot_epoch = min(snapshot_epoch, epochs)
    key, folder = place_of_record(images, model=model, recipe=recipe, epochs=epochs, seed=seed, cache=cache,
                                  snapshot_epoch=snapshot_epoch)
    partial = folder.with_name(folder.name + "-partial")
    if not (folder / "manifest.json").exists():
        net = catalog.make_net(model, images, seed=_derived(seed, 0))
        reports, snapshot = [], None
        early = partial / "snapshot"  # kept at once: a training that goes on from a checkpoint is past this network
        for report in islice(train(net, images, recipe, seed=_derived(seed, 1), checkpoint=partial), epochs):
            reports.append(report)
            if report.epoch + 1 == snapshot_epoch:
                if not early.exists():
                    take_snapshot(net, images, precision=recipe.precision).save(early)
                snapshot = Snapshot.load(early)  # memory-mapped: still there if a run beside this one removes the folder
            if watch:
                watch("record", report)
        params = {"seed": seed, "model": model, "recipe": asdict(recipe), "set": images.name}
        with store.whole_folder(folder) as part:
            TrainingDynamics.from_reports(reports, images.labels.cpu().numpy(), params=params).save(part / "dynamics")
            snapshot.save(part / "snapshot")
            store.write_json(part / "manifest.json", {"key": key, "seconds": sum(r.seconds for r in reports)})
    shutil.rmtree(partial, ignore_errors=True)
    seconds = json.loads((folder / "manifest.json").read_text())["seconds"]
    return Evidence(TrainingDynamics.load(folder / "dynamics"), Snapshot.load(folder / "snapshot"), seconds, folder)


def place_of_record(images: ImageSet, *, model: str, recipe: Recipe, epochs: int, seed: int, cache,
                    snapshot_epoch: int = 10) -> tuple[dict, Path]:
    """(everything that `record` with these arguments depends on, the folder that is there once it is finished)."""
    key = _key("record", images, model, recipe, seed) | {"epochs": epochs, "snapshot_epoch": min(snapshot_epoch, epochs)}
    return key, Path(cache) / f"record-{store.key_hash(key)}"


def retrain(images: ImageSet, test: ImageSet, selection: Selection, *, model: str, recipe: Recipe, seed: int, cache,
            watch=None) -> dict:
    """Train a fresh network on the kept samples and test it after the last step; or read that from the cache."""
    key = _key("retrain", images, model, recipe, seed) | {"kept": hashlib.sha256(selection.kept.tobytes()).hexdigest(),
                                                          "test": test.fingerprint}
    file = Path(cache) / f"retrain-{store.key_hash(key)}.json"
    partial = file.with_name(file.stem + "-partial")
    found_there = file.exists()
    if not found_there:
        kept = images.subset(selection)
        net = catalog.make_net(model, images, seed=_derived(seed, 2))
        seconds = 0.0
        for report in train(net, kept, recipe, seed=_derived(seed, 3), checkpoint=partial, record=False):
            seconds += report.seconds
            if watch:
                watch("retrain", report)
        found = evaluate(net, test, precision=recipe.precision)
        row = {"accuracy": found.accuracy, "test_loss": found.loss, "retrain_steps": report.steps, "retrain_seconds": seconds,
               "device": device_name(images.device), "precision": picked_precision(images, recipe.precision),
               "torch": torch.__version__}
        store.write_json(file, {"key": key, "row": row})
    shutil.rmtree(partial, ignore_errors=True)
    return json.loads(file.read_text())["row"] | {"from_cache": found_there}


def load_sets(dataset: str, num_samples: int = 0, device="auto") -> tuple[ImageSet, ImageSet]:
    """(training images, test images) of a named set; the last two asked for are kept in memory."""
    return _load_sets(dataset, num_samples, auto_device(device), os.environ.get("DPKIT_DATA"))


@lru_cache(maxsize=2)
def _load_sets(dataset, num_samples, device, _folder):
    images, test = (load(dataset, split=split, device=device) for split in ("train", "test"))
    return (images.first(num_samples) if num_samples else images), test


def device_name(device: torch.device) -> str:
    """"cpu", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _derived(seed, stage):
    """Different draws for each stage of one seed."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1)[0])


def _key(stage, images, model, recipe, seed):
    return {"stage": stage, "version": VERSIONS[stage], "data": images.fingerprint, "model": model, "recipe": asdict(recipe),
            "seed": seed, "device": images.device.type, "precision": picked_precision(images, recipe.precision),
            "torch": version("torch")}
