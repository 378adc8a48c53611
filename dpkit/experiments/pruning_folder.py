"""The folder that `prune` writes: free for it, this very run already, or written whole."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit import plots, storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments.pipeline import Run
from dpkit.records import Scores, Selection, kept_list, sample_table
from dpkit.records.kept_list import KIND
from dpkit.records.sample_table import NO_CHOICE, SampleTable
from dpkit.storage.provenance import machine, versions

if TYPE_CHECKING:
    from dpkit.experiments.pruning_source import Source


def check_free(out: Path, data: Any, overwrite: bool) -> None:
    """OSError, before anything is computed, if `out` cannot be made, or is not free for it."""
    source = data.source if isinstance(data, ImageSet) else data
    if isinstance(source, (str, os.PathLike)):  # and no dataset object
        storage.check_apart(out, Path(source))
    storage.check_folder(out, replaced=True)
    storage.check_replaceable(out, kind=KIND)
    if overwrite:
        storage.check_nothing_foreign(out)


def is_finished(out: Path, request: dict, overwrite: bool) -> bool:
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


def write(out: Path, run: Run, source: "Source", request: dict, name: str, location: dict) -> dict:
    """Write the folder, whole or not at all; return its manifest.

    run: with its stages done.   source: of pruning_source.   name: of the set.   location: where
    that lies, as pruning_source.location_of tells.
    """
    assert run.selection is not None
    scores, selection = source.in_the_set(run.scores, run.selection)
    title = f"{name}: {run.method.name}, {100 * request['prune_ratio']:g} % pruned"
    manifest = {"kind": KIND, "schema": 1, "request": request, "set": name, "data": location}
    manifest |= _facts(run, source, selection)
    with storage.whole_folder(out, kind=KIND) as part:
        with storage.whole_file(part / kept_list.NAME) as file:
            kept_list.write_kept(file, selection.kept, source.paths)
        with storage.whole_file(part / sample_table.NAME) as file:
            sample_table.write_samples(file, _samples(source, scores, selection))
        selection.save(part / "selection")
        if scores is not None:
            scores.save(part / "scores")
        if run.evidence and run.evidence.dynamics:
            _draw_moon(run.evidence.dynamics, run.selection, title, part)
        manifest["sha256"] = {
            str(file.relative_to(part)): storage.file_hash(file)
            for file in sorted(part.rglob("*"))
            if file.is_file()
        }
        storage.write_json(part / "manifest.json", manifest)
    return manifest


def _samples(source: "Source", scores: Scores | None, selection: Selection) -> SampleTable:
    """What came of each sample.   scores, selection: over the original set."""
    choices = np.full(source.total, NO_CHOICE, np.int8)
    choices[source.ids[source.candidates]] = 0
    choices[selection.kept] = 1
    order = np.argsort(source.ids)
    ids = source.ids[order]
    kept = choices[ids]
    values = np.full(len(ids), np.nan)
    if scores is not None:
        values = np.where(kept == NO_CHOICE, np.nan, scores.values[ids])
    return SampleTable(
        ids,
        source.labels[order],
        [str(name) for name in source.class_names],
        kept,
        values,
        sample_table.ranks_of(values),
        None if source.paths is None else [source.paths[i] for i in ids],
    )


def _facts(run, source, selection) -> dict:
    """What the manifest says besides what was requested."""
    candidates, evidence = source.candidates, run.evidence
    kept_labels = source.labels[candidates[run.selection.kept]]
    if source.images is None:
        device, record = "cpu", source.origin
    else:
        device = str(source.images.device)
        record = evidence.dynamics.params | {"folder": str(evidence.folder)}
    return {
        "class_names": [str(name) for name in source.class_names],
        "num_samples": source.total,
        "keep": len(selection.kept),
        "no_record": source.total - len(candidates),
        "record": record,
        "lost_classes": [int(c) for c in np.setdiff1d(source.labels, kept_labels)],
        "machine": machine(device),
        "versions": versions(),
        "record_seconds": evidence.cost.seconds if evidence else 0.0,
    }


def _draw_moon(dynamics, selection, title, folder):
    from matplotlib.figure import Figure

    if dynamics.num_epochs < 2:
        return
    figure = Figure(figsize=(6, 5), layout="constrained")
    ax = plots.moon_plot(dynamics, ax=figure.subplots(), selection=selection)
    ax.set_title(title)
    figure.savefig(folder / "moon.png", dpi=150, metadata={"Software": None})
