"""What runs on a worker of a sweep: one stage of a trial at a time; its mishap in words."""

import socket
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpkit import storage
from dpkit.experiments import stages, trials
from dpkit.experiments.parcels import unpack
from dpkit.experiments.rows import Failure, Row
from dpkit.experiments.stored_sets import StoredSet
from dpkit.experiments.trials import Trial
from dpkit.nets import builders
from dpkit.nets.builders import model_name
from dpkit.storage.identity import identity
from dpkit.storage.provenance import versions
from dpkit.training.recipe import Recipe

# worth another try by themselves
TRANSIENT_ERRORS = ("KilledWorker", "MemoryError", "OutOfMemoryError", "OSError", "CancelledError")


@dataclass(frozen=True)
class Done:
    """A stage that a worker has run or found.   row: of the last stage, else None."""

    row: Row | None
    seconds: float


# a worker may have many threads, but random state, thread counts and peak memory are the process's
_ONE = threading.Lock()


def run_stage(
    stage: str, parcel: bytes, before: Any, cache: str | Path, device: str, expected: Any
) -> Done | Failure:
    """One stage of a trial. Its mishap, or that of a stage before it, is handed on in words: it is
    no other trial's.
    """
    if isinstance(before, Failure):
        return before
    begun = time.perf_counter()
    try:
        with _ONE, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the subset of")  # the row's empty_classes says it
            with unpack(parcel) as trial:
                row = _up_to(stage, trial, Path(cache), device, expected)
    except Exception as error:
        return failure(error)
    return Done(row, time.perf_counter() - begun)


def _up_to(stage, trial, cache, device, expected):
    """Do the stage, reading those before it from the cache; the row, if it is the last."""
    images, test = stages.load_sets(trial.dataset, trial.num_samples, device, trial.test)
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
    """What a trial's numbers depend on besides its settings, as this machine sees it."""
    try:
        dataset, test = (
            part.load() if isinstance(part, StoredSet) else part for part in (dataset, test)
        )
        images, test = stages.load_sets(dataset, num_samples, device, test)
    except (OSError, ValueError, RuntimeError) as error:
        return {"mistake": str(error)} | software()
    around = {
        precision: stages.compute_environment(images, Recipe(precision=precision))
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
    elif "OutOfMemoryError" in kinds:
        words = f"the GPU's memory did not suffice: {words.split('. ')[0]}"
    elif isinstance(error, storage.DiskFault):
        words = error.strerror
    elif not isinstance(error, (ValueError, FloatingPointError, OSError)):
        words = f"{type(error).__name__}: {words}"
    return Failure(words, not kinds.isdisjoint(TRANSIENT_ERRORS), "KilledWorker" in kinds)
