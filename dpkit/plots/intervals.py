"""Methods beside a reference: differences of accuracy with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dpkit.plots._style import method_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
