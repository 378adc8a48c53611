"""fetch: a published table by its name, whole and checked, or not there at all."""

import gzip
import json
import re
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from dpkit import storage
from dpkit.experiments.data_card import kept_file
from dpkit.experiments.published_table import PublishedTable
from dpkit.experiments.results import KIND, load_outcomes
from dpkit.experiments.row_files import SCHEMA
from dpkit.experiments.table_places import (
    copies_folder,
    find_source,
    is_address,
    read,
    tables_at,
    where,
)
from dpkit.records.kept_list import write_kept

__all__ = ["fetch", "tables_at"]


def fetch(
    name: str,
    source: str | Path | None = None,
    folder: str | Path | None = None,
    *,
    say: Callable[[str], object] | None = None,
) -> PublishedTable:
    """A published table by its name: a checked copy, which is made where there is none.

    Beside the files of the table the copy holds the kept ids of every row, as text and as an array;
    DATA_CARD.md says what is what. Nothing is unpickled.

    Parameters
    ----------
    name : of the table: "dual-cifar10-small_cnn".
    source : where it is fetched from: a folder, or an address (https://). Default: the copy that is
        there already; else $DPKIT_TABLES, else the address that this dpkit knows.
    folder : where copies lie, a folder each. Default: tables/ in the folder of image sets
        ($DPKIT_DATA, else the user's cache).
    say : called with a line for what is done.

    Returns
    -------
    The table in its copy.

    Raises
    ------
    ValueError for a name or place that is not there, listing what is, for a file that is missing
    or not the published one, and for what a newer dpkit wrote.
    ConnectionError if the address cannot be reached.
    FileExistsError if another table, or a file that is not the table's, lies at the copy's place;
    storage.UnusablePlace (an OSError) if that cannot be written to.
    """
    _check_name(name)
    places = copies_folder(folder)
    copy = places / name
    if source is None and copy.is_dir():
        if not _is_whole(copy):
            raise ValueError(
                f"the copy of {name} in {places} is not whole (a file is missing or was changed): "
                "fetch it again from where it came, by --from (source=)"
            )
        return PublishedTable(copy)
    source = find_source(source)
    if not is_address(source) and Path(source).resolve() == places.resolve():
        raise ValueError(
            f"{source} is where the copy would be written; name another folder by --to (folder=)"
        )
    text = _manifest_text(source, name)
    manifest = _read_manifest(text, where(source, name, "manifest.json"))
    if _is_copy_of(manifest, copy):
        return PublishedTable(copy)
    _check_same_title(manifest, copy)
    storage.check_folder(copy, replaced=True)
    if say:
        say(f"{len(manifest['sha256'])} files from {where(source, name)}")
    with storage.whole_folder(copy, kind=KIND) as part:
        for file, expected in manifest["sha256"].items():
            _copy_file(source, name, file, expected, part / file)
        (part / "manifest.json").write_bytes(text)
        if "kept" not in manifest:
            _add_kept_ids(part, manifest)
    return PublishedTable(copy)


# ---- a manifest ----------------------------------------------------------------------------------


def _check_name(name) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"a table's name is a single word like dual-cifar10-small_cnn; got {str(name)!r}: name "
            "the folder or the address where it lies by --from (source=)"
        )


def _manifest_text(source, name) -> bytes:
    """A table's manifest as it is there; ValueError that lists the tables if there is none."""
    try:
        return read(source, name, "manifest.json")
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        there = "; there are " + (", ".join(tables_at(source)) or "none")
    except ValueError as why:
        there = f", and {why}"
    raise ValueError(f"unknown table {name!r} at {source}{there}")


def _read_manifest(text: bytes, file: str) -> dict:
    """A manifest whose form is known; ValueError for another one."""
    try:
        manifest = json.loads(text)
        kind, schema, files = manifest["kind"], int(manifest["schema"]), dict(manifest["sha256"])
        storage.check_checksum(manifest, file)
        odd = [name for name in files if not _is_plain(name)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not a whole manifest of a table ({error}); fetch from another copy"
        ) from None
    lacking = {"rows.csv", "kept.npy"} - set(files)
    if kind != KIND or lacking:
        raise ValueError(
            f"{file} must be of a Table, with rows.csv and kept.npy; it is of a {kind}"
        )
    if schema > SCHEMA:
        raise storage.NewerFormat(
            f"{file} was written by a newer dpkit (schema {schema}; this one reads 1..{SCHEMA}): "
            "update dpkit"
        )
    if odd:
        raise ValueError(f"{file} names the file {odd[0]!r}, which would lie outside the table")
    return manifest


def _is_plain(file: str) -> bool:
    """Whether it is a path below the table's folder, on every system."""
    parts = PurePosixPath(file).parts
    return bool(parts) and all(re.fullmatch(r"\w[\w.+ -]*", part) for part in parts)


def _is_whole(copy: Path) -> bool:
    """Whether a fetched table lies there, with every file as it was fetched."""
    try:
        with storage.damage_named():
            manifest = _read_manifest((copy / "manifest.json").read_bytes(), str(copy))
    except storage.Damaged:
        return False
    return "kept" in manifest and all(
        (copy / file).is_file() and storage.file_hash(copy / file) == expected
        for file, expected in manifest["sha256"].items()
    )


def _is_copy_of(manifest: dict, copy: Path) -> bool:
    """Whether a whole copy of this table lies there; it may have the kept ids that the table has
    not.
    """
    if not _is_whole(copy):
        return False
    here, added = storage.read_manifest(copy), {"kept", "sha256", "checksum"}
    same = _without(here, added) == _without(manifest, added)
    return same and manifest["sha256"].items() <= here["sha256"].items()


def _without(manifest, names) -> dict:
    return {name: value for name, value in manifest.items() if name not in names}


def _check_same_title(manifest, copy) -> None:
    here = storage.read_manifest(copy)
    if here.get("kind") == KIND and here.get("title") != manifest.get("title"):
        raise FileExistsError(
            f"{copy} holds the table {here.get('title')!r}, and this one is "
            f"{manifest.get('title')!r}; name another folder by --to (folder=)"
        )


# ---- files ---------------------------------------------------------------------------------------


def _copy_file(source, name, file: str, expected: str, path: Path) -> None:
    """Copy a file of a table; ValueError if it is not the one that the manifest names."""
    parts = (name, *PurePosixPath(file).parts)
    place = where(source, *parts)
    try:
        data = read(source, *parts)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ValueError(
            f"{place} is missing, though the table's manifest names it; nothing was written: fetch "
            "from another copy"
        ) from None
    found = sha256(data).hexdigest()
    if found != expected:
        raise ValueError(
            f"{place} is not the published file: its SHA-256 is {found[:12]}..., and the manifest "
            f"says {str(expected)[:12]}...; nothing was written: try again, or fetch from another "
            "copy"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _add_kept_ids(part: Path, manifest: dict) -> None:
    """Write the kept ids of every row as text and as an array, and say so in the manifest."""
    (part / "kept").mkdir()
    kept = [
        _write_ids(part, k, one.row, one.selection) for k, one in enumerate(load_outcomes(part))
    ]
    files = [one[form] for one in kept for form in ("text", "npy")]
    hashes = {file: storage.file_hash(part / file) for file in files}
    said = _without(manifest, {"checksum"}) | {"kept": kept, "sha256": manifest["sha256"] | hashes}
    storage.write_json(part / "manifest.json", storage.with_checksum(said))


def _write_ids(part, k, row, selection) -> dict:
    text, npy = kept_file(k, "txt.gz"), kept_file(k, "npy")
    lines = BytesIO()
    write_kept(lines, selection.kept.tolist())
    # without the time, so that the same ids give the same file
    (part / text).write_bytes(gzip.compress(lines.getvalue(), mtime=0))
    np.save(part / npy, selection.kept.astype(np.int32), allow_pickle=False)
    return {
        "row": k,
        "method": row.method,
        "options": row.options,
        "prune_ratio": row.prune_ratio,
        "seed": row.seed,
        "kept": row.keep,
        "text": text,
        "npy": npy,
    }
