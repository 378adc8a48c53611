"""A method, and a network, of one's own: objects that are accepted wherever a name is."""

import numpy as np
import pytest

import dpkit
from dpkit import METHODS, Recipe, Scores, Trial
from dpkit.experiments.grids import InvalidGrid
from dpkit.experiments.parcels import pack, unpack
from dpkit.methods.method import Method
from dpkit.storage.identity import identity

GRID = {
    "dataset": "digits",
    "num_samples": 60,
    "prune_ratio": 0.5,
    "record": {"epochs": 12, "batch_size": 32},
    "record_epochs": 10,
    "retrain": {"budget": "steps", "steps": 4, "batch_size": 16},
}
CELL = """
import numpy as np
from dpkit import Scores
from dpkit.nets import small_cnn

WEIGHT = {sign}

def wavering(dynamics, *, power=1.0):
    return Scores(WEIGHT * dynamics.std_prob() ** power, "wavering")

def my_net(channels, classes):
    return small_cnn(channels, classes)
"""


def typed(sign=1):
    """Functions as a notebook's cell makes them."""
    space = {"__name__": "__main__"}
    exec(compile(CELL.format(sign=sign), "<cell>", "exec"), space)
    return space


def method(sign=1, **more):
    return Method("dynamics", typed(sign)["wavering"], dpkit.keep_top, name="wavering", **more)


@pytest.fixture(scope="module")
def record(digits):
    prob = np.random.default_rng(0).random((60, 10))
    return dpkit.TrainingDynamics(prob, prob - 0.5, prob > 0.5, np.arange(60) % 10)


def test_it_is_used_as_the_kits_own_are(record):
    mine = method(defaults={"power": 2.0})
    assert mine.reads == {"dynamics"} and mine.options["power"] == 2.0
    expected = np.sort(np.argsort(-record.std_prob())[:20])
    assert mine.choose(record, 20, rng=0).kept.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="wavering takes the settings power, .*; got window"):
        mine.score(record, window=3)


def test_prune_takes_it(record, tmp_path):
    record.save(tmp_path / "record")
    images = np.zeros((60, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=record.labels)
    kept = []
    for k, sign in enumerate((1, -1)):
        done = dpkit.prune(
            tmp_path / "mine.npz",
            tmp_path / f"out{k}",
            method=method(sign),
            prune_ratio=0.5,
            dynamics=tmp_path / "record",
            cache=tmp_path / "cache",
            say=lambda line: None,
        )
        kept.append(dpkit.read_kept(tmp_path / f"out{k}")[0].tolist())
        assert done["request"]["method"] == "wavering" and "wavering" in done["request"]["code"]
    assert not set(kept[0]) & set(kept[1])  # the edited function was not answered from the cache


def test_a_grid_takes_it_with_its_options():
    grid = GRID | {"method": [{method(): {"power": [1.0, 2.0]}}, "random"]}
    found = dpkit.experiments.grids.trials_of(grid)
    assert [trial.method_object.name for trial in found] == ["wavering", "wavering", "random"]
    assert found[1].options == {"power": 2.0}


def test_a_parcel_holds_the_functions_and_they_are_the_same_afterwards():
    space = typed()
    trial = Trial(
        dataset="digits",
        method=method(),
        prune_ratio=0.5,
        seed=0,
        record=Recipe(epochs=12),
        record_epochs=10,
        retrain=Recipe(budget="steps", steps=4),
        model=space["my_net"],
    )
    with unpack(pack(trial)) as there:
        assert there.method_object.scorer is not trial.method_object.scorer
        assert identity(there.method_object.scorer) == identity(trial.method_object.scorer)
        assert identity(there.model) == identity(space["my_net"])


def test_a_sweep_runs_it_on_workers_that_have_never_seen_it(tmp_path):
    space = typed()
    grid = GRID | {"method": [method(), "random"], "model": [space["my_net"]]}
    rows = dpkit.sweep(
        grid,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        workers=1,
        device="cpu",
        on_progress=lambda *a, **k: None,
    )
    assert rows["failed"].eq("").all(), rows["failed"].tolist()
    assert rows["method"].tolist() == ["wavering", "random"]
    assert rows["model"].tolist() == ["my_net", "my_net"]
    assert "wavering" in rows["code"][0]
    table = dpkit.experiments.results.accuracy_table(rows)
    assert set(table[0]) == {"pruned", "kept", "wavering", "random"}


# ---- bad ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scorer", "error", "message"),
    [
        (lambda d: d.std_prob(), TypeError, "bad's scorer must return Scores, and .* got ndarray"),
        (
            lambda d: Scores(d.std_prob()[1:], "bad"),
            ValueError,
            "bad's scorer must return a score for each of 60 samples; got 59",
        ),
        (lambda d: Scores(d.std_prob() * np.nan, "bad"), ValueError, "60 of 60 are NaN"),
    ],
)
def test_a_scorer_that_returns_no_scores_of_the_set_is_refused(record, scorer, error, message):
    with pytest.raises(error, match=message):
        Method("dynamics", scorer, dpkit.keep_top, name="bad").score(record)


def test_it_is_refused_before_any_training():
    bad = Method("dynamics", lambda d: d.std_prob(), dpkit.keep_top, name="bad")
    with pytest.raises(ValueError, match="bad's scorer must return Scores"):
        dpkit.experiments.grids.trials_of(GRID | {"method": bad})


def test_a_function_that_cannot_travel_is_refused_before_the_cluster_starts(tmp_path, monkeypatch):
    from dpkit.experiments import clusters

    monkeypatch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster started"))
    file = open(__file__)
    bad = Method(
        "dynamics",
        lambda d: Scores(d.std_prob() + file.fileno(), "bad"),
        dpkit.keep_top,
        name="bad",
    )
    with file, pytest.raises(ValueError, match="bad|cannot be known|cannot be sent"):
        dpkit.sweep(GRID | {"method": bad}, out=tmp_path / "out", cache=tmp_path, device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dual", "ccs"])
def test_a_name_of_the_kits_is_not_ones_own(name, record):
    mine = Method("dynamics", typed()["wavering"], dpkit.keep_top, name=name)
    with pytest.raises(ValueError, match=f"needs a name that METHODS does not have; got '{name}'"):
        dpkit.experiments.grids.trials_of(GRID | {"method": mine})
    assert METHODS[name].scorer is not mine.scorer


def test_two_of_one_name_are_refused():
    with pytest.raises(InvalidGrid, match="two methods are named 'wavering'"):
        dpkit.experiments.grids.trials_of(GRID | {"method": [method(1), method(-1)]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pixels", None, dpkit.keep_top), "evidence is dynamics, .* or None; got 'pixels'"),
        (("dynamics", "dual", dpkit.keep_top), "scorer must be a function; got 'dual'"),
        (("dynamics", dpkit.dual, None), "selector must be a function; got None"),
        (("dynamics", dpkit.dual, dpkit.keep_top, ("depth",)), "extras are .*; got depth"),
    ],
)
def test_parts_that_are_none_are_refused_at_once(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Method(*arguments)
