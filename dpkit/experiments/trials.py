"""One cell of an experiment: watch a training, score, select, retrain, and write the row."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field, InstanceOf, field_validator

from dpkit import storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments import exit_checks, stages
from dpkit.experiments.environment import load_sets
from dpkit.experiments.given_sets import TEST, as_given, bring_sets, check_sets, must_be_loaded
from dpkit.experiments.pipeline import Run, stage_versions
from dpkit.experiments.rows import Row
from dpkit.experiments.stored_sets import check_unchanged
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method
from dpkit.methods.rehearsal import rehearse
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.records import Scores, Selection, keep_count
from dpkit.storage.validation import (
    Number,
    Positive,
    Whole,
    checked,
    known_to,
    non_defaults,
    unknown_names,
)
from dpkit.training.recipe import Recipe

# settings of 0.7, which are in every key
_FIRST = (
    "dataset method prune_ratio seed record record_epochs retrain model num_samples "
    "snapshot_epoch exits exit_weights best_every options"
).split()


Images = Annotated[
    str | InstanceOf[ImageSet],
    BeforeValidator(as_given),
    Field(description="a name, a path, an ImageSet or a dataset object"),
]
TestImages = Annotated[
    InstanceOf[ImageSet] | str | Number | None,
    BeforeValidator(lambda test, info: as_given(test, like=info.data.get("dataset"))),
    Field(description=TEST),
]
Named = Annotated[
    str | InstanceOf[Method], known_to(find_method), Field(description="a name or a Method")
]
Network = Annotated[str | Callable, Field(description="a name or a builder function")]
Ratio = Annotated[Number, Field(ge=0, lt=1, description="a number in [0, 1), the fraction removed")]
Stages = Annotated[
    tuple[int, ...], Field(strict=False, description="a list of stages, as in [0, 1]")
]
Weights = Annotated[
    tuple[Number, ...], Field(strict=False, description="a list of numbers, as in [1, 1, 2]")
]


@checked
class Trial:
    """Everything a row depends on but the machine.

    Parameters
    ----------
    dataset : what load takes, or an ImageSet or dataset object of your own, then with its test set.
        A subset counts as a set of its own: sample i of the trial is its i-th image.
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
    test : what is tested on, where it is not the set's own split "test": an ImageSet, a path, the
        name of a split such as "val", or a fraction of each class that is held out of the training
        set, the same in all trials. It has the training set's classes and normalisation.
    size : as load takes it, where the dataset is a name or a path.
    """

    dataset: Images
    method: Named
    prune_ratio: Ratio
    seed: Whole
    record: Annotated[Recipe, Field(description="a Recipe")]
    record_epochs: Positive
    retrain: Annotated[Recipe, Field(description="a Recipe")]
    model: Annotated[Network, known_to(builders.find_builder)] = "small_cnn"
    num_samples: Whole = 0
    snapshot_epoch: Positive = 10
    exits: Stages = (1,)
    exit_weights: Weights = ()
    best_every: Whole = 0
    options: dict = field(default_factory=dict)
    record_model: Network = ""
    test: TestImages = None
    size: Annotated[Positive | None, Field(description="a whole number of pixels from 1")] = None

    @field_validator("record")
    @classmethod
    def _is_counted_in_epochs(cls, record):
        if record.budget != "epochs":
            raise ValueError(
                "a watched training is counted in epochs: record needs that budget; got "
                f"{record.budget!r}"
            )
        return record

    @field_validator("record_epochs")
    @classmethod
    def _fits_record(cls, epochs, info):
        record = info.data.get("record")
        if record and epochs > record.epochs:
            raise ValueError(
                f"record_epochs must be 1..{record.epochs} (the record recipe's epochs); got "
                f"{epochs}"
            )
        return epochs

    @field_validator("options")
    @classmethod
    def _suit_method(cls, options, info):
        fine = info.data
        if "method" not in fine:
            return options
        method = find_method(fine["method"])
        options = method.of_set.get(_plain(fine.get("dataset")), {}) | options
        names = [name for part in method.option_names for name in part]
        if others := [str(name) for name in options if name not in names]:
            raise ValueError(unknown_names(f"{method.name} has no setting", others, names))
        if "record_epochs" in fine:  # for what was refused, something that asks for little
            ratio, exits = fine.get("prune_ratio", 0.9), len(fine.get("exits", (0, 1)))
            rehearse(method, options, epochs=fine["record_epochs"], prune_ratio=ratio, exits=exits)
        return options

    @field_validator("record_model")
    @classmethod
    def _suits_method(cls, record_model, info):
        """Empty where it says nothing. The exits are those of the network that is watched."""
        fine = info.data
        if record_model:
            builders.find_builder(record_model)
        if not {"method", "model"} <= fine.keys():
            return record_model
        method = find_method(fine["method"]).with_options(fine.get("options", {}))
        if record_model == fine["model"] or not method.reads:
            record_model = ""
        if {"exits", "exit_weights"} <= fine.keys():
            watched = record_model or fine["model"]
            exit_checks.check_exits(method, watched, fine["exits"], fine["exit_weights"])
        return record_model

    @field_validator("size")
    @classmethod
    def _suit_one_another(cls, size, info):
        if {"dataset", "test"} <= info.data.keys():
            check_sets(info.data["dataset"], info.data["test"], size)
        return size

    @property
    def method_object(self) -> Method:
        """The method itself, as it is with the trial's options."""
        return find_method(self.method).with_options(self.options)

    @property
    def set_name(self) -> str:
        """What the set is called in rows."""
        return _plain(self.dataset)

    @property
    def recorded_model(self) -> str | Callable:
        """The network whose training is recorded."""
        return self.record_model or self.model

    watched = recorded_model  # its name before 0.9

    def plain(self) -> dict:
        """As a dict of plain values, for keys and files; settings that came after 0.7 only where
        they differ from the default, so that keys stay. Of an ImageSet its name and fingerprint.
        """
        found = {name: _plain(value) for name, value in non_defaults(self, always=_FIRST).items()}
        if isinstance(self.dataset, ImageSet):
            found["fingerprint"] = self.dataset.fingerprint
        if isinstance(self.test, ImageSet):
            found["test"] = self.test.fingerprint
        return found


def _plain(value):
    if isinstance(value, Recipe):
        return value.plain()
    if isinstance(value, (Method, ImageSet)):
        return value.name
    return model_name(value) if callable(value) else value


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished trial: its row, the selection it trained on, and the scores behind it.

    scores: None where there is no score.
    """

    row: Row
    selection: Selection
    scores: Scores | None


def run_trial(
    trial: Trial,
    *,
    cache: str | Path | None = None,
    device: str | torch.device = "auto",
    on_epoch: Callable | None = None,
) -> dict:
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
    The row as Row.flat() gives it, a dict for tables and figures. Its costs (seconds,
    epochs, samples and peak_memory of each stage) are those of the run that did the work; a shared
    recording is charged in full, to el2n too.
    from_cache says whether the retraining was an earlier run's. accuracy, in [0, 1], is on the test
    set after the LAST step. scores and selection name the stages in the cache that hold them ("":
    no score). code is not empty if the method or the network is not dpkit's own: their names, and
    a hash of what they do. fingerprint is not empty if the set was given as an ImageSet: its own.
    """
    return outcome_of(trial, cache=cache, device=device, on_epoch=on_epoch).row.flat()


def with_sets(trial: Trial) -> Trial:
    """The trial with its sets, where they are paths or parts of others, as ImageSets."""
    if not must_be_loaded(trial.dataset, trial.test, trial.size):
        return trial
    images, test = bring_sets(trial.dataset, trial.test, trial.size)
    return replace(trial, dataset=images, test=test, size=None)


def outcome_of(
    trial: Trial,
    *,
    cache: str | Path | None = None,
    device: str | torch.device = "auto",
    on_epoch: Callable | None = None,
) -> Outcome:
    """As run_trial, with the scores and the selection beside the row: what a published table
    needs.
    """
    trial = with_sets(trial)
    for given in (trial.dataset, trial.test):
        if isinstance(given, ImageSet):
            check_unchanged(given)
    sets = load_sets(trial.dataset, trial.num_samples, device, trial.test)
    run = run_of(trial, *sets, cache=cache)
    run.on_epoch = on_epoch
    return make_outcome(trial, run.until("retrain"))


def run_of(
    trial: Trial, images: ImageSet, test: ImageSet | None, *, cache: str | Path | None = None
) -> Run:
    """The trial's stages, still to be run; ValueError if its method cannot choose from this set."""
    trial.method_object.check(trial.options, len(images), images.num_classes, trial.prune_ratio)
    recording = {
        "model": trial.recorded_model,
        "recipe": trial.record,
        "epochs": trial.record_epochs,
        "snapshot_epoch": trial.snapshot_epoch,
    } | exits_of(trial)
    return Run(
        method=trial.method_object,
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


def record_of(
    trial: Trial,
    images: ImageSet,
    *,
    cache: str | Path | None = None,
    parts: Collection[str] | None = None,
) -> stages.Evidence | None:
    """The trial's watched training, run or read from the cache; None if nothing is watched.

    parts: what to read of it, any of "dynamics", "snapshot" and "final" (default: what the method
    reads).
    """
    run = run_of(trial, images, None, cache=cache)
    run.record["parts"] = parts
    return run.until("record").evidence


def make_outcome(trial: Trial, run: Run) -> Outcome:
    """The outcome of a trial whose stages have run."""
    images, selection, result = run.images, run.selection, run.result
    assert images is not None and selection is not None and result is not None
    row = Row(
        **settings_in_row(trial, len(images)),
        **result,
        costs={stage: asdict(cost) for stage, cost in run.costs.items()},
        keep=len(selection.kept),
        empty_classes=_empty_classes(images, selection),
        versions=stage_versions(),
        scores=run.folders["score"].name if "score" in run.folders else "",
        selection=run.folders["select"].name,
    )
    return Outcome(row, selection, run.scores)


def settings_in_row(trial: Trial, num_samples: int) -> dict:
    """The fields of a Row that are known before the trial is run, on a set of so many samples."""
    exits = {"after": trial.exits, "weights": trial.exit_weights} if exits_of(trial) else {}
    return {
        "dataset": trial.set_name,
        "fingerprint": "" if isinstance(trial.dataset, str) else trial.dataset.fingerprint,
        "num_samples": num_samples,
        "model": model_name(trial.model),
        "method": trial.method_object.name,
        "options": _as_json(trial.method_object.defaults | trial.options),
        "settings": _as_json(trial.method_object.options | trial.options),
        "prune_ratio": trial.prune_ratio,
        "seed": trial.seed,
        "record": trial.record,
        "retrain": trial.retrain,
        "snapshot_epoch": trial.snapshot_epoch,
        "exits": _as_json({name: value for name, value in exits.items() if value}),
        "best_every": trial.best_every,
        "record_model": model_name(trial.record_model),
        "code": own_code_of(trial),
        "test": trial.test.name if isinstance(trial.test, ImageSet) else "",
    }


def identity_of(trial: Trial, num_samples: int) -> dict:
    """The fields of a Row by which it is known as this trial's: those that its numbers depend on.

    The data, the versions of the stages and the machine are not the trial's to tell.
    """
    reads = trial.method_object.reads
    found = settings_in_row(trial, num_samples) | {"record_epochs": trial.record_epochs}
    unread = {"options", "test"}  # settings says them all; the data are not the trial's to tell
    if not reads:
        unread |= {"record", "record_epochs", "record_model"}
    if "snapshot" not in reads:
        unread.add("snapshot_epoch")
    if "exits" not in reads:
        unread.add("exits")
    return {name: value for name, value in found.items() if name not in unread}


def _as_json(value):
    """As it is read back from a file: lists for tuples, numbers for numpy's."""
    return json.loads(json.dumps(value, default=storage.plain))


def own_code_of(trial: Trial) -> str:
    """What in the trial's method and network is not dpkit's own, and what it does: another function
    is another row.
    """
    return stages.own_code(trial.method, trial.model, trial.record_model)


def exits_of(trial: Trial) -> dict:
    """The trial's exits and exit_weights, if its method reads exits; else nothing."""
    return (
        {"exits": trial.exits, "exit_weights": trial.exit_weights}
        if "exits" in trial.method_object.reads
        else {}
    )


def _empty_classes(images, selection) -> int:
    """How many classes of the set have no sample left to train on."""
    labels = images.labels.cpu().numpy()
    return len(np.unique(labels)) - len(np.unique(labels[selection.kept]))
