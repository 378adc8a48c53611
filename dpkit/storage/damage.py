"""Files of dpkit's own that cannot be read: told from what may pass, set aside, and made again."""

import errno
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar
from zipfile import BadZipFile

from dpkit.storage.hashes import NewerFormat

Found = TypeVar("Found")


class Damaged(ValueError):
    """A file of dpkit's own is not there, or not as it was written."""


ASIDE = "-damaged-"  # in the names of what was set aside


class SetAside(UserWarning):
    """A damaged file or folder was renamed, and is made again."""


NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
NOT_WHOLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    UnpicklingError,
    BadZipFile,
)
MOMENT = 0.5  # seconds between two readings where the disk fails


def is_damage(error: BaseException) -> bool:
    """Whether an error in reading a file of dpkit's own speaks of that file: it is missing or not
    whole.

    Faults of a network, limits of the machine and permissions do not; and what a newer dpkit wrote
    is whole.
    """
    if isinstance(error, OSError):
        # the system's errors have a number; one without is a library's, on what it has read
        numbers = (errno.EIO, errno.ELOOP, None) if type(error) is OSError else ()
        return isinstance(error, NOT_THERE) or error.errno in numbers
    return isinstance(error, NOT_WHOLE) and not isinstance(error, NewerFormat)


@contextmanager
def damage_named() -> Iterator[None]:
    """Raise Damaged for an error in reading a file that is_damage; others stay as they are."""
    try:
        yield
    except Exception as error:
        if not is_damage(error):
            raise
        raise Damaged(" ".join(str(error).split())) from error


def read_again(read: Callable[[], Found]) -> Found:
    """read(); once more after a moment where the disk fails (EIO), which may pass."""
    try:
        return read()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    time.sleep(MOMENT)
    return read()


def read_or_set_aside(place: Path, read: Callable[[], Found]) -> Found | None:
    """read(); None if nothing lies at `place`, or what lies there is damaged, and now set aside."""
    if not _lies_there(place):  # what another process puts there from now on is not to be renamed
        return None
    try:
        with damage_named():
            return read_again(read)
    except Damaged as why:
        set_aside(place, why)
        return None


def _lies_there(place) -> bool:
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def expect_folder(place: Path) -> None:
    """Set aside what lies at `place`, unless that is a folder, or nothing."""
    if _lies_there(place) and not place.is_dir():
        set_aside(place, "it must be a folder")


def is_set_aside(place: Path) -> bool:
    """Whether something has its name from set_aside."""
    return ASIDE in place.name


def set_aside(place: Path, why: object) -> None:
    """Rename what lies at `place`, if anything does, and warn of it. It is kept for a look, and may
    be removed.
    """
    aside = place.with_name(f"{place.stem}{ASIDE}{datetime.now():%Y%m%d-%H%M%S-%f}{place.suffix}")
    try:
        place.rename(aside)
    except (FileNotFoundError, NotADirectoryError):
        return
    sentence = f"{place} is damaged and is made again; the old one is kept as {aside.name} ({why})"
    notes = _notes.get()
    if notes is None:
        warnings.warn(sentence, SetAside, stacklevel=2)
    else:
        notes.append(sentence)


_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


@contextmanager
def set_aside_noted(notes: list[str]) -> Iterator[None]:
    """Add to `notes`, instead of a warning, what this thread sets aside in this block: a worker
    hands it to the process that asked.
    """
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)
