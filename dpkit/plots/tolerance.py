"""What pruning loses, beside what may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.plots._style import aside, method_style, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def losses(table: Any, tolerance: float, *, ax: Axes) -> Axes:
    """The loss of each method at each prune ratio with its interval, and the tolerance as a line.
    The axis of ratios is to scale; methods stand a few points of print apart.

    table: DataFrame with method, prune_ratio, loss, low and high, in points (low, high NaN: no
           interval), as dpkit.experiments.tolerance.losses returns it.
    A full mark: the whole interval lies below the tolerance.
    """
    ratios, methods = sorted({*table.prune_ratio}), list(dict.fromkeys(table.method))
    ax.axhspan(tolerance, tolerance + 1e3, color="0.93", zorder=0)
    ax.axhline(tolerance, color="0.4", linestyle="--", label=f"tolerance ({tolerance:g})")
    ax.axhline(0, color="0.6", linestyle=":", label="nothing pruned")
    for k, method in enumerate(methods):
        some = table[table.method == method]
        style = method_style(method) | {"markerfacecolor": "white"}
        at, beside = some.prune_ratio.to_numpy(), {"transform": aside(k, len(methods), ax=ax)}
        bars = np.array([some.loss - some.low, some.high - some.loss])
        marks = {name: style.pop(name) for name in ("marker", "color")}
        ax.errorbar(at, some.loss, bars, **(marks | style | beside), capsize=3)
        shown = (some.high < tolerance).to_numpy()
        ax.plot(at[shown], some.loss[shown], linestyle="none", **marks, **beside)
        ax.plot([], [], **marks, linestyle=style.get("linestyle", "-"), label=method)
    low, high = table[["loss", "low"]].min(axis=None), table[["loss", "high"]].max(axis=None)
    low, high = min(low, 0), max(high, tolerance)
    ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    ratio_axis(ratios, ax=ax)
    ax.set(ylabel="loss against training on everything (points)")
    ax.legend(frameon=False)
    return ax
