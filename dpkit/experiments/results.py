"""Finished trials read back from a folder: their rows, scores and kept sets.

A folder is that of a sweep (dpkit.experiments.sweeps), which may still be running, or a published
table (dpkit.experiments.publishing). What is made of rows is in dpkit.experiments.tables and
.comparisons, and can be called from here as well.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpkit import storage
from dpkit.experiments.comparisons import summary
from dpkit.experiments.old_rows import scores_in_names
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.row_files import read_answer, read_table
from dpkit.experiments.rows import Failure, Row
from dpkit.experiments.tables import accuracy_table, cost_table, kinds_of, label, labelled, overview
from dpkit.experiments.trials import Outcome
from dpkit.methods.catalog import METHODS
from dpkit.records import Scores, Selection
from dpkit.training.recipe import Recipe

if TYPE_CHECKING:
    from pandas import DataFrame


__all__ = [
    "accuracy_table",
    "cost_table",
    "is_older",
    "kept_set",
    "kinds_of",
    "label",
    "labelled",
    "load_outcomes",
    "overview",
    "read_sweep",
    "results_table",
    "row_file",
    "scores_in_manifest",
    "scores_of",
    "summary",
]

KIND, SWEEP = "Table", "sweep.json"
SCHEMA = 1  # of sweep.json


def results_table(folder: str | Path) -> DataFrame:
    """The rows of a sweep or of a published table as a DataFrame, one trial a row.

    Of a sweep: the rows that are there by now, in the grid's order; the column failed holds the
    reason of those that failed. table.attrs says how many trials were requested, and how many of
    the failed ones the same sweep runs again, by itself and with retry. Rows made by an older
    version of a stage are left out, with a warning.

    Parameters
    ----------
    folder : of a sweep, or of a published table.

    Returns
    -------
    pandas.DataFrame with the columns of Row.flat: recipes in words, options and settings as JSON.

    Raises
    ------
    ValueError if the folder is neither, a published file is not the published one, or a newer dpkit
    wrote it.
    """
    import pandas

    found = _answers(folder)
    lines = [
        _parameters(trial) | {"failed": answer.reason}
        if isinstance(answer, Failure)
        else answer.flat()
        for trial, answer in found
    ]
    if not _is_sweep(folder):
        table = pandas.DataFrame(lines).assign(kept=range(len(lines)))
        nowhere = [name for name in table if table[name].isna().all()]
        return table.assign(**dict.fromkeys(nowhere, np.nan))
    lines = [{"failed": ""} | line for line in lines]
    table = pandas.DataFrame(lines) if lines else pandas.DataFrame(columns=["failed"])
    failures = [answer for _, answer in found if isinstance(answer, Failure)]
    table.attrs = {
        "asked": len(read_sweep(folder)["trials"]),
        "again": sum(answer.transient for answer in failures),
        "on_retry": sum(not answer.transient and not answer.newer for answer in failures),
    }
    return table


def load_outcomes(folder: str | Path) -> list[Outcome]:
    """The trials of a sweep that have a result by now, in the grid's order, as publish takes them;
    or a published table's.
    """
    read_selection, read_scores = _readers(folder)
    read_scores = cache(read_scores)  # many rows share them
    return [
        Outcome(row, read_selection(k, row), read_scores(row.scores) if row.scores else None)
        for k, (_, row) in enumerate(_answers(folder))
        if isinstance(row, Row)
    ]


def kept_set(folder: str | Path, k: int) -> Selection:
    """The Selection that row k of results_table(folder) was trained on."""
    row, (read_selection, _) = _row(folder, k), _readers(folder)
    return read_selection(k, row)


def scores_of(folder: str | Path, k: int) -> Scores | None:
    """The Scores behind row k of results_table(folder); None for a method without a score."""
    row, (_, read_scores) = _row(folder, k), _readers(folder)
    return read_scores(row.scores) if row.scores else None


def scores_in_manifest(manifest: dict) -> dict[str, dict]:
    """{file: what it holds} of a published table's scores, as score_files.describe_scores says it;
    of a table from before 0.9 only "score" and "seed".
    """
    return manifest.get("scores") or scores_in_names(manifest.get("sha256", {}))


def row_file(folder: str | Path, name: str, transient: bool = False) -> Path:
    """Where a sweep keeps a row, or the reason of a failure that may pass (and is tried again)."""
    return Path(folder) / "rows" / f"{name}{'.failed' if transient else ''}.json"


def read_sweep(folder: str | Path) -> dict:
    """A sweep's sweep.json: the cache, and the trials in order.

    Raises
    ------
    Damaged (a ValueError) if it is not whole, NewerFormat (one, too) if a newer dpkit wrote it,
    FileExistsError if another program did.
    """
    file = Path(folder) / SWEEP
    try:
        with storage.damage_named():
            said = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(said, dict):
                _check_schema(said.get("schema"), file)
                storage.check_checksum(said, file)
            if not isinstance(said, dict) or said.get("kind") != "Sweep":
                raise FileExistsError(f"{file} is not a sweep's of dpkit; name another folder")
            for trial in said["trials"]:
                trial["name"], trial["versions"]
            return said
    except storage.Damaged as why:
        raise storage.Damaged(f"{file} is damaged; run the sweep again ({why})") from None


def _check_schema(schema, file):
    if isinstance(schema, int) and schema > SCHEMA:
        raise storage.NewerFormat(
            f"{file} was written by a newer dpkit (schema {schema}; this one reads {SCHEMA}): "
            "update dpkit, or name another folder"
        )


def is_older(trial: dict) -> bool:
    """Whether a trial of sweep.json was asked for when a stage had another version."""
    today = stage_versions()
    return any(today.get(stage) != version for stage, version in trial["versions"].items())


# ---- either folder -------------------------------------------------------------------------------


def _is_sweep(folder) -> bool:
    return (Path(folder) / SWEEP).exists()


def _answers(folder) -> Sequence[tuple[dict | None, Row | Failure]]:
    """(the trial in sweep.json, its row or failure) of those that are there by now; of a published
    table (None, row).
    """
    if _is_sweep(folder):
        return _sweep_answers(folder)
    manifest, file = storage.read_manifest(folder), _published_file(folder, "rows.csv")
    rows = read_table(file, manifest.get("schema", 1), manifest.get("settings", {}))
    return [(None, row) for row in rows]


def _row(folder, k) -> Row:
    found = _answers(folder)
    if not 0 <= k < len(found):
        raise ValueError(f"{folder} has the rows 0..{len(found) - 1}; got {k}")
    row = found[k][1]
    if isinstance(row, Failure):
        raise ValueError(
            f"row {k} of {folder} failed and has no scores and no kept set: {row.reason}"
        )
    return row


def _readers(folder) -> tuple[Callable[[int, Row], Selection], Callable[[str], Scores]]:
    """(what reads the kept set of row k, what reads the scores that a row names)."""
    if _is_sweep(folder):
        stages_in = Path(read_sweep(folder)["cache"])
        return (
            lambda k, row: _load(Selection, stages_in / row.selection / "selection"),
            lambda name: _load(Scores, stages_in / name / "scores"),
        )
    return partial(_unpack_selection, cache(lambda: _masks(folder))), partial(
        _published_scores, folder
    )


def _load(kind, folder: Path):
    """What a stage in the cache left."""
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"a part of this row lay in {folder.parent}, which is gone: run the sweep again to "
            "make it anew"
        )
    try:
        with storage.damage_named():
            return kind.load(folder)
    except storage.Damaged as why:
        raise storage.Damaged(
            f"a part of this row lies in {folder.parent}, which is damaged: run the sweep again to "
            f"make it anew ({why})"
        ) from None


# ---- a sweep's folder ----------------------------------------------------------------------------


def _sweep_answers(folder) -> list[tuple[dict, Row | Failure]]:
    trials, found, older = read_sweep(folder)["trials"], [], 0
    for trial in trials:
        name = trial["name"]
        if is_older(trial):
            older += 1
        elif answer := _read(row_file(folder, name)) or _read(
            row_file(folder, name, transient=True)
        ):
            found.append((trial, answer))
    if older:
        warnings.warn(
            f"{older} of the {len(trials)} rows in {folder} were made by an older version of a "
            "stage and are left out: run the sweep again",
            stacklevel=4,
        )
    return found


def _read(file) -> Row | Failure | None:
    try:
        with storage.damage_named():
            return read_answer(file)
    except storage.Damaged as why:
        # not there, or a sweep that goes on has just made it a better one
        missing = isinstance(why.__cause__, (FileNotFoundError, NotADirectoryError))
        return None if missing else Failure(str(why), transient=True)


def _parameters(trial) -> dict:
    """The columns of a trial without a row: what it was asked to do, from sweep.json."""
    names = ("dataset", "num_samples", "model", "method", "prune_ratio", "keep", "seed")
    recipes = {name: Recipe(**trial[name]) for name in ("record", "retrain")}
    method = METHODS.get(trial["method"])
    options = (method.defaults if method else {}) | trial["options"]
    return {name: trial.get(name) for name in (*names, "record_epochs")} | {
        # in sweep.json where they are not the usual ones
        **{name: trial.get(name, "") for name in ("record_model", "fingerprint")},
        "options": json.dumps(options, sort_keys=True),
        "accuracy": None,
        "budget": recipes["retrain"].length,
        **{name: recipe.describe() for name, recipe in recipes.items()},
    }


# ---- a published table ---------------------------------------------------------------------------


def _masks(folder) -> np.ndarray:
    return np.load(_published_file(folder, "kept.npy"), allow_pickle=False)


def _unpack_selection(masks, k: int, row: Row) -> Selection:
    mask = np.unpackbits(masks()[k], count=row.num_samples)
    params = row.settings | {"seed": row.seed, "row": k}
    return Selection(np.flatnonzero(mask), row.num_samples, row.method, params)


def _published_scores(folder, name: str) -> Scores:
    file = _published_file(folder, name)
    said = scores_in_manifest(storage.read_manifest(folder)).get(name)
    if said is None:
        raise ValueError(f"manifest.json of {folder} does not say what {name} is; fetch it again")
    params = said.get("settings", {}) | {"seed": said["seed"]}
    return Scores(np.load(file, allow_pickle=False), said["score"], params)


def _published_file(folder, name) -> Path:
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
