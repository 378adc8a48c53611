"""Pictures of records: every function takes `ax`, draws on it and returns it.

One colour means one thing everywhere: blue is kept, pale orange is pruned, dark is hard. All pairs stay apart for
colour-blind readers (Okabe and Ito's palette, and viridis).
"""

import numpy as np

from dpkit.records import Selection, TrainingDynamics

KEPT, PRUNED = "#0072B2", "#F0C48A"
HARDNESS = "viridis"  # low mean probability, that is hard, is its dark end
_METHODS = {"random": ("#7F7F7F", "o"), "dual": ("#D55E00", "s"), "dual+beta": ("#0072B2", "D"), "dyn_unc": ("#E69F00", "^"),
            "forgetting": ("#CC79A7", "v"), "aum": ("#009E73", "P"), "el2n": ("#56B4E9", "X"),
            # the rest, in Tol's palettes: colours that colour-blind readers may confuse differ in marker and in the line
            "tdds": ("#332288", "p"), "grand": ("#117733", "h", "-."), "entropy": ("#882255", "d", ":"),
            "least_confidence": ("#999933", (4, 1, 0), ":"), "margin": ("#44AA99", "x", ":"), "moderate": ("#664400", "8", ":"),
            "ccs": ("#DDCC77", "<", "-."), "d2": ("#AA4499", ">", "-."),
            **{name: (colour, marker, (0, (5, 1, 1, 1, 1, 1))) for name, colour, marker in
               [("herding", "#661100", "+"), ("nearest_to_centre", "#99AA00", "1"), ("kcenter", "#000099", "2")]}}


def method_style(method: str) -> dict:
    """The colour, marker and line that stand for a method in every figure; a variant ("dual+beta, c_d=5.5") is open and dashed.

    Lines: scores of a record are whole, of the final snapshot dotted; a line is named only where it is not a whole one.
    """
    name, comma, _ = method.partition(",")
    colour, marker, *line = _METHODS.get(name, ("black", "."))
    style = {"color": colour, "marker": marker} | ({"linestyle": line[0]} if line else {})
    return style | ({"markerfacecolor": "white", "linestyle": "--"} if comma else {})


# ---- the moon: uncertainty against difficulty ------------------------------------------------------------------


def moon_plot(dynamics: TrainingDynamics, *, ax, selection: Selection | None = None, values=None, label="score", rows=()):
    """Every sample as a dot: x = standard deviation, y = mean of its target_prob over the recorded epochs.

    selection: colours kept and pruned samples.   values: (n,) colours by these instead, named `label`.
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
        drawn = ax.scatter(x[order], y[order], c=(y if values is None else np.asarray(values))[order],
                           cmap=HARDNESS if values is None else "cividis", **dots)
        if values is not None:
            ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8)
    for k, row in enumerate(rows):
        ax.scatter(x[row], y[row], s=90, facecolors="none", edgecolors="black", linewidths=1.2)
        beside = (8, 5) if k % 2 == 0 else (8, -12)  # neighbours' numbers go above and below
        ax.annotate(str(row), (x[row], y[row]), xytext=beside, textcoords="offset points")
    # half the epochs at 0 and half at 1 is the largest deviation: 0.51 for T = 30, more for very short records
    ax.set(xlim=(0, max(0.58, 1.05 * x.max(initial=0))), ylim=(-0.02, 1.02))
    ax.set(xlabel="uncertainty: std of target_prob", ylabel="ease: mean of target_prob")
    return ax


def moon_evolution(dynamics: TrainingDynamics, epochs, *, axes, rows=()):
    """A moon plot after each of `epochs`, side by side on `axes`: samples start low, swing right, and end high and left."""
    for ax, epoch in zip(axes, epochs, strict=True):
        moon_plot(dynamics.first(epoch), ax=ax, rows=rows)
        ax.set_title(f"after {epoch} epochs")
        ax.label_outer()
    return axes


def trajectories(dynamics: TrainingDynamics, rows, *, ax, names=None, window=None):
    """target_prob of single samples over the epochs, the hardest darkest; with `window`, a bar shows its width."""
    epochs = np.arange(1, dynamics.num_epochs + 1)
    hardest_first = np.argsort(np.argsort(dynamics.mean_prob()[list(rows)]))
    colours = _colourmap(HARDNESS)(0.85 * hardest_first / max(len(rows) - 1, 1))
    for k, row in enumerate(rows):
        name = f"sample {row}" if names is None else names[k]
        ax.plot(epochs, dynamics.target_prob[row], color=colours[k], marker=".", label=name)
    if window:
        ax.plot([1, window], [1.06, 1.06], color="black", linewidth=3, solid_capstyle="butt", clip_on=False)
        ax.text(window + 0.4, 1.06, f"one window (J = {window})", va="center")
    ax.set(xlabel="epoch", ylabel="target_prob", ylim=(-0.03, 1.12 if window else 1.03), xlim=(0.5, dynamics.num_epochs + 0.5))
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=min(len(rows), 3))  # off the curves
    return ax


# ---- selection -------------------------------------------------------------------------------------------------


def beta_densities(parameters: dict, *, ax):
    """The Beta density for each prune ratio. parameters: {prune_ratio: (alpha, beta)}; darker is a smaller ratio."""
    from scipy.stats import beta as density

    p = np.linspace(0.001, 0.999, 400)
    shades = _colourmap(HARDNESS)(np.linspace(0.05, 0.85, max(len(parameters), 1)))
    for colour, (ratio, (a, b)) in zip(shades, sorted(parameters.items()), strict=True):
        ax.plot(p, density.pdf(p, a, b), color=colour, label=f"r = {ratio:g}  (α {a:.1f}, β {b:.1f})")
    inner = [density.pdf(p[20:-20], a, b).max() for a, b in parameters.values()]  # a density may be infinite at an end
    ax.set(xlabel="mean of target_prob  (hard → easy)", ylabel="density", xlim=(0, 1), ylim=(0, 1.4 * max(inner, default=1)))
    ax.legend(frameon=False)
    return ax


def kept_by_ease(mean_prob, selections: dict, *, ax, bins=20):
    """How many samples of each ease (mean_prob (n,)) a selection keeps. selections: {method: Selection}."""
    edges = np.linspace(0, 1, bins + 1)
    ax.hist(mean_prob, edges, color="0.9", label=f"the whole set ({len(mean_prob):,})")
    for method, selection in selections.items():
        counts, _ = np.histogram(mean_prob[selection.kept], edges)
        style = method_style(method)
        ax.stairs(counts, edges, color=style["color"], linestyle=style.get("linestyle", "-"), linewidth=2,
                  label=f"{method} ({len(selection.kept):,})")
    ax.set(xlabel="mean of target_prob  (hard → easy)", ylabel="samples", xlim=(0, 1), yscale="symlog")
    ax.set_ylim(0, None)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=min(len(selections) + 1, 3))
    return ax


def plane(points, selection: Selection, *, ax, classes=None):
    """Samples as dots in a plane, such as that of two principal axes of their features: the kept ones over the pruned.

    points: (n, 2), both axes in one unit.   classes: (n,), a marker for each class, drawn again from the first after eight.
    """
    points, kept = np.asarray(points), selection.mask()
    own = np.zeros(len(points), int) if classes is None else np.unique(classes, return_inverse=True)[1]
    size = float(np.clip(2_500 / max(len(points), 1), 2, 14))
    for chosen, colour, larger, name in ((~kept, PRUNED, 1, "pruned"), (kept, KEPT, 1.6, "kept")):
        for c in np.unique(own):
            ax.scatter(*points[chosen & (own == c)].T, s=larger * size, marker="o^sDvPXd"[c % 8], color=colour, linewidths=0,
                       rasterized=True, label=f"{name} ({chosen.sum():,})" if c == 0 else None)
    ax.set(aspect="equal", xlabel="first axis", ylabel="second axis")
    return ax


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
                at, mean, spread = [*at, x], [*mean, np.mean(found)], [*spread, np.std(found, ddof=1) if len(found) > 1 else 0]
        ax.errorbar(at, mean, spread, label=method, capsize=3, markersize=6, linewidth=1.5, **style)
    ax.set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    ax.set(xlabel="pruned", ylabel="test accuracy (%)")
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


# ---- two points ------------------------------------------------------------------------------------------------


def two_points(points, w, *, ax):
    """Points of label +1 under a linear model: dark where its probability sigma(<w, x>) is low, a line where it is 1/2.

    points: (k, 2).   w: (2,); all zeros, as before the first step, has no boundary.
    """
    points, w = np.asarray(points, float), np.asarray(w, float)
    reach = 1.25 * np.abs(points).max()
    grid = np.linspace(-reach / 2, reach, 200)
    z = np.clip(w[0] * grid + w[1] * grid[:, None], -50, 50)
    ax.pcolormesh(grid, grid, 1 / (1 + np.exp(-z)), cmap=HARDNESS, vmin=0, vmax=1, alpha=0.55, linewidth=0, rasterized=True)
    if w.any():  # before the first step there is no boundary
        ax.axline((0, 0), (-w[1], w[0]), color="black", linewidth=1.5)
    ax.scatter(*points.T, s=60, color="white", edgecolors="black", zorder=3)
    for k, point in enumerate(points):
        ax.annotate(f"$x_{{{k + 1}}}$", point, xytext=(7, 4), textcoords="offset points", fontsize=11)
    ax.plot(0, 0, "k+")
    ax.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
    ax.set(xlim=(-reach / 2, reach), ylim=(-reach / 2, reach))
    return ax


def crossings(ratios: dict, *, ax, times=None, names=None):
    """How many times the second point's score the first one has, by window; above 1 the first is ahead.

    ratios: {method: (windows,)}.   times: {method: first window above 1, or None}, marked and named in the legend.
    names: {method: text}.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    times, names, lowest = times or {}, names or {}, min(map(np.min, ratios.values()))
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
    ax.set(xlabel="first step of the window", ylabel="$x_1$'s score / $x_2$'s", yscale="log", xlim=(0, None))
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}", minor_formatter=NullFormatter())
    ax.legend(frameon=False, loc="upper left")
    return ax


# ---- pictures --------------------------------------------------------------------------------------------------


def image_grid(pictures, *, ax, columns=10, title=None, names=None):
    """Small pictures side by side. pictures: (k, H, W) or (k, H, W, C) uint8; names: a line of text under each."""
    pictures = np.asarray(pictures)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    count, height, width, channels = pictures.shape
    columns = max(min(columns, count), 1)
    lines = -(-count // columns)
    gap, below = max(1, width // 12), (round(height * 0.42) if names is not None else 0)
    fontsize = 6 if columns <= 10 else 5  # the axes may still be resized: their size now says nothing
    sheet = np.full((lines * (height + gap + below), columns * (width + gap), channels), 255, np.uint8)
    for k in range(count):
        top, left = (k // columns) * (height + gap + below), (k % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = pictures[k]
        if names is not None:
            ax.text(left + width / 2, top + height + gap, names[k], ha="center", va="top", fontsize=fontsize)
    ax.imshow(sheet[..., 0] if channels == 1 else sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, loc="left")
    return ax


def _colourmap(name):
    import matplotlib

    return matplotlib.colormaps[name]
