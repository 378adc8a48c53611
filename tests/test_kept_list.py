"""kept.txt and its files in another reader's list: whatever names hold, the same images are meant,
or none.
"""

import os
import re
import subprocess
import sys
import types
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

import dpkit
from dpkit.records.kept_list import find_kept, read_kept, write_kept

ROOT = Path(__file__).parents[1]
ODD = [
    "wolf/a b.jpg",
    "wolf/ lead.jpg",
    "wolf/trail .jpg ",
    'wolf/"quoted".jpg',
    "wolf/it's.jpg",
    "wolf/#1.jpg",
    "wolf/a,b.jpg",
    "wolf/a;b.jpg",
    "wolf/a\\b.jpg",
    "wolf/%41.jpg",
    "wolf/$HOME.jpg",
    "wolf/\u00e9.jpg",
    "wolf/e\u0301.jpg",
    "wolf/\u3000.jpg",
    "wolf/\x7f.jpg",
    "wolf/" + os.fsdecode(b"caf\xe9\x85.jpg"),
    "wolf spider/a b.jpg",
    "wolf/\ufeffbom.jpg",
]


def written(folder, kept, paths):
    with open(folder / "kept.txt", "wb") as file:
        write_kept(file, kept, paths)
    return folder


def as_hugging_face(paths):
    """In the order of datasets' imagefolder (5.2, looked at once): whole paths sorted, so "wolf
    spider/" is before "wolf/".
    """
    return [{"bytes": None, "path": path} for path in sorted(paths)]


# ---- the file ------------------------------------------------------------------------------------


def test_ordinary_names_are_a_line_each_with_a_tab(tmp_path):
    written(tmp_path, np.array([0, 2]), ["a/1.png", "a/2.png", "b/1.png"])
    assert (tmp_path / "kept.txt").read_bytes() == b"0\ta/1.png\n2\tb/1.png\n"


def test_every_name_that_is_not_refused_comes_back_as_it_was(tmp_path):
    kept = np.arange(1, len(ODD))
    ids, paths = read_kept(written(tmp_path, kept, ODD))
    assert ids.tolist() == kept.tolist() and ids.dtype == np.int64 and paths == ODD[1:]
    assert read_kept(tmp_path / "kept.txt")[1] == paths
    lines = (
        (tmp_path / "kept.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    )
    # nor is a reader lost that takes any line break for one
    assert [line.split("\t")[1] for line in lines] == paths


@pytest.mark.skipif(sys.platform == "win32", reason="shells of Unix")
def test_the_ways_of_a_shell_that_the_readme_names_read_every_name(tmp_path):
    written(tmp_path, np.arange(len(ODD)), ODD)
    wanted = b"".join(os.fsencode(path) + b"\n" for path in ODD)
    for script in (
        "cut -f2 kept.txt",
        r"""while IFS=$'\t' read -r id path; do printf '%s\n' "$path"; done < kept.txt""",
    ):
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert done.stdout == wanted, script


@pytest.mark.parametrize(
    "letter", ["\t", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\x00"]
)
def test_a_name_that_is_not_one_line_is_refused_by_name(tmp_path, letter):
    with pytest.raises(ValueError, match=r"free of line breaks and tabs.*rename it") as told:
        written(tmp_path, np.array([0]), ["wolf/a.jpg", f"wolf/a{letter}b.jpg"])
    assert repr(f"wolf/a{letter}b.jpg") in str(told.value)
    # the oracle: nothing else splits a line
    assert all(len(f"x{odd}y".splitlines()) == 1 for odd in "".join(ODD))


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\r"])
def test_a_folder_with_such_a_name_is_refused_before_anything_is_trained(tmp_path, letter):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
    os.rename(tmp_path / "dog" / "0.png", tmp_path / "dog" / f"0{letter}.png")
    from dpkit.data.class_folders import list_folder

    with pytest.raises(ValueError, match="free of line breaks and tabs"):
        list_folder(tmp_path)


def test_a_set_without_files_has_ids_alone(tmp_path):
    ids, paths = read_kept(written(tmp_path, np.array([3, 5]), None))
    assert ids.tolist() == [3, 5] and paths is None
    with pytest.raises(ValueError, match="a set without files"):
        find_kept(tmp_path, ["a/1.png"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"0\ta.png\n1\tb.p", "not whole"),
        (b"1\ta.png\n0\tb.png\n", "must ascend"),
        (b"0\ta.png\n0\ta.png\n", "must ascend"),
        (b"0\ta.png\n1\n", "in every line or in none"),
        (b"0 a.png\n", "line 1 must be an id"),
        (b"0\ta\n\n", "line 2 must be"),
        (b"-1\ta.png\n", "line 1 must be"),
        (b"path\n0\n", "line 1"),
        (b"\xef\xbb\xbf0\ta\n", "line 1"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, text, told):
    (tmp_path / "kept.txt").write_bytes(text)
    with pytest.raises(ValueError, match=told):
        read_kept(tmp_path)


def test_where_nothing_was_pruned_the_sentence_says_what_to_name(tmp_path):
    with pytest.raises(ValueError, match="name the folder that dpkit prune wrote"):
        read_kept(tmp_path)
    with pytest.raises(ValueError, match="name the folder that dpkit prune wrote"):
        read_kept(tmp_path / "nothing")


# ---- in another reader's order -------------------------------------------------------------------

# as ImageFolder: classes first
FILES = ["wolf/a.jpg", "wolf/b.jpg", "wolf spider/a.jpg", "wolf spider/x.jpg"]
KEPT = ["wolf/b.jpg", "wolf spider/a.jpg"]


def test_hugging_faces_order_is_another_and_the_same_images_are_found():
    others = as_hugging_face([f"/data/photos/{path}" for path in FILES])
    assert [entry["path"][13:] for entry in others] != FILES  # else this would show nothing
    rows = find_kept(KEPT, others)
    assert rows.tolist() == [0, 3] and {others[row]["path"][13:] for row in rows} == {*KEPT}


class WithPath:
    def __init__(self, path):
        self.path = path


@pytest.mark.parametrize(
    "reader",
    [
        lambda paths: paths,
        lambda paths: [f"./photos//{path}" for path in paths],
        lambda paths: [f"../{path}" for path in paths],
        lambda paths: [(f"/data/{path}", 0) for path in paths],
        lambda paths: [Path("/data") / path for path in paths],
        lambda paths: [os.fsencode(f"/data/{path}") for path in paths],
        lambda paths: [WithPath(f"/d/{path}") for path in paths],
        lambda paths: [str(PureWindowsPath("C:/photos") / path) for path in paths],
        lambda paths: np.array(paths),
        lambda paths: [f"zip://train/{path}::https://x.org/photos.zip" for path in paths],
        lambda paths: [f"hf://datasets/me/wolves@1a2b/train/{path}" for path in paths],
        lambda paths: types.SimpleNamespace(samples=[(f"/data/{path}", 0) for path in paths]),
        lambda paths: (path for path in paths),
    ],
)
def test_any_readers_list_will_do_in_any_order(reader):
    order = np.random.default_rng(0).permutation(len(FILES))
    shuffled = [FILES[i] for i in order]
    assert {shuffled[row] for row in find_kept(KEPT, reader(shuffled))} == {*KEPT}
    assert np.all(np.diff(find_kept(KEPT, reader(shuffled))) > 0)


def test_names_of_every_kind_are_found_again(tmp_path):
    others = [f"/data/{path}" for path in sorted(ODD)]
    rows = find_kept(written(tmp_path, np.arange(0, len(ODD), 2), ODD), others)
    assert {others[row] for row in rows} == {f"/data/{path}" for path in ODD[::2]}


def test_absolute_paths_are_found_under_another_root():
    kept = [f"/home/ann/photos/{path}" for path in KEPT]
    assert find_kept(kept, [f"/mnt/p/{path}" for path in FILES]).tolist() == [1, 2]
    assert find_kept(kept, FILES).tolist() == [1, 2]
    assert find_kept(kept, [f"/home/ann/photos/{path}" for path in FILES]).tolist() == [1, 2]
    assert find_kept([rf"D:\photos\{path}" for path in KEPT], FILES).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (["/d/wolf/a.jpg", "/d/wolf spider/a.jpg"], "^wolf/b.jpg is not in the other list"),
        (["/d/fox/b.jpg", "/d/fox/a.jpg"], "^wolf/b.jpg is not in the other list"),
        (["/d/werewolf/b.jpg", "/d/werewolf spider/a.jpg"], "^wolf/b.jpg is not"),
        # not under one root
        (["/d/x/wolf/b.jpg", "/d/y/wolf spider/a.jpg"], "^wolf spider/a.jpg is not"),
        (
            ["/d/wolf/b.jpg", "/d/wolf/b.jpg", "/d/wolf spider/a.jpg"],
            "wolf/b.jpg stands in the other list 2 times, in rows 0",
        ),
        (
            ["/d/wolf/b.jpg", r"/d\wolf\b.jpg", "/d/wolf spider/a.jpg"],
            "wolf/b.jpg stands in the other list 2 times",
        ),
        (
            [f"/{split}/{path}" for split in ("train", "test") for path in FILES],
            "2 times, under /train/ and under /test/",
        ),
        (
            ["b.jpg", "a.jpg", "a.jpg"],
            "a.jpg stands there twice in the other list, where no name has a folder",
        ),
        (["c.jpg", "d.jpg"], "^b.jpg is not"),
        ([], "something to find"),
        (["/d/wolf/b.jpg", None], r"others\[1\] must be"),
        ([{"bytes": b"x", "path": None}], r"others\[0\] must be a path, or have one"),
        ([{"image": 1}], r"others\[0\] must be"),
        ([""], r"others\[0\]"),
        (["/d/WOLF/b.jpg", "/d/wolf spider/a.jpg"], "^wolf/b.jpg is not"),
    ],
)
def test_what_cannot_be_matched_is_refused_and_the_first_is_named(others, told):
    with pytest.raises(ValueError, match=told):
        find_kept(KEPT, others)


def test_names_without_folders_will_do_where_no_two_are_the_same():
    assert find_kept(KEPT, ["a.jpg", "x.jpg", "b.jpg"]).tolist() == [0, 2]
    with pytest.raises(ValueError, match="twice among the kept files"):
        find_kept(["wolf/a.jpg", "wolf spider/a.jpg"], ["a.jpg", "b.jpg"])


def test_another_class_is_never_taken_for_one_that_is_missing():
    with pytest.raises(ValueError, match="^wolf/a.jpg is not"):
        find_kept(["wolf/a.jpg"], ["/d/cat/a.jpg"])
    with pytest.raises(ValueError, match="^/p/wolf/a.jpg is not"):
        find_kept(["/p/wolf/a.jpg"], ["/d/cat/a.jpg"])
    # the root is what all of them share: b/wolf/a.jpg is another file than wolf/a.jpg
    assert find_kept(
        ["wolf/a.jpg", "cat/c.jpg"], ["/d/b/wolf/a.jpg", "/d/wolf/a.jpg", "/d/cat/c.jpg"]
    ).tolist() == [1, 2]


def test_a_single_path_is_no_list():
    with pytest.raises(TypeError, match="must be the list of all paths"):
        find_kept(KEPT, "/data/photos")
    with pytest.raises(ValueError, match="something to find"):
        find_kept([], FILES)


# ---- docs/prune.md -------------------------------------------------------------------------------


class Imagefolder:
    """As much of a Hugging Face dataset as the page uses."""

    def __init__(self, paths):
        self.column = as_hugging_face(paths)

    def cast_column(self, name, feature):
        assert (name, feature) == ("image", "undecoded")
        return {"image": self.column}

    def select(self, rows):
        return [self.column[row]["path"] for row in rows]


def test_every_line_of_the_page_takes_the_kept_images(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    import torch

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("wolf", "wolf spider", "dog"):
        Path("photos", name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(
                Path("photos", name, f"{i}.png")
            )
    dpkit.prune("photos", "pruned", method="random", prune_ratio=0.5, say=lambda line: None)
    _, paths = read_kept("pruned")
    files = [
        os.path.relpath(path, "photos")
        for path, _ in torchvision.datasets.ImageFolder("photos").samples
    ]
    page = (ROOT / "docs" / "prune.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(kept.*?)```", page, re.DOTALL)[1]
    names = {
        "dpkit": dpkit,
        "torch": torch,
        "torchvision": torchvision,
        "dataset": files,
        "datasets": types.SimpleNamespace(
            Image=lambda decode: "undecoded" if decode is False else None
        ),
    }
    taken = []
    for line in filter(None, block.split("\n")):
        if "find_kept" in line or "cast_column" in line:
            names["dataset"] = Imagefolder(str(tmp_path / "photos" / path) for path in files)
        if re.match(r"\w+(, \w+)* = ", line):
            exec(line, names)
        else:
            taken.append(eval(line, names))
    first, second, third = taken
    assert {*first} == {*paths}
    assert [
        os.path.relpath(second.dataset.samples[i][0], "photos") for i in second.indices
    ] == paths
    assert {os.path.relpath(path, tmp_path / "photos") for path in third} == {*paths}
    assert dpkit.Selection.load("pruned/selection").kept.tolist() == names["kept"].tolist()
