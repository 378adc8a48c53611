"""Image sets: the same pixels as torchvision, original ids that survive, files that are checked,
downloads that are whole.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.transforms import functional as pictures

from dpkit.data import image_set as sets
from dpkit.data.image_set import from_arrays, load
from dpkit.data.splits import hold_out
from dpkit.data.toys import toy_images
from dpkit.records import Selection


def image_set(n=6, channels=3, *, side=5, shift=2, mirror=True, **more):
    rng = np.random.default_rng(0)
    # not square: axes cannot be mixed up
    shape = (n, side, side + 1, channels) if channels > 1 else (n, side, side + 1)
    return from_arrays(
        rng.integers(0, 256, shape, dtype=np.uint8),
        np.arange(n) % 3,
        shift=shift,
        mirror=mirror,
        device="cpu",
        **more,
    )


def through_torchvision(images, row, *, top=0, left=0, mirrored=False):
    """One image padded, cropped, flipped, made a tensor and normalised by torchvision."""
    raw, shift = images.images[row], images.shift
    padded = pictures.pad(raw, [shift] * 4)
    cropped = pictures.crop(padded, top, left, raw.shape[1], raw.shape[2])
    flipped = pictures.hflip(cropped) if mirrored else cropped
    pixels = flipped.permute(1, 2, 0).numpy()
    return pictures.normalize(pictures.to_tensor(pixels), images.mean, images.std)


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_augmented_batches_equal_torchvisions_crop_and_flip_at_the_same_draws(channels, shift):
    images = image_set(channels=channels, shift=shift)
    draws = [
        (row, top, left, flip)
        for row in (0, 4)
        for top in range(2 * shift + 1)
        for left in range(2 * shift + 1)
        for flip in (False, True)
    ]
    rows, top, left, flip = (torch.tensor(column) for column in zip(*draws))
    batch = images.augmented(rows, torch.stack([top, left]), flip)
    assert batch.shape == (len(draws), channels, 5, 6) and batch.dtype == torch.float32
    for found, (row, at, beside, mirrored) in zip(batch, draws):
        expected = through_torchvision(images, row, top=at, left=beside, mirrored=mirrored)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_set_that_is_not_mirrored_ignores_the_draw():
    images = image_set(shift=0, mirror=False)
    rows = torch.arange(6)
    found = images.augmented(
        rows, torch.zeros(2, 6, dtype=torch.long), torch.ones(6, dtype=torch.bool)
    )
    assert torch.equal(found, images.clean(rows))


@pytest.mark.parametrize("channels", [1, 3])
def test_clean_batches_equal_torchvisions_tensor_and_normalise(channels):
    images = image_set(channels=channels, shift=0)
    for rows in (slice(1, 5), torch.tensor([4, 1])):
        expected = [through_torchvision(images, row) for row in torch.arange(6)[rows].tolist()]
        torch.testing.assert_close(images.clean(rows), torch.stack(expected), rtol=0, atol=1e-5)


def test_images_and_batches_lie_channels_last_in_memory():
    images = image_set()
    last = torch.channels_last
    assert images.images.is_contiguous(memory_format=last)
    assert images.subset([5, 1, 3]).images.is_contiguous(memory_format=last)
    assert images.clean(slice(0, 3)).is_contiguous(memory_format=last)
    batch = images.augmented(
        torch.arange(3), torch.zeros(2, 3, dtype=torch.long), torch.tensor([True, False, True])
    )
    assert batch.is_contiguous(memory_format=last)


def test_pixels_are_normalised_by_their_own_mean_and_standard_deviation():
    images = image_set(n=20)
    pixels = images.images.double() / 255
    np.testing.assert_allclose(images.mean, pixels.mean(dim=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(images.std, pixels.std(dim=(0, 2, 3), correction=0), rtol=1e-12)
    clean = images.clean(slice(None))
    assert (
        clean.mean(dim=(0, 2, 3)).abs().max() < 1e-5
        and (clean.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-2
    )


def test_a_picture_of_one_grey_does_not_divide_by_zero():
    images = from_arrays(np.full((2, 4, 4), 9, np.uint8), [0, 1], device="cpu")
    assert torch.equal(images.clean(slice(None)), torch.zeros(2, 1, 4, 4))


# ---- digits --------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_rows_in_order():
    from sklearn.datasets import load_digits

    raw = load_digits()
    train, test = load("digits", device="cpu"), load("digits", split="test", device="cpu")
    assert (len(train), len(test)) == (1297, 500) and train.images.shape[1:] == (1, 8, 8)
    both = torch.cat([train.images, test.images])[:, 0].numpy()
    assert np.array_equal(both, np.round(raw.images * 255 / 16)) and both.max() == 255
    assert torch.cat([train.labels, test.labels]).tolist() == raw.target.tolist()
    assert train.ids.tolist() == list(range(1297)) and train.total == 1297
    assert test.mean == train.mean and test.std == train.std  # of the training images
    assert (train.shift, train.mirror) == (1, False)  # a mirrored digit is another sign
    assert (train.num_classes, train.in_channels, train.class_names[3]) == (10, 1, "3")


# ---- subsets -------------------------------------------------------------------------------------


def test_a_subset_keeps_original_ids_also_of_a_subset():
    images = image_set(n=9)
    part = images.subset(Selection([0, 2, 4, 7], 9, "mine"))
    assert part.ids.tolist() == [0, 2, 4, 7] and part.total == 9
    deeper = part.subset([7, 2, 0])
    assert deeper.ids.tolist() == [7, 2, 0] and deeper.labels.tolist() == [1, 2, 0]
    assert torch.equal(deeper.images[0], images.images[7])


def test_paths_follow_their_images():
    from dataclasses import replace

    images = replace(image_set(), paths=[f"{i}.png" for i in range(6)])
    assert images.subset([4, 0, 2]).paths == ["4.png", "0.png", "2.png"]


def test_a_subset_that_leaves_a_class_empty_warns_and_names_it():
    images = image_set(class_names=["cat", "dog", "newt"])
    with pytest.warns(
        UserWarning, match="has no sample of class cat, newt: .*select with per_class"
    ):
        part = images.subset([1, 4])
    assert part.num_classes == 3  # a network for it still has three outputs


def test_a_class_that_was_empty_before_is_not_warned_about(recwarn):
    image_set(n=6, class_names=["cat", "dog", "newt", "none"]).subset([0, 1, 2])
    assert not recwarn.list


@pytest.mark.parametrize(
    "wanted, message",
    [
        (Selection([0], 7, "mine"), "this selection is over 7 samples, but unnamed has 6"),
        ([0, 6], r"ids of samples in this set \(0\.\.5\)"),
        ([-1], r"ids of samples in this set \(0\.\.5\)"),
        (
            np.array([True, False, True, False, False, False]),
            r"ids; got a mask of bool: pass np.flatnonzero\(mask\)",
        ),
        ([0.5, 1.5], "whole numbers; got float64"),
    ],
)
def test_what_is_not_ids_of_this_set_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        image_set().subset(wanted)


def test_an_id_that_was_pruned_before_is_not_in_a_subset():
    with pytest.raises(ValueError, match="some are not in it"):
        image_set().subset([0, 1, 2]).subset([3])


def test_the_first_rows_are_a_set_of_their_own():
    part = image_set(n=9).first(4)
    assert (len(part), part.total, part.ids.tolist()) == (4, 4, [0, 1, 2, 3])
    for n in (0, 10):
        with pytest.raises(
            ValueError, match=rf"first\(n\) needs 1\.\.9 \(the set's size\); got {n}"
        ):
            image_set(n=9).first(n)


# ---- sets of one's own ---------------------------------------------------------------------------


def write_set(folder, name="mine", channels=3, **changes):
    """A small set of one's own as load expects it; None leaves an array out."""
    rng = np.random.default_rng(1)
    shape = (4, 4, 3) if channels == 3 else (4, 4)
    arrays = {
        "train_images": rng.integers(0, 256, (6, *shape), dtype=np.uint8),
        "train_labels": np.arange(6) % 3,
        "test_images": rng.integers(0, 256, (2, *shape), dtype=np.uint8),
        "test_labels": np.array([0, 2]),
    } | changes
    arrays = {key: array for key, array in arrays.items() if array is not None}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return arrays


@pytest.mark.parametrize("channels", [1, 3])
def test_a_set_of_ones_own_is_read_from_the_data_folder(tmp_path, channels):
    arrays = write_set(tmp_path / "data", channels=channels)  # $DPKIT_DATA in every test
    for split, n in (("train", 6), ("test", 2)):
        images = load("mine", split=split, device="cpu")
        assert (len(images), images.in_channels, images.class_names) == (
            n,
            channels,
            ["0", "1", "2"],
        )
        assert np.array_equal(
            images.images.permute(0, 2, 3, 1).numpy().squeeze(), arrays[f"{split}_images"]
        )
        assert images.labels.tolist() == arrays[f"{split}_labels"].tolist() and (
            images.shift,
            images.mirror,
        ) == (0, False)


def test_a_named_folder_comes_before_the_environments(tmp_path):
    write_set(tmp_path / "elsewhere", class_names=np.array(["cat", "dog", "newt"]))
    assert load("mine", folder=tmp_path / "elsewhere", device="cpu").class_names == [
        "cat",
        "dog",
        "newt",
    ]


def test_other_peoples_labels_are_chosen_by_kind(tmp_path):
    write_set(
        tmp_path / "data",
        human_labels_worst=np.array([2, 2, 2, 0, 0, 0]),
        human_labels_random1=np.zeros(6, int),
    )
    assert load("mine", labels="worst", device="cpu").labels.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(
        ValueError,
        match="\"given\" or 'random1' or 'worst' .* of mine; got 'noisy' for the train split",
    ):
        load("mine", labels="noisy")
    with pytest.raises(ValueError, match="got 'worst' for the test split"):
        load("mine", labels="worst", split="test")
    with pytest.raises(
        ValueError, match="labels must be \"given\" for the training split of digits; got 'worst'"
    ):
        load("digits", labels="worst")


def test_pictures_are_resized_on_request(tmp_path):
    write_set(tmp_path / "data", train_images=np.full((6, 4, 4), 200, np.uint8))
    images = load("mine", size=7, device="cpu").images
    assert images.shape == (6, 1, 7, 7) and images.dtype == torch.uint8 and torch.all(images == 200)
    assert images.is_contiguous(memory_format=torch.channels_last)
    halved = from_arrays(
        np.array([[[0, 0, 90, 90], [0, 0, 90, 90]] * 2], np.uint8), [0], size=2, device="cpu"
    ).images
    # dark left, bright right, and no wrap-around
    assert halved[0, 0, 0, 0] < 25 and halved[0, 0, 0, 1] > 65


def test_an_unknown_set_is_told_what_there_is_and_where_an_own_one_would_lie(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"unknown dataset 'cifar'; there are digits, .*cifar100; an own set is .*cifar.npz",
    ):
        load("cifar")
    write_set(tmp_path / "data")
    with pytest.raises(ValueError, match="and of your own mine"):
        load("cifar")
    with pytest.raises(ValueError, match="the val split of mine needs the arrays val_images and"):
        load("mine", split="val")


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"test_labels": None, "train_images": None},
            "the train split of mine needs the arrays train_images and train_labels; it "
            "holds test_images, train_labels: write them with np.savez",
        ),
        (
            {"train_images": np.zeros((6, 4, 4))},
            r"uint8, 0\.\.255; got float64 of shape \(6, 4, 4\): scale them",
        ),
        (
            {"train_images": np.zeros((6, 16), np.uint8)},
            r"\(n, H, W\) or .*got uint8 of shape \(6, 16\)",
        ),
        (
            {"train_images": np.zeros((0, 4, 4), np.uint8), "train_labels": np.zeros(0, int)},
            r"got uint8 of shape \(0, 4, 4\)",
        ),
        (
            {"train_images": np.array([{}] * 6, object)},
            "not a whole .npz of plain arrays .*allow_pickle",
        ),
        (
            {"train_labels": np.zeros(6)},
            r"labels must be \(6,\) whole numbers or names; got float64 of shape \(6,\)",
        ),
        (
            {"train_labels": np.zeros(5, int)},
            r"labels must be \(6,\) whole numbers or names; got int64 of shape \(5,\)",
        ),
        (
            {"train_labels": np.array([0, 1, 2, -1, 0, 1])},
            r"labels must be in 0\.\.2 .*got -1\.\.2",
        ),
        (
            {"class_names": np.array(["cat", "dog"])},
            r"labels must be in 0\.\.1 \(one of 2 classes\); got 0\.\.2",
        ),
    ],
)
def test_a_file_that_is_not_a_set_is_refused(tmp_path, changes, message):
    write_set(tmp_path / "data", **changes)
    with pytest.raises(ValueError, match=message):
        load("mine", device="cpu")


def test_a_split_needs_its_own_arrays_and_the_training_ones(tmp_path):
    write_set(tmp_path / "data", test_images=None, test_labels=None)
    assert len(load("mine", device="cpu")) == 6
    with pytest.raises(
        ValueError,
        match="test split of mine needs the arrays test_images and test_labels; it holds train_",
    ):
        load("mine", split="test", device="cpu")
    # the statistics of the test split are those of training
    write_set(tmp_path / "data", train_images=None)
    with pytest.raises(
        ValueError,
        match="train split of mine needs the arrays train_images and train_labels; it holds test",
    ):
        load("mine", split="test", device="cpu")


def test_a_file_is_loaded_by_its_path_and_named_by_its_last_part(tmp_path):
    arrays = write_set(tmp_path / "elsewhere", "pictures", channels=1)
    for path in (
        tmp_path / "elsewhere" / "pictures.npz",
        str(tmp_path / "elsewhere" / "pictures.npz"),
    ):
        images = load(path, device="cpu")
        assert images.name == "pictures" and np.array_equal(
            images.images[:, 0], arrays["train_images"]
        )
        labels, paths = sets.labels_of(path)
        assert (
            labels.tolist() == images.labels.tolist() and labels.dtype == np.int64 and paths is None
        )


def test_labels_may_be_a_column_as_medmnist_has_them_and_lie_unsplit(tmp_path):
    column = np.array([[0], [1], [2], [0], [1], [2]], np.uint8)
    write_set(tmp_path / "data", train_labels=column, test_labels=column[:2])
    assert load("mine", device="cpu").labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert load("mine", split="test", device="cpu").labels.tolist() == [0, 1]
    np.savez(tmp_path / "data" / "one.npz", images=np.zeros((6, 8, 8), np.uint8), labels=column)
    assert (
        load("one", device="cpu").labels.tolist()
        == sets.labels_of("one")[0].tolist()
        == [0, 1, 2, 0, 1, 2]
    )


@pytest.mark.parametrize("labels", [np.zeros((6, 2), int), np.zeros(6), np.array(3)])
def test_labels_without_pictures_are_checked_as_well(tmp_path, labels):
    write_set(tmp_path / "data", train_labels=labels)
    with pytest.raises(
        ValueError, match=r"train_labels must be \(\d,\) whole numbers or names; got"
    ):
        sets.labels_of("mine")


def test_test_labels_are_checked_against_the_training_classes(tmp_path):
    write_set(tmp_path / "data", test_labels=np.array([0, -2]))
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2 .*got -2\.\.0"):
        load("mine", split="test", device="cpu")


def test_a_damaged_file_is_named(tmp_path):
    write_set(tmp_path / "data")
    file = tmp_path / "data" / "mine.npz"
    whole = file.read_bytes()
    middle = bytearray(whole)
    middle[100:110] = bytes(10)
    for damaged in (whole[: len(whole) // 2], b"", b"not a zip file", bytes(middle)):
        file.write_bytes(damaged)
        with pytest.raises(
            ValueError,
            match=r"mine.npz is not a whole .npz of plain arrays .*; remove it and load again",
        ):
            load("mine", device="cpu")
    with open(file, "wb") as stream:
        np.save(stream, np.zeros(3))  # an .npy under the wrong name
    with pytest.raises(ValueError, match="mine.npz is not a whole .npz of plain arrays"):
        load("mine", device="cpu")


# ---- downloads, from a server on this machine ----------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; counts requests; sends only half of each file while `halved`."""

    def do_GET(self):
        self.server.requests += 1
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.server.halved else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served"))
    server.requests, server.halved, server.folder = 0, False, tmp_path / "served"
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content):
    return hashlib.md5(content).hexdigest()


def serve_cifar(server, monkeypatch, name):
    """Three training rows per file and two test rows, packed as the original is; returns (pixels,
    labels) of training.
    """
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    rng = np.random.default_rng(2)
    field = "labels" if name == "cifar10" else "fine_labels"
    names = [file for file, _ in kind.train_list]
    packed = {
        file: {
            "data": rng.integers(0, 256, (rows, 3072), dtype=np.uint8),
            field: rng.integers(0, 10, rows).tolist(),
        }
        for file, rows in [*((file, 3) for file in names), (kind.test_list[0][0], 2)]
    }
    packed[kind.meta["filename"]] = {
        kind.meta["key"]: [f"class {c}" for c in range(10 if name == "cifar10" else 100)]
    }
    files = {file: pickle.dumps(content) for file, content in packed.items()}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{kind.base_folder}/{file}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    (server.folder / kind.filename).write_bytes(stream.getvalue())
    monkeypatch.setattr(kind, "url", f"{server.url}/{kind.filename}")
    monkeypatch.setattr(kind, "tgz_md5", md5(stream.getvalue()))
    monkeypatch.setattr(kind, "train_list", [[file, md5(files[file])] for file in names])
    monkeypatch.setattr(
        kind, "test_list", [[kind.test_list[0][0], md5(files[kind.test_list[0][0]])]]
    )
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(files[kind.meta["filename"]])})
    return np.concatenate([packed[f]["data"] for f in names]), [
        label for f in names for label in packed[f][field]
    ]


def serve_fashion_mnist(server, monkeypatch):
    """Five training rows and two test rows as gzipped idx files; returns (pixels, labels) of
    training.
    """
    rng, resources, train = np.random.default_rng(3), [], []
    for file, _ in datasets.FashionMNIST.resources:
        n = 5 if file.startswith("train") else 2
        shape, top = ((n, 28, 28), 256) if "images" in file else ((n,), 10)
        array = rng.integers(0, top, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, array.ndim]) + b"".join(
            size.to_bytes(4, "big") for size in array.shape
        )
        content = gzip.compress(header + array.tobytes())
        (server.folder / file).write_bytes(content)
        resources.append((file, md5(content)))
        train += [array] if n == 5 else []
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{server.url}/"])
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    return train


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_once_and_kept_as_one_file(tmp_path, server, monkeypatch, name):
    pixels, labels = serve_cifar(server, monkeypatch, name)
    images = load(name, device="cpu")
    # the original is channel, row, column as well
    assert np.array_equal(images.images.flatten(1).numpy(), pixels)
    assert images.labels.tolist() == labels and (images.shift, images.mirror) == (4, True)
    assert (images.num_classes, images.class_names[9]) == (
        10 if name == "cifar10" else 100,
        "class 9",
    )
    server.requests = 0
    again = load(name, device="cpu")
    assert (
        torch.equal(again.images, images.images)
        and len(load(name, split="test", device="cpu")) == 2
    )
    assert server.requests == 0 and (tmp_path / "data" / f"{name}.npz").exists()


def test_fashion_mnist_is_downloaded_once_and_kept_as_one_file(tmp_path, server, monkeypatch):
    pixels, labels = serve_fashion_mnist(server, monkeypatch)
    images = load("fashion-mnist", device="cpu")
    assert (
        np.array_equal(images.images[:, 0].numpy(), pixels)
        and images.labels.tolist() == labels.tolist()
    )
    assert images.class_names[0] == "T-shirt/top" and (images.shift, images.mirror) == (2, True)
    server.requests = 0
    assert len(load("fashion-mnist", split="test", device="cpu")) == 2 and server.requests == 0


def test_a_download_that_breaks_off_leaves_no_set_and_can_be_tried_again(
    tmp_path, server, monkeypatch
):
    serve_cifar(server, monkeypatch, "cifar10")
    server.halved = True
    with pytest.raises((RuntimeError, OSError)):
        load("cifar10", device="cpu")
    assert not list((tmp_path / "data").glob("*.npz")) and not list((tmp_path / "data").glob(".*"))
    server.halved = False
    assert len(load("cifar10", device="cpu")) == 15


def test_a_disk_that_fills_while_packing_leaves_no_set(tmp_path, server, monkeypatch):
    serve_cifar(server, monkeypatch, "cifar10")

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        load("cifar10", device="cpu")
    # what was fetched is used again
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10-download"]


# ---- the toy set ---------------------------------------------------------------------------------


def test_the_toy_set_has_the_kinds_it_says():
    images, kinds = toy_images(400, hard=0.25, mislabelled=0.1, seed=1, device="cpu")
    assert images.images.shape == (400, 1, 12, 12) and images.class_names == [
        "upright",
        "level",
        "slanted",
    ]
    assert {kind: (kinds == kind).sum() for kind in set(kinds)} == {
        "easy": 260,
        "hard": 100,
        "mislabelled": 40,
    }


def test_the_toy_set_is_decided_by_its_seed():
    (one, kinds), (same, _), (other, _) = (
        toy_images(50, seed=seed, device="cpu") for seed in (1, 1, 2)
    )
    assert torch.equal(one.images, same.images) and torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)
    clean, _ = toy_images(50, seed=1, mislabelled=0, device="cpu")
    wrong = (clean.labels != one.labels).numpy()  # nothing else was drawn differently
    assert (
        torch.equal(clean.images, one.images)
        and np.array_equal(wrong, kinds == "mislabelled")
        and wrong.any()
    )


def test_hard_toys_are_faint():
    images, kinds = toy_images(300, device="cpu")
    brightest = images.images.flatten(1).max(1).values.numpy()
    assert brightest[kinds == "hard"].mean() < brightest[kinds != "hard"].mean() - 50


def test_a_small_network_finds_the_hard_and_the_mislabelled_toys():
    from sklearn.metrics import roc_auc_score

    from dpkit.nets.builders import make_net
    from dpkit.records import TrainingDynamics
    from dpkit.scorers import aum, dual
    from dpkit.training.loop import Recipe, train

    images, kinds = toy_images(600, seed=0, device="cpu")
    reports = train(
        make_net("small_cnn", images, seed=0), images, Recipe(epochs=12, batch_size=64), seed=0
    )
    record = TrainingDynamics.from_reports(reports, images.labels)
    assert record.correct[kinds == "easy", -1].mean() > 0.95
    assert roc_auc_score(kinds != "easy", dual(record).values) > 0.8
    for scores in (dual(record), aum(record)):
        assert (
            roc_auc_score(kinds[kinds != "hard"] == "mislabelled", scores.values[kinds != "hard"])
            > 0.95
        )


def test_a_device_is_found_by_itself():
    assert sets.auto_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert sets.auto_device("cpu") == torch.device("cpu")
    assert image_set().to("cpu").device == torch.device("cpu")


def test_the_fingerprint_tells_sets_apart_by_all_that_a_training_reads():
    pixels, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    images = from_arrays(pixels, labels, device="cpu")
    others = [
        from_arrays(pixels + 1, labels, device="cpu"),
        from_arrays(pixels, 1 - labels, device="cpu"),
        from_arrays(pixels, labels, class_names=["a", "b", "c"], device="cpu"),
        from_arrays(pixels, labels, shift=1, device="cpu"),
        images.subset([0, 1]),
        images.first(2),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in others)}) == 7
    assert from_arrays(pixels, labels, device="cpu").fingerprint == images.fingerprint


def test_a_set_keeps_its_own_copy_of_the_pixels():
    pixels = np.zeros((4, 8, 8), np.uint8)
    images = from_arrays(pixels, np.array([0, 1, 0, 1]), device="cpu")
    pixels[:] = 255
    assert images.images.max() == 0


@pytest.mark.parametrize("device", ["mps", "tpu", "gpu"])
def test_a_device_that_nothing_is_tested_on_is_refused(device):
    with pytest.raises(ValueError, match=f'device must be "auto", "cpu" or "cuda"; got {device!r}'):
        load("digits", device=device)


def test_a_part_is_held_out_of_every_class_and_the_rest_is_the_others(digits):
    rest, held_out = hold_out(digits, 0.25, seed=3)
    assert sorted([*rest.ids, *held_out.ids]) == list(range(len(digits)))
    counts, taken = (np.bincount(part.labels, minlength=10) for part in (digits, held_out))
    assert (np.abs(taken - 0.25 * counts) <= 0.5).all()
    assert rest.facts == held_out.facts == digits.facts
    again, other = (hold_out(digits, 0.25, seed=seed)[1] for seed in (3, 4))
    assert again.ids.tolist() == held_out.ids.tolist() != other.ids.tolist()


def test_of_two_images_of_a_class_one_is_held_out_whatever_the_fraction():
    pairs = from_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 1, 0], mean=[0], std=[1])
    for fraction in (0.01, 0.99):
        _, held_out = hold_out(pairs, fraction)
        assert sorted(held_out.labels.tolist()) == [0, 1]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), True])
def test_a_fraction_that_holds_out_nothing_or_all_is_refused(digits, fraction):
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\), the part held out; got"):
        hold_out(digits, fraction)


def test_a_class_of_one_image_cannot_be_split(digits):
    one = digits.subset([*np.flatnonzero(digits.labels.numpy() != 7), 7])
    with pytest.raises(ValueError, match="has one of 7: add images, or leave the class out"):
        hold_out(one, 0.5)
