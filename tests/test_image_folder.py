"""A folder of class folders: order, labels and pixels of torchvision's ImageFolder, decoded once,
and told what is wrong.
"""

import os
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import dpkit
from dpkit import storage
from dpkit.data import image_files
from dpkit.data.class_folders import list_folder, read_pixels
from dpkit.data.image_set import labels_of, load
from dpkit.nets.builders import make_net
from dpkit.training.loop import Recipe, train


def write_image(file, width=8, height=8, *, mode="RGB", seed=None, **options):
    """A small image of noise; its seed is made of its name unless one is given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(map(ord, file.name)) if seed is None else seed)
    picture = Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(noise.integers(0, 256, (height, width), dtype=np.uint8)))
    picture.convert(mode).save(file, **options)
    return file


def write_folder(folder, **classes):
    """class=number of its images, 8x8, as PNG."""
    for name, count in classes.items():
        for k in range(count):
            write_image(folder / name / f"{k}.png", seed=100 * len(name) + k)
    return folder


@pytest.fixture
def mixed(tmp_path):
    """All that a real folder has: several formats, sub-folders, upper-case endings, and files that
    are no images.
    """
    folder = tmp_path / "photos"
    for name, mode in {
        "newt/b.png": "RGB",
        "newt/10.png": "L",
        "newt/9.png": "P",
        "newt/wild/deep/a.JPG": "RGB",
        "cat/z.jpeg": "L",
        "cat/A.PNG": "RGBA",
        "cat/a.png": "1",
        "Zebra/x.bmp": "RGB",
        "Zebra/y.jpg": "CMYK",
    }.items():
        write_image(folder / name, mode=mode)
    for name in (
        "newt/notes.txt",
        "cat/.DS_Store",
        "README.md",
        "cat/png",
        "newt/wild/picture.png.bak",
    ):
        (folder / name).write_text("no image")
    (folder / "newt" / "empty").mkdir()
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, as it happens."""
    names, read = [], image_files.read_picture

    def noted(file, pixels, **settings):
        names.append(os.path.basename(file))
        return read(file, pixels, **settings)

    monkeypatch.setattr(image_files, "read_picture", noted)
    return names


# ---- the same as ImageFolder ---------------------------------------------------------------------


def test_ids_labels_paths_and_class_names_are_image_folders(mixed):
    theirs, listing = ImageFolder(mixed), list_folder(mixed)
    assert [
        (str(mixed / path), label) for path, label in zip(listing.paths, listing.labels)
    ] == theirs.samples
    assert listing.class_names == theirs.classes == ["Zebra", "cat", "newt"]
    assert (
        os.path.join("newt", "wild", "deep", "a.JPG") in listing.paths and len(listing.paths) == 9
    )
    labels, paths = labels_of(mixed)
    assert labels.tolist() == theirs.targets and paths == listing.paths


def test_pixels_are_image_folders_whatever_the_format(mixed):
    theirs, images = ImageFolder(mixed), load(mixed, device="cpu")
    assert images.images.shape == (9, 3, 8, 8)
    for (picture, label), pixels, ours in zip(
        theirs, images.images.permute(0, 2, 3, 1), images.labels
    ):
        assert np.array_equal(np.asarray(picture), pixels) and label == ours


def test_a_loaded_folder_says_what_it_is_called_and_where_each_image_lies(mixed):
    images = dpkit.load(f"{mixed}/", device="cpu")
    assert (images.name, images.class_names, images.shift, images.mirror) == (
        "photos",
        ["Zebra", "cat", "newt"],
        1,
        False,
    )
    assert images.paths == list_folder(mixed).paths
    assert images.subset([0, 3, 8]).paths == [images.paths[0], images.paths[3], images.paths[8]]


def test_links_to_folders_are_followed_as_image_folder_does(tmp_path):
    write_folder(tmp_path / "elsewhere", cat=2)
    write_folder(tmp_path / "photos", dog=1, newt=2)
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "photos" / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    listing, theirs = list_folder(tmp_path / "photos"), ImageFolder(tmp_path / "photos")
    assert [str(tmp_path / "photos" / path) for path in listing.paths] == [
        path for path, _ in theirs.samples
    ]
    assert np.bincount(listing.labels).tolist() == [2, 3, 2]


# ---- size ----------------------------------------------------------------------------------------


def test_mixed_sizes_are_squeezed_to_the_size_asked_for(tmp_path):
    for name, size in {
        "cat/a.png": (9, 30),
        "cat/b.jpg": (64, 40),
        "dog/c.png": (12, 12),
        "dog/d.png": (5, 7),
    }.items():
        write_image(tmp_path / "photos" / name, *size)
    pixels = read_pixels(list_folder(tmp_path / "photos"), size=12)
    assert pixels.shape == (4, 12, 12, 3) and pixels.dtype == np.uint8
    # it has that size already
    assert np.array_equal(pixels[2], np.asarray(Image.open(tmp_path / "photos" / "dog" / "c.png")))


def test_resizing_keeps_left_left_and_bright_bright(tmp_path):
    half = np.zeros((40, 40, 3), np.uint8)
    half[:, 20:] = 200  # dark left, bright right
    for name in ("a/x.png", "a/y.jpg", "b/z.png", "b/w.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(half).save(tmp_path / name)
    pixels = load(tmp_path, size=8, device="cpu").images.float()
    assert pixels[..., :3].max() < 10 and (pixels[..., 5:] - 200).abs().max() < 10


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "8"])
def test_a_size_that_is_no_number_of_pixels_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="size must be a whole number of pixels, at least 1; got"):
        load(write_folder(tmp_path / "photos", cat=2, dog=2), size=size)


# ---- decoded once --------------------------------------------------------------------------------


def test_a_second_load_decodes_nothing_and_gives_the_same(mixed, decoded):
    first = load(mixed, device="cpu")
    assert len(decoded) == 9
    decoded.clear()
    again = load(mixed, device="cpu")
    assert (
        decoded == []
        and torch.equal(again.images, first.images)
        and again.fingerprint == first.fingerprint
    )


def test_another_size_is_decoded_and_both_are_kept(mixed, decoded):
    for size in (None, 16, None, 16):
        load(mixed, size=size, device="cpu")
    assert len(decoded) == 18


def test_a_file_that_changed_is_noticed(tmp_path, decoded):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    before = load(folder, device="cpu")
    decoded.clear()
    write_image(folder / "dog" / "1.png", seed=9)
    os.utime(folder / "dog" / "1.png", (1, 1))  # surely another time, however coarse the clock
    after = load(folder, device="cpu")
    assert "1.png" in decoded and torch.equal(before.images[:3], after.images[:3])
    assert (
        not torch.equal(before.images[3], after.images[3])
        and before.fingerprint != after.fingerprint
    )


def test_a_file_that_came_moves_later_ids_as_in_image_folder(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    load(folder, device="cpu")
    write_image(folder / "cat" / "0a.png")
    images = load(folder, device="cpu")
    assert [path for path, _ in ImageFolder(folder).samples] == [
        str(folder / path) for path in images.paths
    ]
    assert np.array_equal(
        images.images[1].permute(1, 2, 0), np.asarray(Image.open(folder / "cat" / "0a.png"))
    )


def test_a_load_that_breaks_off_leaves_nothing_that_would_be_taken_for_whole(tmp_path, decoded):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(folder, device="cpu", on_progress=stop)
    assert not list(tmp_path.glob("cache/images-*"))
    decoded.clear()
    assert len(load(folder, device="cpu")) == len(decoded) == 4


def test_a_load_that_was_stopped_decodes_only_what_it_had_not_saved(tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(image_files, "PART", 3)
    monkeypatch.setattr(image_files, "SAVED_AFTER", 0)
    folder = write_folder(tmp_path / "photos", cat=5, dog=5)
    read = image_files.read_picture

    def stop(file, pixels, **settings):
        if file == str(folder / "dog" / "2.png"):  # row 7, in the third part
            raise KeyboardInterrupt
        return read(file, pixels, **settings)

    with monkeypatch.context() as killed:
        killed.setattr(image_files, "read_picture", stop)
        with pytest.raises(KeyboardInterrupt):
            load(folder, device="cpu")
    decoded.clear()
    images = load(folder, device="cpu")
    assert sorted(decoded) == ["1.png", "2.png", "3.png", "4.png"]  # rows 6 to 9
    for row, path in enumerate(images.paths):
        assert np.array_equal(
            images.images[row].permute(1, 2, 0), np.asarray(Image.open(folder / path))
        )
    assert len(list(tmp_path.glob("cache/images-*"))) == 1  # the parts are gone


def flip_a_byte(file):
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def put_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


DAMAGES = [
    lambda place: flip_a_byte(place / "pixels.npy"),
    lambda place: (place / "manifest.json").write_text(""),
    lambda place: (place / "pixels.npy").unlink(),
    put_a_file,
]


@pytest.mark.parametrize("harm", DAMAGES)
def test_decoded_pixels_that_are_damaged_are_set_aside_and_decoded_again(tmp_path, decoded, harm):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    before = load(folder, device="cpu").images.clone()
    decoded.clear()
    [place] = (tmp_path / "cache").glob("images-*")
    harm(place)
    with pytest.warns(dpkit.storage.SetAside, match=place.name):
        assert torch.equal(load(folder, device="cpu").images, before) and len(decoded) == 4


@pytest.mark.parametrize("harm", [*DAMAGES, lambda place: put_a_file(place.parent)])
def test_a_part_that_is_damaged_is_decoded_again(tmp_path, decoded, monkeypatch, harm):
    monkeypatch.setattr(image_files, "PART", 2)
    monkeypatch.setattr(image_files, "SAVED_AFTER", 0)
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    save = image_files.storage.save_arrays

    def stop(place, **more):
        if "partial" not in str(place):  # all is decoded, and about to be put together
            raise KeyboardInterrupt
        return save(place, **more)

    with monkeypatch.context() as killed:
        killed.setattr(image_files.storage, "save_arrays", stop)
        with pytest.raises(KeyboardInterrupt):
            load(folder, device="cpu")
    decoded.clear()
    [part] = (tmp_path / "cache").glob("images-*-partial/part-*")
    harm(part)
    with pytest.warns(dpkit.storage.SetAside, match="-partial"):
        images = load(folder, device="cpu")
    assert len(decoded) == 4
    for row, path in enumerate(images.paths):
        assert np.array_equal(
            images.images[row].permute(1, 2, 0), np.asarray(Image.open(folder / path))
        )


def test_a_folder_that_was_moved_is_not_decoded_again(tmp_path, decoded):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    load(folder, device="cpu")
    load(folder.rename(tmp_path / "elsewhere"), device="cpu")
    assert len(decoded) == 4


def test_the_pixels_of_a_folder_as_it_was_before_are_removed(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    load(folder, device="cpu")
    load(folder, size=4, device="cpu")
    write_image(folder / "cat" / "more.png")
    load(folder, device="cpu")
    kept = [
        dpkit.store.load_arrays(path, kind="Images", schema=1)[0]["pixels"].shape
        for path in (tmp_path / "cache").glob("images-*")
    ]
    assert sorted(kept) == [(4, 4, 4, 3), (5, 8, 8, 3)]  # the other size is another set


def test_pixels_that_were_set_aside_are_kept_for_a_look(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    load(folder, device="cpu")
    [kept] = tmp_path.glob("cache/images-*")
    flip_a_byte(kept / "pixels.npy")
    for name in ("more", "and_more"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", storage.SetAside)
            load(folder, device="cpu")
        write_image(folder / "cat" / f"{name}.png")
    assert len(list(tmp_path.glob("cache/images-*-damaged-*"))) == 1


def test_two_that_load_one_folder_at_once_decode_it_once(tmp_path, decoded):
    folder, begin = write_folder(tmp_path / "photos", cat=2, dog=2), threading.Barrier(3)

    def load_it(_):
        begin.wait()
        return load(folder, device="cpu").images

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(load_it, range(3))
    assert len(decoded) == 4 and all(torch.equal(first, images) for images in others)


def test_a_set_in_the_data_folder_comes_before_a_folder_of_its_name_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", cat=2, dog=2)
    assert len(load("mine", device="cpu")) == 4
    (tmp_path / "data").mkdir()
    np.savez(
        tmp_path / "data" / "mine.npz", images=np.zeros((3, 8, 8), np.uint8), labels=np.arange(3)
    )
    assert len(load("mine", device="cpu")) == 3 and len(load("./mine", device="cpu")) == 4


def test_damaged_pixels_in_the_cache_are_not_used_but_decoded_again(tmp_path, decoded):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    before = load(folder, device="cpu")
    [file] = (tmp_path / "cache").glob("images-*/pixels.npy")
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(load(folder, device="cpu").images, before.images) and len(decoded) == 8
    assert torch.equal(load(folder, device="cpu").images, before.images) and len(decoded) == 8


def test_progress_counts_up_to_all_images(tmp_path):
    seen = []
    load(
        write_folder(tmp_path / "photos", cat=200, dog=100),
        device="cpu",
        on_progress=lambda *counts: seen.append(counts),
    )
    assert seen == [*((done, 300) for done in range(16, 300, 16)), (300, 300)]


# ---- refused -------------------------------------------------------------------------------------


def rewrite(file, change):
    file.write_bytes(change(file.read_bytes()))


def sixteen_bits(file):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(file)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda f: rewrite(f / "cat" / "1.png", lambda whole: b"no image"),
            r"1 of 6 images cannot be read: \S*cat/1\.png \(cannot be identified as an image\) \("
            r"all are listed in \S*broken\.txt\): replace or remove them, or leave them out with",
        ),
        (
            lambda f: rewrite(f / "cat" / "1.png", lambda whole: whole[:90]),
            r"1 of 6 images cannot be read: \S*cat/1\.png \(.*truncated",
        ),
        (
            lambda f: rewrite(f / "cat" / "0.png", lambda whole: b""),
            r"1 of 6 images cannot be read: \S*cat/0\.png",
        ),
        (
            lambda f: [
                rewrite(file, lambda whole: b"x")
                for file in (*f.glob("cat/*"), *f.glob("dog/[12]*"))
            ],
            r"5 of 6 .*cat/0\.png .*cat/1\.png .*cat/2\.png \([^;]*\) and 2 more \(all are",
        ),
        (
            lambda f: [rewrite(file, lambda whole: b"x") for file in f.glob("*/*")],
            r"6 of 6 images cannot be read",
        ),
        (
            lambda f: sixteen_bits(f / "dog" / "2.png"),
            r"dog/2\.png \(has more than 8 bits a pixel, mode I;16: convert it to 8\)",
        ),
        (
            lambda f: write_image(f / "dog" / "1.png", 9, 12),
            r"cat/0\.png is 8x8 and \S*dog/1\.png is 9x12 \(2 sizes in all\): .*size=64 \(--size "
            r"64\)",
        ),
        (
            lambda f: (f / "cat").rename(f / "dog" / "cat"),
            r"at least two classes to tell apart; it holds one, 'dog'",
        ),
        (
            lambda f: (f / "ant").mkdir(),
            r"the class folder \S*photos/ant holds no image: remove it",
        ),
        (
            lambda f: [file.unlink() for file in f.glob("*/*")],
            r"photos holds no image: its 2 class folders have no file that ends in \.jpg",
        ),
        (
            lambda f: (
                [file.rename(f / f"{file.parent.name}{file.name}") for file in f.glob("*/*")]
                + [(f / name).rmdir() for name in ("cat", "dog")]
            ),
            r"holds no folder, but 6 images directly: sort them into folders",
        ),
        (
            lambda f: (
                [file.unlink() for file in f.glob("*/*")]
                + [(f / name).rmdir() for name in ("cat", "dog")]
            ),
            "photos must hold one folder of images per class; it holds no folder and no image",
        ),
        (
            lambda f: [(f / "cat").rename(f / "Train"), (f / "dog").rename(f / "test")],
            r"photos holds the splits Train, test, not classes: sort the images of a split into "
            r"one folder per class, and give that",
        ),
        (
            lambda f: (f / "cat" / "0.png").rename(f / "cat" / "a\tb.png"),
            r"free of line breaks and tabs.*got 'cat/a\\tb\.png': rename",
        ),
        (
            lambda f: (f / "dog").rename(f / "d\nog"),
            r"free of line breaks and tabs.*got 'd\\nog/0\.png': rename it",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_why(tmp_path, spoil, message):
    folder = write_folder(tmp_path / "photos", cat=3, dog=3)
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        load(folder, device="cpu")
    assert not list(tmp_path.glob("cache/images-*-partial"))


def test_broken_and_sixteen_bit_files_are_found_when_resizing_too(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=3, dog=3)
    rewrite(folder / "cat" / "1.png", lambda whole: whole[:90])
    sixteen_bits(folder / "dog" / "0.png")
    with pytest.raises(
        ValueError,
        match=r"2 of 6 images cannot be read: \S*cat/1\.png .*; \S*dog/0\.png \(has more than 8 ",
    ):
        load(folder, size=4, device="cpu")


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "photos/none",
            (
                "there is no folder .*photos/none: name a folder of class folders, an .npz, or one "
                "of digits"
            ),
        ),
        ("photos/cat/0.png", "there is no folder .*0.png: name a folder"),
        ("none.npz", "there is no file .*none.npz"),
    ],
)
def test_a_path_where_nothing_lies_is_named(tmp_path, name, message):
    write_folder(tmp_path / "photos", cat=2, dog=2)
    with pytest.raises(ValueError, match=message):
        load(f"{tmp_path}/{name}", device="cpu")
    with pytest.raises(ValueError, match=message):
        labels_of(f"{tmp_path}/{name}")


def test_list_folder_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        ValueError,
        match="expected a folder with one folder of images per class; there is no folder .*none",
    ):
        list_folder(tmp_path / "none")


def test_more_pixels_than_memory_are_refused_before_any_is_decoded(tmp_path, decoded):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    with pytest.raises(
        ValueError, match="4 images of 1000000x1000000 pixels .* GiB.*choose a smaller size"
    ):
        load(folder, size=1_000_000, device="cpu")
    assert decoded == []


@pytest.mark.parametrize(
    "asked, message",
    [
        (
            {"split": "test"},
            r'photos holds no splits, so it is read as split="train"; got \'test\': load the '
            r"folder of the other split .*, load\(path, like=train\)",
        ),
        ({"labels": "worst"}, r'a folder of images has the labels "given".*got \'worst\''),
    ],
)
def test_a_folder_is_one_split_with_the_labels_of_its_folders(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        load(write_folder(tmp_path / "photos", cat=2, dog=2), device="cpu", **asked)


# ---- uneven classes ------------------------------------------------------------------------------


def test_a_class_with_one_image_is_warned_of_by_name(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=3, dog=1, newt=1, owl=2)
    with pytest.warns(
        UserWarning,
        match=r"2 of 4 classes have a single image \(dog, newt\): pruning it would leave the class",
    ):
        assert len(load(folder, device="cpu")) == 7


def test_an_uneven_set_is_loaded_without_a_warning_and_trains(tmp_path, steps_taken):
    folder = write_folder(tmp_path / "photos", cat=21, dog=2, newt=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = load(folder, device="cpu")
    assert torch.bincount(images.labels).tolist() == [21, 2, 4]
    net = make_net("small_cnn", images, seed=0)
    [report] = islice(train(net, images, Recipe(epochs=2, batch_size=10), seed=0), 1)
    assert steps_taken() == 3 and np.isfinite(report.loss) and report.target_prob.shape == (27,)


def test_names_that_are_no_utf_8_are_read(tmp_path):
    folder = write_folder(tmp_path / "photos", cat=2, dog=2)
    try:
        os.rename(folder / "cat" / "0.png", os.fsencode(folder / "cat") + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    images = load(folder, device="cpu")
    assert len(images) == 4 and os.fsencode(images.paths[1]) == b"cat/\xff.png"
