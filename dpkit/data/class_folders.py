"""Class folders as arrays: <folder>/<class>/<any depth>/<image>, in the order of ImageFolder.

So id i here is item i of `torchvision.datasets.ImageFolder(folder)`. Files are decoded by Pillow in
several threads, once: the pixels are kept in the cache folder until a file, or the size asked for,
changes.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from dpkit import storage
from dpkit.data.folder_layout import fault_of, mixed_note, read_tree
from dpkit.records.kept_list import check_paths
from dpkit.records.set_facts import shorten

_PART = 4096  # files between two savings


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files of a folder: relative paths (n,), labels (n,) int64, class_names in order.

    notes: a sentence for each kind of thing that was left out.
    """

    folder: Path
    paths: list
    labels: np.ndarray
    class_names: list
    notes: tuple = ()


def list_folder(
    folder: str | Path, classes: Sequence[str] | None = None, like: Sequence[str] | None = None
) -> Listing:
    """Find the image files and their classes; no file is opened. ValueError says what lacks.

    classes: names of the class folders, where it is for the caller to say; all others are left out.
    like: names of the classes of another set, of which this one may lack some.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"expected a folder with one folder of images per class; there is no folder {folder}"
        )
    tree = read_tree(folder, IMG_EXTENSIONS)
    root = tree.root
    chosen = _chosen(folder, root, classes)
    others = [name for name in root.folders if name not in chosen] if classes is not None else []
    certain = classes is not None or (like is not None and set(root.inner) <= set(like))
    _check_classes(folder, root, chosen, certain, few=like is not None)
    if like is not None:
        chosen = [name for name in chosen if name in root.inner]
    found = [
        (label, os.path.join(branch.path, file))
        for label, name in enumerate(chosen)
        for branch in sorted(root.folders[name].walk(), key=lambda branch: branch.path)
        for file in branch.files
    ]
    labels, paths = np.array([label for label, _ in found], np.int64), [path for _, path in found]
    check_paths(paths)
    single = [name for name, count in zip(chosen, np.bincount(labels), strict=True) if count == 1]
    if single and like is None:
        warnings.warn(
            f"{len(single)} of {len(chosen)} classes have a single image "
            f"({', '.join(single[:5])}): pruning it would leave the class empty, so add images or "
            "merge classes",
            stacklevel=2,
        )
    return Listing(
        folder,
        paths,
        labels,
        chosen,
        tree.notes(loose=root.files, others=others) + mixed_note(root),
    )


def _chosen(folder, root, classes):
    """Names of the class folders in order: all that there are, or those that the caller names."""
    if classes is None:
        return list(root.folders)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(
            f'classes must be a list of names, such as ["cats", "dogs"]; got {classes!r}'
        )
    missing = sorted(set(classes) - set(root.folders))
    if missing:
        raise ValueError(
            f"classes names {shorten(missing)}, and {folder} has no such folder; it has "
            f"{shorten(root.folders) or 'none'}"
        )
    return sorted(set(classes))


def _check_classes(folder, root, chosen, certain, few):
    """ValueError if these are no class folders.   certain: they are meant.   few: one is enough,
    and some may be empty.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    if not chosen:
        raise ValueError(
            f"{folder} must hold one folder of images per class; it holds no folder"
            + (
                f", but {len(root.files)} images directly: sort them into folders"
                if root.files
                else " and no image"
            )
        )
    if not root.inner:
        raise ValueError(
            f"{folder} holds no image: its {len(chosen)} class folders have no file that ends in "
            f"{', '.join(IMG_EXTENSIONS)}"
        )
    fault = None if certain else fault_of(folder, root)
    if fault:
        raise ValueError(fault)
    if few:
        return
    if len(chosen) == 1:
        raise ValueError(
            f"{folder} must hold at least two classes to tell apart; it holds one, {chosen[0]!r}: "
            "add the others as folders beside it"
        )
    empty = [name for name in chosen if name not in root.inner]
    if empty:
        raise ValueError(
            f"the class folder {folder / empty[0]} holds no image: remove it, or put its images "
            "there"
        )


def read_pixels(
    listing: Listing,
    size: int | None = None,
    *,
    on_progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """(n, H, W, 3) uint8, each image squeezed to size x size; read-only, from the cache folder if
    nothing has changed.

    size:   pixels, or None if all files already have the same size.
    on_progress:  called as on_progress(done, total) while files are decoded.
    ValueError names a file that cannot be read, and files of different sizes if no size is given.
    """
    files = [listing.folder / path for path in listing.paths]
    # a file that changed has another size or time; where the folder lies does not matter
    stamps = [
        (path, info.st_size, info.st_mtime_ns)
        for path, info in zip(listing.paths, map(os.stat, files), strict=True)
    ]
    key = storage.key_hash(
        {
            "images": 1,
            "size": size,
            "files": [[os.fsencode(path).hex(), *rest] for path, *rest in stamps],
        }
    )
    kept = storage.cache_folder() / f"images-{key}"
    with suppress(storage.Damaged), storage.damage_named():  # or not there
        return _read_pixels(kept)
    with storage.locked(kept):  # who comes second waits, and finds it decoded
        found = storage.read_or_set_aside(kept, partial(_read_pixels, kept))
        if found is not None:
            return found
        parts = kept.with_name(kept.name + "-partial")
        storage.expect_folder(parts)
        pixels = _decoded(files, size, on_progress, parts)
        origin = {"folder": str(listing.folder.resolve()), "size": size}
        _save_pixels(kept, pixels, origin)
        shutil.rmtree(parts, ignore_errors=True)
        _remove_older(kept, origin)
        return _read_pixels(kept)


def _save_pixels(folder, pixels, params):
    storage.save_arrays(folder, kind="Images", schema=1, arrays={"pixels": pixels}, params=params)


def _read_pixels(folder):
    return storage.load_arrays(folder, kind="Images", schema=1)[0]["pixels"]


def _remove_older(kept, origin):
    """Remove the pixels of the same folder as it was before: they are large, and nobody will ask
    for them again.
    """
    for file in kept.parent.glob("images-*/manifest.json"):
        if file.parent == kept or storage.is_set_aside(file.parent):
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(file.read_text())["params"] == origin:
                shutil.rmtree(file.parent)


def _decoded(files, size, on_progress, parts):
    """All pictures; finished parts of the work lie in the folder `parts` until it is whole."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside Python's lock
        shape = (size, size) if size else _common_shape(files, pool)
        need, have = 3 * len(files) * shape[0] * shape[1], psutil.virtual_memory().total
        if need > have / 3:  # read, then copied once into the set
            raise ValueError(
                f"{len(files)} images of {shape[1]}x{shape[0]} pixels are {need / 2**30:.1f} GiB, "
                f"too much for the {have / 2**30:.1f} GiB of this machine: choose a smaller size "
                "(--size 64)"
            )
        pixels = np.empty((len(files), *shape, 3), np.uint8)
        broken = []
        for start in range(0, len(files), _PART):
            block, before = files[start : start + _PART], len(broken)
            part = parts / f"part-{start}"
            found = storage.read_or_set_aside(part, partial(_read_pixels, part))
            if found is not None:
                pixels[start : start + len(block)] = found
                continue
            for row, picture in enumerate(
                pool.map(lambda file: _picture(file, size), block), start
            ):
                if isinstance(picture, str):
                    broken.append(picture)
                else:
                    pixels[row] = picture
                if on_progress and ((row + 1) % 64 == 0 or row + 1 == len(files)):
                    on_progress(row + 1, len(files))
            if len(broken) == before:
                _save_pixels(part, pixels[start : start + len(block)], {})
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise ValueError(
            f"{len(broken)} of {len(files)} images cannot be read: {'; '.join(broken[:3])}{more}: "
            "replace or remove them"
        )
    return pixels


def _common_shape(files, pool):
    """(H, W) of all images, from their headers; ValueError names two that differ."""
    shapes = dict(zip(files, pool.map(_shape, files), strict=True))
    # a broken file is told later, by its own name
    known = [(file, shape) for file, shape in shapes.items() if shape]
    other = next((file for file, shape in known if shape != known[0][1]), None)
    if other is not None:
        (h, w), (h2, w2) = known[0][1], shapes[other]
        raise ValueError(
            f"images must be of one size; {known[0][0]} is {w}x{h} and {other} is {w2}x{h2} "
            f"({len(set(shape for _, shape in known))} sizes in all): have them resized with "
            "size=64 (--size 64)"
        )
    return known[0][1] if known else (1, 1)


def _shape(file):
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _picture(file, size):
    """The image as (H, W, 3) uint8; or, as text, why not."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                return f"{file} has more than 8 bits a pixel (mode {image.mode}), convert it to 8"
            if size:
                # large JPEGs are decoded at a fraction of their size
                image.draft("RGB", (size, size))
            image = image.convert("RGB")
            if size:
                image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)
            return np.asarray(image)
    except Image.DecompressionBombError:
        return f"{file} is larger than Pillow's limit of pixels"
    except (OSError, ValueError, SyntaxError) as error:
        return f"{file} ({str(error) or type(error).__name__})"
