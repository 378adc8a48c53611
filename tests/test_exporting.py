"""What `prune` chose, taken out in every form: the same images are meant, or a sentence says why
not.
"""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import dpkit
from dpkit.cli import main
from dpkit.data.loading import from_arrays
from dpkit.experiments.export_formats import FORMATS
from dpkit.records import TrainingDynamics
from dpkit.records.sample_table import ranks_of

NAMES = {
    "wolf": ["a b.png", " lead.png", '"q", it\'s.png', "z#1.png", "NA.png"],
    "wolf spider": ["a b.png", "b.png", "c.png", "d.png", "e.png"],
}
PATHS = [f"{folder}/{name}" for folder in NAMES for name in sorted(NAMES[folder])]
N, HELD_OUT = len(PATHS), [3, 7]


def write_photos(folder, paths=PATHS):
    for i, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 10 * i, np.uint8)).save(folder / path)
    return folder


def pruned_in(folder, data, *, ratio=0.5, method="aum", **options):
    """A pruning by a record made up here, of which two samples were held out."""
    if method == "aum":
        prob = np.random.default_rng(0).random((N, 3)).astype(np.float32)
        seen = ~np.isin(np.arange(N), HELD_OUT)
        prob[~seen] = np.nan
        labels = np.repeat([0, 1], 5)
        TrainingDynamics(prob, prob, prob > 0.5, labels).save(folder / "record")
        options |= {"dynamics": folder / "record"}
    cache = folder / "cache"
    dpkit.prune(
        data, folder / "pruned", method=method, prune_ratio=ratio, cache=cache, say=None, **options
    )
    return folder / "pruned"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    pruned_in(folder, write_photos(folder / "photos"))
    return folder


@pytest.fixture
def pruned(made, tmp_path):
    """A pruning of photos; both may be changed."""
    shutil.copytree(made / "pruned", tmp_path / "pruned")
    shutil.copytree(made / "photos", tmp_path / "photos")
    manifest = json.loads((tmp_path / "pruned" / "manifest.json").read_text())
    manifest["data"] |= dict.fromkeys(("source", "folder"), str(tmp_path / "photos"))
    (tmp_path / "pruned" / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "pruned"


def kept_of(pruned):
    return dpkit.read_kept(pruned)


def removed_of(pruned):
    kept = kept_of(pruned)[0]
    return [i for i in range(N) if i not in kept and i not in HELD_OUT]


# ---- samples.csv ---------------------------------------------------------------------------------


def test_the_table_says_what_came_of_every_sample(made):
    scores = dpkit.Scores.load(made / "pruned" / "scores").values
    kept = dpkit.Selection.load(made / "pruned" / "selection").kept
    with open(made / "pruned" / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == PATHS
    for i, row in enumerate(rows):
        assert (row["id"], row["label"]) == (str(i), "01"[i >= 5])
        assert row["class_name"] == list(NAMES)[i >= 5]
        if i in HELD_OUT:
            assert row["score"] == row["rank"] == row["kept"] == ""
        else:
            assert float(row["score"]) == scores[i]
            assert int(row["rank"]) == 1 + np.sum(scores > scores[i])
            assert row["kept"] == ("true" if i in kept else "false")


def test_equal_scores_share_a_rank():
    assert ranks_of(np.array([0.5, np.inf, 0.5, 0.1, np.nan])).tolist() == [2, 1, 2, 4, 0]


def test_a_subset_has_its_own_rows_under_the_numbers_of_the_whole(tmp_path):
    images = dpkit.load("digits", device="cpu").first(40)
    part = images.subset(np.array([30, *range(10, 21), 4]))
    pruned = pruned_in(tmp_path, part, method="random")
    with open(pruned / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == [4, *range(10, 21), 30]
    assert [int(row["label"]) for row in rows] == images.labels[np.sort(part.ids)].tolist()
    assert [row["path"] + row["score"] + row["rank"] for row in rows] == [""] * 13
    kept = [int(row["id"]) for row in rows if row["kept"] == "true"]
    assert kept == kept_of(pruned)[0].tolist()
    saved = np.load(dpkit.export(pruned, "npz", data=images))
    assert np.array_equal(saved["images"], images.images[kept, 0].numpy())


# ---- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["kept", "removed"])
def test_lists_hold_the_paths_of_these_samples_alone(made, tmp_path, which):
    pruned, folder = made / "pruned", made / "photos"
    ids = kept_of(pruned)[0].tolist() if which == "kept" else removed_of(pruned)
    wanted = [PATHS[i] for i in ids]
    assert wanted and len(ids) == 4

    def lines(format, **options):
        file = dpkit.export(pruned, format, tmp_path / format, which=which, **options)
        return file.read_bytes().decode().removesuffix("\n").split("\n")

    assert lines("paths") == [str(folder / path) for path in wanted]
    assert lines("dali") == [f"{folder / PATHS[i]} {i // 5}" for i in ids]
    for form in ("csv", "jsonl"):
        file = dpkit.export(pruned, form, tmp_path / f"x.{form}", which=which, relative=True)
        text = file.read_text()
        rows = (
            list(csv.DictReader(text.splitlines()))
            if form == "csv"
            else list(map(json.loads, text.splitlines()))
        )
        assert [row["path"] for row in rows] == wanted
        assert [int(row["id"]) for row in rows] == ids
        assert {str(row["kept"]).lower() for row in rows} == {str(which == "kept").lower()}


def test_a_table_of_all_has_those_that_were_held_out_undecided(made, tmp_path):
    file = dpkit.export(made / "pruned", "jsonl", tmp_path / "all.jsonl", which="all")
    rows = list(map(json.loads, file.read_text().splitlines()))
    assert [i for i, row in enumerate(rows) if row["kept"] is None] == HELD_OUT
    assert all(rows[i]["score"] is rows[i]["rank"] is None for i in HELD_OUT)


def test_parquet_has_the_types_or_names_the_package(made, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match="parquet needs a package .*: pip install pyarrow"):
        dpkit.export(made / "pruned", "parquet", tmp_path)
    assert not any(tmp_path.iterdir())
    monkeypatch.undo()
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(
        dpkit.export(made / "pruned", "parquet", tmp_path, which="all", relative=True)
    ).to_pylist()
    assert [row["path"] for row in rows] == PATHS
    assert [i for i, row in enumerate(rows) if row["kept"] is None] == HELD_OUT


def test_names_that_a_format_cannot_hold_are_refused_and_others_come_back_as_they_are(tmp_path):
    odd = os.fsdecode(b"wolf/caf\xe9 .png")
    paths = [odd, "wolf/trail.png ", "lynx/1.png", "lynx/2.png"]
    images = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [1, 1, 0, 0], device="cpu")
    for path in paths:
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / path).touch()
    images = replace(images, paths=paths, folder=str(tmp_path / "photos"))
    pruned = pruned_in(tmp_path, images, ratio=0, method="random")
    read = dpkit.export(pruned, "paths", relative=True).read_bytes()
    assert read == b"".join(os.fsencode(path) + b"\n" for path in paths)
    with open(dpkit.export(pruned, "csv"), errors="surrogateescape", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [
            str(tmp_path / "photos" / path) for path in paths
        ]
    for form in ("jsonl", "parquet", "huggingface"):
        with pytest.raises(ValueError, match=f"no UTF-8, which {form} cannot hold"):
            dpkit.export(pruned, form)
    with pytest.raises(ValueError, match="DALI takes the blank at the end"):
        dpkit.export(pruned, "dali")
    folder = dpkit.export(pruned, "folder")
    assert all((folder / path).is_file() for path in paths)


# ---- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", ["links", "relative-links", "hard-links", "copies"])
def test_a_folder_holds_the_kept_files_in_their_classes(pruned, links):
    out = dpkit.export(pruned, "folder", links=links)
    ids, paths = kept_of(pruned)
    photos = pruned.parent / "photos"
    found = ImageFolder(out)
    assert [os.path.relpath(path, out) for path, _ in found.samples] == paths
    assert found.targets == [i // 5 for i in ids]
    for path in paths:
        assert (out / path).read_bytes() == (photos / path).read_bytes()
        assert (out / path).is_symlink() == (links in ("links", "relative-links"))
        assert os.path.samefile(out / path, photos / path) == (links != "copies")
    # what holds when the export moves by itself, and with the images
    moved = pruned.parent / "deeper" / "out"
    moved.parent.mkdir()
    out.rename(moved)
    assert (moved / paths[0]).exists() == (links != "relative-links")


def test_relative_links_hold_if_both_move(pruned):
    out = dpkit.export(pruned, "folder", links="relative-links")
    shutil.move(pruned.parent, moved := pruned.parent.with_name("moved"))
    assert all((moved / out.name / path).is_file() for path in kept_of(moved / "pruned")[1])
    shutil.move(moved, pruned.parent)


def test_hugging_face_reads_the_kept_images_with_their_labels(made, tmp_path):
    out = dpkit.export(made / "pruned", "huggingface", tmp_path / "hf")
    with open(out / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ids, paths = kept_of(made / "pruned")
    assert rows == [
        {"file_name": path, "label": list(NAMES)[i // 5]} for i, path in zip(ids, paths)
    ]
    assert all((out / path).is_file() for path in paths)
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset("imagefolder", data_dir=str(out), split="train")
    assert read["label"] == [row["label"] for row in rows]


def test_files_of_a_table_that_lie_anywhere_keep_their_layout_and_a_word_of_their_labels(tmp_path):
    inside = ["2021/1.png", "2021/2.png", "2022/1.png"]
    write_photos(tmp_path / "photos", inside)
    write_photos(tmp_path / "other", ["x.png"])
    paths = [*inside, "../other/x.png"]
    images = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1], device="cpu")
    images = replace(images, paths=paths, folder=str(tmp_path / "photos"))
    (tmp_path / "work").mkdir()
    pruned, said = pruned_in(tmp_path / "work", images, ratio=0, method="random"), []
    out = dpkit.export(pruned, "folder", say=said.append)
    assert all((out / "photos" / path).is_symlink() for path in inside)
    assert (out / "other" / "x.png").is_symlink()
    assert "the folders of these images are not their classes" in said[0]
    with open(dpkit.export(pruned, "huggingface") / "metadata.csv", newline="") as file:
        assert [*csv.DictReader(file)][3] == {"file_name": "other/x.png", "label": "1"}


def test_a_disk_that_takes_two_names_for_one_is_refused(tmp_path, monkeypatch):
    paths = ["Cat/1.png", "cat/2.png", "dog/a.png", "dog/A.png"]
    images = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 2, 2], device="cpu")
    write_photos(tmp_path / "photos", paths)
    names = "lower", "upper", "dog"
    images = replace(images, paths=paths, folder=str(tmp_path / "photos"), class_names=list(names))
    pruned = pruned_in(tmp_path, images, ratio=0, method="random")
    out = dpkit.export(pruned, "folder")  # a disk that tells them apart
    assert sorted(path.name for path in (out / "dog").iterdir()) == ["A.png", "a.png"]
    mkdir, lexists, made = os.mkdir, os.path.lexists, set()

    def folding(path, *more, **options):
        if ".building-" in str(path) and str(path).lower() in made:
            raise FileExistsError(path)
        made.add(str(path).lower())
        mkdir(path, *more, **options)

    monkeypatch.setattr(os, "mkdir", folding)
    with pytest.raises(ValueError, match=r"cat is there twice: the disk .* takes two names"):
        dpkit.export(pruned, "folder", tmp_path / "folded")
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(
        os.path, "lexists", lambda path: Path(path).name == "A.png" or lexists(path)
    )
    with pytest.raises(ValueError, match=r"dog/A.png is there twice"):
        dpkit.export(pruned, "folder", tmp_path / "folded", links="copies")
    assert not (tmp_path / "folded").exists()


# ---- arrays --------------------------------------------------------------------------------------


def test_an_npz_is_the_subset_that_dpkit_loads(pruned):
    images = dpkit.load(pruned.parent / "photos", device="cpu", say=None)
    part = images.subset(kept_of(pruned)[0])
    read = dpkit.load(dpkit.export(pruned, "npz"), device="cpu", say=None)
    assert np.array_equal(read.images, part.images) and np.array_equal(read.labels, part.labels)
    assert read.class_names == part.class_names
    small = np.load(dpkit.export(pruned, "npz", size=4, overwrite=True))["images"]
    assert small.shape == (4, 4, 4, 3)
    for i in removed_of(pruned):  # the others need not be there
        (pruned.parent / "photos" / PATHS[i]).unlink()
    again = np.load(dpkit.export(pruned, "npz", overwrite=True))["images"]
    assert np.array_equal(again, part.images.permute(0, 2, 3, 1))


def test_the_kept_part_of_an_npz_is_an_npz(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels, labels=np.arange(12) % 3 + 5)
    pruned = pruned_in(tmp_path, tmp_path / "set.npz", method="random")
    saved = np.load(dpkit.export(pruned, "npz"))
    ids = kept_of(pruned)[0]
    assert np.array_equal(saved["images"], pixels[ids])
    assert saved["class_names"][saved["labels"]].tolist() == [str(i % 3 + 5) for i in ids]
    np.savez(tmp_path / "other.npz", images=pixels, labels=np.arange(12) % 2 + 5)
    with pytest.raises(ValueError, match="other is not the set that was pruned"):
        dpkit.export(pruned, "npz", data=tmp_path / "other.npz", overwrite=True)
    with pytest.raises(ValueError, match="folder needs image files, and this set has none"):
        dpkit.export(pruned, "folder")
    assert dpkit.export(pruned, "csv").read_text().startswith("id,path,label")


def test_classes_may_be_called_anything(tmp_path):
    names = ["a,b", 'c"d', "line\nbreak", "return\rx", " blank", "NA"]
    pixels, labels = np.zeros((12, 4, 4), np.uint8), np.arange(12) % 6
    np.savez(tmp_path / "set.npz", images=pixels, labels=labels, class_names=names)
    pruned = pruned_in(tmp_path, tmp_path / "set.npz", method="random")
    with open(dpkit.export(pruned, "csv", which="all"), newline="") as file:
        assert [row["class_name"] for row in csv.DictReader(file)] == names * 2
    lines = dpkit.export(pruned, "jsonl", which="all").read_bytes().splitlines()
    assert [json.loads(line)["class_name"] for line in lines] == names * 2
    assert np.load(dpkit.export(pruned, "npz"))["class_names"].tolist() == names


def test_arrays_that_were_in_no_file_are_given(tmp_path):
    images = dpkit.load("digits", device="cpu").first(20)
    pruned = pruned_in(tmp_path, replace(images, source=None), method="random")
    with pytest.raises(ValueError, match="in no file: in Python, give the set, data=images"):
        dpkit.export(pruned, "npz")
    saved = np.load(dpkit.export(pruned, "npz", data=images))
    assert np.array_equal(saved["images"], images.images[kept_of(pruned)[0], 0])


def test_ids_are_rows_of_the_image_folder(pruned):
    from torch.utils.data import Subset

    ids = np.load(dpkit.export(pruned, "ids"))
    text = dpkit.export(pruned, "ids", pruned.parent / "ids.txt").read_text()
    assert ids.tolist() == list(map(int, text.split())) == kept_of(pruned)[0].tolist()
    photos = ImageFolder(pruned.parent / "photos")
    chosen = [photos.samples[i][0] for i in Subset(photos, ids).indices]
    assert [os.path.relpath(path, pruned.parent / "photos") for path in chosen] == kept_of(pruned)[
        1
    ]


# ---- where to ------------------------------------------------------------------------------------


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize(
    ("format", "options", "told"),
    [
        ("fodler", {}, "unknown format 'fodler'; .*: did you mean folder"),
        ("csv", {"which": "keep"}, "which must be kept, removed, all; got 'keep'"),
        ("csv", {"links": "copies"}, "csv takes no links"),
        ("ids", {"size": 8, "relative": True}, "ids takes no relative and no size"),
        ("npz", {"size": 0}, "size must be a whole number of pixels, at least 1; got 0"),
        ("folder", {"links": "soft"}, "links must be links, relative-links, .*; got 'soft'"),
        ("csv", {"to": "x.txt"}, "csv is written to a file that ends in .csv; got .*x.txt"),
        ("folder", {"to": "photos/out"}, "must lie apart"),
        ("csv", {"to": "pruned/x.csv"}, "must lie apart"),
        ("folder", {"to": "pruned"}, "must lie apart"),
        ("folder", {"to": "."}, "must lie apart"),
        ("csv", {"to": "taken.csv"}, "taken.csv exists; name another place, or .* --overwrite"),
        ("csv", {"to": "folder.csv", "overwrite": True}, "folder.csv is a folder"),
        ("folder", {"to": "taken.csv", "overwrite": True}, "no folder; name another folder"),
        ("folder", {"to": "theirs", "overwrite": True}, "not an earlier result of this kind"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_touched(pruned, format, options, told):
    root = pruned.parent
    for name in ("folder.csv", "theirs"):
        (root / name).mkdir()
        (root / name / "note.txt").write_text("mine")
    (root / "taken.csv").write_text("mine")
    before = contents(root)
    options = {k: root / v if k == "to" else v for k, v in options.items()}
    with pytest.raises((ValueError, OSError), match=told):
        dpkit.export(pruned, format, **options)
    assert contents(root) == before


def test_an_earlier_export_is_replaced_if_that_is_said_and_nobody_added_to_it(pruned):
    out = dpkit.export(pruned, "folder")
    with pytest.raises(FileExistsError, match="exists; .*--overwrite"):
        dpkit.export(pruned, "folder", which="removed", to=out)
    (out / ".DS_Store").touch()
    dpkit.export(pruned, "folder", which="removed", to=out, overwrite=True)
    assert {name for name in contents(out) if name[0] != "."} == {
        PATHS[i] for i in removed_of(pruned)
    }
    (out / "wolf" / "mine.png").touch()
    with pytest.raises(FileExistsError, match="holds wolf/mine.png, which dpkit did not write"):
        dpkit.export(pruned, "folder", to=out, overwrite=True)
    assert (out / "wolf" / "mine.png").exists()
    file = dpkit.export(pruned, "csv")
    dpkit.export(pruned, "csv", which="removed", to=file, overwrite=True)
    assert "true" not in file.read_text()


@pytest.mark.parametrize("format", ["folder", "npz"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(made, disk, capsys, format):
    out = disk("size=4k") / ("out.npz" if format == "npz" else "out")
    more = ["--copy"] if format == "folder" else ["--size", "64"]
    assert main(["export", str(made / "pruned"), format, "--to", str(out), *more]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "no space left on the disk of" in told[0]
    assert not any(out.parent.iterdir())


# ---- where from ----------------------------------------------------------------------------------


def test_moved_images_are_found_by_data_and_missing_ones_are_named(pruned, capsys):
    root, kept = pruned.parent, kept_of(pruned)[1]
    (root / "elsewhere").mkdir()
    shutil.move(root / "photos", root / "elsewhere" / "new")
    for form in ("csv", "folder", "npz"):
        with pytest.raises(ValueError, match=r"4 of 4 images are not in .*photos \(first: wolf"):
            dpkit.export(pruned, form)
    assert dpkit.export(pruned, "csv", relative=True)  # which says nothing of where they lie
    moved = root / "elsewhere" / "new"
    lines = dpkit.export(pruned, "paths", data=moved).read_text().splitlines()
    assert lines == [str(moved / path) for path in kept]
    (moved / kept[1]).unlink()
    assert main(["export", str(pruned), "folder", "--data", str(moved)]) == 2
    assert f"1 of 4 images are not in {moved} (first: {kept[1]})" in capsys.readouterr().err
    assert not (root / "pruned-kept").exists()


@pytest.mark.parametrize(("source", "moved"), [(".", "new"), ("labels.csv", "new/labels.csv")])
def test_what_was_given_to_prune_will_do_where_the_paths_begin_elsewhere(pruned, source, moved):
    manifest = json.loads((pruned / "manifest.json").read_text())
    manifest["data"]["source"] = str(pruned.parent / source)
    (pruned / "manifest.json").write_text(json.dumps(manifest))
    (pruned.parent / "new").mkdir()
    shutil.move(pruned.parent / "photos", pruned.parent / "new" / "photos")
    lines = dpkit.export(pruned, "paths", data=pruned.parent / moved).read_text().splitlines()
    assert lines == [str(pruned.parent / "new" / "photos" / path) for path in kept_of(pruned)[1]]


@pytest.mark.parametrize("name", ["kept.txt", "samples.csv", "selection/kept.npy"])
def test_a_pruning_that_was_changed_is_refused(pruned, name):
    (pruned / name).write_bytes((pruned / name).read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{name} was changed or removed since dpkit wrote it"):
        dpkit.export(pruned, "ids")
    with pytest.raises(ValueError, match="photos holds no pruning"):
        dpkit.export(pruned.parent / "photos", "ids")


def test_a_pruning_of_before_needs_the_set_and_tells_the_same_then(pruned):
    whole = dpkit.export(pruned, "csv", which="all").read_bytes()
    manifest = json.loads((pruned / "manifest.json").read_text())
    for part, name in ((manifest, "data"), (manifest, "class_names")):
        del part[name]
    del manifest["sha256"]["samples.csv"]
    (pruned / "samples.csv").unlink()
    (pruned / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="older dpkit, which did not note .* by --data"):
        dpkit.export(pruned, "csv", which="all")
    photos = pruned.parent / "photos"
    again = dpkit.export(pruned, "csv", which="all", data=photos, overwrite=True)
    assert again.read_bytes() == whole
    (photos / "wolf" / "more.png").touch()
    with pytest.raises(ValueError, match="photos is not the set that .* was made from"):
        dpkit.export(pruned, "csv", data=photos, overwrite=True)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_prints_where_it_wrote_and_its_help_names_every_format(pruned, capsys):
    assert main(["export", str(pruned), "folder", "--copy"]) == 0
    assert capsys.readouterr() == (f"{pruned}-kept\n", "")
    assert main(["export", str(pruned), "folder", "--copy"]) == 2
    assert "replace it by --overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told and form.about in told for name, form in FORMATS.items())


def test_of_a_table_with_absolute_paths_moved_images_are_not_asked_for_by_data(tmp_path):
    photos = write_photos(tmp_path / "photos")
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        rows = ((photos / path, path.split("/")[0]) for path in PATHS)
        csv.writer(file).writerows([("file_name", "species"), *rows])
    pruned = pruned_in(tmp_path, table, method="random")
    listed = dpkit.export(pruned, "paths").read_text().splitlines()
    assert listed == kept_of(pruned)[1]  # it may lie beside the table, but not in its place
    with pytest.raises(FileExistsError, match="is what was pruned"):
        dpkit.export(pruned, "csv", table, overwrite=True)
    photos.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="correct the table and prune again"):
        dpkit.export(pruned, "folder", data=tmp_path / "moved")
