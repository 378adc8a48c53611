"""Many trials, on one machine or many: nothing lost, nothing computed twice.

A sweep's folder holds
    sweep.json     the trials in order, each with the name of its row, and the cache folder with
                   their stages
    rows/          <name>.json per trial that finished, or failed for a reason: written whole, read
                   by results_table
The stages (records, scores, selections, trained results) lie in the cache, which all workers must
reach.
"""

from __future__ import annotations

import math
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpkit import storage
from dpkit.experiments import clusters, grids, results
from dpkit.experiments.attendance import Attendance
from dpkit.experiments.progress import Clock, Line, Progress
from dpkit.experiments.row_files import read_answer, write_answer
from dpkit.experiments.rows import Failure, Row
from dpkit.experiments.space import space_note
from dpkit.experiments.sweep_plan import cells_of, mistakes_of
from dpkit.experiments.sweep_worker import Done, failure, run_stage
from dpkit.records import keep_count

if TYPE_CHECKING:
    from distributed import Client
    from pandas import DataFrame


def sweep(
    grid: Any,
    client: Client | None = None,
    *,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int | None = None,
    threads: int = 1,
    device: str = "auto",
    retry: bool = False,
    minutes: float | None = None,
    on_progress: Callable | None = None,
) -> DataFrame:
    """Run every trial of a grid; return its table, a row per trial, failed ones with their reason.

    Parameters
    ----------
    grid : a YAML file's path, a dict, a list of dicts or of Trials (see dpkit.experiments.grids).
        Mistakes are refused, all at once, before the first training. A dict's dataset may be an
        ImageSet, with its test set as test.
    client : a distributed.Client of any Dask cluster; None: processes on this machine (workers,
        each with `threads`). A worker trains one network at a time; where workers declare a GPU
        resource, only they train.
    out : the sweep's folder; default one in the cache, named by the grid. Stopped at any moment,
        the same call goes on: rows that are there stay, and stages that are in the cache are not
        run again. Another grid over the same folder adds to it; the table is then that of the new
        grid.
    cache : folder of the stages, and of ImageSets that the grid holds, which so travel once;
        reachable by all workers under this path; default storage.cache_folder().
    workers, threads : processes on this machine, and torch's threads in each.
    device : "auto" is a GPU if there is one, else the CPU.
    retry : also run those again that failed for a reason of their own, such as a loss that became
        NaN.
    minutes : stop after so many, with the rows that are there by then. A training that is stopped
        keeps its checkpoint, and the same call goes on from it: a long sweep in short pieces. (On a
        client's cluster, trainings that run at that moment go on to their end, and are found by the
        next call.)
    on_progress : called with a Progress about once a second; default: a line that is written over.

    Returns
    -------
    results_table(out), a DataFrame.

    Raises
    ------
    grids.InvalidGrid (a ValueError), also if workers are unlike; FileExistsError if `out` is taken,
    or another run writes it now; storage.UnusablePlace if `out` or the cache cannot be written to;
    storage.DiskFault if a row finds the disk full; Unavailable (a ConnectionError) if the scheduler
    is lost, or no worker came within `minutes`: the same call goes on. A failed trial raises
    nothing.
    """
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    cache = Path(cache or storage.cache_folder()).resolve()
    on_progress, progress = on_progress or Line(), Progress(total=0)

    def tell(waiting_for):
        progress.waiting_for = waiting_for
        on_progress(progress)

    attendance = Attendance(client, tell, until) if client else None
    try:
        trials = grids.trials_of(grid)
    except grids.InvalidGrid as refused:
        more = mistakes_of(refused.trials, attendance, device, cache)
        raise grids.InvalidGrid(refused.mistakes + more) from None
    progress.total = len(trials)
    out = Path(out or cache / "sweeps" / storage.key_hash([trial.plain() for trial in trials]))
    for place in (out, cache):
        storage.check_folder(place)
    with storage.claimed(out):
        cells = cells_of(trials, attendance, device, cache)
        _write(out, cells, cache)
        done = {
            cell.name: _failed(file)
            for cell in cells
            if _finished(file := results.row_file(out, cell.name), cache, retry)
        }
        todo = [cell for cell in cells if cell.name not in done]
        sizes = {cell.record: cell.record_bytes for cell in todo if cell.record_bytes}
        if note := space_note(sizes.values(), cache):
            warnings.warn(note, stacklevel=2)
        progress.total, progress.done, progress.failed = len(cells), len(done), sum(done.values())
        if todo:
            with clusters.connected(client, workers=workers, threads=threads, device=device) as own:
                attendance = attendance or Attendance(own, tell, until)
                attendance.first_workers()
                suspects = _run(attendance, todo, out, cache, device, progress, on_progress, until)
                # one by one: who shared a worker with a trial that kills it is not to blame
                for cell in suspects:
                    _run(
                        attendance,
                        [cell],
                        out,
                        cache,
                        device,
                        progress,
                        on_progress,
                        until,
                        alone=True,
                    )
        on_progress(progress, last=True)
        return results.results_table(out)


# ---- the folder ----------------------------------------------------------------------------------


def _write(out, cells, cache):
    kind = storage.read_manifest(out).get("kind")
    if kind:
        raise FileExistsError(f"{out} holds a {kind.lower()}; name another folder for the sweep")
    before = _trials_before(out) if (out / results.SWEEP).exists() else []
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
    storage.write_json(
        out / results.SWEEP,
        {
            "kind": "Sweep",
            "schema": 1,
            "cache": cache,
            "trials": [
                {
                    "name": cell.name,
                    "versions": cell.versions,
                    **cell.trial.plain(),
                    "num_samples": cell.num_samples,
                    "keep": keep_count(cell.num_samples, cell.trial.prune_ratio),
                }
                for cell in cells
            ],
        },
    )


def _trials_before(out):
    said = results.read_sweep(out)
    if not isinstance(said, dict) or said.get("kind") != "Sweep":
        raise FileExistsError(
            f"{out / results.SWEEP} is not a sweep's of dpkit; name another folder for the sweep"
        )
    return said["trials"]


def _finished(file, cache, retry):
    """Whether this row is there, with its scores and selection; on `retry`, no failed one."""
    if not file.exists():
        return False
    answer = read_answer(file)
    if isinstance(answer, Row):
        return all((cache / stage).exists() for stage in (answer.scores, answer.selection))
    if retry and not answer.newer:
        file.unlink()
    return answer.newer or not retry


def _failed(file):
    return isinstance(read_answer(file), Failure)


# ---- the graph -----------------------------------------------------------------------------------


def _run(attendance, todo, out, cache, device, progress, on_progress, until, alone=False):
    """record -> score -> select -> retrain as Dask tasks, records shared; rows as they come.

    Returns the trials that were given up because their worker died again and again: Dask blames all
    that are assigned to a worker when it dies. With `alone` that is their failure.
    """
    from distributed import as_completed

    client, run = attendance.client, uuid.uuid4().hex[:8]
    records, rows, suspects = {}, {}, []

    def submit(stage, cell, before, name):
        return client.submit(
            run_stage,
            stage,
            cell.parcel,
            before,
            str(cache),
            device,
            cell.expected,
            key=f"{stage}-{name}-{run}",
            pure=False,
            resources=attendance.resources or None,
        )

    for cell in todo:
        before = None
        if cell.record:
            if cell.record not in records:
                records[cell.record] = submit("record", cell, None, cell.record)
            # a quick one: read, if another trial did it
            before = submit("score", cell, records[cell.record], cell.name)
        before = submit("select", cell, before, cell.name)
        rows[submit("retrain", cell, before, cell.name)] = cell
    waiting = as_completed([*records.values(), *rows], raise_errors=False)
    clock = Clock(len(records), len(rows))
    try:
        while not waiting.is_empty() and time.monotonic() < until:
            batch = _next_finished(waiting, 1.0)
            for future in batch:
                if future.cancelled():  # by the client, which has lost the scheduler
                    raise attendance.lost()
                answer = _answer(future)
                if future in rows:
                    cell = rows.pop(future)
                    if isinstance(answer, Failure) and answer.killed and not alone:
                        suspects.append(cell)
                        continue
                    progress.done += 1
                    progress.failed += isinstance(answer, Failure)
                    clock.row(answer)
                    _write_row(out, cell, answer)
                else:
                    clock.record(answer)
            progress.running, workers = _busy(attendance)
            progress.seconds_left = clock.left(workers)
            on_progress(progress)
    finally:
        if not attendance.is_lost:  # and with them what they waited for
            client.cancel([future for future in rows if not future.done()], force=True)
    progress.running = 0
    return suspects


def _next_finished(waiting, seconds):
    """The futures that finish within so many seconds, as they come."""
    until, found = time.monotonic() + seconds, []
    while not waiting.is_empty() and not found and time.monotonic() < until:
        found = list(waiting.next_batch(block=False))
        if not found:
            time.sleep(0.02)
    return found


def _answer(future) -> Done | Failure:
    if future.status == "finished":
        try:
            return future.result()
        except Exception as error:  # lost with its worker just now: run again, it is in the cache
            return replace(failure(error), transient=True, killed=True)
    return failure(future.exception())


def _busy(attendance):
    attendance.workers()
    busy = [len(tasks) for tasks in attendance.ask("processing", workers=None).values()]
    return sum(n > 0 for n in busy), max(1, len(busy))


def _write_row(out, cell, answer):
    file = results.row_file(out, cell.name)
    failed = isinstance(answer, Failure)
    if failed and answer.transient:
        file = results.row_file(out, cell.name, transient=True)
    else:
        results.row_file(out, cell.name, transient=True).unlink(missing_ok=True)
    about = {"versions": cell.versions, "trial": cell.trial.plain()}
    write_answer(file, answer if failed else answer.row, **about)
