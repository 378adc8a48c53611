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
not say is as suits the network. record_model, num_samples, snapshot_epoch, best_every, exits and
exit_weights (one list each) are as in Trial. A list of such grids is all of their trials.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from pathlib import Path

from dpkit import storage
from dpkit.experiments.trials import Trial
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method
from dpkit.nets.builders import find_builder, model_name, suited
from dpkit.training.loop import Recipe

WHOLE = ("epochs", "batch_size", "steps")  # settings of a recipe
NUMBERS = ("lr", "momentum", "weight_decay", "norm_bias_lr", "label_smoothing")
MANY = (
    "dataset",
    "model",
    "record_model",
    "method",
    "num_samples",
    "seed",
    "prune_ratio",
    "retrain",
)  # may be lists
NEEDED = ("dataset", "method", "prune_ratio", "record", "retrain")
LISTS = {
    "exits": "stages, as in [0, 1]",
    "exit_weights": "numbers, as in [1, 1, 2]",
}  # are lists themselves
KEYS = (*MANY, "record", "record_epochs", "retrain_at", "snapshot_epoch", "best_every", *LISTS)


class InvalidGrid(ValueError):
    """The grid was refused whole, before the first training. mistakes: a sentence each.

    trials: some whose image sets have not been looked at yet.
    """

    def __init__(self, mistakes, trials=()):
        self.mistakes, self.trials = list(dict.fromkeys(mistakes)), list(trials)
        super().__init__("\n".join(self.mistakes))


def trials_of(grid) -> list[Trial]:
    """The trials of a grid (a YAML file's path, a dict, a list of dicts, or Trials), each once.

    Raises InvalidGrid with every mistake.
    """
    if isinstance(grid, (str, Path)):
        grid = _read(Path(grid))
    parts = list(grid) if isinstance(grid, (list, tuple)) else [grid]
    mistakes, trials = [], []
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
    mistakes += _names_twice(once)
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
    method = trial.how
    return method.scorer, method.selector, trial.model, trial.record_model


def _names_twice(trials):
    """Sentences for names that stand for two methods or networks: rows could not be told apart."""
    found = {}
    for trial in trials:
        found.setdefault(("methods", trial.how.name), set()).add(
            (trial.how.scorer, trial.how.selector)
        )
        for model in filter(None, (trial.model, trial.record_model)):
            found.setdefault(("networks", model_name(model)), set()).add(find_builder(model))
    return [
        f"two {what} are named {name!r}: give each a name of its own"
        for (what, name), some in found.items()
        if len(some) > 1
    ]


def _names_and_builders(values):
    return [value for value in values if isinstance(value, str) or callable(value)]


def _read(path):
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidGrid(
            [f"could not read the grid {path} ({error.strerror or error}): name a YAML file"]
        ) from None
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: not UTF-8, or a date like 2026-13-01
        raise InvalidGrid([f"{path} is not YAML: {' '.join(str(error).split())}"]) from None


def _trials(grid, mistakes):
    before = len(mistakes)
    for name in grid:
        if name not in KEYS:
            mistakes.append(_unknown(name, KEYS, "a grid has no"))
    mistakes += [f"the grid needs {name}; it is missing" for name in NEEDED if name not in grid]
    for name in ("record_epochs", "snapshot_epoch", "best_every"):
        if isinstance(grid.get(name), list):
            mistakes.append(f"{name} must be one whole number; got a list")
    lists = {name: grid[name] for name in LISTS if isinstance(grid.get(name), (list, tuple))}
    mistakes += [
        f"{name} must be a list of {what}; got {grid[name]!r}"
        for name, what in LISTS.items()
        if name in grid and name not in lists
    ]
    axes = {
        name: _listed(grid[name])
        for name in MANY
        if name in grid and name not in ("method", "prune_ratio", "retrain")
    }
    for name in ("dataset", "model", "record_model"):
        mistakes += [
            f"{name} must be a name; got {value!r}"
            for value in axes.get(name, [])
            if not (isinstance(value, str) or (name != "dataset" and callable(value)))
        ]
    for name, values in axes.items():
        if not values:
            mistakes.append(f"{name} must have at least one value; the list is empty")
    methods = [
        variant
        for entry in _listed(grid.get("method", []))
        for variant in _variants(entry, mistakes)
    ]
    ratios = [ratio for ratio in _listed(grid.get("prune_ratio", [])) if _is_ratio(ratio, mistakes)]
    at = grid.get("retrain_at", {})
    if not isinstance(at, Mapping):
        mistakes.append(
            f"retrain_at must give settings for ratios, as in {{0.9: {{batch_size: 32}}}}; got "
            f"{at!r}"
        )
        at = {}
    unused = [ratio for ratio in at if ratio not in ratios]
    mistakes += [
        f"retrain_at names the ratio {ratio!r}, which is not in prune_ratio" for ratio in unused
    ]
    models = axes.setdefault("model", [Trial.model])
    records = {
        model: _recipe("record", model, grid.get("record", {}), {}, mistakes)
        for model in _names_and_builders(axes.get("record_model") or models)
    }
    listed = list(enumerate(_listed(grid.get("retrain", {}))))
    retrains = {
        (model, i, ratio): _recipe("retrain", model, settings, at.get(ratio, {}), mistakes)
        for model in _names_and_builders(models)
        for i, settings in listed
        for ratio in ratios or [None]
    }
    record = next(iter(records.values()), None)
    for name in ("method", "prune_ratio", "retrain"):
        if name in grid and not _listed(grid[name]):
            mistakes.append(f"{name} must have at least one value; the list is empty")
    axes.setdefault("seed", [0])
    more = {
        name: grid[name]
        for name in ("snapshot_epoch", "best_every", "record_epochs")
        if name in grid
    } | lists
    probes = _probes(axes, more, methods, ratios, record, mistakes)
    if len(mistakes) > before:
        return probes
    more.setdefault("record_epochs", record.epochs)
    trials = []
    for values in product(*axes.values()):
        rest = dict(zip(axes, values, strict=True)) | more
        for (model, _, ratio), retrain in retrains.items():
            if model != rest["model"]:
                continue
            # nothing pruned: whatever the method, the same training
            for method, options in methods if ratio else [("random", {})]:
                seen_by = rest.get("record_model", model)
                if (
                    "record_model" in rest and not find_method(method).reads
                ):  # one trial, whatever networks the others look at
                    seen_by = axes["record_model"][0]
                try:
                    trials.append(
                        Trial(
                            method=method,
                            prune_ratio=float(ratio),
                            options=options,
                            retrain=retrain,
                            record=records[seen_by],
                            **rest,
                        )
                    )
                except (TypeError, ValueError) as error:
                    mistakes.append(str(error))
    return trials


def _probes(axes, more, methods, ratios, record, mistakes):
    """A trial for every single setting, all others being sound: a trial with two mistakes tells
    only of one of them.
    """
    most = max(ratios, default=0) or 0.5  # at which every cutoff fits that fits at any
    sound = {
        "dataset": "digits",
        "method": "random",
        "prune_ratio": float(most),
        "seed": 0,
        "record": Recipe(),
        "record_epochs": 1,
        "retrain": Recipe(),
    }

    def fits(**settings):
        try:
            Trial(**sound | settings)
        except (TypeError, ValueError) as error:
            mistakes.append(str(error))
            return False
        return True

    for name, values in axes.items():
        for value in values:
            if name in ("model", "record_model") and (isinstance(value, str) or callable(value)):
                fits(model=value)  # random, which is tried here, looks at no network
            elif name not in ("dataset", "model", "record_model"):
                fits(**{name: value})
    for name, value in more.items():
        if name not in ("record_epochs", *LISTS) and not isinstance(value, list):
            fits(**{name: value})
    epochs = more.get("record_epochs", record.epochs if record else 1)
    if record and not isinstance(epochs, list) and fits(record=record, record_epochs=epochs):
        for method, options in methods:
            fits(
                method=method,
                options=options,
                record=record,
                record_epochs=epochs,
                **{name: more[name] for name in LISTS if name in more},
            )
    return [
        Trial(**sound | {"dataset": name})
        for name in axes.get("dataset", [])
        if isinstance(name, str)
    ]


def _variants(entry, mistakes):
    """(name, options) for every setting of a method: "dual", or {"dual+beta": {"c_d": [5.5]}}."""
    if isinstance(entry, (str, Method)):
        entry = {entry: {}}
    if (
        not isinstance(entry, Mapping)
        or not entry
        or not all(isinstance(options, Mapping) or options is None for options in entry.values())
    ):
        mistakes.append(
            f"a method is a name, or a name with settings, as in {{dual+beta: {{c_d: 4.0}}}}; got "
            f"{entry!r}"
        )
        return []
    found = []
    for name, options in entry.items():
        options = options or {}
        try:
            taken = [option for part in find_method(name).option_names for option in part]
        except ValueError as error:
            mistakes.append(str(error))
            continue
        unknown = [
            _unknown(setting, taken, f"{find_method(name).name} has no setting")
            for setting in options
            if setting not in taken
        ]
        mistakes += unknown
        if unknown:
            continue
        mistakes += [
            f"{find_method(name).name}'s {setting} must have at least one value; the list is empty"
            for setting, values in options.items()
            if not _listed(values)
        ]
        found += [
            (name, dict(zip(options, values, strict=True)))
            for values in product(*(_listed(value) for value in options.values()))
        ]
    return found


def _is_ratio(ratio, mistakes):
    fine = isinstance(ratio, (int, float)) and not isinstance(ratio, bool) and 0 <= ratio < 1
    if not fine:
        mistakes.append(
            f"prune_ratio is the fraction removed and must be a number in [0, 1); got {ratio!r}"
        )
    return fine


def _recipe(name, model, settings, over, mistakes):
    known = [field.name for field in fields(Recipe)]
    wrong = [part for part in (settings, over) if not isinstance(part, Mapping)]
    if wrong:
        mistakes.append(
            f"{name} must be a recipe, as in {{epochs: 30, batch_size: 128}}; got {wrong[0]!r}"
        )
        return None
    settings = {**suited(model), **settings, **over}
    found = [
        _unknown(setting, known, "a recipe has no") for setting in settings if setting not in known
    ]
    found = found or list(_unfit(settings))
    if not found:
        try:
            return Recipe(**settings)
        except (TypeError, ValueError) as error:
            found = [str(error)]
    mistakes += [f"{name}: {mistake}" for mistake in found]
    return None


def _unfit(settings):
    """What a Recipe of these settings would only show when it trains."""
    for name, value in settings.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in WHOLE and not (number and isinstance(value, int) and value >= 1):
            yield f"{name} must be a whole number from 1; got {value!r}"
        if name in NUMBERS and not (number and 0 <= value < math.inf):
            hint = (
                ": write 1.0e-3, not 1e-3" if isinstance(value, str) and "e" in value else ""
            )  # which YAML takes for text
            yield f"{name} must be a number from 0; got {value!r}{hint}"
        if name in ("nesterov", "compile") and not isinstance(value, bool):
            yield f"{name} must be true or false; got {value!r}"
    usual = Recipe()
    if settings.get("momentum") == 0 and settings.get("nesterov", usual.nesterov):
        yield "nesterov needs a momentum above 0; with none, say nesterov: false"
    if "steps" in settings and settings.get("budget", usual.budget) != "steps":
        yield "steps are given, but the budget is epochs: add budget: steps"


def _unknown(name, known, words):
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"{words} {name!r}; there are {', '.join(known) or 'none'}" + (
        f": did you mean {near[0]}?" if near else ""
    )


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]
