"""Pruning a set of one's own: what lies in the folder, what is trained again and what not, and
every way to go wrong.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import to_tensor

import dpkit
from dpkit.cli import main
from dpkit.data import image_files
from dpkit.data.image_set import load
from dpkit.data.toys import toy_images
from dpkit.experiments import stages
from dpkit.methods import catalog
from dpkit.methods.method import Method
from dpkit.records import Scores, Selection, TrainingDynamics, keep_count
from dpkit.scorers import dual
from dpkit.storage import claims
from dpkit.training.loop import Recipe

ROOT = Path(__file__).parents[1]
N, EPOCHS = 90, 10
TRAINING = ("--epochs", str(EPOCHS), "--batch-size", "30", "--lr", "0.05", "--device", "cpu")
RECIPE = Recipe(epochs=EPOCHS, batch_size=30, lr=0.05)
STEPS = 3 * EPOCHS


def toys():
    """(images (90, 8, 8) uint8, labels (90,)): bars that are upright, level or slanted."""
    images, _ = toy_images(N, size=8, device="cpu")
    return images.images[:, 0].numpy(), images.labels.numpy()


def write_npz(file, **arrays):
    np.savez(file, **arrays)
    return file


def write_photos(folder, *, sizes=(8,)):
    """The toys as PNG files in class folders; the file of row i of class c is <c>/<i>.png."""
    images, labels = toys()
    for i, (image, label) in enumerate(zip(images, labels)):
        file = folder / ("upright", "level", "slanted")[label] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize([sizes[i % len(sizes)]] * 2).save(file)
    return folder


def made_up_record(labels, epochs=12):
    prob = np.random.default_rng(0).random((len(labels), epochs))
    return TrainingDynamics(prob, prob, prob > 0.5, labels)


def prune(data, out, *more, ratio=0.3):
    """The exit code of the command."""
    return main(["prune", str(data), "--ratio", str(ratio), "--out", str(out), *TRAINING, *more])


def lines(out):
    return (out / "kept.txt").read_text().splitlines()


def contents(folder):
    return {
        str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(set, out, cache): one set pruned by dual, its record in the cache."""
    folder = tmp_path_factory.mktemp("pruning")
    images, labels = toys()
    data = write_npz(folder / "toys.npz", images=images, labels=labels)
    dpkit.prune(
        data,
        folder / "out",
        method="dual",
        prune_ratio=0.3,
        epochs=EPOCHS,
        recipe=RECIPE,
        device="cpu",
        cache=folder / "cache",
        say=lambda line: None,
    )
    return data, folder / "out", folder / "cache"


@pytest.fixture
def watched(finished, monkeypatch, no_training):
    """The set, whose record is in the cache: training again fails the test."""
    monkeypatch.setenv("DPKIT_CACHE", str(finished[2]))
    return finished[0]


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))


# ---- traps of one's own set ----------------------------------------------------------------------


@pytest.mark.parametrize("where", ["photos/pruned", "photos", "."])
def test_what_is_written_never_becomes_part_of_the_set(tmp_path, where, no_training):
    data = write_photos(tmp_path / "photos")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="must lie apart"):
        dpkit.prune(data, tmp_path / where, prune_ratio=0.3, overwrite=True, say=lambda line: None)
    assert contents(tmp_path) == before


def test_random_pruning_looks_at_no_pixel_and_no_training_setting(
    tmp_path, monkeypatch, no_training, capsys
):
    monkeypatch.setattr(
        image_files, "read_picture", lambda *a, **k: pytest.fail("a file was decoded")
    )
    data = write_photos(tmp_path / "photos", sizes=(8, 9))
    assert prune(data, tmp_path / "out", "--method", "random") == 0
    assert prune(data, tmp_path / "out", "--method", "random", "--epochs", "3") == 0
    assert "this very run" in capsys.readouterr().err


def test_random_pruning_refuses_what_the_headers_tell(tmp_path, no_training, capsys):
    data = write_photos(tmp_path / "photos", sizes=(8, 9))
    first = min(data.rglob("*.*g"))
    first.write_text("no image")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(first.with_name("deep.png"))
    assert prune(data, tmp_path / "out", "--method", "random") == 2
    told = capsys.readouterr().err
    assert f"2 of {len(list(data.rglob('*.*g')))} images cannot be read: " in told
    assert f"{first} (cannot be identified as an image)" in told and "more than 8 bits" in told
    assert not (tmp_path / "out" / "kept.txt").exists()
    labels = np.arange(40) % 3
    for images, why in (
        (np.zeros((40, 3, 8, 8), np.uint8), "the channels come first"),
        (np.zeros((40, 8, 8), np.float32), "must be .* uint8"),
        (np.zeros((39, 8, 8), np.uint8), r"must be \(39,\) whole numbers"),
    ):
        file = write_npz(tmp_path / "set.npz", images=images, labels=labels)
        with pytest.raises(ValueError, match=why):
            dpkit.prune(file, tmp_path / "out", method="random", prune_ratio=0.5)


def test_a_record_needs_only_the_labels_of_the_set(tmp_path, no_training):
    labels = np.arange(40) % 3
    made_up_record(labels).save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=labels)
    assert prune(data, tmp_path / "out", "--dynamics", str(tmp_path / "record")) == 0
    write_npz(tmp_path / "none.npz", images=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="must hold train_labels, or labels"):
        dpkit.prune(
            tmp_path / "none.npz",
            tmp_path / "o",
            prune_ratio=0.5,
            dynamics=tmp_path / "record",
            say=print,
        )


def test_prune_says_nothing_where_nobody_listens(tmp_path, no_training, capsys):
    labels = np.arange(40) % 3
    made_up_record(labels).save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=labels)
    dpkit.prune(data, tmp_path / "out", prune_ratio=0.3, dynamics=tmp_path / "record", say=None)
    assert capsys.readouterr() == ("", "") and (tmp_path / "out" / "kept.txt").exists()


def test_a_seed_of_numpys_is_as_good_as_an_int(tmp_path, finished, no_training):
    data, _, cache = finished
    for _ in range(2):
        dpkit.prune(
            data,
            tmp_path / "out",
            method="dual",
            prune_ratio=0.5,
            epochs=EPOCHS,
            recipe=RECIPE,
            device="cpu",
            cache=cache,
            seed=np.int64(0),
            say=lambda line: None,
        )


# ---- what is written -----------------------------------------------------------------------------


def test_the_kept_ids_are_listed_and_are_those_of_the_selection(finished):
    kept = [int(line) for line in lines(finished[1])]
    selection = Selection.load(finished[1] / "selection")
    assert kept == selection.kept.tolist() == sorted(set(kept)) and selection.num_samples == N
    assert len(kept) == keep_count(N, 0.3) == 63 and 0 <= kept[0] and kept[-1] < N


def test_the_scores_are_duals_of_the_record_and_the_highest_are_kept(finished):
    out = finished[1]
    record = json.loads((out / "manifest.json").read_text())["record"]
    scores = Scores.load(out / "scores")
    assert np.array_equal(
        scores.values, dual(TrainingDynamics.load(Path(record["folder"]) / "dynamics")).values
    )
    assert sorted(np.argsort(scores.values)[-63:]) == [int(line) for line in lines(out)]


def test_the_manifest_says_what_was_asked_and_what_came(finished):
    manifest = json.loads((finished[1] / "manifest.json").read_text())
    asked = manifest["request"]
    assert (asked["method"], asked["prune_ratio"], asked["seed"], asked["epochs"]) == (
        "dual",
        0.3,
        0,
        EPOCHS,
    )
    assert (
        asked["recipe"]["lr"] == 0.05
        and asked["data"] == load(str(finished[0]), device="cpu").fingerprint
    )
    assert (manifest["set"], manifest["num_samples"], manifest["keep"]) == ("toys", N, 63)
    assert set(manifest["sha256"]) == set(contents(finished[1])) - {"manifest.json"}
    assert {"kept.txt", "moon.png"} < set(manifest["sha256"])


def test_the_picture_is_one(finished):
    with Image.open(finished[1] / "moon.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 400
        assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 10


def test_kept_files_of_a_folder_are_the_items_of_image_folder(tmp_path, capsys):
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "out"
    assert prune(photos, out, ratio=0.5) == 0
    ids, paths = zip(*(line.split("\t") for line in lines(out)))
    ids, everything = [int(i) for i in ids], ImageFolder(photos)
    assert [str(photos / path) for path in paths] == [
        everything.samples[i][0] for i in ids
    ] and len(ids) == 45
    kept = Subset(everything, Selection.load(out / "selection").kept)
    for (picture, label), path in zip(kept, paths):
        assert np.array_equal(picture, Image.open(photos / path).convert("RGB"))
        assert everything.classes[label] == Path(path).parts[0]
    printed = capsys.readouterr()
    assert (
        printed.out == f"{out}: 45 of 90 samples are kept\n"
        and "read 90 of 90 images" in printed.err
    )


def test_random_needs_no_training_and_has_no_scores(tmp_path, watched):
    assert prune(watched, tmp_path / "out", "--method", "random") == 0
    assert len(lines(tmp_path / "out")) == 63
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "kept.txt",
        "manifest.json",
        "samples.csv",
        "selection",
    ]


def test_random_pruning_by_difficulty_goes_by_the_recall_in_the_record(tmp_path, watched, capsys):
    by_difficulty = ("--method", "random", "--set", "per_class=difficulty")
    assert prune(watched, tmp_path / "out", *by_difficulty, ratio=0.5) == 0
    told = capsys.readouterr().err
    assert "class quotas go by 1 - recall in training, mean of the last 10 of 10" in told
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    record = TrainingDynamics.load(Path(manifest["record"]["folder"]) / "dynamics")
    recall, selection = dpkit.class_recall(record), Selection.load(tmp_path / "out" / "selection")
    again = dpkit.keep_random(N, 45, rng=0, labels=record.labels, per_class=recall)
    assert selection.kept.tolist() == again.kept.tolist()
    assert selection.params["recall"] == recall.tolist()
    # held-out recall of one's own, in the order of the class numbers
    own = ("--method", "random", "--set", "per_class=[0.9, 0.6, 0.5]")
    assert prune(watched, tmp_path / "own", *own, ratio=0.5) == 0
    kept = Selection.load(tmp_path / "own" / "selection").kept
    sizes, weights = np.bincount(record.labels), np.array([0.1, 0.4, 0.5])
    exact = 45 * sizes * weights / (sizes * weights).sum()
    assert np.all(np.abs(np.bincount(record.labels[kept]) - np.minimum(exact, sizes)) < 2)


def test_nothing_removed_keeps_every_id(tmp_path, watched):
    assert prune(watched, tmp_path / "out", ratio=0) == 0
    assert lines(tmp_path / "out") == [str(i) for i in range(N)]


@pytest.mark.parametrize(
    "change",
    [
        lambda images, labels: {"train_images": images, "train_labels": labels},
        lambda images, labels: {
            "train_images": images,
            "train_labels": labels[:, None].astype(np.uint8),
            "val_images": images[:5],
            "val_labels": labels[:5, None],
            "test_images": images[:5],
            "test_labels": labels[:5, None],
        },
        lambda images, labels: {"images": images[..., None], "labels": labels.astype(np.int32)},
    ],
    ids=["named as ours", "as MedMNIST names and shapes them", "with an axis of channels"],
)
def test_the_same_pictures_under_other_names_and_shapes_are_the_same_set(
    tmp_path, finished, watched, change
):
    other = write_npz(tmp_path / "toys.npz", **change(*toys()))
    assert prune(other, tmp_path / "out", "--method", "dual") == 0
    assert lines(tmp_path / "out") == lines(finished[1])


def test_a_set_of_training_images_alone_has_no_test_split(watched):
    with pytest.raises(
        ValueError,
        match="test split of .*toys.npz needs the arrays test_images and test_labels; it holds",
    ):
        load(watched, split="test", device="cpu")


# ---- what is told --------------------------------------------------------------------------------


def test_progress_tells_every_epoch_and_the_time_left(tmp_path, capsys):
    data = write_npz(tmp_path / "toys.npz", **dict(zip(("images", "labels"), toys())))
    assert prune(data, tmp_path / "out") == 0
    told = capsys.readouterr().err
    counted = re.findall(
        r"^epoch (\d+)/10: training accuracy [\d.]+ %, loss \d\.\d+, \d+ s left$",
        told,
        re.MULTILINE,
    )
    assert counted == [str(k) for k in range(1, EPOCHS + 1)]
    assert re.search(
        "watching small_cnn learn 90 images .*3 classes.* for 10 epochs on the cpu", told
    )
    assert "careful" not in told


def test_the_usual_c_d_is_told_and_one_that_was_asked_for_is_not(tmp_path, watched, capsys):
    assert prune(watched, tmp_path / "usual", ratio=0.8) == 0
    told = capsys.readouterr().err
    assert (
        told.count("c_d = 4, the released script's value for CIFAR") == 1
        and "found the record of an earlier run" in told
    )
    assert (
        prune(watched, tmp_path / "asked", "--c-d", "4", ratio=0.8) == 0
        and "c_d =" not in capsys.readouterr().err
    )
    assert lines(tmp_path / "asked") == lines(tmp_path / "usual")
    assert prune(watched, tmp_path / "other", "--c-d", "11", ratio=0.8) == 0
    assert lines(tmp_path / "other") != lines(tmp_path / "usual")


def test_a_network_that_learned_nothing_is_told(tmp_path, finished, capsys):
    assert prune(finished[0], tmp_path / "out", "--lr", "1e-9") == 0
    assert re.search(
        r"careful: after 10 epochs the network is right on \d+ % of the training images.*Train "
        r"longer",
        capsys.readouterr().err,
    )


def test_a_class_that_vanishes_is_named(tmp_path, watched, capsys):
    # 2 of 90 kept, of 3 classes
    assert prune(watched, tmp_path / "out", "--method", "dual", ratio=0.98) == 0
    kept = [int(line) for line in lines(tmp_path / "out")]
    gone = sorted({0, 1, 2} - set(toys()[1][kept].tolist()))
    assert (
        gone
        and f"careful: no sample of class {', '.join(map(str, gone))} is kept"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "more", [["--method", "random"], ["--method", "dual", "--dynamics", "record"]]
)
def test_a_class_folder_that_vanishes_is_named(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photos")
    made_up_record(np.array(ImageFolder(photos).targets)).save("record")
    assert prune(photos, tmp_path / "out", *more, ratio=0.98) == 0
    gone = sorted(
        {"upright", "level", "slanted"}
        - {Path(line.split("\t")[1]).parts[0] for line in lines(tmp_path / "out")}
    )
    assert (
        gone and f"careful: no sample of class {', '.join(gone)} is kept" in capsys.readouterr().err
    )


# ---- done once -----------------------------------------------------------------------------------


def test_the_same_command_again_trains_nothing_and_touches_nothing(finished, watched, capsys):
    before = contents(finished[1])
    assert prune(watched, finished[1], "--method", "dual") == 0
    told = capsys.readouterr()
    assert contents(finished[1]) == before and "holds this very run; nothing to do" in told.err
    assert told.out.endswith("63 of 90 samples are kept\n")


def test_any_setting_of_a_method_can_be_named(watched, tmp_path, capsys):
    more = [
        "--method",
        "ccs",
        "--set",
        "cutoff=0.25",
        "--set",
        "per_class=balanced",
        "--set",
        "strata=7",
    ]
    assert prune(watched, tmp_path / "out", *more) == 0
    params = dpkit.Selection.load(tmp_path / "out" / "selection").params
    assert (params["cutoff"], params["per_class"], params["strata"]) == (0.25, "balanced", 7)
    assert prune(watched, tmp_path / "usual", "--method", "ccs") == 0
    assert (
        "% went first, CCS's cutoff for cifar10; where more labels are wrong"
        in capsys.readouterr().err
    )
    assert (
        prune(
            watched,
            tmp_path / "mixed",
            "--method",
            "d2",
            "--set",
            "per_class=none",
            "--set",
            "neighbours=3",
        )
        == 0
    )
    assert dpkit.Selection.load(tmp_path / "mixed" / "selection").params["per_class"] is None
    assert prune(watched, tmp_path / "twice", "--set", "c_d=3", "--c-d", "4") == 2
    assert "every setting is named once; got c_d, c_d" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prune(watched, tmp_path / "out", "--set", "cutoff")
    assert "expected NAME=VALUE, e.g. cutoff=0.2; got 'cutoff'" in capsys.readouterr().err


def test_eeprune_watches_a_network_with_exits_and_may_keep_more_than_asked(tmp_path, capsys):
    images, labels = toys()
    data = write_npz(tmp_path / "toys.npz", images=images, labels=labels)
    assert prune(data, tmp_path / "out", "--method", "eeprune", "--exits", "0", "2") == 0
    assert dpkit.Scores.load(tmp_path / "out" / "scores").params == {"exit": 0}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["request"]["exits"] == [
        0,
        2,
    ]
    assert (
        prune(data, tmp_path / "most", "--method", "eeprune", "--exits", "0", "2", ratio=0.95) == 0
    )
    kept, told = len(lines(tmp_path / "most")), capsys.readouterr()
    assert kept > keep_count(N, 0.95) and f"kept {kept:,} of {N} samples" in told.err
    assert (
        f"careful: kept {kept} samples instead of {keep_count(N, 0.95)}: samples scored +inf are "
        "protected" in told.err
    )
    assert "found the record of an earlier run: no training needed" in told.err


def test_the_help_names_every_method(capsys):
    with pytest.raises(SystemExit):
        main(["prune", "--help"])
    told = capsys.readouterr().out.replace("-\n", "-")
    assert all(
        re.search(rf"(?<![\w+]){re.escape(name)}(?![\w+])", told) for name in catalog.METHODS
    )


@pytest.mark.parametrize(
    "more, ratio",
    [
        (["--method", "dual"], 0.8),
        (["--method", "forgetting"], 0.3),
        ([], 0.9),
        (["--method", "el2n"], 0.3),
        (["--method", "dual", "--window", "5"], 0.3),
    ],
)
def test_another_method_ratio_or_window_trains_nothing(tmp_path, watched, more, ratio):
    assert prune(watched, tmp_path / "out", *more, ratio=ratio) == 0
    assert len(lines(tmp_path / "out")) == keep_count(N, ratio)


@pytest.mark.parametrize(
    "more", [["--seed", "1"], ["--epochs", "11"], ["--mirror"], ["--size", "9"]]
)
def test_another_training_is_not_taken_for_this_one(tmp_path, watched, more):
    with pytest.raises(pytest.fail.Exception, match="a training was started"):
        prune(watched, tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


# ---- from a record made elsewhere ----------------------------------------------------------------


def test_a_saved_record_gives_the_same_selection_as_watching(tmp_path, finished, no_training):
    kept_there = json.loads((finished[1] / "manifest.json").read_text())["record"]["folder"]
    record = TrainingDynamics.load(Path(kept_there) / "dynamics")
    # any record, or a whole stage of the cache
    for folder in (record.save(tmp_path / "record"), kept_there):
        out = tmp_path / f"out-{Path(folder).name}"
        assert prune(finished[0], out, "--method", "dual", "--dynamics", str(folder)) == 0
        assert lines(out) == lines(finished[1])
        assert np.array_equal(
            Scores.load(out / "scores").values, Scores.load(finished[1] / "scores").values
        )


def test_a_record_needs_no_pixels(tmp_path, monkeypatch, no_training):
    photos = write_photos(tmp_path / "photos", sizes=(8, 12, 40))  # nobody asks for --size
    monkeypatch.setattr(
        image_files, "read_picture", lambda *a, **k: pytest.fail("an image was decoded")
    )
    record = made_up_record(np.array(ImageFolder(photos).targets))
    record.save(tmp_path / "record")
    assert (
        prune(photos, tmp_path / "out", "--method", "dual", "--dynamics", str(tmp_path / "record"))
        == 0
    )
    expected = np.sort(np.argsort(dual(record).values)[-63:])
    assert lines(tmp_path / "out") == [
        f"{i}\t{os.path.relpath(ImageFolder(photos).samples[i][0], photos)}" for i in expected
    ]


def test_a_loop_of_ones_own_over_image_folder_can_be_pruned_from(tmp_path, capsys):
    photos = ImageFolder(
        write_photos(tmp_path / "photos"), transform=lambda picture: to_tensor(picture).flatten()
    )
    loader = DataLoader(
        dpkit.indexed(photos),
        batch_size=32,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
    )
    net = torch.nn.Linear(3 * 8 * 8, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    recorder = dpkit.Recorder(len(photos), 12)
    for epoch in range(12):
        for index, (x, y) in loader:
            logits = net(x)
            recorder.update(epoch, index, logits, y)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, y).backward()
            optimizer.step()
    recorder.dynamics().save(tmp_path / "record")
    assert prune(photos.root, tmp_path / "out", "--dynamics", str(tmp_path / "record")) == 0
    ids, paths = zip(*(line.split("\t") for line in lines(tmp_path / "out")))
    assert [str(tmp_path / "photos" / path) for path in paths] == [
        photos.samples[int(i)][0] for i in ids
    ] and len(ids) == 63


@pytest.mark.parametrize("whole", [True, False])
def test_a_record_serves_images_that_are_no_bytes(tmp_path, whole):
    images, labels = toys()
    data = write_npz(tmp_path / "floats.npz", images=images / 255, labels=labels)
    record = made_up_record(labels)
    if not whole:  # dual+beta needs no more
        record = TrainingDynamics.from_probs(record.target_prob, labels)
    record.save(tmp_path / "record")
    assert prune(data, tmp_path / "out", "--dynamics", str(tmp_path / "record")) == 0


@pytest.mark.parametrize(
    "change, more, message",
    [
        (
            lambda labels: made_up_record(labels[:-1]),
            [],
            "is of 89 samples, but .*toys.npz has 90: it is of another set",
        ),
        (
            lambda labels: made_up_record(np.where(np.arange(N) == 7, 2 - labels, labels)),
            [],
            r"other labels than .*toys.npz in 1 of 90 rows \(first: row 7, \d there and \d here\)",
        ),
        (
            lambda labels: made_up_record(labels[::-1]),
            [],
            "rows .*: it is of another set, or of this one in another order",
        ),
        (
            lambda labels: TrainingDynamics.from_probs(np.full((12, N), 0.5), labels),
            ["--method", "aum"],
            "aum needs margin, and this record has none, as it was made of probabilities alone",
        ),
        (
            lambda labels: made_up_record(labels),
            ["--method", "el2n"],
            "el2n looks at a snapshot, and .* leave --dynamics out",
        ),
        (
            lambda labels: made_up_record(labels, epochs=5),
            [],
            r"window must be 2\.\.5 epochs \(this record has 5\); got 10",
        ),
        (
            lambda labels: made_up_record(labels),
            ["--method", "d2"],
            "d2 looks at a snapshot, and .* leave --dynamics out",
        ),
        (
            lambda labels: made_up_record(labels),
            ["--set", "c_d=abc"],
            r"dual\+beta cannot use the settings c_d=abc",
        ),
        (
            lambda labels: made_up_record(labels),
            ["--method", "dual", "--set", "protect_inf=maybe"],
            "protect_inf must be true or",
        ),
        (
            lambda labels: made_up_record(labels),
            ["--method", "dual", "--c-d", "3"],
            "dual takes the settings window.*; got c_d",
        ),
        (
            lambda labels: Scores(np.arange(90), "mine"),
            [],
            "expected a saved TrainingDynamics in .*record; it holds a Scores",
        ),
        (
            lambda labels: None,
            [],
            "expected a saved TrainingDynamics in .*record; there is no manifest.json",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path, capsys, change, more, message):
    images, labels = toys()
    labels[7] = 0
    data = write_npz(tmp_path / "toys.npz", images=images, labels=labels)
    if (record := change(labels)) is not None:
        record.save(tmp_path / "record")
    refused(
        prune(data, tmp_path / "out", "--dynamics", str(tmp_path / "record"), *more),
        tmp_path / "out",
        capsys,
        message,
    )


def held_out_record(labels, unlabelled=-1, held_out=None):
    """A record of which rows are missing, and the rows that are there."""
    whole = made_up_record(labels)
    held_out = np.arange(2, len(labels), 5) if held_out is None else held_out
    prob, correct, told = whole.target_prob.copy(), whole.correct.copy(), labels.copy()
    prob[held_out], correct[held_out], told[held_out] = np.nan, False, unlabelled
    return TrainingDynamics(prob, prob, correct, told), np.setdiff1d(
        np.arange(len(labels)), held_out
    )


@pytest.mark.parametrize("unlabelled", [-1, 0])  # 0: how version 0.6 kept it
@pytest.mark.parametrize(
    "method, more",
    [
        ("dual", {}),
        ("dual", {"per_class": "balanced"}),
        ("dual+beta", {"c_d": 4.0}),
        ("ccs", {}),
        ("random", {"per_class": "proportional"}),
        ("random", {}),
    ],
)
def test_what_has_no_record_is_no_candidate_and_the_ratio_is_of_the_others(
    tmp_path, method, more, unlabelled
):
    labels, said = np.arange(N) % 3, []
    record, there = held_out_record(labels, unlabelled)
    record.save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=labels)
    for _ in range(2):  # again: the same run, told from what it left
        manifest = dpkit.prune(
            data,
            tmp_path / "out",
            method=method,
            prune_ratio=0.5,
            dynamics=tmp_path / "record",
            options=more,
            say=said.append,
        )
    kept, selection = (
        [int(line) for line in lines(tmp_path / "out")],
        Selection.load(tmp_path / "out" / "selection"),
    )
    assert len(kept) == manifest["keep"] == keep_count(len(there), 0.5) == 36 and set(kept) <= set(
        there
    )
    assert (manifest["num_samples"], manifest["no_record"]) == (N, N - len(there)) == (90, 18)
    assert selection.num_samples == N and selection.kept.tolist() == kept
    assert (
        "18 of 90 samples have no record: the choice is among the other 72" in said
        and "this very run" in said[-1]
    )
    # the same choice as of a set that never held them
    alone = TrainingDynamics(
        *(getattr(record, name)[there] for name in ("target_prob", "margin", "correct", "labels"))
    )
    expected = (
        catalog.find_method(method)
        .choose(
            None if method == "random" else alone,
            36,
            num_samples=72,
            labels=labels[there],
            rng=0,
            **more,
        )
        .kept
    )
    assert kept == there[expected].tolist()
    if method != "random":
        scores = Scores.load(tmp_path / "out" / "scores").values
        assert np.isneginf(np.delete(scores, there)).all() and np.isfinite(scores[there]).all()


def test_kept_files_of_a_held_out_record_are_the_sets_own(tmp_path):
    photos = write_photos(tmp_path / "photos")
    labels = np.array([target for _, target in ImageFolder(photos).samples])
    record, there = held_out_record(labels)
    record.save(tmp_path / "record")
    assert prune(photos, tmp_path / "out", "--dynamics", str(tmp_path / "record")) == 0
    ids, paths = zip(*(line.split("\t") for line in lines(tmp_path / "out")))
    assert set(map(int, ids)) <= set(there) and len(ids) == keep_count(72, 0.3)
    assert [str(photos / path) for path in paths] == [
        ImageFolder(photos).samples[int(i)][0] for i in ids
    ]
    assert (tmp_path / "out" / "moon.png").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda labels: held_out_record(labels, held_out=np.arange(90))[0],
            "holds no sample that was trained on",
        ),
        (
            lambda labels: held_out_record(np.where(np.arange(N) == 3, (labels + 1) % 3, labels))[
                0
            ],
            r"other labels than .* in 1 of 90 rows \(first: row 3,",
        ),
        (
            lambda labels: held_out_record(labels, held_out=np.arange(1, 90))[0],
            "prune_ratio 0.9 would keep none of 1 samples",
        ),
    ],
)
def test_a_held_out_record_that_fits_no_choice_is_refused(tmp_path, capsys, change, message):
    labels = np.arange(N) % 3
    change(labels).save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=labels)
    code = prune(
        data,
        tmp_path / "out",
        "--method",
        "random",
        "--dynamics",
        str(tmp_path / "record"),
        ratio=0.9,
    )
    refused(code, tmp_path / "out", capsys, message)


def test_a_file_is_no_record_and_is_told_what_to_make_of_it(tmp_path, capsys):
    images, labels = toys()
    data = write_npz(tmp_path / "toys.npz", images=images, labels=labels)
    code = prune(data, tmp_path / "out", "--dynamics", str(data))
    refused(code, tmp_path / "out", capsys, "toys.npz is a file: .*from_probs.*--scores")


def test_a_class_without_a_record_is_named(tmp_path, capsys):
    labels = np.arange(N) % 3
    held_out_record(labels, held_out=np.flatnonzero(labels == 1))[0].save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=labels)
    assert (
        prune(data, tmp_path / "out", "--method", "dual", "--dynamics", str(tmp_path / "record"))
        == 0
    )
    assert (
        "no sample of class 1 is kept; prune less, or choose another method, or record"
        in capsys.readouterr().err
    )


def test_the_two_lines_with_a_held_out_split_can_be_pruned_from(tmp_path):
    photos = ImageFolder(
        write_photos(tmp_path / "photos"), transform=lambda picture: to_tensor(picture).flatten()
    )
    train_ids = np.setdiff1d(np.arange(len(photos)), np.arange(0, len(photos), 4))
    loader = DataLoader(Subset(dpkit.indexed(photos), train_ids), batch_size=32, shuffle=True)
    recorder, net = dpkit.Recorder(len(photos), 12, index=train_ids), torch.nn.Linear(3 * 8 * 8, 3)
    for epoch in range(12):
        for index, (x, y) in loader:
            recorder.update(epoch, index, net(x), y)
    recorder.dynamics().save(tmp_path / "record")
    assert prune(photos.root, tmp_path / "out", "--dynamics", str(tmp_path / "record")) == 0
    assert {int(line.split("\t")[0]) for line in lines(tmp_path / "out")} <= set(train_ids.tolist())


def test_an_edited_method_is_another_run(tmp_path, monkeypatch):
    made_up_record(np.arange(40) % 3).save(tmp_path / "record")
    data = write_npz(tmp_path / "labels.npz", labels=np.arange(40) % 3)

    def kept_by(sign, **more):
        def mine(dynamics):
            return Scores(sign * dynamics.mean_prob(), "mine")

        monkeypatch.setitem(catalog.METHODS, "mine", Method("dynamics", mine, dpkit.keep_top))
        dpkit.prune(
            data,
            tmp_path / "out",
            method="mine",
            prune_ratio=0.5,
            dynamics=tmp_path / "record",
            say=str,
            **more,
        )
        return lines(tmp_path / "out")

    easy = kept_by(1)
    assert kept_by(1) == easy
    with pytest.raises(FileExistsError, match=r"holds another run \(other code\)"):
        kept_by(-1)
    assert not set(kept_by(-1, overwrite=True)) & set(easy)


def test_a_pruning_is_no_record_and_says_where_its_record_lies(tmp_path, finished, capsys):
    code = prune(finished[0], tmp_path / "out", "--dynamics", str(finished[1]))
    refused(
        code,
        tmp_path / "out",
        capsys,
        r"out is a pruning, not a record; the record it was made from is in .*record-\w+$",
    )


# ---- refused -------------------------------------------------------------------------------------


def refused(code, out, capsys, message):
    """Exit code 2, one sentence, nothing written."""
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dpkit: ")]
    assert code == 2 and len(told) == 1 and re.search(message, told[0]), told
    assert not out.exists() and not list(out.parent.glob(f".{out.name}*"))


@pytest.mark.parametrize(
    "arrays, message",
    [
        (
            {"x": "images", "y": "labels"},
            r"split of \S*own\.npz needs the arrays train_images and train_labels; it holds x, y",
        ),
        ({"images": "images"}, "needs the arrays images and labels; it holds images"),
        (
            {"test_images": "images", "test_labels": "labels"},
            "the arrays train_images and train_labels; it holds test_images",
        ),
        ({}, "it holds none"),
        (
            {"images": "floats", "labels": "labels"},
            r"uint8, 0\.\.255; got float64 of shape \(90, 8, 8\): scale them to 0\.\.255",
        ),
        (
            {"images": "images", "labels": "one class"},
            r"own\.npz must hold at least two classes .*; all 90 labels are the same",
        ),
        (
            {"images": "images", "labels": "table"},
            r"labels must be \(90,\) whole numbers or names; got int64 of shape \(90, 2\)",
        ),
        (
            {"images": "tiny", "labels": "labels"},
            r"small_cnn needs images of at least 8x8 pixels; these are 6x7: .*--size 8",
        ),
    ],
)
def test_a_file_that_cannot_be_pruned_is_told_why(tmp_path, capsys, no_training, arrays, message):
    images, labels = toys()
    there = {
        "images": images,
        "labels": labels,
        "floats": images / 255,
        "one class": 0 * labels + 2,
        "tiny": images[:, :7, :6],
        "table": np.stack([labels, labels], 1),
    }
    data = write_npz(tmp_path / "own.npz", **{name: there[what] for name, what in arrays.items()})
    refused(prune(data, tmp_path / "out"), tmp_path / "out", capsys, message)


@pytest.mark.parametrize(
    "more, ratio, message",
    [
        (
            ["--method", "duel"],
            0.3,
            "unknown method 'duel'; there are random, dual.*did you mean dual",
        ),
        (["--model", "resnet"], 0.3, "unknown model 'resnet'; there are small_cnn, fast_cnn"),
        ([], 1.0, r"fraction removed and must be in \[0, 1\); got 1\.0"),
        ([], -0.1, r"in \[0, 1\); got -0\.1"),
        ([], "nan", r"in \[0, 1\); got nan"),
        ([], 0.999, "prune_ratio 0.999 would keep none of 90 samples: choose a smaller one"),
        (
            ["--method", "eeprune", "--exits", "3"],
            0.3,
            r"after must be stages of 0\.\.2 .*; got \(3,\)",
        ),
        (["--method", "eeprune", "--set", "exit=1"], 0.3, r"exit must be 0\.\.0 here; got 1"),
        (
            ["--epochs", "5"],
            0.3,
            r"window must be 2\.\.5 epochs \(this record has 5\); got 10: record longer or "
            r"choose a shorter",
        ),
        (["--window", "11"], 0.3, r"window must be 2\.\.10 epochs"),
        (["--window", "1"], 0.3, r"window must be 2\.\.10 .*got 1:"),
        (["--method", "dual", "--c-d", "3"], 0.3, "dual takes the settings window.*; got c_d"),
        (["--method", "aum", "--window", "3"], 0.3, "aum takes the settings .*; got window"),
        (["--c-d", "0"], 0.3, "c_d must be a number above 0 .*got 0"),
        (["--epochs", "0"], 0.3, "epochs must be a whole number from 1; got 0"),
        (["--lr", "0"], 0.3, "lr must be a number above 0; got 0.0"),
        (["--seed", "-1"], 0.3, "seed must be a whole number from 0; got -1"),
        (["--size", "0"], 0.3, "size must be a whole number of pixels, at least 1; got 0"),
        (["--device", "tpu"], 0.3, 'device must be "auto", "cpu" or "cuda"; got \'tpu\''),
        (
            ["--dynamics", "nowhere"],
            0.3,
            "expected a saved TrainingDynamics in nowhere; there is no manifest.json",
        ),
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_any_training(
    tmp_path, finished, no_training, capsys, more, ratio, message
):
    refused(
        prune(finished[0], tmp_path / "out", *more, ratio=ratio), tmp_path / "out", capsys, message
    )
    assert not list(tmp_path.glob("cache/record-*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path, finished, capsys):
    code = prune(finished[0], tmp_path / "out", "--device", "cuda")
    refused(code, tmp_path / "out", capsys, "torch finds no GPU; got 'cuda'")


def test_a_training_that_diverges_is_refused_with_advice(tmp_path, finished, capsys):
    refused(
        prune(finished[0], tmp_path / "out", "--lr", "1e30"),
        tmp_path / "out",
        capsys,
        "diverged; use a smaller l",
    )


@pytest.mark.parametrize(
    "epochs, recipe",
    [(0, None), (0, RECIPE), (EPOCHS + 1, RECIPE), (3, Recipe(budget="steps", steps=9))],
)
def test_more_epochs_than_the_recipe_has_are_refused(
    tmp_path, finished, no_training, epochs, recipe
):
    with pytest.raises(
        ValueError, match=rf"epochs must be 1\.\.\d+ \(the recipe's\); got {epochs}"
    ):
        dpkit.prune(
            finished[0],
            tmp_path / "out",
            prune_ratio=0.3,
            epochs=epochs,
            recipe=recipe,
            device="cpu",
        )


# ---- the folder is taken -------------------------------------------------------------------------


@pytest.fixture
def out(tmp_path, watched):
    """A folder that holds a pruning by dual, 0.3."""
    assert prune(watched, tmp_path / "out", "--method", "dual") == 0
    return tmp_path / "out"


def left_as_it_was(code, out, before, capsys, message):
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dpkit: ")]
    assert code == 2 and len(told) == 1 and re.search(message, told[0]), told
    assert contents(out) == before


def test_another_run_is_replaced_only_on_request(out, watched, capsys):
    before = contents(out)
    code = prune(watched, out, "--method", "dual", ratio=0.5)
    left_as_it_was(
        code,
        out,
        before,
        capsys,
        r"out holds another run \(other prune_ratio\); .* replace it with --overwrite",
    )
    assert prune(watched, out, "--method", "random", "--overwrite", ratio=0.5) == 0
    assert len(lines(out)) == 45 and not (out / "scores").exists()  # nothing of the old run is left
    assert [path.name for path in out.parent.iterdir() if "out" in path.name] == ["out"]


def test_a_refused_run_replaces_nothing(out, watched, capsys):
    before = contents(out)
    code = prune(watched, out, "--overwrite", "--c-d", "-3")
    left_as_it_was(code, out, before, capsys, "c_d must be a number above 0")


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_other_peoples_files_are_never_replaced(tmp_path, watched, capsys, more):
    (tmp_path / "out" / "thesis").mkdir(parents=True)
    (tmp_path / "out" / "thesis" / "chapter.tex").write_text("years")
    before = contents(tmp_path / "out")
    code = prune(watched, tmp_path / "out", *more)
    left_as_it_was(
        code,
        tmp_path / "out",
        before,
        capsys,
        "out exists and is not an earlier result of this kind",
    )


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_saved_record_is_never_replaced(tmp_path, watched, capsys, more):
    out = made_up_record(np.arange(6) % 3).save(tmp_path / "out")
    before = contents(out)
    left_as_it_was(
        prune(watched, out, *more), out, before, capsys, "out holds something else than a pruning"
    )


def test_a_file_put_beside_a_pruning_is_not_lost_by_overwriting(out, watched, capsys):
    (out / "selection" / "notes.txt").write_text("mine")
    before = contents(out)
    code = prune(watched, out, "--overwrite", ratio=0.5)
    left_as_it_was(
        code,
        out,
        before,
        capsys,
        "out holds selection/notes.txt, which dpkit did not write there.*move it away",
    )
    # and nobody minds it there
    assert prune(watched, out, "--method", "dual") == 0 and contents(out) == before


@pytest.mark.parametrize("name", ["kept.txt", "moon.png", "selection/kept.npy"])
@pytest.mark.parametrize(
    "change",
    [lambda file: file.write_bytes(file.read_bytes()[:-3]), Path.unlink],
    ids=["cut", "removed"],
)
def test_a_changed_result_is_noticed_and_made_again_on_request(
    finished, out, watched, capsys, name, change
):
    change(out / name)
    before = contents(out)
    code = prune(watched, out, "--method", "dual")
    left_as_it_was(
        code,
        out,
        before,
        capsys,
        f"out/{name} was changed or removed since this run wrote it.*--overwrite",
    )
    assert prune(watched, out, "--method", "dual", "--overwrite") == 0 and lines(out) == lines(
        finished[1]
    )


def test_files_that_were_renamed_make_another_run(tmp_path, capsys):
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "out"
    made_up_record(np.array(ImageFolder(photos).targets)).save(tmp_path / "record")
    for more in (["--dynamics", str(tmp_path / "record")], ["--method", "random", "--overwrite"]):
        assert prune(photos, out, *more) == 0
        before, name = contents(out), next(photos.glob("level/*"))
        name.rename(name.with_name(name.stem + "a.png"))  # same place in the order, same pixels
        again = [word for word in more if word != "--overwrite"]
        left_as_it_was(
            prune(photos, out, *again),
            out,
            before,
            capsys,
            r"out holds another run \(other paths\)",
        )


@pytest.mark.parametrize("place", ["file", "file/out", "file/deep/out"])
def test_a_place_where_no_folder_can_be_is_refused_before_any_training(
    tmp_path, finished, no_training, capsys, place
):
    (tmp_path / "file").write_text("mine")
    assert prune(finished[0], tmp_path / place) == 2 and (tmp_path / "file").read_text() == "mine"
    assert len(capsys.readouterr().err.splitlines()) == 1


# ---- killed --------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def stopping_at(beginning):
    def say(line):
        if line.startswith(beginning):
            raise Killed

    return say


@pytest.mark.parametrize("moment", ["watching", "epoch 1/", "epoch 6/", "epoch 10/"])
def test_a_run_that_was_killed_goes_on_without_repeating_what_is_written(
    tmp_path, finished, every_epoch, steps_taken, moment
):
    def run(say):
        return dpkit.prune(
            finished[0],
            tmp_path / "out",
            method="dual",
            prune_ratio=0.3,
            epochs=EPOCHS,
            recipe=RECIPE,
            device="cpu",
            say=say,
        )

    with pytest.raises(Killed):
        run(stopping_at(moment))
    assert not (tmp_path / "out").exists()
    told = []
    run(told.append)
    assert steps_taken() == STEPS and lines(tmp_path / "out") == lines(finished[1])
    # those of before are counted, too
    assert sum(line.startswith("epoch") for line in told) == EPOCHS
    assert not list(tmp_path.glob("cache/*partial*"))


def test_a_disk_that_fills_while_the_folder_is_written_leaves_none(
    tmp_path, watched, monkeypatch, capsys
):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(np, "save", full)
        assert prune(watched, tmp_path / "out") == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert (
        told.startswith("dpkit: no space left on the disk of ")
        and "free some, and the same command goes on" in told
    )
    assert not list(tmp_path.glob("*out*"))
    assert prune(watched, tmp_path / "out") == 0


def test_what_a_killed_run_left_beside_the_folder_is_cleared(tmp_path, watched):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    left = tmp_path / f".out.building-{claims.host_name()}-{done.pid}-1"
    left.mkdir()
    (left / "kept.txt").write_text("half")
    assert prune(watched, tmp_path / "out") == 0
    assert not list(tmp_path.glob(".out*")) and len(lines(tmp_path / "out")) == 63


@pytest.mark.parametrize("signum, code", [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_leaves_nothing_and_can_be_given_again(
    tmp_path, finished, monkeypatch, signum, code
):
    longer = ["--epochs", "30"]  # long enough to be stopped on the way
    command = [
        sys.executable,
        "-m",
        "dpkit",
        "prune",
        str(finished[0]),
        "--ratio",
        "0.3",
        "--out",
        str(tmp_path / "out"),
        *TRAINING,
        *longer,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/30"):
                process.send_signal(signum)
                break
        told = process.stderr.read()
    assert process.returncode == code and not (tmp_path / "out").exists()
    assert "Traceback" not in told
    if signum == signal.SIGINT:
        assert told.splitlines()[-1] == "dpkit: interrupted; the same command goes on from here"
        return
    assert prune(finished[0], tmp_path / "out", *longer) == 0
    monkeypatch.setenv("DPKIT_CACHE", str(finished[2]))
    assert prune(finished[0], tmp_path / "undisturbed", *longer) == 0
    assert lines(tmp_path / "out") == lines(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]
