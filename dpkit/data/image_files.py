"""Image files as arrays: decoded by Pillow in several threads, once. The pixels are kept in the
cache folder until a file, or the size asked for, changes.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import psutil

from dpkit import storage
from dpkit.data.picture_file import header_fault, pillow_limit, read_picture, shape_of
from dpkit.records.set_facts import shorten

PART = 4096  # files between two looks at the clock
SAVED_AFTER = 20  # seconds of work that are saved, to go on from there when it is stopped
# what torchvision's ImageFolder reads, which takes seconds to import
IMAGE_FOLDERS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_LOOKED_INTO = 16  # files whose bytes are in the cache's key
_CHUNK = 16  # files that a thread takes at a time, and between two calls of on_progress


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files of a folder: relative paths (n,), labels (n,) int64, class_names in order.

    notes: a sentence for each kind of thing that was left out.
    split: "train", or what the folder calls another part of the set.
    table: the table of labels that names the files; "" where their folders do.
    """

    folder: Path
    paths: list
    labels: np.ndarray
    class_names: list
    notes: tuple = ()
    split: str = "train"
    table: str = ""


@cache
def image_endings() -> tuple[str, ...]:
    """Endings of the files that are read: those of torchvision's ImageFolder, and more that Pillow
    can open here.
    """
    from PIL import features

    needs = {".webp": "webp", ".avif": "avif", ".jp2": "jpg_2000"}
    endings = dict.fromkeys((*IMAGE_FOLDERS, ".gif", ".jfif", ".jpe", ".avif", ".jp2"))
    return tuple(end for end in endings if end not in needs or features.check(needs[end]))


def read_images(
    listing: Listing,
    size: int | None = None,
    *,
    on_progress: Callable[[int, int], object] | None = None,
    max_pixels: int | None = None,
    skip_broken: bool = False,
) -> tuple[Listing, np.ndarray]:
    """The images (n, H, W, 3) uint8, each squeezed to size x size, read-only; from the cache folder
    if nothing has changed. And their listing, which lacks the broken files that were skipped.

    Parameters
    ----------
    size : pixels, or None if all files already have the same size.
    on_progress : called as on_progress(done, total) while files are decoded.
    max_pixels : the most that an image may have; default: Pillow's limit, 178,956,970.
    skip_broken : leave out files that cannot be read; else they are a ValueError.

    Raises
    ------
    ValueError names files that cannot be read, and files of different sizes if no size is given.
    """
    kept = storage.cache_folder() / f"images-{_key(listing, size, max_pixels)}"
    pixels, broken = _found_or_read(kept, listing, size, max_pixels, on_progress)
    if not broken:
        return listing, pixels
    file = _list_broken(kept, listing, broken)
    if skip_broken:
        return _without(listing, broken, file), pixels
    raise _unreadable(listing.folder, listing.paths, broken, f" (all are listed in {file})")


def check_headers(
    folder: str | Path,
    paths: Sequence[str],
    *,
    max_pixels: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> None:
    """ValueError for files that read_images would refuse, as far as their headers tell it: what is
    no image, has more than 8 bits a pixel, or too many pixels. A file that was cut off is not seen.

    folder, paths: of the files.   The others: as for read_images.
    """
    with ThreadPoolExecutor(_cores()) as pool, pillow_limit(max_pixels) as limit:
        firsts, broken = range(0, len(paths), _CHUNK), []

        def faults(first):
            files = enumerate(paths[first : first + _CHUNK], first)
            told = ((row, header_fault(os.path.join(folder, path), limit)) for row, path in files)
            return [[row, why] for row, why in told if why]

        for first, found in zip(firsts, pool.map(faults, firsts), strict=True):
            broken += found
            if on_progress:
                on_progress(min(first + _CHUNK, len(paths)), len(paths))
    if broken:
        raise _unreadable(Path(folder), paths, broken)


def _unreadable(folder, paths, broken, listed=""):
    first = "; ".join(f"{folder / paths[row]} ({why})" for row, why in broken[:3])
    return ValueError(
        f"{len(broken):,} of {len(paths):,} images cannot be read: {first}"
        + (f" and {len(broken) - 3:,} more" if len(broken) > 3 else "")
        + f"{listed}: replace or remove them, or leave them out with skip_broken=True "
        "(--skip-broken)"
    )


def read_pixels(
    listing: Listing,
    size: int | None = None,
    *,
    on_progress: Callable[[int, int], object] | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """The images of read_images alone, (n, H, W, 3) uint8: row i is file i."""
    return read_images(listing, size, on_progress=on_progress, max_pixels=max_pixels)[1]


def _key(listing, size, max_pixels):
    """A file that changed has another size or time; where the folder lies does not matter. Of some
    files the bytes count too: in archives all may have one time, and unpacked pictures one size.
    """
    folder, stamps = str(listing.folder), []
    for path in listing.paths:
        info = os.stat(os.path.join(folder, path))
        stamps.append(f"{path}\0{info.st_size} {info.st_mtime_ns}")
    seen_files = hashlib.sha256(os.fsencode("\0".join(stamps)))
    for row in np.unique(np.linspace(0, len(listing.paths) - 1, _LOOKED_INTO).astype(int)):
        with suppress(OSError), open(os.path.join(folder, listing.paths[row]), "rb") as file:
            seen_files.update(file.read(65536))
    files = seen_files.hexdigest()
    seen = {"images": 2, "size": size, "files": files}  # 2: EXIF's rotation is obeyed
    return storage.key_hash(seen | ({"max_pixels": max_pixels} if max_pixels else {}))


def _without(listing, broken, file):
    """The listing without its broken files, which a note tells."""
    good = np.setdiff1d(np.arange(len(listing.paths)), [row for row, _ in broken])
    labels = listing.labels[good]
    empty = np.setdiff1d(listing.labels, labels)
    if len(empty):
        names = shorten([listing.class_names[label] for label in empty])
        raise ValueError(
            f"no image of class {names} can be read (all broken files are listed in {file}): "
            "replace them, or remove the class"
        )
    some = shorten([listing.paths[row] for row, _ in broken], 3)
    note = (
        f"left out: {len(broken):,} images that cannot be read ({some}; all in {file}), so "
        "ids count the others"
    )
    paths = [listing.paths[row] for row in good]
    return replace(listing, paths=paths, labels=labels, notes=(*listing.notes, note))


def _list_broken(kept, listing, broken):
    """Write the file with a line for every broken image, its path and why, and return its place."""
    file = kept / "broken.txt"
    if not file.exists():
        lines = [f"{listing.folder / listing.paths[row]}\t{why}\n" for row, why in broken]
        with storage.whole_file(file) as whole:
            whole.write(os.fsencode("".join(lines)))
    return file


# ---- the cache -----------------------------------------------------------------------------------


def _found_or_read(kept, listing, size, max_pixels, on_progress):
    """(pixels of the readable images, [[row, why] of each other])."""
    with suppress(storage.Damaged), storage.damage_named():  # or not there
        return _read_part(kept)
    with storage.locked(kept):  # who comes second waits, and finds it decoded
        found = storage.read_or_set_aside(kept, partial(_read_part, kept))
        if found is not None:
            return found
        parts = kept.with_name(kept.name + "-partial")
        storage.expect_folder(parts)
        folder = str(listing.folder)
        files = [os.path.join(folder, path) for path in listing.paths]
        with pillow_limit(max_pixels) as limit:
            pixels, broken = _decoded(
                files, partial(read_picture, size=size, limit=limit), size, on_progress, parts
            )
        origin = {
            "folder": str(listing.folder.resolve()),
            "size": size,
            "split": listing.split,
            "table": listing.table,
        }
        _save_part(kept, pixels, broken, origin)
        shutil.rmtree(parts, ignore_errors=True)
        _remove_older(kept, origin)
        pixels.flags.writeable = False
        return pixels, broken


def _save_part(folder, pixels, broken, origin):
    params = origin | {"broken": broken}
    storage.save_arrays(folder, kind="Images", schema=1, arrays={"pixels": pixels}, params=params)


def _read_part(folder):
    arrays, params = storage.load_arrays(folder, kind="Images", schema=1)
    return arrays["pixels"], params["broken"]


def _remove_older(kept, origin):
    """Remove the pixels of the same folder, or table, as it was before: they are large, and nobody
    will ask for them again.
    """
    for file in kept.parent.glob("images-*/manifest.json"):
        if file.parent == kept or storage.is_set_aside(file.parent):
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            theirs = {"split": "train", "table": ""} | json.loads(file.read_text())["params"]
            if all(theirs[name] == value for name, value in origin.items()):
                shutil.rmtree(file.parent)


# ---- decoding ------------------------------------------------------------------------------------


def _decoded(files, read, size, on_progress, parts):
    """(all pictures that can be read, [[row, why] of the others]); finished parts of the work lie
    in the folder `parts` until it is whole.
    """
    with ThreadPoolExecutor(_cores()) as pool:  # Pillow decodes outside Python's lock
        shape = (size, size) if size else _common_shape(files, pool)
        need, have = 3 * len(files) * shape[0] * shape[1], psutil.virtual_memory().total
        if need > have / 3:  # read, then copied once into the set
            raise ValueError(
                f"{len(files)} images of {shape[1]}x{shape[0]} pixels are {need / 2**30:.1f} GiB, "
                f"too much for the {have / 2**30:.1f} GiB of this machine: choose a smaller size "
                "(--size 64)"
            )
        pixels, broken = np.empty((len(files), *shape, 3), np.uint8), []
        done = filled = 0
        while done < len(files):
            part = parts / f"part-{done}"
            found = storage.read_or_set_aside(part, partial(_read_part, part))
            if found is None:
                found = _decode_some(pool, files, done, pixels[filled:], read, on_progress)
                if done + len(found[0]) + len(found[1]) < len(files):  # else the whole is saved
                    _save_part(part, *found, {})
            else:
                pixels[filled : filled + len(found[0])] = found[0]
            done, filled = done + len(found[0]) + len(found[1]), filled + len(found[0])
            broken += found[1]
    return pixels[:filled], broken


def _decode_some(pool, files, start, pixels, read, on_progress):
    """Fill pixels with the files from `start` on, for SAVED_AFTER seconds or to their end: (the
    pixels of those that can be read, [[row, why] of the others]).
    """
    begun, filled, broken = time.monotonic(), 0, []
    while start < len(files) and (not (filled or broken) or time.monotonic() < begun + SAVED_AFTER):
        stop = min(start + PART, len(files))
        rows = pixels[filled : filled + stop - start]
        lost = _decode(pool, files, start, rows, read, on_progress)
        if lost:  # the others move up
            good = np.setdiff1d(np.arange(start, stop), [row for row, _ in lost]) - start
            rows[: len(good)] = rows[good]
        filled, broken, start = filled + len(rows) - len(lost), broken + lost, stop
    return pixels[:filled], broken


def _decode(pool, files, start, pixels, read, on_progress):
    """Fill pixels (k, H, W, 3) with files start..start+k; return [[row, why]] of those that cannot
    be read.
    """
    end = start + len(pixels)
    firsts, stopped, broken = range(start, end, _CHUNK), threading.Event(), []

    def decode(first):
        lost = []
        for row in range(first, min(first + _CHUNK, end)):
            if not stopped.is_set() and (why := read(files[row], pixels[row - start])):
                lost.append([row, why])
        return lost

    try:
        for first, lost in zip(firsts, pool.map(decode, firsts), strict=True):
            broken += lost
            if on_progress:
                on_progress(min(first + _CHUNK, end), len(files))
    finally:
        stopped.set()  # Ctrl-C does not wait for the rest of a chunk
    return broken


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _common_shape(files, pool):
    """(H, W) of all images, from their headers; ValueError names two that differ."""
    shapes = dict(zip(files, pool.map(shape_of, files, chunksize=_CHUNK), strict=True))
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
