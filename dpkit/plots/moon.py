"""The moon: uncertainty against difficulty, and how samples come to lie where they do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dpkit.plots._style import HARDNESS, KEPT, PRUNED, colourmap
from dpkit.records import Selection, TrainingDynamics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def moon_plot(
    dynamics: TrainingDynamics,
    *,
    ax: Axes,
    selection: Selection | None = None,
    values: ArrayLike | None = None,
    label: str = "score",
    rows: Iterable[int] = (),
) -> Axes:
    """Every sample as a dot: x = standard deviation, y = mean of its target_prob over epochs.

    selection: colours kept and pruned samples.
    values:    (n,) colours by these instead, named `label`.
    With neither, colour is the mean: dark is hard.   rows: samples to ring and number.
    """
    x, y = dynamics.std_prob(), dynamics.mean_prob()
    size = float(np.clip(20_000 / max(len(x), 1), 1, 18))
    dots = {"s": size, "linewidths": 0, "rasterized": True}
    if selection is not None:
        kept = selection.mask()
        ax.scatter(x[~kept], y[~kept], color=PRUNED, label=f"pruned ({(~kept).sum():,})", **dots)
        ax.scatter(x[kept], y[kept], color=KEPT, label=f"kept ({kept.sum():,})", **dots)
        ax.legend(loc="upper right", markerscale=max(1, 4 / np.sqrt(size)), frameon=False)
    else:
        order = np.arange(len(x)) if values is None else np.argsort(values)  # the highest on top
        drawn = ax.scatter(
            x[order],
            y[order],
            c=(y if values is None else np.asarray(values))[order],
            cmap=HARDNESS if values is None else "cividis",
            **dots,
        )
        if values is not None:
            ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8)
    rows = list(rows)
    for row in rows:
        ax.scatter(x[row], y[row], s=90, facecolors="none", edgecolors="black", linewidths=1.2)
        others = [other for other in rows if other != row]
        nearest = min(others, key=lambda o: np.hypot(x[o] - x[row], y[o] - y[row]), default=row)
        # of two neighbours the upper one's number goes above
        beside = (8, 5) if (y[row], row) >= (y[nearest], nearest) else (8, -12)
        ax.annotate(str(row), (x[row], y[row]), xytext=beside, textcoords="offset points")
    # half the epochs at 0 and half at 1 is the largest deviation: 0.51 for T = 30, more for very
    # short records
    ax.set(xlim=(0, max(0.58, 1.05 * np.nanmax(x, initial=0))), ylim=(-0.02, 1.02))
    ax.set(xlabel="uncertainty: std of target_prob", ylabel="ease: mean of target_prob")
    return ax


def moon_evolution(
    dynamics: TrainingDynamics,
    epochs: Iterable[int],
    *,
    axes: Sequence[Axes],
    rows: Iterable[int] = (),
) -> Sequence[Axes]:
    """A moon plot after each of `epochs`, side by side on `axes`: samples start low, swing right,
    and end high and left.
    """
    for ax, epoch in zip(axes, epochs, strict=True):
        moon_plot(dynamics.first(epoch), ax=ax, rows=rows)
        ax.set_title(f"after {epoch} epochs")
        ax.label_outer()
    return axes


def trajectories(
    dynamics: TrainingDynamics,
    rows: Sequence[int],
    *,
    ax: Axes,
    names: Sequence[str] | None = None,
    window: int | None = None,
) -> Axes:
    """target_prob of single samples over the epochs, the hardest darkest; with `window`, a bar
    shows its width.
    """
    epochs = np.arange(1, dynamics.num_epochs + 1)
    hardest_first = np.argsort(np.argsort(dynamics.mean_prob()[list(rows)]))
    colours = colourmap(HARDNESS)(0.85 * hardest_first / max(len(rows) - 1, 1))
    for k, row in enumerate(rows):
        name = f"sample {row}" if names is None else names[k]
        ax.plot(epochs, dynamics.target_prob[row], color=colours[k], marker=".", label=name)
    if window:
        ax.plot(
            [1, window],
            [1.06, 1.06],
            color="black",
            linewidth=3,
            solid_capstyle="butt",
            clip_on=False,
        )
        ax.text(window + 0.4, 1.06, f"one window (J = {window})", va="center")
    ax.set(
        xlabel="epoch",
        ylabel="target_prob",
        ylim=(-0.03, 1.12 if window else 1.03),
        xlim=(0.5, dynamics.num_epochs + 0.5),
    )
    # below the axes: off the curves
    ax.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=min(len(rows), 3)
    )
    return ax
