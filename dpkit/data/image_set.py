"""ImageSet: a whole set as tensors on the device. A batch is an index; crop, flip, normalise one
gather. Sets are made in dpkit.data.loading.
"""

import hashlib
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from dpkit.data.arrays import describe_set
from dpkit.records import Selection
from dpkit.records.set_facts import SetFacts, class_numbers, shorten


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
    paths : of the files, where there are some, and folder, the absolute one where they begin.
    source, split : what load read; None for arrays.
    read_with : the settings of load that another split of the source is to be read with, too.
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
    folder: str | None = None
    read_with: dict = field(default_factory=dict)

    def describe(self) -> str:
        """The set's name, classes with their counts, size, channels and notes, as text."""

        return describe_set(
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
            names = shorten([self.class_names[c] for c in sorted(left)], 10)
            warnings.warn(
                f"the subset of {self.name} has no sample of class {names}: a network trained on "
                'it cannot learn them; keep more, or select with per_class="balanced"',
                stacklevel=2,
            )
        return part

    def aligned(self, known: SetFacts | None, what: str) -> "ImageSet":
        """This set as a network saw its own: with its class numbers, by name, and its mean and std.

        The pixels are shared, not copied.

        Parameters
        ----------
        known : `facts` of the set that the network was made for; None: this set is returned as is.
        what : the function that asks, for the message.

        Raises
        ------
        ValueError for a class that the network does not know, and for other channels.
        """
        facts = self.facts
        looks = ("class_names", "mean", "std")
        if known is None or all(getattr(facts, a) == getattr(known, a) for a in looks):
            return self
        numbers = class_numbers(known, facts, what, self.labels.unique().tolist())
        return replace(
            self,
            labels=torch.tensor(numbers, device=self.device)[self.labels],
            class_names=list(known.class_names),
            mean=known.mean,
            std=known.std,
        )

    def first(self, n: int) -> "ImageSet":
        """The first n rows as a set of its own (its total is n): a small set for a quick lesson."""
        if not 1 <= n <= len(self):
            raise ValueError(f"first(n) needs 1..{len(self)} (the set's size); got {n}")
        return self._rows(np.arange(n)).standalone()

    def standalone(self) -> "ImageSet":
        """These samples as a set of its own, numbered from 0; a whole set is returned as it is."""
        numbers = np.arange(len(self))
        if self.total == len(self) and np.array_equal(self.ids, numbers):
            return self
        return replace(self, ids=numbers, total=len(self))

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
        mean, std = (torch.tensor(some, device=self.device) for some in (self.mean, self.std))
        return 255 * mean, 1 / (255 * std)


def __getattr__(name: str) -> Any:
    if name in ("DATASETS", "auto_device", "from_arrays", "labels_of", "load"):  # stood here before
        from dpkit.data import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
