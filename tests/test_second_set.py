"""A second set beside the first: classes by name and the training set's normalisation, or a
sentence that says how.
"""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import dpkit
from dpkit.data import image_set
from dpkit.data.image_set import from_arrays, load
from dpkit.experiments import stages
from dpkit.nets.builders import make_net
from dpkit.nets.early_exits import EarlyExitNet, exit_loss, leave_early
from dpkit.nets.models import StagedNet
from dpkit.records import Selection, Snapshot
from dpkit.records.set_facts import set_facts_of
from dpkit.training.gradients import gradient_norms
from dpkit.training.inference import evaluate, take_snapshot
from dpkit.training.loop import Recipe, train

LEVELS = {"ash": 60, "birch": 120, "cedar": 180, "elm": 240}  # how bright its pictures are
RECIPE = Recipe(epochs=20, batch_size=12, lr=0.05)


def pictures(name, n, *, seed=0, shape=(8, 8, 3)):
    noise = np.random.default_rng([seed, LEVELS[name]])
    return (LEVELS[name] + noise.integers(-15, 15, (n, *shape))).astype(np.uint8)


def write_trees(folder, *names, n=8, seed=0, shape=(8, 8, 3)):
    for name in names:
        (folder / name).mkdir(parents=True)
        for k, picture in enumerate(pictures(name, n, seed=seed, shape=shape)):
            Image.fromarray(picture).save(folder / name / f"{k}.png")
    return folder


def arrays_of(*names, n=8, seed=0, shape=(8, 8, 3)):
    """(images, labels from 0 in the order of these names)."""
    return np.concatenate([pictures(name, n, seed=seed, shape=shape) for name in names]), np.repeat(
        np.arange(len(names)), n
    )


def write_npz(file, *names, class_names=True, seed=0, **more):
    images, labels = arrays_of(*names, seed=seed)
    np.savez(
        file,
        images=images,
        labels=labels,
        **({"class_names": np.array(names)} if class_names else {}),
        **more,
    )
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(network with exits, its training set): a folder of ash, birch and cedar, learned in a second
    or two.
    """
    folder = tmp_path_factory.mktemp("trees")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPKIT_CACHE", str(folder / "cache"))
        images = load(
            write_trees(folder / "trees", "ash", "birch", "cedar", n=16), device="cpu", say=None
        )
    net = make_net("small_cnn", images, seed=0, exits=(1,))
    list(train(net, images, RECIPE, seed=0, loss=exit_loss()))
    return net, images


# ---- like= ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("ash", "cedar"), ("ash", "birch"), ("cedar",), ("ash", "birch", "cedar"), ("birch", "cedar")],
)
def test_a_second_folder_loaded_like_the_first_is_classified_rightly(tmp_path, trained, names):
    net, images = trained
    folder = write_trees(tmp_path / "test", *names, seed=1)
    test = load(folder, like=images, device="cpu", say=None)
    assert evaluate(net, test).accuracy == 1.0
    assert (test.class_names, test.mean, test.std) == (images.class_names, images.mean, images.std)
    assert test.labels.unique().tolist() == [images.class_names.index(name) for name in names]
    own = copy.copy(net)
    own.made_for = None  # as nothing was known before: another class, or other pixels
    if names in (("ash", "cedar"), ("ash", "birch")):
        assert evaluate(own, load(folder, device="cpu", say=None)).accuracy == 0.5


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_npz_goes_with_a_folder_and_the_other_way_round(tmp_path, trained, split):
    net, images = trained
    write_npz(
        tmp_path / "first.npz",
        "cedar",
        "ash",
        seed=2,
        test_images=arrays_of("ash")[0],
        test_labels=np.ones(8, int),
    )
    test = load(tmp_path / "first.npz", split=split, like=images, device="cpu", say=None)
    assert evaluate(net, test).accuracy == 1.0 and test.labels[-1] == 0
    file = load(write_npz(tmp_path / "second.npz", "cedar", "ash", "birch"), device="cpu", say=None)
    back = load(write_trees(tmp_path / "two", "ash", "cedar"), like=file, device="cpu", say=None)
    assert back.labels.tolist() == [1] * 8 + [0] * 8 and back.mean == file.mean


def test_arrays_go_with_a_training_set_by_name_or_by_its_numbers(trained):
    net, images = trained
    pixels, labels = arrays_of("cedar", "ash", seed=3)
    assert (
        evaluate(
            net,
            from_arrays(pixels, labels, class_names=["cedar", "ash"], like=images, device="cpu"),
        ).accuracy
        == 1.0
    )
    assert (
        evaluate(net, from_arrays(pixels, 2 - 2 * labels, like=images, device="cpu")).accuracy
        == 1.0
    )
    gaps = from_arrays(pixels, 7 - labels, device="cpu")  # 7 and 6
    assert gaps.class_names == ["6", "7"]
    assert (
        from_arrays(pixels[:8], np.full(8, 7), like=gaps, device="cpu").labels.tolist() == [1] * 8
    )


def test_a_named_set_is_numbered_by_name_as_well():
    digits = load("digits", device="cpu")
    test = load("digits", split="test", like=digits, device="cpu")
    assert test.fingerprint == load("digits", split="test", device="cpu").fingerprint


@pytest.mark.parametrize("side", [8, 20])
def test_a_second_folder_has_the_training_sets_size_unless_another_is_asked_for(
    tmp_path, trained, side
):
    folder = write_trees(tmp_path / "large", "ash", "birch", shape=(side, side + 3, 3))
    assert load(folder, like=trained[1], device="cpu", say=None).images.shape == (16, 3, 8, 8)
    assert load(folder, like=trained[1], size=12, device="cpu", say=None).images.shape == (
        16,
        3,
        12,
        12,
    )


@pytest.mark.parametrize(
    "names, message",
    [
        (
            ("ash", "elm"),
            (
                "has the class elm, and the training set trees has only ash, birch, cedar: leave "
                "those images out"
            ),
        ),
        (("elm",), "has the class elm"),
    ],
)
def test_a_class_that_the_training_set_lacks_is_refused_by_name(tmp_path, trained, names, message):
    with pytest.raises(ValueError, match=message):
        load(write_trees(tmp_path / "test", *names), like=trained[1], device="cpu")
    with pytest.raises(ValueError, match=message):
        load(write_npz(tmp_path / "test.npz", *names), like=trained[1], device="cpu")
    pixels, labels = arrays_of(*names)
    with pytest.raises(ValueError, match=message):
        from_arrays(pixels, labels, class_names=names, like=trained[1], device="cpu")


def test_what_cannot_go_with_the_training_set_is_refused(tmp_path, trained):
    images = trained[1]
    grey = arrays_of("ash", "cedar", shape=(8, 8))
    with pytest.raises(
        ValueError,
        match="grey has images of 1 channel and the training set trees of 3 channels: convert one",
    ):
        from_arrays(*grey, name="grey", class_names=["ash", "cedar"], like=images, device="cpu")
    wide = from_arrays(
        *arrays_of("ash", "birch", shape=(8, 12, 3)),
        class_names=["ash", "birch"],
        name="wide",
        device="cpu",
    )
    with pytest.raises(
        ValueError,
        match="test has images of 8x8 pixels and the training set wide of 12x8: bring them to that",
    ):
        load(write_trees(tmp_path / "test", "ash", "birch"), like=wide, device="cpu")
    with pytest.raises(
        TypeError, match="like needs the training set, an ImageSet; got PosixPath: load that first"
    ):
        load(tmp_path / "test", like=tmp_path / "test", device="cpu")
    with pytest.raises(
        ValueError,
        match="file has the classes 0, 1, and .* only ash, birch, cedar: .*say with class_names",
    ):
        load(
            write_npz(tmp_path / "file.npz", "ash", "cedar", class_names=False),
            like=images,
            device="cpu",
        )
    with pytest.raises(ValueError, match="unnamed has the class 3, and the training set"):
        from_arrays(arrays_of("ash")[0], np.full(8, 3), like=images, device="cpu")


def test_an_empty_class_folder_is_no_hindrance_beside_a_training_set(tmp_path, trained):
    folder = write_trees(tmp_path / "test", "ash", "cedar")
    (folder / "birch").mkdir()
    assert (
        load(folder, like=trained[1], device="cpu", say=None).labels.tolist() == [0] * 8 + [2] * 8
    )


# ---- a second set loaded alone -------------------------------------------------------------------

OWN_NUMBERS = r"whose class 1 is 'cedar' where the network's is 'birch': .*training set, load\('.*'"
OWN_MEAN = r"test normalised by its own mean, .* and the network knows that of its training set"


def snapshot_parts(net, images):
    looked = take_snapshot(net, images)
    return looked.probs, looked.features, looked.labels, looked.params["set_facts"]["class_names"]


CALLS = {
    "evaluate": lambda net, images: (evaluate(net, images),),
    "take_snapshot": snapshot_parts,
    "gradient_norms": lambda net, images: (gradient_norms(net, images).values,),
    "leave_early": lambda net, images: leave_early(net.eval(), images, threshold=0.5),
}


@pytest.mark.filterwarnings("ignore:the logits of leave_early")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("names", [("ash", "cedar"), ("ash", "birch"), ("ash", "birch", "cedar")])
def test_a_second_set_is_taken_as_the_network_saw_its_own(tmp_path, trained, call, names):
    folder = write_trees(tmp_path / "test", *names, seed=1)
    alone = load(folder, device="cpu", say=None)
    found = CALLS[call](trained[0], alone)
    like = CALLS[call](trained[0], load(folder, like=trained[1], device="cpu", say=None))
    assert len(found) == len(like)
    for ours, theirs in zip(found, like, strict=True):
        assert np.array_equal(ours, theirs)
    assert alone.class_names == list(names) and alone.mean != trained[1].mean  # it stays as it was


def test_a_second_set_is_measured_by_the_networks_classes(tmp_path, trained):
    alone = load(write_trees(tmp_path / "test", "ash", "cedar"), device="cpu", say=None)
    found = evaluate(trained[0], alone)
    assert found.accuracy == 1.0
    assert found.class_accuracy == (1.0, None, 1.0)
    assert found.class_names == ("ash", "birch", "cedar")
    assert take_snapshot(trained[0], alone).labels.tolist() == [0] * 8 + [2] * 8
    aligned = alone.aligned(trained[0].made_for, "a test")
    assert aligned.images.data_ptr() == alone.images.data_ptr()
    assert trained[1].aligned(trained[0].made_for, "a test") is trained[1]


def test_leave_early_says_where_its_logits_and_the_sets_labels_differ(tmp_path, trained, recwarn):
    net = trained[0].eval()
    leave_early(net, trained[1], threshold=0.5)
    darker = load(write_trees(tmp_path / "two", "ash", "birch"), device="cpu", say=None)
    leave_early(net, darker, threshold=0.5)
    assert not recwarn.list
    other = load(write_trees(tmp_path / "test", "ash", "cedar"), device="cpu", say=None)
    with pytest.warns(UserWarning, match="numbered by the network's classes, and the labels of"):
        leave_early(net, other, threshold=0.5)


def test_images_of_an_unknown_class_can_be_left_out(tmp_path, trained):
    some = load(write_trees(tmp_path / "some", "cedar", "elm"), device="cpu", say=None)
    with pytest.warns(UserWarning, match="no sample of class elm"):
        known = some.subset(np.flatnonzero(some.labels.numpy() == 0))
    assert evaluate(trained[0], known).accuracy == 1.0


def test_a_class_that_the_network_was_not_made_for_is_refused_by_name(tmp_path, trained):
    some = load(write_trees(tmp_path / "some", "ash", "elm"), device="cpu", say=None)
    with pytest.raises(
        ValueError,
        match=r"has the class elm that the network was not made for .*: leave those images",
    ):
        evaluate(trained[0], some)
    with pytest.raises(
        ValueError,
        match="digits with images of 1 channel, and the network was made for 3 channels: convert",
    ):
        evaluate(trained[0], load("digits", device="cpu"))
    turned = from_arrays(*arrays_of("birch", "ash"), class_names=["birch", "ash"], device="cpu")
    assert evaluate(trained[0], turned).accuracy == 1.0
    fashion = from_arrays(*arrays_of("ash", "birch"), class_names=["boot", "bag"], device="cpu")
    with pytest.raises(
        ValueError,
        match=r"boot, bag that the network was not made for .*: make a network for this set",
    ):
        evaluate(trained[0], fashion)


def test_another_split_is_taken_as_the_network_saw_its_own(tmp_path, trained):
    images, labels = arrays_of("ash", "cedar")
    file = write_npz(tmp_path / "file.npz", "ash", "cedar", test_images=images, test_labels=labels)
    test = load(file, split="test", device="cpu", say=None)
    assert evaluate(trained[0], test).accuracy == 1.0


def test_leave_early_checks_the_channels_of_a_plain_batch(trained):
    with pytest.raises(
        ValueError,
        match="leave_early needs images of 3 channels, as the network was made for; got 1",
    ):
        leave_early(trained[0].eval(), torch.zeros(2, 1, 8, 8), threshold=0.5)


def test_leaving_early_of_a_set_is_leaving_early_of_its_batches(trained, monkeypatch):
    net, images = trained
    monkeypatch.setattr("dpkit.exits._BATCH", 7)
    logits, left = leave_early(net.eval(), images, threshold=0.9)
    alone, where = leave_early(net, images.clean(slice(None)), threshold=0.9)
    torch.testing.assert_close(logits, alone)
    assert torch.equal(left, where)


def test_retrain_takes_its_test_set_as_the_training_set(tmp_path, trained, steps_taken):
    images = trained[1]
    settings = {"model": "small_cnn", "recipe": RECIPE, "seed": 0, "cache": tmp_path / "cache"}
    everything = Selection(np.arange(len(images)), len(images), "all")
    elm = load(write_trees(tmp_path / "elm", "ash", "elm"), device="cpu", say=None)
    with pytest.raises(ValueError, match="retrain got elm, which has the class elm that the"):
        stages.retrain(images, elm, everything, **settings)
    assert steps_taken() == 0
    folder = write_trees(tmp_path / "test", "ash", "cedar", seed=1)
    alone = load(folder, device="cpu", say=None)
    found = stages.retrain(images, alone, everything, **settings)
    assert found["accuracy"] == 1.0
    done = steps_taken()
    like = load(folder, like=images, device="cpu", say=None)
    assert stages.retrain(images, like, everything, **settings)["accuracy"] == 1.0
    assert steps_taken() == done  # one result in the cache


def test_bound_compares_the_sets_of_its_snapshots(tmp_path, trained):
    net, images = trained
    stranger = copy.deepcopy(net)
    stranger.made_for = None
    looked = take_snapshot(stranger, images)
    vectors, chosen = (
        dpkit.influence_vectors(looked, damping=0.01),
        Selection(np.arange(40), 48, "some"),
    )
    for names, message in ((("ash", "cedar"), OWN_NUMBERS), (("ash", "birch"), OWN_MEAN)):
        other = load(
            write_trees(tmp_path / "-".join(names) / "test", *names), device="cpu", say=None
        )
        test = take_snapshot(stranger, other)
        with pytest.raises(ValueError, match=message):
            dpkit.bound(vectors, chosen, test=test, train=looked)
        test.save(tmp_path / "saved")
        with pytest.raises(ValueError, match=message):
            dpkit.bound(vectors, chosen, test=Snapshot.load(tmp_path / "saved"), train=looked)
    fits = take_snapshot(
        stranger,
        load(write_trees(tmp_path / "fits", "ash", "cedar"), like=images, device="cpu", say=None),
    )
    assert dpkit.bound(vectors, chosen, test=fits, train=looked).num_pruned == 8
    # of an earlier version: nothing is known
    old = Snapshot(fits.probs, fits.features, fits.labels)
    assert (
        dpkit.bound(vectors, chosen, test=old, train=looked).predicted
        == dpkit.bound(vectors, chosen, test=fits).predicted
    )


# ---- what a network knows ------------------------------------------------------------------------


def test_what_a_network_knows_survives_exits_copies_and_wrappers_and_is_no_weight(
    tmp_path, trained
):
    images = trained[1]
    net = make_net("small_cnn", images, seed=3)
    assert set_facts_of(net) == images.facts and net.made_for.class_names == (
        "ash",
        "birch",
        "cedar",
    )
    assert (
        set_facts_of(copy.deepcopy(net))
        == set_facts_of(EarlyExitNet(net, after=(0,)))
        == images.facts
    )
    assert set_facts_of(torch.nn.DataParallel(net)) == images.facts
    bare = dpkit.MODELS["small_cnn"](3, 3)
    assert set_facts_of(bare) is None and bare.state_dict().keys() == net.state_dict().keys()
    bare.load_state_dict(net.state_dict())
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    net.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert set_facts_of(net) == images.facts
    json.dumps(take_snapshot(net, images).params)


def test_a_network_that_knows_nothing_takes_any_set_that_is_possible(tmp_path, trained):
    bare = dpkit.MODELS["small_cnn"](3, 3)
    test = load(write_trees(tmp_path / "test", "birch", "cedar"), device="cpu", say=None)
    assert evaluate(bare, test).num_samples == 16 and take_snapshot(bare, test).num_samples == 16
    own = StagedNet([torch.nn.Conv2d(3, 4, 3)], torch.nn.Linear(4, 2))
    with pytest.raises(
        ValueError,
        match=r"labels must be below 2, the network's number of classes; trees has 2: make",
    ):
        evaluate(own, trained[1])


def test_plain_arrays_of_the_same_classes_work_as_ever(recwarn):
    pixels, labels = arrays_of("ash", "birch", "cedar", n=16)
    first = from_arrays(pixels, labels, device="cpu")
    net = make_net("small_cnn", first, seed=0)
    list(train(net, first, RECIPE, seed=0))
    second = from_arrays(*arrays_of("ash", "birch", "cedar", seed=5), device="cpu")
    assert second.mean != first.mean and evaluate(net, second).accuracy == 1.0 and not recwarn.list
    darker = from_arrays(*arrays_of("ash", "birch"), device="cpu")
    assert evaluate(net, darker).accuracy == 1.0 and not recwarn.list
    named = make_net(
        "small_cnn", from_arrays(pixels, labels, class_names=["a", "b", "c"], device="cpu"), seed=0
    )
    assert evaluate(named, second).num_samples == 24  # numbers alone name no class


def test_subsets_and_first_rows_of_the_set_fit(trained):
    net, images = trained
    assert evaluate(net, images.first(20)).accuracy == 1.0
    with pytest.warns(UserWarning, match="no sample of class birch, cedar"):
        assert evaluate(net, images.subset([1, 3])).accuracy == 1.0


# ---- training on another set ---------------------------------------------------------------------


def test_training_on_other_classes_is_refused_unless_they_are_meant(tmp_path, trained, steps_taken):
    net = copy.deepcopy(trained[0])
    other = load(write_trees(tmp_path / "other", "ash", "cedar"), device="cpu", say=None)
    with pytest.raises(
        ValueError, match="train got other, whose class 1 is 'cedar' where the network's is 'birch'"
    ):
        next(train(net, other, RECIPE, seed=0))
    assert steps_taken() == 0
    net.made_for = None
    next(train(net, other, RECIPE, seed=0))
    assert steps_taken() > 0


def test_fine_tuning_on_the_same_classes_makes_the_new_normalisation_the_networks(
    tmp_path, trained
):
    net = copy.deepcopy(trained[0])
    new = load(
        write_trees(tmp_path / "new", "ash", "birch", "cedar", seed=9), device="cpu", say=None
    )
    assert new.mean != trained[1].mean
    list(train(net, new, replace(RECIPE, epochs=5), seed=0))
    assert evaluate(net, new).accuracy == 1.0
    own = replace(trained[1], mean=new.mean, std=new.std)
    assert evaluate(net, trained[1]) == evaluate(net, own)


def test_a_checkpoint_of_before_is_gone_on_from(tmp_path, trained, steps_taken, every_epoch):
    images = trained[1]
    first = make_net("small_cnn", images, seed=0)
    list(train(first, images, replace(RECIPE, epochs=2), seed=0, checkpoint=tmp_path / "run"))
    done = steps_taken()
    again = make_net("small_cnn", images, seed=0)
    list(train(again, images, replace(RECIPE, epochs=2), seed=0, checkpoint=tmp_path / "run"))
    assert steps_taken() == done and evaluate(again, images) == evaluate(first, images)
    assert not any("made_for" in key or "class" in key for key in again.state_dict())


def test_what_a_set_was_read_from_is_no_part_of_its_fingerprint(trained):
    images = trained[1]
    assert replace(images, source=None, notes=("a note",)).fingerprint == images.fingerprint
    plain = image_set.ImageSet(
        images.images,
        images.labels,
        images.ids,
        ["x", "y", "z"],
        images.total,
        "other",
        images.mean,
        images.std,
        images.shift,
    )
    assert plain.fingerprint == images.fingerprint
