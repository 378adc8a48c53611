"""Full disks, failing disks and places that cannot be written to: one sentence, before anything is
computed where that can be known, and then the same command goes on.
"""

import errno
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import dpkit
from dpkit import storage
from dpkit.cli import main
from dpkit.experiments import space, sweep_worker
from dpkit.experiments.stages import record
from dpkit.training.loop import Recipe

NO_SPACE = "no space left on the disk of {}; free some, and the same command goes on"
RECIPE = Recipe(epochs=3, batch_size=30, lr=0.05)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A set of 60 images in two classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 80, (60, 8, 8), dtype=np.uint8)
    images[labels == 1, :4] += 150
    file = tmp_path_factory.mktemp("toys") / "toys.npz"
    np.savez(file, images=images, labels=labels)
    return file


def prune(data, out, *more):
    how = ["--ratio", "0.5", "--method", "el2n", "--epochs", "3", "--batch-size", "30"]
    return main(["prune", str(data), "--out", str(out), *how, "--lr", "0.05", *more])


# ---- full disks ----------------------------------------------------------------------------------


def write_array(file):
    np.save(file, np.zeros(200_000))


def write_network(file):
    torch.save(torch.zeros(200_000), file)


def write_array_by_name(file):
    np.save(file.name, np.zeros(200_000))


def write_network_by_name(file):
    torch.save(torch.zeros(200_000), file.name)


def write_copy(file):
    folder = Path(file.name).parent / "from"
    folder.mkdir()
    try:
        (folder / "a").symlink_to(__file__)
        with open(folder.parent / "fill", "wb", buffering=0) as fill:
            while fill.write(bytes(4096)) == 4096:
                pass
    except OSError:
        pass
    shutil.copytree(folder, folder.parent / "to")


WRITERS = [write_array, write_network, write_array_by_name, write_network_by_name, write_copy]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_told_alike_whatever_library_meets_it(disk, write):
    place = disk("size=100k") / "result"
    with pytest.raises(storage.DiskFault) as told, storage.whole_file(place) as file:
        write(file)
    assert told.value.strerror.startswith(NO_SPACE.format(place))
    assert told.value.errno == errno.ENOSPC and not place.exists()


@pytest.mark.parametrize(
    "number, words",
    [
        (errno.EDQUOT, "no space left on the disk of here; free some"),
        (errno.EIO, "the disk of here fails .Input/output error.; once it works again"),
        (errno.ESTALE, "the disk of here fails"),
        (errno.EROFS, "the disk of here fails"),
    ],
)
def test_quotas_and_failing_disks_are_passing_faults_also_behind_other_errors(number, words):
    with pytest.raises(storage.DiskFault, match=words) as told, storage.disks.writing("here"):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise ValueError("a library's own words") from error
    again = pickle.loads(pickle.dumps(told.value))
    failure = sweep_worker.failure(again)
    assert failure.transient and failure.reason == told.value.strerror


def test_an_inner_fault_keeps_its_words_and_a_file_elsewhere_is_named(tmp_path):
    inner = storage.DiskFault(errno.ENOSPC, "the inner sentence")
    with pytest.raises(storage.DiskFault) as told, storage.disks.writing(tmp_path / "out"):
        raise inner
    assert told.value is inner
    for file, named in (
        ("/tmp/of-a-library", "/tmp/of-a-library"),
        (tmp_path / ".out.part", tmp_path / "out"),
    ):
        with pytest.raises(storage.DiskFault) as told, storage.disks.writing(tmp_path / "out"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        assert told.value.strerror.startswith(NO_SPACE.format(named))


def test_names_that_are_too_long_with_a_long_name_of_the_machine_are_refused(tmp_path, monkeypatch):
    name = "n" * 160  # of 255
    storage.check_folder(tmp_path / name)
    monkeypatch.setattr(storage.claims, "host_name", lambda: "h" * 64)
    with pytest.raises(storage.UnusablePlace, match="has a name of 160 bytes, and 1.. are"):
        storage.check_folder(tmp_path / name)


@pytest.mark.parametrize("error", [ValueError("no"), PermissionError(13, "no"), RuntimeError("x")])
def test_what_is_no_fault_of_the_disk_stays_what_it_is(error):
    with pytest.raises(type(error)) as told, storage.disks.writing("here"):
        raise error
    assert told.value is error and storage.disk_fault(error, "here") is None


@pytest.mark.parametrize("size", ["60k", "500k"])  # the snapshot does not fit; the checkpoint
def test_a_cache_without_space_is_told_and_the_same_command_goes_on(
    disk, toys, tmp_path, capsys, monkeypatch, size
):
    cache = disk(f"size={size}") / "cache"
    monkeypatch.setenv("DPKIT_CACHE", str(cache))
    assert prune(toys, tmp_path / "out") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("dpkit: " + NO_SPACE.format(f"{cache}/record-")[:45])
    assert "free some, and the same command goes on" in told[-1]
    assert any("free some first, or the run will stop" in line for line in told)
    disk("remount", "size=20m")
    assert prune(toys, tmp_path / "out") == 0
    assert "free some first" not in capsys.readouterr().err


def test_the_estimate_of_a_record_is_near_what_it_takes(tmp_path, toys):
    images = dpkit.load(toys, device="cpu")
    record(images, model="small_cnn", recipe=RECIPE, epochs=3, seed=0, cache=tmp_path)
    [folder] = tmp_path.glob("record-*")
    took = sum(file.stat().st_size for file in folder.rglob("*.npy"))
    _, kept = space.record_bytes(
        "small_cnn", shape=(1, 8, 8), num_classes=2, num_samples=60, epochs=3
    )
    headers = 128 * len(list(folder.rglob("*.npy")))
    assert 0.5 * kept < took - headers <= kept * 1.01


def test_a_network_that_cannot_be_looked_at_has_no_estimate_and_is_pruned_by_all_the_same(tmp_path):
    def on_a_gpu(channels, classes):
        raise RuntimeError("No CUDA GPUs are available")

    about = {"shape": (1, 8, 8), "num_classes": 2, "num_samples": 60, "epochs": 3}
    assert space.record_bytes(on_a_gpu, **about) is None


def test_little_space_is_not_spoken_of(tmp_path):
    assert space.space_note([], tmp_path) is None
    assert space.space_note([(2000, 1000)], tmp_path) is None
    much = space.space_note([(2**60, 2**59), (2**60, 2**59)], tmp_path / "not" / "there")
    assert much.startswith("2 records take about 1729382256.9 GB in")
    assert much.endswith("are free there: free some first, or the run will stop on its way")


# ---- places, up front ----------------------------------------------------------------------------


@pytest.fixture
def unread(monkeypatch):
    monkeypatch.setattr(
        "dpkit.experiments.pruning_source.load", lambda *a, **k: pytest.fail("images were read")
    )


def bad_places(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    return {
        "file": "is no folder",
        "file/in/it": f"cannot be made, as {tmp_path}/file is no folder",
        "dangling": f"is a link to {tmp_path}/nowhere, which is not there",
        "dangling/out": f"as {tmp_path}/dangling is a link to",
        "round": "is a link to",
        "n" * 300: "has a name of 300 bytes",
        "n" * 250: "has a name of 250 bytes",
        "not/there/" + "n" * 300: "has a name of 300 bytes",
        "deep/" * 1000: "has a path of",
    }


def test_a_place_that_cannot_be_is_refused_before_an_image_is_read(
    tmp_path, toys, unread, capsys, monkeypatch
):
    before = None
    for name, words in bad_places(tmp_path).items():
        before = before or sorted(tmp_path.iterdir())
        place = tmp_path / name
        assert prune(toys, place) == 2, name
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and str(place) in told[0] and words in told[0], told
        with monkeypatch.context() as patch:
            patch.setenv("DPKIT_CACHE", str(place))
            assert prune(toys, tmp_path / "out") == 2, name
        assert words in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_the_other_commands_refuse_such_places_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "grid.yaml").write_text(
        "{dataset: digits, num_samples: 60, method: random, prune_ratio: 0.5, record: {}, "
        "retrain: {epochs: 1}}"
    )
    monkeypatch.setattr(
        "dpkit.experiments.sweeps.cells_of", lambda *a: pytest.fail("images were read")
    )
    pytest.importorskip("nbgrader")
    for name, words in bad_places(tmp_path).items():
        place = str(tmp_path / name)
        assert main(["sweep", str(tmp_path / "grid.yaml"), "--out", place]) == 2, name
        assert words in capsys.readouterr().err
        assert main(["report", "00_start_here", "--out", place]) == 2, name
        assert words in capsys.readouterr().err
        assert main(["lessons", "--to", place]) == 2, name
        assert words in capsys.readouterr().err
        assert main(["assignments", "--out", place]) == 2, name
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("which", ["out", "cache"])
def test_a_read_only_disk_is_refused_before_an_image_is_read(
    disk, toys, tmp_path, unread, capsys, monkeypatch, which
):
    place = disk("size=100k", "ro") / "results"
    out = place if which == "out" else tmp_path / "out"
    monkeypatch.setenv("DPKIT_CACHE", str(place if which == "cache" else tmp_path / "cache"))
    assert prune(toys, out) == 2
    told = capsys.readouterr().err
    assert f"{place} cannot be made, as {tmp_path}/disk cannot be written to" in told


def test_a_folder_where_a_disk_is_mounted_is_refused_as_a_result(disk, toys, unread, capsys):
    place = disk("size=100k")
    assert prune(toys, place) == 2
    assert f"{place} is where a disk is mounted" in capsys.readouterr().err
    storage.check_folder(place)  # what is written into it may lie there
    with storage.claimed(place, inside=True):
        assert len(list(place.iterdir())) == 1  # on that disk, where other machines see it
    assert not list(place.iterdir()) and place.is_mount()


# ---- two runs, one place -------------------------------------------------------------------------


def test_a_second_prune_into_one_folder_is_refused_and_the_first_stays(tmp_path, toys, capsys):
    codes = []

    def say(line):
        if line.startswith("epoch 1/"):
            codes.append(second())

    def second():
        from threading import Thread

        found = []
        thread = Thread(target=lambda: found.append(prune(toys, tmp_path / "out", "--seed", "1")))
        thread.start()
        thread.join()
        return found[0]

    dpkit.prune(
        toys, tmp_path / "out", method="el2n", prune_ratio=0.5, epochs=3, recipe=RECIPE, say=say
    )
    assert codes == [2]
    assert f"out is being written by another run (process {os.getpid()} on" in (
        capsys.readouterr().err
    )
    assert storage.read_manifest(tmp_path / "out")["request"]["seed"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]
    assert prune(toys, tmp_path / "out", "--seed", "1") == 2  # and it holds another run


def test_a_refused_run_leaves_no_folder(tmp_path, capsys):
    assert prune(tmp_path / "none.npz", tmp_path / "deep" / "er" / "out") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_folder_is_pruned_into(tmp_path, toys):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    assert prune(toys, tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target" / "kept.txt").exists()
    assert prune(toys, tmp_path / "link") == 0  # this very run
