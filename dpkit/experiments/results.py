"""Rows of finished trials: read back with their scores and kept sets, and turned into tables.

A folder is that of a sweep (dpkit.sweeps), which may still be running, or a published table
(dpkit.publishing).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit import storage
from dpkit.experiments import stages
from dpkit.experiments.trials import Outcome
from dpkit.experiments.welch import holm, welch
from dpkit.methods.catalog import METHODS
from dpkit.methods.method import options_in_words
from dpkit.records import Scores, Selection, keep_count
from dpkit.storage.processors import kind_of, marks, sentence
from dpkit.training.loop import Recipe

if TYPE_CHECKING:
    from pandas import DataFrame


KIND, SWEEP = "Table", "sweep.json"
MAY_BE_EMPTY = (
    "best_accuracy",
    "threads",
    "best_every",
    "snapshot_epoch",
    *(f"{stage}_peak_memory" for stage in ("record", "score", "select", "retrain")),
)


def results_table(folder: str | Path) -> DataFrame:
    """The rows of a sweep or of a published table as a DataFrame, one trial a row.

    Of a sweep: the rows that are there by now, in the grid's order; the column failed holds the
    reason of those that failed. table.attrs says how many trials were requested. Rows made by an
    older version of a stage are left out, with a warning.

    Parameters
    ----------
    folder : of a sweep, or of a published table.

    Returns
    -------
    pandas.DataFrame.

    Raises
    ------
    ValueError if the folder is neither, or a published file is not the published one.
    """
    import pandas

    folder = Path(folder)
    if not (folder / SWEEP).exists():
        return pandas.read_csv(
            _checked(folder, "rows.csv"),
            keep_default_na=False,
            na_values={name: "" for name in MAY_BE_EMPTY},
        )
    rows, count = _rows(folder)
    table = pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=["failed"])
    table.attrs = {"asked": count}
    return table


def load_outcomes(folder: str | Path) -> list[Outcome]:
    """The trials of a sweep that have a result by now, in the grid's order, as publish takes them;
    or a published table's.
    """
    if not (Path(folder) / SWEEP).exists():
        rows = results_table(folder).astype(object).replace({np.nan: None}).to_dict("records")
        masks, scores = (
            np.load(_checked(folder, "kept.npy"), allow_pickle=False),
            cache(lambda file: _scores(folder, file)),
        )
        return [
            Outcome(row, _unpacked(masks[k], row), scores(row["scores"]) if row["scores"] else None)
            for k, row in enumerate(rows)
        ]
    scores = cache(lambda place: Scores.load(place / "scores"))  # many rows share them
    return [
        Outcome(
            row,
            Selection.load(_stage(folder, row, "selection") / "selection"),
            scores(_stage(folder, row, "scores")) if row["scores"] else None,
        )
        for row in _rows(folder)[0]
        if not row.pop("failed")
    ]


def kept_set(folder: str | Path, k: int) -> Selection:
    """The Selection that row k of results_table(folder) was trained on."""
    row = _row(folder, k)
    if (Path(folder) / SWEEP).exists():
        return Selection.load(_stage(folder, row, "selection") / "selection")
    return _unpacked(np.load(_checked(folder, "kept.npy"), allow_pickle=False)[k], row)


def scores_of(folder: str | Path, k: int) -> Scores | None:
    """The Scores behind row k of results_table(folder); None for a method without a score."""
    row = _row(folder, k)
    if not row["scores"]:
        return None
    if (Path(folder) / SWEEP).exists():
        return Scores.load(_stage(folder, row, "scores") / "scores")
    return _scores(folder, row["scores"])


def row_file(folder: str | Path, name: str, passing: bool = False) -> Path:
    """Where a sweep keeps a row, or the reason of a failure that may pass (and is tried again)."""
    return Path(folder) / "rows" / f"{name}{'.failed' if passing else ''}.json"


def read_sweep(folder: str | Path) -> dict:
    """A sweep's sweep.json: the cache, and the trials in order."""
    try:
        return json.loads((Path(folder) / SWEEP).read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{Path(folder) / SWEEP} is damaged; run the sweep again") from None


def is_older(trial: dict) -> bool:
    """Whether a trial of sweep.json was asked for when a stage had another version."""
    return any(stages.VERSIONS.get(stage) != number for stage, number in trial["versions"].items())


# ---- tables of rows ------------------------------------------------------------------------------


def label(row: Mapping) -> str:
    """The method's name, with its settings where they are not the usual ones: "dual+beta, c_d=5.5".

    And with the network that was watched, where another was retrained: "dual+beta, by small_cnn".
    """
    method = METHODS.get(row["method"])  # None: one of somebody's own
    usual = options_in_words(method.options_for(row.get("dataset"))).split() if method else []
    seen_by = row.get("record_model")
    return ", ".join(
        [
            row["method"],
            *(word for word in row["options"].split() if word not in usual),
            *([f"by {seen_by}"] if isinstance(seen_by, str) and seen_by else []),
        ]
    )


def labelled(rows: Any) -> list[dict]:
    """The rows that did not fail, with label(row) as their method: tables keep variants apart.

    Where a method chose from recordings of several lengths, the shorter ones are named too:
    "eeprune, T=5".
    """
    return [row for row in _all_labelled(rows) if not row.get("failed")]


def _all_labelled(rows) -> list[dict]:
    rows = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
    found: list = []
    most: dict = {}
    for row in rows:
        count, kind = row.get("record_epochs"), (row.get("dataset"), row.get("model"), label(row))
        watched = row["method"] not in METHODS or METHODS[row["method"]].reads
        # NaN: the row does not tell
        count = int(count) if count and count == count and watched else 0
        most[kind] = max(count, most.get(kind, 0))
        found.append((row, count, kind))
    return [
        dict(row) | {"method": f"{kind[-1]}, T={count}" if 0 < count < most[kind] else kind[-1]}
        for row, count, kind in found
    ]


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
    """
    rows = labelled(rows)
    methods = list(dict.fromkeys(row["method"] for row in rows if row["prune_ratio"] > 0)) or [
        "random"
    ]
    wanted, least, table, marked = (
        seeds or len({row["seed"] for row in rows}),
        1 if seeds else 2,
        [],
        marks(rows),
    )
    for ratio in sorted({row["prune_ratio"] for row in rows}):
        here = [row for row in rows if row["prune_ratio"] == ratio]
        line = {"pruned": f"{100 * ratio:g} %" if ratio else "nothing", "kept": here[0]["keep"]}
        for method in methods if ratio else methods[:1]:
            texts = []
            for kind, mark in marked.items():
                cell = [
                    row
                    for row in here
                    if (row["method"] == method or not ratio) and kind_of(row) == kind
                ]
                found = [*_by_seed(cell).values()]
                few = f" ({len(found)} of {wanted})" if least <= len(found) < wanted else ""
                texts += [_mean_and_spread(found) + few + _short_of(cell) + mark] if found else []
            line[method] = ", ".join(texts)
        table.append(line)
    return table


def kinds_of(rows: Any) -> str:
    """Which rows are from which kind of processor, in a sentence for the top of their table; ""
    where all are from one.
    """
    return sentence(labelled(rows))


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

    every = _all_labelled(rows)
    names = ("dataset", "num_samples", "model", "budget", "retrain", "prune_ratio")
    shared = [name for name in names if every and name in every[0]]
    cells: dict = {}
    for row in every:
        at = tuple(row[name] if row[name] == row[name] else None for name in shared)
        cells.setdefault((at, row["method"]), []).append(row)
    table = []
    for (at, method), here in cells.items():
        failed, reference = (
            sum(bool(row.get("failed")) for row in here),
            cells.get((at, to), []) if method != to else None,
        )
        for kind in dict.fromkeys(kind_of(row) for row in here if not row.get("failed")) or [""]:
            some = _of_kind(here, kind)
            good, others = (
                [*_by_seed(one).values()] for one in (some, _of_kind(reference or [], kind))
            )
            pairs = min(len(good), len(others))
            best = [
                100 * row["best_accuracy"] for row in some if pandas.notna(row.get("best_accuracy"))
            ]
            found = welch(good if pairs else [], others, confidence=confidence)
            table.append(
                dict(zip(shared, at, strict=True))
                | {
                    "method": method,
                    "accuracy": _mean(good),
                    "spread": _spread(good),
                    "seeds": len(good),
                    "best_accuracy": _mean(best),
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


def _of_kind(rows, kind) -> list:
    return [row for row in rows if kind_of(row) == kind]


def _reason(good, others, reference, to, error) -> str:
    """Why a line of the summary has no difference to `to`, or no interval of it."""
    if reference is None or not good or error == error:  # not NaN
        return ""
    if not others:
        elsewhere = any(not row.get("failed") for row in reference)
        return f"no row of {to}{' from this kind of processor' if elsewhere else ''}"
    return "one seed" if min(len(good), len(others)) == 1 else "no spread"


def overview(rows: Any) -> str:
    """The accuracy tables of a results_table as text, one for each set, network and budget."""
    blocks: dict = {}
    for row in rows.to_dict("records"):
        if not row["failed"]:
            blocks.setdefault(
                (row["dataset"], row["model"], row["num_samples"], row["budget"]), []
            ).append(row)
    return "\n\n".join(
        f"{dataset}, {n:,.0f} images, {model}, retrained for {budget}; accuracy in %, last epoch\n"
        + "".join(f"{words}\n" for words in [kinds_of(some)] if words)
        + _text(some)
        for (dataset, model, n, budget), some in blocks.items()
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
    protocols = {
        tuple(row.get(name) for name in ("dataset", "num_samples", "model", "budget"))
        for row in rows
    }
    if len(protocols) > 1:
        raise ValueError(
            "cost_table compares trainings of one set, network and budget; got rows of "
            f"{' and '.join(', '.join(map(str, one)) for one in sorted(protocols, key=str))}: pick "
            "one of them"
        )
    whole, marked, table = [row for row in rows if not row["prune_ratio"]], marks(rows), []
    for ratio in sorted({row["prune_ratio"] for row in rows} - {0}):
        for method, kind in dict.fromkeys(
            (row["method"], kind_of(row)) for row in rows if row["prune_ratio"] == ratio
        ):
            here = [
                row
                for row in _of_kind(rows, kind)
                if row["prune_ratio"] == ratio and row["method"] == method
            ]
            accuracy = _mean([100 * row["accuracy"] for row in here])
            line = {
                "pruned": f"{100 * ratio:g} %",
                "method": method + marked[kind],
                "accuracy": accuracy,
            }
            for unit, ending in (("samples", ""), ("seconds", "_seconds")):
                before = _mean(
                    [
                        sum(row[f"{stage}_{unit}"] for stage in ("record", "score", "select"))
                        for row in here
                    ]
                )
                alike = _of_kind(whole, kind) if unit == "seconds" else whole
                each, full = (
                    _mean([row[f"retrain_{unit}"] for row in some]) for some in (here, alike)
                )
                even = float(np.ceil(before / (full - each))) if full - each > full / 20 else None
                line |= {
                    f"before{ending}": before,
                    f"each{ending}": each,
                    f"whole{ending}": full,
                    f"share{ending}": 100 * before / full,
                    f"break_even{ending}": even,
                }
            table.append(line)
    return table


def _by_seed(rows) -> dict:
    """Accuracy in percent by seed, of the rows that did not fail. ValueError for two of a seed:
    whatever else they differ in, their spread is not that of the seeds.
    """
    found: dict = {}
    for row in rows:
        if (
            not row.get("failed")
            and found.setdefault(row["seed"], 100 * row["accuracy"]) != 100 * row["accuracy"]
        ):
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
    return f" (pruned {100 * _mean([1 - row['keep'] / row['num_samples'] for row in rows]):.0f} %)"


def _mean(values):
    return float(np.mean(values)) if len(values) else np.nan


def _spread(values):
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _mean_and_spread(values):
    return f"{_mean(values):.1f}" + (f" ± {_spread(values):.1f}" if len(values) > 1 else "")


# ---- the folder ----------------------------------------------------------------------------------


def _row(folder, k):
    table = results_table(folder)
    if not 0 <= k < len(table):
        raise ValueError(f"{folder} has the rows 0..{len(table) - 1}; got {k}")
    row = table.iloc[k]
    if row.get("failed"):
        raise ValueError(
            f"row {k} of {folder} failed and has no scores and no kept set: {row['failed']}"
        )
    return row


def _stage(folder, row, which) -> Path:
    place = Path(read_sweep(folder)["cache"]) / row[which]
    if not place.is_dir():
        raise FileNotFoundError(
            f"the {which} of this row lay in {place}, which is gone: run the sweep again to make "
            "it anew"
        )
    return place


def _rows(folder) -> tuple[list[dict], int]:
    """(the rows of a sweep that are there by now, failed ones with the reason; how many asked)."""
    trials, rows, older = read_sweep(folder)["trials"], [], 0
    for trial in trials:
        if is_older(trial):
            older += 1
            continue
        found = _read(row_file(folder, trial["name"])) or _read(
            row_file(folder, trial["name"], passing=True)
        )
        if found:
            rows.append(
                (found.get("row") or _parameters(trial)) | {"failed": found.get("failed", "")}
            )
    if older:
        warnings.warn(
            f"{older} of the {len(trials)} rows in {folder} were made by an older version of a "
            "stage and are left out: run the sweep again",
            stacklevel=3,
        )
    return rows, len(trials)


def _read(file) -> dict | None:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:  # not there, or a sweep that goes on has just made it a better one
        return None


def _parameters(trial) -> dict:
    """What a failed trial's row can say: its parameters."""
    row = {
        name: trial.get(name)
        for name in (
            "dataset",
            "num_samples",
            "model",
            "method",
            "prune_ratio",
            "keep",
            "seed",
            "record_epochs",
        )
    }
    recipes = {name: Recipe(**trial[name]) for name in ("record", "retrain")}
    method = METHODS.get(trial["method"])
    options = (method.defaults if method else {}) | trial["options"]
    return row | {
        "options": options_in_words(options),
        "accuracy": None,
        "budget": recipes["retrain"].length,
        **{name: recipe.describe() for name, recipe in recipes.items()},
    }


def _unpacked(bits, row) -> Selection:
    mask = np.unpackbits(bits, count=int(row["num_samples"]))
    return Selection(
        np.flatnonzero(mask),
        int(row["num_samples"]),
        str(row["method"]),
        {"seed": int(row["seed"])},
    )


def _scores(folder, name) -> Scores:
    file = _checked(folder, name)
    stem, _, seed = file.stem.partition("-seed")
    return Scores(np.load(file, allow_pickle=False), stem, {"seed": int(seed.partition("-")[0])})


def _checked(folder, name) -> Path:
    """The path of a file of a published table, if it is the one that was published."""
    folder = Path(folder)
    manifest = storage.read_manifest(folder)
    kind, sha256 = manifest.get("kind"), manifest.get("sha256", {}).get(name)
    if kind != KIND:
        raise ValueError(
            f"expected a published table in {folder}, with a manifest.json that names {name}; "
            "there is none: give the folder that publish wrote"
        )
    if not (folder / name).is_file() or storage.file_hash(folder / name) != sha256:
        raise ValueError(
            f"{folder / name} is missing or was changed since it was published; fetch a whole copy"
        )
    return folder / name
