"""A trial is a row; its stages are done once, survive being killed, and are never mistaken for
another's.
"""

import json
from dataclasses import replace
from functools import cache
from importlib.metadata import version

import numpy as np
import pytest
import torch

from dpkit import storage
from dpkit.data.image_set import load
from dpkit.experiments import pipeline, stages
from dpkit.experiments.cache import Stage
from dpkit.experiments.costs import Cost
from dpkit.experiments.trials import Trial, run_of, run_trial
from dpkit.methods import catalog
from dpkit.methods.catalog import METHODS
from dpkit.nets import builders
from dpkit.nets.builders import make_net
from dpkit.nets.models import StagedNet
from dpkit.records import Scores, Selection, TrainingDynamics, keep_count
from dpkit.selectors import keep_random
from dpkit.training.inference import evaluate, take_snapshot
from dpkit.training.loop import Recipe, train

N, EPOCHS = 120, 10
CELL = Trial(
    "digits",
    "dual",
    0.5,
    seed=0,
    record=Recipe(epochs=12, batch_size=60, lr=0.05),
    record_epochs=EPOCHS,
    retrain=Recipe(epochs=2, batch_size=30, lr=0.05),
    num_samples=N,
)
STAGES = ("record", "score", "select", "retrain")
# another run has others
MEASURED = {f"{stage}_{what}" for stage in STAGES for what in ("seconds", "peak_memory")}


def run(cache, watched=None, **changes):
    """The row of CELL with some changes; `watched` collects (stage, epoch)."""
    watch = None if watched is None else lambda stage, report: watched.append((stage, report.epoch))
    return run_trial(replace(CELL, **changes), cache=cache, device="cpu", on_epoch=watch)


def numbers(row):
    return {name: value for name, value in row.items() if name not in {*MEASURED, "from_cache"}}


def kept_in(cache):
    """Names of the stages in a cache, finished or not."""
    return {path.name for path in cache.iterdir()} - {".locks"}


def kinds(names):
    return {name.split("-")[0] for name in names}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cache with CELL done, and its row. Tests that add to it work on other settings."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, run(cache)


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))


# ---- the row -------------------------------------------------------------------------------------


def test_a_row_says_what_was_done_and_what_came_of_it(finished):
    row = finished[1]
    assert (row["dataset"], row["num_samples"], row["model"]) == ("digits", N, "small_cnn")
    assert (row["method"], row["prune_ratio"], row["keep"], row["seed"]) == ("dual", 0.5, N // 2, 0)
    # 60 kept in batches of 30, twice
    assert (row["record_epochs"], row["retrain_steps"]) == (EPOCHS, 4)
    assert (row["record_samples"], row["retrain_samples"], row["retrain_epochs"]) == (
        EPOCHS * N,
        120,
        2,
    )
    assert {
        row[f"{stage}_{what}"] for stage in ("score", "select") for what in ("epochs", "samples")
    } == {0}
    assert (row["device"], row["precision"], row["torch"]) == ("cpu", "fp32", torch.__version__)
    assert (row["threads"], row["dpkit"]) == (torch.get_num_threads(), version("dpkit")) and row[
        "processor"
    ]
    assert (row["budget"], row["retrain"]) == ("2 epochs", "2 epochs batch_size=30 lr=0.05")
    assert row["record"] == "12 epochs batch_size=60 lr=0.05"
    assert 0.1 < row["accuracy"] < 1 and row["best_accuracy"] is None and row["test_loss"] > 0
    assert all(row[name] > 0 for name in MEASURED) and row["empty_classes"] == 0
    assert json.loads(json.dumps(row)) == row and set(row) == {
        "dataset",
        "num_samples",
        "model",
        "method",
        "options",
        "prune_ratio",
        "keep",
        "empty_classes",
        "seed",
        "budget",
        "accuracy",
        "class_accuracy",
        "worst_class_accuracy",
        "best_accuracy",
        "test_loss",
        "record",
        "retrain",
        "scores",
        "selection",
        "retrain_steps",
        "device",
        "processor",
        "threads",
        "precision",
        "torch",
        "dpkit",
        "from_cache",
        "snapshot_epoch",
        "best_every",
        "exits",
        "settings",
        "versions",
        "record_model",
        "code",
        "fingerprint",
        "test",
        *(
            f"{stage}_{what}"
            for stage in STAGES
            for what in ("seconds", "epochs", "samples", "peak_memory")
        ),
    }


def test_a_row_names_the_stages_that_hold_its_scores_and_its_selection(finished):
    cache, row = finished
    scores, selection = (
        Scores.load(cache / row["scores"] / "scores"),
        Selection.load(cache / row["selection"] / "selection"),
    )
    assert scores.name == "dual" and scores.num_samples == N
    assert selection.kept.tolist() == sorted(np.argsort(scores.values)[-N // 2 :])
    assert run(cache, method="random")["scores"] == ""


@pytest.mark.filterwarnings("ignore:the subset of digits has no sample")
def test_classes_that_were_lost_are_counted(tmp_path):
    images = load("digits", device="cpu").first(N)
    row = run(tmp_path, method="random", prune_ratio=0.95)
    kept = Selection.load(tmp_path / row["selection"] / "selection").kept
    # 6 of 120 images are kept
    assert row["empty_classes"] == 10 - len(set(images.labels[torch.tensor(kept)].tolist())) > 3


@pytest.mark.filterwarnings("ignore:the subset of digits has no sample")  # of four images
def test_a_large_network_goes_the_same_way_with_the_papers_budget(tmp_path):
    row = run(
        tmp_path,
        model="resnet18",
        num_samples=40,
        prune_ratio=0.9,
        record=Recipe(epochs=200, batch_size=20),
        retrain=Recipe(epochs=2, batch_size=2),
        record_epochs=2,
        options={"window": 2},
    )
    assert (row["model"], row["keep"], row["record_epochs"]) == ("resnet18", 4, 2)
    assert row["retrain_steps"] == 4  # two passes over four images in batches of two
    assert row["options"] == '{"window": 2}' and np.isfinite(row["test_loss"])


def test_the_accuracy_is_the_retrained_networks_on_the_test_set(tmp_path):
    row = run(tmp_path, method="random")
    images = load("digits", device="cpu").first(N)
    kept = images.subset(keep_random(N, N // 2, rng=0))
    net = make_net("small_cnn", images, seed=stages.derived_seed(0, 2))
    list(train(net, kept, CELL.retrain, seed=stages.derived_seed(0, 3)))
    found = evaluate(net, load("digits", split="test", device="cpu"))
    assert found.num_samples == 500 and (row["accuracy"], row["test_loss"]) == (
        found.accuracy,
        found.loss,
    )


def test_the_evidence_is_of_the_recorded_epochs_and_no_more(finished):
    cache, _ = finished
    images = load("digits", device="cpu").first(N)
    evidence = stages.record(
        images, model="small_cnn", recipe=CELL.record, epochs=EPOCHS, seed=0, cache=cache
    )
    net = make_net("small_cnn", images, seed=stages.derived_seed(0, 0))
    training = train(net, images, CELL.record, seed=stages.derived_seed(0, 1))
    reports = [next(training) for _ in range(EPOCHS)]
    expected = TrainingDynamics.from_reports(reports, images.labels)
    assert np.array_equal(evidence.dynamics.target_prob, expected.target_prob)
    assert (
        np.array_equal(evidence.dynamics.labels, images.labels)
        and evidence.dynamics.params["seed"] == 0
    )
    np.testing.assert_allclose(evidence.snapshot.probs, take_snapshot(net, images).probs, atol=1e-6)


def test_seeds_differ_in_every_stage():
    drawn = {stages.derived_seed(seed, stage) for seed in range(5) for stage in range(4)}
    assert len(drawn) == 20


# ---- done once -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the subset of digits has no sample of class")
def test_all_methods_and_ratios_of_a_seed_cost_one_scoring_training(tmp_path):
    watched = []
    # these watch another network
    plain = [method for method in METHODS if "exits" not in METHODS[method].reads]
    rows = [
        run(tmp_path, watched, method=method, prune_ratio=ratio)
        for method in plain
        for ratio in (0.25, 0.5)
    ]
    assert [epoch for stage, epoch in watched if stage == "record"] == list(range(EPOCHS))
    assert [(row["method"], row["keep"]) for row in rows] == [
        (method, keep) for method in plain for keep in (90, 60)
    ]
    assert len(list(tmp_path.glob("record-*"))) == 1
    # dual and dual+beta share theirs, so do forgetting and d2; random and those that judge features
    # or the snapshot have none
    assert len(list(tmp_path.glob("score-*"))) == len(plain) - 2 - 5
    assert len(list(tmp_path.glob("select-*"))) == 2 * len(plain)


def test_a_second_call_does_no_stage_again_and_gives_the_same_row(
    finished, no_training, steps_taken, monkeypatch
):
    for writer in ("whole_folder", "write_json"):  # which every stage ends with
        monkeypatch.setattr(storage, writer, lambda *a, **k: pytest.fail("a stage was done again"))
    watched = []
    again = run(finished[0], watched)
    assert watched == [] and steps_taken() == 0
    assert (finished[1]["from_cache"], again["from_cache"]) == (False, True)
    # the costs of the run that did it, too
    assert {**again, "from_cache": None} == {**finished[1], "from_cache": None}


def test_a_set_can_be_chosen_by_one_network_and_train_another(finished, tmp_path):
    cache, own = finished
    watched = []
    row = run(cache, watched, model="fast_cnn", record_model="small_cnn")
    # the recording is that of small_cnn's own trial
    assert {stage for stage, _ in watched} == {"retrain"}
    assert (row["model"], row["record_model"], row["selection"]) == (
        "fast_cnn",
        "small_cnn",
        own["selection"],
    )
    assert row["accuracy"] != own["accuracy"] and own["record_model"] == ""


@pytest.mark.parametrize(
    "changes", [{"record_model": "small_cnn"}, {"method": "random", "record_model": "resnet18"}]
)
def test_a_watched_network_that_says_nothing_is_no_other_trial(changes):
    trial = replace(CELL, **changes)
    assert trial.record_model == "" and "record_model" not in trial.plain()


def test_random_pays_for_no_scoring_training(tmp_path):
    watched = []
    row = run(tmp_path, watched, method="random", prune_ratio=0.0)
    assert (row["keep"], row["record_epochs"], row["record_seconds"]) == (N, 0, 0.0)
    assert {stage for stage, _ in watched} == {"retrain"}


def test_random_by_the_difficulty_of_classes_pays_for_the_recording_that_it_reads(finished):
    from dpkit.experiments.tables import labelled

    cache, own = finished
    changes = {"method": "random", "options": {"per_class": "difficulty"}}
    trial = replace(CELL, **changes, record_model="fast_cnn")
    assert trial.record_model == "fast_cnn" and "dynamics" in trial.method_object.reads
    watched = []
    row = run(cache, watched, **changes)
    assert {stage for stage, _ in watched} == {"retrain"}  # the recording is the other trial's
    assert (row["record_epochs"], row["record_seconds"]) == (EPOCHS, own["record_seconds"])
    assert row["selection"] != run(cache, method="random")["selection"]
    assert [one["method"] for one in labelled([row])] == ["random, per_class=difficulty"]


def test_nothing_unfinished_is_left_in_the_cache(finished):
    names = sorted(path.name.split("-")[0] for path in finished[0].iterdir())
    assert set(names) == {".locks", *STAGES} and not list(finished[0].glob("*partial*"))
    assert {path.name for path in finished[0].glob(".*")} == {".locks"}


# ---- killed --------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "stage, epoch",
    [("record", 0), ("record", 6), ("record", EPOCHS - 1), ("retrain", 0), ("retrain", 1)],
)
def test_a_killed_trial_goes_on_to_the_same_row_without_repeating_epochs(
    tmp_path, every_epoch, finished, steps_taken, stage, epoch
):
    def kill(at, report):
        if (at, report.epoch) == (stage, epoch):
            raise Killed

    with pytest.raises(Killed):
        run_trial(CELL, cache=tmp_path, device="cpu", on_epoch=kill)
    assert any("partial" in path.name for path in tmp_path.iterdir())
    row = run(tmp_path)
    assert numbers(row) == numbers(finished[1])
    assert steps_taken() == 2 * EPOCHS + 4  # as many as without the kill
    assert not list(tmp_path.glob("*partial*"))


def test_a_full_disk_while_the_record_is_saved_costs_no_second_training(
    tmp_path, monkeypatch, every_epoch, finished, steps_taken
):
    save = np.save

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space left on the disk"):
        run(tmp_path)
    assert not list(tmp_path.glob("record-*/manifest.json")) and [
        path.name for path in tmp_path.glob(".*")
    ] == [".locks"]
    monkeypatch.setattr(np, "save", save)
    assert numbers(run(tmp_path)) == numbers(finished[1]) and steps_taken() == 2 * EPOCHS + 4


def test_what_a_run_leaves_that_is_killed_at_the_very_end_of_a_stage_is_cleared(
    tmp_path, monkeypatch
):
    run(tmp_path)
    for name in kept_in(tmp_path):  # the stage is there, and its checkpoint was about to be removed
        (tmp_path / f"{name.removesuffix('.json')}-partial").mkdir()
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    run(tmp_path)
    assert kinds(kept_in(tmp_path)) == set(STAGES) and not list(tmp_path.glob("*-partial"))


# ---- tested on the way ---------------------------------------------------------------------------


@cache
def accuracies(epochs):
    """Oracle: test accuracy of random's half after every epoch of the retraining, in a loop of our
    own.
    """
    images, test = load("digits", device="cpu").first(N), load("digits", split="test", device="cpu")
    net = make_net("small_cnn", images, seed=stages.derived_seed(0, 2))
    kept = images.subset(keep_random(N, N // 2, rng=0))
    return [
        evaluate(net, test).accuracy
        for _ in train(
            net, kept, replace(CELL.retrain, epochs=epochs), seed=stages.derived_seed(0, 3)
        )
    ]


def with_best(cache, every, watch=None, epochs=5):
    changes = {
        "method": "random",
        "retrain": replace(CELL.retrain, epochs=epochs),
        "best_every": every,
    }
    return run_trial(replace(CELL, **changes), cache=cache, device="cpu", on_epoch=watch)


@pytest.mark.parametrize("every, among", [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (9, [4])])
def test_the_best_accuracy_is_of_every_so_many_epochs_and_the_last(tmp_path, every, among):
    expected = accuracies(5)
    row = with_best(tmp_path, every)
    assert (row["accuracy"], row["best_accuracy"]) == (expected[4], max(expected[k] for k in among))


@pytest.mark.parametrize("epoch", [0, 2, 4])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_retraining_goes_on_to_the_same_best_epoch(
    tmp_path, monkeypatch, every_epoch, steps_taken, moment, epoch
):
    look, looks, expected, before = stages.evaluate, [], accuracies(5), steps_taken()
    with pytest.raises(Killed):
        with monkeypatch.context() as here:

            def counted(*arguments, **options):
                looks.append(1)
                # the epoch is in the checkpoint, its accuracy is not
                if moment == "before" and len(looks) == epoch + 1:
                    raise Killed
                return look(*arguments, **options)

            def watch(stage, report):
                if moment == "after" and report.epoch == epoch:
                    raise Killed

            here.setattr(stages, "evaluate", counted)
            with_best(tmp_path, 1, watch)
    row = with_best(tmp_path, 1)
    assert (row["accuracy"], row["best_accuracy"]) == (expected[4], max(expected))
    # as many as without the kill
    assert steps_taken() - before == 10 and not list(tmp_path.glob("*partial*"))


def test_the_best_epoch_is_looked_for_only_on_request_and_is_another_result(finished):
    before = kept_in(finished[0])
    assert run(finished[0])["best_accuracy"] is None
    row = run(finished[0], best_every=1)
    assert row["best_accuracy"] >= row["accuracy"] == finished[1]["accuracy"]
    assert kinds(kept_in(finished[0]) - before) == {"retrain"}


def test_a_network_that_breaks_in_its_last_step_is_no_result(tmp_path):
    with pytest.raises(
        FloatingPointError,
        match="test loss is (nan|inf) after the last step: .* use a smaller lr than 1e.30",
    ):
        run(tmp_path, method="random", retrain=Recipe(budget="steps", steps=1, lr=1e30))
    assert not list(tmp_path.glob("retrain-*.json"))


# ---- never mistaken ------------------------------------------------------------------------------


ALL, ANOTHER_SCORE = set(STAGES), {"score", "select", "retrain"}


@pytest.mark.parametrize(
    "changes, again",
    [
        ({"seed": 1}, ALL),
        ({"record_epochs": 11}, ALL),
        ({"num_samples": 121}, ALL),
        ({"snapshot_epoch": 9}, ALL - {"retrain"}),
        ({"record": replace(CELL.record, lr=0.06)}, ALL),
        ({"retrain": replace(CELL.retrain, lr=0.06)}, {"retrain"}),
        ({"best_every": 2}, {"retrain"}),
        ({"prune_ratio": 0.6}, {"select", "retrain"}),
        ({"method": "dyn_unc"}, ANOTHER_SCORE),
        ({"options": {"window": 2}}, ANOTHER_SCORE),
        ({"method": "dual+beta"}, {"select", "retrain"}),
        ({"options": {"window": 10}}, set()),  # the usual one, said aloud
    ],
)
def test_what_changes_a_result_is_done_again_and_nothing_else(finished, changes, again):
    before = kept_in(finished[0])
    run(finished[0], **changes)
    assert kinds(kept_in(finished[0]) - before) == again


@pytest.mark.parametrize(
    "stage, again",
    [
        ("record", ALL - {"retrain"}),
        ("score", {"score", "select"}),
        ("select", {"select"}),
        ("retrain", {"retrain"}),
    ],
)
def test_a_stage_whose_numbers_changed_leaves_older_results_unused(
    finished, set_version, stage, again
):
    before, watched = kept_in(finished[0]), []
    set_version(stage, 1000)
    run(finished[0], watched)
    assert {at for at, _ in watched} == {stage} & {"record", "retrain"}
    # the same samples are kept: no other retraining
    assert kinds(kept_in(finished[0]) - before) == again


def test_a_stage_that_is_added_has_its_version_and_its_costs_in_the_row(tmp_path, monkeypatch):
    def count(run):
        run.costs["count"] = Cost(seconds=1.5, samples=len(run.selection.kept))

    stages_now = [*pipeline.STAGES[:3], (Stage("count", 7), count), pipeline.STAGES[3]]
    monkeypatch.setattr(pipeline, "STAGES", stages_now)
    row = run(tmp_path)
    assert (row["count_seconds"], row["count_samples"]) == (1.5, row["keep"])
    assert row["versions"] == "record 2 score 1 select 1 count 7 retrain 1"


def test_a_scorer_whose_usual_setting_changes_is_another_stage(finished, monkeypatch):
    usual = METHODS["dual"].scorer

    def dual(dynamics, *, window: int = 5):
        return usual(dynamics, window=window)

    before = kept_in(finished[0])
    monkeypatch.setitem(METHODS, "dual", replace(METHODS["dual"], scorer=dual))
    row = run(finished[0])
    assert kinds(kept_in(finished[0]) - before) == ANOTHER_SCORE
    assert (
        row["scores"] == run(finished[0], options={"window": 5})["scores"] != finished[1]["scores"]
    )


def test_results_of_before_a_column_was_there_are_still_read(tmp_path, monkeypatch):
    new = run(tmp_path)
    [record], [retrain] = tmp_path.glob("record-*"), tmp_path.glob("retrain-*")
    said = json.loads((record / "manifest.json").read_text())
    (record / "manifest.json").write_text(
        json.dumps({name: said[name] for name in ("key", "seconds")})
    )
    said = storage.read_checked(retrain)
    lacking = ("best_accuracy", "retrain_peak_memory", "processor", "threads", "dpkit")
    said["row"] = {name: value for name, value in said["row"].items() if name not in lacking}
    retrain.write_text(json.dumps(said))
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    old = run(tmp_path)
    assert (old["retrain_peak_memory"], old["record_peak_memory"], old["best_accuracy"]) == (
        None,
        None,
        None,
    )
    assert (old["processor"], old["threads"], old["dpkit"]) == ("", None, "")
    for name in (
        "accuracy",
        "record_seconds",
        "record_epochs",
        "record_samples",
        "retrain_epochs",
        "retrain_samples",
    ):
        assert old[name] == new[name]


def test_another_test_set_is_another_result(tmp_path):
    images, test = load("digits", device="cpu").first(N), load("digits", split="test", device="cpu")
    selection = keep_random(N, N // 2, rng=0)
    one, other = (
        stages.retrain(
            images, on, selection, model="small_cnn", recipe=CELL.retrain, seed=0, cache=tmp_path
        )
        for on in (test, test.first(250))
    )
    assert one["test_loss"] != other["test_loss"]


# ---- refused before any training -----------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "duel"}, "unknown method 'duel'; .*did you mean dual"),
        ({"model": "resnet"}, "unknown model 'resnet'"),
        ({"dataset": "digit"}, "unknown dataset 'digit'; there are digits"),
        (
            {"prune_ratio": 1.0},
            r"prune_ratio must be a number in \[0, 1\), the fraction removed; got 1\.0",
        ),
        ({"prune_ratio": -0.1}, "got -0.1"),
        (
            {"record_epochs": 13},
            r"record_epochs must be 1\.\.12 \(the record recipe's epochs\); got 13",
        ),
        ({"record_epochs": 0}, "record_epochs must be a whole number from 1; got 0"),
        ({"record_epochs": 2.5}, r"got 2\.5"),
        ({"record_epochs": True}, "got True"),
        ({"record_epochs": "9"}, "got '9'"),
        (
            {"record": Recipe(budget="steps", steps=9)},
            "counted in epochs: record needs that budget; got 'steps'",
        ),
        ({"best_every": -1}, "best_every must be a whole number from 0"),
        ({"best_every": True}, "got True"),
        ({"snapshot_epoch": 0}, "snapshot_epoch must be a whole number from 1"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": 1.0}, r"got 1\.0"),
        ({"seed": True}, "got True"),
        (
            {"options": {"window": 11}},
            r"window must be 2\.\.10 epochs \(this record has 10\); got 11",
        ),
        ({"record_epochs": 9}, r"window must be 2\.\.9 epochs .*got 10"),
        ({"options": {"window": "2"}}, "window must be"),
        (
            {"method": "dual+beta", "options": {"c_d": "4"}},
            "dual.beta cannot use the settings c_d=4: ",
        ),
        ({"method": "dual+beta", "options": {"c_d": -1}}, "c_d must be a number above 0"),
        (
            {"method": "random", "options": {"window": 2}},
            "random has no setting 'window'; there are per_class",
        ),
        ({"num_samples": 1298}, r"first\(n\) needs 1\.\.1297"),
        ({"num_samples": -1}, "got -1"),
        ({"options": {"c_d": 4}}, "dual has no setting 'c_d'; there are window, "),
        (
            {"method": "ccs", "prune_ratio": 0.25, "options": {"cutoff": 0.2501}},
            "cutoff must not be above the prune ratio: it ",
        ),
        (
            {"method": "ccs", "options": {"cutoff": "mnist"}},
            "cutoff must be a fraction .* or one of 'cifar10'",
        ),
    ],
)
def test_a_trial_that_cannot_be_is_refused_before_any_training(
    tmp_path, no_training, changes, message
):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
    assert not tmp_path.exists() or kept_in(tmp_path) == set()


def test_settings_reach_whom_they_belong_to():
    rng = np.random.default_rng(0)
    prob = rng.random((30, 12))
    evidence = stages.Evidence(
        TrainingDynamics(prob, prob, prob > 0.5, np.arange(30)), None, Cost()
    )
    chosen = catalog.find_method("dual+beta").choose(
        evidence, 10, num_samples=30, rng=0, window=12, c_d=5.5
    )
    assert chosen.params["c_d"] == 5.5
    tops = {
        tuple(
            catalog.find_method("dual")
            .choose(evidence, 10, num_samples=30, rng=0, window=window)
            .kept
        )
        for window in (2, 12)
    }
    assert len(tops) == 2


def test_a_set_with_cutoffs_of_its_own_gets_them_unless_others_are_named():
    own = {"ccs": {"cutoff": "cifar100"}, "d2": {"cutoff": "cifar100"}, "dual": {}, "random": {}}
    for method, options in own.items():
        assert replace(CELL, method=method, dataset="cifar100").options == options
        assert replace(CELL, method=method, dataset="cifar10").options == {}
    named = replace(CELL, method="ccs", dataset="cifar100", options={"cutoff": 0.1, "strata": 20})
    assert named.options == {"cutoff": 0.1, "strata": 20}


def test_scores_are_those_that_choose_selects_by():
    prob = np.random.default_rng(0).random((30, 12))
    evidence = stages.Evidence(
        TrainingDynamics(prob, prob, prob > 0.5, np.arange(30)), None, Cost()
    )
    scores = catalog.find_method("dual").score(evidence, window=5)
    kept = catalog.find_method("dual").choose(evidence, 10, num_samples=30, rng=0, window=5).kept
    assert (
        np.array_equal(kept, np.sort(np.argsort(scores.values)[-10:]))
        and scores.params["window"] == 5
    )
    assert np.array_equal(
        catalog.find_method("dual").select(scores, 10, evidence=evidence, rng=0, window=5).kept,
        kept,
    )
    assert catalog.find_method("random").score(None) is None


# ---- the snapshot on the way ---------------------------------------------------------------------


def record_of_toys(cache, snapshot_epoch, watch=None):
    images, _ = stages.load_sets("digits", N, "cpu")
    return stages.record(
        images,
        model="small_cnn",
        recipe=CELL.record,
        epochs=4,
        seed=0,
        cache=cache,
        snapshot_epoch=snapshot_epoch,
        on_epoch=watch,
    )


def test_the_snapshot_is_of_the_network_after_that_many_epochs(tmp_path):
    images, _ = stages.load_sets("digits", N, "cpu")
    net = make_net("small_cnn", images, seed=stages.derived_seed(0, 0))
    looked = [
        take_snapshot(net, images).probs
        for _ in train(net, images, CELL.record, seed=stages.derived_seed(0, 1))
    ]
    for epochs, expected in ((2, looked[1]), (99, looked[3])):
        assert np.array_equal(record_of_toys(tmp_path, epochs).snapshot.probs, expected)


def test_the_final_snapshot_is_of_the_network_as_recording_left_it(tmp_path):
    images, _ = stages.load_sets("digits", N, "cpu")
    net = make_net("small_cnn", images, seed=stages.derived_seed(0, 0))
    looked = [
        take_snapshot(net, images)
        for _ in train(net, images, CELL.record, seed=stages.derived_seed(0, 1))
    ]
    evidence = record_of_toys(tmp_path, 2)
    assert np.array_equal(evidence.final.probs, looked[3].probs)
    assert np.array_equal(evidence.final.features, looked[3].features)
    assert not np.array_equal(evidence.snapshot.probs, evidence.final.probs)
    once = record_of_toys(tmp_path, 4)  # both looks are the same: kept once
    assert once.final is once.snapshot and not (once.folder / "snapshot").exists()


def test_a_record_has_the_divergence_unless_all_probabilities_are_too_many(tmp_path, monkeypatch):
    assert record_of_toys(tmp_path / "a", 2).dynamics.divergence.shape == (N, 3)
    for module in (stages, catalog):
        monkeypatch.setattr(module, "MOST_PROBS", 10 * N - 1)
    evidence = record_of_toys(tmp_path / "b", 2)
    assert evidence.dynamics.divergence is None
    with pytest.raises(ValueError, match="tdds"):
        catalog.find_method("tdds").score(evidence, window=3)
    with pytest.raises(
        ValueError,
        match=r"120 samples of 10 classes have more than the 1,199 that are held: choose another",
    ):
        run(tmp_path / "c", method="tdds")
    assert not (tmp_path / "c").exists()


def test_a_record_that_goes_on_after_its_snapshot_keeps_the_early_one(tmp_path, every_epoch):
    undisturbed = record_of_toys(tmp_path / "a", 2)

    def stop(stage, report):
        if report.epoch == 2:  # past the snapshot
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_of_toys(tmp_path / "b", 2, watch=stop)
    resumed = record_of_toys(tmp_path / "b", 2)
    assert np.array_equal(resumed.snapshot.probs, undisturbed.snapshot.probs)
    assert np.array_equal(resumed.final.probs, undisturbed.final.probs)
    assert not list((tmp_path / "b").glob("*-partial"))


# ---- early exits ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:kept .* samples instead of")
def test_only_methods_that_read_exits_watch_a_network_with_them(tmp_path):
    cell = replace(CELL, exits=(0, 1), exit_weights=(1, 1, 2), prune_ratio=0.2)
    early, plain = (
        run_trial(replace(cell, method=method), cache=tmp_path, device="cpu")
        for method in ("eeprune", "el2n")
    )
    assert early["exits"] == "after 0 1 weights 1 1 2" and plain["exits"] == ""
    said = [json.loads(file.read_text())["key"] for file in tmp_path.glob("record-*/manifest.json")]
    assert sorted(key.get("exits", []) for key in said) == [[], [0, 1]]
    sets = stages.load_sets("digits", N, "cpu")
    seen = run_of(replace(cell, method="eeprune"), *sets, cache=tmp_path).until("record").evidence
    assert seen.final.probs.shape == (3, N, 10)
    assert early["keep"] >= keep_count(N, 0.2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"exits": (3,)}, r"after must be stages of 0\.\.2 .*; got \(3,\)"),
        ({"exits": ()}, "after must be stages"),
        (
            {"exit_weights": (1,)},
            "exit_weights must be one per exit and one for the final exit, 2 here; got 1",
        ),
        ({"exit_weights": (0, 0)}, "exit weights must be numbers from 0, and not all 0"),
        ({"options": {"exit": 1}}, r"exit must be 0\.\.0 here; got 1"),
        ({"options": {"exit": 2}}, "needs a Snapshot with at least three exits"),
    ],
)
def test_exits_that_cannot_be_are_refused_before_any_training(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CELL, method="eeprune", **changes)
    if "options" not in changes:
        replace(CELL, method="dual", **changes)  # which looks at no exits


def test_an_edited_network_or_method_is_run_anew_and_its_row_says_what_it_was(
    tmp_path, monkeypatch
):
    def row_of(width=8, sign=1):
        def tiny(channels, classes):
            return StagedNet([torch.nn.Conv2d(channels, width, 3)], torch.nn.Linear(width, classes))

        def mine(dynamics):
            return Scores(sign * dynamics.mean_prob(), "mine")

        monkeypatch.setitem(builders.MODELS, "tiny", tiny)
        monkeypatch.setitem(METHODS, "mine", replace(METHODS["dual"], scorer=mine))
        before = kept_in(tmp_path) if tmp_path.exists() else set()
        return (
            (row := run(tmp_path, model="tiny", method="mine")),
            kinds(kept_in(tmp_path) - before),
            row["code"],
        )

    (_, done, code), (_, nothing, again) = row_of(), row_of()
    assert (
        done == set(STAGES)
        and nothing == set()
        and code == again
        and "tiny " in code
        and "mine " in code
    )
    assert row_of(sign=-1)[1] == {"score", "select", "retrain"} and row_of(width=9)[1] == set(
        STAGES
    )
    assert run(tmp_path, method="random")["code"] == ""


def test_a_trial_that_cannot_be_known_is_scored_once_and_never_found_again(tmp_path, monkeypatch):
    calls, count = [], (i for i in range(9))  # a generator: nobody can say what it will do

    def unsure(dynamics):
        # not of what the settings are tried on
        calls.extend([next(count)] * (dynamics.num_samples == N))
        return Scores(dynamics.mean_prob(), "mine")

    monkeypatch.setitem(METHODS, "mine", replace(METHODS["dual"], scorer=unsure))
    with pytest.warns(UserWarning, match="does cannot be known: it reads a generator"):
        first = run(tmp_path, method="mine")
    second = run(tmp_path, method="mine")
    assert (
        len(calls) == 2
        and first["scores"] != second["scores"]
        and first["accuracy"] == second["accuracy"]
    )
