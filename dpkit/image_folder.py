"""A folder of class folders as arrays: <folder>/<class>/<any depth>/<image>, in the order of torchvision's ImageFolder.

So id i here is item i of `torchvision.datasets.ImageFolder(folder)`. Files are decoded by Pillow in several threads, once:
the pixels are kept in the cache folder until a file, or the size asked for, changes.
"""

import json
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpkit import store
from dpkit.kept_list import check_paths

_PART = 4096  # files between two savings
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a folder: paths (n,) relative to it, labels (n,) int64, class_names, in ImageFolder's order."""

    folder: Path
    paths: list
    labels: np.ndarray
    class_names: list


def list_folder(folder) -> Listing:
    """Find the image files and their classes; no file is opened. ValueError says what the folder lacks."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, DatasetFolder

    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"expected a folder with one folder of images per class; there is no folder {folder}")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if classes and {name.lower() for name in classes} <= _SPLITS:
        raise ValueError(f"{folder} holds the splits {', '.join(classes)}, not classes: name one of them, "
                         f"{folder / classes[0]}")
    if not classes:
        loose = sum(entry.name.lower().endswith(IMG_EXTENSIONS) for entry in os.scandir(folder))
        raise ValueError(f"{folder} must hold one folder of images per class; it holds no folder"
                         + (f", but {loose} images directly: sort them into folders" if loose else " and no image"))
    to_label = {name: label for label, name in enumerate(classes)}
    found = DatasetFolder.make_dataset(str(folder), to_label, extensions=IMG_EXTENSIONS, allow_empty=True)
    if not found:
        raise ValueError(f"{folder} holds no image: its {len(classes)} class folders have no file that ends in "
                         f"{', '.join(IMG_EXTENSIONS)}")
    labels = np.array([label for _, label in found], np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) == 1:
        raise ValueError(f"{folder} must hold at least two classes to tell apart; it holds one, {classes[0]!r}: add the "
                         "others as folders beside it")
    if not counts.all():
        raise ValueError(f"the class folder {folder / classes[int(np.argmin(counts))]} holds no image: remove it, or put its "
                         "images there")
    paths = [os.path.relpath(path, folder) for path, _ in found]
    check_paths(paths)
    if counts.min() == 1:
        single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
        warnings.warn(f"{len(single)} of {len(classes)} classes have a single image ({', '.join(single[:5])}): pruning it "
                      "would leave the class empty, so add images or merge classes", stacklevel=2)
    return Listing(folder, paths, labels, classes)


def read_pixels(listing: Listing, size=None, *, watch=None) -> np.ndarray:
    """(n, H, W, 3) uint8, each image squeezed to size x size; read-only, from the cache folder if nothing has changed.

    size:   pixels, or None if all files already have the same size.
    watch:  called as watch(done, total) while files are decoded.
    ValueError names a file that cannot be read, and files of different sizes if no size is given.
    """
    files = [listing.folder / path for path in listing.paths]
    # a file that changed has another size or time; where the folder lies does not matter
    stamps = [(path, info.st_size, info.st_mtime_ns) for path, info in zip(listing.paths, map(os.stat, files), strict=True)]
    key = store.key_hash({"images": 1, "size": size, "files": [[os.fsencode(path).hex(), *rest] for path, *rest in stamps]})
    kept = store.cache_folder() / f"images-{key}"
    try:
        return store.load_arrays(kept, kind="Images", schema=1)[0]["pixels"]
    except (FileNotFoundError, ValueError):
        pass  # not decoded yet, or damaged since
    partial = kept.with_name(kept.name + "-partial")
    pixels = _decoded(files, size, watch, partial)
    origin = {"folder": str(listing.folder.resolve()), "size": size}
    shutil.rmtree(kept, ignore_errors=True)  # damaged, if it is there at all
    store.save_arrays(kept, kind="Images", schema=1, arrays={"pixels": pixels}, params=origin)
    shutil.rmtree(partial, ignore_errors=True)
    _remove_older(kept, origin)
    return store.load_arrays(kept, kind="Images", schema=1)[0]["pixels"]


def _remove_older(kept, origin):
    """Remove the pixels of the same folder as it was before: they are large, and nobody will ask for them again."""
    for file in kept.parent.glob("images-*/manifest.json"):
        with suppress(OSError, ValueError, KeyError):
            if file.parent != kept and json.loads(file.read_text())["params"] == origin:
                shutil.rmtree(file.parent)


def _decoded(files, size, watch, partial):
    """All pictures; finished parts of the work lie in the folder `partial` until it is whole."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside Python's lock
        shape = (size, size) if size else _common_shape(files, pool)
        need, have = 3 * len(files) * shape[0] * shape[1], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if need > have / 3:  # read, then copied once into the set
            raise ValueError(f"{len(files)} images of {shape[1]}x{shape[0]} pixels are {need / 2**30:.1f} GiB, too much for "
                             f"the {have / 2**30:.1f} GiB of this machine: choose a smaller size (--size 64)")
        pixels = np.empty((len(files), *shape, 3), np.uint8)
        broken = []
        for start in range(0, len(files), _PART):
            block, part, before = files[start : start + _PART], partial / f"{start}.npy", len(broken)
            if part.exists():
                pixels[start : start + len(block)] = np.load(part, allow_pickle=False)
                continue
            for row, picture in enumerate(pool.map(lambda file: _picture(file, size), block), start):
                if isinstance(picture, str):
                    broken.append(picture)
                else:
                    pixels[row] = picture
                if watch and ((row + 1) % 64 == 0 or row + 1 == len(files)):
                    watch(row + 1, len(files))
            if len(broken) == before:
                with store.whole_file(part) as file:
                    np.save(file, pixels[start : start + len(block)], allow_pickle=False)
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise ValueError(f"{len(broken)} of {len(files)} images cannot be read: {'; '.join(broken[:3])}{more}: replace or "
                         "remove them")
    return pixels


def _common_shape(files, pool):
    """(H, W) of all images, from their headers; ValueError names two that differ."""
    shapes = dict(zip(files, pool.map(_shape, files), strict=True))
    known = [(file, shape) for file, shape in shapes.items() if shape]  # a broken file is told later, by its own name
    other = next((file for file, shape in known if shape != known[0][1]), None)
    if other is not None:
        (h, w), (h2, w2) = known[0][1], shapes[other]
        raise ValueError(f"images must be of one size; {known[0][0]} is {w}x{h} and {other} is {w2}x{h2} "
                         f"({len(set(shape for _, shape in known))} sizes in all): have them resized with size=64 (--size 64)")
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
                image.draft("RGB", (size, size))  # large JPEGs are decoded at a fraction of their size
            image = image.convert("RGB")
            if size:
                image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)
            return np.asarray(image)
    except Image.DecompressionBombError:
        return f"{file} is larger than Pillow's limit of pixels"
    except (OSError, ValueError, SyntaxError) as error:
        return f"{file} ({str(error) or type(error).__name__})"
