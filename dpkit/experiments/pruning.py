"""Prune a set of one's own: watch a training, score, select, and write down which samples to keep.

photos/cats/... photos/dogs/...  ──▶  out/

kept.txt       a line per kept sample: id, and its path where there are files
samples.csv    a line per sample: id, path, label, score, rank, and whether it is kept
selection/     the same as a Selection
scores/        the Scores of all samples
moon.png       every sample, kept or pruned
manifest.json  what was asked, what came, and with which versions
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpkit import storage
from dpkit.data.named_sets import set_name
from dpkit.experiments import pruning_folder, pruning_source
from dpkit.experiments.exit_checks import check_exits
from dpkit.experiments.given_scores import with_scores
from dpkit.experiments.pipeline import Run, stage_versions
from dpkit.experiments.space import record_bytes, space_note
from dpkit.experiments.stages import own_code, record_location
from dpkit.methods.catalog import find_method
from dpkit.methods.given import by_given_scores
from dpkit.methods.method import Method
from dpkit.methods.rehearsal import rehearse
from dpkit.nets import builders
from dpkit.records import Scores, keep_count
from dpkit.records.set_facts import shorten
from dpkit.storage.long_work import duration, heard_by
from dpkit.training.inference import resolve_precision
from dpkit.training.recipe import Recipe, recipe_for


def prune(
    data: Any,
    out: str | Path,
    *,
    method: str | Method | None = None,
    prune_ratio: float,
    dynamics: str | Path | None = None,
    scores: str | Path | Scores | None = None,
    seed: int = 0,
    epochs: int = 30,
    recipe: Recipe | None = None,
    model: str | Callable = "small_cnn",
    size: int | None = None,
    mirror: bool = False,
    exits: Sequence[int] = (1,),
    options: dict | None = None,
    overwrite: bool = False,
    cache: str | Path | None = None,
    device: str | torch.device = "auto",
    say: Callable[[str], object] | None = print,
    classes: Sequence[str] | None = None,
    max_pixels: int | None = None,
    skip_broken: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
) -> dict:
    """Choose which samples of `data` to keep and write the folder `out`; return its manifest.

    Parameters
    ----------
    data : what dpkit.load takes: a name, an .npz, a folder of class folders or a table of labels
        (then perhaps with size=64); an ImageSet; or what from_dataset takes. Of a subset the
        numbers in kept.txt and the selection are those of the whole set, and scores of the
        other samples are -inf.
    out : the folder to write.
    method, options : of the catalog, and its settings, e.g. {"c_d": 4.0}. Default: "dual+beta";
        with scores, the highest are kept.
    prune_ratio : the fraction REMOVED, in [0, 1).
    dynamics : folder of a TrainingDynamics recorded elsewhere on the same samples in the same
        order; else a network is watched here for `epochs` of the recipe (default:
        recipe_for(model), a schedule of that many). That record lies in the cache: the same set and
        training with another method or ratio trains nothing. Samples whose rows are NaN in the
        record (held out from that training) are no candidates: prune_ratio is of the others, from
        which alone is kept; the numbers in kept.txt and the selection are still those of the whole
        set, and scores of samples without a record are -inf.
    scores : made elsewhere, higher = more worth keeping: an .npy of (n,) floats in the set's order;
        a .csv with the columns id or path, and score, in any order; or Scores. Nothing is trained
        then, and the method is left out, or is one whose rule reads nothing but scores ("ccs").
    seed : of the watched training and the selection.
    epochs, recipe, model : of the watched training.
    size, classes, max_pixels, skip_broken : as load takes them: pixels to resize to, names of a
        folder's class folders, and what to do with large and with broken image files.
    image_column, label_column, split_column, images : as load takes them, of a table.
    mirror : mirror images left-right at random while training, for sets where that changes no
        class.
    exits : stages of the network after which it has early exits, for a method that reads them
        (eeprune).
    overwrite : replace what an earlier pruning wrote into `out`. Without it, the same run is left
        as it lies.
    cache : folder for finished stages; default storage.cache_folder().
    device : "auto" is a GPU if there is one, else the CPU.
    say : called with what the set is, before anything is trained, and with each line of progress;
        None: nothing is said.

    Returns
    -------
    The manifest, a dict, as it lies in `out`.

    Raises
    ------
    ValueError; FileExistsError if `out` is taken, or another run writes it now;
    storage.UnusablePlace if `out` or the cache cannot be written to. Nothing is written then.
    storage.DiskFault if a disk becomes full, or fails: later, the same call goes on.
    """
    loading = pruning_source.loading_options(
        data,
        size=size,
        classes=classes,
        max_pixels=max_pixels,
        skip_broken=skip_broken,
        image_column=image_column,
        label_column=label_column,
        split_column=split_column,
        images=images,
    )
    out, method = Path(os.path.abspath(out)), _method_for(method, dynamics, scores)
    options = method.of_set.get(set_name(data), {}) | dict(options or {})
    method = method.with_options(options)
    keep_count(1, prune_ratio)
    say = say or _silence
    training = {
        "model": model,
        "recipe": recipe or recipe_for(model, epochs=max(epochs, 1)),
        "epochs": epochs,
        "exits": tuple(exits) if "exits" in method.reads else (),
    }
    choice = _Choice(method, options, prune_ratio, seed)
    recorded = dynamics is None and scores is None and bool(method.reads)
    choice.check_before(training if recorded else None)
    cache = Path(cache or storage.cache_folder())
    pruning_folder.check_free(out, data, overwrite)
    storage.check_folder(cache)
    with storage.claimed(out):
        if advice := method.advice and method.advice(options):
            say(advice)
        data, loading = pruning_source.read_object(data, loading, say)
        if recorded:
            source = pruning_source.image_source(
                data, mirror=mirror, device=device, say=say, loading=loading
            )
        else:
            source = _judged_elsewhere(data, dynamics, scores, method, say, loading)
        choice.check_with(source, model)
        request = choice.request() | _request_of(source, training)
        code = own_code(method, model if recorded else None)
        request |= {"code": code} if code else {}
        if pruning_folder.is_finished(out, request, overwrite):
            say(f"{out} holds this very run; nothing to do")
            return json.loads((out / "manifest.json").read_text())
        run = choice.run(source, cache)
        if recorded:
            _record(run, training, say)
        _say_held_out(source, say)
        with heard_by(say):
            run.until("select")
        assert run.selection is not None
        if note := method.note(source.in_the_set(None, run.selection)[1]):
            say(note)
        location = pruning_source.location_of(data, source, loading)
        manifest = pruning_folder.write(out, run, source, request, set_name(data), location)
        _say_kept(manifest, source, out / "kept.txt", say)
        return manifest


def _method_for(method, dynamics, scores):
    if scores is None:
        return find_method(method or "dual+beta")
    if dynamics is not None:
        raise ValueError("dynamics and scores are two ways to judge the samples; give one of them")
    return by_given_scores(method)


def _judged_elsewhere(data, dynamics, scores, method, say, loading):
    more = method.reads - {"scores"}
    if scores is not None and more:
        raise ValueError(
            f"with these settings the choice also reads {', '.join(sorted(more))}, and only scores "
            "are given: leave them out, or for quotas by difficulty give each class's recall as a "
            "list, per_class=[0.9, 0.7, ...]"
        )
    source = pruning_source.label_source(data, dynamics, method, say, loading)
    if scores is None:
        return source
    return with_scores(source, scores, pruning_source.data_name(data), say)


@dataclass(frozen=True)
class _Choice:
    """How samples are chosen."""

    method: Method
    options: dict
    prune_ratio: float
    seed: int

    def request(self) -> dict:
        """All of it, for the manifest."""
        return {
            "method": self.method.name,
            "prune_ratio": self.prune_ratio,
            "options": self.method.options | self.options,
            "seed": self.seed,
            "version": stage_versions(),
        }

    def check_before(self, training) -> None:
        """ValueError for settings that would be refused after the training, or lead nowhere.

        training: None where nothing is trained; a record that is given is judged once it is read.
        """
        seed = self.seed
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed must be a whole number from 0; got {seed!r}")
        if training is None:
            if not self.method.reads:
                self._rehearse(epochs=1)
            return
        epochs, recipe, exits = (training[name] for name in ("epochs", "recipe", "exits"))
        check_exits(self.method, training["model"], exits, ())
        if not (recipe.budget == "epochs" and 1 <= epochs <= recipe.epochs):
            raise ValueError(f"epochs must be 1..{recipe.epochs} (the recipe's); got {epochs}")
        self._rehearse(epochs=epochs, exits=len(exits))

    def check_with(self, source, model) -> None:
        """ValueError if this set does not suit the network, the method or the ratio."""
        if source.images is not None:
            images = source.images
            builders.check_pixels(model, *images.images.shape[2:])
            self.method.check(self.options, len(images), images.num_classes, self.prune_ratio)
        elif source.evidence is not None:
            dynamics = source.evidence.dynamics
            self._rehearse(epochs=dynamics.num_epochs if dynamics else 1)
        if keep_count(len(source.candidates), self.prune_ratio) == 0:
            raise ValueError(
                f"prune_ratio {self.prune_ratio:g} would keep none of {len(source.candidates):,} "
                "samples: choose a smaller one"
            )

    def run(self, source, cache) -> Run:
        """The stages, still to be run, over the candidates of the source."""
        return Run(
            method=self.method,
            options=self.options,
            keep=keep_count(len(source.candidates), self.prune_ratio),
            seed=self.seed,
            labels=source.labels[source.candidates],
            cache=cache,
            images=source.images,
            evidence=source.candidates_evidence,
        )

    def _rehearse(self, **record):
        rehearse(self.method, self.options, prune_ratio=self.prune_ratio, **record)


def _request_of(source, training) -> dict:
    """What the choice depends on besides the method: the data, and the training or the record."""
    images, recipe = source.images, training["recipe"]
    found = {}
    if images is not None:
        found = {
            "data": images.fingerprint,
            "model": builders.model_name(training["model"]),
            "recipe": recipe.settings(),
            "epochs": training["epochs"],
            "device": images.device.type,
            "precision": resolve_precision(images, recipe.precision),
        }
        found |= {"exits": list(training["exits"])} if training["exits"] else {}
    else:
        found["labels"] = hashlib.sha256(source.labels.tobytes()).hexdigest()
    if source.origin:
        found["scores" if "scores" in source.origin else "dynamics"] = storage.key_hash(
            source.origin["sha256"]
        )
    if not source.is_whole:
        found["ids"] = storage.key_hash([source.total, *source.ids.tolist()])
    if source.paths is not None:
        found["paths"] = storage.key_hash(source.paths)
    return found


def _silence(line: str) -> None:
    pass


def _say_held_out(source, say):
    held_out = len(source.labels) - len(source.candidates)
    if held_out:
        say(
            f"{held_out:,} of {len(source.labels):,} samples have no record: the choice is among "
            f"the other {len(source.candidates):,}"
        )


def _say_kept(manifest, source, file, say):
    """How many were kept; careful, if a class has lost all its samples."""
    say(f"kept {manifest['keep']:,} of {len(source.labels):,} samples: {file}")
    lost = manifest["lost_classes"]
    if not lost:
        return
    gone = shorten([source.class_names[c] for c in lost], 10)
    recorded = np.isin(lost, source.labels[source.candidates]).all()
    unseen = "" if recorded else ", or record a training on samples of all classes"
    even = " keep as many of each (--set per_class=balanced),"
    even = even if recorded and not manifest["request"]["options"].get("per_class") else ""
    count = f" ({len(lost):,} of {len(source.class_names):,} classes)" if len(lost) > 10 else ""
    say(
        f"careful: no sample of class {gone} is kept{count}; prune less,{even} or choose another "
        f"method{unseen}"
    )


def _record(run, training, say) -> None:
    """Record a training, or find its record in the cache; tell how it goes, and if little was
    learned.
    """
    images, epochs, seconds = run.images, training["epochs"], []

    def on_epoch(stage, report):
        seconds.append(report.seconds)
        left = np.mean(seconds[-5:]) * (epochs - len(seconds))
        say(
            f"epoch {len(seconds)}/{epochs}: training accuracy {100 * report.correct.mean():.1f} "
            f"%, loss {report.loss:.3f}, {duration(left)} left"
        )

    if not record_location(images, **training, seed=run.seed, cache=run.cache)[1].exists():
        height, width = images.images.shape[2:]
        say(
            f"watching {builders.model_name(training['model'])} learn {len(images):,} images "
            f"({width}x{height}, {images.num_classes} classes) for {epochs} epochs on the "
            f"{images.device}; stopped, it goes on from here"
        )
        size = record_bytes(
            training["model"],
            shape=tuple(images.images.shape[1:]),
            num_classes=images.num_classes,
            num_samples=len(images),
            epochs=epochs,
            num_exits=len(training["exits"]),
        )
        if size and (note := space_note([size], run.cache)):
            say(note)
    run.on_epoch = on_epoch
    run.record = training | {"parts": {"dynamics", *run.method.parts}}
    dynamics = run.until("record").evidence.dynamics
    if not seconds:
        say("found the record of an earlier run: no training needed")
    learned = dynamics.correct[:, -1].mean()
    chance = np.bincount(dynamics.labels).max() / dynamics.num_samples
    if learned < chance + 0.1 * (1 - chance):
        say(
            f"careful: after {epochs} epochs the network is right on {100 * learned:.0f} % of the "
            f"training images, and the commonest class alone is {100 * chance:.0f} % of them; the "
            "scores mean little. Train longer (--epochs), in smaller batches (--batch-size), or "
            "with another --lr"
        )
