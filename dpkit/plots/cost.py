"""Accuracy against the work that it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dpkit.plots._style import check_rows, meaning_of_marks, style_of
from dpkit.storage.processors import kind_of, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_against_cost(rows: Sequence[Mapping], *, ax: Axes, unit: str = "samples") -> Axes:
    """Mean test accuracy of each method against what it cost to get there: recording, scoring,
    selecting and retraining.

    rows: dicts with method, prune_ratio, accuracy and the costs of the stages (as run_trial
          returns). Those of ratio 0 are the star and its vertical line: training on everything.
    unit: "samples", or "seconds" of the clock.
    One line per method, and kind of processor, through its ratios; the number at a point is the
    percentage pruned, the bar the standard deviation over the seeds. Methods of equal cost stand
    side by side, a few points of print apart.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
    from matplotlib.transforms import offset_copy

    units = {
        "samples": "images trained on while recording and retraining",
        "seconds": "seconds, all stages",
    }
    if unit not in units:
        raise ValueError(f"unit must be {' or '.join(units)}; got {unit!r}")
    check_rows(rows)
    marked, points = marks(rows), _cost_points(rows, unit)
    costs, accuracies, spreads = np.transpose([*points.values()])
    low, high = (accuracies - spreads).min(), (accuracies + spreads).max()
    room = max(1.0, 0.08 * (high - low))
    ax.set(
        xscale="log", xlim=(costs.min() / 1.4, costs.max() * 1.4), ylim=(low - room, high + room)
    )
    labels = []
    for name, place in _places(points).items():
        method, mark = name[0], marked[name[1]]
        beside = offset_copy(ax.transData, ax.figure, x=9 * place, units="points")
        line = {ratio: point for (method, ratio), point in points.items() if method == name}
        style = {"capsize": 2, "markersize": 5, "linewidth": 1, "transform": beside}
        if method:
            style |= style_of(method, mark)
        else:
            style |= {"color": "black", "marker": "*", "markersize": 11, "linestyle": "none"}
            for cost, _, _ in line.values():
                ax.axvline(cost, color="0.6", linestyle=":", zorder=0)
        ax.errorbar(*zip(*line.values()), label=(method or "nothing pruned") + mark, **style)
        labels += [
            (f"{100 * ratio:g}" if ratio else "", point, beside, style["color"])
            for ratio, point in line.items()
        ]
    _write_beside(labels, ax=ax)
    plain = EngFormatter() if unit == "samples" else "{x:,g}"  # 2 M images, 1,000 seconds
    ax.xaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)),
        major_formatter=plain,
        minor_formatter=NullFormatter(),
    )
    ax.set(xlabel=units[unit], ylabel="test accuracy (%)")
    ax.legend(
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=3,
        title=meaning_of_marks(marked),
    )
    return ax


def cost_columns(rows: Sequence[Mapping], unit: str) -> list[str]:
    """The columns that say what a stage cost in this unit: record_samples, score_samples, ...

    ValueError if the rows have none.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    found = [name for name in names if name.endswith(f"_{unit}") and name != "num_samples"]
    if not found:
        raise ValueError(
            f"the rows must have the costs of the stages, as in retrain_{unit}; they have no such "
            "column: give rows as run_trial or results_table returns them"
        )
    return found


def _cost_points(rows, unit) -> dict:
    """{((method, kind), ratio): (cost, accuracy, spread)}, means over the seeds, by method; the
    whole set has the method "".
    """
    found: dict[tuple, list] = {}
    columns = cost_columns(rows, unit)
    for row in rows:
        at = (row["method"] if row["prune_ratio"] else "", kind_of(row)), row["prune_ratio"]
        cost = sum(row[name] for name in columns)
        found.setdefault(at, []).append((cost, 100 * row["accuracy"]))
    return {
        at: (*np.mean(seeds, axis=0), np.std(seeds, axis=0, ddof=1)[1] if len(seeds) > 1 else 0.0)
        for at, seeds in sorted(found.items(), key=lambda point: point[0][1])
    }


def _places(points) -> dict:
    """{(method, kind): how far to the right}: methods of equal cost side by side, the whole set,
    which comes first, where it is.
    """
    names = list(dict.fromkeys(name for name, _ in points))
    usual = {
        name: np.log([cost for (other, _), (cost, _, _) in points.items() if other == name]).mean()
        for name in names
    }
    places = {}
    for name in names:
        equal = [other for other in names if abs(usual[other] - usual[name]) < 0.1]
        middle = 0 if equal[0][0] == "" else (len(equal) - 1) / 2
        places[name] = equal.index(name) - middle
    return places


def _write_beside(labels, *, ax, size=7):
    """Write each (text, (x, y, half the bar), transform, colour) as near as can be without covering
    a point or another text.
    """
    to_print = 72 / ax.figure.dpi  # pixels -> points of print
    ends = [
        transform.transform([(x, y), (x, y + bar)]) * to_print
        for _, (x, y, bar), transform, _ in labels
    ]
    # middle, half width, half height
    taken = [(*middle, 4, max(4, top[1] - middle[1])) for middle, top in ends]
    spots = sorted(
        ((right, up) for right in range(-60, 61, 3) for up in range(-60, 61, 3)),
        key=lambda spot: np.hypot(*spot),
    )
    for (text, (x, y, _), transform, colour), (middle, _) in zip(labels, ends, strict=True):
        if not text:
            continue
        wide, high = 0.33 * size * len(text), 0.6 * size
        free = (
            spot
            for spot in spots
            if all(
                abs(middle[0] + spot[0] - a) > wide + w or abs(middle[1] + spot[1] - b) > high + h
                for a, b, w, h in taken
            )
        )
        spot = next(free, spots[0])
        taken.append((*(middle + spot), wide, high))
        leading = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        ax.annotate(
            text,
            (x, y),
            spot,
            xycoords=transform,
            textcoords="offset points",
            ha="center",
            va="center",
            color=colour,
            fontsize=size,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            arrowprops=leading if np.hypot(*spot) > 14 else None,
        )
