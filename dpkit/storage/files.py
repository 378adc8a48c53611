"""Files that are whole or absent, and the two folders dpkit keeps on a user's machine.

Every file and folder that dpkit writes goes through here: it is built aside, flushed to the disk
and renamed, so a killed run or a full disk never leaves something half-written under a name that
others read.
"""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dpkit.storage.claims import alone, clear_leftovers, make_parent, names_in, new_mark, real_path
from dpkit.storage.damage import expect_folder
from dpkit.storage.disks import DiskFault, writing
from dpkit.storage.hashes import (
    NewerFormat,
    check_checksum,
    file_hash,
    plain,
    read_manifest,
    with_checksum,
)
from dpkit.storage.hashes import key_hash as key_hash  # known from here too


def cache_folder() -> Path:
    """Where finished stages of experiments are kept: $DPKIT_CACHE, else the user's cache."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("DPKIT_CACHE") or user_cache_path("dpkit") / "stages")


def data_folder(folder: str | Path | None = None) -> Path:
    """Where image sets lie as <name>.npz: `folder`, else $DPKIT_DATA, else the user's cache."""
    from platformdirs import user_cache_path

    return Path(folder or os.environ.get("DPKIT_DATA") or user_cache_path("dpkit") / "data")


# ---- whole files ---------------------------------------------------------------------------------


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file beside `path`; it becomes `path` at the block's end, unless that fails.

    DiskFault if the disk is full, or fails.
    """
    place = real_path(path)
    part = new_mark(place, "writing")
    try:
        with writing(path):
            make_parent(place)
            with open(part, "wb") as file:
                clear_leftovers(place, part)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, place)
    finally:
        with suppress(OSError):  # a disk that fails here has failed before, and that is the error
            part.unlink()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all. NaN is refused: it is not JSON."""
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=1, allow_nan=False, default=plain) + "\n").encode())


IGNORED_FILES = {".DS_Store", ".ipynb_checkpoints"}  # what other programs leave in any folder

# ---- whole folders -------------------------------------------------------------------------------


@contextmanager
def whole_folder(
    path: str | Path, *, replaces: str = "manifest.json", kind: str | None = None
) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it becomes `path` when the block ends, and vanishes if
    the block fails.

    replaces: a file name. A folder that already lies at `path` is replaced only if it is empty or
              holds this file, that is, if dpkit wrote it; anything else is refused before the block
              runs.
    kind:     of that file, a manifest; a folder with a manifest of another kind is refused too, and
              one with a file that its manifest does not list: somebody else put it there.
    """
    with building_folder(path, replaces=replaces, kind=kind) as part:
        yield part
        swap_in(part, path)


@contextmanager
def building_folder(
    path: str | Path, *, replaces: str = "manifest.json", kind: str | None = None
) -> Iterator[Path]:
    """Yield an empty folder beside `path`, as whole_folder does, which vanishes when the block ends
    unless swap_in(part, path) makes it `path`.

    FileExistsError if another run builds this folder now. DiskFault if the disk is full, or fails.
    """
    place = real_path(path)
    part = new_mark(place, "building")
    try:
        with writing(path):
            make_parent(place)
            part.mkdir()
            with alone(path, part):
                check_replaceable(path, replaces, kind)
                if kind:
                    check_nothing_foreign(path)
                yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_replaceable(
    path: str | Path, replaces: str = "manifest.json", kind: str | None = None
) -> None:
    """Raise FileExistsError unless `path` is free, empty, or a folder that holds the file
    `replaces`, of this kind.
    """
    path = Path(path)
    if kind and (path / replaces).exists() and read_manifest(path).get("kind") != kind:
        raise FileExistsError(
            f"{path} holds something else than a {kind.lower()} (see its {replaces}); "
            "name another folder"
        )
    if path.is_dir() and ((path / replaces).exists() or not names_in(path)):
        return
    if path.exists():
        raise FileExistsError(
            f"{path} exists and is not an earlier result of this kind (no {replaces} in it); "
            "name another folder, or move this one away"
        )


def check_nothing_foreign(path: str | Path) -> None:
    """Raise FileExistsError if the folder holds a file that its manifest does not list and that
    would be lost with it.
    """
    path, listed = Path(path), read_manifest(path).get("sha256")
    listed = {"manifest.json", *listed} if isinstance(listed, dict) else {"manifest.json"}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        # a record's manifest lists arrays
        ours = {name.as_posix(), name.as_posix().removesuffix(".npy")} & listed
        if not file.is_dir() and not ours and IGNORED_FILES.isdisjoint(name.parts):
            raise FileExistsError(
                f"{path} holds {name}, which dpkit did not write there, and it would be lost; move "
                "it away, or name another folder"
            )


def _flush(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())


def swap_in(part: str | Path, path: str | Path) -> None:
    """Flush the finished folder `part` to the disk and rename it to `path`, removing the folder
    that lay there.
    """
    part, path = Path(part), real_path(path)
    # of a link nothing is to be flushed
    files = [file for file in part.rglob("*") if file.is_file() and not file.is_symlink()]
    if len(files) < 100:
        for file in files:
            _flush(file)
    else:  # together they wait for the disk about as long as one does
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(_flush, files):
                pass
    old = new_mark(path, "replaced")
    if path.exists():
        with suppress(OSError):  # another's: by its age it would count as a dead run's
            os.utime(path)
        os.rename(path, old)
    try:
        os.rename(part, path)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):  # nothing lay there; or the next run puts it back
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


# ---- one at a time -------------------------------------------------------------------------------


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold `path` for this block: whoever else wants it, in any process on any machine that shares
    the folder, waits here.

    The system lets go of a claim when its process ends, however that ends.
    """
    from filelock import FileLock

    place = real_path(path)
    lock = FileLock(place.parent / ".locks" / f"{place.name}.lock")
    with writing(path):
        expect_folder(place.parent / ".locks")
        make_parent(Path(lock.lock_file))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# ---- arrays with a manifest ----------------------------------------------------------------------


def save_arrays(folder: str | Path, *, kind: str, schema: int, arrays: dict, params: dict) -> Path:
    """Write one .npy per array (None is left out) and manifest.json with each array's SHA-256.

    An earlier folder of the same kind is replaced; FileExistsError if one of another kind lies
    there, or more than its arrays.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        code = version("dpkit")
    except PackageNotFoundError:  # run from a source tree that was never installed
        code = "unknown"
    folder = Path(folder)
    try:
        with whole_folder(folder, kind=kind) as part:
            hashes = {}
            for name, array in arrays.items():
                if array is not None:
                    np.save(part / f"{name}.npy", array, allow_pickle=False)
                    hashes[name] = file_hash(part / f"{name}.npy")
            manifest = {
                "kind": kind,
                "schema": schema,
                "params": params,
                "seed": params.get("seed"),
                "dpkit": code,
                "sha256": hashes,
            }
            write_json(part / "manifest.json", with_checksum(manifest))
    except (FileExistsError, DiskFault):
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not save to {folder} ({error.strerror or error}); nothing was written there: "
            "choose a folder you may write to",
        ) from error
    return folder


def load_arrays(folder: str | Path, *, kind: str, schema: int) -> tuple[dict, dict]:
    """Read what save_arrays wrote, as memory-mapped arrays, each checked against its SHA-256.
    Returns (arrays, params).
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        found, version = manifest["kind"], manifest["schema"]
        hashes, params = dict(manifest["sha256"]), dict(manifest["params"])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"expected a saved {kind} in {folder}; there is no manifest.json, so name the folder "
            f"that {kind}.save wrote"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder}/manifest.json is damaged; make the record again or fetch a whole copy"
        ) from None
    other_schema = (
        f"expected schema {schema} of {kind} in {folder}; it has schema {version}: use the dpkit "
        "version that wrote it, or make it again"
    )
    if isinstance(version, int) and version > schema:  # its checksum may be of another kind, too
        raise NewerFormat(other_schema)
    check_checksum(manifest, folder / "manifest.json")
    if found != kind:
        raise ValueError(
            f"expected a saved {kind} in {folder}; it holds a {found}: use {found}.load"
        )
    if version != schema:
        raise ValueError(other_schema)
    arrays = {}
    for name, sha256 in hashes.items():
        file = folder / f"{name}.npy"
        if not file.is_file() or file_hash(file) != sha256:
            raise ValueError(
                f"{file} is missing, truncated or altered (its SHA-256 is not the manifest's); "
                "make the record again or fetch a whole copy"
            )
        arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
    return arrays, params
