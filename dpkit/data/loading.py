"""Image sets are made here: by name, of an .npz, a folder of class folders, a table, of arrays.

A set of your own is one file <folder>/<name>.npz with uint8 arrays
    train_images (n, H, W) or (n, H, W, 3) · train_labels (n,) whole numbers (or called images and
    labels) and, if you like, test_images, test_labels, class_names (C,) str and human_labels_<kind>
    (n,), other labels for the training rows.
Labels without class_names may have gaps: the classes are then the training labels' numbers, in
order. `load("<name>")` reads it; the named sets are downloaded through torchvision into the same
format on first use.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from dpkit.data.arrays import check_arrays, check_shape_like, pixel_statistics
from dpkit.data.class_folders import list_folder, read_images
from dpkit.data.devices import auto_device
from dpkit.data.image_set import ImageSet
from dpkit.data.label_tables import Columns, list_table
from dpkit.data.labels import classes_like, numbered, plain_labels
from dpkit.data.named_sets import (
    DATASETS,
    arrays_of,
    check_table,
    images_and_labels,
    is_folder,
    named_classes,
    other_labels,
    read_labels,
    set_name,
)


def load(
    name: str | Path,
    *,
    split: str = "train",
    folder: str | Path | None = None,
    size: int | None = None,
    labels: str = "given",
    device: str | torch.device = "auto",
    on_progress: Callable[[int, int], object] | None = None,
    like: ImageSet | None = None,
    classes: Sequence[str] | None = None,
    max_pixels: int | None = None,
    skip_broken: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    say: Callable[[str], object] | str | None = "once",
) -> ImageSet:
    """An image set, whole, on the device.

    Parameters
    ----------
    name : one of DATASETS; the <name> of an .npz of your own in the data folder (see this module's
        docstring); the path of such an .npz; the path of a folder of class folders, or of splits
        that hold class folders (train/cats/..., val/cats/...); or the path of a table with a row
        per image, .csv, .tsv, .jsonl or .parquet, beside its images (Hugging Face's metadata.csv
        too, or its folder).
    split : "train" or "test"; of a folder of splits, a table or an .npz any that it has, by its own
        name or its usual one ("val" for dev/). It then has the classes and the normalisation of the
        training split.
    folder : the data folder; default $DPKIT_DATA, else the user's cache.
    size : resize to size x size pixels.
    labels : "given", or the <kind> of human_labels_<kind> in the file.
    device : "auto" is a GPU if there is one, else the CPU.
    on_progress : called as on_progress(done, total) while the files of a folder are read for the
        first time.
    like : the training set that this one goes with, an ImageSet: classes are numbered as there, by
        their names, and it is normalised by the same mean and std, at the same size unless size=
        says otherwise.
    classes : names of a folder's class folders, where not all of its folders are classes or load
        takes them for splits.
    max_pixels : of image files: the most pixels that one may have; default: Pillow's limit.
    skip_broken : leave out image files that cannot be read, and say so in the notes. Ids then count
        the others.
    image_column, label_column, split_column, images : of a table, the columns of the files, of the
        classes and, if there are any, of the splits; and the folder of the images (default: the
        table's). Columns that are not named are guessed, and the notes of the set say which.
    say : called with what describe() returns; None for silence. Unless given, a set of one's own is
        printed, once a process.

    Returns
    -------
    ImageSet. A named set is downloaded on first use and cached as one .npz.

    Raises
    ------
    ValueError for an unknown name or labels kind, for what is no set of classes, and for a class,
    channels or a shape that `like` has not.
    """
    if split not in ("train", "test") and (name in DATASETS or not isinstance(split, str)):
        raise ValueError(f'split must be "train" or "test"; got {split!r}')
    for word, value in (("size", size), ("max_pixels", max_pixels)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise ValueError(f"{word} must be a whole number of pixels, at least 1; got {value!r}")
    if like is not None and not isinstance(like, ImageSet):
        raise TypeError(
            f"like needs the training set, an ImageSet; got {type(like).__name__}: load that first"
        )
    files = {"max_pixels": max_pixels, "skip_broken": skip_broken}
    columns = Columns(image_column, label_column, split_column, images)
    if table := check_table(name, classes, columns):
        found = _load_table(
            name, table, split, size, labels, device, on_progress, like, columns, files
        )
    elif is_folder(name, folder):
        found = _load_folder(name, split, size, labels, device, on_progress, like, classes, files)
    else:
        _refuse_of_folders(name, classes, files)
        found = _load_arrays(name, split, folder, size, labels, device, like)
    settings = {"folder": folder, **files, **vars(columns)}
    found = replace(found, read_with={word: value for word, value in settings.items() if value})
    if say == "once":
        say = None if name in DATASETS else print_once
    if callable(say):
        say(found.describe())
    return found


def _refuse_of_folders(name, classes, files):
    """ValueError for an option of folders of images, where there is none."""
    if classes is not None:
        raise ValueError(
            f"classes names the class folders of a folder of images, and {name} is none: leave "
            "classes out"
        )
    given = [word for word, value in files.items() if value]
    if given:
        raise ValueError(
            f"{' and '.join(given)} must be left out, as {name} is no folder of image files"
        )


@cache
def print_once(text: str) -> None:
    """Print it, unless it was printed before in this process."""
    if os.environ.get("RANK", "0") == "0":  # of a torchrun's processes the first one speaks
        print(text)


def _load_arrays(name, split, folder, size, labels, device, like):
    arrays = arrays_of(name, folder)
    asked = check_arrays(*images_and_labels(arrays, split, name), f"{split}_")
    train = (
        asked
        if split == "train"
        else check_arrays(*images_and_labels(arrays, "train", name), "train_")
    )
    images, given = asked
    if labels != "given":
        given = other_labels(arrays, labels, name, split)
        given = plain_labels(given, len(images), f"human_labels_{labels}: ")
    shift, mirror, _ = DATASETS.get(name, (own_shift(size or min(images.shape[1:3])), False, None))
    given, names, notes = numbered(
        given,
        named_classes(arrays, name),
        f"{split}_labels of {name}" if labels == "given" else f"the {labels} labels of {name}",
        among=train[1] if like is None else None,
    )
    mean, std = (None, None) if like is not None else pixel_statistics(train[0])
    found = from_arrays(
        images,
        given,
        class_names=names,
        name=set_name(name),
        mean=mean,
        std=std,
        shift=shift,
        mirror=mirror,
        size=size,
        device=device,
        like=like,
    )
    return replace(found, source=str(name), split=split, notes=() if like else notes)


def _load_table(name, table, split, size, labels, device, on_progress, like, columns, files):
    if labels != "given":
        raise ValueError(f'a table has the labels "given"; got {labels!r}: name a label_column')
    if split != "train" and like is None:
        like = _load_table(
            name, table, "train", size, labels, device, on_progress, None, columns, files
        )
    listing = list_table(table, split, columns, numbering_told=like is None)
    return _read_listing(listing, name, size, device, on_progress, like, files)


def labels_of(name: str | Path) -> tuple[np.ndarray, list | None]:
    """The labels and paths of a training set as `load` would give them, reading no pixel.

    (labels (n,) int64, paths or None).
    """
    known = read_labels(name)
    return known.labels, known.paths


def _load_folder(name, split, size, labels, device, on_progress, like, classes, files):
    if labels != "given":
        raise ValueError(
            f'a folder of images has the labels "given", those of its folders; got {labels!r}'
        )
    listing = list_folder(name, classes, like and like.class_names, split)
    if listing.split != "train" and like is None:  # its classes, normalisation and size
        like = _load_folder(name, "train", size, labels, device, on_progress, None, None, files)
    return _read_listing(listing, name, size, device, on_progress, like, files)


def _read_listing(listing, name, size, device, on_progress, like, files):
    """The set of these image files."""
    if like is not None:
        size = size or side_of(like)
    listing, pixels = read_images(listing, size, on_progress=on_progress, **files)
    images = from_arrays(
        pixels,
        listing.labels,
        class_names=listing.class_names,
        name=set_name(name),
        size=size,
        shift=own_shift(min(pixels.shape[1:3])),
        device=device,
        like=like,
    )
    return replace(
        images,
        paths=listing.paths,
        source=str(name),
        split=listing.split,
        notes=listing.notes,
        folder=os.path.abspath(listing.folder),
    )


def own_shift(pixels: int) -> int:
    """How far a set of one's own is moved in augmentation, by its side in pixels."""
    # CIFAR's share: 4 of 32. Mirroring is not for every set: digits and text would be spoilt
    return pixels // 8


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "unnamed",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    shift: int = 0,
    mirror: bool = False,
    size: int | None = None,
    device: str | torch.device = "auto",
    like: ImageSet | None = None,
) -> ImageSet:
    """An ImageSet of your own arrays.

    Parameters
    ----------
    images : (n, H, W) or (n, H, W, C) uint8.
    labels : (n,) whole numbers, or names of classes.
    class_names : in the order of the labels, from 0. Without them the classes are the numbers or
        names that are there, in order.
    name : of the set, for messages.
    mean, std : (C,) in 0..1; default: of these pixels. Arrays of more than four channels need them,
        as volumes look alike.
    shift, mirror : the set's own augmentation.
    size : resize to size x size pixels.
    device : "auto" is a GPU if there is one, else the CPU.
    like : the training set that this one goes with, as for load; labels without class_names are its
        numbers.

    Returns
    -------
    ImageSet.
    """
    if (mean is None) != (std is None):
        raise ValueError(
            f"mean and std go together; got mean={mean!r} and std={std!r}: give both, or neither "
            "to have those of these pixels"
        )
    known = mean if like is None else like.mean
    images, labels = check_arrays(images, labels, channels=None if known is None else len(known))
    notes = ()
    if like is None:
        labels, class_names, notes = numbered(labels, class_names, "labels")
    else:
        if class_names is not None or labels.dtype.kind == "U":
            labels, class_names, _ = numbered(labels, class_names, "labels")
        labels, class_names = classes_like(like.facts, labels, class_names, name), like.class_names
        mean, std, shift, mirror = like.mean, like.std, like.shift, like.mirror
        size = size or side_of(like)
        check_shape_like(like.name, like.images.shape, images.shape, size, name)
    if mean is None or std is None:
        mean, std = pixel_statistics(images)
    device = auto_device(device)
    # a copy: the set stays as it is now
    pixels = torch.from_numpy(np.array(images, order="C")).permute(0, 3, 1, 2)
    if size is not None and (size, size) != pixels.shape[2:]:
        # not all as floats at once
        pixels = torch.cat([_resized(block, size) for block in pixels.split(1024)])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    n = len(labels)
    return ImageSet(
        pixels.to(device),
        torch.as_tensor(labels.astype(np.int64), device=device),
        np.arange(n),
        list(class_names),
        n,
        name,
        tuple(mean),
        tuple(std),
        shift,
        mirror,
        notes=notes,
    )


def side_of(like: ImageSet) -> int | None:
    """The size that makes images as large as the training set's; None if those are not square."""
    height, width = like.images.shape[2:]
    return height if height == width else None


def _resized(pixels, size):
    resized = F.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
