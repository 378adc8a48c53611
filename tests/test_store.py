"""Files and folders are whole or absent, whatever stops the writing."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from dpkit import storage
from dpkit.storage import claims
from dpkit.storage.temporary import remove_open, temporary_folder
from dpkit.training.checkpoint import UnusableCheckpoint, undamaged

ROOT = Path(__file__).parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def by(pid, thread=1, host=None):
    """How a writer's leftovers end: host-process-thread."""
    return f"{host or claims.host_name()}-{pid}-{thread}"


@pytest.fixture(scope="module")
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def busy_thread():
    """The number of a thread of ours that lives as long as the test."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield thread.ident
    end.set()
    thread.join()


def test_a_file_appears_when_its_block_ends(tmp_path):
    with storage.whole_file(tmp_path / "deep" / "file") as file:
        file.write(b"new")
        assert not (tmp_path / "deep" / "file").exists()
    assert (tmp_path / "deep" / "file").read_bytes() == b"new" and names(tmp_path / "deep") == [
        "file"
    ]


def test_a_failed_block_leaves_the_earlier_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.whole_file(tmp_path / "file") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_what_killed_writers_left_beside_a_file_is_cleared(tmp_path, dead_pid, busy_thread):
    # the second: a thread that ended
    dead = [f".file.writing-{by(dead_pid)}", f".file.writing-{by(os.getpid())}"]
    others = [
        f".file.writing-{by(os.getppid())}",
        f".file.writing-{by(os.getpid(), busy_thread)}",
        f".file.writing-{by(dead_pid, host='elsewhere')}",
        f".other.writing-{by(dead_pid)}",
    ]
    for name in dead + others:
        (tmp_path / name).write_bytes(b"half")
    with storage.whole_file(tmp_path / "file") as file:
        file.write(b"new")
    assert names(tmp_path) == sorted([*others, "file"])


def test_a_dead_process_that_nobody_asked_for_is_dead(tmp_path, wait_until):
    # in a container a killed run's workers may stay like this for good
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    (tmp_path / f".file.writing-{by(process.pid)}").write_bytes(b"half")
    with storage.whole_file(tmp_path / "file"):
        pass
    process.wait()
    assert names(tmp_path) == ["file"]


def test_json_takes_numpy_and_paths_and_refuses_the_rest(tmp_path):
    storage.write_json(
        tmp_path / "a.json",
        {"i": np.int64(3), "x": np.float32(0.5), "v": np.arange(2), "p": Path("a") / "b"},
    )
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "i": 3,
        "x": 0.5,
        "v": [0, 1],
        "p": os.path.join("a", "b"),
    }
    with pytest.raises(TypeError, match="something JSON can hold .*; got set"):
        storage.write_json(tmp_path / "b.json", {1, 2})
    with pytest.raises(ValueError, match="JSON compliant"):
        storage.write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert names(tmp_path) == ["a.json"]


def test_a_folder_appears_when_its_block_ends_and_replaces_only_its_like(tmp_path):
    for text in ("one", "two"):
        with storage.whole_folder(tmp_path / "out") as part:
            (part / "manifest.json").write_text(text)
    assert (tmp_path / "out" / "manifest.json").read_text() == "two" and names(tmp_path) == ["out"]
    (tmp_path / "file").write_text("precious")
    for name, replaces, message in (
        ("out", "verdict.json", "no verdict.json in it"),
        ("file", "manifest.json", "file exists and is not an earlier result"),
    ):
        with (
            pytest.raises(FileExistsError, match=message),
            storage.whole_folder(tmp_path / name, replaces=replaces),
        ):
            pytest.fail("refused before the block runs")
    assert names(tmp_path) == ["file", "out"]


def test_a_failed_block_leaves_the_earlier_folder(tmp_path):
    with storage.whole_folder(tmp_path / "out") as part:
        (part / "manifest.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), storage.whole_folder(tmp_path / "out") as part:
        (part / "manifest.json").write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "manifest.json").read_text() == "old" and names(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_swapped_in_leaves_the_earlier_one(tmp_path, monkeypatch):
    with storage.whole_folder(tmp_path / "out") as part:
        (part / "manifest.json").write_text("old")
    rename = os.rename

    def fails(source, target):
        if ".building-" in str(source):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with (
        pytest.raises(OSError, match="Input/output error"),
        storage.whole_folder(tmp_path / "out") as part,
    ):
        (part / "manifest.json").write_text("new")
    assert (tmp_path / "out" / "manifest.json").read_text() == "old" and names(tmp_path) == ["out"]


def test_leftovers_of_the_dead_are_cleared_and_what_is_not_ours_stays(tmp_path, dead_pid):
    dead = [f".out.building-{by(dead_pid)}", f".out.replaced-{by(dead_pid)}"]
    others = [".out.backup-mine", ".out.backup-of-my-own-work"]
    for name in [*dead, *others, "out"]:
        (tmp_path / name).mkdir()
    with storage.whole_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == sorted([*others, "out"])


@pytest.mark.parametrize("stage", ["building", "claimed"])
@pytest.mark.parametrize("who", ["process", "thread"])
def test_a_folder_that_another_run_builds_or_claims_is_refused(tmp_path, busy_thread, who, stage):
    writer = by(os.getppid()) if who == "process" else by(os.getpid(), busy_thread)
    (tmp_path / f".out.{stage}-{writer}-1000000000").mkdir()
    begun = r"on \w+, begun 2001-09-\d\d .*wait for its end, or name another folder"
    with pytest.raises(FileExistsError, match=begun), storage.whole_folder(tmp_path / "out"):
        pytest.fail("refused before the block runs")
    with pytest.raises(FileExistsError, match=begun), storage.claimed(tmp_path / "out"):
        pytest.fail("refused before the block runs")
    assert names(tmp_path) == [f".out.{stage}-{writer}-1000000000"]


def test_a_number_that_was_given_again_is_not_the_dead_runs(tmp_path):
    # our parent lives, and was started after that run had last written
    left = tmp_path / f".out.claimed-{by(os.getppid())}"
    left.touch()
    long_ago = psutil.Process(os.getppid()).create_time() - 60
    os.utime(left, (long_ago, long_ago))
    with storage.claimed(tmp_path / "out"):
        assert not left.exists()


def test_a_run_of_another_machine_counts_while_it_shows_life(tmp_path, monkeypatch, dead_pid):
    monkeypatch.setattr(claims, "SILENCE", 1.0)
    left = tmp_path / f".out.claimed-{by(dead_pid, host='elsewhere')}-1000000000"
    left.touch()
    with (
        pytest.warns(UserWarning, match="on elsewhere may be at work .*, 1 s at most"),
        storage.claimed(tmp_path / "out"),
    ):
        assert not left.exists()  # it was silent for a second
    left.touch()
    os.utime(left, (0, 0))
    with storage.claimed(tmp_path / "out"):
        assert not left.exists()  # and nobody waits for what is long silent
    left.touch()
    monkeypatch.setattr(claims, "SILENCE", 60.0)
    monkeypatch.setattr(claims, "BEAT", 0.05)
    with (
        pytest.warns(UserWarning, match="elsewhere"),
        pytest.raises(FileExistsError, match=rf"process {dead_pid} on elsewhere, begun 2001"),
        showing_life(left),
        storage.claimed(tmp_path / "out"),
    ):
        pytest.fail("refused, as it shows life")
    assert left.exists()


@contextmanager
def showing_life(mark):
    """A thread that touches the mark, as a run on another machine does."""
    end = threading.Event()

    def beat():
        while not end.wait(0.05):
            mark.touch()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_a_claim_is_held_until_its_block_ends_and_its_holder_may_build_there(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    told = []

    def other():
        try:
            with storage.claimed(tmp_path / "out"):
                told.append("taken")
        except FileExistsError as error:
            told.append(str(error))

    def ask():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return told.pop()

    with storage.claimed(tmp_path / "out"):
        [mark] = tmp_path.iterdir()
        os.utime(mark, (0, 0))
        time.sleep(0.2)
        assert mark.stat().st_mtime > 0  # it shows life
        with storage.whole_folder(tmp_path / "out") as part:
            (part / "manifest.json").write_text("{}")
        assert f"another run (process {os.getpid()} on" in ask()
    assert names(tmp_path) == ["out"] and ask() == "taken"


def test_who_writes_into_a_folder_has_the_mark_inside(tmp_path, dead_pid):
    out = tmp_path / "deep" / "out"
    with storage.claimed(out, inside=True):
        assert names(out.parent) == ["out"] and len(names(out)) == 1
        assert not storage.names_in(out)
    assert names(tmp_path) == []  # what was made for it, and is empty
    with storage.claimed(out, inside=True):
        (out / "row").touch()
        (out / f".run.claimed-{by(dead_pid)}").touch()
        assert storage.names_in(out) == {"row"}
    with storage.claimed(out, inside=True):
        assert len(names(out)) == 2  # the dead run's mark is cleared
    assert names(out) == ["row"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_run_inside_and_one_that_replaces_see_each_other(tmp_path, busy_thread, first, second):
    out = tmp_path / "out"
    out.mkdir()
    name = ".run" if first else ".out"
    mark = (out if first else tmp_path) / f"{name}.claimed-{by(os.getpid(), busy_thread)}"
    mark.touch()
    with (
        pytest.raises(FileExistsError, match="out is being written by another run"),
        storage.claimed(out, inside=second),
    ):
        pytest.fail("refused before the block runs")
    assert mark.exists()


def test_a_folder_where_a_run_died_before_it_wrote_anything_is_free(tmp_path, dead_pid):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".run.claimed-{by(dead_pid)}").touch()
    storage.check_replaceable(tmp_path / "out")


def test_the_earlier_folder_is_its_live_runs_while_the_new_one_comes(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    os.utime(tmp_path / "out", (0, 0))  # older than any process
    (tmp_path / "new").mkdir()
    rename, ages = os.rename, []

    def seen(source, target):
        rename(source, target)
        if ".replaced-" in str(target):
            ages.append(time.time() - os.stat(target).st_mtime)

    monkeypatch.setattr(os, "rename", seen)
    storage.swap_in(tmp_path / "new", tmp_path / "out")
    assert len(ages) == 1 and ages[0] < claims.SILENCE


def test_the_end_of_a_block_does_not_hide_its_error(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for place in (storage.claimed, storage.whole_file):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            with place(tmp_path / "out"):
                patch.setattr(Path, "unlink", fails)
                raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_link_is_written_to_and_stays(tmp_path, kind):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    if kind == "folder":
        target.mkdir()
    else:
        target.write_text("old")
    link.symlink_to(target)
    if kind == "folder":
        with storage.whole_folder(link) as part:
            (part / "manifest.json").write_text("{}")
        assert names(target) == ["manifest.json"]
    else:
        storage.write_json(link, 1)
        assert target.read_text() == "1\n"
    assert link.is_symlink() and names(tmp_path) == ["disk", "link"]
    assert names(tmp_path / "disk") == ["target"]


def test_a_folder_that_was_moved_aside_by_a_killed_run_is_put_back(tmp_path, dead_pid):
    (tmp_path / f".out.replaced-{by(dead_pid)}").mkdir()
    (tmp_path / f".out.replaced-{by(dead_pid)}" / "manifest.json").write_text("old")
    with pytest.raises(ZeroDivisionError), storage.whole_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["out"] and (tmp_path / "out" / "manifest.json").read_text() == "old"


def test_leftovers_of_a_longer_name_are_not_ours_to_clear(tmp_path, dead_pid):
    (tmp_path / f".out.old.replaced-{by(dead_pid)}").mkdir()
    with (
        storage.whole_folder(tmp_path / "out.new") as outer,
        storage.whole_folder(tmp_path / "out"),
    ):
        (outer / "manifest.json").write_text("")
    assert names(tmp_path) == sorted([f".out.old.replaced-{by(dead_pid)}", "out", "out.new"])


def test_a_leftover_under_our_own_process_number_is_no_obstacle(tmp_path):
    # in a container every run has the same number, and its main thread the same too: the dead run's
    # folder looks like ours
    for thread in (1, threading.get_ident()):
        left = tmp_path / f".out.building-{by(os.getpid(), thread)}"
        left.mkdir()
        (left / "half").write_text("")
    with storage.whole_folder(tmp_path / "out") as part:
        (part / "whole").write_text("")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["whole"]


# ---- one at a time -------------------------------------------------------------------------------


HOLDER = """
import sys, time
from pathlib import Path
from dpkit import storage
name, log = sys.argv[1:]
with storage.locked(name):
    with open(log, "a") as file:
        print("in", file=file, flush=True)
        if log.endswith("first"):
            time.sleep(60)
        print("out", file=file, flush=True)
"""


def test_a_claim_makes_others_wait_until_its_holder_is_killed(tmp_path, wait_until):
    def start(log):
        return subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "stage"), str(tmp_path / log)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    first, second = start("first"), None
    try:
        wait_until(
            lambda: (tmp_path / "first").exists() and (tmp_path / "first").read_text() == "in\n"
        )
        second = start("second")
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1.5)  # longer than it takes to start: it waits
        assert not (tmp_path / "second").exists()
        first.kill()
        assert second.wait(30) == 0 and (tmp_path / "second").read_text() == "in\nout\n"
    finally:
        for process in (first, second):
            if process:
                process.kill()
                process.wait()
    assert (tmp_path / "first").read_text() == "in\n" and not (tmp_path / "stage").exists()


def test_threads_and_processes_that_claim_one_name_take_turns(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    program = f"""
import threading, time
from pathlib import Path
from dpkit import storage
counter = Path({str(counter)!r})
def count():
    for _ in range(10):
        with storage.locked(counter):
            n = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(n + 1))
threads = [threading.Thread(target=count) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        for _ in range(2)
    ]
    assert [other.wait(60) for other in others] == [0, 0]
    assert counter.read_text() == "40"


# ---- hashes and folders --------------------------------------------------------------------------


def test_equal_values_have_equal_keys():
    assert storage.key_hash({"a": 1, "b": [np.int64(2)]}) == storage.key_hash({"b": [2], "a": 1})
    assert storage.key_hash({"a": 1}) != storage.key_hash({"a": 1.5})
    assert len(storage.key_hash({})) == 20


def test_a_files_hash_is_its_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert storage.file_hash(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_folders_follow_the_environment_and_then_the_platform(tmp_path, monkeypatch):
    assert storage.data_folder() == tmp_path / "data" and storage.data_folder("here") == Path(
        "here"
    )
    assert storage.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DPKIT_DATA")
    monkeypatch.delenv("DPKIT_CACHE")
    assert storage.data_folder().parts[-2:] == ("dpkit", "data")
    assert storage.cache_folder().parts[-2:] == ("dpkit", "stages")


def test_temporary_folders_go_with_their_block_or_before(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder("dpkit-test-") as folder:
        (folder / "file").touch()
    with pytest.raises(KeyError), temporary_folder("dpkit-test-"):
        raise KeyError
    assert not names(tmp_path)
    with temporary_folder("dpkit-test-") as folder:
        (folder / "file").touch()
        remove_open()  # as a command does that is stopped
        assert not names(tmp_path)


# ---- damage --------------------------------------------------------------------------------------


def raising(error, *then):
    """A reader that raises `error`, and then returns what is given."""
    left = [error, *then]

    def read():
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, BaseException):
            raise found
        return found

    return read


def of_errno(number):
    return OSError(number, os.strerror(number))


PASSING = [
    *map(of_errno, (errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EBUSY, errno.ENOLCK)),
    *map(of_errno, (errno.EACCES, errno.EMFILE, errno.EROFS)),
    storage.NewerFormat("of a newer dpkit"),
    TimeoutError("a library's"),
    MemoryError(),
]
DAMAGE = [
    *map(of_errno, (errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)),
    ValueError("no JSON"),
    KeyError("kind"),
    AttributeError("a list has no get"),
    EOFError(),
    OSError("a library's"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_no_damage_of_a_file_and_none_of_a_checkpoint(tmp_path, monkeypatch, error):
    monkeypatch.setattr(storage.damage, "MOMENT", 0)
    (tmp_path / "file").touch()
    with pytest.raises(type(error)) as raised:
        storage.read_or_set_aside(tmp_path / "file", raising(error))
    assert raised.value is error and names(tmp_path) == ["file"]
    with pytest.raises(type(error)) as raised, undamaged(tmp_path / "file"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", DAMAGE, ids=repr)
def test_what_speaks_of_the_file_is_damage_of_it_and_of_a_checkpoint(tmp_path, monkeypatch, error):
    monkeypatch.setattr(storage.damage, "MOMENT", 0)
    (tmp_path / "file").touch()
    with pytest.warns(storage.SetAside):
        assert storage.read_or_set_aside(tmp_path / "file", raising(error)) is None
    assert names(tmp_path)[0].startswith("file-damaged-")
    with pytest.raises(UnusableCheckpoint), undamaged(tmp_path / "file"):
        raise error


def test_a_disk_that_fails_for_a_moment_has_damaged_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.damage, "MOMENT", 0)
    (tmp_path / "file").touch()
    assert storage.read_or_set_aside(tmp_path / "file", raising(of_errno(errno.EIO), "read")) == (
        "read"
    )
    assert names(tmp_path) == ["file"]


def test_what_comes_while_nothing_was_there_is_not_set_aside(tmp_path):
    def another_makes_it():
        (tmp_path / "out").mkdir()
        raise FileNotFoundError("it was not there")

    assert storage.read_or_set_aside(tmp_path / "out", another_makes_it) is None
    assert names(tmp_path) in ([], ["out"])


def test_arrays_of_a_newer_dpkit_are_named_whatever_their_checksum(tmp_path):
    folder = storage.save_arrays(tmp_path / "a", kind="Toy", schema=1, arrays={}, params={})
    manifest = storage.read_manifest(folder) | {"schema": 2, "checksum": "of another kind"}
    storage.write_json(folder / "manifest.json", manifest)
    with pytest.raises(storage.NewerFormat, match="it has schema 2: use the dpkit version that"):
        storage.load_arrays(folder, kind="Toy", schema=1)
