"""A trial packed for a worker, with the methods, networks and image sets of one's own."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpkit.data.image_set import ImageSet
from dpkit.experiments.stored_sets import StoredSet
from dpkit.methods.catalog import METHODS
from dpkit.nets.builders import MODELS
from dpkit.storage.module_owner import is_library

if TYPE_CHECKING:
    from dpkit.experiments.trials import Trial


def pack(trial: Trial, sets: dict | None = None) -> bytes:
    """The trial as bytes, functions that were typed in a notebook or a script included.

    sets: what `store` returned for the trial's ImageSets: they are sent as that.
    ValueError if something of it cannot travel, such as a function that holds an open file.
    """
    import cloudpickle

    methods, models = {}, {}
    if isinstance(trial.method, str):
        methods[trial.method] = METHODS[trial.method]
    for model in (trial.model, trial.record_model):
        if model and isinstance(model, str):
            models[model] = MODELS[model]
    method = trial.method_object
    sent = copy.copy(trial)  # not checked again: what stands for a set is none
    if sets:
        vars(sent).update({name: sets[images] for name, images in own_sets(trial).items()})
    functions = [method.scorer, method.selector, *models.values(), trial.model, trial.record_model]
    try:
        with _by_value(functions):
            return cloudpickle.dumps((sent, methods, models))
    except Exception as error:  # whatever a function holds that pickle cannot take apart
        raise ValueError(
            f"{method.name} or its network cannot be sent to a worker: "
            f"{' '.join(str(error).split())}; let the function open files and devices when it is "
            "called, and hold none"
        ) from None


def own_sets(trial: Trial) -> dict[str, ImageSet]:
    """The image sets that the trial holds as objects, by the setting."""
    return {name: value for name, value in vars(trial).items() if isinstance(value, ImageSet)}


@contextmanager
def unpack(parcel: bytes) -> Iterator[Trial]:
    """The trial; while the block runs, the names in it are known in this process."""
    import cloudpickle

    # made by `pack` in the process that asked, not read from a file
    trial, methods, models = cloudpickle.loads(parcel)
    for name, value in vars(trial).items():
        if isinstance(value, StoredSet):
            vars(trial)[name] = value.load()
    tables: list[tuple[dict, dict]] = [(METHODS, methods), (MODELS, models)]
    before = [(table, name, table.get(name)) for table, names in tables for name in names]
    METHODS.update(methods)
    MODELS.update(models)
    try:
        yield trial
    finally:
        for table, name, value in before:
            if value is None:
                del table[name]
            else:
                table[name] = value


@contextmanager
def _by_value(functions):
    """Functions of modules that were not installed travel whole: a worker may not find the file."""
    import cloudpickle

    names = {getattr(function, "__module__", None) for function in functions} - {None, "__main__"}
    own = [sys.modules[name] for name in names if name in sys.modules and _is_own(name)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(name):
    return name.partition(".")[0] != "dpkit" and not is_library(name)
