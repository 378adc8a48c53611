"""A folder of splits is read as such: the training split is the set, the others are offered, with
its classes and its normalisation.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import dpkit
from dpkit.cli import main
from dpkit.data.class_folders import list_folder
from dpkit.data.image_set import labels_of, load


def write_tree(folder, *places, n=2, shade=40):
    """n small pictures in each place; "train/{cats,dogs}" stands for two places."""
    for place in places:
        top, _, inner = place.partition("{")
        for name in inner.rstrip("}").split(","):
            where = folder / (top + name)
            where.mkdir(parents=True, exist_ok=True)
            for k in range(n):
                Image.fromarray(np.full((8, 8, 3), shade * k, np.uint8)).save(where / f"{k}.png")
    return folder


def read(folder, **options):
    return load(folder, device="cpu", say=None, **options)


# ---- understood ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "train, other, kind",
    [
        ("train", "dev", "val"),
        ("train_set", "test_set", "test"),
        ("training-data", "Validation Data", "val"),
        ("photos-train", "photos-test", "test"),
        ("Train2017", "Val2017", "val"),
        ("TRAIN", "Test", "test"),
        ("trainval", "holdout", "test"),
        ("training", "evaluation", "test"),
    ],
)
def test_the_training_split_is_the_set_and_the_other_is_offered(tmp_path, train, other, kind):
    folder = write_tree(tmp_path / "set", f"{train}/{{cats,dogs}}")
    write_tree(folder, f"{other}/{{cats,dogs}}", n=3, shade=90)
    images, theirs = read(folder), ImageFolder(folder / train)
    assert [(str(folder / path), k) for path, k in zip(images.paths, images.labels)] == [
        (path, k) for path, k in theirs.samples
    ]
    assert images.class_names == theirs.classes == ["cats", "dogs"] and images.split == "train"
    assert images.notes == (
        f'this is the training split, {train}; there are also split="{kind}" ({other}, 6 images)',
    )
    assert labels_of(folder)[1] == images.paths
    for name in (kind, other):
        held_out = read(folder, split=name)
        assert len(held_out) == 6 and held_out.split == kind
        assert held_out.paths[0] == f"{other}/cats/0.png"
        assert (held_out.mean, held_out.std) == (images.mean, images.std)
        assert held_out.notes == (
            f'this is the split {other}; there are also split="train" ({train})',
        )
    assert torch.equal(read(folder, split=train).images, images.images)


def test_a_split_that_lacks_a_class_has_the_training_splits_numbers(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{ash,birch,cedar}", "test/{ash,cedar}")
    test = read(folder, split="test")
    assert test.class_names == ["ash", "birch", "cedar"] and test.labels.tolist() == [0, 0, 2, 2]


def test_a_split_is_as_large_as_the_training_split_and_another_set_can_be_its_measure(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{ash,birch}", "test/{ash,birch}")
    other = read(write_tree(tmp_path / "other", "ash", "birch", "cedar", shade=9))
    assert read(folder, split="test", size=4).images.shape[2:] == (4, 4)
    test = read(folder, split="test", like=other)
    assert test.class_names == other.class_names and test.mean == other.mean


def test_a_folder_of_splits_beside_a_training_set_needs_a_split(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{ash,birch}", "test/{ash,birch}")
    with pytest.raises(ValueError, match=r"say which one is meant, split=.*; or give .*set/train"):
        read(folder, like=read(folder))
    assert len(read(folder / "train", like=read(folder))) == 4


def test_evaluating_on_a_split_just_works(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{ash,birch,cedar}", "test/{ash,cedar}")
    net = dpkit.make_net("small_cnn", read(folder), seed=0)
    assert 0 <= dpkit.evaluate(net, read(folder, split="test")).accuracy <= 1


def test_two_splits_of_one_kind_are_called_by_their_folders(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "holdout/{a,b}", "eval/{a,b}")
    assert 'split="eval"' in read(folder).notes[0] and 'split="holdout"' in read(folder).notes[0]
    assert read(folder, split="holdout").paths[0] == "holdout/a/0.png"
    with pytest.raises(ValueError, match=r"got 'test', and eval, holdout could be it"):
        read(folder, split="test")


def test_a_split_that_is_not_there_is_refused_by_the_names_of_the_others(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "val/{a,b}")
    with pytest.raises(
        ValueError, match=r"split must be one of those of \S*set, train, val; got 'test'"
    ):
        read(folder, split="test")
    with pytest.raises(ValueError, match="split must be .*; got 3"):
        read(folder, split=3)


def test_what_lies_beside_the_splits_is_told_and_is_no_class(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "val/{a,b}", "extra/{a,b}", "preview")
    (folder / "train" / "notes.txt").write_text("")
    (folder / "val" / "notes.txt").write_text("")
    Image.new("RGB", (8, 8)).save(folder / "train" / "cover.png")
    Image.new("RGB", (8, 8)).save(folder / "cover.png")
    images = read(folder)
    assert len(images) == 4
    assert images.notes == (
        'this is the training split, train; there are also split="extra" (extra, 4 images), '
        'split="val" (val, 4 images)',
        "preview has 2 images without labels",
        "left out: 2 images outside the class folders (cover.png, train/cover.png)",
        "left out: 1 files that are no images (train/notes.txt)",
    )
    assert read(folder, split="extra").paths[0] == "extra/a/0.png"


@pytest.mark.parametrize("flat", ["val", "val/images"])
def test_a_split_without_labels_is_not_offered(tmp_path, flat):
    folder = write_tree(tmp_path / "set", "train/{a,b}", flat)
    assert read(folder).notes == (
        "this is the training split, train",
        "val has 2 images without labels",
    )
    with pytest.raises(ValueError, match="the split val of .* has 2 images without labels, so"):
        read(folder, split="val")


def test_a_split_may_be_wrapped_once_more_and_the_training_split_is_named_to_give(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "val/images/{a,b}")
    assert read(folder, split="val").paths[0] == "val/images/a/0.png"
    folder = write_tree(tmp_path / "other", "train/images/{a,b}", "val/images/{a,b}")
    with pytest.raises(ValueError, match=r"give one of them, \S*other/train/images"):
        read(folder)
    assert len(read(folder / "train" / "images")) == 4


@pytest.mark.parametrize("other", ["c", "A"])
def test_a_split_of_other_classes_is_not_offered(tmp_path, other):
    folder = write_tree(tmp_path / "set", "train/{a,b}", f"test/{{a,{other}}}")
    assert f"test has folders that are no classes of train ({other})" in read(folder).notes
    with pytest.raises(ValueError, match="the split test .* no classes of train"):
        read(folder, split="test")


def test_each_split_keeps_its_pixels_in_the_cache(tmp_path, monkeypatch):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "test/{a,b}")
    read(folder), read(folder, split="test")
    from dpkit.data import image_files

    monkeypatch.setattr(image_files, "read_picture", lambda *a, **k: pytest.fail("decoded again"))
    read(folder), read(folder, split="test")


# ---- refused, or forced --------------------------------------------------------------------------


def test_classes_that_are_named_are_classes_whatever_they_are_called(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "test/{a,b}")
    images = read(folder, classes=["train", "test"])
    assert images.class_names == ["test", "train"] and len(images) == 8
    with pytest.raises(ValueError, match="holds no splits"):
        read(folder, classes=["train", "test"], split="test")


def test_the_training_split_itself_must_hold_classes(tmp_path):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "test/{a,b}")
    (folder / "train" / "c").mkdir()
    with pytest.raises(ValueError, match=r"the class folder \S*train/c holds no image"):
        read(folder)


def test_prune_takes_the_training_split_and_says_so(tmp_path, capsys):
    folder = write_tree(tmp_path / "set", "train/{a,b}", "test/{a,b}", n=3)
    out = tmp_path / "out"
    command = ["prune", str(folder), "--ratio", "0.5", "--method", "random", "--out", str(out)]
    assert main(command) == 0
    assert 'this is the training split, train; there are also split="test"' in (
        capsys.readouterr().err
    )
    _, paths = dpkit.read_kept(out)
    assert len(paths) == 3 and all(path.startswith("train/") for path in paths)
    assert len(dpkit.find_kept(out, ImageFolder(folder / "train"))) == 3


# ---- names that look the same --------------------------------------------------------------------


@pytest.mark.parametrize("one, two", [("cats", "Cats"), ("é", "e\u0301"), ("ß", "SS")])
def test_class_names_that_differ_in_form_only_are_refused_unless_named(tmp_path, one, two):
    folder = write_tree(tmp_path / "set", one, two, "dogs")
    if len(list(folder.iterdir())) < 3:
        pytest.skip("this file system holds them for one")
    with pytest.raises(ValueError, match="differ only in capital letters or in their Unicode form"):
        read(folder)
    with pytest.raises(ValueError, match="differ only in capital"):
        read(write_tree(tmp_path / "splits", f"train/{{{one},{two},dogs}}", "test/{dogs}"))
    assert len(read(folder, classes=[one, two, "dogs"]).class_names) == 3


def test_single_letters_may_be_classes(tmp_path):
    assert list_folder(write_tree(tmp_path / "set", "a", "A")).class_names == ["A", "a"]
