"""Arrays of images and labels as they are given: checked for what they seem to be, numbered, and
described in a line.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from dpkit.data.labels import as_array, plain_labels
from dpkit.records.set_facts import channels as worded

_MOST_CHANNELS = 4  # grey, grey and alpha, colour, colour and alpha
_LISTED = 12  # classes that are told one by one


def check_arrays(
    images: ArrayLike, labels: ArrayLike, prefix: str = "", channels: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """images as (n, H, W, C) uint8 and labels as (n,) whole numbers or texts, or a ValueError that
    calls them by `prefix`.

    channels: how many there are for certain, for sets of more than four; None where the caller does
              not say.
    """
    images, labels = np.asarray(images), as_array(labels, prefix)
    check_shape(images.shape, images.dtype, labels.size, prefix, channels)
    labels = plain_labels(labels, len(images), prefix)
    return images if images.ndim == 4 else images[..., None], labels


def check_shape(
    shape: tuple[int, ...],
    dtype: np.dtype,
    num_labels: int,
    prefix: str = "",
    channels: int | None = None,
) -> None:
    """ValueError for images of another shape or type than check_arrays takes."""
    if dtype != np.uint8 or len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{prefix}images must be (n, H, W) or (n, H, W, C) uint8, 0..255; got {dtype} "
            f"of shape {shape}: "
            + (
                "flat rows are reshaped first, images.reshape(n, H, W, C)"
                if len(shape) == 2
                else "scale them to 0..255 and convert"
            )
        )
    turned = _turned(shape, num_labels, channels)
    if turned:
        raise ValueError(
            f"{prefix}images must be (n, H, W) or (n, H, W, C) with 1 to {_MOST_CHANNELS} channels "
            f"C; got shape {shape}: {turned}"
        )


def _turned(shape, num_labels, channels):
    """What to do with an array of this shape whose axes are not (n, H, W, C); None if they are, as
    far as one can see.
    """
    last = shape[-1]
    if last > _MOST_CHANNELS and shape[0] != num_labels == last:
        order = (len(shape) - 1, *range(len(shape) - 1))
        return (
            f"the samples come last, so pass images.transpose{order}, "
            f"{tuple(shape[axis] for axis in order)}"
        )
    if len(shape) == 3 or last == channels:
        return None
    n, first, second, _ = shape
    few = last <= _MOST_CHANNELS
    if first <= _MOST_CHANNELS and (not few or (first in (1, 3) and first != second == last)):
        return (
            "the channels come first, so pass images.transpose(0, 2, 3, 1), "
            f"{(n, second, last, first)}"
        )
    if few:
        return None
    return (
        "of volumes give one slice each, images[:, k] or images[..., k]; if the last axis holds "
        f"{last} channels, say so: from_arrays(..., mean=, std=) with {last} numbers each"
    )


def check_shape_like(
    train: str, train_shape: Sequence[int], shape: Sequence[int], size: int | None, name: str
) -> None:
    """ValueError for other channels than the training set's, or a shape that size (None: it stays)
    does not make its own.

    train, name: what both sets are called.   train_shape: (n, C, H, W).   shape: (n, H, W, C).
    """
    _, channels, height, width = train_shape
    if shape[3] != channels:
        raise ValueError(
            f"{name} has images of {worded(shape[3])} and the training set {train} of "
            f"{worded(channels)}: convert one of the sets, so that both are grey or both are "
            "coloured"
        )
    if size is None and tuple(shape[1:3]) != (height, width):
        raise ValueError(
            f"{name} has images of {shape[2]}x{shape[1]} pixels and the training set {train} of "
            f"{width}x{height}: bring them to that shape, or load both with size="
        )


def describe_set(
    name: str,
    labels: np.ndarray,
    class_names: Sequence[str],
    shape: Sequence[int] | None = None,
    total: int | None = None,
    notes: Iterable[str] = (),
) -> str:
    """A set in a line, and a line for each note. shape: (channels, H, W), as pixels were read."""
    counts = np.bincount(labels, minlength=len(class_names))
    each = [f"{label} {count:,}" for label, count in zip(class_names, counts, strict=True)]
    if len(each) > _LISTED:
        each = [*each[:5], "...", each[-1]]
        few, most = int(counts.min()), int(counts.max())
        sizes = f" of {few:,} images each" if few == most else f" of {few:,} to {most:,} images"
    else:
        sizes = ""
    of = f" of {total:,}" if total not in (None, len(labels)) else ""
    pixels = f" of {shape[2]}x{shape[1]} pixels, {worded(shape[0])}" if shape else ""
    classes = "1 class" if len(class_names) == 1 else f"{len(class_names):,} classes"
    line = f"{name}: {len(labels):,}{of} images{pixels}, {classes}{sizes}: {', '.join(each)}"
    return "\n".join([line, *(f"  {note}" for note in notes)])


def pixel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in 0..1, exact, by counting the 256 values: no float
    copy of the set.
    """
    import torch

    channels = images.reshape(len(images), -1, images.shape[3])
    mean, std = [], []
    values = np.arange(256) / 255
    for c in range(channels.shape[2]):
        counts = np.zeros(256, np.int64)
        for i in range(0, len(images), 4096):
            some = torch.from_numpy(channels[i : i + 4096, :, c].ravel())
            counts += torch.bincount(some, minlength=256).numpy()  # numpy's makes int64 of all
        m = float(counts @ values / counts.sum())
        mean.append(m)
        std.append(max(float(np.sqrt(counts @ (values - m) ** 2 / counts.sum())), 1e-3))
    return tuple(mean), tuple(std)
