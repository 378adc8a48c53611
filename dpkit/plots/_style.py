"""One colour means one thing everywhere, and all pairs stay apart for colour-blind readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dpkit.storage.processors import kind_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.transforms import Transform


KEPT, PRUNED = "#0066FF", "#F0C48A"  # no method has these
HARDNESS = "viridis"  # low mean probability, that is hard, is its dark end
_METHODS = {
    "random": ("#7F7F7F", "o"),
    "dual": ("#D55E00", "s"),
    "dual+beta": ("#0072B2", "D"),
    "dyn_unc": ("#E69F00", "^"),
    "forgetting": ("#CC79A7", "v"),
    "aum": ("#009E73", "P"),
    "el2n": ("#56B4E9", "X"),
    # the rest, in Tol's palettes: colours that colour-blind readers may confuse differ in marker
    # and in the line
    "tdds": ("#332288", "p"),
    "grand": ("#117733", "h", "-."),
    "entropy": ("#882255", "d", ":"),
    "least_confidence": ("#999933", (4, 1, 0), ":"),
    "margin": ("#44AA99", "x", ":"),
    "moderate": ("#664400", "8", ":"),
    "eeprune": ("#EE3377", (6, 2, 0), ":"),
    "ccs": ("#DDCC77", "<", "-."),
    "d2": ("#AA4499", ">", "-."),
    **{
        name: (colour, marker, (0, (5, 1, 1, 1, 1, 1)))
        for name, colour, marker in [
            ("herding", "#661100", "+"),
            ("nearest_to_centre", "#99AA00", "1"),
            ("kcenter", "#000099", "2"),
        ]
    },
    **{
        name: (colour, marker, (0, (7, 1, 2, 1)))
        for name, colour, marker in [
            ("influence", "#BB0011", (3, 1, 0)),
            ("influence_norm", "#FF9988", (8, 1, 0)),
        ]
    },
}


def method_style(method: str) -> dict:
    """The colour, marker and line that stand for a method in every figure; a variant ("dual+beta,
    c_d=5.5") is open and dashed.

    Lines: scores of a record are whole, of the final snapshot dotted; a line is named only where it
           is not a whole one.
    """
    name, comma, _ = method.partition(",")
    colour, marker, *line = _METHODS.get(name, ("black", "."))
    style = {"color": colour, "marker": marker} | ({"linestyle": line[0]} if line else {})
    return style | ({"markerfacecolor": "white", "linestyle": "--"} if comma else {})


def colourmap(name: str) -> Colormap:
    import matplotlib

    return matplotlib.colormaps[name]


def check_rows(rows: Any) -> None:
    """TypeError for a DataFrame: its methods are not yet told apart by their options."""
    if hasattr(rows, "columns"):
        raise TypeError(
            "a figure needs rows as dicts; got a table: pass dpkit.results.labelled(table), which "
            "leaves out the failed rows and names the variants of a method"
        )


def ratio_axis(ratios: Sequence[float], *, ax: Axes) -> None:
    """The x axis of prune ratios, to scale; ratios that lie close have their names on two lines."""
    wide = max(ratios) - min(ratios) or 0.1
    names, lower = [], False
    for ratio, before in zip(ratios, [-1.0, *ratios], strict=False):
        lower = ratio - before < 0.1 * wide and not lower
        names.append(lower * "\n" + f"{100 * ratio:g} %")
    ax.set_xticks(ratios, names)
    ax.set(xlabel="pruned", xlim=(min(ratios) - 0.06 * wide, max(ratios) + 0.06 * wide))


def aside(place: int, count: int, *, ax: Axes) -> Transform:
    """Draws series `place` of `count` a few points of print beside its data, so that bars stay
    readable: all within 5 points, and every x is the ratio itself.
    """
    from matplotlib.transforms import offset_copy

    step = min(4.0, 10 / count)
    points = step * (place - (count - 1) / 2)
    return offset_copy(ax.transData, ax.figure, x=points, units="points")


def style_of(method: str, mark: str) -> dict:
    return method_style(method) | ({"alpha": 0.5} if mark else {})


def meaning_of_marks(marked: dict[str, str]) -> str | None:
    """What the marks in a legend mean, for its title."""
    return (
        "\n".join(f"{mark.strip()} {kind_text(kind)}" for kind, mark in marked.items() if mark)
        or None
    )
