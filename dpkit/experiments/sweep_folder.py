"""A sweep's folder before its first trial: sweep.json is written, and what is there is counted.

What dpkit wrote there and is damaged is set aside, and made again.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from dpkit import storage
from dpkit.experiments import results
from dpkit.experiments.cache import load_once
from dpkit.experiments.row_files import read_answer
from dpkit.experiments.rows import Failure, Row
from dpkit.experiments.sweep_plan import Cell
from dpkit.records import Scores, Selection, keep_count


def prepare(out: Path, cells: Sequence[Cell], cache: Path) -> None:
    """Write sweep.json, with a warning for rows that are there and not of these trials.

    FileExistsError if the folder is not a sweep's.
    """
    kind = storage.read_manifest(out).get("kind")
    if kind:
        raise FileExistsError(f"{out} holds a {kind.lower()}; name another folder for the sweep")
    before = _trials_before(out)
    older = sum(results.is_older(trial) for trial in before)
    if older:
        warnings.warn(
            (
                f"{older} rows in {out} were made by an older version of a stage: they are left "
                "unused, and made anew"
            ),
            stacklevel=3,
        )
    gone = {trial["name"] for trial in before if not results.is_older(trial)} - {
        cell.name for cell in cells
    }
    if gone:
        warnings.warn(
            f"{len(gone)} trials of an earlier grid in {out} are not in this one: their rows stay "
            "there, and are not in this table",
            stacklevel=3,
        )
    said = [
        {
            "name": cell.name,
            "versions": cell.versions,
            **cell.trial.plain(),
            "num_samples": cell.num_samples,
            "keep": keep_count(cell.num_samples, cell.trial.prune_ratio),
        }
        for cell in cells
    ]
    whole = {"kind": "Sweep", "schema": results.SCHEMA, "cache": cache, "trials": said}
    storage.write_json(out / results.SWEEP, storage.with_checksum(whole))


def _trials_before(out):
    """The trials of an earlier call. What is damaged of the folder is set aside."""
    storage.expect_folder(results.row_file(out, "any").parent)
    before = storage.read_or_set_aside(out / results.SWEEP, lambda: results.read_sweep(out))
    return before["trials"] if before else []


def answer_there(file: Path, cache: Path, retry: bool) -> Row | Failure | None:
    """The row that is there, if its scores and selection are too; on `retry`, no failed one."""
    answer = storage.read_or_set_aside(file, lambda: read_answer(file))
    if isinstance(answer, Row):
        return answer if _has_stages(answer, cache) else None
    if answer and retry and not answer.newer:
        file.unlink()
        return None
    return answer


def _has_stages(row, cache):
    """Whether what the row names can be read; a worker sees to what cannot."""
    try:
        with storage.damage_named():
            load_once(Selection, cache / row.selection / "selection")
            if row.scores:
                load_once(Scores, cache / row.scores / "scores")
            return True
    except (storage.Damaged, storage.NewerFormat):
        return False
