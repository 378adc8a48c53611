"""A grid is the trials its page says, each once; and whatever is wrong with it is said at once,
never by a traceback.
"""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpkit.experiments import grid_cells, grids, stages, sweeps
from dpkit.experiments.grids import InvalidGrid, trials_of
from dpkit.experiments.trials import Trial
from dpkit.methods.catalog import METHODS
from dpkit.training.loop import Recipe
from dpkit.training.recipe import recipe_for

GRID = {
    "dataset": "digits",
    "method": "random",
    "prune_ratio": 0.5,
    "record": {"epochs": 12},
    "retrain": {"epochs": 3},
}


def mistakes_of(grid):
    with pytest.raises(InvalidGrid) as refused:
        trials_of(grid)
    assert str(refused.value) == "\n".join(refused.value.mistakes)
    return refused.value.mistakes


# ---- what a grid means ---------------------------------------------------------------------------


def test_the_example_on_the_page_of_grids_is_read_as_it_says(tmp_path):
    page = re.search(r"(?ms)^    dataset: cifar10.*?^$", grids.__doc__)[0]
    (tmp_path / "grid.yaml").write_text("\n".join(line[4:] for line in page.splitlines()))
    trials = trials_of(tmp_path / "grid.yaml")
    methods = [
        ("random", {}),
        ("dual", {}),
        ("dual+beta", {"c_d": 5.5}),
        ("dual+beta", {"c_d": 4.0}),
    ]
    assert len(trials) == 3 * (1 + 4 * 5)  # seeds x (the whole set, methods x ratios)
    expected = {
        (name, tuple(options.items()), ratio, seed)
        for name, options in methods
        for seed in (0, 1, 2)
        for ratio in (0.3, 0.5, 0.7, 0.8, 0.9)
    } | {("random", (), 0.0, seed) for seed in (0, 1, 2)}
    assert {(t.method, tuple(t.options.items()), t.prune_ratio, t.seed) for t in trials} == expected
    assert {(t.dataset, t.model, t.num_samples, t.best_every) for t in trials} == {
        ("cifar10", "small_cnn", 0, 0)
    }
    assert {(t.record, t.record_epochs) for t in trials} == {(Recipe(epochs=30), 30)}
    for trial in trials:
        batch = {0.8: 64, 0.9: 32}.get(trial.prune_ratio, 128)
        assert trial.retrain == Recipe(budget="steps", steps=3900, batch_size=batch)


def test_lists_multiply():
    trials = trials_of(
        GRID
        | {
            "dataset": ["a", "b"],
            "model": ["small_cnn", "resnet18"],
            "method": ["random", "dual"],
            "num_samples": [0, 50],
            "seed": [3, 4],
            "prune_ratio": [0.2, 0.4],
            "retrain": [{"epochs": 3}, {"budget": "steps", "steps": 9}],
        }
    )
    told = {
        (t.dataset, t.model, t.method, t.num_samples, t.seed, t.prune_ratio, t.retrain)
        for t in trials
    }
    assert len(trials) == len(told) == 2**7


def test_exits_are_one_list_for_the_methods_that_read_them():
    trials = trials_of(
        GRID | {"method": ["random", "eeprune"], "exits": [0, 2], "exit_weights": [1, 1, 2.5]}
    )
    assert [(t.method, t.exits, t.exit_weights) for t in trials] == [
        (m, (0, 2), (1, 1, 2.5)) for m in ("random", "eeprune")
    ]
    assert mistakes_of(GRID | {"method": "eeprune", "exits": 1}) == [
        "exits must be a list of stages, as in [0, 1]; got 1"
    ]
    [mistake] = mistakes_of(GRID | {"method": ["dual", "eeprune"], "exits": [3]})
    assert "after must be stages of 0..2 in ascending order" in mistake
    [mistake] = mistakes_of(GRID | {"method": "eeprune", "exits": [0], "exit_weights": [1]})
    assert "exit_weights must be one per exit and one for the final exit, 2 here; got 1" in mistake


def test_settings_of_a_method_multiply_too():
    trials = trials_of(
        GRID | {"method": [{"dual+beta": {"c_d": [5.5, 4], "window": [3, 5]}}, {"dual": None}]}
    )
    assert [(t.method, t.options) for t in trials] == [
        *(("dual+beta", {"c_d": c_d, "window": window}) for c_d in (5.5, 4) for window in (3, 5)),
        ("dual", {}),
    ]


def test_the_whole_set_is_trained_once_whatever_the_methods():
    trials = trials_of(
        GRID
        | {"method": ["dual", "el2n", {"dual+beta": {"c_d": [5, 6]}}], "prune_ratio": [0, 0.5, 0.0]}
    )
    assert [(t.method, t.options) for t in trials if t.prune_ratio == 0] == [
        ("random", {})
    ] and len(trials) == 1 + 4


def test_what_is_not_said_is_usual_and_what_is_said_reaches_the_trials():
    [usual] = trials_of(GRID)
    assert usual == Trial("digits", "random", 0.5, 0, Recipe(epochs=12), 12, Recipe(epochs=3))
    [told] = trials_of(
        GRID
        | {
            "record_epochs": 5,
            "snapshot_epoch": 3,
            "best_every": 2,
            "num_samples": 99,
            "seed": 7,
            "model": "resnet18",
        }
    )
    assert told == replace(
        usual,
        record_epochs=5,
        snapshot_epoch=3,
        best_every=2,
        num_samples=99,
        seed=7,
        model="resnet18",
    )


def test_a_list_of_grids_is_all_of_their_trials_and_each_once():
    other = GRID | {"prune_ratio": [0.5, 0.7]}
    trials = trials_of([GRID, other, trials_of(GRID)[0]])
    assert [t.prune_ratio for t in trials] == [0.5, 0.7] and trials_of(trials) == trials
    assert [t.seed for t in trials_of(GRID | {"seed": [1, 0, 1]})] == [1, 0]


# ---- what is wrong with it -----------------------------------------------------------------------


def test_every_mistake_is_said_at_once():
    for ratios, impossible in (([1.0, -0.1, "0.5", True], 4), ([0.5, 1.0], 1)):
        assert (
            len(
                mistakes_of(
                    {
                        "dataset": 5,
                        "method": ["duel", {"dual": {"c_d": 3}}],
                        "prune_ratio": ratios,
                        "rekord": {},
                        "record": {"epoch": 3},
                        "retrain": {"epochs": 0},
                        "retrain_at": {0.8: {}},
                        "seed": [],
                        "record_epochs": [1],
                    }
                )
            )
            == 9 + impossible
        )


def test_the_mistakes_of_every_grid_of_a_list_are_said():
    assert len(mistakes_of([GRID | {"seed": -1}, GRID | {"seed": -2}, 3, [GRID]])) == 4


@pytest.mark.parametrize("ratio", [1.0, -0.1, "0.5", True, None, float("nan"), 2, [0.5], {"a": 1}])
def test_a_ratio_that_is_none_is_refused(ratio):
    [mistake] = mistakes_of(GRID | {"prune_ratio": [0.3, ratio]})
    assert mistake == f"prune_ratio must be a number in [0, 1), the fraction removed; got {ratio!r}"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "duel"}, "unknown method 'duel'; there are random, dual, .*did you mean dual"),
        (
            {"method": {"dual": {"windw": 3}}},
            "dual has no setting 'windw'; there are window, .*did you mean window",
        ),
        ({"method": {"dual": {"c_d": 3}}}, "dual has no setting 'c_d'"),
        ({"method": {"dual": 3}}, "a method is a name, or .*got"),
        (
            {"method": {"dual": {"window": []}}},
            "dual's window must have at least one value; the list is empty",
        ),
        ({"method": {}}, "a method is a name, or"),
        ({"method": [["dual"]]}, "a method is a name, or"),
        ({"method": 5}, "got 5"),
        ({"method": None}, "a method is a name, .*got None"),
        ({"method": []}, "method must have at least one value"),
        ({"method": {"dual": {"window": 13}}}, r"window must be 2\.\.12 epochs .*got 13"),
        ({"method": {"dual": {"window": "3"}}}, "window must be"),
        ({"method": {"dual+beta": {"c_d": 0}}}, "c_d must be a number"),
        ({"method": {"dual+beta": {"c_d": "4"}}}, "dual.beta cannot use the settings c_d=4"),
        (
            {"method": {"dual": {"protect_inf": "no"}}},
            "dual's protect_inf must be true or false; got 'no'",
        ),
        ({"method": "dual", "record_epochs": 9}, r"window must be 2\.\.9"),
        (
            {"record_epochs": 13},
            r"record_epochs must be 1\.\.12 \(the record recipe's epochs\); got 13",
        ),
        ({"record_epochs": 0}, "record_epochs must be a whole number from 1; got 0"),
        ({"record_epochs": "5"}, "got '5'"),
        ({"record_epochs": [3, 4]}, "record_epochs must be one whole number; got a list"),
        ({"record_epochs": 2.5}, r"got 2\.5"),
        ({"record_epochs": None}, "record_epochs must be a whole number from 1; got None"),
        (
            {"exits": [[0], [1]], "method": "eeprune"},
            r"exits must be a list of stages, .*got \[\[0\], \[1\]\]",
        ),
        ({"best_every": {}}, "best_every must be a whole number"),
        ({"snapshot_epoch": True}, "snapshot_epoch must be"),
        ({"seed": -1}, "seed must be a whole number from 0; got -1"),
        ({"seed": 0.5}, r"got 0\.5"),
        ({"seed": "a"}, "got 'a'"),
        ({"seed": None}, "got None"),
        ({"seed": [[0]]}, r"got \[0\]"),
        ({"seed": []}, "seed must have at least one value"),
        ({"num_samples": 1.5}, "num_samples must be a whole number"),
        ({"dataset": 5}, "dataset must be a name, a path, an ImageSet or a dataset object; got 5"),
        ({"dataset": []}, "dataset must have at least one value"),
        ({"model": ["vgg"]}, "unknown model 'vgg'; there are small_cnn"),
        ({"model": None}, "model must be a name or a builder function; got None"),
        ({"prune_ratio": []}, "prune_ratio must have at least one value"),
        ({"retrain": []}, "retrain must have at least one value"),
        ({"retrain": None}, "retrain must be a recipe, .*got None"),
        ({"retrain": "long"}, "retrain must be a recipe, as in"),
        ({"record": None}, "record must be a recipe, .*got None"),
        ({"record": [{}]}, "record must be a recipe"),
        ({"retrain": ...}, "the grid needs retrain; it is missing"),
        ({"record": ...}, "the grid needs record; it is missing"),
        ({"dataset": ...}, "needs dataset"),
        ({"method": ...}, "method"),
        (
            {"record": {"epoch": 3}},
            "record: a recipe has no 'epoch'; there are epochs, .*did you mean epochs",
        ),
        ({"record": {"budget": "steps", "steps": 9}}, "record needs that budget; got 'steps'"),
        ({"record": {"epochs": 12, 3: 4}}, "record: a recipe has no '3'"),
        ({"retrain": {"budget": "days"}}, "budget must be"),
        (
            {"retrain": {"steps": 9}},
            "retrain: steps are given, but the budget is epochs: add budget: steps",
        ),
        (
            {"retrain": {"budget": "steps"}},
            "retrain: budget='steps' needs steps=, a whole number from 1; got None",
        ),
        ({"retrain": {"epochs": 2.5}}, r"epochs must be a whole number from 1; got 2\.5"),
        ({"retrain": {"lr": 0}}, "retrain: lr must be a number above 0; got 0"),
        ({"retrain": {"batch_size": True}}, "batch_size must be a whole number from 1; got True"),
        ({"retrain": {"batch_size": 2.5}}, "batch_size must be"),
        ({"retrain": {"lr": float("inf")}}, "lr must be a number above 0; got inf"),
        (
            {"retrain": {"lr": "1e-1"}},
            "retrain: lr must be a number above 0; got '1e-1': write 1.0e-3, not 1e-3",
        ),
        ({"retrain": {"momentum": -1}}, "momentum must be"),
        ({"retrain": {"weight_decay": None}}, "weight_decay must be .*None"),
        ({"retrain": {"nesterov": "no"}}, "nesterov must be true or false"),
        ({"retrain": {"momentum": 0}}, "nesterov needs a momentum above 0"),
        ({"retrain": {"augment": "mine"}}, "augment must be"),
        ({"retrain": {"precision": []}}, "precision must be"),
        ({"retrain_at": []}, "retrain_at must be a table of settings for ratios, as in"),
        (
            {"retrain_at": {0.8: {}}},
            "retrain_at names ratios that are not in prune_ratio: 0.8; add",
        ),
        ({"retrain_at": {0.5: None}}, "retrain_at must be a table of .*got {0.5: None}"),
        ({"retrain_at": None}, "retrain_at must be a table of .*got None"),
        ({"retrain_at": {0.5: {"lrr": 1}}}, "retrain: a recipe has no 'lrr'"),
        ({"prune_ration": 0.5}, "a grid has no 'prune_ration'.*mean prune_ratio"),
        ({3: 4}, "a grid has no '3'"),
        ({None: 4}, "a grid has no 'None'"),
    ],
)
def test_a_mistake_is_one_sentence_that_says_what_to_do(changes, message):
    found = mistakes_of(
        {name: value for name, value in (GRID | changes).items() if value is not ...}
    )
    assert len(found) == 1 and re.search(message, found[0]) and "\n" not in found[0], found


@pytest.mark.parametrize(
    "text, message",
    [
        (b"dataset: [", "is not YAML: while parsing"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"", "a grid is a table .*got NoneType"),
        (b"- 3", "got int"),
        (b"digits", "got str"),
        (b"[]", "the grid has none: give it a dataset"),
        (b"[" * 5000, "is not YAML"),
        (b"day: 2026-13-01", "is not YAML: month must be in"),
        (b"a: !!python/object:os.system {}", "is not YAML: could not"),
        (b"{[1]: 2}", "is not YAML"),
        (b"a: &a [*a]", "a grid has no 'a'"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path, text, message):
    (tmp_path / "grid.yaml").write_bytes(text)
    assert re.search(message, mistakes_of(tmp_path / "grid.yaml")[0])


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert re.search(
        r"could not read the grid .*none.yaml \(No such file",
        mistakes_of(tmp_path / "none.yaml")[0],
    )
    assert re.search(r"could not read the grid .*: name a YAML file", mistakes_of(tmp_path)[0])


def test_images_that_are_not_there_are_refused_before_any_training_and_all_at_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    monkeypatch.setattr(
        sweeps.clusters, "connected", lambda *a, **k: pytest.fail("a cluster was started")
    )
    # a set of one's own without a test split
    np.savez(
        tmp_path / "small.npz",
        train_images=np.zeros((8, 8, 8), np.uint8),
        train_labels=np.arange(8) % 2,
    )
    grid = GRID | {
        "dataset": ["digits", "digit", str(tmp_path / "small.npz")],
        "prune_ratio": [0.5, 0.9999],
        "num_samples": [0, 100, 9999],
    }
    with pytest.raises(InvalidGrid) as refused:
        sweeps.sweep(grid, out=tmp_path / "out", cache=tmp_path / "cache")
    told = refused.value.mistakes
    assert len(told) == 5, told
    for message in (
        "the set digit cannot be used: unknown dataset 'digit'; there are digits",
        "small.npz needs the arrays tes",
        r"first\(n\) needs 1\.\.1297",
        "prune_ratio 0.9999 of digits's 1297 images leaves none to train on",
        "prune_ratio 0.9999 of digits's 100 images leaves none",
    ):
        assert any(re.search(message, mistake) for mistake in told), message
    assert not (tmp_path / "out").exists()


# ---- never a traceback ---------------------------------------------------------------------------


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.sampled_from(
        ["digits", "small_cnn", "steps", "epochs", "own", "1e-3", 10**30, 0.5, 0, 1, 12, b""]
    ),
)
KNOWN = [
    *grids.Grid.__dataclass_fields__,
    *METHODS,
    *Recipe.__dataclass_fields__,
    "window",
    "c_d",
    "convention",
    0.5,
]
NAMES = st.one_of(st.sampled_from(KNOWN), PLAIN)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
OPTIONS = {
    "window": st.integers(2, 14),
    "c_d": st.floats(0, 9),
    "convention": st.sampled_from(["paper", "code"]),
    "protect_inf": st.booleans() | PLAIN,
}
RECIPE = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(10, 40),
        "batch_size": st.integers(0, 40),
        "lr": st.floats(0, 1),
        "momentum": st.floats(0, 1),
        "nesterov": st.booleans(),
        "weight_decay": st.floats(0, 1),
        "augment": st.none(),
    },
)
STEPS = RECIPE.map(lambda recipe: recipe | {"budget": "steps", "steps": 9})
METHOD = st.one_of(
    st.sampled_from([*METHODS]),
    st.dictionaries(
        st.sampled_from([*METHODS]),
        st.none() | st.fixed_dictionaries({}, optional=OPTIONS),
        min_size=1,
        max_size=2,
    ),
)
SHAPED = {
    "method": METHOD,
    "record": RECIPE,
    "retrain": RECIPE | STEPS,
    "retrain_at": st.dictionaries(st.just(0.5), RECIPE),
    "prune_ratio": st.floats(0, 1) | st.just(0.5),
    "record_epochs": st.integers(1, 12),
    "seed": st.integers(-1, 5),
    "num_samples": st.integers(0, 99),
    "model": st.sampled_from(["small_cnn", "resnet18"]),
}


@st.composite
def nearly_grids(draw):
    """GRID with some of its values replaced: by some of the right shape, in half of the grids also
    by anything.
    """
    grid, wild = dict(GRID), draw(st.booleans())
    for name in draw(st.lists(NAMES if wild else st.sampled_from([*SHAPED]), max_size=4)):
        shaped = SHAPED.get(name, ANYTHING)
        some = st.lists(shaped, min_size=1, max_size=3) if name in grid_cells.AXES else shaped
        grid[name] = draw(ANYTHING if wild and draw(st.booleans()) else some)
    return grid


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        nearly_grids(),
        st.lists(nearly_grids(), max_size=2),
        ANYTHING.filter(lambda some: not isinstance(some, str)),
    )
)
def test_whatever_a_grid_holds_it_is_trials_or_a_list_of_mistakes(grid):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            trials = trials_of(grid)
        except InvalidGrid as refused:
            assert refused.mistakes and all(
                isinstance(mistake, str) and mistake for mistake in refused.mistakes
            )
        else:
            assert trials and all(isinstance(trial, Trial) for trial in trials)
            assert len({repr(trial) for trial in trials}) == len(trials)


# ---- networks ------------------------------------------------------------------------------------

TWO_NETS = {
    "dataset": "digits",
    "model": "fast_cnn",
    "record_model": ["small_cnn", "fast_cnn"],
    "method": ["random", "dual"],
    "prune_ratio": [0, 0.5],
    "record": {"epochs": 30},
    "retrain": {"epochs": 2},
}


def test_recipes_are_filled_in_as_suits_each_network():
    suited = recipe_for("fast_cnn").lr
    assert suited != Recipe().lr
    trials = grids.trials_of(TWO_NETS)
    assert {trial.retrain.lr for trial in trials} == {suited}
    rates = {trial.recorded_model: trial.record.lr for trial in trials if trial.method == "dual"}
    assert rates == {"small_cnn": 0.1, "fast_cnn": suited}
    assert {
        trial.record.lr
        for trial in grids.trials_of(TWO_NETS | {"record": {"epochs": 30, "lr": 0.3}})
    } == {0.3}


def test_who_looks_at_nothing_is_one_trial_whatever_networks_are_watched():
    trials = grids.trials_of(TWO_NETS)
    assert [(trial.method, trial.prune_ratio, trial.record_model) for trial in trials] == [
        ("random", 0.0, ""),
        ("random", 0.5, ""),
        ("dual", 0.5, "small_cnn"),
        ("dual", 0.5, ""),
    ]


@pytest.mark.parametrize(
    "value, message",
    [
        ("small", "unknown model 'small'"),
        ([], "record_model must have at least one value"),
        ([3], "record_model must be a name or a builder function; got 3"),
    ],
)
def test_a_watched_network_that_cannot_be_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        grids.trials_of(TWO_NETS | {"record_model": value})
