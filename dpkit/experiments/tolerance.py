"""How much can go: what pruning loses against training on everything, with intervals.

    loss(method, ratio) = accuracy on everything - accuracy on what is kept, in points

A ratio is *shown* to be within a tolerance where the upper end of Welch's interval of its loss, and
of those of all smaller ratios that were tried, lies below the tolerance. Ratios are so tried from
the smallest up and the first that fails ends it (a fixed sequence): a false one among a method's
claims is then no likelier than in a single one, and no ratio needs a correction for the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.experiments.protocols import check_one_protocol
from dpkit.experiments.tables import accuracy_by_seed, kinds_of, labelled, mean_of, spread_of
from dpkit.experiments.welch import welch
from dpkit.storage.processors import kind_of

if TYPE_CHECKING:
    from pandas import DataFrame


def losses(rows: Any, *, confidence: float = 0.95) -> DataFrame:
    """What each method loses at each ratio against the rows of prune_ratio 0.

    Parameters
    ----------
    rows : of one set, network, recipe and kind of processor, as run_trial returns them or a
        results_table; some of prune_ratio 0.
    confidence : of each interval, in (0, 1). For k methods at once take 1 - 0.05 / k.

    Returns
    -------
    pandas.DataFrame, a line per method and ratio, by both: method, prune_ratio, kept, accuracy
    (percent, mean over the seeds), spread (standard deviation of its seeds and of those on
    everything, pooled), seeds, loss, low, high (points; NaN for an interval that one seed cannot
    have), worst_class (percent, mean over the seeds of the class that is worst with each) and
    worst_class_loss (points).

    Raises
    ------
    ValueError without rows of prune_ratio 0, and for rows of several sets, test sets, networks,
    recipes at a ratio, or kinds of processor.
    """
    import pandas

    cells: dict[tuple, list] = {}
    rows = labelled(rows)
    # the length may differ: what a shorter training loses is asked as well
    check_one_protocol(rows, "losses", but=("budget",))
    if len({kind_of(row) for row in rows}) > 1:
        raise ValueError(f"losses are within one kind of processor. {kinds_of(rows)}")
    for row in rows:
        method = row["method"] if row["prune_ratio"] else ""
        cells.setdefault((method, row["prune_ratio"]), []).append(row)
    if ("", 0) not in cells:
        raise ValueError(
            "losses are against training on everything, and no row has prune_ratio 0: add some"
        )
    everything = cells.pop(("", 0))
    whole = [*accuracy_by_seed(everything).values()]
    lines = []
    for (method, ratio), some in cells.items():
        found = [*accuracy_by_seed(some).values()]
        test = welch(whole, found, confidence=confidence)
        spreads = [spread_of(whole), spread_of(found)]
        lines.append(
            {
                "method": method,
                "prune_ratio": ratio,
                "kept": some[0]["keep"],
                "accuracy": mean_of(found),
                "spread": float(np.sqrt(np.mean(np.square(spreads)))),
                "seeds": min(len(whole), len(found)),
                "loss": test["difference"],
                "low": test["low"],
                "high": test["high"],
                "worst_class": _worst(some),
                "worst_class_loss": _worst(everything) - _worst(some),
            }
        )
    order = list(dict.fromkeys(line["method"] for line in lines))
    lines.sort(key=lambda line: (order.index(line["method"]), line["prune_ratio"]))
    return pandas.DataFrame(lines)


def _worst(rows) -> float:
    """Mean accuracy in percent on the class that is worst with each seed; NaN if a row does not
    tell it.
    """
    found = [row.get("worst_class_accuracy") for row in rows]
    return np.nan if None in found else 100 * mean_of(found)


def class_losses(rows: Any, method: str, prune_ratio: float, class_names: Sequence) -> list[dict]:
    """What each class loses with a method at a ratio, the largest loss first.

    Parameters
    ----------
    rows : as for losses, which tell class_accuracy.
    class_names : in the order of the labels.

    Returns
    -------
    A dict a class: class, everything, kept (percent, means over the seeds), loss (points). Classes
    without test images are left out.
    """
    table: dict[str, list] = {"everything": [], "kept": []}
    for row in labelled(rows):
        if not row["prune_ratio"]:
            table["everything"].append(json.loads(row["class_accuracy"]))
        elif (row["method"], row["prune_ratio"]) == (method, prune_ratio):
            table["kept"].append(json.loads(row["class_accuracy"]))
    whole, kept = (100 * np.array(some, float).mean(0) for some in table.values())
    lines = [
        {"class": str(name), "everything": float(a), "kept": float(b), "loss": float(a - b)}
        for name, a, b in zip(class_names, whole, kept, strict=True)
        if a == a  # not NaN
    ]
    return sorted(lines, key=lambda line: -line["loss"])


@dataclass(frozen=True)
class Largest:
    """The largest ratios of one method that lose less than a tolerance.

    shown : the intervals show it; 0: of no ratio.
    by_mean : the means say so, and the seeds may be in luck; 0: of no ratio.
    too_much : the smallest ratio that is shown to lose more; None: none is.
    """

    method: str
    shown: float
    by_mean: float
    too_much: float | None


def largest_ratios(table: DataFrame, tolerance: float) -> list[Largest]:
    """For each method of losses(rows), the largest ratios whose loss is below so many points.

    Examples
    --------
    >>> import pandas
    >>> table = pandas.DataFrame({
    ...     "method": "dual", "prune_ratio": [0.1, 0.3, 0.5], "loss": [0.0, 0.6, 4.0],
    ...     "low": [-0.5, -0.1, 3.0], "high": [0.5, 1.3, 5.0]})
    >>> largest_ratios(table, 1.0)
    [Largest(method='dual', shown=0.1, by_mean=0.3, too_much=0.5)]
    """
    found = []
    for method, some in table.groupby("method", sort=False):
        some = some.sort_values("prune_ratio")
        above = some.prune_ratio[some.low > tolerance]
        found.append(
            Largest(
                str(method),
                _last(some.prune_ratio, some.high < tolerance),
                _last(some.prune_ratio, some.loss < tolerance),
                float(above.iloc[0]) if len(above) else None,
            )
        )
    return found


def _last(ratios, holds) -> float:
    """The last ratio before the first at which it does not hold; 0 if it holds at none."""
    before = np.logical_and.accumulate(holds.to_numpy())
    return float(ratios.to_numpy()[before][-1]) if before.any() else 0.0


def best_choice(table: DataFrame, tolerance: float) -> tuple[str, float, bool] | None:
    """(method, ratio, whether it is shown) to take: the largest ratio that is shown, else the
    largest by the means; of methods that reach it, the one that loses least. None if there is
    neither.

    The best of several by their means is a little better here than it will be elsewhere.
    """
    found = largest_ratios(table, tolerance)
    for shown in (True, False):
        reached = {one.method: one.shown if shown else one.by_mean for one in found}
        ratio = max(reached.values(), default=0.0)
        if ratio:
            at = table[(table.prune_ratio == ratio) & table.method.map(reached).eq(ratio)]
            return str(at.loc[at.loss.idxmin(), "method"]), ratio, shown
    return None


def seeds_needed(
    loss: float, spread: float, tolerance: float, *, confidence: float = 0.95, most: int = 1000
) -> int | None:
    """How many seeds would show a loss of this size to be below the tolerance, if it and its spread
    are what these seeds say; None: none would, or more than `most`.

    Examples
    --------
    >>> seeds_needed(0.2, 0.5, 1.0)                     # 2.45 * 0.5 * sqrt(2/4) = 0.87; of 5: 0.73
    5
    """
    from scipy.stats import t

    if not (loss < tolerance and spread >= 0):  # NaN among them
        return None
    for n in range(2, most + 1):
        half = t.ppf((1 + confidence) / 2, 2 * n - 2) * spread * np.sqrt(2 / n)
        if loss + half < tolerance:
            return n
    return None


def in_words(table: DataFrame, tolerance: float, *, confidence: float = 0.95) -> list[str]:
    """What losses(rows) say about the tolerance, in sentences: how much can go, what is shown and
    what is not, and from where on it is too much.
    """
    choice = best_choice(table, tolerance)
    if choice is None:
        line = table.loc[table[table.prune_ratio == table.prune_ratio.min()].loss.idxmin()]
        return [
            f"at a tolerance of {_points(tolerance)} nothing can go: the smallest ratio tried, "
            f"{100 * line.prune_ratio:g} %, loses {loss_in_words(line)} by {line.method}, which "
            "loses least"
        ]
    method, ratio, shown = choice
    line = table[(table.method == method) & (table.prune_ratio == ratio)].iloc[0]
    percent, loss = f"{100 * ratio:g} %", loss_in_words(line)
    if shown:
        found = [
            f"{percent} can go by {method}: the loss is {loss}, and the whole interval lies below "
            f"{tolerance:g}"
        ]
    else:
        seeds = f"{line.seeds} seed{'' if line.seeds == 1 else 's'}"
        found = [f"{percent} may go by {method}: the mean loss of {seeds} is {loss}"]
        found.append(_not_shown(line, tolerance, confidence))
    (own,) = [one for one in largest_ratios(table, tolerance) if one.method == method]
    if own.too_much:
        found.append(f"{100 * own.too_much:g} % by {method} is shown to lose more than that")
    return found


def _points(number) -> str:
    return f"{number:g} point{'' if number == 1 else 's'}"


def loss_in_words(line: Any) -> str:
    """The loss of a line of losses(rows) with its interval, if it has one."""
    interval = f" [{line.low:.1f}, {line.high:.1f}]" if line.low == line.low else ""
    return f"{line.loss:.1f} points{interval}"


def _not_shown(line, tolerance, confidence) -> str:
    """Why the means alone speak for a ratio, and what would show it."""
    if line.low != line.low:  # NaN
        return "it is not shown: one seed, or seeds without a spread, have no interval"
    if line.high < tolerance:
        return (
            f"it is not shown: its own interval ends below {_points(tolerance)}, and that of a "
            "smaller ratio does not"
        )
    n = seeds_needed(line.loss, line.spread, tolerance, confidence=confidence)
    if n is None:
        more = "no number of seeds up to 1,000 would: the loss is too near to the tolerance"
    else:
        more = (
            f"about {max(n, line.seeds + 1):,} seeds would, if loss and spread stay what they are "
            "here"
        )
    return f"it is not shown: the interval reaches beyond {_points(tolerance)}; {more}"
