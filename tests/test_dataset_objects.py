"""Datasets of torchvision, of torch and of Hugging Face become ImageSets, or say what they are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import FakeData, ImageFolder

import dpkit
from dpkit.data import from_arrays, load

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)


class Items(Dataset):
    """Whatever `item` gives for 0..n-1."""

    def __init__(self, item, n=20, **more):
        self.item, self.n = item, n
        vars(self).update(more)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return self.item(i)


def read(dataset, **more):
    return dpkit.from_dataset(dataset, device="cpu", **{"say": None} | more)


def picture(i):
    return Image.fromarray(PIXELS[i])


# ---- what it is ----------------------------------------------------------------------------------

ALIKE = {
    "pillow": lambda i: (picture(i), i % 2),
    "tensor": lambda i: (transforms.ToTensor()(picture(i)), torch.tensor(i % 2)),
    "bytes": lambda i: (torch.from_numpy(PIXELS[i]).permute(2, 0, 1), np.int64(i % 2)),
    "array": lambda i: (PIXELS[i], np.array([i % 2], np.uint8)),
    "array, channels first": lambda i: [PIXELS[i].transpose(2, 0, 1), torch.tensor([i % 2])],
    "table": lambda i: {"img": picture(i), "label": i % 2, "index": i},
    "half floats": lambda i: (transforms.ToTensor()(picture(i)).double(), i % 2),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_all_kinds_of_items_are_the_same_images(kind):
    expected = from_arrays(PIXELS, np.arange(20) % 2, device="cpu")
    found = read(Items(ALIKE[kind]))
    assert torch.equal(found.images, expected.images)
    assert found.labels.tolist() == expected.labels.tolist()
    assert (found.mean, found.std) == (expected.mean, expected.std)


def test_an_image_folder_is_what_load_makes_of_it(tmp_path):
    for i in range(8):
        place = tmp_path / "photos" / ("ash", "birch")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture(i).resize((9 + i, 12)).save(place / f"{i}.png")
    folder = ImageFolder(tmp_path / "photos")
    expected = load(tmp_path / "photos", size=8, device="cpu", say=None)
    found = read(folder, size=8)
    assert found.fingerprint == expected.fingerprint and found.class_names == ["ash", "birch"]
    assert read(Subset(folder, [0, 5]), size=8).class_names == ["ash", "birch"]
    with pytest.raises(ValueError, match="item 0 is 9x12 .* item 1 is 11x12 .* resized with size="):
        read(folder)


def test_items_in_one_buffer_are_all_kept():
    for buffer in (np.zeros((6, 6, 3), np.uint8), torch.zeros(3, 6, 6)):

        def item(i, buffer=buffer):
            buffer[:] = i / 255 if isinstance(buffer, torch.Tensor) else i
            return buffer, i % 2

        assert read(Items(item)).images[:, 0, 0, 0].tolist() == list(range(20))


def test_a_column_of_labels_is_known_by_the_names_that_tables_know():
    found = read(Items(lambda i: {"Image": picture(i), "Category": i % 3, "source": "web"}))
    assert found.labels.tolist() == [i % 3 for i in range(20)]


def test_names_of_classes_are_the_datasets_own_unless_it_renumbers_them():
    told = ["zebra", "ant"]
    assert read(Items(ALIKE["pillow"], classes=told)).class_names == told
    names = Items(lambda i: (picture(i), told[i % 2]), classes=told)
    assert read(names).labels.tolist() == [i % 2 for i in range(20)]
    assert read(Items(names.item)).class_names == ["ant", "zebra"]
    renumbered = FakeData(6, (3, 6, 6), 4, target_transform=lambda label: label % 2)
    renumbered.classes = list("abcd")
    assert read(renumbered).class_names == ["0", "1"]
    assert read(Items(ALIKE["pillow"], classes=told), class_names=["x", "y"]).class_names[0] == "x"
    with pytest.raises(ValueError, match="'Ant' and 'ant' in the names of Items differ only"):
        read(Items(ALIKE["pillow"], classes=["Ant", "ant"]))


def test_grey_images_have_one_channel_and_three_among_coloured_ones():
    grey = Items(lambda i: (picture(i).convert("L"), i % 2))
    assert read(grey).in_channels == 1
    mixed = read(Items(lambda i: (picture(i).convert("L" if i % 2 else "RGB"), i % 2)))
    assert mixed.in_channels == 3
    assert torch.equal(mixed.images[1], read(grey).images[1].expand(3, 6, 6))
    assert read(TensorDataset(torch.rand(4, 1, 6, 6), torch.arange(4) % 2)).in_channels == 1


def test_a_test_set_is_numbered_and_normalised_as_the_training_set():
    images = read(Items(lambda i: (picture(i), "ab"[i % 2])))
    test = read(Items(lambda i: (picture(i + 10), "b"), n=5), like=images)
    assert test.labels.tolist() == [1] * 5 and test.facts.mean == images.mean
    larger = read(Items(lambda i: (picture(i).resize((12, 12)), "a"), n=2), like=images)
    assert larger.images.shape == (2, 3, 6, 6)


class Image_(SimpleNamespace):
    """Stands in for datasets.Image, which is known by its name."""


Image_.__name__ = "Image"


def hugging_face(rows, **features):
    more = {"features": features, "info": SimpleNamespace(dataset_name="owls")}
    return Items(lambda i: rows[i], n=len(rows), **more)


def test_a_dataset_of_hugging_face_tells_its_columns_and_names():
    rows = [{"pic": picture(i), "kind": i % 2, "note": "x"} for i in range(6)]
    label = SimpleNamespace(names=["owl", "cat"])
    found = read(hugging_face(rows, pic=Image_(), kind=label, note=None))
    assert (found.name, found.class_names) == ("owls", ["owl", "cat"])
    assert found.labels.tolist() == [0, 1] * 3
    with pytest.raises(
        ValueError, match="tables with pic, kind, note, and which has the label can"
    ):
        read(hugging_face(rows, pic=Image_(), kind=label, note=label))
    found = read(hugging_face(rows, pic=Image_(), kind=label, note=label), label_column="kind")
    assert found.class_names == ["owl", "cat"]
    unlabelled = [row | {"kind": -1} for row in rows]
    with pytest.raises(ValueError, match="item 0 of owls has the label -1, as images without one"):
        read(hugging_face(unlabelled, pic=Image_(), kind=label, note=None))
    with pytest.raises(ValueError, match="item 0 of owls has no species; it has pic, kind, note"):
        read(hugging_face(rows, pic=Image_()), label_column="species")


def test_it_is_printed_once_and_progress_is_told(capsys):
    done = []
    read(Items(ALIKE["pillow"]), name="once", say="once", on_progress=lambda *a: done.append(a))
    read(Items(ALIKE["pillow"]), name="once", say="once")
    assert capsys.readouterr().out.count("once: 20 images of 6x6") == 1 and done == [(20, 20)]


def test_prune_takes_it_and_its_ids_are_its_places(tmp_path):
    lines = []
    done = dpkit.prune(
        Items(ALIKE["tensor"]),
        tmp_path / "out",
        method="random",
        prune_ratio=0.5,
        size=8,
        say=lines.append,
    )
    assert done["keep"] == 10 and lines[1].startswith("Items: 20 images of 8x8")
    assert len(Subset(Items(ALIKE["pillow"]), dpkit.read_kept(tmp_path / "out")[0])) == 10
    with pytest.raises(ValueError, match="classes must be left out, as the set is an object"):
        dpkit.prune(Items(ALIKE["pillow"]), tmp_path / "b", prune_ratio=0.5, classes=["a"])


# ---- what it is not ------------------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        yield PIXELS[0], 0


def normalised(i):
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.2,) * 3)]
    return transforms.Compose(steps)(picture(i)), 0


rng = np.random.default_rng(0)
ONE = "one class label per image, a whole number or a name; item 0 of Items has"
WRONG = {
    "raises": (lambda i: (PIXELS[i], [0][i // 7]), "item 7 of Items cannot be read: IndexError"),
    "three": (
        lambda i: (PIXELS[i], 0, i),
        r"item 0 of Items must be \(image, label\); got tuple of",
    ),
    "one": (lambda i: PIXELS[i], r"item 0 of Items must be \(image, label\); got ndarray"),
    "boxes": (lambda i: (PIXELS[i], {"boxes": []}), f"{ONE} a table with boxes, as for detection"),
    "fraction": (lambda i: (PIXELS[i], 0.5), f"{ONE} float 0.5"),
    "bool": (lambda i: (PIXELS[i], True), f"{ONE} bool True"),
    "none": (lambda i: (PIXELS[i], None), f"{ONE} NoneType None"),
    "one-hot": (lambda i: (PIXELS[i], torch.eye(3)[1]), f"{ONE} 3 numbers; if the 1 is at the cl"),
    "several": (lambda i: (PIXELS[i], [1, 1, 0]), f"{ONE} 3 numbers$"),
    "both": (lambda i: (PIXELS[i], "a" if i else 0), "must be all numbers or all names; there are"),
    "normalised": (normalised, r"floats in -2.*: leave Normalize out of its transform"),
    "NaN": (
        lambda i: (PIXELS[i] * np.nan, 0),
        "must be uint8, or floats in 0..1; got floats in nan",
    ),
    "integers": (lambda i: (PIXELS[i].astype(int), 0), "uint8, or floats in 0..1; got int64: conv"),
    "volume": (lambda i: (np.zeros((8, 8, 8)), 0), r"with 1 to 4 channels C; got \(8, 8, 8\)"),
    "path": (lambda i: ("a.png", 0), "must have an image of Pillow, a tensor or an array; got str"),
    "16 bits": (
        lambda i: (Image.fromarray(PIXELS[i, ..., 0].astype(np.uint16)), 0),
        "item 0 of Items has more than 8 bits a pixel",
    ),
    "channels": (lambda i: (PIXELS[i, ..., : 3 - i % 2], 0), "with 3 channels and item 1 .* RGB"),
    "random pixels": (
        lambda i: (rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), 0),
        "item 0 of Items is another one when it is read again: leave random augmentation out",
    ),
    "random labels": (lambda i: (PIXELS[i], int(rng.integers(1e9))), "is another one when it is"),
    "images as the only column": (
        lambda i: {"image": picture(i)},
        "one class .* tables with image,",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_items_of_another_kind_are_refused_by_their_number(name):
    item, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as refused:
        read(Items(item))
    assert "\n" not in str(refused.value)


def test_a_flip_now_and_then_is_noticed():
    flip = transforms.RandomHorizontalFlip()
    with pytest.raises(ValueError, match="is another one when it is read again"):
        read(Items(lambda i: (flip(picture(i)), 0)))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (DataLoader(Items(ALIKE["pillow"])), "a DataLoader .*: give its dataset, loader.dataset"),
        (Stream(), r"Stream has not both: of one that can only be iterated give list\(dataset\)"),
        (iter([1]), r"needs len\(dataset\) and dataset\[i\]"),
        ({"train": 1, "test": 2}, "this dict holds train, test: give one of those"),
        ([], "list must hold at least one image; its length is 0"),
    ],
)
def test_what_has_no_items_by_number_is_refused(dataset, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(dataset)
    with pytest.raises(ValueError, match=message):
        dpkit.prune(dataset, tmp_path / "out", prune_ratio=0.5)


# ---- files behind the items ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for i in range(20):
        place = tmp_path / "photos" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture(i).save(place / f"{i:02}.png")
    return tmp_path / "photos"


def test_the_files_of_an_image_folder_are_named_among_the_kept(folder, tmp_path):
    dataset = ImageFolder(str(folder))
    some = Subset(Subset(dataset, [15, 3, 8, 12, 1, 10]), torch.tensor([0, 1, 2, 3]))
    for name, given, items in (("all", dataset, range(20)), ("some", some, (15, 3, 8, 12))):
        manifest = dpkit.prune(given, tmp_path / name, method="random", prune_ratio=0.5)
        kept, paths = dpkit.read_kept(tmp_path / name)
        files = [dataset.samples[items[k]][0] for k in kept]
        assert [str(folder / path) for path in paths] == files and len(files) == len(items) // 2
        assert manifest["data"]["folder"] == str(folder)


def test_paths_that_are_not_those_of_the_items_are_left_out(folder, tmp_path):
    class Turned(ImageFolder):
        def __getitem__(self, i):
            return super().__getitem__(len(self) - 1 - i)

    assert read(Turned(str(folder))).paths is None
    assert read(Subset(ImageFolder(str(folder)), [0, 0, 15])).paths is None  # one file twice
    assert read(Items(lambda i: (picture(i), i % 2), samples=PIXELS)).paths is None
    renumbered = ImageFolder(str(folder), target_transform=lambda label: 1 - label)
    assert read(renumbered).paths[0] == "a/00.png"
