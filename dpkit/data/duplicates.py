"""Images that are in a set more than once: the same to the pixel, or nearly.

A copy in the training part of an image that is held out makes the accuracy there too good; a copy
within the training part is an image that can go. Near copies are found by features: two images are
near where the cosine of their features is high. `thumbnails` are features that know nothing of
classes, so that they find copies, and not images of one kind.
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from dpkit.data.image_set import ImageSet
from dpkit.storage.long_work import LongWork

BLOCK = 2048  # rows compared at a time


def pixel_hashes(images: ImageSet) -> np.ndarray:
    """(n,) bytes: a hash of each image's pixels. Images of the same pixels have the same one."""
    pixels = images.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return np.array([hashlib.sha256(image.data).digest()[:16] for image in pixels], "S16")


def exact_groups(hashes: ArrayLike) -> list[np.ndarray]:
    """The rows of each image that is there more than once, ascending; by their first rows.

    Parameters
    ----------
    hashes : (n,), as pixel_hashes returns them, perhaps of several sets one after the other.

    Examples
    --------
    >>> [group.tolist() for group in exact_groups([b"b", b"a", b"c", b"b", b"a", b"b"])]
    [[0, 3, 5], [1, 4]]
    """
    _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.argsort(which, kind="stable")
    groups = [rows for rows in np.split(order, np.cumsum(counts)[:-1]) if len(rows) > 1]
    return sorted(groups, key=lambda rows: rows[0])


def thumbnails(images: ImageSet, *, side: int = 8, mirrored: bool = False) -> np.ndarray:
    """Features of images for near_pairs: each shrunk to side x side pixels, without its mean, and
    of length 1. So brightness and contrast do not count; the cosine is the correlation of pixels.

    Parameters
    ----------
    images : the set.
    side : in pixels.
    mirrored : of the images mirrored left-right.

    Returns
    -------
    (n, C * side * side) float32; zeros for an image of a single colour.
    """
    found = []
    for block in images.images.split(BLOCK):
        small = F.adaptive_avg_pool2d(block.float(), side)
        small = (small.flip(3) if mirrored else small).flatten(1)
        small = small - small.mean(1, keepdim=True)
        found.append(F.normalize(small, dim=1, eps=1e-3).cpu())
    return torch.cat(found).numpy()


def near_pairs(
    features: ArrayLike, others: ArrayLike | None = None, *, least: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows whose features have a cosine of at least `least`, the nearest first.

    All pairs are looked at, a block of rows at a time: 10,000 images of 192 features take a second
    or two on one core, 100,000 some minutes.

    Parameters
    ----------
    features : (n, d), rows of length 1.
    others : (n, d), the same images seen otherwise, such as mirrored: a pair is near if it is so in
        either way.
    least : in (0, 1].

    Returns
    -------
    (m, 2) int64, the lower row first, and (m,) float32 cosines.

    Examples
    --------
    >>> pairs, cosines = near_pairs([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [1.0, 0.0]], least=0.7)
    >>> pairs.tolist(), cosines.round(2).tolist()
    ([[0, 3], [0, 2], [2, 3]], [1.0, 0.800000011920929, 0.800000011920929])
    """
    features = torch.as_tensor(np.asarray(features, np.float32))
    views = [features]
    if others is not None:
        views.append(torch.as_tensor(np.asarray(others, np.float32)))
    n, d = features.shape
    pairs, cosines = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    cost = 2 * d * len(views) / 2e10  # seconds for a pair of rows, on one core
    work = LongWork(f"near duplicates among {n:,} images", seconds=cost * n * n / 2)
    for start in range(0, n, BLOCK):
        rows = features[start : start + BLOCK]
        best = torch.stack([rows @ view[start:].T for view in views]).amax(0)
        # each pair once, and none with itself
        here, there = torch.nonzero(torch.triu(best >= least, diagonal=1), as_tuple=True)
        pairs.append(torch.stack([here, there], dim=1).numpy() + start)
        cosines.append(best[here, there].numpy())
        work.add(cost * len(rows) * (n - start))
    found, how_near = np.concatenate(pairs), np.concatenate(cosines)
    order = np.argsort(-how_near, kind="stable")
    return found[order], how_near[order]
