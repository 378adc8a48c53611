"""A part of a set that no training sees, to test on."""

import numpy as np

from dpkit.data.image_set import ImageSet


def hold_out(images: ImageSet, fraction: float, *, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Split a set into what is trained on and what is tested on, class by class.

    Parameters
    ----------
    images : the set.
    fraction : of each class that is held out, in (0, 1), rounded; at least one image of each class
        is held out, and at least one is left.
    seed : which images.

    Returns
    -------
    (rest, held_out), two subsets: with the set's classes, normalisation and original ids.

    Raises
    ------
    ValueError for a fraction outside (0, 1), and for a class with fewer than two images.

    Examples
    --------
    >>> images = dpkit.load("digits", device="cpu")
    >>> rest, held_out = dpkit.hold_out(images, 0.1)
    >>> len(rest), len(held_out)
    (1167, 130)
    """
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ValueError(f"fraction must be in (0, 1), the part held out; got {fraction!r}")
    labels, rng = images.labels.cpu().numpy(), np.random.default_rng(seed)
    counts = np.bincount(labels, minlength=images.num_classes)
    if few := [str(images.class_names[c]) for c in np.flatnonzero(counts == 1)]:
        raise ValueError(
            f"to hold a part out, every class needs at least two images; {images.name} has one of "
            f"{', '.join(few[:10])}{f' and {len(few) - 10} more' if len(few) > 10 else ''}: add "
            "images, or leave the class out"
        )
    held_out = np.zeros(len(labels), bool)
    for c in np.flatnonzero(counts):
        size = min(max(round(fraction * counts[c]), 1), counts[c] - 1)
        held_out[rng.choice(np.flatnonzero(labels == c), size, replace=False)] = True
    return images.subset(images.ids[~held_out]), images.subset(images.ids[held_out])
