"""What pruning costs: accuracy against the prune ratio, and against the epochs recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dpkit.plots._style import aside, check_rows, meaning_of_marks, ratio_axis, style_of
from dpkit.records import keep_count
from dpkit.storage.processors import kind_of, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MANY = 8  # lines; the legend of more stands beside the figure


def accuracy_against_ratio(
    rows: Sequence[Mapping], *, ax: Axes, whole: Sequence | None = None
) -> Axes:
    """Mean test accuracy of each method at each prune ratio, with one dot a seed and the standard
    deviation as a bar. The axis of ratios is to scale; methods stand a few points of print apart.

    rows: dicts with method, prune_ratio, accuracy (as run_trial returns).
    whole: accuracies on the whole set, or its rows.
    Rows of several kinds of processor are several lines, those of all but the commonest kind marked
    and pale.
    """
    check_rows(rows)
    marked = marks(
        [*rows, *(row for row in ([] if whole is None else whole) if isinstance(row, dict))]
    )
    series = list(dict.fromkeys((row["method"], kind_of(row)) for row in rows))
    ratios = sorted({row["prune_ratio"] for row in rows})
    if whole is not None:
        for label, found in _whole(whole, marked).items():
            ax.axhline(100 * np.mean(found), color="0.6", linestyle=":", label=label)
    for k, (method, kind) in enumerate(series):
        style = style_of(method, marked[kind]) | {"transform": aside(k, len(series), ax=ax)}
        at: list[float] = []
        mean: list[float] = []
        spread: list[float] = []
        for ratio in ratios:
            found = [
                100 * row["accuracy"]
                for row in rows
                if (row["method"], kind_of(row), row["prune_ratio"]) == (method, kind, ratio)
            ]
            if found:
                dots = {"color": style["color"], "transform": style["transform"]}
                ax.scatter([ratio] * len(found), found, s=12, alpha=0.45, linewidths=0, **dots)
                # one seed has no spread, which is not a spread of 0
                bar = np.std(found, ddof=1) if len(found) > 1 else np.nan
                at, mean, spread = [*at, ratio], [*mean, np.mean(found)], [*spread, bar]
        # what is drawn beside its data does not count for the limits
        for ends in (np.nan_to_num(spread), -np.nan_to_num(spread)):
            ax.update_datalim(np.column_stack([at, mean + ends]))
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
    if ratios:
        ratio_axis(ratios, ax=ax)
    ax.autoscale_view(scalex=False)
    ax.set(ylabel="test accuracy (%)")
    # or it would cover the points
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(series) > MANY else {}
    ax.legend(frameon=False, title=meaning_of_marks(marked), **beside)
    return ax


def _whole(whole: Sequence, marked: dict[str, str]) -> dict:
    """{label: accuracies on the whole set}; a label for each kind of processor that is told."""
    found: dict[str, list] = {}
    for one in whole:
        told = isinstance(one, dict)
        found.setdefault("nothing pruned" + (marked[kind_of(one)] if told else ""), []).append(
            one["accuracy"] if told else one
        )
    return found


def accuracy_against_epochs(rows: Sequence[Mapping], *, ax: Axes) -> Axes:
    """Mean test accuracy against the epochs that a method was watched for, with one dot a seed and
    the spread as a bar.

    rows: dicts with method, prune_ratio, record_epochs, accuracy, keep and num_samples (as
          run_trial returns). Those that were not watched (record_epochs 0) are horizontal lines. An
          open mark: less was pruned than was asked. Rows of several kinds of processor are several
          lines, as in accuracy_against_ratio.
    """
    check_rows(rows)
    marked = marks(rows)
    ratios = sorted({row["prune_ratio"] for row in rows})
    lengths = sorted({row["record_epochs"] for row in rows} - {0})
    for method, ratio, kind in dict.fromkeys(
        (row["method"], row["prune_ratio"], kind_of(row)) for row in rows
    ):
        style = style_of(method, marked[kind]) | {
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
        name = method + f", {100 * ratio:g} %" * (len(ratios) > 1) + marked[kind]
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
                **(style | ({"markerfacecolor": "white"} if short else {})),
            )
    only = f", {100 * ratios[0]:g} % pruned" if len(ratios) == 1 else ""  # else the lines say it
    ax.set(xscale="log", xlabel="epochs watched", ylabel=f"test accuracy (%){only}")
    ax.set_xticks(lengths, [str(epochs) for epochs in lengths])
    ax.minorticks_off()
    ax.legend(frameon=False, title=meaning_of_marks(marked))
    return ax
