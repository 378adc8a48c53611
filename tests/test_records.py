"""Records are checked when made, whole or absent on disk, and never taken for each other."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from dpkit import storage
from dpkit.methods.catalog import METHODS
from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics, keep_count, require_kind

NAN = np.nan


def dynamics(
    prob=((0.1, 0.9), (0.5, 0.4), (0.7, 0.8)), margin=None, correct=None, labels=None, **rest
):
    prob = np.asarray(prob)
    margin = np.where(np.isnan(prob), NAN, 1.5) if margin is None else margin
    correct = np.zeros(prob.shape, bool) if correct is None else correct
    return TrainingDynamics(
        prob, margin, correct, np.arange(len(prob)) if labels is None else labels, **rest
    )


def snapshot(**changes):
    given = {
        "probs": [[[0.2, 0.8], [1, 0], [0.5, 0.5]]],
        "features": np.eye(3, 4),
        "labels": [0, 1, 1],
    }
    return Snapshot(**(given | changes))


RECORDS = {
    "TrainingDynamics": lambda: dynamics(moment="eval", params={"seed": 7, "note": "one"}),
    "Snapshot": lambda: snapshot(params={"seed": 8}),
    "Snapshot without features": lambda: snapshot(features=None),
    "Scores": lambda: Scores([3.0, -1.0, np.inf], "mine", {"window": np.int64(10)}),
    "Selection": lambda: Selection([0, 2, 5], 6, "top", {"seed": 1}),
    "Selection of nothing": lambda: Selection([], 6, "top"),
}


def arrays_of(record):
    return {name: value for name, value in vars(record).items() if isinstance(value, np.ndarray)}


# ---- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, ratio, keep",
    [
        (10, 0.0, 10),
        (10, 0.3, 7),
        (50_000, 0.9, 5_000),
        (1797, 0.5, 898),
        (0, 0.5, 0),
        (3, 0.99, 0),
        (5, 0.5, 2),
        (7, 0.5, 4),  # 2.5 and 3.5: Python rounds halves to the even number
    ],
)
def test_a_ratio_becomes_a_count_by_rounding_halves_to_even(n, ratio, keep):
    assert keep_count(n, ratio) == keep and isinstance(keep_count(n, ratio), int)


@pytest.mark.parametrize("ratio", [1, 1.5, -0.1, NAN, np.inf])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match=rf"fraction removed and must be in \[0, 1\); got {ratio}"):
        keep_count(10, ratio)


# ---- saving and loading --------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    record = RECORDS[name]()
    assert record.save(tmp_path / "deep" / "record") == tmp_path / "deep" / "record"
    again = type(record).load(tmp_path / "deep" / "record")
    assert again.params == record.params
    before, after = arrays_of(record), arrays_of(again)
    assert list(before) == list(after) and len(before) > 0
    assert {name: value for name, value in vars(again).items() if name not in after} == {
        name: value for name, value in vars(record).items() if name not in before
    }
    for field, array in before.items():
        assert array.dtype == after[field].dtype and array.strides == after[field].strides
        assert array.tobytes() == after[field].tobytes()


@pytest.mark.parametrize(
    "name, fields",
    [
        ("TrainingDynamics", ("target_prob", "margin", "correct")),
        ("Snapshot", ("probs", "features")),
        ("Scores", ("values",)),
    ],
)
def test_large_arrays_are_memory_mapped_not_read(tmp_path, name, fields):
    again = type(RECORDS[name]()).load(RECORDS[name]().save(tmp_path / "record"))
    for field in fields:
        base = getattr(again, field)
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert base is not None, field


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("loaded", [False, True])
def test_records_cannot_be_changed(tmp_path, name, loaded):
    record = RECORDS[name]()
    if loaded:
        record = type(record).load(record.save(tmp_path / "record"))
    for field, array in arrays_of(record).items():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field, array)


def test_the_callers_own_array_stays_writable():
    mine = np.zeros(3)
    Scores(mine, "mine")
    mine[0] = 1


def test_dynamics_lie_epoch_by_epoch_in_memory(tmp_path):
    record = dynamics(np.ascontiguousarray(np.random.default_rng(0).random((5, 3))))
    for found in (record, TrainingDynamics.load(record.save(tmp_path / "record"))):
        assert all(
            getattr(found, name).flags.f_contiguous for name in ("target_prob", "margin", "correct")
        )


def test_the_manifest_names_kind_seed_and_every_hash(tmp_path):
    folder = RECORDS["TrainingDynamics"]().save(tmp_path / "record")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["schema"], manifest["seed"]) == ("TrainingDynamics", 1, 7)
    assert manifest["sha256"] == {
        name: storage.file_hash(folder / f"{name}.npy")
        for name in ("target_prob", "margin", "correct", "labels")
    }
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", *(f"{name}.npy" for name in manifest["sha256"])]
    )


def test_saving_over_an_earlier_record_replaces_all_of_it(tmp_path):
    Snapshot(np.full((1, 2, 2), 0.5), np.zeros((2, 3)), [0, 1]).save(tmp_path / "record")
    Snapshot(np.full((1, 2, 2), 0.5), None, [0, 1]).save(tmp_path / "record")
    assert sorted(path.name for path in (tmp_path / "record").iterdir()) == [
        "labels.npy",
        "manifest.json",
        "probs.npy",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


@pytest.mark.parametrize(
    "manifest",
    [
        '{"kind": "Snapshot", "sha256": {"values": 1}}',
        '{"name": "a web page", "icons": []}',
        '{"kind": "Pruning", "sha256": {"kept.txt": 1}}',
        '{"kind": null}',
    ],
)
def test_a_record_never_takes_the_place_of_anything_else_that_has_a_manifest(tmp_path, manifest):
    folder = RECORDS["Selection"]().save(tmp_path / "there")
    (folder / "manifest.json").write_text(manifest)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        FileExistsError, match="there holds something else than a selection .*name another folder"
    ):
        RECORDS["Selection"]().save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["notes.txt", "values2.npy", "deep/selection/kept.npy"])
def test_what_was_laid_beside_a_record_is_not_lost_when_it_is_saved_again(tmp_path, name):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("precious")
    with pytest.raises(
        FileExistsError, match=rf"record holds {name}, which dpkit did not write there"
    ):
        RECORDS["Scores"]().save(folder)
    assert (folder / name).read_text() == "precious"
    (folder / name).unlink()
    (folder / ".DS_Store").write_text("")  # a file manager's
    RECORDS["Scores"]().save(folder)


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(
        FileExistsError,
        match=r"home exists and is not an earlier result .*no manifest.json.*name another",
    ):
        RECORDS["Scores"]().save(tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_empty_folder_may_be_saved_into(tmp_path):
    (tmp_path / "empty").mkdir()
    assert Scores.load(RECORDS["Scores"]().save(tmp_path / "empty")).name == "mine"


# ---- damage --------------------------------------------------------------------------------------


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("harm", [truncate, flip_a_bit, lambda file: file.unlink()])
@pytest.mark.parametrize("name", ["target_prob", "labels"])
def test_damaged_arrays_are_refused_by_name(tmp_path, harm, name):
    folder = dynamics().save(tmp_path / "record")
    harm(folder / f"{name}.npy")
    with pytest.raises(
        ValueError, match=rf"{name}.npy is missing, truncated or altered .*make the record again"
    ):
        TrainingDynamics.load(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"kind": "Scores"}',
        '{"kind": "Scores", "schema": 1, "sha256": {}}',
        '{"kind": "Scores", "schema": 1, "sha256": {}, "params": {}}',
        '{"kind": "Scores", "schema": 1, "sha256": {}, "params": {"_name": "x"}}',
        '{"kind": "Scores", "schema": 1, "sha256": {"values": 1}, "params": {}}',
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, text):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"manifest.json is damaged|values.npy is missing, truncated or altered"
    ):
        Scores.load(folder)


def test_a_record_of_another_kind_is_refused_with_the_right_loader(tmp_path):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    with pytest.raises(
        ValueError, match="expected a saved Selection .* holds a Scores: use Scores.load"
    ):
        Selection.load(folder)


def test_a_record_of_another_schema_is_refused(tmp_path):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    manifest = storage.read_checked(folder / "manifest.json") | {"schema": 2}
    storage.write_json(folder / "manifest.json", storage.with_checksum(manifest))
    with pytest.raises(ValueError, match="expected schema 1 of Scores .* it has schema 2"):
        Scores.load(folder)


def test_a_manifest_that_was_edited_is_refused_and_one_from_before_checksums_is_read(tmp_path):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    said = json.loads((folder / "manifest.json").read_text())
    storage.write_json(folder / "manifest.json", said | {"params": {"window": 99}})
    with pytest.raises(ValueError, match="manifest.json was changed since dpkit wrote it"):
        Scores.load(folder)
    del said["checksum"]
    storage.write_json(folder / "manifest.json", said)
    assert Scores.load(folder).name == RECORDS["Scores"]().name


def test_where_nothing_was_saved_the_message_says_which_folder_to_name(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"a saved Scores in .*nowhere.*name the folder that Scores.save wrote",
    ):
        Scores.load(tmp_path / "nowhere")


def test_a_pickled_array_is_refused_even_with_a_right_hash(tmp_path):
    folder = RECORDS["Scores"]().save(tmp_path / "record")
    np.save(folder / "values.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    manifest = storage.read_checked(folder / "manifest.json")
    manifest["sha256"]["values"] = storage.file_hash(folder / "values.npy")
    storage.write_json(folder / "manifest.json", storage.with_checksum(manifest))
    with pytest.raises(ValueError, match=r"[Pp]ython objects|[Oo]bject arrays"):
        Scores.load(folder)


# ---- disks that fail, runs that die --------------------------------------------------------------

SAVE_SCORES = (
    "import sys, numpy as np\nfrom dpkit.records import Scores\n"
    "scores = Scores(np.arange(100_000.0), 'new')\n"
)


def test_a_full_disk_leaves_nothing_and_names_the_folder(tmp_path, python):
    done = python(
        SAVE_SCORES + "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    scores.save('record')\nexcept OSError as error:\n    print(error)"
    )
    assert "no space left on the disk of record; free some, and the same command" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_replacing_keeps_the_earlier_record(tmp_path, monkeypatch):
    RECORDS["Scores"]().save(tmp_path / "record")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space left on the disk of .*record; free some"):
        RECORDS["Scores"]().save(tmp_path / "record")
    assert Scores.load(tmp_path / "record").name == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "record", tmp_path / "file" / "deep" / "record"):
        with pytest.raises(
            OSError, match=rf"could not save to {folder} \(.*choose a folder you may write to"
        ):
            RECORDS["Scores"]().save(folder)


def test_a_save_killed_while_writing_leaves_no_record_and_the_next_one_tidies(tmp_path, python):
    killed = python(
        SAVE_SCORES + "import os, signal\nfrom dpkit import store\n"
        "store.write_json = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\nscores.save('record')"
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == [".record.building"]
    with pytest.raises(FileNotFoundError):
        Scores.load(tmp_path / "record")
    RECORDS["Scores"]().save(tmp_path / "record")
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_save_killed_between_its_two_renames_loses_nothing(tmp_path, python):
    RECORDS["Scores"]().save(tmp_path / "record")
    killed = python(
        SAVE_SCORES + "import os, signal\nrename = os.rename\n"
        "def once(*paths):\n    rename(*paths)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.rename = once\nscores.save('record')"
    )
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "record").exists()
    with pytest.raises(ZeroDivisionError), storage.whole_folder(tmp_path / "record"):
        raise ZeroDivisionError  # even a next save that fails puts the earlier record back first
    assert Scores.load(tmp_path / "record").name == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


# ---- training dynamics ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.01, 1.01, 7.0, np.inf])
def test_what_is_not_a_probability_is_refused_with_its_place(value):
    with pytest.raises(
        ValueError,
        match=rf"probabilities in \[0, 1\]; got {value:g} at row 2, epoch 1: pass softmax",
    ):
        dynamics([[0.1, 0.2], [0.1, 0.2], [0.3, value]])


@pytest.mark.parametrize(
    "prob, message",
    [
        ([0.1, 0.2], r"\(samples, epochs\).*got shape \(2,\)"),
        (np.zeros((3, 0)), r"at least one epoch; got shape \(3, 0\)"),
    ],
)
def test_target_prob_is_samples_by_epochs(prob, message):
    with pytest.raises(ValueError, match=message):
        TrainingDynamics(prob, prob, np.zeros(np.shape(prob), bool), [0])


def test_shapes_must_agree():
    with pytest.raises(
        ValueError, match=r"margin must have target_prob's shape \(3, 2\); got \(2, 3\)"
    ):
        dynamics(margin=np.zeros((2, 3)))
    with pytest.raises(
        ValueError, match=r"correct must have target_prob's shape \(3, 2\); got \(3, 1\)"
    ):
        dynamics(correct=np.zeros((3, 1), bool))
    with pytest.raises(ValueError, match="correct must be an array of bool; got int64"):
        dynamics(correct=np.zeros((3, 2), np.int64))
    with pytest.raises(ValueError, match='moment must be "train" or "eval"; got \'test\''):
        dynamics(moment="test")


def test_a_sample_seen_in_some_epochs_only_is_refused():
    with pytest.raises(ValueError, match="epoch 1 is mixed"):
        dynamics([[0.1, 0.2], [0.1, NAN]])
    with pytest.raises(ValueError, match="epoch 0 is mixed"):
        dynamics([[0.1, 0.2], [NAN, NAN]], margin=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="epoch 0 is mixed"):
        dynamics([[0.1, 0.2], [NAN, NAN]], correct=np.ones((2, 2), bool))


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 1], r"labels must be \(3,\), one per sample; got shape \(2,\)"),
        ([0, -1, 2], r"labels must be in 0\.\.; 1 are not \(first: -1 at row 1\)"),
        ([0, 1, 1.5], r"labels must be whole numbers; got float64 with .*1\.5.* at row 2"),
        ([0, 1, NAN], r"labels must be whole numbers; got float64 with .*nan.* at row 2"),
        (["a", "b", "c"], "labels must be whole numbers; got <U1"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        dynamics(labels=labels)


def test_whole_labels_stored_as_floats_are_taken():
    assert dynamics(labels=[0.0, 1.0, 2.0]).labels.dtype == np.int64


def test_mean_std_and_the_first_epochs_by_hand():
    record = dynamics([[0.25, 0.75, 0.5], [1, 1, 1]], params={"seed": 1})
    assert record.mean_prob().tolist() == [0.5, 1.0]
    assert record.std_prob().tolist() == [0.25, 0.0]  # sqrt((1/16 + 1/16 + 0) / 2)
    first = record.first(2)
    assert (first.num_samples, first.num_epochs, first.params) == (2, 2, {"seed": 1})
    assert first.mean_prob().tolist() == [0.5, 1.0] and first.std_prob()[0] == pytest.approx(
        0.5 / 2**0.5
    )
    for epochs in (0, 4):
        with pytest.raises(ValueError, match=rf"first\(epochs\) needs 1\.\.3 .*got {epochs}"):
            record.first(epochs)
    with pytest.raises(ValueError, match="at least 2 recorded epochs; this record has 1"):
        record.first(1).std_prob()


def test_a_divergence_lies_between_epochs_and_is_cut_with_them():
    moved = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    prob = [[0.1, 0.9, 0.5]] * 3
    record = dynamics(prob=prob, divergence=moved)
    np.testing.assert_allclose(record.first(2).divergence, [[0.1], [0.3], [0.5]], rtol=1e-6)
    assert (
        record.first(1).divergence.shape == (3, 0)
        and dynamics(prob=prob).first(2).divergence is None
    )
    for wrong, told in (
        (
            [[0.1]] * 3,
            r"divergence must have a column between every two epochs, shape \(3, 2\); got \(3, 1\)",
        ),
        ([[0.1, 0.2], [0.3, -1], [0, 0]], "number from 0 .*; got -1 at row 1, column 1"),
        ([[0.1, 0.2], [0.3, np.nan], [0, 0]], "got nan at row 1, column 1"),
    ):
        with pytest.raises(ValueError, match=told):
            dynamics(prob=prob, divergence=wrong)


def test_epoch_reports_become_columns():
    from types import SimpleNamespace

    reports = [
        SimpleNamespace(
            target_prob=np.array([p, 0.5]),
            margin=np.array([p, 0.0]),
            correct=np.array([p > 0.3, True]),
        )
        for p in (0.25, 0.75)
    ]
    record = TrainingDynamics.from_reports(reports, [1, 0], params={"seed": 3})
    assert record.target_prob.tolist() == [[0.25, 0.75], [0.5, 0.5]] and record.moment == "train"
    assert record.correct.tolist() == [[False, True], [True, True]] and record.params == {"seed": 3}
    with pytest.raises(ValueError, match="at least one epoch report; got none"):
        TrainingDynamics.from_reports([], [1, 0])


# ---- snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"probs": [[0.5, 0.5]]},
            r"probs must be \(exits, samples, classes\); got shape \(1, 2\).*probs\[None\]",
        ),
        (
            {"probs": [[[2.0, -1.0]] * 3]},
            r"in \[0, 1\] and summing to 1 .*got values in \[-1, 2\].*softmax first",
        ),
        ({"probs": [[[0.2, 0.2]] * 3]}, r"with sums in \[0\.4, 0\.4\]"),
        ({"probs": [[[NAN, 1.0]] * 3]}, "softmax first"),
        (
            {"features": np.zeros((2, 4))},
            r"features must be \(3, d\), a row per sample; got shape \(2, 4\)",
        ),
        ({"labels": [0, 1, 2]}, r"labels must be in 0\.\.1; 1 are not \(first: 2 at row 2\)"),
    ],
)
def test_wrong_snapshots_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        snapshot(**changes)


def test_a_snapshot_knows_its_sizes():
    assert (snapshot().num_samples, snapshot().num_classes) == (3, 2)


# ---- scores and selections -----------------------------------------------------------------------


def test_nan_scores_are_refused_with_count_and_first_row():
    with pytest.raises(
        ValueError, match=r"scores of 'mine' must be numbers; 2 of 4 are NaN \(first: row 1\)"
    ):
        Scores([1, NAN, 2, NAN], "mine")
    with pytest.raises(ValueError, match=r"one number each; got shape \(1, 2\)"):
        Scores([[1, 2]], "mine")
    assert Scores([np.inf, -np.inf], "mine").num_samples == 2


@pytest.mark.parametrize(
    "kept, message",
    [
        ([True, False, True], r"got a mask of bool: pass np.flatnonzero\(mask\)"),
        (
            [2, 1],
            r"unique, ascending row numbers in 0\.\.5; got numbers in 1\.\.2: pass "
            r"np.unique\(kept\)",
        ),
        ([1, 1], "unique, ascending"),
        ([0, 6], r"in 0\.\.5; got numbers in 0\.\.6"),
        ([-1, 2], r"got numbers in -1\.\.2"),
        ([0.0, 1.0], r"whole row numbers; got shape \(2,\) of float64"),
        ([[0, 1]], r"got shape \(1, 2\)"),
    ],
)
def test_what_is_not_a_set_of_rows_is_refused(kept, message):
    with pytest.raises(ValueError, match=message):
        Selection(kept, 6, "mine")


def test_kept_pruned_and_mask_say_the_same():
    selection = Selection([0, 2, 5], 6, "mine")
    assert selection.pruned.tolist() == [1, 3, 4] and selection.prune_ratio == 0.5
    assert selection.mask().tolist() == [True, False, True, False, False, True]
    assert Selection([], 0, "mine").prune_ratio == 0.0


def test_the_message_for_an_array_instead_of_scores_shows_how_to_wrap_it():
    with pytest.raises(
        TypeError,
        match=r"keep_top needs Scores; got ndarray; wrap it: Scores\(values, name=...\), higher =",
    ):
        require_kind(np.zeros(3), Scores, "keep_top")
    with pytest.raises(TypeError, match="dual needs TrainingDynamics; got Snapshot$"):
        require_kind(snapshot(), TrainingDynamics, "dual")


def test_only_a_sample_that_was_not_trained_on_may_lack_its_label(tmp_path):
    prob = [[0.1, 0.9], [NAN, NAN], [0.7, 0.8]]
    for labels in ([0, -1, 1], [0, 5, 1], [0, 0, 1]):  # the last is how version 0.6 kept it
        record = dynamics(prob, labels=labels)
        again = TrainingDynamics.load(record.save(tmp_path / "record"))
        assert again.labels.tolist() == again.first(
            1
        ).labels.tolist() == labels and again.trained().tolist() == [1, 0, 1]
    for labels, told in (
        ([-1, -1, 1], "-1 at row 0"),
        ([0, -2, 1], "-2 at row 1"),
        ([0, 1, -1], "-1 at row 2"),
    ):
        with pytest.raises(
            ValueError, match=rf"labels must be in .*0?\.\.; 1 are not \(first: {told}\)"
        ):
            dynamics(prob, labels=labels)


def test_scorers_refuse_samples_without_a_record_by_number():
    from dpkit import scorers

    record = dynamics(
        np.where(np.arange(5)[:, None] == 3, NAN, np.full((5, 12), 0.5)), labels=[0, 1, 0, -1, 1]
    )
    for scorer in (scorers.dual, scorers.dyn_unc, scorers.forgetting, scorers.aum):
        with pytest.raises(ValueError, match=r"1 of 5 rows are NaN \(first: row 3\)"):
            scorer(record)


# ---- a record of probabilities alone -------------------------------------------------------------

SAVED = np.array([[0.25, 0.75, 0.5, 1.0], [0.1, 0.2, 0.3, 0.4], [NAN, NAN, NAN, NAN]])


@pytest.mark.parametrize("probs", [SAVED, SAVED.T, np.asfortranarray(SAVED.T, np.float32)])
def test_saved_probabilities_are_a_record_whichever_axis_counts_the_samples(probs, tmp_path):
    record = TrainingDynamics.from_probs(probs, [2, 0, -1], params={"of": "mine"})
    again = TrainingDynamics.load(record.save(tmp_path / "record"))
    for found in (record, again, record.first(4), record.rows(np.arange(3))):
        np.testing.assert_allclose(found.target_prob, SAVED, rtol=1e-6)
        assert (found.margin, found.correct, found.divergence) == (None, None, None)
        assert found.labels.tolist() == [2, 0, -1] and found.trained().tolist() == [1, 1, 0]
        assert found.moment == "train" and found.params == {"of": "mine"}
    np.testing.assert_allclose(record.mean_prob()[:2], [0.625, 0.25])


def test_which_axis_counts_the_samples_is_asked_where_both_could():
    square = np.array([[0.1, 0.2], [0.3, 0.4]])
    with pytest.raises(ValueError, match=r"\(2, 2\) may be .*sample_axis=0 or sample_axis=1"):
        TrainingDynamics.from_probs(square, [0, 1])
    for axis, expected in ((0, square), (1, square.T)):
        record = TrainingDynamics.from_probs(square, [0, 1], sample_axis=axis)
        np.testing.assert_allclose(record.target_prob, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("probs", "more", "said"),
    [
        (np.zeros((3, 4)), {"labels": [0, 1]}, r"an axis of probs .*as labels, 2; .*\(3, 4\)"),
        (SAVED, {"sample_axis": 1}, r"axis 1 of probs must be as long as labels, 3; got shape"),
        (SAVED, {"sample_axis": 2}, "sample_axis must be 0 .*; got 2"),
        (SAVED, {"sample_axis": True}, "sample_axis must be 0 .*; got True"),
        (np.zeros(3), {}, r"floats, .*got shape \(3,\) of float64$"),
        (np.zeros((3, 4, 5)), {}, r"\(3, 4, 5\) .*all classes' .*take_along_axis"),
        (np.ones((3, 4), int), {}, "floats, .*int64"),
        (np.ones((3, 4), bool), {}, "floats, .*bool"),
        (-np.ones((3, 4)), {}, r"probabilities in \[0, 1\]; got -1"),
        (2.3 * np.ones((3, 4)), {}, r"probabilities in \[0, 1\]; got 2.3 .*not logits or losses"),
        (np.where(np.eye(3, 4), NAN, 0.5), {}, "epoch 1 is mixed"),
        (
            0.5 * np.ones((3, 4)),
            {"labels": [2, 0, -1]},
            "only a sample that was not trained on may have -1",
        ),
    ],
)
def test_what_are_no_probabilities_of_the_given_labels_is_refused(probs, more, said):
    with pytest.raises(ValueError, match=said):
        TrainingDynamics.from_probs(probs, **{"labels": [2, 0, 1]} | more)


def test_the_parts_of_a_record_that_are_unknown_are_unknown_alone():
    p = np.array([[0.25, 0.75]])
    record = TrainingDynamics(p, None, p > 0.5, [0])
    assert record.margin is None and record.correct.tolist() == [[False, True]]
    with pytest.raises(ValueError, match="mine needs margin, and this record has none"):
        record.require("margin", "mine")
    assert record.require("correct", "mine") is record.correct


@pytest.mark.parametrize("method", ["dual", "dyn_unc", "dual+beta"])
def test_scores_that_need_no_more_are_those_of_the_whole_record(method):
    rng, labels = np.random.default_rng(0), np.arange(40) % 4
    p = rng.random((40, 12))
    whole = TrainingDynamics(p, p, p > 0.5, labels)
    alone = TrainingDynamics.from_probs(p.T, labels)
    found = [METHODS[method].choose(d, 20, rng=0).kept.tolist() for d in (whole, alone)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("method", "more", "lacks"),
    [
        ("aum", {}, "margin"),
        ("forgetting", {}, "correct"),
        ("ccs", {}, "margin"),
        ("tdds", {}, "divergence"),
        ("dual", {"per_class": "difficulty"}, "correct"),
    ],
)
def test_what_needs_more_says_what_is_lacking(method, more, lacks):
    record = TrainingDynamics.from_probs(np.full((40, 12), 0.5), np.arange(40) % 4)
    with pytest.raises(ValueError, match=f"needs (a record with )?{lacks}, and this .* has none"):
        METHODS[method].choose(record, 20, rng=0, **more)
