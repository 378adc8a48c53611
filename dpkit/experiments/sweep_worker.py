"""What runs on a worker of a sweep: one stage of a trial at a time; its mishap in words."""

import json
import os
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dpkit import storage
from dpkit.data.devices import auto_device
from dpkit.experiments import stages, trials
from dpkit.experiments.parcels import unpack
from dpkit.experiments.rows import Failure, Row
from dpkit.experiments.stored_sets import StoredSet
from dpkit.experiments.trials import Trial
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.storage.identity import identity
from dpkit.storage.long_work import heard_by
from dpkit.storage.provenance import versions
from dpkit.training.faults import gpu_is_lost
from dpkit.training.recipe import Recipe

# faults of the trial itself: a loss that diverged, a setting that is refused. All else may pass,
# and so may what is said of a file
PERMANENT_ERRORS = (ArithmeticError, ValueError)
OF_FILES = (storage.NewerFormat, storage.Damaged, json.JSONDecodeError, UnicodeError)


@dataclass(frozen=True)
class Done:
    """A stage that a worker has run or found.   row: of the last stage, else None.

    notes : what was set aside for it.
    """

    row: Row | None
    seconds: float
    notes: tuple[str, ...] = ()


class _OneThread:
    """Runs what it is given in one thread, one after another.

    A worker may have many threads, but random state, thread counts and peak memory are the
    process's, and what torch.compile made belongs to the thread that made it.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._started = threading.Lock()

    def run(self, function: Callable, *arguments: Any) -> Any:
        """function(*arguments), or what it raises."""
        answer: Future = Future()
        self._calls.put((answer, function, arguments))
        if self._started.acquire(blocking=False):
            # a daemon: a process that shall end does not wait for a training
            threading.Thread(target=self._serve, name="dpkit-training", daemon=True).start()
        return answer.result()

    def _serve(self):
        while True:
            answer, function, arguments = self._calls.get()
            try:
                answer.set_result(function(*arguments))
            except BaseException as error:
                answer.set_exception(error)


_TRAINING = _OneThread()
_LOST_GPU = threading.Event()  # of this process, once and for all


def run_stage(
    stage: str, parcel: bytes, before: Any, cache: str | Path, device: str, expected: Any
) -> Done | Failure:
    """One stage of a trial. Its mishap, or that of a stage before it, is handed on in words: it is
    no other trial's.
    """
    if isinstance(before, Failure):
        return before
    notes = list(before.notes) if before else []
    done = _TRAINING.run(_run_stage, stage, parcel, notes, cache, device, expected)
    return done or _without_gpu()


def _run_stage(stage, parcel, notes, cache, device, expected):
    if _LOST_GPU.is_set():  # perhaps while this one waited for its turn
        return None
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings(), heard_by(None), storage.set_aside_noted(notes):
            warnings.filterwarnings("ignore", "the subset of")  # the row's empty_classes says it
            with unpack(parcel) as trial:
                row = _up_to(stage, trial, Path(cache), device, expected)
    except Exception as error:
        if gpu_is_lost(error):
            _LOST_GPU.set()
        return replace(failure(error), notes=tuple(notes))
    return Done(row, time.perf_counter() - begun, tuple(notes))


def _without_gpu():
    """End this worker: its GPU is lost to the process. Its nanny starts another one; without a
    nanny it leaves the cluster, or it would fail trials faster than others can take them.
    """
    from distributed import Reschedule, get_worker

    try:
        worker = get_worker()
    except ValueError:  # no worker's task
        return Failure("this worker's GPU was lost in an earlier trial: restart it", transient=True)
    if worker.nanny is not None:
        os._exit(1)
    worker.loop.add_callback(worker.close, executor_wait=False, reason="dpkit-lost-its-gpu")
    raise Reschedule


def _up_to(stage, trial, cache, device, expected):
    """Do the stage, reading those before it from the cache; the row, if it is the last."""
    try:
        images, test = stages.load_sets(trial.dataset, trial.num_samples, device, trial.test)
    except ValueError as error:  # of a file, and not of the trial: it was fit when it was asked for
        raise OSError(f"the set {trial.set_name} cannot be used: {error}") from None
    functions = functions_of(trial)
    if functions != expected["functions"]:
        raise OSError(
            f"the worker on {socket.gethostname()} has another {trial.method_object.name} or "
            f"{model_name(trial.model)} than the process that asked: let it have the same Python, "
            "the same dpkit and the same libraries"
        )
    found = software() | {
        "images": images.fingerprint,
        "test": test.fingerprint,
        "around": stages.compute_environment(images, trial.retrain),
        "functions": functions,
    }
    if found != expected:
        other = ", ".join(name for name in expected if found[name] != expected[name])
        raise OSError(
            f"the worker on {socket.gethostname()} differs from the one that was asked first "
            f"(other {other}): let all workers see the same data, and have the same kind of device "
            "and the same torch"
        )
    run = trials.run_of(trial, images, test, cache=cache).until(stage)
    return trials.make_outcome(trial, run).row if run.result else None


def functions_of(trial: Trial) -> dict:
    """What the trial's scorer, selector and network are, as this process has them."""
    scorer, selector = trial.method_object.codes()
    nets = {"model": trial.model} | (
        {"record_model": trial.record_model} if trial.record_model else {}
    )
    return {"scorer": scorer, "selector": selector} | {
        name: identity(builders.find_builder(model)) for name, model in nets.items()
    }


def software() -> dict:
    """What the workers and the process that asks must have alike: {name: version}."""
    found = versions()
    return {"dpkit": found.get("dpkit", ""), "python": ".".join(found["python"].split(".")[:2])}


def facts_of(dataset: Any, num_samples: int, test: Any, device: str) -> dict:
    """What a trial's numbers depend on besides its settings, as this machine sees it.

    On the CPU: a GPU in exclusive mode is then left to the worker that will train.
    """
    try:
        device = auto_device(device)
        dataset, test = (
            part.load() if isinstance(part, StoredSet) else part for part in (dataset, test)
        )
        images, test = stages.load_sets(dataset, num_samples, "cpu", test)
    except (OSError, ValueError, RuntimeError) as error:
        return {"mistake": str(error)} | software()
    around = {
        precision: stages.compute_environment(images, Recipe(precision=precision), device)
        for precision in ("auto", "fp32", "bf16")
    }
    return software() | {
        "n": len(images),
        "classes": images.num_classes,
        "channels": images.in_channels,
        "pixels": tuple(images.images.shape[2:]),
        "images": images.fingerprint,
        "test": test.fingerprint,
        "around": around,
    }


def failure(error: BaseException) -> Failure:
    """The error in words."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = " ".join(str(error).split()) or type(error).__name__
    if "KilledWorker" in kinds:
        words = "the worker that ran it died, again and again: out of memory, or killed"
    elif gpu_is_lost(error):
        words = f"the GPU failed: {str(error).splitlines()[0]}"
    elif "OutOfMemoryError" in kinds:
        words = f"the GPU's memory did not suffice: {words.split('. ')[0]}"
    elif isinstance(error, storage.DiskFault):
        words = error.strerror
    elif not isinstance(error, (ValueError, FloatingPointError, OSError)):
        words = f"{type(error).__name__}: {words}"
    permanent = isinstance(error, PERMANENT_ERRORS) and not isinstance(error, OF_FILES)
    return Failure(words, transient=not permanent, killed="KilledWorker" in kinds)
