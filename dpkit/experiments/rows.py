"""Row: a finished trial as a typed record; Failure: why one has none."""

import json
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from pydantic import Field

from dpkit.experiments.costs import Cost
from dpkit.storage.validation import Whole, checked, non_defaults
from dpkit.training.recipe import Recipe

_Recipe = Annotated[Recipe, Field(description="a Recipe")]
Count = Whole | None
Number = float | None
_Costs = Annotated[
    dict[str, dict[str, float | int | None]],
    Field(description='a table of tables of numbers, as in {"score": {"seconds": 1.5}}'),
]
_ByClass = Annotated[
    tuple[Number, ...] | None, Field(strict=False, description="a list of numbers, one a class")
]
# what a stage cost: a column each, named as in score_seconds
COST_NAMES = [each.name for each in fields(Cost)]


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
    test : what the test set is called, where it is not the set's own split; else "".
    best_accuracy : of the best epoch, chosen on the test set.
    test_loss : after the last step.
    class_accuracy : (C,), as accuracy, of the test images of each class; None for a class without.
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
    empty_classes: Count = None
    snapshot_epoch: Count = None
    exits: dict | None = None
    best_every: Count = None
    versions: dict = field(default_factory=dict)
    record_model: str = ""
    code: str = ""
    fingerprint: str = ""
    test: str = ""
    best_accuracy: Number = None
    test_loss: Number = None
    class_accuracy: _ByClass = None
    costs: _Costs = field(default_factory=dict)
    retrain_steps: Count = None
    device: str = ""
    processor: str = ""
    threads: Count = None
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

    @property
    def worst_class_accuracy(self) -> float | None:
        """The lowest of class_accuracy."""
        known = [one for one in self.class_accuracy or () if one is not None]
        return min(known) if known else None

    def plain(self) -> dict:
        """The fields as values that JSON can hold."""
        recipes = {
            name: non_defaults(getattr(self, name), always=()) for name in ("record", "retrain")
        }
        return vars(self) | recipes

    def flat(self) -> dict:
        """The row for tables and figures, a text or number a column: recipes, exits and versions in
        words, options, settings and class_accuracy as JSON, costs as record_seconds and so on,
        and budget, the length of the retraining, and worst_class_accuracy.
        """
        found = vars(self) | {
            "options": json.dumps(self.options, sort_keys=True),
            "settings": json.dumps(self.settings, sort_keys=True),
            "class_accuracy": json.dumps(self.class_accuracy) if self.class_accuracy else "",
            "worst_class_accuracy": self.worst_class_accuracy,
            "budget": self.retrain.length,
            "record": self.record.describe(),
            "retrain": self.retrain.describe(),
            "exits": " ".join(_words(self.exits or {})),
            "versions": " ".join(_words(self.versions)),
        }
        if found["from_cache"] is None:
            del found["from_cache"]
        return costs_as_columns(found)


_FIELDS = {each.name for each in fields(Row)}


@dataclass(frozen=True)
class Failure:
    """Why a trial has no row.

    transient : worth another try.
    killed : its worker died.
    newer : it has one, which a newer dpkit wrote; the file is left alone.
    notes : what was set aside on the way.
    """

    reason: str
    transient: bool = False
    killed: bool = False
    newer: bool = False
    notes: tuple[str, ...] = ()


def costs_as_columns(found: dict) -> dict:
    """A row's fields with score_seconds and so on in the place of costs."""
    columns: dict[str, Any] = {}
    for name, value in found.items():
        if name == "costs":
            for stage, cost in value.items():
                columns |= {f"{stage}_{each}": number for each, number in cost.items()}
        else:
            columns[name] = value
    return columns


def columns_as_costs(found: dict) -> dict:
    """The other way round."""
    costs: dict[str, dict] = {}
    for name, value in found.items():
        if stage := stage_of(name):
            costs.setdefault(stage, {})[name.removeprefix(f"{stage}_")] = value
    others = {name: value for name, value in found.items() if not stage_of(name)}
    return ({"costs": costs} if costs else {}) | others


def stage_of(column: str) -> str:
    """The stage that a column tells a cost of; "": it is a field."""
    endings = (f"_{each}" for each in COST_NAMES if column.endswith(f"_{each}"))
    return "" if column in _FIELDS else column.removesuffix(next(endings, column))


def _words(table: dict) -> list[str]:
    """["after", "0", "1"] of {"after": [0, 1]}."""
    return [
        str(word)
        for name, value in table.items()
        for word in (name, *(value if isinstance(value, list) else [value]))
    ]
