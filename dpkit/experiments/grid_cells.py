"""The combinations of a grid: the settings of a Trial for each."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from dpkit.experiments.trials import Trial
from dpkit.methods.catalog import METHODS
from dpkit.methods.method import Method
from dpkit.nets.builders import recipe_settings
from dpkit.storage.validation import InvalidSettings
from dpkit.training.recipe import Recipe

AXES = "dataset model record_model num_samples seed retrain prune_ratio method".split()
SINGLE = "record_epochs snapshot_epoch best_every exits exit_weights test size".split()


def listed(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def cells_of(page: dict, mistakes: list[str]) -> Iterator[dict]:
    """Settings of a Trial for every combination, without those that are missing or refused."""
    axes = {"model": [Trial.model], "seed": [0]} | page
    axes["method"] = [
        each for entry in page.get("method", []) for each in _variants(entry, mistakes)
    ]
    axes = {name: axes[name] for name in AXES if axes.get(name)}
    single = {name: page[name] for name in page if name in SINGLE}
    for values in product(*axes.values()):
        cell = dict(zip(axes, values, strict=True))
        recipes = _recipes(cell, page, mistakes)
        if "record" in recipes:
            cell["record_epochs"] = recipes["record"].epochs
        cell.pop("retrain", None)
        yield cell | cell.pop("method", {}) | recipes | single


def is_whole(cell: Mapping) -> bool:
    return is_number(cell.get("prune_ratio")) and cell["prune_ratio"] == 0


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _variants(entry, mistakes) -> list[dict]:
    """{"method": ..., "options": ...} for every setting of a method: "dual", or {"dual+beta":
    {"c_d": [5.5, 4.0]}}.
    """
    table = {entry: {}} if isinstance(entry, (str, Method)) else entry
    if (
        not isinstance(table, Mapping)
        or not table
        or not all(options is None or isinstance(options, Mapping) for options in table.values())
    ):
        mistakes.append(
            f"a method is a name, or a name with settings, as in {{dual+beta: {{c_d: 4.0}}}}; got "
            f"{entry!r}"
        )
        return []
    found = []
    for method, options in table.items():
        lists = {name: listed(value) for name, value in (options or {}).items()}
        mistakes += [
            f"{getattr(method, 'name', method)}'s {name} must have at least one value; the list is "
            "empty"
            for name, values in lists.items()
            if not values
        ]
        for values in product(*lists.values()):
            found.append({"method": method, "options": dict(zip(lists, values, strict=True))})
    return found


def _recipes(cell, page, mistakes) -> dict:
    """The cell's Recipes, "record" and "retrain", as they suit its networks; none that is missing
    or refused.
    """
    watched = cell.get("record_model")
    if "record_model" in page and (is_whole(cell) or not _reads(cell.get("method", {}))):
        watched = page["record_model"][0]  # one trial, whatever networks the others look at
    model, ratio = cell["model"], cell.get("prune_ratio")
    changes = [some for at, some in page.get("retrain_at", {}).items() if at == ratio]
    found = {}
    if "record" in page:
        found["record"] = _recipe("record", watched or model, [page["record"]], mistakes)
    if "retrain" in cell:
        found["retrain"] = _recipe("retrain", model, [cell["retrain"], *changes], mistakes)
    return {name: recipe for name, recipe in found.items() if recipe}


def _reads(variant):
    method = METHODS.get(variant.get("method"), variant.get("method"))
    if not isinstance(method, Method):
        return True
    return method.with_options(variant.get("options", {})).reads


def _recipe(name, model, parts, mistakes) -> Recipe | None:
    settings = dict(recipe_settings(model))
    for part in parts:
        if not isinstance(part, Mapping):
            mistakes.append(
                f"{name} must be a recipe, as in {{epochs: 30, batch_size: 128}}; got {part!r}"
            )
            return None
        settings |= {str(key): value for key, value in part.items()}
    try:
        return Recipe(**settings)
    except InvalidSettings as refused:
        mistakes += [f"{name}: {each.sentence}" for each in refused.mistakes]
        return None
