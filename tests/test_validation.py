"""Recipe and Trial take what they say and nothing else, name all mistakes at once, and stay the
plain frozen dataclasses that keys, caches and workers know.
"""

import math
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest

from dpkit.experiments.trials import Trial
from dpkit.storage import key_hash
from dpkit.storage.validation import InvalidSettings, Number, checked
from dpkit.training.recipe import Recipe

TRIAL = Trial("digits", "dual", 0.5, 0, Recipe(epochs=12), 12, Recipe(epochs=3))
WHOLE = [
    *((Recipe(), name) for name in ("epochs", "batch_size", "warmup")),
    *((TRIAL, name) for name in ("seed", "record_epochs", "num_samples", "snapshot_epoch")),
    (TRIAL, "best_every"),
]
NUMBERS = [
    *((Recipe(), name) for name in ("lr", "momentum", "weight_decay", "norm_bias_lr")),
    (Recipe(), "label_smoothing"),
    (TRIAL, "prune_ratio"),
]


def refused(settings, **changes) -> list[str]:
    with pytest.raises(InvalidSettings) as error:
        replace(settings, **changes)
    told = [mistake.sentence for mistake in error.value.mistakes]
    assert str(error.value) == "\n".join(told) and "pydantic" not in str(error.value)
    return told


@pytest.mark.parametrize("settings, name", WHOLE)
@pytest.mark.parametrize("value", [True, 2.0, "2", None, -1, np.int64(3), [1]])
def test_a_whole_number_is_no_truth_no_text_and_no_fraction(settings, name, value):
    [told] = refused(settings, **{name: value})
    assert told.startswith(f"{name} must be a whole number ") and told.endswith(f"got {value!r}")


@pytest.mark.parametrize("settings, name", NUMBERS)
@pytest.mark.parametrize("value", [True, "0.5", None, -0.1, math.nan, math.inf, [0.5]])
def test_a_number_is_finite_and_no_truth_and_no_text(settings, name, value):
    [told] = refused(settings, **{name: value})
    assert told.startswith(f"{name} must be a ") and told.endswith(f"got {value!r}")


def test_all_mistakes_are_named_at_once_also_those_between_settings():
    told = refused(
        Recipe(), epochs=0, lr="1e-3", momentum=0, steps=9, augment="mine", compile=1, warmup=2.5
    )
    assert told == [
        "epochs must be a whole number from 1; got 0",
        "lr must be a number above 0; got '1e-3': write 1.0e-3, not 1e-3",
        "nesterov needs a momentum above 0; got 0: with none, say nesterov: false",
        "steps are given, but the budget is epochs: add budget: steps",
        "augment must be None or \"own\"; got 'mine'",
        "compile must be true or false; got 1",
        "warmup must be a whole number of steps from 0; got 2.5",
    ]
    assert refused(TRIAL, seed=-1, record_epochs=13, record_model="x", options={"windw": 3})[
        :3
    ] == [
        "seed must be a whole number from 0; got -1",
        "record_epochs must be 1..12 (the record recipe's epochs); got 13",
        "dual has no setting 'windw'; there are window, per_class, protect_inf: did you mean "
        "window?",
    ]


def test_settings_that_are_missing_unknown_or_given_twice_are_named():
    with pytest.raises(ValueError, match="^the trial needs retrain; it is missing$"):
        Trial("digits", "dual", 0.5, 0, Recipe(), 30)
    with pytest.raises(ValueError, match="a recipe has no 'epoch'; .*: did you mean epochs"):
        Recipe(epoch=3)
    with pytest.raises(ValueError, match="epochs was given twice, by position and by name"):
        Recipe(3, epochs=3)
    with pytest.raises(ValueError, match="a recipe has the settings epochs, .*; got one more: 7"):
        Recipe(*asdict(Recipe()).values(), 7)
    with pytest.raises(ValueError, match="record must be a Recipe; got {'epochs': 3}"):
        replace(TRIAL, record={"epochs": 3})


def test_values_stay_as_they_were_given():
    """1 is written as 1 in keys and texts, 1.0 as 1.0."""
    assert type(Recipe(lr=1).lr) is int and Recipe(lr=1).describe() == "200 epochs lr=1"
    assert replace(TRIAL, exits=[0, 1], exit_weights=[1, 1, 2.5]).exit_weights == (1, 1, 2.5)
    given = {"window": 3}
    assert replace(TRIAL, options=given).options == given == {"window": 3}


def test_they_are_frozen_dataclasses_that_travel():
    for one in (Recipe(lr=1), TRIAL):
        again = pickle.loads(pickle.dumps(one))
        assert again == one == replace(one) and vars(again) == vars(one)
        assert [field.name for field in fields(one)] == list(vars(one))
        with pytest.raises(FrozenInstanceError):
            one.seed = 3
    with pytest.raises(InvalidSettings) as error:
        Recipe(epochs=0, lr=0)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_setting_that_is_added_later_renames_nothing_that_was_made_without_it():
    @checked
    class LaterRecipe(Recipe):
        clip: Number = 5.0

    @checked
    class LaterTrial(Trial):
        holdout: int = 0
        changes: tuple = ()

    later = LaterRecipe(epochs=3)
    assert later.plain() == Recipe(epochs=3).plain()
    assert later.settings() == Recipe(epochs=3).settings()
    assert later.describe() == Recipe(epochs=3).describe()
    assert replace(later, clip=1).plain() == Recipe(epochs=3).plain() | {"clip": 1}
    later = LaterTrial(**vars(TRIAL) | {"retrain": LaterRecipe(epochs=3)})
    assert key_hash(later.plain()) == key_hash(TRIAL.plain())
    assert replace(later, holdout=50).plain() == TRIAL.plain() | {"holdout": 50}


def test_settings_of_0_7_are_in_every_key_and_no_later_one_is():
    assert list(Recipe().plain()) == [
        *("epochs", "batch_size", "lr", "momentum", "nesterov", "weight_decay", "budget", "steps"),
        *("augment", "precision", "compile"),
    ]
    assert list(TRIAL.plain()) == [
        *("dataset", "method", "prune_ratio", "seed", "record", "record_epochs", "retrain"),
        *("model", "num_samples", "snapshot_epoch", "exits", "exit_weights", "best_every"),
        "options",
    ]
