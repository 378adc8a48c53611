"""A made-up image set whose easy, hard and mislabelled samples are known: what a score says of it
can be checked.
"""

import numpy as np
import torch

from dpkit.data.image_set import ImageSet
from dpkit.data.loading import from_arrays


def toy_images(
    n: int = 600,
    *,
    hard: float = 0.2,
    mislabelled: float = 0.05,
    seed: int = 0,
    size: int = 12,
    device: str | torch.device = "auto",
) -> tuple[ImageSet, np.ndarray]:
    """Bars that are upright, level or slanted, in noise: easy, hard and mislabelled are known.

    Parameters
    ----------
    n : how many.
    hard : fraction drawn faintly, with a second class's bar half as faint over it.
    mislabelled : fraction of the others, clearly drawn, that carry a wrong label.
    seed : same seed, same set.
    size : of an image's side, in pixels.
    device : "auto" is a GPU if there is one, else the CPU.

    Returns
    -------
    (images, kinds): an ImageSet, and kinds (n,) str, "easy", "hard" or "mislabelled".
    """
    rng = np.random.default_rng(seed)
    truth, place = rng.integers(0, 3, n), rng.integers(2, size - 2, n)
    kinds = np.full(n, "easy", dtype="<U11")
    order = rng.permutation(n)
    num_hard, num_wrong = round(n * hard), round(n * mislabelled)
    kinds[order[:num_hard]] = "hard"
    kinds[order[num_hard : num_hard + num_wrong]] = "mislabelled"
    row, column = np.mgrid[:size, :size]
    # (n, 3, size, size)
    distance = np.stack(
        [
            column - place[:, None, None],
            row - place[:, None, None],
            (row - column + size // 2 - place[:, None, None]) / np.sqrt(2),
        ],
        axis=1,
    )
    bars = np.exp(-(distance**2) / 1.5)
    other = (truth + rng.integers(1, 3, n)) % 3
    faint = kinds == "hard"
    strength = np.where(faint, 70, 180)[:, None, None]
    picture = (
        strength * bars[np.arange(n), truth]
        + np.where(faint, 35, 0)[:, None, None] * bars[np.arange(n), other]
    )
    picture = np.clip(picture + rng.normal(40, 20, picture.shape), 0, 255).astype(np.uint8)
    labels = np.where(kinds == "mislabelled", other, truth)
    return from_arrays(
        picture, labels, class_names=["upright", "level", "slanted"], name="toy", device=device
    ), kinds
