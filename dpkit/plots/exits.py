"""What the EEPrune rule prunes and keeps, and where that lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dpkit.plots._style import KEPT, PRUNED
from dpkit.records import Selection, Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


RED = "#C1121F"  # the paper's colour of what it discards, for the plane alone


def rule_by_threshold(
    snapshot: Snapshot, *, ax: Axes, exit: int = 0, threshold: float | None = None
) -> Axes:
    """What becomes of the samples as the threshold rises: pruned, or kept, and by which of the
    rule's three conditions.

    snapshot: probs (exits, n, C) and labels are read.
    exit:     which early one.
    threshold: one to mark, in [0, 1).
    """
    early, final = (snapshot.probs[k].argmax(axis=1) == snapshot.labels for k in (exit, -1))
    sure = np.sort(snapshot.probs[exit].max(axis=1)[early & final].astype(float))
    n, both = snapshot.num_samples, len(sure)
    t = np.linspace(0, 1, 401)
    pruned = both - np.searchsorted(sure, t, side="right")  # surer than t
    parts = {
        "pruned": (pruned, PRUNED),
        "kept: both right, the early exit not sure": (both - pruned, KEPT),
        "kept: only the early exit right": (np.full(len(t), (early & ~final).sum()), "#CC79A7"),
        "kept: the early exit wrong": (np.full(len(t), (~early).sum()), "0.25"),
    }
    ax.stackplot(
        t,
        *(100 * count / n for count, _ in parts.values()),
        colors=[colour for _, colour in parts.values()],
        labels=list(parts),
        linewidth=0,
    )
    if threshold is not None:
        ax.axvline(threshold, color="black", linewidth=1)
    ax.set(
        xlabel="threshold for the early exit's confidence",
        ylabel="samples (%)",
        xlim=(0, 1),
        ylim=(0, 100),
    )
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return ax


def pruned_in_plane(
    points: np.ndarray,
    selection: Selection,
    *,
    ax: Axes,
    classes: np.ndarray,
    only: str | None = None,
    grid: ArrayLike = (),
    answers: Mapping | None = None,
) -> Axes:
    """Points of a plane with the pruned in red, and the boundaries of some classifiers.

    points: (n, 2).
    classes: (n,), a marker for each class.
    only:   None | "kept" | "pruned", to leave the others out.
    grid: (G,), coordinates along both axes.
    answers: {name: (G, G)}, the class a classifier gives to the point at (grid[column], grid[row]);
             the first boundary is dashed, the others are whole, each is named.
    """
    points, kept, own = (
        np.asarray(points),
        selection.mask(),
        np.unique(classes, return_inverse=True)[1],
    )
    for chosen, colour, name in ((kept, KEPT, "kept"), (~kept, RED, "pruned")):
        if only in (None, name):
            for c in np.unique(own):
                ax.scatter(
                    *points[chosen & (own == c)].T,
                    s=12,
                    marker="o^sDvPXd"[c % 8],
                    color=colour,
                    linewidths=0,
                    alpha=0.8,
                    rasterized=True,
                    label=f"{name} ({chosen.sum():,})" if c == 0 else None,
                )
    for (name, answer), line in zip((answers or {}).items(), ("--", *["-"] * 8), strict=False):
        for c in np.unique(answer)[1:]:  # with two classes, the one line between them
            ax.contour(
                grid,
                grid,
                np.asarray(answer) == c,
                levels=[0.5],
                colors="black",
                linewidths=1.3,
                linestyles=line,
            )
        ax.plot([], [], color="black", linewidth=1.3, linestyle=line, label=name)
    ax.set(aspect="equal", xlabel="first channel", ylabel="second channel")
    return ax
