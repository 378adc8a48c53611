"""Arrays that are not what they seem: axes in another order, volumes, labels whose numbers have
gaps.
"""

import numpy as np
import pytest

from dpkit.data.image_set import from_arrays, labels_of, load
from dpkit.data.named_sets import read_labels
from dpkit.experiments.pruning import prune
from dpkit.records import Selection, TrainingDynamics


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def labels(n=6):
    return np.arange(n) % 2


# ---- axes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, advice",
    [
        (
            (6, 3, 32, 32),
            r"the channels come first, so pass images\.transpose\(0, 2, 3, 1\), \(6, 32, 32, 3\)",
        ),
        ((6, 3, 20, 30), r"transpose\(0, 2, 3, 1\), \(6, 20, 30, 3\)"),
        ((6, 1, 28, 28), r"transpose\(0, 2, 3, 1\)"),
        ((6, 4, 9, 9), r"transpose\(0, 2, 3, 1\)"),
        ((6, 3, 4, 4), r"transpose\(0, 2, 3, 1\)"),
        ((6, 16, 32, 32), r"of volumes give one slice each, images\[:, k\] or images\[\.\.\., k\]"),
        (
            (6, 32, 32, 16),
            r"of volumes give one slice each .*|if the last axis holds 16 channels, say so: "
            r"from_arrays",
        ),
        ((6, 28, 28, 28), "of volumes give one slice"),
        ((6, 32, 32, 13), "13 channels, say so: .* with 13 numbers each"),
        (
            (8, 8, 3, 6),
            r"the samples come last, so pass images\.transpose\(3, 0, 1, 2\), \(6, 8, 8, 3\)",
        ),
        ((8, 8, 6), r"the samples come last, so pass images\.transpose\(2, 0, 1\), \(6, 8, 8\)"),
        ((6, 3072), r"flat rows are reshaped first, images\.reshape\(n, H, W, C\)"),
    ],
)
def test_other_orders_of_axes_are_refused_with_what_to_pass(tmp_path, shape, advice):
    with pytest.raises(ValueError, match=advice):
        from_arrays(pixels(*shape), labels(), device="cpu")
    np.savez(tmp_path / "own.npz", images=pixels(*shape), labels=labels())
    with pytest.raises(ValueError, match=advice) as refused:
        load(tmp_path / "own.npz", device="cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "shape, order", [((6, 3, 9, 9), (0, 2, 3, 1)), ((8, 9, 3, 6), (3, 0, 1, 2))]
)
def test_what_the_advice_says_is_accepted(shape, order):
    images = from_arrays(pixels(*shape).transpose(order), labels(), device="cpu")
    assert (len(images), images.in_channels) == (6, 3)


@pytest.mark.parametrize(
    "shape",
    [
        (6, 8, 8),
        (6, 8, 8, 1),
        (6, 8, 8, 2),
        (6, 8, 8, 3),
        (6, 8, 8, 4),
        (6, 3, 3, 3),
        (6, 3, 8, 3),
        (6, 1, 1, 2),
        (6, 3, 3),
        (6, 6, 6),
        (6, 6, 6, 3),
    ],
)
def test_images_of_few_channels_are_read_as_ever(shape):
    images = from_arrays(pixels(*shape), labels(), device="cpu")
    assert tuple(images.images.shape) == (6, shape[3] if len(shape) == 4 else 1, *shape[1:3])


def test_many_channels_are_read_where_the_caller_says_so():
    images = from_arrays(
        pixels(6, 8, 8, 13), labels(), mean=[0.5] * 13, std=[0.25] * 13, device="cpu"
    )
    assert images.in_channels == 13
    assert from_arrays(pixels(2, 8, 8, 13), [0, 1], like=images, device="cpu").mean == images.mean


@pytest.mark.parametrize(
    "given, advice",
    [
        (np.eye(2, dtype=int)[labels()], r"1 for the class pass labels\.argmax\(axis=1\)"),
        (np.eye(2)[labels()], r"1 for the class pass labels\.argmax\(axis=1\)"),
        (np.full((6, 3), 1 / 3), r"one class label per image; .* pass labels\.argmax\(axis=1\)"),
        (np.ones((6, 3), int), "one class label per image; rows with several, or none"),
        (labels() / 3, "one class label per image; numbers with fractions, or NaN, are none"),
        ([1, np.nan, 1, 2, 1, 2], "one class label per image; numbers with fractions"),
        ([{"boxes": [0]}] * 6, "one class label per image; there are tables with boxes, as for de"),
        ([{"cat", "dog"}] * 6, "one class label per image; there are several for one image"),
        (["cat", None, *"abcd"], "one class label per image; there is None"),
        (labels().astype(float), r"labels\.astype\(int\)"),
        (labels() > 0, r"labels\.astype\(int\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_what_to_do(given, advice):
    message = rf"labels must be \(6,\) whole numbers or names; got .*{advice}"
    with pytest.raises(ValueError, match=message):
        from_arrays(pixels(6, 8, 8), given, device="cpu")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["cat"], ["cat", "dog"]], "one class label per image; labels hold lists of several leng"),
        (["cat", " "], r"1 of 2 labels are empty \(first: row 1\): name their class, or leave"),
    ],
)
def test_lists_of_labels_and_empty_ones_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(pixels(2, 8, 8), given, device="cpu")


# ---- names as labels -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["<U4", "S4", object])
def test_names_are_numbered_in_their_order_and_told(tmp_path, kind):
    given = np.array(["owl", "cat", "owl", "dog"]).astype(kind)
    images = from_arrays(pixels(4, 8, 8), given, device="cpu")
    assert images.class_names == ["cat", "dog", "owl"] and images.labels.tolist() == [2, 0, 2, 1]
    note = "the labels are numbered by their names: cat is class 0, dog is class 1, owl is class 2"
    assert images.notes == (note,)
    if kind is object:
        return
    np.savez(tmp_path / "own.npz", images=pixels(4, 8, 8), labels=given[:, None])
    file, known = load(tmp_path / "own.npz", device="cpu"), read_labels(tmp_path / "own.npz")
    assert (file.class_names, file.notes) == (images.class_names, images.notes)
    assert file.labels.tolist() == known.labels.tolist() == [2, 0, 2, 1]
    assert (known.class_names, known.notes, known.numbers) == (file.class_names, file.notes, None)


def test_names_that_look_the_same_are_refused_unless_they_are_given():
    images, labels = np.zeros((2, 4, 4), np.uint8), ["Cat", "cat"]
    with pytest.raises(ValueError, match="'Cat' and 'cat' in labels differ only in capital"):
        from_arrays(images, labels, device="cpu")
    assert from_arrays(images, labels, class_names=labels, device="cpu").labels.tolist() == [0, 1]
    assert from_arrays(images, ["A", "a"], device="cpu").class_names == ["A", "a"]


def test_names_that_are_given_in_an_order_keep_it():
    images = from_arrays(pixels(2, 8, 8), ["cat", "dog"], class_names=["dog", "cat"], device="cpu")
    assert images.labels.tolist() == [1, 0] and images.notes == ()
    with pytest.raises(ValueError, match="labels hold owl, which no training label is .*dog, cat"):
        from_arrays(pixels(2, 8, 8), ["cat", "owl"], class_names=["dog", "cat"], device="cpu")


def test_names_of_a_second_set_are_those_of_the_first(tmp_path):
    images = from_arrays(pixels(3, 8, 8), ["cat", "dog", "owl"], device="cpu")
    assert from_arrays(pixels(1, 8, 8), ["owl"], like=images, device="cpu").labels.tolist() == [2]
    with pytest.raises(ValueError, match="unnamed has the class ant, and the training set unnamed"):
        from_arrays(pixels(1, 8, 8), ["ant"], like=images, device="cpu")
    both = {"train_images": pixels(3, 8, 8), "train_labels": ["cat", "dog", "owl"]}
    np.savez(tmp_path / "own.npz", **both, test_images=pixels(1, 8, 8), test_labels=["owl"])
    assert load(tmp_path / "own.npz", split="test", device="cpu").labels.tolist() == [2]
    np.savez(tmp_path / "own.npz", **both, test_images=pixels(1, 8, 8), test_labels=["ant"])
    with pytest.raises(ValueError, match="test_labels of .* hold ant, which no training label is"):
        load(tmp_path / "own.npz", split="test", device="cpu")


@pytest.mark.parametrize("kind", ["uint8", "int64"])
def test_labels_in_a_column_are_read(kind):
    images = from_arrays(pixels(2, 8, 8), np.array([[255], [0]], kind), device="cpu")
    assert images.labels.tolist() == [1, 0] and images.class_names == ["0", "255"]


# ---- labels with gaps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, names, note",
    [
        ([1, 2, 1, 2], ["1", "2"], "the labels are numbered in order: 1 is class 0, 2 is class 1"),
        ([0, 255, 0, 255], ["0", "255"], "0 is class 0, 255 is class 1"),
        (
            [1443537, 1440764, 1440764, 1443537],
            ["1440764", "1443537"],
            "1440764 is class 0, 1443537 is class 1",
        ),
        (
            [2, 5, 9, 7],
            ["2", "5", "7", "9"],
            "2 is class 0, 5 is class 1, 7 is class 2, ... 9 is class 3",
        ),
        ([0, 2, 2, 0], ["0", "2"], "0 is class 0, 2 is class 1"),
    ],
)
def test_numbers_with_gaps_are_numbered_in_order_and_told(tmp_path, given, names, note):
    images = from_arrays(pixels(4, 8, 8), np.array(given), device="cpu")
    assert images.class_names == names and images.labels.tolist() == [
        names.index(str(label)) for label in given
    ]
    assert any(note in line for line in images.notes)
    np.savez(tmp_path / "own.npz", images=pixels(4, 8, 8), labels=np.array(given))
    lines = []
    file = load(tmp_path / "own.npz", device="cpu", say=lines.append)
    assert (
        file.class_names == names
        and file.fingerprint
        == from_arrays(pixels(4, 8, 8), np.array(given), shift=1, device="cpu").fingerprint
    )
    assert note in lines[0] and labels_of(tmp_path / "own.npz")[0].tolist() == file.labels.tolist()


def test_test_labels_are_numbered_as_in_training_and_unseen_ones_refused(tmp_path):
    arrays = {
        "train_images": pixels(4, 8, 8),
        "train_labels": np.array([3, 9, 4, 3]),
        "test_images": pixels(2, 8, 8),
    }
    np.savez(tmp_path / "own.npz", **arrays, test_labels=np.array([9, 4]))
    test = load(tmp_path / "own.npz", split="test", device="cpu")
    assert test.class_names == ["3", "4", "9"] and test.labels.tolist() == [2, 1]
    for unseen in ([9, 5], [0, 3]):
        np.savez(tmp_path / "own.npz", **arrays, test_labels=np.array(unseen))
        with pytest.raises(
            ValueError,
            match=r"test_labels of \S*own.npz hold [50], which no training label is \(they are 3,",
        ):
            load(tmp_path / "own.npz", split="test", device="cpu")
        assert len(load(tmp_path / "own.npz", device="cpu")) == 4


def test_labels_with_a_hole_stay_as_they_are_where_the_classes_are_named(tmp_path):
    given, names = np.array([0, 1, 2, 4, 5, 9]), np.array([f"class {c}" for c in range(10)])
    np.savez(
        tmp_path / "own.npz",
        train_images=pixels(6, 8, 8),
        train_labels=given,
        class_names=names,
        test_images=pixels(1, 8, 8),
        test_labels=np.array([3]),
    )
    images = load(tmp_path / "own.npz", device="cpu")
    assert (
        images.labels.tolist() == given.tolist() and images.num_classes == 10 and images.notes == ()
    )
    assert load(tmp_path / "own.npz", split="test", device="cpu").labels.tolist() == [3]
    assert (
        from_arrays(pixels(6, 8, 8), given, class_names=names, device="cpu").labels.tolist()
        == given.tolist()
    )
    assert read_labels(tmp_path / "own.npz").labels.tolist() == given.tolist()


@pytest.mark.parametrize("one", [{"mean": [0.5]}, {"std": [0.2]}])
def test_a_mean_without_a_std_is_refused_and_the_other_way_round(one):
    with pytest.raises(ValueError, match="mean and std go together; got .*: give both, or neither"):
        from_arrays(pixels(2, 8, 8), [0, 1], device="cpu", **one)


@pytest.mark.parametrize("given", [[1, 2], [0, 255], [-1, 1]])
def test_names_that_do_not_fit_the_numbers_are_refused(tmp_path, given):
    message = (
        r"labels must be in 0\.\.1 \(one of 2 classes\); got .*: number the classes from "
        r"0, in the order of their names"
    )
    with pytest.raises(ValueError, match=message):
        from_arrays(pixels(2, 8, 8), np.array(given), class_names=["cat", "dog"], device="cpu")
    np.savez(
        tmp_path / "own.npz",
        images=pixels(2, 8, 8),
        labels=np.array(given),
        class_names=np.array(["cat", "dog"]),
    )
    for read in (lambda file: load(file, device="cpu"), read_labels):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "own.npz")


def test_numbers_below_0_are_no_classes(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(3, 8, 8), labels=np.array([-1, 0, 5]))
    for read in (lambda file: load(file, device="cpu"), read_labels):
        with pytest.raises(ValueError, match=r"labels must be in 0\.\.5 .*got -1\.\.5"):
            read(tmp_path / "own.npz")


def test_other_peoples_labels_have_the_same_numbering(tmp_path):
    np.savez(
        tmp_path / "own.npz",
        images=pixels(3, 8, 8),
        labels=np.array([5, 7, 5]),
        human_labels_one=np.array([7, 7, 5]),
        human_labels_two=np.array([6, 7, 5]),
        human_labels_half=np.array([5.0, 7.0, 5.0]),
    )
    assert load(tmp_path / "own.npz", labels="one", device="cpu").labels.tolist() == [1, 1, 0]
    with pytest.raises(
        ValueError,
        match=r"human_labels_half: labels must be \(3,\) whole numbers or names; got float64",
    ):
        load(tmp_path / "own.npz", labels="half", device="cpu")
    with pytest.raises(
        ValueError, match="the two labels of .*own.npz hold 6, which no training label is"
    ):
        load(tmp_path / "own.npz", labels="two", device="cpu")


def test_a_subset_that_lacks_a_class_keeps_its_numbers():
    images = from_arrays(pixels(3, 8, 8), np.array([0, 1, 2]), device="cpu")
    with pytest.warns(UserWarning, match="no sample of class 1"):
        assert images.subset([0, 2]).labels.tolist() == [0, 2]


@pytest.mark.parametrize("recorded", ["the file's", "ours"])
def test_a_record_of_labels_with_gaps_fits_in_either_numbering(tmp_path, recorded):
    own = np.array([1, 4, 1, 4, 4, 1] * 5)
    np.savez(tmp_path / "own.npz", images=pixels(30, 8, 8), labels=own)
    prob = np.random.default_rng(0).random((30, 12))
    TrainingDynamics(prob, prob, prob > 0.5, own if recorded == "the file's" else own // 4).save(
        tmp_path / "record"
    )
    lines = []
    prune(
        tmp_path / "own.npz",
        tmp_path / "out",
        method="dual",
        prune_ratio=0.4,
        dynamics=tmp_path / "record",
        options={"per_class": "balanced"},
        say=lines.append,
    )
    assert lines[0].startswith("own: 30 images, 2 classes: 1 15, 4 15")
    assert np.bincount(own[Selection.load(tmp_path / "out" / "selection").kept]).tolist() == [
        0,
        9,
        0,
        0,
        9,
    ]
