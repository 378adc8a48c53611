"""One cell of an experiment: watch a training, score, select, retrain, and write the row."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from dpkit import storage
from dpkit.experiments import exit_checks, stages
from dpkit.experiments.costs import Cost
from dpkit.experiments.environment import load_sets
from dpkit.experiments.pipeline import STAGES, Run
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method, options_in_words
from dpkit.methods.rehearsal import rehearse
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.records import Scores, Selection, keep_count
from dpkit.training.loop import Recipe

LEDGER = tuple(f"{stage}_{what.name}" for stage in STAGES for what in fields(Cost))


@dataclass(frozen=True)
class Trial:
    """Everything a row depends on but the machine.

    Parameters
    ----------
    dataset : what load takes.
    method : the name of a method in METHODS, or a Method of your own.
    prune_ratio : the fraction REMOVED, in [0, 1).
    seed : of recording, selection and retraining, all different draws.
    record : recipe of the watched training; record_epochs of its epochs are run and recorded.
    record_epochs : T, how many.
    retrain : recipe of the training on the kept samples.
    model : the network that is retrained.
    num_samples : use only the first that many training images (0: all).
    snapshot_epoch : epochs after which the watched network is looked at for the early scores, EL2N
        and GraNd; the last recorded epoch, if that is sooner. Other snapshots are of the network as
        recording left it.
    exits : stages after which the watched network has early exits, for methods that read them
        (eeprune); the others watch it without.
    exit_weights : of the joint loss, the final exit's last (none: all alike).
    best_every : also test every so many epochs of the retraining, for the best epoch beside the
        last one (0: don't).
    options : settings of the scorer and the selector where they differ from the catalog's, e.g.
        {"c_d": 5.5}. What was published for this very set is filled in: CCS's and D2's cutoffs on
        CIFAR-100.
    record_model : the network that is watched, where it is another than the one that is retrained
        ("": the same).
    """

    dataset: str
    method: str | Method
    prune_ratio: float
    seed: int
    record: Recipe
    record_epochs: int
    retrain: Recipe
    model: str | Callable = "small_cnn"
    num_samples: int = 0
    snapshot_epoch: int = 10
    exits: tuple = (1,)
    exit_weights: tuple = ()
    best_every: int = 0
    options: dict = field(default_factory=dict)
    record_model: str | Callable = ""

    def __post_init__(self):
        method = find_method(self.method)
        builders.find_builder(self.model)
        if self.record_model:
            builders.find_builder(self.record_model)
            if self.record_model == self.model or not method.reads:  # then it says nothing
                object.__setattr__(self, "record_model", "")
        object.__setattr__(self, "options", method.of_set.get(self.dataset, {}) | self.options)
        keep_count(1, self.prune_ratio)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number from 0; got {self.seed!r}")
        object.__setattr__(self, "exits", tuple(self.exits))
        object.__setattr__(self, "exit_weights", tuple(self.exit_weights))
        for name, least in (
            ("num_samples", 0),
            ("snapshot_epoch", 1),
            ("best_every", 0),
            ("record_epochs", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number from {least}; got {value!r}")
        if self.record.budget != "epochs":
            raise ValueError(
                "a watched training is counted in epochs: record needs that budget; got "
                f"{self.record.budget!r}"
            )
        if not 1 <= self.record_epochs <= self.record.epochs:
            raise ValueError(
                f"record_epochs must be 1..{self.record.epochs} (the record recipe's epochs); "
                f"got {self.record_epochs}"
            )
        exit_checks.check_exits(method, self.watched, self.exits, self.exit_weights)
        rehearse(
            method,
            self.options,
            epochs=self.record_epochs,
            prune_ratio=self.prune_ratio,
            exits=len(self.exits),
        )

    @property
    def how(self) -> Method:
        """The method itself."""
        return find_method(self.method)

    @property
    def watched(self) -> str | Callable:
        """The network that is watched."""
        return self.record_model or self.model

    def plain(self) -> dict:
        """As a dict of plain values, for keys and files; record_model only where there is one."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found |= {
            "method": self.how.name,
            "model": model_name(self.model),
            "record": self.record.plain(),
            "retrain": self.retrain.plain(),
        }
        found["record_model"] = model_name(self.record_model)
        return {name: value for name, value in found.items() if name != "record_model" or value}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished trial: its row, the selection it trained on, and the scores behind it.

    row: a flat dict; scores: None where there is no score.
    """

    row: dict
    selection: Selection
    scores: Scores | None


def run_trial(trial: Trial, *, cache=None, device="auto", on_epoch=None) -> dict:
    """Record, score, select, retrain; return the row. What an earlier run finished is read instead.

    Parameters
    ----------
    trial : what to do.
    cache : folder for finished stages; default storage.cache_folder().
    device : "auto" is a GPU if there is one, else the CPU.
    on_epoch : called as on_epoch(stage, report) after every epoch that is run or read from a
        checkpoint, for progress.

    Returns
    -------
    The row, a flat dict. Its costs (LEDGER: seconds, epochs, samples and peak_memory of each stage)
    are those of the run that did the work; a shared recording is charged in full, to el2n too.
    from_cache says whether the retraining was an earlier run's. accuracy, in [0, 1], is on the test
    set after the LAST step. scores and selection name the stages in the cache that hold them ("":
    no score). code is there if the method or the network is not dpkit's own: their names, and a
    hash of what they do.
    """
    return outcome_of(trial, cache=cache, device=device, on_epoch=on_epoch).row


def outcome_of(trial: Trial, *, cache=None, device="auto", on_epoch=None) -> Outcome:
    """As run_trial, with the scores and the selection beside the row: what a published table
    needs.
    """
    run = run_of(trial, *load_sets(trial.dataset, trial.num_samples, device), cache=cache)
    run.on_epoch = on_epoch
    return finished(trial, run.until("retrain"))


def run_of(trial: Trial, images, test, *, cache=None) -> Run:
    """The trial's stages, still to be run; ValueError if its method cannot choose from this set."""
    trial.how.check(trial.options, len(images), images.num_classes, trial.prune_ratio)
    recording = {
        "model": trial.watched,
        "recipe": trial.record,
        "epochs": trial.record_epochs,
        "snapshot_epoch": trial.snapshot_epoch,
    } | exits_of(trial)
    return Run(
        method=trial.how,
        options=trial.options,
        keep=keep_count(len(images), trial.prune_ratio),
        seed=trial.seed,
        labels=images.labels.cpu().numpy(),
        cache=Path(cache or storage.cache_folder()),
        images=images,
        test=test,
        record=recording,
        retrain={"model": trial.model, "recipe": trial.retrain, "best_every": trial.best_every},
    )


def finished(trial: Trial, run: Run) -> Outcome:
    """The outcome of a trial whose stages have run."""
    images, selection, result = run.images, run.selection, run.result
    row = {
        "dataset": trial.dataset,
        "num_samples": len(images),
        "model": model_name(trial.model),
        "method": trial.how.name,
        "options": options_in_words(trial.how.defaults | trial.options),
        "prune_ratio": trial.prune_ratio,
        "keep": len(selection.kept),
        "empty_classes": _empty_classes(images, selection),
        "seed": trial.seed,
        "budget": trial.retrain.length,
        "snapshot_epoch": trial.snapshot_epoch,
        "exits": exits_text(trial),
        "best_every": trial.best_every,
        "settings": settings_of(trial),
        "versions": stages.versions_text(),
        **({"record_model": model_name(trial.record_model)} if trial.record_model else {}),
        **({"code": code} if (code := own_code_of(trial)) else {}),
        "accuracy": result["accuracy"],
        "best_accuracy": None,
        "test_loss": result["test_loss"],
        **{
            f"{stage}_{what.name}": getattr(cost, what.name)
            for stage, cost in run.costs.items()
            for what in fields(Cost)
        },
        "retrain_peak_memory": None,
        **result,
        "record": trial.record.describe(),
        "retrain": trial.retrain.describe(),
        "scores": run.folders["score"].name if "score" in run.folders else "",
        "selection": run.folders["select"].name,
    }
    return Outcome(row, selection, run.scores)


def settings_of(trial: Trial) -> str:
    """All settings of the trial's method as JSON, the usual ones too, as those may change."""
    return json.dumps(trial.how.options | trial.options, sort_keys=True)


def own_code_of(trial: Trial) -> str:
    """What in the trial's method and network is not dpkit's own, and what it does: another function
    is another row.
    """
    return stages.own_code(trial.method, trial.model, trial.record_model)


def exits_of(trial: Trial) -> dict:
    """The trial's exits and exit_weights, if its method reads exits; else nothing."""
    return (
        {"exits": trial.exits, "exit_weights": trial.exit_weights}
        if "exits" in trial.how.reads
        else {}
    )


def exits_text(trial: Trial) -> str:
    """Where the watched network had exits and how they were weighted: "after 0 1 weights 1 1 2"; ""
    if it had none.
    """
    found = exits_of(trial)
    words = ["after", *found["exits"]] if found else []
    return " ".join(
        map(
            str,
            words
            + (["weights", *found["exit_weights"]] if found and found["exit_weights"] else []),
        )
    )


def _empty_classes(images, selection) -> int:
    """How many classes of the set have no sample left to train on."""
    labels = images.labels.cpu().numpy()
    return len(np.unique(labels)) - len(np.unique(labels[selection.kept]))
