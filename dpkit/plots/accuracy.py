"""What pruning costs: accuracy against the prune ratio, against the work, and against random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.plots._style import method_style
from dpkit.records import keep_count
from dpkit.storage.processors import kind_of, kind_text, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MANY = 8  # lines; the legend of more stands beside the figure


def accuracy_against_ratio(
    rows: Sequence[Mapping], *, ax: Axes, whole: Sequence | None = None
) -> Axes:
    """Mean test accuracy of each method at each prune ratio, with one dot a seed and the standard
    deviation as a bar.

    rows: dicts with method, prune_ratio, accuracy (as run_trial returns).
    whole: accuracies on the whole set, or its rows.
    Rows of several kinds of processor are several lines, those of all but the commonest kind marked
    and pale.
    """
    _check_rows(rows)
    marked = marks(
        [*rows, *(row for row in ([] if whole is None else whole) if isinstance(row, dict))]
    )
    series = list(dict.fromkeys((row["method"], kind_of(row)) for row in rows))
    ratios = sorted({row["prune_ratio"] for row in rows})
    beside = min(0.12, 0.5 / len(series)) if series else 0  # so that bars stay readable
    if whole is not None:
        for label, found in _whole(whole, marked).items():
            ax.axhline(100 * np.mean(found), color="0.6", linestyle=":", label=label)
    for k, (method, kind) in enumerate(series):
        style = _style_of(method, marked[kind])
        at: list[float] = []
        mean: list[float] = []
        spread: list[float] = []
        for place, ratio in enumerate(ratios):
            found = [
                100 * row["accuracy"]
                for row in rows
                if (row["method"], kind_of(row), row["prune_ratio"]) == (method, kind, ratio)
            ]
            x = place + beside * (k - (len(series) - 1) / 2)
            if found:
                ax.scatter(
                    [x] * len(found), found, s=12, color=style["color"], alpha=0.45, linewidths=0
                )
                # one seed has no spread, which is not a spread of 0
                bar = np.std(found, ddof=1) if len(found) > 1 else np.nan
                at, mean, spread = [*at, x], [*mean, np.mean(found)], [*spread, bar]
        ax.errorbar(
            at,
            mean,
            spread,
            label=method + marked[kind],
            capsize=3,
            markersize=6,
            linewidth=1.5,
            **style,
        )
    ax.set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    ax.set(xlabel="pruned", ylabel="test accuracy (%)")
    # or it would cover the points
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(series) > MANY else {}
    ax.legend(frameon=False, title=_meaning(marked), **beside)
    return ax


def _check_rows(rows) -> None:
    """TypeError for a DataFrame: its methods are not yet told apart by their options."""
    if hasattr(rows, "columns"):
        raise TypeError(
            "a figure needs rows as dicts; got a table: pass dpkit.results.labelled(table), which "
            "leaves out the failed rows and names the variants of a method"
        )


def _whole(whole: Sequence, marked: dict[str, str]) -> dict:
    """{label: accuracies on the whole set}; a label for each kind of processor that is told."""
    found: dict[str, list] = {}
    for one in whole:
        told = isinstance(one, dict)
        found.setdefault("nothing pruned" + (marked[kind_of(one)] if told else ""), []).append(
            one["accuracy"] if told else one
        )
    return found


def _style_of(method: str, mark: str) -> dict:
    return method_style(method) | ({"alpha": 0.5} if mark else {})


def _meaning(marked: dict[str, str]) -> str | None:
    """What the marks in a legend mean, for its title."""
    return (
        "\n".join(f"{mark.strip()} {kind_text(kind)}" for kind, mark in marked.items() if mark)
        or None
    )


def accuracy_against_epochs(rows: Sequence[Mapping], *, ax: Axes) -> Axes:
    """Mean test accuracy against the epochs that a method was watched for, with one dot a seed and
    the spread as a bar.

    rows: dicts with method, prune_ratio, record_epochs, accuracy, keep and num_samples (as
          run_trial returns). Those that were not watched (record_epochs 0) are horizontal lines. An
          open mark: less was pruned than was asked. Rows of several kinds of processor are several
          lines, as in accuracy_against_ratio.
    """
    _check_rows(rows)
    marked = marks(rows)
    ratios = sorted({row["prune_ratio"] for row in rows})
    lengths = sorted({row["record_epochs"] for row in rows} - {0})
    for method, ratio, kind in dict.fromkeys(
        (row["method"], row["prune_ratio"], kind_of(row)) for row in rows
    ):
        style = _style_of(method, marked[kind]) | {
            "linestyle": ["-", "--", "-.", ":"][ratios.index(ratio) % 4],
            "marker": "o",
        }
        at: dict[int, list] = {}
        for row in rows:
            if (row["method"], row["prune_ratio"], kind_of(row)) == (method, ratio, kind):
                at.setdefault(row["record_epochs"], []).append(row)
        values = {
            epochs: [100 * row["accuracy"] for row in some] for epochs, some in sorted(at.items())
        }
        name = f"{method}, {100 * ratio:g} %{marked[kind]}"
        if 0 in values:
            ax.axhline(
                np.mean(values.pop(0)),
                label=name,
                **{part: style[part] for part in ("color", "linestyle", "alpha") if part in style},
            )
        elif values:
            ax.plot(
                list(values),
                [np.mean(found) for found in values.values()],
                label=name,
                linewidth=1.5,
                **style,
            )
        for epochs, found in values.items():
            short = any(
                row["keep"] > keep_count(int(row["num_samples"]), ratio) for row in at[epochs]
            )
            ax.scatter(
                [epochs] * len(found), found, s=12, color=style["color"], alpha=0.45, linewidths=0
            )
            ax.errorbar(
                epochs,
                np.mean(found),
                np.std(found, ddof=1) if len(found) > 1 else np.nan,
                capsize=3,
                markersize=7,
                markerfacecolor="white" if short else style["color"],
                **style,
            )
    ax.set(xscale="log", xlabel="epochs watched", ylabel="test accuracy (%)")
    ax.set_xticks(lengths, [str(epochs) for epochs in lengths])
    ax.minorticks_off()
    ax.legend(frameon=False, title=_meaning(marked))
    return ax


def differences(lines: Any, *, ax: Axes, order: Sequence[str] | None = None) -> Axes:
    """A line per method: its mean difference to the reference with the 95 % interval, in points,
    the largest on top.

    lines: of results.summary, one prune ratio: with method, difference, low, high (NaN: no
           interval), pairs and holm.
    order: methods from the top down, so that panels of several ratios share their lines.
    Pale, with an open point: what does not survive Holm's correction, or, in lines that have no
    holm, whose interval holds 0. A method that has differences on several kinds of processor has
    them one below the other.
    """
    lines = sorted(
        (line for line in lines.itertuples() if line.pairs), key=lambda line: -line.difference
    )
    order = list(order) if order is not None else list(dict.fromkeys(line.method for line in lines))
    ax.axvline(0, color="0.6", linestyle=":", linewidth=1.2)
    for line in lines:
        if line.method not in order:
            continue
        alike = [other for other in lines if other.method == line.method]
        place = order.index(line.method) + 0.25 * (alike.index(line) - (len(alike) - 1) / 2)
        style = method_style(line.method)
        unsure = not (line.holm if hasattr(line, "holm") else line.low > 0 or line.high < 0)
        if line.low == line.low:  # not NaN
            ax.plot(
                [line.low, line.high],
                [place, place],
                color=style["color"],
                alpha=0.35 if unsure else 1,
                linewidth=2,
            )
        ax.plot(
            line.difference,
            place,
            color=style["color"],
            marker=style["marker"],
            markersize=7,
            markerfacecolor="white" if unsure else style["color"],
        )
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel="difference in points", ylim=(len(order) - 0.4, -0.6))
    return ax


def lead_against_accuracy(lines: Any, whole: Mapping, *, ax: Axes) -> Axes:
    """A method's difference to the reference, with its interval, against what the same learner
    reaches on everything.

    lines: of results.summary, several networks or recipes, each named by its column model: with
           method, prune_ratio, difference, low and high (NaN: no interval).
    whole: {model: accuracy in percent with nothing pruned}; lines of others are left out. A shape
           is a prune ratio, a colour a method.
    """
    ratios, methods = (list(dict.fromkeys(lines[name])) for name in ("prune_ratio", "method"))
    for (method, ratio), some in lines[lines.model.isin(list(whole.keys()))].groupby(
        ["method", "prune_ratio"]
    ):
        place = ratios.index(ratio) * len(methods) + methods.index(method)
        # side by side, not one over another
        at = [whole[model] + 0.02 * place for model in some.model]
        bars = [some.difference - some.low, some.high - some.difference]
        ax.errorbar(
            at,
            some.difference,
            bars,
            fmt="so^v"[ratios.index(ratio) % 4],
            color=f"C{methods.index(method)}",
            capsize=2,
            markersize=5,
            label=f"{100 * ratio:g} %, {method}",
        )
    ax.axhline(0, color="0.6", linestyle=":")
    ax.set(
        xlabel="test accuracy of the same learner, trained on everything (%)",
        ylabel="difference (points)",
    )
    ax.legend(frameon=False, fontsize=8)
    return ax


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
    _check_rows(rows)
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
            style |= _style_of(method, mark)
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
        title=_meaning(marked),
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
