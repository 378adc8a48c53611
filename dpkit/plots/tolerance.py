"""What pruning loses, beside what may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.plots._style import method_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def losses(table: Any, tolerance: float, *, ax: Axes) -> Axes:
    """The loss of each method at each prune ratio with its interval, and the tolerance as a line.

    table: DataFrame with method, prune_ratio, loss, low and high, in points (low, high NaN: no
           interval), as dpkit.experiments.tolerance.losses returns it.
    A full mark: the whole interval lies below the tolerance.
    """
    ratios, methods = sorted({*table.prune_ratio}), list(dict.fromkeys(table.method))
    beside = min(0.12, 0.5 / len(methods))  # so that bars stay readable
    ax.axhspan(tolerance, tolerance + 1e3, color="0.93", zorder=0)
    ax.axhline(tolerance, color="0.4", linestyle="--", label=f"tolerance ({tolerance:g})")
    ax.axhline(0, color="0.6", linestyle=":", label="nothing pruned")
    for k, method in enumerate(methods):
        some, style = table[table.method == method], method_style(method)
        at = np.array([ratios.index(ratio) for ratio in some.prune_ratio])
        at = at + beside * (k - (len(methods) - 1) / 2)
        bars = np.array([some.loss - some.low, some.high - some.loss])
        marks = {name: style.pop(name) for name in ("marker", "color")}
        ax.errorbar(at, some.loss, bars, **marks, **style, capsize=3, markerfacecolor="white")
        shown = (some.high < tolerance).to_numpy()
        ax.plot(at[shown], some.loss[shown], linestyle="none", **marks)
        ax.plot([], [], **marks, label=method)
    low, high = table[["loss", "low"]].min(axis=None), table[["loss", "high"]].max(axis=None)
    low, high = min(low, 0), max(high, tolerance)
    ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    ax.set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    ax.set(xlabel="pruned", ylabel="loss against training on everything (points)")
    ax.legend(frameon=False)
    return ax
