"""Which samples a selection keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dpkit.plots._style import HARDNESS, KEPT, PRUNED, colourmap, method_style
from dpkit.records import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def beta_densities(parameters: dict, *, ax: Axes) -> Axes:
    """The Beta densities of {prune_ratio: (alpha, beta)}; darker is a smaller ratio."""
    from scipy.stats import beta as density

    p = np.linspace(0.001, 0.999, 400)
    shades = colourmap(HARDNESS)(np.linspace(0.05, 0.85, max(len(parameters), 1)))
    for colour, (ratio, (a, b)) in zip(shades, sorted(parameters.items()), strict=True):
        ax.plot(
            p, density.pdf(p, a, b), color=colour, label=f"r = {ratio:g}  (α {a:.1f}, β {b:.1f})"
        )
    # a density may be infinite at an end
    inner = [density.pdf(p[20:-20], a, b).max() for a, b in parameters.values()]
    ax.set(
        xlabel="mean of target_prob  (hard → easy)",
        ylabel="density",
        xlim=(0, 1),
        ylim=(0, 1.4 * max(inner, default=1)),
    )
    ax.legend(frameon=False)
    return ax


def kept_by_ease(mean_prob: np.ndarray, selections: dict, *, ax: Axes, bins: int = 20) -> Axes:
    """How many samples of each ease (mean_prob (n,)) selections ({method: Selection}) keep.

    A variant of a method has its colour and is dashed; a second one is dotted.
    """
    edges = np.linspace(0, 1, bins + 1)
    drawn = set()
    ax.hist(mean_prob, edges, color="0.9", label=f"the whole set ({len(mean_prob):,})")
    for method, selection in selections.items():
        counts, _ = np.histogram(mean_prob[selection.kept], edges)
        style = method_style(method)
        line = style["color"], style.get("linestyle", "-")
        ax.stairs(
            counts,
            edges,
            color=line[0],
            linestyle=":" if line in drawn else line[1],
            linewidth=2,
            label=f"{method} ({len(selection.kept):,})",
        )
        drawn.add(line)
    ax.set(
        xlabel="mean of target_prob  (hard → easy)", ylabel="samples", xlim=(0, 1), yscale="symlog"
    )
    ax.set_ylim(0, None)
    ax.legend(
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.15),
        ncols=min(len(selections) + 1, 3),
    )
    return ax


def plane(
    points: np.ndarray, selection: Selection, *, ax: Axes, classes: ArrayLike | None = None
) -> Axes:
    """Samples as dots in a plane, such as that of two principal axes of their features: the kept
    ones over the pruned.

    points: (n, 2), both axes in one unit.
    classes: (n,), a marker for each class, drawn again from the first after eight.
    """
    points, kept = np.asarray(points), selection.mask()
    own = (
        np.zeros(len(points), int)
        if classes is None
        else np.unique(classes, return_inverse=True)[1]
    )
    size = float(np.clip(2_500 / max(len(points), 1), 2, 14))
    for chosen, colour, larger, name in ((~kept, PRUNED, 1, "pruned"), (kept, KEPT, 1.6, "kept")):
        for c in np.unique(own):
            ax.scatter(
                *points[chosen & (own == c)].T,
                s=larger * size,
                marker="o^sDvPXd"[c % 8],
                color=colour,
                linewidths=0,
                rasterized=True,
                label=f"{name} ({chosen.sum():,})" if c == 0 else None,
            )
    ax.set(aspect="equal", xlabel="first axis", ylabel="second axis")
    return ax


def pruned_by_class(
    selections: dict, labels: ArrayLike, *, ax: Axes, class_names: Sequence[str] | None = None
) -> Axes:
    """A heat map of the share of each class that is pruned: a line per selection, classes in the
    order of the last line.

    selections: {name: Selection, or a list of them, say of several seeds, whose mean is drawn}.
    labels:     (n,).
    """
    labels = np.asarray(labels)
    sizes = np.bincount(labels)
    gone = {}
    for name, some in selections.items():
        some = [some] if isinstance(some, Selection) else some
        counts = [np.bincount(labels[one.pruned], minlength=len(sizes)) for one in some]
        gone[name] = np.mean(counts, axis=0) / np.maximum(sizes, 1)
    table = 100 * np.stack([*gone.values()])
    order = np.argsort(table[-1], kind="stable")
    drawn = ax.imshow(table[:, order], cmap="Oranges", vmin=0, vmax=100, aspect="auto")
    ax.figure.colorbar(drawn, ax=ax, label="pruned (%)")
    names = [str(c) if class_names is None else str(class_names[c])[:12] for c in order]
    if len(names) <= 20:  # more cannot be read
        ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        for (y, x), value in np.ndenumerate(table[:, order]):
            ax.text(
                x,
                y,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 65 else "black",
            )
    else:
        ax.set(xticks=[], xlabel=f"{len(names)} classes")
    ax.set_yticks(range(len(gone)), list(gone))
    return ax
