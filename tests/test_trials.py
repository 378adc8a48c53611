"""A trial is a row; its stages are done once, survive being killed, and are never mistaken for another's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpkit import stages
from dpkit.catalog import METHODS, make_net
from dpkit.costs import Cost
from dpkit.data import load
from dpkit.predict import evaluate, take_snapshot
from dpkit.records import TrainingDynamics
from dpkit.selectors import keep_random
from dpkit.training import Recipe, train
from dpkit.trials import Trial, run_trial

N, EPOCHS = 120, 10
CELL = Trial("digits", "dual", 0.5, seed=0, record=Recipe(epochs=12, batch_size=60, lr=0.05), record_epochs=EPOCHS,
             retrain=Recipe(epochs=2, batch_size=30, lr=0.05), num_samples=N)
SECONDS = ("record_seconds", "select_seconds", "retrain_seconds")


def run(cache, watched=None, **changes):
    """The row of CELL with some changes; `watched` collects (stage, epoch)."""
    watch = None if watched is None else lambda stage, report: watched.append((stage, report.epoch))
    return run_trial(replace(CELL, **changes), cache=cache, device="cpu", watch=watch)


def numbers(row):
    return {name: value for name, value in row.items() if name not in (*SECONDS, "from_cache")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cache with CELL done, and its row. Tests that add to it work on other settings."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, run(cache)


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))


# ---- the row ---------------------------------------------------------------------------------------------------


def test_a_row_says_what_was_done_and_what_came_of_it(finished):
    row = finished[1]
    assert (row["dataset"], row["num_samples"], row["model"]) == ("digits", N, "small_cnn")
    assert (row["method"], row["prune_ratio"], row["keep"], row["seed"]) == ("dual", 0.5, N // 2, 0)
    assert (row["record_epochs"], row["retrain_steps"]) == (EPOCHS, 4)  # 60 kept in batches of 30, twice
    assert (row["device"], row["precision"], row["torch"]) == ("cpu", "fp32", torch.__version__)
    assert 0.1 < row["accuracy"] < 1 and row["test_loss"] > 0 and all(row[name] > 0 for name in SECONDS)
    assert json.loads(json.dumps(row)) == row and set(row) == {
        "dataset", "num_samples", "model", "method", "options", "prune_ratio", "keep", "seed", "accuracy", "test_loss",
        "retrain_steps", "device", "precision", "torch", "record_epochs", "from_cache", *SECONDS}


@pytest.mark.filterwarnings("ignore:the subset of digits has no sample")  # of four images
def test_a_large_network_goes_the_same_way_with_the_papers_budget(tmp_path):
    row = run(tmp_path, model="resnet18", num_samples=40, prune_ratio=0.9, record=Recipe(epochs=200, batch_size=20),
              retrain=Recipe(epochs=2, batch_size=2), record_epochs=2, options={"window": 2})
    assert (row["model"], row["keep"], row["record_epochs"]) == ("resnet18", 4, 2)
    assert row["retrain_steps"] == 4  # two passes over four images in batches of two
    assert row["options"] == "window=2" and np.isfinite(row["test_loss"])


def test_the_accuracy_is_the_retrained_networks_on_the_test_set(tmp_path):
    row = run(tmp_path, method="random")
    images = load("digits", device="cpu").first(N)
    kept = images.subset(keep_random(N, N // 2, rng=0))
    net = make_net("small_cnn", images, seed=stages._derived(0, 2))
    list(train(net, kept, CELL.retrain, seed=stages._derived(0, 3)))
    found = evaluate(net, load("digits", split="test", device="cpu"))
    assert found.num_samples == 500 and (row["accuracy"], row["test_loss"]) == (found.accuracy, found.loss)


def test_the_evidence_is_of_the_recorded_epochs_and_no_more(finished):
    cache, _ = finished
    images = load("digits", device="cpu").first(N)
    evidence = stages.record(images, model="small_cnn", recipe=CELL.record, epochs=EPOCHS, seed=0, cache=cache)
    net = make_net("small_cnn", images, seed=stages._derived(0, 0))
    training = train(net, images, CELL.record, seed=stages._derived(0, 1))
    reports = [next(training) for _ in range(EPOCHS)]
    expected = TrainingDynamics.from_reports(reports, images.labels)
    assert np.array_equal(evidence.dynamics.target_prob, expected.target_prob)
    assert np.array_equal(evidence.dynamics.labels, images.labels) and evidence.dynamics.params["seed"] == 0
    np.testing.assert_allclose(evidence.snapshot.probs, take_snapshot(net, images).probs, atol=1e-6)


def test_seeds_differ_in_every_stage():
    drawn = {stages._derived(seed, stage) for seed in range(5) for stage in range(4)}
    assert len(drawn) == 20


# ---- done once -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the subset of digits has no sample of class")
def test_all_methods_and_ratios_of_a_seed_cost_one_scoring_training(tmp_path):
    watched = []
    rows = [run(tmp_path, watched, method=method, prune_ratio=ratio) for method in METHODS for ratio in (0.25, 0.5)]
    assert [epoch for stage, epoch in watched if stage == "record"] == list(range(EPOCHS))
    assert [(row["method"], row["keep"]) for row in rows] == [(method, keep) for method in METHODS for keep in (90, 60)]
    assert len(list(tmp_path.glob("record-*"))) == 1


def test_a_second_call_trains_nothing_and_gives_the_same_row(finished, no_training, steps_taken):
    watched = []
    again = run(finished[0], watched)
    assert watched == [] and steps_taken() == 0
    assert (finished[1]["from_cache"], again["from_cache"]) == (False, True)
    changing = {"select_seconds": 0, "from_cache": None}
    assert {**again, **changing} == {**finished[1], **changing}


def test_random_pays_for_no_scoring_training(tmp_path):
    watched = []
    row = run(tmp_path, watched, method="random", prune_ratio=0.0)
    assert (row["keep"], row["record_epochs"], row["record_seconds"]) == (N, 0, 0.0)
    assert {stage for stage, _ in watched} == {"retrain"}


def test_nothing_unfinished_is_left_in_the_cache(finished):
    names = sorted(path.name.split("-")[0] for path in finished[0].iterdir())
    assert names == ["record", "retrain"] and not list(finished[0].glob("*partial*"))


# ---- killed ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("stage, epoch", [("record", 0), ("record", 6), ("record", EPOCHS - 1), ("retrain", 0), ("retrain", 1)])
def test_a_killed_trial_goes_on_to_the_same_row_without_repeating_epochs(
        tmp_path, monkeypatch, finished, steps_taken, stage, epoch):
    from dpkit import training

    monkeypatch.setattr(training._Checkpoint.__init__, "__defaults__", (0.0,))

    def kill(at, report):
        if (at, report.epoch) == (stage, epoch):
            raise Killed

    with pytest.raises(Killed):
        run_trial(CELL, cache=tmp_path, device="cpu", watch=kill)
    assert any("partial" in path.name for path in tmp_path.iterdir())
    row = run(tmp_path)
    assert numbers(row) == numbers(finished[1])
    assert steps_taken() == 2 * EPOCHS + 4  # as many as without the kill
    assert not list(tmp_path.glob("*partial*"))


def test_a_full_disk_while_the_record_is_saved_costs_no_second_training(tmp_path, monkeypatch, finished, steps_taken):
    from dpkit import training

    monkeypatch.setattr(training._Checkpoint.__init__, "__defaults__", (0.0,))
    save = np.save

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path)
    assert not list(tmp_path.glob("record-*/manifest.json")) and not list(tmp_path.glob(".*"))
    monkeypatch.setattr(np, "save", save)
    assert numbers(run(tmp_path)) == numbers(finished[1]) and steps_taken() == 2 * EPOCHS + 4


# ---- never mistaken --------------------------------------------------------------------------------------------


def kept_in(cache):
    return {path.name for path in cache.iterdir()}


@pytest.mark.parametrize("changes, again", [
    ({"seed": 1}, {"record", "retrain"}), ({"record_epochs": 11}, {"record", "retrain"}),
    ({"num_samples": 121}, {"record", "retrain"}), ({"record": replace(CELL.record, lr=0.06)}, {"record", "retrain"}),
    ({"retrain": replace(CELL.retrain, lr=0.06)}, {"retrain"}), ({"prune_ratio": 0.6}, {"retrain"}),
    ({"method": "dyn_unc"}, {"retrain"}), ({"options": {"window": 2}}, {"retrain"}),
])
def test_what_changes_a_result_is_done_again_and_nothing_else(finished, changes, again):
    before = kept_in(finished[0])
    run(finished[0], **changes)
    assert {name.split("-")[0] for name in kept_in(finished[0]) - before} == again


@pytest.mark.parametrize("stage", ["record", "retrain"])
def test_a_stage_whose_numbers_changed_leaves_older_results_unused(finished, monkeypatch, stage):
    before, watched = kept_in(finished[0]), []
    monkeypatch.setitem(stages.VERSIONS, stage, 1000)
    run(finished[0], watched)
    assert {at for at, _ in watched} == {stage}
    assert {name.split("-")[0] for name in kept_in(finished[0]) - before} == {stage}


def test_another_test_set_is_another_result(tmp_path):
    images, test = load("digits", device="cpu").first(N), load("digits", split="test", device="cpu")
    selection = keep_random(N, N // 2, rng=0)
    one, other = (stages.retrain(images, on, selection, model="small_cnn", recipe=CELL.retrain, seed=0, cache=tmp_path)
                  for on in (test, test.first(250)))
    assert one["test_loss"] != other["test_loss"]


# ---- refused before any training -------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, message", [
    ({"method": "duel"}, "unknown method 'duel'; .*did you mean dual"), ({"model": "resnet"}, "unknown model 'resnet'"),
    ({"dataset": "digit"}, "unknown dataset 'digit'; there are digits"),
    ({"prune_ratio": 1.0}, r"fraction removed and must be in \[0, 1\); got 1\.0"), ({"prune_ratio": -0.1}, "got -0.1"),
    ({"record_epochs": 13}, r"record_epochs must be 1\.\.12 \(the record recipe's epochs\); got 13"),
    ({"record_epochs": 0}, "got 0"),
    ({"record": Recipe(budget="steps", steps=9)}, "record_epochs must be"),
    ({"num_samples": 1298}, r"first\(n\) needs 1\.\.1297"), ({"num_samples": -1}, "got -1"),
    ({"options": {"c_d": 4}}, "dual takes the settings window, .*; got c_d"),
])
def test_a_trial_that_cannot_be_is_refused_before_any_training(tmp_path, no_training, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
    assert kept_in(tmp_path) == set()


def test_settings_reach_whom_they_belong_to():
    rng = np.random.default_rng(0)
    prob = rng.random((30, 12))
    evidence = stages.Evidence(TrainingDynamics(prob, prob, prob > 0.5, np.arange(30)), None, Cost())
    chosen = stages.choose("dual+beta", evidence, 10, num_samples=30, rng=0, window=12, c_d=5.5)
    assert chosen.params["c_d"] == 5.5
    tops = {tuple(stages.choose("dual", evidence, 10, num_samples=30, rng=0, window=window).kept) for window in (2, 12)}
    assert len(tops) == 2


def test_scores_are_those_that_choose_selects_by():
    prob = np.random.default_rng(0).random((30, 12))
    evidence = stages.Evidence(TrainingDynamics(prob, prob, prob > 0.5, np.arange(30)), None, Cost())
    scores = stages.score_of("dual", evidence, window=5)
    kept = stages.choose("dual", evidence, 10, num_samples=30, rng=0, window=5).kept
    assert np.array_equal(kept, np.sort(np.argsort(scores.values)[-10:])) and scores.params["window"] == 5
    assert np.array_equal(stages.choose("dual", evidence, 10, num_samples=30, rng=0, scores=scores).kept, kept)
    assert stages.score_of("random", None) is None


# ---- the snapshot on the way -----------------------------------------------------------------------------------


def record_of_toys(cache, snapshot_epoch, watch=None):
    images, _ = stages.load_sets("digits", N, "cpu")
    return stages.record(images, model="small_cnn", recipe=CELL.record, epochs=4, seed=0, cache=cache,
                         snapshot_epoch=snapshot_epoch, watch=watch)


def test_the_snapshot_is_of_the_network_after_that_many_epochs(tmp_path):
    images, _ = stages.load_sets("digits", N, "cpu")
    net = make_net("small_cnn", images, seed=stages._derived(0, 0))
    looked = [take_snapshot(net, images).probs for _ in train(net, images, CELL.record, seed=stages._derived(0, 1))]
    for epochs, expected in ((2, looked[1]), (99, looked[3])):
        assert np.array_equal(record_of_toys(tmp_path, epochs).snapshot.probs, expected)


def test_a_record_that_goes_on_after_its_snapshot_keeps_the_early_one(tmp_path, every_epoch):
    undisturbed = record_of_toys(tmp_path / "a", 2).snapshot

    def stop(stage, report):
        if report.epoch == 2:  # past the snapshot
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_of_toys(tmp_path / "b", 2, watch=stop)
    resumed = record_of_toys(tmp_path / "b", 2)
    assert np.array_equal(resumed.snapshot.probs, undisturbed.probs)
    assert not list((tmp_path / "b").glob("*-partial"))
