"""Datasets of other libraries as ImageSets: torchvision's, any Dataset of torch that yields
(image, label), and Hugging Face's. Each item is read once, in order: row i is item i.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset

from dpkit.data.image_set import ImageSet
from dpkit.data.label_columns import LABELS
from dpkit.data.labels import ONE_CLASS, check_distinct
from dpkit.data.loading import from_arrays, own_shift, print_once, side_of
from dpkit.records.set_facts import shorten

_READ_TWICE = 16  # items, to see whether they are the same again


def is_dataset(data: Any) -> bool:
    """Whether an object should be given to from_dataset, which may still refuse it: neither a name
    or path, nor a set of dpkit, nor plain numbers.
    """
    plain = (str, bytes, int, float, tuple, np.ndarray, torch.Tensor, ImageSet)
    if isinstance(data, plain) or hasattr(data, "__fspath__"):
        return False
    return hasattr(data, "__getitem__") or hasattr(data, "__iter__")


def from_dataset(
    dataset: Any,
    *,
    size: int | None = None,
    class_names: Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    name: str | None = None,
    device: str | torch.device = "auto",
    on_progress: Callable[[int, int], object] | None = None,
    like: ImageSet | None = None,
    say: Callable[[str], object] | str | None = "once",
) -> ImageSet:
    """An ImageSet of a dataset object; image i is its item i.

    Parameters
    ----------
    dataset : of torchvision; any with len(dataset) and dataset[i] that yields (image, label) or a
        table such as {"image": ..., "label": ...}; a Dataset of Hugging Face. Images are Pillow's,
        (C, H, W) tensors or (H, W, C) arrays, uint8 or floats in 0..1: without normalisation and
        without random augmentation, both of which a training of dpkit does itself.
    size : resize to size x size pixels, as load does.
    class_names : in the order of the labels, from 0. Default: those that the dataset has; without
        any the classes are the labels that are there, in order.
    image_column, label_column : where items are tables and it cannot be told.
    name : of the set, for messages and rows; default: that of its type.
    device : "auto" is a GPU if there is one, else the CPU.
    on_progress : called as on_progress(done, total) while items are read.
    like : the training set that this one goes with, as for load.
    say : called with what describe() returns; None for silence. Unless given it is printed, once a
        process.

    Returns
    -------
    ImageSet. Its own augmentation is a folder's: moved by an eighth of the side, not mirrored. Of
    torchvision's ImageFolder, or a Subset of one, it has the paths of the files.

    Raises
    ------
    ValueError for what is no such dataset, naming the item.
    """
    name = name or _name_of(dataset)
    _check_kind(dataset, name)
    n = len(dataset)
    if n == 0:
        raise ValueError(f"{name} must hold at least one image; its length is 0")
    items = _Items(dataset, name, image_column, label_column)
    size = size or (side_of(like) if like is not None else None)
    _check_same_again(items, n)
    pictures, labels = [], []
    for i in range(n):
        picture, label = items.pixels_and_label(i, size)
        pictures.append(picture)
        labels.append(label)
        if i == 0:
            _check_memory(n, picture, name)
        if on_progress and ((i + 1) % 64 == 0 or i + 1 == n):
            on_progress(i + 1, n)
    if len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError(f"labels of {name} must be all numbers or all names; there are both")
    if class_names is None:
        class_names = items.class_names()
        check_distinct(class_names or (), f"the names of {name}")
    pixels = _stacked(pictures, name)
    found = from_arrays(
        pixels,
        labels,
        class_names=class_names,
        name=name,
        shift=own_shift(min(pixels.shape[1:3])),
        device=device,
        like=like,
    )
    root, paths = _files_of(dataset, labels)
    found = replace(found, paths=paths, folder=root)
    say = print_once if say == "once" else say
    if callable(say):
        say(found.describe())
    return found


def _check_kind(dataset, name):
    """ValueError for what has no items, or other things as items."""
    if isinstance(dataset, DataLoader):
        raise ValueError("a DataLoader shuffles and joins items: give its dataset, loader.dataset")
    if isinstance(dataset, Mapping):
        raise ValueError(
            f"a dataset has items by number; this {type(dataset).__name__} holds "
            f"{shorten(dataset) or 'nothing'}: give one of those"
        )
    by_number = hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)
    if not (by_number and hasattr(dataset, "__len__")):
        raise ValueError(
            f"a dataset needs len(dataset) and dataset[i], so that image i is always the same; "
            f"{name} has not both: of one that can only be iterated give list(dataset)"
        )


def _name_of(dataset):
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    told = getattr(getattr(dataset, "info", None), "dataset_name", None)  # Hugging Face's
    return told if isinstance(told, str) and told else type(dataset).__name__


def _files_of(dataset: Any, labels: list) -> tuple[str | None, list[str] | None]:
    """(the folder, the files' paths from there on) of torchvision's ImageFolder, or of a Subset of
    one, whose `samples` (or `imgs`) are (path, label) of each item; (None, None) for others.

    labels: of the items, which those of `samples` must be, unless a target_transform made others.
    """
    chosen = np.arange(len(dataset))
    while isinstance(dataset, Subset):
        chosen = np.asarray(dataset.indices)[chosen]
        dataset = cast(Any, dataset.dataset)
    samples = getattr(dataset, "samples", getattr(dataset, "imgs", None))
    if not isinstance(samples, list) or len(samples) != len(dataset):
        return None, None
    picked = [samples[i] for i in chosen]
    pairs = all(isinstance(one, (tuple, list)) and len(one) == 2 for one in picked)
    if not pairs or not all(isinstance(path, (str, os.PathLike)) for path, _ in picked):
        return None, None
    as_they_are = getattr(dataset, "target_transform", None) is None
    if as_they_are and [label for _, label in picked] != labels:
        return None, None  # its items are others than its samples
    files = [os.path.abspath(path) for path, _ in picked]
    if len(set(files)) < len(files) or not all(map(os.path.isfile, files)):
        return None, None
    root = getattr(dataset, "root", None)
    root = os.path.abspath(root) if isinstance(root, (str, os.PathLike)) else ""
    if not root or os.path.commonpath([root, *files]) != root:
        root = os.path.commonpath([os.path.dirname(file) for file in files])
    return root, [os.path.relpath(file, root) for file in files]


def _check_memory(n, picture, name):
    need, have = 3 * n * picture.nbytes, psutil.virtual_memory().total
    if need > have / 3:  # read, joined, and copied into the set
        raise ValueError(
            f"{n:,} images of {name} of {picture.shape[1]}x{picture.shape[0]} pixels take "
            f"{need / 2**30:.1f} GiB, too much for the {have / 2**30:.1f} GiB of this machine: "
            "choose a smaller size="
        )


def _check_same_again(items, n):
    """ValueError for items that are others when they are read again."""
    for i in np.unique(np.linspace(0, n - 1, _READ_TWICE).astype(int)).tolist():
        (picture, label), (again, label_again) = (items.pixels_and_label(i) for _ in range(2))
        if label != label_again or not np.array_equal(picture, again):
            raise ValueError(
                f"item {i} of {items.name} is another one when it is read again: leave random "
                "augmentation out of its transform, as dpkit's training augments by itself"
            )


def _stacked(pictures, name):
    """(n, H, W, C); grey ones among others have their channel three times."""
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [np.repeat(p, 3, axis=2) if p.shape[2] == 1 else p for p in pictures]
    other = next((i for i, p in enumerate(pictures) if p.shape != pictures[0].shape), None)
    if other is not None:
        (h, w, c), (h2, w2, c2) = pictures[0].shape, pictures[other].shape
        raise ValueError(
            f"images must be of one size; in {name} item 0 is {w}x{h} with {c} channels and item "
            f"{other} is {w2}x{h2} with {c2}: "
            + ("have them resized with size=64" if c == c2 else "convert them to RGB")
        )
    return np.stack(pictures)


class _Items:
    """Items of a dataset as pixels and a label; what an item must be is checked with it.

    image_column, label_column: of items that are tables, guessed where None.
    """

    def __init__(self, dataset, name, image_column, label_column):
        self.dataset, self.name = dataset, name
        self.features = getattr(dataset, "features", None) or {}  # Hugging Face's
        first = self._read(0)
        self.columns = None
        if isinstance(first, Mapping):
            image = image_column or self._image_column(first)
            self.columns = image, label_column or self._label_column(first, image)
        elif image_column or label_column:
            raise ValueError(
                f"items of {name} are no tables with columns: leave image_column and label_column "
                "out"
            )

    def pixels_and_label(self, i: int, size: int | None = None) -> tuple[np.ndarray, int | str]:
        """((H, W, C) uint8, the label) of item i."""
        item, where = self._read(i), f"item {i} of {self.name}"
        if self.columns is not None:
            lacking = [name for name in self.columns if name not in item]
            if lacking:
                raise ValueError(f"{where} has no {lacking[0]}; it has {shorten(item)}")
            picture, label = (item[name] for name in self.columns)
        elif isinstance(item, (tuple, list)) and len(item) == 2:
            picture, label = item
        else:
            length = f" of {len(item)}" if isinstance(item, (tuple, list)) else ""
            raise ValueError(f"{where} must be (image, label); got {type(item).__name__}{length}")
        return _pixels(picture, size, where), _label(label, where)

    def _read(self, i):
        try:
            return self.dataset[i]
        except Exception as error:  # of someone else's code
            words = " ".join(str(error).split())
            raise ValueError(
                f"item {i} of {self.name} cannot be read: {type(error).__name__}: {words:.300}"
            ) from error

    def class_names(self):
        """The names of the classes that the dataset itself tells, in order; None: none."""
        dataset = self.dataset
        if self.columns is not None:
            return getattr(self.features.get(self.columns[1]), "names", None)
        while isinstance(dataset, Subset):
            dataset = dataset.dataset
        names = getattr(dataset, "classes", None)
        known = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
        renumbered = getattr(dataset, "target_transform", None) is not None
        return list(names) if known and not renumbered else None

    def _image_column(self, item):
        found = [name for name, kind in self.features.items() if type(kind).__name__ == "Image"]
        found = found or [name for name, value in item.items() if _is_picture(value)]
        return self._only(found, item, "image")

    def _label_column(self, item, image):
        rest = [name for name in item if name != image]
        found = [name for name in rest if hasattr(self.features.get(name), "names")]
        return self._only(
            found or [n for n in rest if str(n).lower() in LABELS] or rest, item, "label"
        )

    def _only(self, found, item, what):
        if len(found) == 1:
            return found[0]
        raise ValueError(
            f"{ONE_CLASS}; items of {self.name} are tables with {shorten(item)}, and which has the "
            f"{what} cannot be told: name it, {what}_column="
        )


def _is_picture(value):
    return isinstance(value, Image.Image) or (
        isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim > 1
    )


# ---- one item ------------------------------------------------------------------------------------


def _label(label, where) -> int | str:
    value = label.detach().cpu().numpy() if isinstance(label, torch.Tensor) else label
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
        value = value.item()
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{where} has the label {value}, as images without one do: leave them out")
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        told = f"a table with {shorten(value)}, as for detection"
    elif isinstance(value, (list, tuple, np.ndarray)):
        hot = np.ndim(value) == 1 and sorted(value) == [0] * (len(value) - 1) + [1]
        told = f"{len(value)} numbers" + (
            "; if the 1 is at the class, yield their argmax" if hot else ""
        )
    else:
        told = f"{type(value).__name__} {value!r:.80}"
    raise ValueError(f"{ONE_CLASS}, a whole number or a name; {where} has {told}")


def _pixels(picture, size, where) -> np.ndarray:
    """(H, W, C) uint8, perhaps resized as the files of a folder are."""
    if isinstance(picture, Image.Image):
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"{where} has more than 8 bits a pixel (mode {picture.mode}): convert")
        image = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    elif isinstance(picture, (np.ndarray, torch.Tensor)):
        found = _channels_last(picture, where)
        if size is None or found.shape[:2] == (size, size):
            return found
        image = Image.fromarray(found[..., 0] if found.shape[2] == 1 else found)
    else:
        raise ValueError(
            f"{where} must have an image of Pillow, a tensor or an array; got "
            f"{type(picture).__name__}"
        )
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)
    found = np.asarray(image)
    return found if found.ndim == 3 else found[..., None]


def _channels_last(picture, where):
    """An array or tensor as (H, W, C) uint8."""
    first = isinstance(picture, torch.Tensor)
    if isinstance(picture, torch.Tensor):
        plain = picture.detach().cpu()
        found = (plain.float() if plain.is_floating_point() else plain).numpy()
    else:
        found = picture
    if found.ndim == 2:
        found = found[..., None]
    elif found.ndim == 3:
        few = [found.shape[axis] <= 4 for axis in (0, 2)]
        if few[0] and (first or not few[1]):
            found = found.transpose(1, 2, 0)
        elif not few[1]:
            found = found[..., :0]
    if found.ndim != 3 or 0 in found.shape:
        raise ValueError(
            f"{where} must be of shape (H, W, C), or as a tensor (C, H, W), with 1 to 4 channels "
            f"C; got {tuple(picture.shape)}"
        )
    if found.dtype.kind == "f":
        low, high = float(found.min()), float(found.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"{where} must be uint8, or floats in 0..1; got floats in {low:.3g}..{high:.3g}: "
                "leave Normalize out of its transform, as dpkit normalises by itself"
            )
        found = np.rint(found * 255).astype(np.uint8)
    if found.dtype != np.uint8:
        raise ValueError(f"{where} must be uint8, or floats in 0..1; got {found.dtype}: convert it")
    return np.array(found, order="C")  # a copy: some datasets give one buffer for all items
