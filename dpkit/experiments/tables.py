"""Tables of finished trials: accuracies and costs, a method a column or a line.

Rows are Rows, the dicts that run_trial returns, or a results_table: whatever has the columns that a
table reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dpkit.experiments.old_rows import options_from
from dpkit.experiments.protocols import check_one_cell, check_one_protocol
from dpkit.experiments.rows import Row
from dpkit.methods.catalog import METHODS
from dpkit.methods.option_words import option_words
from dpkit.plots.cost import cost_columns
from dpkit.records import keep_count
from dpkit.storage.processors import kind_of, marks, sentence


def label(row: Mapping) -> str:
    """The method's name, with its settings where they are not the usual ones: "dual+beta, c_d=5.5".

    And with the network that was watched, where another was retrained: "dual+beta, by small_cnn".
    """
    row = row.flat() if isinstance(row, Row) else row
    method = METHODS.get(row["method"])  # None: one of somebody's own
    usual = option_words(method.options_for(row.get("dataset"))) if method else []
    words = option_words(options_from(row["options"]))
    seen_by = row.get("record_model")
    return ", ".join(
        [
            row["method"],
            *(word for word in words if word not in usual),
            *([f"by {seen_by}"] if isinstance(seen_by, str) and seen_by else []),
        ]
    )


def labelled(rows: Any) -> list[dict]:
    """The rows that did not fail, with label(row) as their method: tables keep variants apart.

    Where a method chose from recordings of several lengths, the shorter ones are named too:
    "eeprune, T=5"; and where so many epochs are a part of several schedules, those: "dual, T=30 of
    200 epochs".
    """
    return [row for row in all_labelled(rows) if not row.get("failed")]


def _as_dicts(rows) -> list[dict]:
    """Rows of two sets of one name are told apart: "mine (3f9a02c1)", by their fingerprints."""
    if hasattr(rows, "to_dict"):
        # NaN: tables that were joined, of which one has no such column
        found = rows.fillna({"failed": ""}).to_dict("records")
    else:
        found = [row.flat() if isinstance(row, Row) else row for row in rows]
    sets: dict = {}
    for row in found:
        if not row.get("failed"):  # a failed row does not tell
            sets.setdefault(row.get("dataset"), set()).add(row.get("fingerprint") or "")
    ambiguous = {name for name, prints in sets.items() if len(prints) > 1}
    return [_with_fingerprint(row) if row.get("dataset") in ambiguous else row for row in found]


def _with_fingerprint(row) -> dict:
    if row.get("failed") or not row.get("fingerprint"):
        return row
    return row | {"dataset": f"{row['dataset']} ({row['fingerprint'][:8]})"}


def all_labelled(rows: Any) -> list[dict]:
    """labelled, with the rows that failed."""
    found: list = []
    recipes: dict = {}  # of a kind of rows: number of epochs -> the recipes they are a part of
    for row in _as_dicts(rows):
        count, kind = row.get("record_epochs"), (row.get("dataset"), row.get("model"), label(row))
        method = METHODS.get(row["method"])
        watched = not method or method.with_options(options_from(row["options"])).reads
        # NaN: the row does not tell
        count = int(count) if count and count == count and watched else 0
        recipes.setdefault(kind, {}).setdefault(count, set()).add(str(row.get("record")))
        found.append((row, count, kind))
    return [
        dict(row) | {"method": kind[-1] + _recording(row, count, recipes[kind])}
        for row, count, kind in found
    ]


def _recording(row, count, recipes) -> str:
    """ ", T=5" where others of the kind were recorded for longer, ", T=30 of 200 epochs" where so
    many epochs are a part of several recipes.
    """
    if count and len(recipes[count]) > 1:
        return f", T={count} of {row['record']}"
    return f", T={count}" if 0 < count < max(recipes) else ""


def accuracy_table(rows: Any, *, seeds: int | None = None) -> list[dict]:
    """Test accuracy in percent over the seeds: a line per prune ratio, a column per method.

    A cell is "mean ± standard deviation".

    Parameters
    ----------
    rows : as run_trial returns them, or a results_table. Rows with prune_ratio 0 are the line
        "nothing", whatever their method. A cell with fewer seeds than others says so: "75.1 ± 0.3
        (2 of 3)"; and so does one that could not prune what was requested: "75.1 ± 0.3 (pruned 43
        %)". Rows from several kinds of processor are not averaged together; those that are not of
        the commonest kind are marked: "75.1 ± 0.3 (a)". kinds_of(rows) says what the marks mean.
    seeds : how many were requested, where some are still to come: then a cell with one of them says
        "75.1 (1 of 3)".

    Returns
    -------
    A list of dicts.

    Raises
    ------
    ValueError for rows of several sets, test sets, networks or lengths, or of several recipes at
    one ratio.
    """
    rows = labelled(rows)
    check_one_protocol(rows, "accuracy_table")
    pruned = [row["method"] for row in rows if row["prune_ratio"] > 0]
    methods, marked, table = list(dict.fromkeys(pruned)) or ["random"], marks(rows), []
    wanted, least = seeds or len({row["seed"] for row in rows}), 1 if seeds else 2
    for ratio in sorted({row["prune_ratio"] for row in rows}):
        here = [row for row in rows if row["prune_ratio"] == ratio]
        line = {"pruned": f"{100 * ratio:g} %" if ratio else "nothing", "kept": here[0]["keep"]}
        for method in methods if ratio else methods[:1]:
            some = [row for row in here if row["method"] == method or not ratio]
            cells = {mark: of_kind(some, kind) for kind, mark in marked.items()}
            texts = [_cell(cell, wanted, least) + mark for mark, cell in cells.items() if cell]
            line[method] = ", ".join(texts)
        table.append(line)
    return table


def _cell(rows, wanted, least) -> str:
    """ "75.1 ± 0.3 (2 of 3)" of the rows of one method, ratio and kind of processor."""
    found = [*accuracy_by_seed(rows).values()]
    few = f" ({len(found)} of {wanted})" if least <= len(found) < wanted else ""
    bar = f" ± {spread_of(found):.1f}" if len(found) > 1 else ""
    return f"{mean_of(found):.1f}{bar}{few}{_short_of(rows)}"


def kinds_of(rows: Any) -> str:
    """Which rows are from which kind of processor, in a sentence for the top of their table; ""
    where all are from one.
    """
    return sentence(labelled(rows))


def overview(rows: Any) -> str:
    """The accuracy tables of a results_table as text, one for each set, network and budget."""
    names = ["dataset", "model", "num_samples", "budget"]
    rows = rows.assign(
        dataset=[row.get("dataset") for row in _as_dicts(rows)],
        failed=rows.get("failed", ""),  # a published table has no such column
    )
    return "\n\n".join(
        f"{dataset}, {n:,.0f} images, {model}, retrained for {budget}; accuracy in %, last epoch\n"
        + "".join(f"{words}\n" for words in [kinds_of(some)] if words)
        + _text(some)
        for (dataset, model, n, budget), some in rows[rows["failed"] == ""].groupby(
            names, sort=False
        )
    )


def _text(rows) -> str:
    import pandas

    try:
        return pandas.DataFrame(accuracy_table(rows)).fillna("").to_string(index=False)
    except ValueError as error:  # a grid with several recipes of one length
        return f"no table: {error}"


def cost_table(rows: Any) -> list[dict]:
    """What pruning costs and when it has paid for itself, in means over the seeds.

    Parameters
    ----------
    rows : of one set, network and budget, with some of prune_ratio 0 among them.

    Returns
    -------
    A list of dicts, one a prune ratio and method:

    whole, each : images trained on (counted in every pass) by one retraining on the whole set, and
        on the kept part.
    before : those of the recording, which comes first.
    share : before / whole, in percent.
    break_even : the number k of retrainings after which before + k each <= k whole; None: never, as
        when the budget is "steps" and every retraining costs the same. (A twentieth less counts as
        the same: batches are near-equal, not equal.)

    The same with _seconds for the clock's (before: recording, scoring, selecting), within one kind
    of processor: a method with rows of several kinds has a line for each, and whole_seconds is NaN
    where the whole set was not trained on that kind.
    """
    rows = labelled(rows)
    check_one_protocol(rows, "cost_table")
    whole, marked, table = [row for row in rows if not row["prune_ratio"]], marks(rows), []
    for ratio in sorted({row["prune_ratio"] for row in rows} - {0}):
        some = [row for row in rows if row["prune_ratio"] == ratio]
        for method, kind in dict.fromkeys((row["method"], kind_of(row)) for row in some):
            here = [row for row in of_kind(some, kind) if row["method"] == method]
            alike = of_kind(whole, kind)
            table.append(
                {
                    "pruned": f"{100 * ratio:g} %",
                    "method": method + marked[kind],
                    "accuracy": mean_of([100 * row["accuracy"] for row in here]),
                    **_costs(here, whole, "samples"),
                    **{f"{name}_seconds": n for name, n in _costs(here, alike, "seconds").items()},
                }
            )
    return table


def _costs(rows, whole, unit) -> dict:
    retrain = f"retrain_{unit}"
    first = [name for name in cost_columns(rows, unit) if name != retrain]
    before = mean_of([sum(row[name] for name in first) for row in rows])
    each, full = (mean_of([row[retrain] for row in some]) for some in (rows, whole))
    return {
        "before": before,
        "each": each,
        "whole": full,
        "share": 100 * before / full,
        "break_even": (float(np.ceil(before / (full - each))) if full - each > full / 20 else None),
    }


def accuracy_by_seed(rows: Iterable[dict]) -> dict:
    """Accuracy in percent by seed, of the rows of one cell that did not fail. ValueError for two of
    a seed, or for several protocols or recordings: their spread is not that of the seeds.
    """
    found: dict[int, float] = {}
    rows = [row for row in rows if not row.get("failed")]
    check_one_cell(rows)
    for row in rows:
        if found.setdefault(row["seed"], 100 * row["accuracy"]) != 100 * row["accuracy"]:
            raise ValueError(
                f"{row['method']} at prune_ratio {row['prune_ratio']:g} has more than one accuracy "
                f"of seed {row['seed']}: give rows of one set, network and recipe at a time"
            )
    return found


def _short_of(rows) -> str:
    """ " (pruned 43 %)", where the rule let less go than requested, as EEPrune's may; else ""."""
    if not any(
        "num_samples" in row
        and row["keep"] > keep_count(int(row["num_samples"]), row["prune_ratio"])
        for row in rows
    ):
        return ""
    return (
        f" (pruned {100 * mean_of([1 - row['keep'] / row['num_samples'] for row in rows]):.0f} %)"
    )


def mean_of(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def spread_of(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def of_kind(rows: Iterable[dict], kind: str) -> list:
    return [row for row in rows if kind_of(row) == kind]


def describe_failures(table: Any, call: str, retry: str) -> list[str]:
    """Of the results_table of a sweep: a line per reason, and how to go on; [] if nothing failed.

    call, retry : what runs the sweep again, as in "the same call", and what also runs again what
        failed for a reason of its own, as in "retry=True".
    """
    lines = []
    for reason, rows in table[table.failed != ""].groupby("failed", sort=False):
        first, more = rows.iloc[0], f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        trial = f"{first.method}, ratio {first.prune_ratio:g}, seed {first.seed}"
        lines.append(f"{trial}{more} failed: {reason}")
    again, on_retry = table.attrs["again"], table.attrs["on_retry"]
    if again:
        lines.append(f"{call} runs those again that failed for a passing reason ({again})")
    if on_retry:
        lines.append(f"{call} with {retry} runs those again that failed by themselves ({on_retry})")
    return lines
