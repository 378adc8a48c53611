"""Images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def image_grid(
    pictures: ArrayLike,
    *,
    ax: Axes,
    columns: int = 10,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> Axes:
    """Small pictures, (k, H, W) or (k, H, W, C) uint8, side by side; names: a text under each."""
    pictures = np.asarray(pictures)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    count, height, width, channels = pictures.shape
    columns = max(min(columns, count), 1)
    lines = -(-count // columns)
    gap, below = max(1, width // 12), (round(height * 0.42) if names is not None else 0)
    # the axes may still be resized: their size now says nothing
    fontsize = 6 if columns <= 10 else 5
    sheet = np.full(
        (lines * (height + gap + below), columns * (width + gap), channels), 255, np.uint8
    )
    for k in range(count):
        top, left = (k // columns) * (height + gap + below), (k % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = pictures[k]
        if names is not None:
            ax.text(
                left + width / 2,
                top + height + gap,
                names[k],
                ha="center",
                va="top",
                fontsize=fontsize,
            )
    ax.imshow(
        sheet[..., 0] if channels == 1 else sheet,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest",
    )
    ax.set_axis_off()
    if title:
        ax.set_title(title, loc="left")
    return ax
