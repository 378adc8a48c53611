"""Files of dpkit's own that cannot be read: told from what may pass, set aside, and made again."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from dpkit.storage.hashes import NewerFormat

Found = TypeVar("Found")


class Damaged(ValueError):
    """A file of dpkit's own is not there, or not as it was written."""


class SetAside(UserWarning):
    """A damaged file or folder was renamed, and is made again."""


@contextmanager
def damage_named() -> Iterator[None]:
    """Raise Damaged for whatever reading a file raises that is not whole. What may pass, such as
    too many open files, or belongs to others stays as it is.
    """
    try:
        yield
    except NewerFormat:
        raise
    except OSError as error:
        missing = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
        if not isinstance(error, missing) and error.errno not in (errno.EIO, errno.ELOOP):
            raise
        raise Damaged(str(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Damaged(" ".join(str(error).split())) from error


def read_or_set_aside(place: Path, read: Callable[[], Found]) -> Found | None:
    """read(); None if nothing lies at `place`, or what lies there is damaged, and now set aside."""
    try:
        with damage_named():
            return read()
    except Damaged as why:
        set_aside(place, why)
        return None


def expect_folder(place: Path) -> None:
    """Set aside what lies at `place`, unless that is a folder, or nothing."""
    if os.path.lexists(place) and not place.is_dir():
        set_aside(place, "it must be a folder")


def set_aside(place: Path, why: object) -> None:
    """Rename what lies at `place`, if anything does, and warn of it. It is kept for a look, and may
    be removed.
    """
    aside = place.with_name(f"{place.stem}-damaged-{datetime.now():%Y%m%d-%H%M%S-%f}{place.suffix}")
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
