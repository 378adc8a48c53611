"""A grid of trials, from a YAML file or a dict: lists multiply, and mistakes are named beforehand.

    dataset: cifar10
    model: small_cnn
    method: [random, dual, {dual+beta: {c_d: [5.5, 4.0]}}]      # a method's settings multiply too
    prune_ratio: [0, 0.3, 0.5, 0.7, 0.8, 0.9]                   # fractions REMOVED; 0: trained once
    seed: [0, 1, 2]
    record: {epochs: 30}                                        # a Recipe: the watched training
    record_epochs: 30                                           # epochs of it to run (default: all)
    retrain: {budget: steps, steps: 3900}                       # a Recipe: training on what is kept
    retrain_at: {0.8: {batch_size: 64}, 0.9: {batch_size: 32}}  # what is different at some ratios

Settings of a method stand under its name. A prune_ratio of 0 is the whole set. What a Recipe does
not say is as suits the network. record_model, num_samples, snapshot_epoch, best_every, test, size,
exits and exit_weights (one list each) are as in Trial. A list of such grids is all of their trials.
A dataset may be the path of a folder, an .npz or a table, with test: beside it; in Python also an
ImageSet, {"dataset": images, "test": test_images, ...}, or a dataset object.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, field_validator

from dpkit import storage
from dpkit.experiments.given_sets import as_given, must_be_loaded
from dpkit.experiments.grid_cells import cells_of, is_number, is_whole, listed
from dpkit.experiments.trials import Trial
from dpkit.nets.builders import find_builder, model_name
from dpkit.storage.validation import InvalidSettings, checked
from dpkit.training.recipe import Recipe

NEEDED = ("dataset", "method", "prune_ratio", "record", "retrain")


def _given_once(value) -> list:
    """Dataset objects are read here: every trial would do it again."""
    return [as_given(each) for each in listed(value)]


def _one(value, info):
    if isinstance(value, list):
        raise ValueError(f"{info.field_name} must be one whole number; got a list")
    return value


_NOT_GIVEN: Any = ()
Values = Annotated[list, BeforeValidator(listed), Field(min_length=1)]
One = Annotated[Any, AfterValidator(_one)]


@checked(validate_default=False)
class Grid:
    """What a grid may say. Values are lists that multiply; what each of them may be, Trial and
    Recipe say.
    """

    dataset: Annotated[list, BeforeValidator(_given_once), Field(min_length=1)] = _NOT_GIVEN
    model: Values = _NOT_GIVEN
    record_model: Values = _NOT_GIVEN
    num_samples: Values = _NOT_GIVEN
    seed: Values = _NOT_GIVEN
    retrain: Values = _NOT_GIVEN
    prune_ratio: Values = _NOT_GIVEN
    method: Values = _NOT_GIVEN
    record: Any = None
    record_epochs: One = None
    snapshot_epoch: One = None
    best_every: One = None
    exits: Any = None
    exit_weights: Any = None
    test: Any = None
    size: One = None
    retrain_at: Annotated[
        dict[Any, InstanceOf[Mapping]],
        Field(description="a table of settings for ratios, as in {0.9: {batch_size: 32}}"),
    ] = _NOT_GIVEN

    @field_validator("test")
    @classmethod
    def _is_read_once(cls, test, info):
        return as_given(test, like=next(iter(info.data.get("dataset", ())), None))

    @field_validator("retrain_at")
    @classmethod
    def _are_ratios(cls, at, info):
        ratios = info.data.get("prune_ratio") or [*at]
        if unused := [repr(ratio) for ratio in at if ratio not in ratios]:
            raise ValueError(
                f"retrain_at names ratios that are not in prune_ratio: {', '.join(unused)}; add "
                "them there, or correct them"
            )
        return at


class InvalidGrid(ValueError):
    """The grid was refused whole, before the first training. mistakes: a sentence each.

    trials: some whose image sets have not been looked at yet.
    """

    def __init__(self, mistakes: Iterable[str], trials: Iterable[Trial] = ()) -> None:
        super().__init__(mistakes, trials)
        self.mistakes, self.trials = list(dict.fromkeys(mistakes)), list(trials)

    def __str__(self) -> str:
        return "\n".join(self.mistakes)


def trials_of(grid: Any) -> list[Trial]:
    """The trials of a grid (a YAML file's path, a dict, a list of dicts, or Trials), each once.

    Raises InvalidGrid with every mistake.
    """
    if isinstance(grid, (str, Path)):
        grid = _read(Path(grid))
    parts = list(grid) if isinstance(grid, (list, tuple)) else [grid]
    mistakes: list[str] = []
    trials: list[Trial] = []
    for part in parts:
        if isinstance(part, Trial):
            trials.append(part)
        elif isinstance(part, Mapping):
            trials += _trials(part, mistakes)
        else:
            mistakes.append(
                f"a grid is a table of {', '.join(NEEDED)} and others; got {type(part).__name__}"
            )
    once = list(
        {(storage.key_hash(trial.plain()), *_own(trial)): trial for trial in trials}.values()
    )
    mistakes += names_twice(once)
    if not once and not mistakes:
        mistakes.append(
            "expected at least one trial; the grid has none: give it a dataset, methods, ratios "
            "and recipes"
        )
    if mistakes:
        raise InvalidGrid(mistakes, once)
    return once


def _own(trial):
    """The functions behind the names of a trial: two of one name are two."""
    method = trial.method_object
    return method.scorer, method.selector, trial.model, trial.record_model


def names_twice(trials: Iterable[Trial]) -> list[str]:
    """Sentences for names that stand for two sets, methods or networks: their rows would be
    alike.
    """
    found: dict[tuple[str, str], set] = {}
    for trial in trials:
        images = trial.plain()
        found.setdefault(("sets", trial.set_name), set()).add(
            (images.get("fingerprint"), images.get("test"))
        )
        found.setdefault(("methods", trial.method_object.name), set()).add(
            (trial.method_object.scorer, trial.method_object.selector)
        )
        for model in (trial.model, trial.record_model or trial.model):
            found.setdefault(("networks", model_name(model)), set()).add(find_builder(model))
    return [
        f"two {what} are named {name!r}: give each a name of its own"
        for (what, name), some in found.items()
        if len(some) > 1
    ]


def _read(path):
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidGrid(
            [f"could not read the grid {path} ({error.strerror or error}): name a YAML file"]
        ) from None
    # ValueError: not UTF-8, or a date like 2026-13-01
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidGrid([f"{path} is not YAML: {' '.join(str(error).split())}"]) from None


def _trials(grid, mistakes):
    before, grid = len(mistakes), {str(name): value for name, value in grid.items()}
    page = _page(grid, mistakes)
    mistakes += [f"the grid needs {name}; it is missing" for name in NEEDED if name not in grid]
    largest, trials = _largest(page.get("prune_ratio", [])), []
    for cell in cells_of(page, mistakes):
        try:
            trials.append(_trial(cell, largest))
        except InvalidSettings as refused:  # what the cell lacks was missing or refused before
            mistakes += [each.sentence for each in refused.mistakes if not each.missing]
        except (TypeError, ValueError) as error:  # of a method of one's own
            mistakes.append(str(error))
    if len(mistakes) == before:
        return trials
    names = [
        name
        for name in page.get("dataset", [])
        if isinstance(name, str) and not must_be_loaded(name, None)
    ]
    return [Trial(name, "random", largest, 0, Recipe(), 1, Recipe()) for name in names]


def _page(grid, mistakes) -> dict:
    """What the grid says, {name: values}, without what is refused; sentences on that are added to
    the mistakes.
    """
    try:
        page = Grid(**grid)
    except InvalidSettings as refused:
        mistakes += [each.sentence for each in refused.mistakes]
        wrong = {each.setting for each in refused.mistakes}
        return _page({name: grid[name] for name in grid if name not in wrong}, mistakes)
    return {name: getattr(page, name) for name in grid}


def _trial(cell, largest) -> Trial:
    """The trial of a cell. Nothing pruned: the same training whatever the method, which is checked
    all the same, at the largest ratio.
    """
    if not is_whole(cell):
        return Trial(**cell)
    trial = Trial(**cell | {"prune_ratio": largest})
    return replace(trial, method="random", options={}, prune_ratio=0.0)


def _largest(ratios) -> float:
    """At which every cutoff fits that fits at any."""
    return float(max((some for some in ratios if is_number(some) and 0 < some < 1), default=0.5))
