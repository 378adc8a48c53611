"""The two-point theorem's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dpkit.plots._style import HARDNESS, method_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def two_points(points: ArrayLike, w: ArrayLike, *, ax: Axes) -> Axes:
    """Points of label +1 under a linear model: dark where its probability sigma(<w, x>) is low, a
    line where it is 1/2.

    points: (k, 2).   w: (2,); all zeros, as before the first step, has no boundary.
    """
    points, w = np.asarray(points, float), np.asarray(w, float)
    reach = 1.25 * np.abs(points).max()
    grid = np.linspace(-reach / 2, reach, 200)
    z = np.clip(w[0] * grid + w[1] * grid[:, None], -50, 50)
    ax.pcolormesh(
        grid,
        grid,
        1 / (1 + np.exp(-z)),
        cmap=HARDNESS,
        vmin=0,
        vmax=1,
        alpha=0.55,
        linewidth=0,
        rasterized=True,
    )
    if w.any():  # before the first step there is no boundary
        ax.axline((0, 0), (-w[1], w[0]), color="black", linewidth=1.5)
    ax.scatter(*points.T, s=60, color="white", edgecolors="black", zorder=3)
    for k, point in enumerate(points):
        ax.annotate(
            f"$x_{{{k + 1}}}$", point, xytext=(7, 4), textcoords="offset points", fontsize=11
        )
    ax.plot(0, 0, "k+")
    ax.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
    ax.set(xlim=(-reach / 2, reach), ylim=(-reach / 2, reach))
    return ax


def crossings(
    ratios: dict, *, ax: Axes, times: Mapping | None = None, names: Mapping | None = None
) -> Axes:
    """The first point's score over the second's, by window; above 1 the first is ahead.

    ratios: {method: (windows,)}.
    times:  {method: first window above 1, or None}, marked and named in the legend.
    names: {method: text}.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    times, names = times or {}, names or {}
    lowest = min(map(np.min, ratios.values()))
    ax.axhline(1, color="0.6", linewidth=1)
    for method, ratio in ratios.items():
        style, label = method_style(method), names.get(method, method)
        if method in times:
            label += ": not reached" if times[method] is None else f": step {times[method]}"
        ax.plot(np.arange(len(ratio)), ratio, color=style["color"], linewidth=2, label=label)
        if times.get(method) is not None and times[method] < len(ratio):
            at = times[method], ratio[times[method]]
            ax.plot([at[0], at[0]], [lowest, at[1]], color=style["color"], linestyle=":")
            ax.scatter(*at, s=45, zorder=3, color=style["color"], marker=style["marker"])
    ax.set(
        xlabel="first step of the window",
        ylabel="$x_1$'s score / $x_2$'s",
        yscale="log",
        xlim=(0, None),
    )
    ax.yaxis.set(
        major_locator=LogLocator(subs=(1, 3)),
        major_formatter="{x:g}",
        minor_formatter=NullFormatter(),
    )
    ax.legend(frameon=False, loc="upper left")
    return ax
