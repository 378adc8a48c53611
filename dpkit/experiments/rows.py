"""Row: a finished trial as a typed record, and the files that hold it, which are written and read
here alone.

A sweep has a JSON file for each trial, a published table a line of rows.csv. Both hold the fields
of Row: options, exits and versions as JSON, recipes as JSON of what differs from the defaults.
Before 0.9 (schema 1) these were words, "c_d=5.5 window=10": _from_words reads them.
"""

import ast
import csv
import json
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dpkit import storage
from dpkit.experiments.costs import Cost
from dpkit.methods.catalog import METHODS
from dpkit.storage.validation import Whole, checked, non_defaults
from dpkit.training.recipe import Recipe

SCHEMA = 2
# stages that made the rows which do not tell their versions
_FIRST_VERSIONS = {"record": 1, "score": 1, "select": 1, "retrain": 1}
_Recipe = Annotated[Recipe, Field(description="a Recipe")]
_Count = Whole | None
_Number = float | None
_Costs = Annotated[
    dict[str, dict[str, float | int | None]],
    Field(description='a table of tables of numbers, as in {"score": {"seconds": 1.5}}'),
]
# what a stage cost: a column each, named as in score_seconds
_COST_NAMES = [each.name for each in fields(Cost)]


@checked
class Row:
    """What a trial did, what came of it, and what that cost.

    None: not known, or an older row that does not tell it.

    Parameters
    ----------
    dataset, model, method : names.
    num_samples, keep : of the set, and of those how many were trained on.
    prune_ratio : the fraction that was to be removed, in [0, 1).
    seed : of recording, selection and retraining.
    accuracy : in [0, 1], on the test set after the last step.
    record, retrain : the recipes.
    options : settings of the method that its catalog line or the trial named.
    settings : all of them, the usual ones too, as those may change.
    empty_classes : classes of the set without a sample to train on.
    snapshot_epoch : epochs before the early snapshot.
    exits : {"after": [1], "weights": [1, 2]} of the watched network; {}: it had none.
    best_every : epochs between tests on the way; 0: none.
    versions : {stage: version} of the stages.
    record_model : the watched network, where another was retrained; else "".
    code : what in the method and the networks is not dpkit's own, and what it does; else "".
    fingerprint : of a set that was given as an ImageSet; else "".
    best_accuracy : of the best epoch, chosen on the test set.
    test_loss : after the last step.
    costs : {stage: {"seconds", "epochs", "samples", "peak_memory"}}; see dpkit.experiments.costs.
    retrain_steps : batches.
    device, processor, threads, precision, torch, dpkit : where and by what it was retrained.
    scores, selection : the stages in the cache that hold them, or the file in a published table;
        "": no score.
    from_cache : whether the retraining was an earlier run's; published tables do not say.

    Raises
    ------
    ValueError for a value of another kind.
    """

    dataset: str
    num_samples: Whole
    model: str
    method: str
    prune_ratio: float
    keep: Whole
    seed: Whole
    accuracy: float
    record: _Recipe
    retrain: _Recipe
    options: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    empty_classes: _Count = None
    snapshot_epoch: _Count = None
    exits: dict | None = None
    best_every: _Count = None
    versions: dict = field(default_factory=dict)
    record_model: str = ""
    code: str = ""
    fingerprint: str = ""
    best_accuracy: _Number = None
    test_loss: _Number = None
    costs: _Costs = field(default_factory=dict)
    retrain_steps: _Count = None
    device: str = ""
    processor: str = ""
    threads: _Count = None
    precision: str = ""
    torch: str = ""
    dpkit: str = ""
    scores: str = ""
    selection: str = ""
    from_cache: bool | None = None

    @property
    def record_epochs(self) -> float | None:
        """For how many epochs the method watched a training."""
        return self.costs.get("record", {}).get("epochs")

    def plain(self) -> dict:
        """The fields as values that JSON can hold."""
        recipes = {
            name: non_defaults(getattr(self, name), always=()) for name in ("record", "retrain")
        }
        return vars(self) | recipes

    def flat(self) -> dict:
        """The row for tables and figures, a text or number a column: recipes, exits and versions in
        words, options and settings as JSON, costs as record_seconds and so on, and budget, the
        length of the retraining.
        """
        found = vars(self) | {
            "options": json.dumps(self.options, sort_keys=True),
            "settings": json.dumps(self.settings, sort_keys=True),
            "budget": self.retrain.length,
            "record": self.record.describe(),
            "retrain": self.retrain.describe(),
            "exits": " ".join(_words(self.exits or {})),
            "versions": " ".join(_words(self.versions)),
        }
        if found["from_cache"] is None:
            del found["from_cache"]
        return _costs_as_columns(found)


_FIELDS = {each.name for each in fields(Row)}


@dataclass(frozen=True)
class Failure:
    """Why a trial has no row.

    transient : worth another try.
    killed : its worker died.
    newer : it has one, which a newer dpkit wrote; the file is left alone.
    """

    reason: str
    transient: bool = False
    killed: bool = False
    newer: bool = False


# ---- the files -----------------------------------------------------------------------------------


def write_answer(file: Path, answer: Row | Failure, **about: Any) -> None:
    """Write what a trial of a sweep came to, whole or not at all. about: what else is noted."""
    found: dict = (
        {"failed": answer.reason} if isinstance(answer, Failure) else {"row": answer.plain()}
    )
    storage.write_json(file, {"kind": "Row", "schema": SCHEMA, **about, **found})


def read_answer(file: Path) -> Row | Failure:
    """What write_answer wrote, or an older dpkit."""
    with _naming(file):
        said = json.loads(file.read_text(encoding="utf-8"))
        schema = said.get("schema", 1)
        if schema > SCHEMA:
            reason = f"{file} was written by a newer dpkit: update dpkit to read it"
            return Failure(reason, newer=True)
        if said.get("failed"):
            return Failure(said["failed"])
        return _from_words(said["row"], {}) if schema < 2 else _from_plain(said["row"])


def write_table(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, a field a column, and a column for each cost of a stage. Texts stand as
    they are, all else as JSON; None is empty.
    """
    lines = [_costs_as_columns(row.plain()) for row in rows]
    names = [name for name in dict.fromkeys(chain(*lines)) if name != "from_cache"]
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*names, "kept"])
        for k, line in enumerate(lines):
            writer.writerow([*(_cell(line.get(name)) for name in names), k])


def read_table(file: Path, schema: int, settings: dict) -> list[Row]:
    """The rows of a published table.

    schema : of its manifest.
    settings : of the manifest. Of tables from before 0.9 they tell what their rows do not.
    """
    if schema > SCHEMA:
        raise ValueError(
            f"{file} was written by a newer dpkit (schema {schema}; this one reads 1..{SCHEMA}): "
            "update dpkit"
        )
    with _naming(file), open(file, newline="", encoding="utf-8") as lines:
        cells = list(csv.DictReader(lines))
        return [_from_words(line, settings) if schema < 2 else _from_cells(line) for line in cells]


@contextmanager
def _naming(file):
    """Name the file in an error about what it holds."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # other JSON, or none
        raise ValueError(
            f"{file} holds no row as dpkit writes it ({error}): fetch a whole copy, or remove it "
            "and have it made again"
        ) from None


def _from_cells(line: dict) -> Row:
    texts = {each.name for each in fields(Row) if each.type is str}
    found = {
        name: text if name in texts else _json(name, text or "null")
        for name, text in line.items()
        if name != "kept" and (text or _stage_of(name))
    }
    return _from_plain(found)


def _json(name, text):
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{name} must be JSON; got {text!r}") from None


def _cell(value) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _from_plain(found: dict) -> Row:
    recipes = {name: _recipe(**found[name]) for name in ("record", "retrain") if name in found}
    return Row(**_columns_as_costs(found) | recipes)


_recipe = lru_cache(typed=True)(Recipe)  # many rows share them


def _costs_as_columns(found: dict) -> dict:
    """A row's fields with score_seconds and so on in the place of costs."""
    columns: dict[str, Any] = {}
    for name, value in found.items():
        if name == "costs":
            for stage, cost in value.items():
                columns |= {f"{stage}_{each}": number for each, number in cost.items()}
        else:
            columns[name] = value
    return columns


def _columns_as_costs(found: dict) -> dict:
    """The other way round."""
    costs: dict[str, dict] = {}
    for name, value in found.items():
        if stage := _stage_of(name):
            costs.setdefault(stage, {})[name.removeprefix(f"{stage}_")] = value
    others = {name: value for name, value in found.items() if not _stage_of(name)}
    return ({"costs": costs} if costs else {}) | others


def _stage_of(column: str) -> str:
    """The stage that a column tells a cost of; "": it is a field."""
    endings = (f"_{each}" for each in _COST_NAMES if column.endswith(f"_{each}"))
    return "" if column in _FIELDS else column.removesuffix(next(endings, column))


def _words(table: dict) -> list[str]:
    """["after", "0", "1"] of {"after": [0, 1]}."""
    return [
        str(word)
        for name, value in table.items()
        for word in (name, *(value if isinstance(value, list) else [value]))
    ]


# ---- rows from before 0.9 ------------------------------------------------------------------------

_NUMBERS: dict[Any, Callable] = {float: float, _Number: float} | dict.fromkeys(
    (Whole, _Count), lambda value: int(float(value))
)


def _from_words(found: dict, said: dict) -> Row:
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
        stage: {name: _cost_from(name, found.get(f"{stage}_{name}")) for name in _COST_NAMES}
        for stage in _FIRST_VERSIONS
    }
    return Row(**row)


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
