"""The forms in which chosen samples are taken out: one small function each, in one table.

A function writes what a Part holds: `write(file, part)` into a file that is open for bytes, or
`write(folder, part)` into an empty folder. It knows nothing of where that will lie in the end.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dpkit.records.sample_table import COLUMNS, SampleTable, csv_writer, write_samples

LINKS = ("links", "relative-links", "hard-links", "copies")
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK)


@dataclass(frozen=True, eq=False)
class Part:
    """The samples that are taken out.

    samples : of these, with paths as lists are to show them.
    to : where it will lie.
    files : their files, absolute.
    layout : the paths of those from one folder on, as they lie.
    links : one of LINKS.
    pixels : pixels() -> (k, H, W) or (k, H, W, C) uint8, in the order of the samples.
    tell : called with how many files are written.
    """

    samples: SampleTable
    to: Path
    files: Sequence[str] = ()
    layout: Sequence[str] = ()
    links: str = "links"
    pixels: Callable[[], np.ndarray] | None = None
    tell: Callable[[int], object] = lambda done: None


@dataclass(frozen=True)
class Format:
    """One form.

    about : a line for --help.
    write : the function.
    endings : that its file may have, the usual one first; (): it is a folder.
    options : of `export` that it takes.
    paths : whether it is of files, which the set must have.
    utf8 : whether it cannot hold paths that are no UTF-8.
    """

    about: str
    write: Callable[[Any, Part], None]
    endings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    paths: bool = False
    utf8: bool = False


# ---- folders -------------------------------------------------------------------------------------


def _write_folder(folder: Path, part: Part) -> None:
    place, final = _LINKS[part.links], Path(os.path.realpath(part.to))
    made = {""}
    for done, (file, below) in enumerate(zip(part.files, part.layout, strict=True)):
        _make_folders(folder, os.path.dirname(below), made)
        target = folder / below
        if os.path.lexists(target):
            raise _collision(below)
        try:
            place(file, target, final / below)
        except OSError as error:
            if part.links == "copies" or error.errno not in _NO_LINKS:
                raise
            raise ValueError(
                f"{part.links} to {file} cannot be made there ({error.strerror}): hard links need "
                "the disk of the images, and some disks take no links; take copies"
            ) from error
        part.tell(done)


def _make_folders(folder, below, made):
    """Make each folder of a path, once. A disk that takes two names for one is found here."""
    if below in made:
        return
    _make_folders(folder, os.path.dirname(below), made)
    try:
        os.mkdir(folder / below)
    except FileExistsError:
        raise _collision(below) from None
    made.add(below)


def _collision(below):
    return ValueError(
        f"{below} is there twice: the disk to write to takes two names of the set for one (it does "
        "not tell capital letters, or forms of Unicode, apart); write to another disk, or export a "
        "list"
    )


def _link(file, target, final):
    os.symlink(file, target)


def _relative_link(file, target, final):
    os.symlink(os.path.relpath(file, final.parent), target)


def _hard_link(file, target, final):
    os.link(os.path.realpath(file), target)


def _copy(file, target, final):
    shutil.copy2(file, target)


_LINKS = dict(zip(LINKS, (_link, _relative_link, _hard_link, _copy), strict=True))


def _write_huggingface(folder: Path, part: Part) -> None:
    _write_folder(folder, part)
    names = [part.samples.class_names[label] for label in part.samples.labels.tolist()]
    with open(folder / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file, part.samples.class_names)
        writer.writerow(("file_name", "label"))
        writer.writerows(zip(part.layout, names, strict=True))


# ---- lists ---------------------------------------------------------------------------------------


def _write_paths(file: BinaryIO, part: Part) -> None:
    for path in _paths(part):
        file.write(os.fsencode(path) + b"\n")


def _write_dali(file: BinaryIO, part: Part) -> None:
    for path, label in zip(_paths(part), part.samples.labels.tolist(), strict=True):
        if path != path.rstrip():
            raise ValueError(
                f"DALI takes the blank at the end of {path!r} for none: rename it, or choose "
                "another format"
            )
        file.write(os.fsencode(path) + b" %d\n" % label)


def _write_csv(file: BinaryIO, part: Part) -> None:
    write_samples(file, part.samples)


def _write_jsonl(file: BinaryIO, part: Part) -> None:
    for row in part.samples:
        facts = dict(zip(COLUMNS, row, strict=True))
        if facts["score"] is not None and not np.isfinite(facts["score"]):
            facts["score"] = None  # JSON has no infinity; the rank tells
        file.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")


def _write_parquet(file: BinaryIO, part: Part) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(
            "parquet needs a package that is not installed here: pip install pyarrow; or choose csv"
        ) from None
    kinds = ("int64", "string", "int64", "string", "float64", "int64", "bool")
    schema = pyarrow.schema(list(zip(COLUMNS, map(pyarrow.type_for_alias, kinds), strict=True)))
    columns = zip(*part.samples, strict=True)
    arrays = [pyarrow.array(one, field.type) for one, field in zip(columns, schema, strict=True)]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)


def _paths(part) -> Iterator[str]:
    assert part.samples.paths is not None  # `export` has seen to it
    return iter(part.samples.paths)


# ---- arrays --------------------------------------------------------------------------------------


def _write_ids(file: BinaryIO, part: Part) -> None:
    if part.to.suffix == ".npy":
        np.save(file, part.samples.ids)
    else:
        np.savetxt(file, part.samples.ids, "%d")


def _write_npz(file: BinaryIO, part: Part) -> None:
    assert part.pixels is not None
    names = np.array(part.samples.class_names)
    np.savez(file, images=part.pixels(), labels=part.samples.labels, class_names=names)


# ---- the table -----------------------------------------------------------------------------------

FORMATS = {
    "folder": Format(
        "the image files in their folders, as links or copies",
        _write_folder,
        options=("links",),
        paths=True,
    ),
    "huggingface": Format(
        "the same with a metadata.csv (file_name, label), for load_dataset('imagefolder')",
        _write_huggingface,
        options=("links",),
        paths=True,
        utf8=True,
    ),
    "paths": Format("text, a path a line", _write_paths, (".txt",), ("relative",), True),
    "csv": Format(f"a table: {', '.join(COLUMNS)}", _write_csv, (".csv",), ("relative",)),
    "jsonl": Format(
        "the same, an object a line", _write_jsonl, (".jsonl",), ("relative",), utf8=True
    ),
    "parquet": Format("the same", _write_parquet, (".parquet",), ("relative",), utf8=True),
    "dali": Format(
        "text, a path and a label's number a line, the file_list of DALI's reader",
        _write_dali,
        (".txt",),
        ("relative",),
        True,
    ),
    "npz": Format(
        "images, labels and class_names, for dpkit.load", _write_npz, (".npz",), ("size",)
    ),
    "ids": Format("ids for torch.utils.data.Subset, .npy or .txt", _write_ids, (".npy", ".txt")),
}
