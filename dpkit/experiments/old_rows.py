"""Rows from before 0.9, which held options, recipes, exits and versions in words: "c_d=5.5
window=10".
"""

import ast
import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

from dpkit.experiments.rows import COST_NAMES, Count, Number, Row
from dpkit.methods.catalog import METHODS
from dpkit.storage.validation import Whole
from dpkit.training.recipe import Recipe

# stages that made the rows which do not tell their versions
_FIRST_VERSIONS = {"record": 1, "score": 1, "select": 1, "retrain": 1}
_NUMBERS: dict[Any, Callable] = {float: float, Number: float} | dict.fromkeys(
    (Whole, Count), lambda value: int(float(value))
)


def from_words(found: dict, said: dict) -> Row:
    """A Row of what was written before 0.9: numbers perhaps as texts, and words where JSON is now.

    said : settings of the table's manifest, for the columns that the first tables lack.
    """
    lacking = {name: said[name] for name in ("snapshot_epoch", "best_every") if name in said}
    found = lacking | {name: value for name, value in found.items() if value not in (None, "")}
    options, method = options_from(found.get("options", "")), METHODS.get(found["method"])
    if "settings" in found:
        settings = json.loads(found["settings"])
    else:  # what was named, and the usual ones
        settings = (method.options if method else {}) | options
    row: dict[str, Any] = {
        "options": {name: settings.get(name, value) for name, value in options.items()},
        "settings": settings,
        "record": _recipe_from(found["record"]),
        "retrain": _recipe_from(found["retrain"]),
        "exits": _exits_from(found["exits"]) if "exits" in found else None,
        "versions": _FIRST_VERSIONS,
    }
    if "versions" in found:
        words = found["versions"].split()
        row["versions"] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    for each in fields(Row):
        if each.name in found and each.name not in row:
            row[each.name] = _NUMBERS.get(each.type, lambda value: value)(found[each.name])
    row["costs"] = {
        stage: {name: _cost_from(name, found.get(f"{stage}_{name}")) for name in COST_NAMES}
        for stage in _FIRST_VERSIONS
    }
    return Row(**row)


def scores_in_names(files: Iterable[str]) -> dict[str, dict]:
    """{file: {"score", "seed"}} of "scores/aum-seed0-2.npy": tables from before 0.9 say it there
    alone.
    """
    parts = {name: PurePosixPath(name).stem.partition("-seed") for name in files}
    return {
        name: {"score": score, "seed": int(seed.partition("-")[0])}
        for name, (score, mark, seed) in parts.items()
        if mark
    }


def _cost_from(name, number):
    if number is None:
        return None
    return float(number) if name == "seconds" else int(float(number))


def options_from(text: str) -> dict:
    """Options of a row's JSON, or of the words of a row from before 0.9."""
    if text.startswith("{"):
        return json.loads(text)
    pairs = (word.partition("=") for word in text.split())
    return {name: _value(value) for name, _, value in pairs}


def _recipe_from(words: str) -> Recipe:
    """The Recipe of "3900 steps batch_size=64"."""
    count, budget, *others = words.split()
    length = {budget: int(count)} | ({"budget": "steps"} if budget == "steps" else {})
    return Recipe(**length | options_from(" ".join(others)))


def _exits_from(words: str) -> dict:
    """{"after": [0, 1], "weights": [1, 2]} of "after 0 1 weights 1 2"."""
    after, _, weights = words.removeprefix("after ").partition(" weights ")
    found = {"after": after, "weights": weights}
    return {name: [_value(word) for word in some.split()] for name, some in found.items() if some}


def _value(word: str):
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
