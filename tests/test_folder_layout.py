"""Folders that are not what they seem: splits, sites, copies, hidden folders and links are read
rightly or refused.
"""

import os
import re
import warnings

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import dpkit
from dpkit.cli import main
from dpkit.data.class_folders import list_folder
from dpkit.data.image_set import labels_of, load
from dpkit.experiments.pruning import prune


def write_tree(folder, *places, n=2):
    """n small pictures in each place; "train/{cats,dogs}" stands for two places."""
    for place in places:
        top, _, inner = place.partition("{")
        for name in inner.rstrip("}").split(","):
            where = folder / (top + name)
            where.mkdir(parents=True, exist_ok=True)
            for k in range(n):
                Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(where / f"{k}.png")
    return folder


def refusal(folder):
    with pytest.raises(ValueError) as refused:
        load(folder, device="cpu")
    said = str(refused.value)
    assert "\n" not in said
    return said


SPLITS = [
    (["train/{cats,dogs}", "extra/{cats,dogs}"], "train"),
    (["train/{cats,dogs}", "extra"], "train"),
    (["train", "extra"], None),
    (["trainA", "trainB", "testA", "testB"], None),
    (["training", "evaluation"], None),
    (["train/{a,b}", "unlabeled"], "train"),
    (["TRAIN/{a,b}", "2_Test (new)/{a,b}"], "TRAIN"),
    (["train/{a,b}", "test/{a,b}", "more/{a,b}"], "train"),
    (["train/{a,b}", "val/{a,b}", "old/train/{a,b}", "old/val/{a,b}"], "train"),
    (["train/{a,b}", "more"], "train"),
    (["test/{a,b}", "val/{a,b}"], "test"),
    (["train/good", "test/{good,broken}", "ground_truth/broken"], "test"),
    (["images/train", "images/val"], None),
    (["train/2021/{a,b}", "train/2022/{a,b}", "test/{a,b}"], "test"),
]


@pytest.mark.parametrize("places, given", SPLITS)
def test_splits_among_which_one_cannot_tell_are_refused_with_the_one_to_give(
    tmp_path, places, given
):
    folder = write_tree(tmp_path / "set", *places)
    said = refusal(folder)
    assert re.search(
        r"set\S* holds the splits [\w, ()-]+( and beside them \w+)?, not classes: ", said
    )
    if given is None:
        assert "sort the images of a split into one folder per class" in said
    else:
        assert f"give one of them, {folder / given}" in said
        assert len(load(folder / given, device="cpu").class_names) == 2  # the path given works


GROUPS = [
    (["2021/{cats,dogs}", "2022/{cats,dogs}"], "2021"),
    (["berlin/{cats,dogs}", "paris/{cats,dogs}"], "berlin"),
    (["berlin/{cats}", "paris/{cats,dogs}"], "paris"),
    (["fold1/{0,1,2}", "fold2/{0,1,2}"], "fold1"),
    (["2021-05-01/camera/{cats,dogs}", "2021-05-02/phone/{cats,dogs}"], "2021-05-01/camera"),
    (["north/{a,b}", "south/{a,c}", "west/{b,c}"], "north"),
    (["2021/{0,1}", "2022/{0,1}"], "2021"),
    (["site1/{cats,dogs}", "site2/{cats,dogs}", "loose"], "site1"),
    (["entrenamiento/{a,b}", "prueba/{a,b}"], "entrenamiento"),
]


@pytest.mark.parametrize("places, given", GROUPS)
def test_years_and_sites_are_not_classes_where_each_holds_the_same_folders(tmp_path, places, given):
    folder = write_tree(tmp_path / "set", *places)
    said = refusal(folder)
    assert "hold folders of the same names" in said and "so those seem to be the classes" in said
    assert (
        f"give one of them, {folder / given}, or put the images of all into one folder for each"
        in said
    )
    assert len(load(folder / given, device="cpu").class_names) >= 2


@pytest.mark.parametrize("beside", ["fold2/train/{cats,dogs}", "plots"])
def test_a_set_of_splits_beside_others_is_refused_with_the_one_to_give(tmp_path, beside):
    splits = ["fold1/train/{cats,dogs}", "fold1/val/{cats,dogs}"]
    folder = write_tree(tmp_path / "set", *splits, beside, beside.replace("train", "val"))
    said = refusal(folder)
    assert f"splits (train, val), and one set is read at a time: give one of them, {folder}" in said
    assert len(load(folder / "fold1", device="cpu")) == 4
    assert load(folder, classes=[name.name for name in folder.iterdir()], device="cpu")


@pytest.mark.parametrize(
    "places, given",
    [
        (["set/{cats,dogs}"], "set"),
        (["train/{cats,dogs}"], "train"),
        (["a/b/c/{cats,dogs}"], "a/b/c"),
        (["data/train/{cats,dogs}", "data/test/{cats,dogs}"], "data"),
        (["all/{x,y,z}", "empty"], "all"),
    ],
)
def test_classes_that_lie_deeper_are_found_and_the_path_is_told(tmp_path, places, given):
    folder = write_tree(tmp_path / "set", *places)
    for file in folder.glob("empty/*"):
        file.unlink()
    assert f", {folder / given}" in (said := refusal(folder)) or f"give {folder / given}" in said
    assert "classes=" not in said
    assert len(load(folder / given, device="cpu").class_names) >= 2


@pytest.mark.parametrize(
    "places, copy, classes",
    [
        (["cats", "dogs", "set/{cats,dogs}"], "set", ["cats", "dogs"]),
        (["cats", "dogs", "new/{cats}"], "new", ["cats", "dogs"]),
        (["cats", "dogs", "backup/old/{cats,dogs}"], "backup/old", ["cats", "dogs"]),
        (["cats", "dogs", "cats/set/{cats,dogs}"], "cats/set", ["cats", "dogs"]),
    ],
)
def test_a_copy_of_the_set_inside_it_is_no_class(tmp_path, places, copy, classes):
    folder = write_tree(tmp_path / "set", *places)
    said = refusal(folder)
    assert (
        f"{folder / copy} holds folders of the same names as {folder}" in said
        and "move it elsewhere" in said
    )
    assert "classes=['cats', 'dogs'] (--classes cats dogs)" in said
    assert load(folder, classes=classes, device="cpu").class_names == classes


SANE = [
    ["car", "train", "bus"],
    ["car/{fiat,vw}", "train/{steam,diesel}", "bus/{x,y}"],
    ["cats/{tom,felix}", "dogs/{rex,fido}"],
    ["ill/{s1,s2}", "well/{s1,s2}"],
    ["ill/{2021,2022}", "well/{2021,2022}"],
    ["n01/{images}", "n02/{images}"],
    ["cats/{misc,persian}", "dogs/{misc,poodle}"],
    ["cats/{cats}", "dogs/{dogs}"],
    ["test", "control"],
    ["sample", "demo"],
    ["0/{w1,w2}", "1/{w1,w2}"],
    ["cats", "cats/{left,right}", "dogs", "dogs/{left,right}"],
    ["dev", "prod"],
    ["a/b/c/d", "e"],
    ["2021", "2022"],
    ["train", "trains", "trainer"],
    ["pos", "neg", "test"],
]


@pytest.mark.parametrize("places", SANE)
def test_a_sane_set_is_read_as_image_folder_reads_it(tmp_path, places):
    folder = write_tree(tmp_path / "set", *places)
    listing, theirs = list_folder(folder), ImageFolder(folder)
    assert [
        (str(folder / path), label) for path, label in zip(listing.paths, listing.labels)
    ] == theirs.samples
    assert listing.class_names == theirs.classes and listing.notes == ()


@pytest.mark.parametrize("inside", ["{train,test}", "{train/x,test/x,test/y,masks}"])
def test_splits_within_the_classes_are_read_as_one_set_and_told(tmp_path, inside):
    assert list_folder(write_tree(tmp_path / "one", "cats/{train,val}", "dogs")).notes
    folder = write_tree(tmp_path / "set", f"cats/{inside}", f"dogs/{inside}")
    listing = list_folder(folder)
    assert listing.class_names == ["cats", "dogs"] and len(listing.paths) == 4 * (
        1 + inside.count(",")
    )
    assert listing.notes == (
        "the class folders hold the splits test, train, which are read as one set",
    )


# ---- classes= ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "places, classes",
    [
        (["train", "extra"], ["extra", "train"]),
        (["happy/{anna,ben}", "sad/{anna,ben}"], ["happy", "sad"]),
    ],
)
def test_folders_that_are_the_classes_all_the_same_are_named(tmp_path, places, classes, capsys):
    folder = write_tree(tmp_path / "set", *places)
    assert f"classes={classes} (--classes {' '.join(classes)})" in refusal(folder)
    assert load(folder, classes=classes, device="cpu").class_names == classes
    command = [
        "prune",
        str(folder),
        "--ratio",
        "0.5",
        "--method",
        "random",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 2 and main([*command, "--classes", *classes]) == 0


def test_only_the_named_classes_are_read_and_the_others_are_told(tmp_path):
    folder = write_tree(tmp_path / "set", "cats", "dogs", "junk/{x,y}")
    listing = list_folder(folder, classes=["dogs", "cats"])
    assert listing.class_names == ["cats", "dogs"] and len(listing.paths) == 4
    assert "left out: 1 folders that are not named as classes (junk)" in listing.notes
    assert any("ids are not those of torchvision's ImageFolder" in note for note in listing.notes)


@pytest.mark.parametrize(
    "classes, message",
    [
        (["cats", "cows"], "classes names cows, and .*set has no such folder; it has cats, dogs"),
        ("cats", r'classes must be a list of names, such as \["cats", "dogs"\]; got \'cats\''),
        ([1, 2], "classes must be a list"),
        (["cats"], "at least two classes"),
        ([], "must hold one folder of images per class"),
    ],
)
def test_classes_that_are_not_there_are_refused(tmp_path, classes, message):
    with pytest.raises(ValueError, match=message):
        load(write_tree(tmp_path / "set", "cats", "dogs"), classes=classes, device="cpu")


def test_classes_are_of_folders_only():
    with pytest.raises(
        ValueError,
        match="classes names the class folders of a folder of images, and digits is none",
    ):
        load("digits", classes=["1", "2"], device="cpu")


# ---- what is left out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hidden",
    [
        ".thumbnails",
        ".ipynb_checkpoints",
        "__MACOSX",
        "@eaDir",
        ".git/objects",
        "cats/.thumbnails",
        "dogs/deep/__MACOSX",
    ],
)
def test_hidden_folders_are_left_out_and_told(tmp_path, hidden):
    folder = write_tree(tmp_path / "set", "cats", "dogs", hidden)
    listing = list_folder(folder)
    assert listing.class_names == ["cats", "dogs"] and len(listing.paths) == 4
    assert (
        "left out: 1 hidden files and folders, or a system's own "
        f"({hidden.removesuffix('/objects')})" in listing.notes
    )
    assert any("ids are not those of torchvision's ImageFolder" in note for note in listing.notes)


def test_a_hidden_folder_without_images_changes_no_id(tmp_path):
    folder = write_tree(tmp_path / "set", "cats", "dogs")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    assert list_folder(folder).notes == (
        "left out: 1 hidden files and folders, or a system's own (.git)",
    )


def test_hidden_files_and_files_that_are_no_images_are_left_out_and_told(tmp_path):
    folder = write_tree(tmp_path / "set", "cats", "dogs")
    (folder / "cats" / "._0.png").write_bytes(b"a mac's")
    (folder / "cats" / "notes.txt").write_text("")
    (folder / "labels.csv").write_text("")
    Image.new("RGB", (8, 8)).save(folder / "cover.png")
    listing = list_folder(folder)
    assert len(listing.paths) == 4
    assert listing.notes[:3] == (
        "left out: 1 images outside the class folders (cover.png)",
        "left out: 1 hidden files and folders, or a system's own (cats/._0.png)",
        "left out: 2 files that are no images (cats/notes.txt, labels.csv)",
    )


@pytest.mark.parametrize(
    "link, target",
    [
        ("felines", "cats"),
        ("cats/loop", "."),
        ("cats/loop", "cats"),
        ("dogs/more", "cats"),
        ("dogs/up", ".."),
        ("all", "."),
        ("dogs/deep/up", "dogs"),
        ("dogs/deep/root", "../.."),
        ("cats/a.png", "dogs/1.png"),
    ],
)
def test_links_back_into_the_set_are_left_out_and_told(tmp_path, link, target):
    folder = write_tree(tmp_path / "set", "cats", "dogs", "dogs/deep")
    (folder / link).symlink_to(folder / target)
    listing = list_folder(folder)
    assert listing.class_names == ["cats", "dogs"] and np.bincount(listing.labels).tolist() == [
        2,
        4,
    ]
    assert f"left out: 1 links to what is in the set already ({link})" in listing.notes


def test_a_loop_of_links_outside_the_set_ends(tmp_path):
    write_tree(tmp_path / "store", "tabby/{x,y}")
    (tmp_path / "store" / "tabby" / "again").symlink_to(tmp_path / "store")
    folder = write_tree(tmp_path / "set", "dogs")
    (folder / "cats").symlink_to(tmp_path / "store" / "tabby")
    listing = list_folder(folder)
    assert np.bincount(listing.labels).tolist() == [4, 2] and "(cats/again)" in listing.notes[0]


def test_links_into_a_hidden_store_are_followed_as_that_is_read_nowhere_else(tmp_path):
    folder = write_tree(tmp_path / "set", ".store/{cats,d}", "dogs")
    (folder / "cats").symlink_to(folder / ".store" / "cats")
    (folder / "dogs" / "2.png").symlink_to(folder / ".store" / "d" / "0.png")
    assert np.bincount(list_folder(folder).labels).tolist() == [2, 3]


def test_a_set_that_is_itself_a_link_is_read(tmp_path):
    (tmp_path / "link").symlink_to(write_tree(tmp_path / "set", "cats", "dogs"))
    assert (
        list_folder(tmp_path / "link").notes == ()
        and len(list_folder(tmp_path / "link").paths) == 4
    )


def test_a_link_to_an_image_that_is_gone_is_named(tmp_path):
    folder = write_tree(tmp_path / "set", "cats", "dogs")
    (folder / "dogs" / ".9.png").symlink_to(tmp_path / "gone.png")
    assert len(list_folder(folder).paths) == 4  # hidden, so nobody misses it
    (folder / "dogs" / "9.png").symlink_to(folder / "cats" / "gone.png")
    assert (
        "9.png is a link to a file that is not there: bring the file back, or remove the link"
        in refusal(folder)
    )


# ---- always said ---------------------------------------------------------------------------------


def test_a_folder_is_said_once_and_every_time_only_on_request(tmp_path, capsys):
    folder = write_tree(tmp_path / "mine", "cats", "dogs", "dogs/more")
    (folder / "notes.txt").write_text("")
    for _ in range(2):
        images = load(folder, device="cpu")
    said = [
        "mine: 6 images of 8x8 pixels, 3 channels, 2 classes: cats 2, dogs 4",
        "  left out: 1 files that are no images (notes.txt)",
    ]
    assert (
        capsys.readouterr().out.splitlines()
        == said
        == images.describe().splitlines()
        == str(images).splitlines()
    )
    load(folder, device="cpu", say=None)
    assert capsys.readouterr().out == ""
    lines = []
    for _ in range(2):
        load(folder, device="cpu", say=lines.append)
    assert lines == ["\n".join(said)] * 2 and capsys.readouterr().out == ""


def test_a_named_set_is_silent_unless_asked(capsys):
    load("digits", device="cpu")
    assert capsys.readouterr().out == ""
    load("digits", device="cpu", say=print)
    assert capsys.readouterr().out.startswith(
        "digits: 1,297 images of 8x8 pixels, 1 channel, 10 classes: 0 128, 1 131"
    )


def test_many_classes_are_told_shortly(tmp_path):
    folder = write_tree(tmp_path / "set", "c00/{x}", *(f"c{k:02d}" for k in range(1, 40)))
    Image.new("RGB", (8, 8)).save(folder / "c39" / "2.png")
    said = load(folder, device="cpu", say=None).describe()
    assert (
        said.endswith("40 classes of 2 to 3 images: c00 2, c01 2, c02 2, c03 2, c04 2, ..., c39 3")
        and len(said) < 140
    )
    assert (
        "of 2 images each"
        in load(folder, device="cpu", say=None, classes=[f"c{k:02d}" for k in range(20)]).describe()
    )


def test_a_subset_says_of_how_many(tmp_path):
    images = load(write_tree(tmp_path / "set", "cats", "dogs"), device="cpu", say=None)
    assert images.subset([0, 1, 3]).describe().startswith("set: 3 of 4 images of 8x8 pixels")


@pytest.mark.parametrize(
    "method, more", [("random", {}), ("dual", {"epochs": 2, "options": {"window": 2}})]
)
def test_prune_says_the_set_before_it_does_anything_else(tmp_path, method, more):
    folder = write_tree(tmp_path / "set", "cats", "dogs", ".thumbnails", n=6)
    lines = []
    prune(
        folder,
        tmp_path / "out",
        method=method,
        prune_ratio=0.5,
        device="cpu",
        say=lines.append,
        **more,
    )
    first = next(line for line in lines if line.startswith("set: "))
    assert re.match(
        r"set: 12 images.*2 classes: cats 6, dogs 6\n  left out: 1 hidden .*\(\.thumbnails\)\n  "
        r"so ids are",
        first,
    )
    assert all(line.startswith("read ") for line in lines[: lines.index(first)])


def test_the_command_says_the_set_and_a_kept_list_goes_by_its_paths(tmp_path, capsys):
    folder = write_tree(tmp_path / "set", ".trash", "cats", "dogs", n=5)
    assert (
        main(
            [
                "prune",
                str(folder),
                "--ratio",
                "0.4",
                "--method",
                "random",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert "set: 10 images, 2 classes: cats 5, dogs 5" in capsys.readouterr().err
    kept = dpkit.Selection.load(tmp_path / "out" / "selection").kept
    labels, paths = labels_of(folder)
    lines = (tmp_path / "out" / "kept.txt").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines] == [paths[i] for i in kept]
    assert labels.tolist() == [0] * 5 + [1] * 5


def test_no_warning_and_no_image_opened_to_judge_a_folder(tmp_path):
    folder = write_tree(tmp_path / "set", "cats", "dogs")
    for file in folder.glob("*/*.png"):
        os.truncate(file, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list_folder(folder).paths) == 4
