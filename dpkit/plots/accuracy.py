"""What pruning costs: accuracy against the prune ratio, against the work, and against random."""

import numpy as np

from dpkit.plots._style import method_style
from dpkit.records import keep_count


def accuracy_against_ratio(rows, *, ax, whole=None):
    """Mean test accuracy of each method at each prune ratio, with one dot a seed and the standard deviation as a bar.

    rows: dicts with method, prune_ratio, accuracy (as run_trial returns).   whole: accuracies on the whole set.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    ratios = sorted({row["prune_ratio"] for row in rows})
    beside = min(0.12, 0.5 / len(methods)) if methods else 0  # so that bars stay readable
    if whole is not None:
        ax.axhline(100 * np.mean(whole), color="0.6", linestyle=":", label="nothing pruned")
    for k, method in enumerate(methods):
        style = method_style(method)
        at, mean, spread = [], [], []
        for place, ratio in enumerate(ratios):
            found = [100 * row["accuracy"] for row in rows if row["method"] == method and row["prune_ratio"] == ratio]
            x = place + beside * (k - (len(methods) - 1) / 2)
            if found:
                ax.scatter([x] * len(found), found, s=12, color=style["color"], alpha=0.45, linewidths=0)
                bar = np.std(found, ddof=1) if len(found) > 1 else np.nan  # one seed has no spread, which is not a spread of 0
                at, mean, spread = [*at, x], [*mean, np.mean(found)], [*spread, bar]
        ax.errorbar(at, mean, spread, label=method, capsize=3, markersize=6, linewidth=1.5, **style)
    ax.set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    ax.set(xlabel="pruned", ylabel="test accuracy (%)")
    ax.legend(frameon=False)
    return ax


def accuracy_against_epochs(rows, *, ax):
    """Mean test accuracy against the epochs that a method was watched for, with one dot a seed and the spread as a bar.

    rows: dicts with method, prune_ratio, record_epochs, accuracy, keep and num_samples (as run_trial returns). Those that
    were not watched (record_epochs 0) are horizontal lines. An open mark: less was pruned than was asked.
    """
    ratios = sorted({row["prune_ratio"] for row in rows})
    lengths = sorted({row["record_epochs"] for row in rows} - {0})
    for method, ratio in dict.fromkeys((row["method"], row["prune_ratio"]) for row in rows):
        style = method_style(method) | {"linestyle": ["-", "--", "-.", ":"][ratios.index(ratio) % 4], "marker": "o"}
        at = {}
        for row in rows:
            if (row["method"], row["prune_ratio"]) == (method, ratio):
                at.setdefault(row["record_epochs"], []).append(row)
        values = {epochs: [100 * row["accuracy"] for row in some] for epochs, some in sorted(at.items())}
        name = f"{method}, {100 * ratio:g} %"
        if 0 in values:
            ax.axhline(np.mean(values.pop(0)), color=style["color"], linestyle=style["linestyle"], label=name)
        elif values:
            ax.plot(list(values), [np.mean(found) for found in values.values()], label=name, linewidth=1.5, **style)
        for epochs, found in values.items():
            short = any(row["keep"] > keep_count(int(row["num_samples"]), ratio) for row in at[epochs])
            ax.scatter([epochs] * len(found), found, s=12, color=style["color"], alpha=0.45, linewidths=0)
            ax.errorbar(epochs, np.mean(found), np.std(found, ddof=1) if len(found) > 1 else np.nan, capsize=3, markersize=7,
                        markerfacecolor="white" if short else style["color"], **style)
    ax.set(xscale="log", xlabel="epochs watched", ylabel="test accuracy (%)")
    ax.set_xticks(lengths, [str(epochs) for epochs in lengths])
    ax.minorticks_off()
    ax.legend(frameon=False)
    return ax


def differences(lines, *, ax, order=None):
    """A line per method: its mean difference to the reference with the 95 % interval, in points, the largest on top.

    lines: of results.summary, one prune ratio: with method, difference, low, high (NaN: a single pair) and pairs.
    order: methods from the top down, so that panels of several ratios share their lines.   An interval that holds 0 is pale.
    """
    lines = {line.method: line for line in lines.itertuples() if line.pairs}
    order = list(order) if order is not None else sorted(lines, key=lambda method: -lines[method].difference)
    ax.axvline(0, color="0.6", linestyle=":", linewidth=1.2)
    for place, method in enumerate(order):
        line = lines.get(method)
        if line is None:
            continue
        style = method_style(method)
        unsure = not (line.low > 0 or line.high < 0)
        if line.low == line.low:  # not NaN
            ax.plot([line.low, line.high], [place, place], color=style["color"], alpha=0.35 if unsure else 1, linewidth=2)
        ax.plot(line.difference, place, color=style["color"], marker=style["marker"], markersize=7,
                markerfacecolor="white" if unsure else style["color"])
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel="difference in points", ylim=(len(order) - 0.4, -0.6))
    return ax


def accuracy_against_cost(rows, *, ax, unit="samples"):
    """Mean test accuracy of each method against what it cost to get there: recording, scoring, selecting and retraining.

    rows: dicts with method, prune_ratio, accuracy and the costs of the four stages (as run_trial returns). Those of ratio 0
    are the star and its vertical line: training on everything.   unit: "samples", or "seconds" of the clock.
    One line per method through its ratios; the number at a point is the percentage pruned, the bar the standard deviation
    over the seeds. Methods of equal cost stand side by side, a few points of print apart.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
    from matplotlib.transforms import offset_copy

    units = {"samples": "images trained on while recording and retraining", "seconds": "seconds, all four stages"}
    if unit not in units:
        raise ValueError(f"unit must be {' or '.join(units)}; got {unit!r}")
    points = {}  # (method, ratio): (cost, accuracy, spread); the whole set has the method ""
    for row in rows:
        at = row["method"] if row["prune_ratio"] else "", row["prune_ratio"]
        cost = sum(row[f"{stage}_{unit}"] for stage in ("record", "score", "select", "retrain"))
        points.setdefault(at, []).append((cost, 100 * row["accuracy"]))
    points = {at: (*np.mean(found, axis=0), np.std(found, axis=0, ddof=1)[1] if len(found) > 1 else 0.0)
              for at, found in sorted(points.items(), key=lambda point: point[0][1])}
    costs, accuracies, spreads = np.transpose([*points.values()])
    low, high = (accuracies - spreads).min(), (accuracies + spreads).max()
    room = max(1.0, 0.08 * (high - low))
    ax.set(xscale="log", xlim=(costs.min() / 1.4, costs.max() * 1.4), ylim=(low - room, high + room))
    names = list(dict.fromkeys(method for method, _ in points))  # the whole set first, if it is there
    usual = {name: np.log([cost for (method, _), (cost, _, _) in points.items() if method == name]).mean() for name in names}
    labels = []
    for name in names:
        equal = [other for other in names if abs(usual[other] - usual[name]) < 0.1]
        place = equal.index(name) - (0 if equal[0] == "" else (len(equal) - 1) / 2)
        beside = offset_copy(ax.transData, ax.figure, x=9 * place, units="points")
        line = {ratio: point for (method, ratio), point in points.items() if method == name}
        style = method_style(name) if name else {"color": "black", "marker": "*", "markersize": 11, "linestyle": "none"}
        ax.errorbar(*zip(*line.values()), **{"label": name or "nothing pruned", "capsize": 2, "markersize": 5, "linewidth": 1,
                                             "transform": beside} | style)
        labels += [(f"{100 * ratio:g}" if ratio else "", point, beside, style["color"]) for ratio, point in line.items()]
    if ("", 0) in points:
        ax.axvline(points["", 0][0], color="0.6", linestyle=":", zorder=0)
    _write_beside(labels, ax=ax)
    plain = EngFormatter() if unit == "samples" else "{x:,g}"  # 2 M images, 1,000 seconds
    ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=plain, minor_formatter=NullFormatter())
    ax.set(xlabel=units[unit], ylabel="test accuracy (%)")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    return ax


def _write_beside(labels, *, ax, size=7):
    """Write each (text, (x, y, half the bar), transform, colour) as near as can be without covering a point or another text."""
    to_print = 72 / ax.figure.dpi  # pixels -> points of print
    ends = [transform.transform([(x, y), (x, y + bar)]) * to_print for _, (x, y, bar), transform, _ in labels]
    taken = [(*middle, 4, max(4, top[1] - middle[1])) for middle, top in ends]  # middle, half width, half height
    spots = sorted(((right, up) for right in range(-60, 61, 3) for up in range(-60, 61, 3)), key=lambda spot: np.hypot(*spot))
    for (text, (x, y, _), transform, colour), (middle, _) in zip(labels, ends, strict=True):
        if not text:
            continue
        wide, high = 0.33 * size * len(text), 0.6 * size
        free = (spot for spot in spots if all(abs(middle[0] + spot[0] - a) > wide + w or abs(middle[1] + spot[1] - b) > high + h
                                              for a, b, w, h in taken))
        spot = next(free, spots[0])
        taken.append((*(middle + spot), wide, high))
        leading = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        ax.annotate(text, (x, y), spot, xycoords=transform, textcoords="offset points", ha="center", va="center", color=colour,
                    fontsize=size, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
                    arrowprops=leading if np.hypot(*spot) > 14 else None)
