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

import errno
import json
import math
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpkit import storage
from dpkit.experiments import clusters, grids, results, stages, trials
from dpkit.experiments.parcels import pack, unpacked
from dpkit.experiments.progress import Clock, Line, Progress
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.records import keep_count
from dpkit.storage.identity import identity

if TYPE_CHECKING:
    from distributed import Client
    from pandas import DataFrame


# worth another try by themselves
TRANSIENT_ERRORS = ("KilledWorker", "MemoryError", "OutOfMemoryError", "OSError", "CancelledError")


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
        Mistakes are refused, all at once, before the first training.
    client : a distributed.Client of any Dask cluster; None: processes on this machine (workers,
        each with `threads`). A worker trains one network at a time; where workers declare a GPU
        resource, only they train.
    out : the sweep's folder; default one in the cache, named by the grid. Stopped at any moment,
        the same call goes on: rows that are there stay, and stages that are in the cache are not
        run again. Another grid over the same folder adds to it; the table is then that of the new
        grid.
    cache : folder of the stages, reachable by all workers under this path; default
        storage.cache_folder().
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
    grids.InvalidGrid (a ValueError), OSError if a row cannot be written. A failed trial raises
    nothing.
    """
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    try:
        asked = grids.trials_of(grid)
    except grids.InvalidGrid as refused:
        raise grids.InvalidGrid(
            refused.mistakes + _facts_of(refused.trials, client, device)[1]
        ) from None
    cache = Path(cache or storage.cache_folder()).resolve()
    out = Path(out or cache / "sweeps" / storage.key_hash([trial.plain() for trial in asked]))
    on_progress = on_progress or Line()
    cells = _cells(asked, client, device)
    _write(out, cells, cache)
    done = {
        cell.name: _failed(file)
        for cell in cells
        if _finished(file := results.row_file(out, cell.name), cache, retry)
    }
    todo = [cell for cell in cells if cell.name not in done]
    progress = Progress(total=len(cells), done=len(done), failed=sum(done.values()))
    if todo:
        with clusters.connected(client, workers=workers, threads=threads, device=device) as own:
            suspects = _run(own, todo, out, cache, device, progress, on_progress, until)
            # one by one: who shared a worker with a trial that kills it is not to blame
            for cell in suspects:
                _run(own, [cell], out, cache, device, progress, on_progress, until, alone=True)
    on_progress(progress, last=True)
    return results.results_table(out)


@dataclass(frozen=True)
class Done:
    """A stage that a worker has run or found.   row: of the last stage, else None."""

    row: dict | None
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why a trial has no row.   transient: worth another try.   killed: its worker died."""

    reason: str
    transient: bool = False
    killed: bool = False


@dataclass
class _Cell:
    """A trial, the name of its row, and the names of the stages before it."""

    trial: trials.Trial
    name: str
    record: str | None
    num_samples: int
    here: dict  # what a worker must find, or its row would be another's
    parcel: bytes = b""  # the trial, as it is sent
    versions: dict = field(default_factory=dict)


# ---- before the first training -------------------------------------------------------------------


def _cells(asked, client, device):
    """The trials with their rows' names, which depend on the images and the kind of machine;
    Refused if a set is unfit.
    """
    facts, mistakes = _facts_of(asked, client, device)
    if mistakes:
        raise grids.InvalidGrid(mistakes)
    return [_cell(trial, facts[trial.dataset, trial.num_samples]) for trial in asked]


def _facts_of(asked, client, device):
    """({(dataset, num_samples): facts}, mistakes) of the sets of these trials."""
    facts, mistakes, resources = {}, [], clusters.training_resources(client) if client else None
    for trial in asked:
        which = (trial.dataset, trial.num_samples)
        if which not in facts:
            found = (
                client.submit(_facts, *which, device, pure=False, resources=resources).result()
                if client
                else _facts(*which, device)
            )
            facts[which] = found
            mistakes += [found["mistake"]] if "mistake" in found else []
        n = facts[which].get("n")
        try:
            _functions(trial)
            if n:
                for model in (trial.model, trial.watched):
                    builders.check_pixels(model, *facts[which]["pixels"])
            if n:
                trial.how.check(trial.options, n, facts[which]["classes"], trial.prune_ratio)
        except ValueError as error:
            mistakes.append(str(error))
        if n and keep_count(n, trial.prune_ratio) == 0:
            mistakes.append(
                f"prune_ratio {trial.prune_ratio} of {trial.dataset}'s {n} images leaves none to "
                "train on"
            )
    return facts, mistakes


def _facts(dataset, num_samples, device):
    """What a trial's numbers depend on besides its settings, as the training machine sees it."""
    from dpkit.training.loop import Recipe

    try:
        images, test = stages.load_sets(dataset, num_samples, device)
    except (OSError, ValueError, RuntimeError) as error:
        return {"mistake": f"the set {dataset} cannot be used: {error}"}
    around = {
        precision: stages.compute_environment(images, Recipe(precision=precision))
        for precision in ("auto", "fp32", "bf16")
    }
    return {
        "n": len(images),
        "classes": images.num_classes,
        "pixels": tuple(images.images.shape[2:]),
        "images": images.fingerprint,
        "test": test.fingerprint,
        "around": around,
    }


def _cell(trial, facts):
    method = trial.how
    watched = method.evidence is not None
    used = (
        stages.VERSIONS
        if watched
        else {stage: stages.VERSIONS[stage] for stage in ("select", "retrain")}
    )
    seen = {
        "images": facts["images"],
        "around": facts["around"][trial.record.precision],
        "version": stages.VERSIONS["record"],
    }
    record = {
        name: getattr(trial, name) for name in ("record_epochs", "seed", "snapshot_epoch")
    } | seen
    functions = _functions(trial)
    in_full = {
        "options": method.options | trial.options,  # a changed default is another row
        "reads": [method.evidence, *method.extras],
    } | functions
    exits = trials.exits_of(trial)
    plain = {
        name: value
        for name, value in trial.plain().items()
        if name not in ("exits", "exit_weights")
    }
    key = {
        "trial": plain | exits | in_full,
        "versions": used,
        "images": facts["images"],
        "test": facts["test"],
        "around": facts["around"][trial.retrain.precision],
    } | ({"record": seen} if watched else {})
    name = storage.key_hash(key)
    seen_by = functions.get("record_model", functions["model"])
    shared = (
        storage.key_hash(record | exits | {"recipe": trial.record.plain(), "model": seen_by})
        if watched
        else None
    )
    here = {
        "images": facts["images"],
        "test": facts["test"],
        "around": facts["around"][trial.retrain.precision],
        "functions": functions,
    }
    return _Cell(trial, name, shared, facts["n"], here, pack(trial), dict(used))


def _functions(trial):
    """What the trial's scorer, selector and network are, as this process has them."""
    scorer, selector = trial.how.codes()
    nets = {"model": trial.model} | (
        {"record_model": trial.record_model} if trial.record_model else {}
    )
    return {"scorer": scorer, "selector": selector} | {
        name: identity(builders.find_builder(model)) for name, model in nets.items()
    }


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
    if _failed(file):
        if retry:
            file.unlink()
        return not retry
    row = json.loads(file.read_text())["row"]
    return all((cache / row[stage]).exists() for stage in ("scores", "selection"))


def _failed(file):
    return bool(json.loads(file.read_text()).get("failed"))


# ---- the graph -----------------------------------------------------------------------------------


def _run(client, todo, out, cache, device, progress, on_progress, until, alone=False):
    """record -> score -> select -> retrain as Dask tasks, records shared; rows as they come.

    Returns the trials that were given up because their worker died again and again: Dask blames all
    that are assigned to a worker when it dies. With `alone` that is their failure.
    """
    from distributed import as_completed

    resources, run = clusters.training_resources(client), uuid.uuid4().hex[:8]
    records, rows, suspects = {}, {}, []

    def submit(stage, cell, before, name):
        return client.submit(
            _step,
            stage,
            cell.parcel,
            before,
            str(cache),
            device,
            cell.here,
            key=f"{stage}-{name}-{run}",
            pure=False,
            resources=resources,
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
            batch = _within(waiting, 1.0)
            for future in batch:
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
            progress.running, workers = _busy(client)
            progress.seconds_left = clock.left(workers)
            on_progress(progress)
    finally:
        # and with them what they waited for
        client.cancel([future for future in rows if not future.done()], force=True)
    progress.running = 0
    return suspects


def _within(waiting, seconds):
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
            return replace(_failure(error), transient=True, killed=True)
    error = future.exception() if future.status == "error" else None
    return (
        _failure(error) if error else Failure("cancelled: the cluster was closed", transient=True)
    )


def _busy(client):
    busy = [len(tasks) for tasks in client.processing().values()]
    return sum(n > 0 for n in busy), max(1, len(busy))


def _write_row(out, cell, answer):
    file = results.row_file(out, cell.name)
    failed = isinstance(answer, Failure)
    if failed and answer.transient:
        file = results.row_file(out, cell.name, passing=True)
    else:
        results.row_file(out, cell.name, passing=True).unlink(missing_ok=True)
    try:
        storage.write_json(
            file,
            {
                "kind": "Row",
                "versions": cell.versions,
                "trial": cell.trial.plain(),
                **({"failed": answer.reason} if failed else {"row": answer.row}),
            },
        )
    except OSError as error:
        why = "no space left" if error.errno == errno.ENOSPC else str(error)
        raise OSError(
            error.errno or errno.EIO,
            f"could not write a row to {out} ({why}); free space, and the same sweep goes "
            "on: nothing that was trained is lost",
        ) from error


# ---- on the workers ------------------------------------------------------------------------------

# a worker may have many threads, but random state, thread counts and peak memory are the process's
_ONE = threading.Lock()


def _step(stage, parcel, before, cache, device, here) -> Done | Failure:
    """One stage of a trial. Its mishap, or that of a stage before it, is handed on in words: it is
    no other trial's.
    """
    if isinstance(before, Failure):
        return before
    begun = time.perf_counter()
    try:
        with _ONE, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the subset of")  # the row's empty_classes says it
            with unpacked(parcel) as trial:
                row = _up_to(stage, trial, Path(cache), device, here)
    except Exception as error:
        return _failure(error)
    return Done(row, time.perf_counter() - begun)


def _up_to(stage, trial, cache, device, here):
    """Do the stage, reading those before it from the cache; the row, if it is the last."""
    images, test = stages.load_sets(trial.dataset, trial.num_samples, device)
    functions = _functions(trial)
    if functions != here["functions"]:
        raise OSError(
            f"the worker on {socket.gethostname()} has another {trial.how.name} or "
            f"{model_name(trial.model)} than the process that asked: let it have the same Python, "
            "the same dpkit and the same libraries"
        )
    found = {
        "images": images.fingerprint,
        "test": test.fingerprint,
        "around": stages.compute_environment(images, trial.retrain),
        "functions": functions,
    }
    if found != here:
        other = ", ".join(name for name in here if found[name] != here[name])
        raise OSError(
            f"the worker on {socket.gethostname()} differs from the one that was asked first "
            f"(other {other}): let all workers see the same data, and have the same kind of device "
            "and the same torch"
        )
    run = trials.run_of(trial, images, test, cache=cache).until(stage)
    return trials.finished(trial, run).row if run.result else None


def _failure(error) -> Failure:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = " ".join(str(error).split()) or type(error).__name__
    if "KilledWorker" in kinds:
        words = "the worker that ran it died, again and again: out of memory, or killed"
    elif "OutOfMemoryError" in kinds:
        words = f"the GPU's memory did not suffice: {words.split('. ')[0]}"
    elif not isinstance(error, (ValueError, FloatingPointError, OSError)):
        words = f"{type(error).__name__}: {words}"
    return Failure(words, not kinds.isdisjoint(TRANSIENT_ERRORS), "KilledWorker" in kinds)
