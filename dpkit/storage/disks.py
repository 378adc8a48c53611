"""Faults of the disk that pass, each in one sentence."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FAILING = (errno.EIO, errno.ESTALE, errno.EROFS)  # an ext4 that met errors is read-only then
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
    """A passing fault of the disk within the block is raised as DiskFault, naming `place`, or the
    file elsewhere that could not be written.
    """
    try:
        yield
    except DiskFault:  # which names its own
        raise
    except Exception as error:
        fault = disk_fault(error, _elsewhere(error, place) or place)
        if fault is None:
            raise
        raise fault from error


def _elsewhere(error, place) -> str | None:
    """The file that an error names, if it does not lie where `place` does."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str):
        return None
    return (
        None
        if Path(os.path.realpath(place)).parent in Path(os.path.realpath(named)).parents
        else named
    )
