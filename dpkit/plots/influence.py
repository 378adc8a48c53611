"""Pictures of influence: predictions beside what was measured, an annealing, and the bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dpkit.plots._style import method_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def predicted_against_measured(
    predicted: ArrayLike, measured: ArrayLike, *, ax: Axes, **style: Any
) -> Axes:
    """A dot for every pair of numbers, and the line where both are the same."""
    predicted, measured = np.ravel(predicted), np.ravel(measured)
    ends = min(predicted.min(), measured.min()), max(predicted.max(), measured.max())
    ax.axline((ends[0], ends[0]), slope=1, color="0.6", linewidth=1, zorder=0)
    ax.scatter(
        measured, predicted, **{"s": 8, "color": "black", "alpha": 0.4, "linewidths": 0} | style
    )
    ax.set(xlabel="measured", ylabel="predicted")
    return ax


def objective_against_proposals(reports: Iterable, *, ax: Axes) -> Axes:
    """The length of the sum along an annealing, pale as it wanders and dark the best so far.

    reports: Annealed, as `annealing` yields them, of one restart.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    steps = [now.step for now in reports]
    ax.plot(steps, [now.objective for now in reports], color="0.7", linewidth=1, label="now")
    ax.plot(steps, [now.best for now in reports], color="black", linewidth=1.8, label="best so far")
    ax.set(xlabel="proposals", ylabel="length of the sum of the pruned", yscale="log")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)),
        major_formatter="{x:g}",
        minor_formatter=NullFormatter(),
    )
    ax.legend(frameon=False)
    return ax


def gap_against_bound(rows: Sequence[Mapping], *, ax: Axes) -> Axes:
    """The measured gap of the test loss against its first-order bound, both in nats; under the line
    the bound holds.

    rows: dicts with method, first_order and gap. Random is a grey circle, the others are black.
          Open: the test loss fell.
    """
    methods = dict.fromkeys(row["method"] for row in rows)
    markers = {"random": "o"} | dict(zip((name for name in methods if name != "random"), "^Dsv<>"))
    for method in methods:
        for rose in (True, False):
            some = [row for row in rows if row["method"] == method and (row["gap"] > 0) == rose]
            if not some:
                continue
            colour = method_style(method)["color"]
            ax.scatter(
                [row["first_order"] for row in some],
                [abs(row["gap"]) for row in some],
                s=22,
                linewidths=1,
                marker=markers[method],
                edgecolors=colour,
                facecolors=colour if rose else "none",
                label=f"{method}: test loss {'rose' if rose else 'fell'}",
            )
    reach = [min(row["first_order"] for row in rows), max(row["first_order"] for row in rows)]
    ax.plot(reach, reach, color="0.6", linewidth=1, zorder=0)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="first-order bound (nats)",
        ylabel="|change of the test loss| (nats)",
    )
    ax.legend(frameon=False, fontsize=9)
    return ax
