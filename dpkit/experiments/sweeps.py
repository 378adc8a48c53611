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
from dpkit.experiments import clusters, results
from dpkit.experiments.attendance import ANSWER, OWN_ANSWER, Attendance
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.progress import Clock, Line, Progress
from dpkit.experiments.row_files import write_answer
from dpkit.experiments.rows import Failure
from dpkit.experiments.space import space_note
from dpkit.experiments.stages import RECORD
from dpkit.experiments.sweep_folder import answer_there, prepare
from dpkit.experiments.sweep_plan import cells_of, trials_of
from dpkit.experiments.sweep_worker import Done, failure, run_stage
from dpkit.experiments.tables import describe_failures

if TYPE_CHECKING:
    from distributed import Client
    from pandas import DataFrame


class FailedTrials(UserWarning):
    """What failed in a sweep, why, and how to go on."""


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
        Mistakes are refused, all at once, before the first training; on a client's cluster those
        of the grid itself before any worker is asked. A dict's dataset may be an
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
    retry : also run those again that failed for a reason of their own: a loss that became NaN, or a
        setting that is refused. What failed for another reason, such as a full disk, is run again
        by itself.
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
    nothing: a warning, FailedTrials, says at the end what failed and how to go on. Files of the
    cache or of `out` that are damaged are set aside, with a warning, and made again.
    """
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    cache = Path(cache or storage.cache_folder()).resolve()
    on_progress, progress = on_progress or Line(), Progress(total=0)

    def tell(waiting_for):
        progress.waiting_for = waiting_for
        on_progress(progress)

    attendance = Attendance(client, tell, until) if client else None
    trials = trials_of(grid, attendance, device, cache)
    progress.total = len(trials)
    out = Path(out or cache / "sweeps" / storage.key_hash([trial.plain() for trial in trials]))
    for place in (out, cache):
        storage.check_folder(place)
    with storage.claimed(out, inside=True):
        cells = cells_of(trials, attendance, device, cache)
        prepare(out, cells, cache)
        todo = _todo(out, cells, cache, retry, progress)
        sizes = {cell.record: cell.record_bytes for cell in todo if cell.record_bytes}
        if note := space_note(sizes.values(), cache):
            warnings.warn(note, stacklevel=2)
        if todo:
            on_worker = device if client else clusters.worker_device(device)
            with clusters.connected(client, workers=workers, threads=threads, device=device) as own:
                attendance = attendance or Attendance(own, tell, until, OWN_ANSWER)
                attendance.first_workers()
                more = (on_worker, progress, on_progress, until)
                suspects = _run(attendance, todo, out, cache, *more)
                # one by one: who shared a worker with a trial that kills it is not to blame
                for cell in suspects:
                    _run(attendance, [cell], out, cache, *more, alone=True)
        on_progress(progress, last=True)
        table = results.results_table(out)
    if lines := describe_failures(table, "the same call", "retry=True"):
        warnings.warn("\n".join(lines), FailedTrials, stacklevel=2)
    return table


def _todo(out, cells, cache, retry, progress):
    """The cells that have no answer yet; the others are counted in the progress."""
    there = [answer_there(results.row_file(out, cell.name), cache, retry) for cell in cells]
    todo = [cell for cell, answer in zip(cells, there, strict=True) if not answer]
    progress.total, progress.done = len(cells), len(cells) - len(todo)
    progress.failed = sum(isinstance(answer, Failure) for answer in there)
    return todo


# ---- the graph -----------------------------------------------------------------------------------


def _run(attendance, todo, out, cache, device, progress, on_progress, until, alone=False):
    """The stages as Dask tasks, records shared; rows as they come.

    Returns the trials that were given up because their worker died again and again: Dask blames all
    that are assigned to a worker when it dies. With `alone` that is their failure.
    """
    from distributed import as_completed

    client, run = attendance.client, uuid.uuid4().hex[:8]
    records, rows, suspects, said = {}, {}, [], set()

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
        for stage in stage_versions(recorded=bool(cell.record)):
            if stage == RECORD.name:  # one for all trials that watch the same training
                if cell.record not in records:
                    records[cell.record] = submit(stage, cell, None, cell.record)
                before = records[cell.record]
            else:  # a quick one: read, if another trial did it
                before = submit(stage, cell, before, cell.name)
        rows[before] = cell
    waiting = as_completed([*records.values(), *rows], raise_errors=False)
    clock = Clock(len(records), len(rows))
    try:
        while not waiting.is_empty() and time.monotonic() < until:
            batch = _next_finished(waiting, 1.0)
            for future in batch:
                if future.cancelled():  # by the client, which has lost the scheduler
                    raise attendance.lost()
                answer = _answer(future)
                for note in set(answer.notes) - said:
                    warnings.warn(note, storage.SetAside, stacklevel=3)
                said.update(answer.notes)
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
    if future.status == "error":
        return failure(future.exception())
    try:
        return future.result(timeout=ANSWER)
    except Exception as error:  # lost with its worker just now: run again, it is in the cache
        return replace(failure(error), transient=True, killed=True)


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
