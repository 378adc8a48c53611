"""Faults of the disk that pass, and places that cannot be written to, each in one sentence."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FAILING = (errno.EIO, errno.ESTALE)
# what libraries make of them without their number: numpy's short write, torch's archives; and
# shutil.copytree, whose errors are texts
WITHOUT_NUMBER = re.compile(
    r"\d+ requested and -?\d+ written|inline_container.*(unexpected pos|file write failed)"
)


class DiskFault(OSError):
    """The disk of a place is full, or fails; later, the same command goes on.

    errno is the system's, strerror the sentence.
    """

    strerror: str


class UnusablePlace(OSError):
    """A place named for results cannot be written to. Raised before anything is computed."""


def disk_fault(error: BaseException, place: str | Path) -> DiskFault | None:
    """The fault of the disk that is behind an error in writing `place`; None if it has another
    reason.
    """
    number = _number(error)
    if number is None:
        return None
    if number in FULL:
        return DiskFault(
            number,
            f"no space left on the disk of {place}; free some, and the same command goes on: "
            "nothing that is finished is lost",
        )
    return DiskFault(
        number,
        f"the disk of {place} fails ({os.strerror(number)}); once it works again, the same "
        "command goes on",
    )


def _number(error) -> int | None:
    """The disk's errno behind an error, which libraries wrap or lose."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (*FULL, *FAILING):
            return error.errno
        if isinstance(error, (OSError, RuntimeError)) and getattr(error, "errno", None) is None:
            text = str(error)
            for number in (*FULL, *FAILING):
                if os.strerror(number) in text:
                    return number
            if WITHOUT_NUMBER.search(text):
                return errno.ENOSPC
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """A passing fault of the disk within the block is raised as DiskFault, naming `place`."""
    try:
        yield
    except Exception as error:
        fault = disk_fault(error, place)
        if fault is None:
            raise
        raise fault from error


# ---- before anything is computed -----------------------------------------------------------------

SPARE = 80  # bytes by which the names of unfinished work are longer than a folder's own


def check_folder(path: str | Path, *, replaced: bool = False) -> None:
    """UnusablePlace unless `path` is a folder that can be written to, or can be made.

    replaced: it is not written into, but replaced as a whole, by a folder that is built beside it.
    """
    why = _too_long(Path(path)) or _why_not(Path(path), replaced)
    if why:
        raise UnusablePlace(f"{path} {why}")


def _too_long(path) -> str | None:
    top, whole = path.absolute().anchor, len(os.fsencode(path.absolute()))
    name = max(path.absolute().parts, key=lambda part: len(os.fsencode(part)))
    for what, length, limit in (
        ("a name", len(os.fsencode(name)), "PC_NAME_MAX"),
        ("a path", whole, "PC_PATH_MAX"),
    ):
        most = os.pathconf(top, limit) - SPARE
        if length > most:
            return f"has {what} of {length} bytes, and {most} are possible; name another folder"
    return None


def _why_not(path, replaced) -> str | None:
    """What hinders writing to `path`, as the end of a sentence that begins with it."""
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    where = "" if there == path else f"cannot be made, as {there} "
    if there.is_symlink() and not there.exists():
        return (
            f"{where}is a link to {os.readlink(there)}, which is not there; make that folder, or "
            "name another"
        )
    if not there.is_dir():
        return f"{where}is no folder; name another folder"
    real = Path(os.path.realpath(there))
    if replaced and there == path and os.path.ismount(real):
        return "is where a disk is mounted, and cannot be replaced; name a folder in it"
    for folder in (real, real.parent) if replaced and there == path else (real,):
        if not os.access(folder, os.W_OK | os.X_OK):
            place = "" if folder == there else f"lies in {folder}, which "
            return (
                f"{where or place}cannot be written to (read-only, or another user's); name "
                "another folder"
            )
    return None
