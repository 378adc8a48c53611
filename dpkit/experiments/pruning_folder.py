"""The folder that `prune` writes: free for it, this very run already, or written whole."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit import plots, storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments.pipeline import Run
from dpkit.records import kept_list
from dpkit.storage.provenance import machine, versions

if TYPE_CHECKING:
    from dpkit.experiments.pruning_source import Source

KIND = "Pruning"


def check_free(out: Path, data: Any, overwrite: bool) -> None:
    """OSError, before anything is computed, if `out` cannot be made, or is not free for it."""
    source = data.source if isinstance(data, ImageSet) else data
    if source is not None:
        _check_apart(out, Path(source).resolve())
    storage.check_folder(out, replaced=True)
    storage.check_replaceable(out, kind=KIND)
    if overwrite:
        storage.check_nothing_foreign(out)


def _check_apart(out, source):
    if source.is_dir() and (
        out == source or source in out.resolve().parents or out.resolve() in source.parents
    ):
        raise FileExistsError(
            f"{out} and the images in {source} must lie apart, or what is written would become "
            "part of the set; name another folder"
        )


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


def write(out: Path, run: Run, source: "Source", request: dict, name: str) -> dict:
    """Write the folder, whole or not at all; return its manifest.

    run: with its stages done.   source: of pruning_source.   name: of the set.
    """
    assert run.selection is not None
    scores, selection = source.in_the_set(run.scores, run.selection)
    title = f"{name}: {run.method.name}, {100 * request['prune_ratio']:g} % pruned"
    manifest = {"kind": KIND, "schema": 1, "request": request, "set": name}
    manifest |= _facts(run, source, selection)
    with storage.whole_folder(out, kind=KIND) as part:
        with storage.whole_file(part / kept_list.NAME) as file:
            kept_list.write_kept(file, selection.kept, source.paths)
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
