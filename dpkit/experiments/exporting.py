"""Take out what `prune` chose, as links, copies, lists or arrays. Nothing is trained, and but for
arrays no image is read.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpkit import storage
from dpkit.data.label_tables import is_table_file
from dpkit.experiments.export_formats import FORMATS, LINKS, Part
from dpkit.experiments.export_places import check_place, place_of, write_whole
from dpkit.experiments.pruned_sets import folder_of, pixels_of, read_pruning
from dpkit.records.kept_list import check_paths
from dpkit.storage.lookup import find

WHICH = ("kept", "removed", "all")


def export(
    pruned: str | Path,
    format: str,
    to: str | Path | None = None,
    *,
    which: str = "kept",
    links: str | None = None,
    relative: bool = False,
    data: Any = None,
    size: int | None = None,
    overwrite: bool = False,
    say: Callable[[str], object] | None = None,
) -> Path:
    """Write the samples that `prune` kept, or removed, in the form that a training needs.

    Parameters
    ----------
    pruned : the folder that `prune` wrote.
    format : one of dpkit.experiments.export_formats.FORMATS: "folder", "huggingface", "paths",
        "csv", "jsonl", "parquet", "dali", "npz" or "ids".
    to : the folder or file to write; of a file its folder will do. Default: beside `pruned`, named
        after it.
    which : "kept", "removed" or "all". Samples that were held out from the record are neither kept
        nor removed.
    links : of "folder" and "huggingface": "links" (the default: symbolic, to absolute paths: they
        hold until the images move), "relative-links" (they hold if both move together),
        "hard-links" (they outlive the images; a file that is edited is edited in both) or "copies".
    relative : in lists, paths from the set's folder on; default: absolute ones.
    data : where the images lie now, if they have moved: their folder, or the .npz. For "npz" also
        the set itself, an ImageSet.
    size : of "npz": resize to size x size pixels; default: as `prune` read them.
    overwrite : replace a file, or an earlier export's folder, that lies there.
    say : called with a line of progress every five seconds.

    Returns
    -------
    The path of what was written. Paths, labels, scores and ranks are those of the whole set, and a
    rank of 1 is the highest score.

    Raises
    ------
    ValueError for what is no whole pruning, for images that are not where they were, for names that
    the format or the disk cannot hold; FileExistsError if the place is taken;
    storage.UnusablePlace and storage.DiskFault as `prune`. Nothing is written then.

    Examples
    --------
    >>> _ = dpkit.prune("digits", "pruned", method="random", prune_ratio=0.9, say=None)
    >>> dpkit.export("pruned", "ids").name
    'pruned-kept-ids.npy'
    """
    form = find(FORMATS, format, "format")
    _check_options(format, which, {"links": links, "relative": relative or None, "size": size})
    pruned = Path(os.path.abspath(pruned))
    manifest, whole = read_pruning(pruned, data)
    chosen = {"kept": whole.kept == 1, "removed": whole.kept == 0, "all": whole.ids >= 0}[which]
    if not chosen.any():
        raise ValueError(f"{pruned} has no sample that is {which}: there is nothing to write")
    samples, to = whole.rows(np.flatnonzero(chosen)), place_of(pruned, format, which, to)
    if form.paths and samples.paths is None:
        raise ValueError(
            f"{format} needs image files, and this set has none: export npz, ids, csv, jsonl or "
            "parquet"
        )
    part = Part(samples, to, links=links or LINKS[0], tell=_telling(say, len(samples)))
    lies = manifest.get("data", {})
    source = lies.get("folder") or lies.get("source")
    if "size" in form.options:
        part = replace(part, pixels=partial(pixels_of, samples, whole, manifest, data, size))
    elif samples.paths is not None and form.options and not relative:
        source = folder_of(manifest, samples.paths, data)
        files = [os.path.normpath(os.path.join(source, path)) for path in samples.paths]
        root = _root(source, files)
        layout = [file[len(root) :] for file in files]
        part = replace(part, samples=replace(samples, paths=files), files=files, layout=layout)
    _check_text(format, part.samples.paths or ())
    if say:
        _be_careful(format, part, lies, say)
    # what is written beside the images of a table does not become part of that set
    table = lies.get("source") or ""
    check_place(to, pruned, table if is_table_file(table) else source, form, overwrite)
    with storage.claimed(to):
        write_whole(to, form, part)
    return to


def _check_options(name: str, which: str, given: dict) -> None:
    """ValueError for a word that is not known, and for an option that plays no part."""
    if which not in WHICH:
        raise ValueError(f"which must be {', '.join(WHICH)}; got {which!r}")
    takes = FORMATS[name].options
    unused = [each for each, value in given.items() if value is not None and each not in takes]
    if unused:
        raise ValueError(f"{name} takes no {' and no '.join(unused)}: leave that out")
    size = given["size"]
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"size must be a whole number of pixels, at least 1; got {size!r}")
    if given["links"] not in (None, *LINKS):
        raise ValueError(f"links must be {', '.join(LINKS)}; got {given['links']!r}")


def _be_careful(format: str, part: Part, lies: dict, say: Callable[[str], object]) -> None:
    """Say where what is written tells less than one may think. lies: where the set lies."""
    if format == "folder" and not _told_by_folders(part.layout, part.samples.labels.tolist()):
        say(
            "careful: the folders of these images are not their classes, so the folder alone does "
            "not tell the labels; the formats huggingface and csv do"
        )
    if format == "ids" and lies.get("skip_broken"):
        say(
            "careful: this was pruned with broken files left out, and ids count the others: a "
            "dataset that has all files numbers them otherwise; go by the paths, as in csv"
        )


def _root(folder: str, files: Sequence[str]) -> str:
    """Where the layout begins, with a / at its end: in the set's folder; if a table names files
    elsewhere, in one that holds all of them.
    """
    root = os.path.join(folder, "")
    if not all(file.startswith(root) for file in files):
        root = os.path.commonpath([os.path.dirname(file) for file in files])
    return os.path.join(root, "")


def _told_by_folders(layout: Sequence[str], labels: Sequence[int]) -> bool:
    """Whether at some depth every folder is one class, and every class one folder."""
    folders = [path.split(os.sep)[:-1] for path in layout]
    for depth in range(min(map(len, folders))):
        names = [parts[depth] for parts in folders]
        if len({*zip(names, labels, strict=True)}) == len({*names}) == len({*labels}):
            return True
    return False


def _check_text(name: str, paths: Sequence[str]) -> None:
    """ValueError if the format cannot hold one of these paths."""
    check_paths(paths)
    if not FORMATS[name].utf8:
        return
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{path!r} has bytes that are no UTF-8, which {name} cannot hold: rename it, or "
                "export paths or csv"
            ) from None


def _telling(say: Callable[[str], object] | None, total: int) -> Callable[[int], object]:
    """tell(done) of a Part: a line every five seconds."""
    told = time.monotonic()

    def tell(done):
        nonlocal told
        if say and time.monotonic() - told > 5:
            told = time.monotonic()
            say(f"wrote {done:,} of {total:,} files")

    return tell
