"""Where an export is written: free for it, or an earlier export's, and then whole or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

from dpkit import storage
from dpkit.experiments.export_formats import FORMATS, Format, Part

MARK = ".dpkit-export.json"  # in a folder that was written here; hidden, so that no reader takes it


def place_of(pruned: Path, name: str, which: str, to: str | Path | None) -> Path:
    """The file or folder to write in the format of this name."""
    endings = FORMATS[name].endings
    ending = endings[0] if endings else ""
    kind = "" if name in ("folder", ending[1:]) else f"-{name}"
    usual = f"{pruned.name}-{which}{kind}{ending}"
    if to is None:
        return pruned.with_name(usual)
    place = Path(os.path.abspath(to))
    if not endings or place.suffix in endings:
        return place
    if place.suffix in {end for form in FORMATS.values() for end in form.endings}:
        raise ValueError(f"{name} is written to a file that ends in {endings[0]}; got {to}")
    return place / usual


def check_place(
    place: Path, pruned: Path, source: str | None, form: Format, overwrite: bool
) -> None:
    """OSError, before anything is written, if `place` cannot be written, or is not free for it.

    source: the folder of the images, which must lie apart, or the table that tells them.
    """
    if source is not None and os.path.realpath(place) == os.path.realpath(source):
        raise FileExistsError(f"{place} is what was pruned; name another place")
    if source is not None:
        storage.check_apart(place, source)
    if pruned in (place, *place.parents) or place in pruned.parents:
        raise FileExistsError(
            f"{place} and the pruning in {pruned} must lie apart; name another place"
        )
    if form.endings:
        storage.check_folder(place.parent)
        if place.is_dir():
            raise FileExistsError(f"{place} is a folder, and a file is to be written: name another")
        taken = os.path.lexists(place)
    else:
        storage.check_folder(place, replaced=True)
        storage.check_replaceable(place, MARK)
        taken = (place / MARK).exists()
        if taken:
            _check_nothing_added(place)
    if taken and not overwrite:
        raise FileExistsError(f"{place} exists; name another place, or replace it by --overwrite")


def _check_nothing_added(folder: Path) -> None:
    """FileExistsError if an earlier export's folder holds a file that would be lost with it."""
    try:
        ours = {MARK, *storage.read_checked(folder / MARK)["names"]}
    except (OSError, ValueError, KeyError) as error:
        raise FileExistsError(
            f"what dpkit wrote into {folder} cannot be told any more ({error}); name another place"
        ) from None
    for name in _names(folder):
        if name not in ours and storage.IGNORED_FILES.isdisjoint(name.split("/")):
            raise FileExistsError(
                f"{folder} holds {name}, which dpkit did not write there, and it would be lost; "
                "move it away, or name another place"
            )


def _names(folder: Path) -> Iterator[str]:
    """The files in a folder, by their paths in it."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in files + links:
            yield os.path.relpath(os.path.join(where, name), folder)


def write_whole(place: Path, form: Format, part: Part) -> None:
    """Write it, whole or not at all."""
    if form.endings:
        with storage.whole_file(place) as file:
            form.write(file, part)
        return
    with storage.whole_folder(place, replaces=MARK) as folder:
        form.write(folder, part)
        mark = {"kind": "Export", "schema": 1, "names": sorted(_names(folder))}
        storage.write_json(folder / MARK, storage.with_checksum(mark))
