"""Who writes where: a run's claim on a place, and what dead runs have left beside it.

While a run is at work on NAME, there lies beside it a mark

    .NAME.STAGE-HOST-PROCESS-THREAD-SECONDS

A run that writes into the folder NAME, and does not replace it, has its mark inside, with "run" for
NAME: it may write there and not beside it, and NAME may be a disk of its own.

SECONDS : since 1970, when it began.
STAGE : "claimed", a file: NAME is written to; "building" and "writing", the folder or file that is
    to become NAME; "replaced", the folder NAME that the new one is about to replace.

A mark of this machine counts while its process and thread live. One of another machine counts until
nothing has happened to it for SILENCE seconds: claims and folders that are built are touched every
BEAT seconds.
"""

import errno
import glob
import os
import shutil
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dpkit.storage.disks import writing

BEAT, SILENCE = 15.0, 300.0  # seconds
INSIDE = "run"


def host_name() -> str:
    """This machine, as the marks of its runs name it."""
    return "".join(c for c in socket.gethostname() if c.isalnum()) or "here"


@dataclass(frozen=True)
class Mark:
    """What lies beside a place for a run that works on it, or did."""

    file: Path
    stage: str
    host: str
    pid: int
    thread: int
    begun: int | None  # seconds since 1970; older versions of dpkit do not tell

    @property
    def is_local(self) -> bool:
        return self.host == host_name()

    @property
    def is_ours(self) -> bool:
        """Whether it has the numbers of this very thread."""
        here = (host_name(), os.getpid(), threading.get_ident())
        return (self.host, self.pid, self.thread) == here

    def touched(self) -> float | None:
        """When something happened to it last, in seconds since 1970; None if it is gone."""
        try:
            return self.file.lstat().st_mtime
        except OSError:
            return None


def real_path(path: str | Path) -> Path:
    """Where a path leads: a link to a folder or file is written to, not replaced."""
    return Path(os.path.realpath(path))


def make_parent(path: Path) -> None:
    """Make the folder that `path` is to lie in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # not to be taken for "`path` is already there"
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(path.parent)) from None


def new_mark(path: Path, stage: str) -> Path:
    """The name of this thread's mark: two runs never share one."""
    writer = f"{host_name()}-{os.getpid()}-{threading.get_ident()}-{int(time.time())}"
    return path.with_name(f".{path.name}.{stage}-{writer}")


def marks_of(path: Path) -> list[Mark]:
    """All marks of a place, beside it and inside."""
    beside = path.parent.glob(f".{glob.escape(path.name)}.*-*-*-*")
    inside = path.glob(f".{INSIDE}.*-*-*-*")
    read = [_mark(file, path.name) for file in sorted(beside)]
    read += [_mark(file, INSIDE) for file in sorted(inside)]
    return [mark for mark in read if mark]


def _mark(file, name) -> Mark | None:
    words = file.name.removeprefix(f".{name}.").split("-")
    if len(words) not in (4, 5) or not all(word.isdigit() for word in words[2:]):
        return None
    pid, thread, *begun = map(int, words[2:])
    return Mark(file, words[0], words[1], pid, thread, begun[0] if begun else None)


def names_in(folder: Path) -> set[str]:
    """What lies in a folder, but for the marks of runs that write into it."""
    marks = {mark.file.name for mark in marks_of(folder)}
    return {file.name for file in folder.iterdir()} - marks


def clear_leftovers(path: Path, own: Path) -> None:
    """Clear what dead runs left beside `path`; if one died between the two renames of a folder,
    undo the first.

    own: the caller's mark, which stays, and tells the time of that disk.
    """
    for mark in marks_of(path):
        if mark.file == own or _at_work(mark, own):
            continue
        if mark.stage == "replaced" and not path.exists():
            with suppress(FileNotFoundError):  # another run did
                os.rename(mark.file, path)
        elif mark.stage in ("building", "replaced"):
            shutil.rmtree(mark.file, ignore_errors=True)
        elif mark.stage in ("writing", "claimed"):
            with suppress(OSError):  # gone, or beside `path`, where this run may not write
                mark.file.unlink()


# ---- one run at a place --------------------------------------------------------------------------


@contextmanager
def claimed(path: str | Path, *, inside: bool = False) -> Iterator[None]:
    """Be the only run that writes to `path` within this block.

    inside: `path` is a folder that is written into, and is not replaced as a whole. It is made if
        it is not there, and removed at the end if it is empty then.
    FileExistsError if another one does, here or on a machine that shares the disk. Where one of
    another machine may have died, it is waited for a sign of it, SILENCE seconds at most.
    """
    place = real_path(path) / INSIDE if inside else real_path(path)
    mark = new_mark(place, "claimed")
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        with writing(path):
            make_parent(place)
            mark.touch()
        with alone(path, mark):
            yield
    finally:
        with suppress(OSError):  # it never came to be, or the disk fails
            mark.unlink()
        with suppress(OSError):  # not empty: something was written
            for folder in made:
                folder.rmdir()


@contextmanager
def alone(path: str | Path, own: Path) -> Iterator[None]:
    """FileExistsError if another run works on `path`; if none does, show life at the mark `own`."""
    place = real_path(path)
    clear_leftovers(place, own)
    at_work = [
        mark
        for mark in marks_of(place)
        if mark.stage in ("claimed", "building") and _at_work(mark, own)
    ]
    for mark in sorted(at_work, key=lambda mark: not mark.is_local):
        if mark.file == own or mark.is_ours:
            continue
        if mark.is_local or _shows_life(mark, path, own):
            begun = "" if mark.begun is None else f", begun {_in_words(mark.begun)}"
            raise FileExistsError(
                f"{path} is being written by another run (process {mark.pid} on {mark.host}"
                f"{begun}); wait for its end, or name another folder"
            )
    clear_leftovers(place, own)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(own, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _beat(mark, ended):
    while not ended.wait(BEAT):
        with suppress(OSError):  # it was renamed, as what it was for is whole
            os.utime(mark)


def _in_words(seconds) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _at_work(mark, own) -> bool:
    """Whether the run of a mark may still be at work."""
    touched = mark.touched()
    if touched is None:
        return False
    if not mark.is_local:
        return _now(own) - touched < SILENCE
    if not _lived_at(mark.pid, touched):
        return False
    if mark.pid != os.getpid():
        return True
    # our own number is a dead run's too: in containers every run has the same
    if mark.is_ours:
        return mark.stage == "claimed"
    return any(thread.ident == mark.thread for thread in threading.enumerate())


def _now(own) -> float:
    """The time by the clock of the disk, which may be another machine's."""
    os.utime(own)
    return own.stat().st_mtime


def _lived_at(pid, moment) -> bool:
    """Whether this process is alive, and was so at that moment: numbers are given again."""
    import psutil

    try:
        os.kill(pid, 0)
        process = psutil.Process(pid)
        # a dead process whose parent never asked for it keeps its number: in a container perhaps
        # for good
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < moment + 2
    except ProcessLookupError:
        return False
    except (PermissionError, psutil.Error):  # another user's; or hidden, which psutil calls missing
        return True


def _shows_life(mark, path, own) -> bool:
    """Whether a run on another machine shows that it lives, before it counts as dead."""
    warnings.warn(
        f"a run on {mark.host} may be at work on {path}: waiting for a sign of it, {SILENCE:g} s "
        "at most",
        stacklevel=4,
    )
    before = mark.touched()
    while _at_work(mark, own):
        if mark.touched() != before:
            return True
        time.sleep(min(1.0, BEAT))
    return False
