"""A set of one's own in trials and grids: by its path, with a test set of one's own, a split of it
or a part that is held out.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from local_workers import in_this_process
from PIL import Image

import dpkit
from dpkit import Recipe, Trial, run_trial
from dpkit.data import from_arrays, hold_out, load
from dpkit.experiments import clusters, grids
from dpkit.experiments.environment import load_sets
from dpkit.experiments.given_sets import bring_sets
from dpkit.experiments.grids import InvalidGrid

SETTINGS = {
    "method": "random",
    "prune_ratio": 0.5,
    "record": Recipe(epochs=4),
    "record_epochs": 4,
    "retrain": Recipe(budget="steps", steps=2, batch_size=8),
}
GRID = """
dataset: photos
{more}
method: [random, dyn_unc]
prune_ratio: 0.5
record: {{epochs: 12, batch_size: 8}}
record_epochs: 10
retrain: {{budget: steps, steps: 2, batch_size: 8}}
"""


def pixels(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Where a user is: photos with two classes, more of one of them apart, darker, an .npz."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(["ash", "birch"]):
        write(Path("photos") / name, pixels(10, k))
    write(Path("apart/birch"), pixels(3, 5) // 2)
    np.savez(
        "set.npz",
        train_images=pixels(12, 7),
        train_labels=np.array(["cat", "dog"] * 6),
        val_images=pixels(2, 8),
        val_labels=np.array(["dog", "dog"]),
    )
    return tmp_path


def write(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")


def trial(**more):
    return Trial(**SETTINGS | {"seed": 0} | more)


def run(**more):
    return run_trial(trial(**more), device="cpu")


# ---- what is tested on ---------------------------------------------------------------------------


def test_a_fraction_is_held_out_of_each_class_the_same_whatever_the_seed(here):
    images, test = load_sets("photos", 0, "cpu", 0.2)
    rest, held_out = hold_out(load("photos", device="cpu"), 0.2)
    assert images.fingerprint == rest.standalone().fingerprint
    assert test.fingerprint == held_out.fingerprint and len(test) == 4
    assert (test.mean, test.class_names) == (images.mean, images.class_names)
    rows = [run(dataset="photos", test=0.2, seed=seed) for seed in (0, 1)]
    assert {row["fingerprint"] for row in rows} == {rest.fingerprint}
    assert [(row["dataset"], row["test"], row["num_samples"], row["keep"]) for row in rows] == [
        ("photos", "0.2 of photos, held out", 16, 8)
    ] * 2


@pytest.mark.parametrize("as_object", [False, True])
def test_a_path_has_the_training_sets_classes_and_normalisation(here, as_object):
    dataset = load("photos", device="cpu") if as_object else "photos"
    images, test = load_sets(dataset, 0, "cpu", "apart")
    assert test.labels.tolist() == [1] * 3 and test.class_names == ["ash", "birch"]
    assert (test.mean, test.std) == (images.mean, images.std)
    assert run(dataset=dataset, test="apart")["test"] == "apart"


def test_a_split_of_a_file_is_named(here):
    images, test = load_sets("set.npz", 0, "cpu", "val")
    assert test.labels.tolist() == [1, 1] and test.name == "val of set"
    assert test.facts.mean == images.facts.mean
    loaded = load("set.npz", device="cpu")
    assert load_sets(loaded, 0, "cpu", "val")[1].fingerprint == test.fingerprint
    assert run(dataset="set.npz", test="val")["test"] == "val of set"


def test_another_split_is_read_by_the_columns_that_the_training_set_was_read_by(here):
    rows = [f"{i % 2}{i}.png,{'ab'[i % 2]},{'ba'[i % 2]}" for i in range(12)]
    for k, image in enumerate(pixels(12, 9)):
        Image.fromarray(image).save(f"{k % 2}{k}.png")
    splits = ["train"] * 8 + ["test"] * 4
    lines = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
    Path("t.csv").write_text("\n".join(["file_name,label,human,split", *lines]))
    images = load("t.csv", label_column="human", device="cpu", say=None)
    assert images.labels.tolist()[:4] == [1, 0, 1, 0]
    for test in ("test", None):
        assert bring_sets(images, test)[1].labels.tolist() == [1, 0, 1, 0]


def test_a_part_of_a_named_set_may_be_held_out_and_it_may_be_resized(here):
    images, test = load_sets("digits", 0, "cpu", 0.1, size=9)
    assert images.images.shape[2:] == test.images.shape[2:] == (9, 9) and len(test) == 130
    images, test = load_sets("digits", 50, "cpu", size=9)
    assert images.images.shape == (50, 1, 9, 9) and len(test) == 500


def test_a_dataset_object_is_read_with_its_test_set_as_that(here):
    known = [(pixels(1, i)[0], "ab"[i % 2]) for i in range(12)]
    images = dpkit.from_dataset(known, device="cpu", name="known")
    row = run(dataset=images, test=0.25)
    assert (row["test"], row["num_samples"]) == ("0.25 of known, held out", 8)

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            reads.append(i)
            return known[i]

    class OfB(Items):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return known[2 * i + 1]

    reads = []
    one = trial(dataset=Items(), test=OfB())
    assert one.test.labels.tolist() == [1] and one.test.mean == one.dataset.mean
    read_once = len(reads)
    grid = SETTINGS | {"record": {"epochs": 4}, "retrain": {"epochs": 1}, "seed": [0, 1, 2]}
    found = grids.trials_of(grid | {"dataset": Items(), "test": OfB()})
    assert len(found) == 3 and len(reads) == 2 * read_once


# ---- what a trial is -----------------------------------------------------------------------------


def test_settings_that_are_not_given_are_not_in_a_trials_key(here):
    assert not {"test", "size"} & trial(dataset="digits").plain().keys()
    plain = trial(dataset=Path("photos"), test=0.2, size=8).plain()
    assert (plain["dataset"], plain["test"], plain["size"]) == ("photos", 0.2, 8)


WRONG = [
    (
        {"dataset": "photos"},
        r"brings no test set of its own \(.*\): give test, an ImageSet, a path",
    ),
    ({"dataset": "photos", "test": "val"}, "photos"),
    ({"dataset": "photos", "test": "photos"}, "all 20 images of photos are training images of"),
    ({"dataset": "photos", "test": "./nowhere"}, "there is no folder .*nowhere: name a"),
    ({"dataset": "set.npz", "test": "dev"}, "the dev split of set.npz needs the arrays"),
]


@pytest.mark.parametrize(("sets", "message"), WRONG)
def test_what_cannot_be_tested_on_is_refused(here, sets, message):
    with pytest.raises(ValueError, match=message):
        run(**sets)


def test_a_word_that_is_a_split_and_a_folder_is_refused(here):
    write(here / "val" / "ash", pixels(2, 9))
    write(here / "photos" / "val" / "ash", pixels(2, 8))
    with pytest.raises(
        ValueError, match="test 'val' may be photos/val or .*/val: write one of the"
    ):
        run(dataset=load("photos", classes=["ash", "birch"], device="cpu"), test="val")


def test_one_image_of_a_class_cannot_be_held_out(here):
    images = from_arrays(pixels(3, 0), [0, 1, 1], device="cpu")
    with pytest.raises(ValueError, match="every class needs at least two images"):
        run(dataset=images, test=0.5)


# ---- grids and sweeps ----------------------------------------------------------------------------


def test_a_sweep_of_a_yaml_file_takes_a_folder_to_the_workers(here, monkeypatch):
    Path("grid.yaml").write_text(GRID.format(more="test: 0.2\nsize: 9"))
    with in_this_process() as client:
        quiet = {"on_progress": lambda *a, **k: None, "device": "cpu", "cache": "cache"}
        rows = dpkit.sweep("grid.yaml", client, out="table", **quiet)
    assert rows.failed.eq("").all(), rows.failed.tolist()
    assert rows.dataset.eq("photos").all() and rows.test.eq("0.2 of photos, held out").all()
    assert rows.num_samples.tolist() == [16, 16]
    images = load("photos", size=9, device="cpu")
    assert rows.fingerprint.eq(hold_out(images, 0.2)[0].fingerprint).all()
    monkeypatch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster started"))
    again = dpkit.sweep("grid.yaml", out="table", **quiet)
    assert again.accuracy.tolist() == rows.accuracy.tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("test: photos", "the set photos cannot be used: all 20 images of photos are training"),
        ("test: [val, test]", r"test must be an ImageSet, a path, .*; got \['val', 'test'\]"),
        ("test: 20", "test must be an ImageSet, a path, .*; got 20"),
        ("size: large", "size must be a whole number of pixels from 1; got 'large'"),
        ("seed: -1", "^seed must be a whole number from 0; got -1$"),
    ],
)
def test_mistakes_are_told_before_a_cluster_starts(here, monkeypatch, more, message):
    monkeypatch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster started"))
    Path("grid.yaml").write_text(GRID.format(more=more))
    with pytest.raises(InvalidGrid, match=message):
        dpkit.sweep("grid.yaml", out="table", cache="cache", device="cpu")


def test_two_folders_of_one_name_are_no_one_grid(here):
    write(here / "other/photos/ash", pixels(4, 11))
    write(here / "other/photos/birch", pixels(4, 12))
    grid = SETTINGS | {"record": {"epochs": 4}, "retrain": {"epochs": 1}, "test": 0.25}
    with pytest.raises(InvalidGrid, match="two sets are named 'photos': give each a name of its"):
        dpkit.sweep(grid | {"dataset": ["photos", "other/photos"]}, out="table", device="cpu")
