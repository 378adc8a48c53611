"""Places named for results that cannot be written to: told before anything is computed."""

import os
from pathlib import Path

from dpkit.storage.claims import new_mark


class UnusablePlace(OSError):
    """A place named for results cannot be written to. Raised before anything is computed."""


def check_folder(path: str | Path, *, replaced: bool = False) -> None:
    """UnusablePlace unless `path` is a folder that can be written to, or can be made.

    replaced: it is not written into, but replaced as a whole, by a folder that is built beside it.
    """
    why = _too_long(Path(path)) or _why_not(Path(path), replaced)
    if why:
        raise UnusablePlace(f"{path} {why}")


def check_apart(path: str | Path, source: str | os.PathLike) -> None:
    """FileExistsError if `path` lies in the folder of images `source`, or that in `path`."""
    place, source = (Path(os.path.realpath(each)) for each in (path, source))
    if source.is_dir() and (place == source or source in place.parents or place in source.parents):
        raise FileExistsError(
            f"{path} and the images in {source} must lie apart, or what is written would become "
            "part of the set; name another folder"
        )


def _too_long(path) -> str | None:
    # by so much are the names of unfinished work longer than a folder's own
    spare = len(new_mark(Path("x"), "replaced").name) - 1
    top, whole = path.absolute().anchor, len(os.fsencode(path.absolute()))
    name = max(path.absolute().parts, key=lambda part: len(os.fsencode(part)))
    for what, length, limit in (
        ("a name", len(os.fsencode(name)), "PC_NAME_MAX"),
        ("a path", whole, "PC_PATH_MAX"),
    ):
        most = os.pathconf(top, limit) - spare
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
