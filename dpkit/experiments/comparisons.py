"""Differences between methods, with Welch's intervals and what survives Holm's correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.experiments.tables import accuracy_by_seed, all_labelled, mean_of, of_kind, spread_of
from dpkit.experiments.welch import holm, welch
from dpkit.storage.processors import kind_of

if TYPE_CHECKING:
    from pandas import DataFrame


def summary(rows: Any, *, to: str = "random", confidence: float = 0.95) -> DataFrame:
    """Means over the seeds: a line per set, network, recipe, prune ratio, method and processor.

    Parameters
    ----------
    rows : as run_trial returns them, or a results_table.
    to : the method that all others are compared with.
    confidence : of the intervals and of Holm's correction, in (0, 1).

    Returns
    -------
    pandas.DataFrame with the columns

    accuracy, spread : mean and standard deviation in percent after the last step (spread NaN for
        one seed).
    seeds : how many.
    best_accuracy : mean of the best epochs on the TEST set, where that was requested: optimistic,
        never to be quoted alone.
    worst_class_accuracy : mean over the seeds of the accuracy on the class that was worst with each
        seed, in percent; NaN where no row tells it.
    difference : accuracy minus that of the method `to`, in points, of the same kind of processor:
        on another kind the same seed is nearly another seed.
    error, low, high, p : its standard error, Welch's interval and p.
    detectable : half the interval, the least difference that the seeds could have shown (see
        dpkit.experiments.welch).
    pairs : the smaller of the two sides' numbers of seeds; 0: there is no difference.
    holm : "ahead" or "behind", where the difference survives Holm's correction over all differences
        of this table; else "".
    reason : why there is no difference, or no interval; else "".
    processor : the kind, "" where rows do not tell it.
    failed : trials without an accuracy, on whatever kind.
    """
    import pandas

    every = all_labelled(rows)
    if len({row.get("test") or "" for row in every if not row.get("failed")}) > 1:
        every = [row | {"test": row.get("test") or ""} for row in every]  # each is a set of its own
        names = ("dataset", "num_samples", "test", "model", "budget", "retrain", "prune_ratio")
    else:
        names = ("dataset", "num_samples", "model", "budget", "retrain", "prune_ratio")
    shared = [name for name in names if every and name in every[0]]
    cells: dict[tuple, list] = {}
    for row in every:
        at = tuple(row[name] if row[name] == row[name] else None for name in shared)
        cells.setdefault((at, row["method"]), []).append(row)
    table = []
    for (at, method), here in cells.items():
        failed = sum(bool(row.get("failed")) for row in here)
        reference = cells.get((at, to), []) if method != to else None
        for kind in dict.fromkeys(kind_of(row) for row in here if not row.get("failed")) or [""]:
            some = of_kind(here, kind)
            good = [*accuracy_by_seed(some).values()]
            others = [*accuracy_by_seed(of_kind(reference or [], kind)).values()]
            pairs = min(len(good), len(others))
            best, worst = (
                [100 * row[name] for row in some if pandas.notna(row.get(name))]
                for name in ("best_accuracy", "worst_class_accuracy")
            )
            found = welch(good if pairs else [], others, confidence=confidence)
            table.append(
                dict(zip(shared, at, strict=True))
                | {
                    "method": method,
                    "accuracy": mean_of(good),
                    "spread": spread_of(good),
                    "seeds": len(good),
                    "best_accuracy": mean_of(best),
                    "worst_class_accuracy": mean_of(worst),
                    **found,
                    "pairs": pairs,
                    "holm": "",
                    "processor": kind,
                    "failed": failed,
                    "reason": _reason(good, others, reference, to, found["error"]),
                }
            )
            failed = 0  # said once
    if not table:
        return pandas.DataFrame()
    table = pandas.DataFrame(table)
    sure = holm(table["p"]) < 1 - confidence
    table.loc[sure, "holm"] = np.where(table["difference"][sure] > 0, "ahead", "behind")
    return table.sort_values(shared, kind="stable", ignore_index=True)


def _reason(good, others, reference, to, error) -> str:
    """Why a line of the summary has no difference to `to`, or no interval of it."""
    if reference is None or not good or error == error:  # not NaN
        return ""
    if not others:
        elsewhere = any(not row.get("failed") for row in reference)
        return f"no row of {to}{' from this kind of processor' if elsewhere else ''}"
    return "one seed" if min(len(good), len(others)) == 1 else "no spread"
