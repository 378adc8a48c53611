"""What lies in a folder that `prune` wrote, and the set that it was made from: found again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dpkit import storage
from dpkit.records import Scores, Selection, kept_list, sample_table
from dpkit.records.sample_table import NO_CHOICE, SampleTable


def read_pruning(pruned: Path, data: Any = None) -> tuple[dict, SampleTable]:
    """(its manifest, what it decided of every sample) of a folder that `prune` wrote.

    data: the set, for prunings of an older dpkit, which do not hold all of it.
    ValueError if it is not whole, or was changed.
    """
    manifest = storage.read_manifest(pruned)
    if manifest.get("kind") != kept_list.KIND or "sha256" not in manifest:
        raise ValueError(f"{pruned} holds no pruning: name the folder that dpkit prune wrote")
    for name, sha256 in manifest["sha256"].items():
        file = pruned / name
        if file.suffix != ".png" and not (file.is_file() and storage.file_hash(file) == sha256):
            raise ValueError(
                f"{file} was changed or removed since dpkit wrote it, so it cannot be told what "
                "was chosen: prune again"
            )
    if sample_table.NAME not in manifest["sha256"]:
        return manifest, _older(pruned, data)
    return manifest, sample_table.read_samples(pruned / sample_table.NAME, manifest["class_names"])


def _older(pruned, data) -> SampleTable:
    """The table of a pruning that has none."""
    if not isinstance(data, (str, Path)):
        raise ValueError(
            f"{pruned} was written by an older dpkit, which did not note where the set lies: name "
            "it by --data, or prune again"
        )
    from dpkit.data.named_sets import read_labels

    known, selection = read_labels(data), Selection.load(pruned / "selection")
    n, paths = len(known.labels), kept_list.read_kept(pruned)[1]
    theirs = known.paths and [known.paths[i] for i in selection.kept if i < n]
    if n != selection.num_samples or paths != theirs:
        raise ValueError(
            f"{data} is not the set that {pruned} was made from, or files were added or removed "
            "since: prune again"
        )
    scores, decided = np.full(n, np.nan), np.zeros(n, np.int8)
    if (pruned / "scores").is_dir():
        scores = np.array(Scores.load(pruned / "scores").values)
        decided[scores == -np.inf] = NO_CHOICE  # held out from the record
        scores[scores == -np.inf] = np.nan
    decided[selection.kept] = 1
    ranks = sample_table.ranks_of(scores)
    names = [str(name) for name in known.class_names]
    return SampleTable(np.arange(n), known.labels, names, decided, scores, ranks, known.paths)


# ---- the set that it was made from ---------------------------------------------------------------


def folder_of(manifest: dict, paths: Sequence[str], data: Any = None) -> str:
    """Where these paths begin: where they did when the set was pruned, or in `data`, where it lies
    now.

    ValueError if that is not known, or not all the files are there.
    """
    told = manifest.get("data", {})
    if data is None:
        folder = told.get("folder")
        if folder is None:
            raise ValueError(
                "it is not known where the images of this set lie: name their folder by --data"
            )
        folders = [folder]
    else:
        folders = [os.path.abspath(data)]
        if told.get("folder") and told.get("source"):
            # `data` may be what was given to `prune`: a folder with classes deeper in, or a table
            below = os.path.relpath(told["folder"], told["source"])
            folders.append(os.path.normpath(os.path.join(folders[0], below)))
    for folder in folders:
        lacking = [path for path in paths if not os.path.isfile(os.path.join(folder, path))]
        if not lacking:
            return os.path.normpath(folder)
    if os.path.isabs(lacking[0]):  # no --data helps
        raise ValueError(
            f"{len(lacking):,} of {len(paths):,} images are not where the set's table says (first: "
            f"{lacking[0]}): bring them back, or correct the table and prune again"
        )
    raise ValueError(
        f"{len(lacking):,} of {len(paths):,} images are not in {folders[0]} (first: {lacking[0]}): "
        "name the folder where they lie now by --data; if they are gone, prune again"
    )


def pixels_of(
    samples: SampleTable, whole: SampleTable, manifest: dict, data: Any, size: int | None
) -> np.ndarray:
    """The images of these samples, (k, H, W) or (k, H, W, C) uint8.

    whole: all samples of the set.   size: default: as they were read for the pruning.
    """
    from dpkit.data.image_set import ImageSet

    size = size or manifest.get("data", {}).get("size")
    if samples.paths is not None and not isinstance(data, ImageSet):
        return _pixels_of_files(samples, whole, manifest, data, size)
    return _pixels_of_set(samples, manifest, data, size)


def _pixels_of_files(samples, whole, manifest, data, size):
    from dpkit.data.class_folders import Listing, read_pixels

    folder = folder_of(manifest, samples.paths, data)
    # all of them, if they are there: their pixels lie in the cache since they were pruned
    if all(os.path.isfile(os.path.join(folder, path)) for path in whole.paths):
        read, rows = whole, np.searchsorted(whole.ids, samples.ids)
    else:
        read, rows = samples, np.arange(len(samples))
    listing = Listing(Path(folder), read.paths, read.labels, list(read.class_names))
    limit = manifest.get("data", {}).get("max_pixels")
    return read_pixels(listing, size, max_pixels=limit)[rows]


def _pixels_of_set(samples, manifest, data, size):
    from dpkit.data.image_set import ImageSet
    from dpkit.data.loading import load

    told = manifest.get("data", {})
    images = data if data is not None else told.get("source")
    if images is None:
        raise ValueError(
            "the images of this set were in no file: in Python, give the set, data=images"
        )
    if not isinstance(images, ImageSet):
        split = told.get("split", "train")
        images = load(images, split=split, size=size, device="cpu", say=None)
    order = np.argsort(images.ids)
    rows = order[np.minimum(np.searchsorted(images.ids, samples.ids, sorter=order), len(order) - 1)]
    at = images.labels.cpu().numpy()[rows]
    if (
        images.total != manifest["num_samples"]
        or not np.array_equal(images.ids[rows], samples.ids)
        or not np.array_equal(at, samples.labels)
    ):
        raise ValueError(
            f"{images.name} is not the set that was pruned: it has other samples, or other labels; "
            "name that one by --data, or in Python give it, data=images"
        )
    pixels = images.images.permute(0, 2, 3, 1)[rows].cpu().numpy()
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels
