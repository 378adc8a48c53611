"""Prune a set of one's own: watch a training, score, select, and write down which samples to keep.

photos/cats/... photos/dogs/...  ──▶  out/

kept.txt       a line per kept sample: id, and its path where there are files
selection/     the same as a Selection
scores/        the Scores of all samples
moon.png       every sample, kept or pruned
manifest.json  what was asked, what came, and with which versions
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dpkit import plots, storage
from dpkit.data.image_set import ImageSet, load
from dpkit.data.named_sets import known_before, set_name
from dpkit.experiments.costs import Cost
from dpkit.experiments.exit_checks import check_exits
from dpkit.experiments.pipeline import Run
from dpkit.experiments.stages import VERSIONS, Evidence, own_code, record_location
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method
from dpkit.methods.rehearsal import rehearse
from dpkit.nets import builders
from dpkit.records import Scores, Selection, TrainingDynamics, keep_count, kept_list
from dpkit.storage.provenance import machine, versions
from dpkit.training.inference import resolve_precision
from dpkit.training.recipe import Recipe, recipe_for

KIND = "Pruning"


def prune(
    data: str | Path,
    out: str | Path,
    *,
    method: str | Method = "dual+beta",
    prune_ratio: float,
    dynamics: str | Path | None = None,
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
    say: Callable[[str], object] = print,
    classes: Sequence[str] | None = None,
) -> dict:
    """Choose which samples of `data` to keep and write the folder `out`; return its manifest.

    Parameters
    ----------
    data : what dpkit.load takes: a name, an .npz, or a folder of class folders (then perhaps with
        size=64).
    out : the folder to write.
    method, options : of the catalog, and its settings, e.g. {"c_d": 4.0}.
    prune_ratio : the fraction REMOVED, in [0, 1).
    dynamics : folder of a TrainingDynamics recorded elsewhere on the same samples in the same
        order; else a network is watched here for `epochs` of the recipe (default:
        recipe_for(model), a schedule of that many). That record lies in the cache: the same set and
        training with another method or ratio trains nothing. Samples whose rows are NaN in the
        record (held out from that training) are no candidates: prune_ratio is of the others, from
        which alone is kept; the numbers in kept.txt and the selection are still those of the whole
        set, and scores of samples without a record are -inf.
    seed : of the watched training and the selection.
    epochs, recipe, model : of the watched training.
    size : resize to size x size pixels.
    mirror : mirror images left-right at random while training, for sets where that changes no
        class.
    exits : stages of the network after which it has early exits, for a method that reads them
        (eeprune).
    overwrite : replace what an earlier pruning wrote into `out`. Without it, the same run is left
        as it lies.
    cache : folder for finished stages; default storage.cache_folder().
    device : "auto" is a GPU if there is one, else the CPU.
    say : called with what the set is, before anything is trained, and with each line of progress.
    classes : names of a folder's class folders, as load takes them.

    Returns
    -------
    The manifest, a dict, as it lies in `out`.

    Raises
    ------
    ValueError, or FileExistsError if `out` is taken. Nothing is written if something is wrong.
    """
    out, method = Path(os.path.abspath(out)), find_method(method)
    options = method.of_set.get(set_name(data), {}) | dict(options or {})
    recorded = dynamics is None and method.evidence is not None
    keep_count(1, prune_ratio)
    training = {
        "model": model,
        "recipe": recipe or recipe_for(model, epochs=max(epochs, 1)),
        "epochs": epochs,
        "exits": tuple(exits) if "exits" in method.reads else (),
    }
    _check_settings(method, options, prune_ratio, seed, training, recorded)
    _check_free(out, data, overwrite)
    advice = method.advice and method.advice(options)
    if advice:
        say(advice)
    if recorded:
        images = _loaded(data, size, mirror, device, classes, say)
        builders.check_pixels(model, *images.images.shape[2:])
        method.check(options, len(images), images.num_classes, prune_ratio)
        source = _Source(images.labels.cpu().numpy(), images.paths, images.class_names, images)
    else:
        source = _unloaded(data, classes, dynamics, method, say)
        if source.evidence and source.evidence.dynamics:
            length = source.evidence.dynamics.num_epochs
            rehearse(method, options, epochs=length, prune_ratio=prune_ratio)
    request = {
        "method": method.name,
        "prune_ratio": prune_ratio,
        "options": method.options | options,
        "seed": seed,
        "version": VERSIONS,
    } | _request_of(source, training)
    code = own_code(method, model if recorded else None)
    request |= {"code": code} if code else {}
    keep = keep_count(len(source.candidates), prune_ratio)
    if keep == 0:
        raise ValueError(
            f"prune_ratio {prune_ratio:g} would keep none of {len(source.candidates):,} samples: "
            "choose a smaller one"
        )
    if _finished(out, request, overwrite):
        say(f"{out} holds this very run; nothing to do")
        return json.loads((out / "manifest.json").read_text())
    run = Run(
        method=method,
        options=options,
        keep=keep,
        seed=seed,
        labels=source.labels[source.candidates],
        cache=Path(cache or storage.cache_folder()),
        images=source.images,
        evidence=_of(source.evidence, source.candidates),
    )
    if recorded:
        _record(run, training, say)
        source = replace(source, evidence=run.evidence)
    held_out = len(source.labels) - len(source.candidates)
    if held_out:
        say(
            f"{held_out:,} of {len(source.labels):,} samples have no record: the choice is among "
            f"the other {len(source.candidates):,}"
        )
    run.until("select")
    title = f"{set_name(data)}: {method.name}, {100 * prune_ratio:g} % pruned"
    return _write(out, run, source, {"request": request, "set": set_name(data)}, title, say)


@dataclass(frozen=True, eq=False)
class _Source:
    """What is pruned: labels (n,), paths and class_names where there are files; the images, if a
    training is recorded here; else the evidence from elsewhere and what the manifest says of it.
    """

    labels: np.ndarray
    paths: list | None
    class_names: list
    images: ImageSet | None = None
    evidence: Evidence | None = None
    origin: dict | None = None

    @property
    def candidates(self) -> np.ndarray:
        """Rows that can be kept: all, or those that the given record has."""
        dynamics = self.evidence.dynamics if self.evidence else None
        if self.images is not None or dynamics is None:
            return np.arange(len(self.labels))
        return np.flatnonzero(dynamics.trained())


def _unloaded(data, classes, dynamics, method, say) -> _Source:
    """The source without its pixels: of a method that looks at nothing, or at a record from
    elsewhere.
    """
    known = known_before(data, classes)
    say(known.describe(data))
    evidence, origin = (
        (None, None) if dynamics is None else _recorded_elsewhere(dynamics, known, data, method)
    )
    return _Source(known.labels, known.paths, known.class_names, None, evidence, origin)


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
        found["dynamics"] = storage.key_hash(source.origin["sha256"])
    if source.paths is not None:
        found["paths"] = storage.key_hash(source.paths)
    return found


def _write(out, run, source, manifest, title, say) -> dict:
    """Write the folder, whole or not at all, and tell what a user should know of the choice."""
    n = len(source.labels)
    scores, selection = _in_the_set(run.scores, run.selection, source.candidates, n)
    note = run.method.note(selection)
    if note:
        say(note)
    kept = selection.kept
    lost = [int(c) for c in np.setdiff1d(source.labels, source.labels[kept])]
    device = "cpu" if source.images is None else str(source.images.device)
    origin = source.origin
    if source.images is not None:
        origin = source.evidence.dynamics.params | {"folder": str(source.evidence.folder)}
    manifest = {
        "kind": KIND,
        "schema": 1,
        **manifest,
        "num_samples": n,
        "keep": len(kept),
        "no_record": n - len(source.candidates),
        "record": origin,
        "lost_classes": lost,
        "machine": machine(device),
        "versions": versions(),
        "record_seconds": source.evidence.cost.seconds if source.evidence else 0.0,
    }
    with storage.whole_folder(out, kind=KIND) as part:
        with storage.whole_file(part / kept_list.NAME) as file:
            kept_list.write_kept(file, kept, source.paths)
        selection.save(part / "selection")
        if scores is not None:
            scores.save(part / "scores")
        if run.evidence:
            _draw_moon(run.evidence.dynamics, run.selection, title, part)
        manifest["sha256"] = {
            str(file.relative_to(part)): storage.file_hash(file)
            for file in sorted(part.rglob("*"))
            if file.is_file()
        }
        storage.write_json(part / "manifest.json", manifest)
    say(f"kept {len(kept):,} of {n:,} samples: {out / 'kept.txt'}")
    if lost:
        gone = ", ".join(str(source.class_names[c]) for c in lost)
        recorded = np.isin(lost, source.labels[source.candidates]).all()
        unseen = "" if recorded else ", or record a training on samples of all classes"
        say(
            f"careful: no sample of class {gone} is kept; prune less, or choose another "
            f"method{unseen}"
        )
    return manifest


# ---- refused before any work ---------------------------------------------------------------------


def _check_settings(method, options, prune_ratio, seed, training, recorded):
    """ValueError for settings that would be refused after the training, or lead nowhere."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0; got {seed!r}")
    epochs, recipe, exits = (training[name] for name in ("epochs", "recipe", "exits"))
    if not recorded:  # nothing is trained; a record that is given is judged once it is read
        if not method.reads:
            rehearse(method, options, epochs=1, prune_ratio=prune_ratio)
        return
    check_exits(method, training["model"], exits, ())
    if not (recipe.budget == "epochs" and 1 <= epochs <= recipe.epochs):
        raise ValueError(f"epochs must be 1..{recipe.epochs} (the recipe's); got {epochs}")
    rehearse(method, options, epochs=epochs, prune_ratio=prune_ratio, exits=len(exits))


# ---- evidence ------------------------------------------------------------------------------------


def _loaded(data, size, mirror, device, classes, say):
    told = [time.monotonic()]

    def on_progress(done, total):
        now = time.monotonic()
        if done == total or now - told[-1] > 5:
            told.append(now)
            say(
                f"read {done:,} of {total:,} images"
                + (
                    f", {_duration((now - told[0]) / done * (total - done))} left"
                    if done < total
                    else ""
                )
            )

    images = load(data, size=size, device=device, on_progress=on_progress, classes=classes, say=say)
    if len(images.labels.unique()) < 2:
        raise ValueError(
            f"{data} must hold at least two classes to tell apart; all {len(images)} labels are "
            "the same: nothing can be learned, so nothing can be scored"
        )
    return replace(images, mirror=True) if mirror else images


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
            f"%, loss {report.loss:.3f}, {_duration(left)} left"
        )

    if record_location(images, **training, seed=run.seed, cache=run.cache)[1].exists():
        say("found the record of an earlier run: no training needed")
    else:
        height, width = images.images.shape[2:]
        say(
            f"watching {builders.model_name(training['model'])} learn {len(images):,} images "
            f"({width}x{height}, {images.num_classes} classes) for {epochs} epochs on the "
            f"{images.device}; stopped, it goes on from here"
        )
    run.on_epoch = on_epoch
    run.record = training | {"parts": {"dynamics", *run.method.parts}}
    dynamics = run.until("record").evidence.dynamics
    learned = dynamics.correct[:, -1].mean()
    chance = np.bincount(dynamics.labels).max() / dynamics.num_samples
    if learned < chance + 0.1 * (1 - chance):
        say(
            f"careful: after {epochs} epochs the network is right on {100 * learned:.0f} % of the "
            f"training images, and the commonest class alone is {100 * chance:.0f} % of them; the "
            "scores mean little. Train longer (--epochs), in smaller batches (--batch-size), or "
            "with another --lr"
        )


def _recorded_elsewhere(folder, known, data, method):
    """(Evidence, what the manifest says of it) from a saved TrainingDynamics.

    ValueError if it is another set's.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").exists() or (folder / "dynamics" / "manifest.json").exists():
        folder = folder / "dynamics" if (folder / "dynamics").is_dir() else folder
    origin = storage.read_manifest(folder)
    if origin.get("kind") == KIND:
        made_from = (origin.get("record") or {}).get("folder")
        raise ValueError(
            f"{folder} is a pruning, not a record"
            + (
                f"; the record it was made from is in {made_from}"
                if made_from
                else " of training dynamics"
            )
        )
    dynamics, labels = TrainingDynamics.load(folder), known.labels
    if not method.reads <= {"dynamics"}:
        raise ValueError(
            f"{method.name} looks at a snapshot, and {folder} is read for training dynamics only: "
            "leave --dynamics out"
        )
    if dynamics.num_samples != len(labels):
        raise ValueError(
            f"the record in {folder} is of {dynamics.num_samples} samples, but {data} has "
            f"{len(labels)}: it is of another set, or files were added or removed since"
        )
    trained = dynamics.trained()
    if not trained.any():
        raise ValueError(
            f"the record in {folder} holds no sample that was trained on (all its rows are NaN): "
            "name another"
        )
    if known.numbers is not None and np.array_equal(
        dynamics.labels[trained], known.numbers[labels][trained]
    ):
        # recorded with the file's own numbers, gaps and all
        dynamics = replace(dynamics, labels=labels)
    differ = np.flatnonzero((dynamics.labels != labels) & trained)
    if len(differ):
        row = differ[0]
        raise ValueError(
            f"the record in {folder} has other labels than {data} in {len(differ)} of "
            f"{len(labels)} rows (first: row {row}, {dynamics.labels[row]} there and {labels[row]} "
            "here): it is of another set, or of this one in another order"
        )
    sha256 = json.loads((folder / "manifest.json").read_text())["sha256"]
    seen = storage.key_hash([sha256, hashlib.sha256(dynamics.labels.tobytes()).hexdigest()])
    evidence = Evidence(dynamics, None, Cost(), folder, name=f"given-{seen}")
    return evidence, dynamics.params | {"folder": str(folder), "sha256": sha256}


def _of(evidence, rows):
    """The evidence of these rows alone, ascending."""
    if evidence is None or len(rows) == evidence.dynamics.num_samples:
        return evidence
    whole = evidence.dynamics
    moved = None if whole.divergence is None else whole.divergence[rows]
    return replace(
        evidence,
        name=f"{evidence.name}-{storage.key_hash(rows.tolist())}",
        dynamics=TrainingDynamics(
            whole.target_prob[rows],
            whole.margin[rows],
            whole.correct[rows],
            whole.labels[rows],
            whole.moment,
            whole.params,
            moved,
        ),
    )


def _in_the_set(scores, selection, rows, n):
    """Scores and selection of these rows as those of all n samples: row i is sample i."""
    if len(rows) == n:
        return scores, selection
    if scores is not None:
        values = np.full(n, -np.inf)
        values[rows] = scores.values
        scores = Scores(values, scores.name, scores.params)
    return scores, Selection(rows[selection.kept], n, selection.method, selection.params)


# ---- the folder ----------------------------------------------------------------------------------


def _check_free(out, data, overwrite):
    """OSError, before anything is computed, if `out` cannot be made, or is not free for it."""
    source = Path(data).resolve()
    if source.is_dir() and (
        out == source or source in out.resolve().parents or out.resolve() in source.parents
    ):
        raise FileExistsError(
            f"{out} and the images in {source} must lie apart, or what is written would become "
            "part of the set; name another folder"
        )
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(
            f"{out} cannot be made, as {above} is no folder; name another folder"
        )
    storage.check_replaceable(out, kind=KIND)
    if overwrite:
        storage.check_nothing_foreign(out)


def _finished(out, request, overwrite) -> bool:
    """Whether `out` is this very run, whole. FileExistsError if it is another's that must stay."""
    if overwrite or not (out / "manifest.json").exists():
        return False
    there = storage.read_manifest(out)
    asked, found = json.loads(json.dumps(request, default=storage.plain)), there.get("request", {})
    differing = sorted(name for name in {**asked, **found} if asked.get(name) != found.get(name))
    if differing:
        raise FileExistsError(
            f"{out} holds another run (other {', '.join(differing)}); name another folder, or "
            "replace it with --overwrite"
        )
    changed = [
        name
        for name, sha256 in there["sha256"].items()
        if not (out / name).is_file() or storage.file_hash(out / name) != sha256
    ]
    if changed:
        raise FileExistsError(
            f"{out / changed[0]} was changed or removed since this run wrote it; name another "
            "folder, or write it again with --overwrite"
        )
    return True


def _draw_moon(dynamics, selection, title, folder):
    from matplotlib.figure import Figure

    if dynamics.num_epochs < 2:
        return
    figure = Figure(figsize=(6, 5), layout="constrained")
    ax = plots.moon_plot(dynamics, ax=figure.subplots(), selection=selection)
    ax.set_title(title)
    figure.savefig(folder / "moon.png", dpi=150, metadata={"Software": None})


def _duration(seconds) -> str:
    """ "1 h 5 min", "2 min 10 s" or "40 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
