"""Image sets as whole tensors on the device: a batch is an index; crop, flip, normalise one gather.

A set of your own is one file <folder>/<name>.npz with uint8 arrays
    train_images (n, H, W) or (n, H, W, 3) · train_labels (n,) whole numbers (or called images and
    labels) and, if you like, test_images, test_labels, class_names (C,) str and human_labels_<kind>
    (n,), other labels for the training rows.
Labels without class_names may have gaps: the classes are then the training labels' numbers, in
order. `load("<name>")` reads it; the named sets are downloaded through torchvision into the same
format on first use.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from dpkit.data.arrays import (
    check_labels,
    check_range,
    check_shape_like,
    checked,
    classes_like,
    described,
    numbered,
    numbering_note,
    numbers_in,
    pixel_statistics,
)
from dpkit.data.class_folders import list_folder, read_pixels
from dpkit.data.named_sets import (
    DATASETS,
    arrays_of,
    images_and_labels,
    is_folder,
    known_before,
    named_classes,
    other_labels,
    set_name,
)
from dpkit.records import Selection
from dpkit.records.set_facts import SetFacts


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """A whole image set on one device. Row i of `images` is original sample `ids[i]`.

    Printed, or by describe(), it says its classes with their counts, size, channels and notes.

    Parameters
    ----------
    images : (n, C, H, W) uint8, channels last in memory.
    labels : (n,) int64, on the device.
    ids : (n,) int64 numpy.
    class_names : (number of classes,), in the order of the labels.
    total : the original set's size; records of a training on a subset have that many rows.
    name : of the set.
    mean, std : (C,) in 0..1, of the original training images.
    shift, mirror : the set's own augmentation: pixels that it is moved by, and left-right
        mirroring.
    paths : of the files, where there are some.
    source, split : what load read; None for arrays.
    notes : what was left out, and how labels were numbered, in sentences.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: np.ndarray
    class_names: list
    total: int
    name: str = "unnamed"
    mean: tuple = (0.5,)
    std: tuple = (0.25,)
    shift: int = 0
    mirror: bool = False
    paths: list | None = None
    source: str | None = None
    split: str = "train"
    notes: tuple = ()

    def describe(self) -> str:
        """The set's name, classes with their counts, size, channels and notes, as text."""

        return described(
            self.name,
            self.labels.cpu().numpy(),
            self.class_names,
            self.images.shape[1:],
            self.total,
            self.notes,
        )

    __repr__ = describe

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""

        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """How many channels an image has."""

        return self.images.shape[1]

    @property
    def facts(self) -> SetFacts:
        """What a network made for this set knows of it."""
        return SetFacts.of(self)

    @property
    def device(self) -> torch.device:
        """Where the images are."""

        return self.images.device

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that a training reads.

        Pixels, labels, ids, classes, normalisation and augmentation.
        """
        digest = hashlib.sha256(self.images.permute(0, 2, 3, 1).contiguous().cpu().numpy().data)
        digest.update(self.labels.cpu().numpy().data)
        digest.update(self.ids.tobytes())
        digest.update(
            repr(
                (
                    tuple(self.images.shape),
                    self.num_classes,
                    self.total,
                    self.mean,
                    self.std,
                    self.shift,
                    self.mirror,
                )
            ).encode()
        )
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on another device."""

        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, selection: Selection | ArrayLike) -> "ImageSet":
        """The kept samples, with their original ids.

        Parameters
        ----------
        selection : Selection over the original set, or original ids.

        Warns, naming them, if classes that were there are left empty.
        """
        if isinstance(selection, Selection):
            if selection.num_samples != self.total:
                raise ValueError(
                    f"this selection is over {selection.num_samples} samples, but {self.name} has "
                    f"{self.total}: select from a record of this set"
                )
            wanted = selection.kept
        else:
            wanted = np.asarray(selection)
            if wanted.dtype == bool:
                raise ValueError(
                    "subset needs original ids; got a mask of bool: pass np.flatnonzero(mask)"
                )
            if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
                raise ValueError(
                    f"subset needs original ids, (k,) whole numbers; got {wanted.dtype} of shape "
                    f"{wanted.shape}"
                )
            wanted = wanted.astype(np.int64)
        place = np.full(self.total, -1)
        place[self.ids] = np.arange(len(self))
        if len(wanted) and (
            wanted.min() < 0 or wanted.max() >= self.total or (place[wanted] < 0).any()
        ):
            raise ValueError(
                f"subset needs ids of samples in this set (0..{self.total - 1}); some are not in it"
            )
        part = self._rows(place[wanted])
        left = set(self.labels.unique().tolist()) - set(part.labels.unique().tolist())
        if left:
            names = ", ".join(str(self.class_names[c]) for c in sorted(left))
            warnings.warn(
                f"the subset of {self.name} has no sample of class {names}: a network trained on "
                "it cannot learn them; keep more, or select with per_class",
                stacklevel=2,
            )
        return part

    def first(self, n: int) -> "ImageSet":
        """The first n rows as a set of its own (its total is n): a small set for a quick lesson."""
        if not 1 <= n <= len(self):
            raise ValueError(f"first(n) needs 1..{len(self)} (the set's size); got {n}")
        return replace(self._rows(np.arange(n)), ids=np.arange(n), total=n)

    def _rows(self, rows):
        at = torch.as_tensor(rows, device=self.device)
        paths = None if self.paths is None else [self.paths[i] for i in rows]
        images = self.images.permute(0, 2, 3, 1)[at].permute(0, 3, 1, 2)  # stay channels-last
        return replace(self, images=images, labels=self.labels[at], ids=self.ids[rows], paths=paths)

    # ---- batches ----

    def clean(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32, normalised, not augmented. rows: slice or index tensor."""
        return self._normalised(self.images.permute(0, 2, 3, 1)[rows])

    def augmented(
        self, rows: torch.Tensor, offsets: torch.Tensor, mirrored: torch.Tensor
    ) -> torch.Tensor:
        """A batch as it is trained on: shifted by zero-padded crops, some mirrored, normalised.

        One gather for the batch. Equal to torchvision's RandomCrop(padding=shift) and
        RandomHorizontalFlip at the same draws.

        Parameters
        ----------
        rows : (B,), on the device, as all are.
        offsets : (2, B) in 0..2*shift, the crop's top and left.
        mirrored : (B,) bool.

        Returns
        -------
        (B, C, H, W) float32.
        """
        x = self.images.permute(0, 2, 3, 1)[rows]  # (B, H, W, C)
        _, height, width, _ = x.shape
        if self.shift:
            s = self.shift
            # (B, 2s+1, 2s+1, C, H, W)
            windows = F.pad(x, (0, 0, s, s, s, s)).unfold(1, height, 1).unfold(2, width, 1)
            windows = windows.permute(0, 1, 2, 4, 5, 3)
            # (B, H, W, C)
            x = windows[torch.arange(len(x), device=x.device), offsets[0], offsets[1]]
        if self.mirror:
            x = torch.where(mirrored[:, None, None, None], x.flip(2), x)
        return self._normalised(x)

    def _normalised(self, x):
        mean, scale = self._statistics
        return x.float().sub_(mean).mul_(scale).permute(0, 3, 1, 2)

    @cached_property
    def _statistics(self):
        """(255 mean, 1 / (255 std)), each (C,), made once: a copy a step would stop a GPU."""
        return 255 * torch.tensor(self.mean, device=self.device), 1 / (
            255 * torch.tensor(self.std, device=self.device)
        )


def auto_device(device: str | torch.device = "auto") -> torch.device:
    """The requested device; "auto" is a GPU if there is one, else the CPU.

    Under torchrun each process has a GPU of its own: "auto" is cuda:$LOCAL_RANK. ValueError for
    other kinds of device: nothing is tested there.
    """
    if device != "auto":
        try:
            found = torch.device(device)
        except RuntimeError:
            found = None
        if found is None or found.type not in ("cpu", "cuda"):
            raise ValueError(f'device must be "auto", "cpu" or "cuda"; got {str(device)!r}')
        if found.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f'device "auto" or "cpu" is needed here, as torch finds no GPU; got {str(device)!r}'
            )
        return found
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local, found = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    if local and int(local) >= found:
        raise ValueError(
            f"process {local} of this machine has no GPU of its own, as torch finds {found}: "
            "start as many, "
            'or load with device="cpu"'
        )
    return torch.device(f"cuda:{local}" if local else "cuda")


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
    say: Callable[[str], object] | str | None = "once",
) -> ImageSet:
    """An image set, whole, on the device.

    Parameters
    ----------
    name : one of DATASETS; the <name> of an .npz of your own in the data folder (see this module's
        docstring); the path of such an .npz; or the path of a folder of class folders, all of it
        the training split.
    split : "train" or "test".
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
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test"; got {split!r}')
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"size must be a whole number of pixels, at least 1; got {size!r}")
    if like is not None and not isinstance(like, ImageSet):
        raise TypeError(
            f"like needs the training set, an ImageSet; got {type(like).__name__}: load that first"
        )
    if is_folder(name, folder):
        images = _load_folder(name, split, size, labels, device, on_progress, like, classes)
    elif classes is not None:
        raise ValueError(
            f"classes names the class folders of a folder of images, and {name} is none: leave "
            "classes out"
        )
    else:
        images = _load_arrays(name, split, folder, size, labels, device, like)
    if say == "once":
        say = None if name in DATASETS else _print_once
    if callable(say):
        say(images.describe())
    return images


@cache
def _print_once(text):
    if os.environ.get("RANK", "0") == "0":  # of a torchrun's processes the first one speaks
        print(text)


def _load_arrays(name, split, folder, size, labels, device, like):
    arrays = arrays_of(name, folder)
    asked = checked(*images_and_labels(arrays, split, name), f"{split}_")
    train = (
        asked if split == "train" else checked(*images_and_labels(arrays, "train", name), "train_")
    )
    images, given = asked
    if labels != "given":
        given = other_labels(arrays, labels, name, split)
        check_labels(given, len(images), f"human_labels_{labels}: ")
    shift, mirror, _ = DATASETS.get(name, (_own_shift(size or min(images.shape[1:3])), False, None))
    names, notes = named_classes(arrays, name), ()
    if names is None:
        numbers = numbers_in(train[1]) if like is None else np.unique(given)
        given = numbered(
            given,
            numbers,
            f"{split}_labels of {name}" if labels == "given" else f"the {labels} labels of {name}",
        )
        names, notes = (
            [str(number) for number in numbers],
            numbering_note(numbers) if like is None else (),
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
    return replace(found, source=str(name), split=split, notes=notes)


def labels_of(name: str | Path) -> tuple[np.ndarray, list | None]:
    """The labels and paths of a training set as `load` would give them, reading no pixel.

    (labels (n,) int64, paths or None).
    """
    known = known_before(name)
    return known.labels, known.paths


def _load_folder(name, split, size, labels, device, on_progress, like, classes):
    if (split != "train" and like is None) or labels != "given":
        raise ValueError(
            f'a folder of images has the split "train" and the labels "given"; got {split!r} and '
            f"{labels!r}: "
            "load the folder of the other split like the training set, load(path, like=train)"
        )
    listing = list_folder(name, classes, like and like.class_names)
    if like is not None:
        size = size or _side(like)
    pixels = read_pixels(listing, size, on_progress=on_progress)
    images = from_arrays(
        pixels,
        listing.labels,
        class_names=listing.class_names,
        name=set_name(name),
        size=size,
        shift=_own_shift(min(pixels.shape[1:3])),
        device=device,
        like=like,
    )
    return replace(images, paths=listing.paths, source=str(name), notes=listing.notes)


def _own_shift(pixels):
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
    labels : (n,) whole numbers.
    class_names : in the order of the labels, from 0. Without them the classes are the numbers that
        are there, in order.
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
    images, labels = checked(images, labels, channels=None if known is None else len(known))
    notes = ()
    if like is None:
        if class_names is None:
            numbers = numbers_in(labels)
            labels, notes = numbered(labels, numbers, "labels"), numbering_note(numbers)
            class_names = [str(number) for number in numbers]
        check_range(labels, class_names)
    else:
        if class_names is not None:
            check_range(labels, class_names)
        labels, class_names = classes_like(like.facts, labels, class_names, name), like.class_names
        mean, std, shift, mirror, size = (
            like.mean,
            like.std,
            like.shift,
            like.mirror,
            size or _side(like),
        )
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


def _side(like):
    """The size that makes images as large as the training set's; None if those are not square."""
    height, width = like.images.shape[2:]
    return height if height == width else None


def _resized(pixels, size):
    resized = F.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
