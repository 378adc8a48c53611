"""What is published is not run again: which rows are known as which trials'."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hand_rows import N, as_before_0_9

import dpkit
from dpkit import storage
from dpkit.data.image_set import load
from dpkit.experiments import publishing, stages
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.rows import Row
from dpkit.experiments.trials import Outcome, Trial, settings_in_row
from dpkit.methods import catalog
from dpkit.methods.method import Method
from dpkit.nets import builders
from dpkit.records import Scores, Selection
from dpkit.storage.provenance import processor
from dpkit.training.recipe import Recipe

TRIAL = Trial(
    "digits", "dual", 0.5, 0, Recipe(epochs=12), 10, Recipe(budget="steps", steps=5), num_samples=N
)
EARLY = replace(TRIAL, method="el2n")


@pytest.fixture
def few():
    return load("digits", device="cpu").first(N)


@pytest.fixture
def held_out():
    return load("digits", split="test", device="cpu")


def finished(trial, images, **more) -> Outcome:
    """What a training of this trial would have left, had it reached 50 %."""
    row = Row(
        **settings_in_row(trial, N)
        | {"device": stages.device_name(images.device), "processor": processor()}
        | {"keep": 6, "accuracy": 0.5, "versions": stage_versions()}
        | {"costs": {"record": {"epochs": trial.record_epochs if trial.method_object.reads else 0}}}
        | more
    )
    return Outcome(row, Selection(np.arange(6), N, "top"), Scores(np.arange(N), row.method))


def publish(folder, outcomes, images, **said):
    settings = {"data": images.fingerprint} | said
    return publishing.publish(folder, outcomes, title="Mine", command="-", settings=settings)


@pytest.fixture
def done(tmp_path, few):
    """A published table of two trials, one of which reads an early snapshot."""
    return publish(tmp_path / "done", [finished(TRIAL, few), finished(EARLY, few)], few)


def test_a_table_that_was_tested_on_other_images_counts_for_nothing(done, few, held_out):
    there, _ = publishing.published([TRIAL], [done], few, held_out)
    for tested, count in ((held_out.fingerprint, 1), ("another", 0)):
        told = publish(done, there, few, test=tested)
        assert len(publishing.published([TRIAL], [told], few, held_out)[0]) == count


def test_a_published_trial_is_not_run_again(done, few, held_out):
    there, left = publishing.published(
        [EARLY, TRIAL], [done.with_name("none"), done], few, held_out
    )
    assert [one.row.method for one in there] == ["el2n", "dual"] and left == []
    assert there[1].selection.kept.tolist() == list(range(6))
    assert there[1].scores.values.tolist() == list(range(N))
    again = publish(done, there, few)
    assert publishing.published([TRIAL, EARLY], [again], few, held_out)[1] == []


@pytest.mark.parametrize(
    "told", [{"processor": "another"}, {"processor": ""}, {"device": "NVIDIA H200"}]
)
def test_rows_of_another_kind_of_processor_are_another_training_unless_asked_for(
    done, few, held_out, told
):
    own, _ = publishing.published([TRIAL, EARLY], [done], few, held_out)
    rows = [replace(one, row=replace(one.row, **told, accuracy=0.25)) for one in own]
    other = publish(done.parent / "other", rows, few)
    assert publishing.published([TRIAL, EARLY], [other], few, held_out) == ([], [TRIAL, EARLY])
    there, left = publishing.published([TRIAL, EARLY], [other], few, held_out, other_kinds=True)
    assert [one.row.accuracy for one in there] == [0.25, 0.25] and left == []
    there, _ = publishing.published([TRIAL, EARLY], [other, done], few, held_out, other_kinds=True)
    # where both are there, those of this kind, in any order
    assert [one.row.accuracy for one in there] == [0.5, 0.5]
    mixed = [there[0], *publishing.published([EARLY], [other], few, held_out, other_kinds=True)[0]]
    page = publish(done.parent / "mixed", mixed, few) / "table.md"
    assert "The rows are from 2 kinds of processor: " in page.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"prune_ratio": 0.6},
        {"seed": 1},
        {"method": "aum"},
        {"method": "random"},
        {"model": "resnet18"},
        {"num_samples": N - 1},
        {"record": Recipe(epochs=13)},
        {"record_epochs": 11},
        {"retrain": Recipe(budget="steps", steps=6)},
        {"best_every": 1},
        {"options": {"window": 9}},
        {"options": {"per_class": "balanced"}},
        {"record_model": "resnet18"},
        {"retrain": Recipe(budget="steps", steps=5, label_smoothing=0.1)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_trial_that_differs_from_the_published_one_is_run(done, few, held_out, changes):
    assert publishing.published([replace(TRIAL, **changes)], [done], few, held_out)[0] == []


def test_the_early_snapshot_counts_where_it_is_read(done, few, held_out):
    there, left = publishing.published(
        [replace(trial, snapshot_epoch=3) for trial in (TRIAL, EARLY)], [done], few, held_out
    )
    assert [one.row.method for one in there] == ["dual"] and [trial.method for trial in left] == [
        "el2n"
    ]


def test_exits_count_where_they_are_read(few, held_out, tmp_path):
    exits = replace(TRIAL, method="eeprune", exits=(0,))
    table = publish(tmp_path / "t", [finished(exits, few)], few)
    for trial, count in (
        (exits, 1),
        (replace(exits, exits=(1,)), 0),
        (replace(exits, exit_weights=(1, 2)), 0),
    ):
        assert len(publishing.published([trial], [table], few, held_out)[0]) == count


def test_a_row_keeps_the_versions_it_was_made_with(done, few, held_out):
    first = dict.fromkeys(stage_versions(), 1)
    told = publishing.published([TRIAL], [done], few, held_out)[0][0]
    older = publish(
        done.parent / "older", [replace(told, row=replace(told.row, versions=first))], few
    )
    assert publishing.published([TRIAL], [older], few, held_out)[0][0].row.versions == first


def test_a_table_of_other_images_or_older_numbers_counts_for_nothing(
    done, few, held_out, set_version
):
    assert (
        publishing.published([TRIAL], [done], load("digits", device="cpu").first(N + 1), held_out)[
            0
        ]
        == []
    )
    set_version("select", 1000)
    assert publishing.published([TRIAL], [done], few, held_out)[0] == []


def test_a_setting_whose_usual_value_changed_since_is_another(done, few, held_out, monkeypatch):
    usual = Method.options.fget
    monkeypatch.setattr(Method, "options", property(lambda method: usual(method) | {"window": 9}))
    assert (
        publishing.published([replace(TRIAL, options={"window": 10})], [done], few, held_out)[1]
        == []
    )
    assert publishing.published([TRIAL], [done], few, held_out)[0] == []


FIRST = {  # a row of the first tables, which lack much
    "dataset": "digits",
    "num_samples": N,
    "model": "small_cnn",
    "method": "dual",
    "options": "window=10",
    "prune_ratio": 0.5,
    "seed": 0,
    "record": "12 epochs",
    "record_epochs": 10,
    "retrain": "5 steps",
    "accuracy": 0.5,
    "keep": 6,
}


def test_rows_from_before_they_told_their_settings_count_where_the_manifest_tells_the_rest(
    tmp_path, few, held_out
):
    row = FIRST | {
        name: getattr(finished(TRIAL, few).row, name) for name in ("device", "processor")
    }
    for said, count in (({"best_every": 0}, 1), ({"best_every": 2}, 0), ({}, 0)):
        table = publish(tmp_path / "old", [finished(TRIAL, few)], few, **said)
        as_before_0_9(table, [row])
        there = publishing.published([TRIAL], [table], few, held_out)[0]
        assert len(there) == count


def test_what_an_older_row_does_not_tell_is_filled_in_where_it_stands_for_a_trial(
    tmp_path, few, held_out
):
    row = FIRST | {
        name: getattr(finished(TRIAL, few).row, name) for name in ("device", "processor")
    }
    table = publish(tmp_path / "old", [finished(TRIAL, few)], few, best_every=0)
    as_before_0_9(table, [row])
    ((one,), _) = publishing.published([TRIAL], [table], few, held_out)
    assert (one.row.snapshot_epoch, one.row.exits, one.row.best_every) == (10, {}, 0)
    assert one.row.versions == dict.fromkeys(stage_versions(), 1)  # made by the first ones
    again = publish(tmp_path / "new", [one], few)
    assert publishing.published([TRIAL], [again], few, held_out)[1] == []


def test_a_published_row_of_an_edited_method_or_network_counts_for_nothing(
    few, held_out, tmp_path, monkeypatch
):
    def edit(name, sign, table=catalog.METHODS):
        def mine(dynamics):
            return Scores(sign * dynamics.mean_prob(), "mine")

        monkeypatch.setitem(
            table,
            name,
            mine if table is builders.MODELS else Method("dynamics", mine, dpkit.keep_top),
        )

    def there(trial, *tables):
        return len(publishing.published([trial], tables, few, held_out)[0])

    def table(name, trial, **more):
        return publish(tmp_path / name, [finished(trial, few, **more)], few)

    edit("mine", 1)
    trial = replace(TRIAL, method="mine")
    silent, telling = table("silent", trial, code=""), table("telling", trial)
    assert there(trial, silent) == 0 and there(trial, telling) == there(trial, silent, telling) == 1
    edit("mine", -1)
    assert there(trial, telling) == 0
    kits = table("kits", TRIAL)
    assert there(TRIAL, kits) == 1
    edit("dual", 1)  # dpkit's own name, and not its function
    assert there(TRIAL, kits) == 0
    monkeypatch.undo()
    edit("small_cnn", 1, builders.MODELS)
    assert there(TRIAL, kits) == 0


def test_outcomes_come_in_the_order_of_their_trials(done, few, held_out):
    there, _ = publishing.published([TRIAL, EARLY], [done], few, held_out)
    for trials in ([TRIAL, EARLY], [EARLY, TRIAL]):
        ordered = publishing.in_order(there, trials)
        assert [one.row.method for one in ordered] == [trial.method for trial in trials]
    assert [one.row.method for one in publishing.in_order(there, [EARLY])] == ["el2n", "dual"]
    assert publishing.in_order([], [TRIAL]) == []


def test_a_method_object_of_ones_own_is_known_by_what_it_does(few, held_out, tmp_path):
    def mine(dynamics):
        return Scores(dynamics.mean_prob(), "mine")

    def other(dynamics):
        return Scores(-dynamics.mean_prob(), "mine")

    trial = replace(TRIAL, method=Method("dynamics", mine, dpkit.keep_top, name="own"))
    table = publish(tmp_path / "own", [finished(trial, few)], few)
    assert len(publishing.published([trial], [table], few, held_out)[0]) == 1
    edited = replace(trial, method=Method("dynamics", other, dpkit.keep_top, name="own"))
    assert publishing.published([edited], [table], few, held_out) == ([], [edited])


def test_a_table_tells_the_order_of_its_set_by_a_hash_of_the_labels(done, few):
    digest = hashlib.sha256(few.labels.numpy().astype("<i8").tobytes()).hexdigest()
    assert digest not in (done / "DATA_CARD.md").read_text()
    for images in (few, None):  # it stays when it is written again without them
        publishing.rewrite(done, images)
        assert storage.read_manifest(done)["labels_sha256"] == digest
        assert f"is `{digest}`" in (done / "DATA_CARD.md").read_text()
    with pytest.raises(ValueError, match="digits is not the set that .*done was measured on"):
        publishing.rewrite(done, load("digits", device="cpu").first(N + 1))


def test_a_table_without_outcomes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a table needs at least one outcome; got none"):
        publishing.publish(tmp_path / "table", [], title="none", command="none")
    assert not (tmp_path / "table").exists()
