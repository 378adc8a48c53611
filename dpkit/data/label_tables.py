"""A table of labels for a folder of images: a row per image, its file and its class.

    labels.csv                  photos/labels.csv, photos/a.jpg, photos/old/b.jpg
    file_name,species,split
    a.jpg,wolf,train
    old/b.jpg,wolf spider,val

.csv, .tsv, .jsonl and .parquet are read, Hugging Face's metadata.csv in a folder too. Columns are
named, or guessed by what they hold; the notes of the listing say which they are. Row i of the
training split is sample i.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from dpkit.data.folder_layout import split_kind
from dpkit.data.image_files import Listing, image_endings
from dpkit.data.labels import ONE_CLASS, numbered
from dpkit.data.table_files import READERS, read_table
from dpkit.records.kept_list import check_paths
from dpkit.records.set_facts import shorten

# names of columns, in small letters
_IMAGES = {
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image", "image_name"),
    *("image_path", "image_id", "img", "img_path", "id"),
}
LABELS = {"label", "labels", "class", "class_name", "category", "target", "y"}
_SPLITS = {"split", "set", "subset", "partition", "phase"}


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, and the folder of its images. None: to be guessed."""

    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    images: str | Path | None = None

    @classmethod
    def of(cls, settings: dict) -> "Columns":
        """Those among the settings of load."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in known})

    def given(self) -> list[str]:
        """Names of the settings that are not left to be guessed."""
        return [each.name for each in fields(self) if getattr(self, each.name) is not None]


def is_table_file(name: str | Path) -> bool:
    """Whether a path ends as a table does."""
    return Path(name).suffix.lower() in READERS and not Path(name).is_dir()


def table_of(name: str | Path) -> Path | None:
    """The table of labels that is meant by a path: a file of that kind, or Hugging Face's metadata
    file in a folder that holds no class folders. None: it is none.
    """
    path = Path(name)
    if is_table_file(path):
        return path
    found = [path / f"metadata{ending}" for ending in READERS]
    found = [file for file in found if file.is_file()]
    return found[0] if found and len(_folders(path)) < 2 else None


def _folders(folder):
    return [
        entry for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
    ]


def list_table(
    path: str | Path,
    split: str = "train",
    columns: Columns | None = None,
    numbering_told: bool = True,
) -> Listing:
    """The images of a split and their classes; no image is opened. ValueError says what is wrong.

    split: a value of the split column, or its usual name: "val" for "validation".
    numbering_told: in the notes; not where another set's numbers are taken.
    """
    path, columns = Path(path), columns or Columns()
    table = read_table(path)
    at, label_at, split_at = _columns_of(table, columns, path.name)
    folder = Path(columns.images) if columns.images is not None else path.parent
    if not folder.is_dir():
        raise ValueError(
            f"the images of {path} should lie in {folder}, and there is no such folder"
        )
    names, ending = _with_endings(folder, _cells(table, at, "name of an image", path.name))
    check_paths(names)
    files = [os.path.abspath(folder / name) for name in names]
    rows = _unique(files, names, table[label_at], table[split_at] if split_at else None, path.name)
    repeated = len(names) - len(rows)
    notes = [
        f"{path.name}: images by the column {at}{f', with {ending} added,' * bool(ending)} in "
        f"{folder}, labels by the column {label_at}"
        + (f", splits by {split_at}" if split_at else "")
    ]
    if unused := [name for name in table if name and name not in (at, label_at, split_at)]:
        notes.append(f"columns that are not used: {shorten(unused)}")
    rows, told = _of_split(rows, table, label_at, split_at, split, path.name)
    notes += told
    if repeated:
        notes.append(f"left out, as they repeat another row: {repeated:,}")
    paths = [names[row] for row in rows]
    _check_files(folder, paths, path)
    notes += _unnamed_note(folder, files)
    given = _classes([table[label_at][row] for row in rows], label_at, path.name)
    labels, class_names, told = numbered(given, None, f"labels of {path.name}")
    return Listing(
        folder,
        paths,
        labels,
        class_names,
        (*notes, *(told if numbering_told else ())),
        split,
        os.path.realpath(path),
    )


# ---- columns -------------------------------------------------------------------------------------


def _columns_of(table, columns, file) -> tuple[str, str, str | None]:
    """Names of the columns with the images, the labels and, if there is one, the splits."""
    named = [columns.image_column, columns.label_column, columns.split_column]
    for name in filter(None, named):
        if name not in table:
            raise ValueError(f"{file} has no column {name!r}; it has {shorten(table)}")
    image = columns.image_column or _image_column(table, file)
    rest = [name for name in table if name and name not in (image, *named)]
    split = columns.split_column or next((n for n in rest if _is_split(n, table[n], file)), None)
    rest = [name for name in rest if name != split]
    label = columns.label_column or _label_column(table, rest, file)
    if len({image, label, split}) < 3:
        raise ValueError(f"images, labels and splits of {file} must be columns of their own")
    return image, label, split


def _image_column(table, file):
    files = [name for name in table if _mostly_files(table[name])]
    if "file_name" in files:  # Hugging Face's
        return "file_name"
    found = files or [name for name in table if name.lower() in _IMAGES]
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"which column of {file} has the image files cannot be told: "
        + (f"{shorten(found)} may be it" if found else f"its columns are {shorten(table)}")
        + "; name it, image_column= (--image-column)"
    )


def _mostly_files(cells):
    files = sum(isinstance(cell, str) and cell.lower().endswith(image_endings()) for cell in cells)
    return 2 * files > len(cells)


def _is_split(name, cells, file):
    """Whether a column of that name tells splits. ValueError if only some of its cells do: the
    others may be for testing.
    """
    if name.lower() not in _SPLITS or not all(isinstance(cell, str) for cell in cells):
        return False
    values = sorted(set(cells))
    others = [value for value in values if split_kind(value) is None]
    if others and len(others) < len(values):
        raise ValueError(
            f"the column {name} of {file} has splits, and also {', '.join(map(repr, others[:3]))}: "
            "name a split in every row, or rename the column"
        )
    return not others


def _label_column(table, rest, file):
    found = [name for name in rest if name.lower() in LABELS] or rest
    if len(found) == 1:
        return found[0]
    binary = [
        name for name in rest if {"0", "1"} == {str(c).removesuffix(".0") for c in table[name]}
    ]
    raise ValueError(
        f"which column of {file} has the labels cannot be told: "
        + (f"{shorten(found)} may be it" if found else "there is none besides the images")
        + "; name it, label_column= (--label-column)"
        + (
            f". Of columns with a 1 for the class ({shorten(binary, 3)}) make one, "
            "table[columns].idxmax(axis=1)"
            if len(binary) > 1
            else ""
        )
    )


def _cells(table, column, what, file) -> list[str]:
    odd = next((cell for cell in table[column] if not isinstance(cell, str)), None)
    if odd is not None:
        raise ValueError(
            f"the column {column} of {file} must hold a {what} each; got {type(odd).__name__}: a "
            "table that holds the images themselves is read by the package datasets, then by "
            "dpkit.from_dataset"
        )
    if empty := sum(not cell for cell in table[column]):
        raise ValueError(f"{empty:,} rows of {file} have no {what} in the column {column}")
    return table[column]


# ---- rows ----------------------------------------------------------------------------------------


def _unique(files, names, labels, splits, table) -> list[int]:
    """Rows without those that say the same again; ValueError where they say something else.

    files: the absolute paths of what the rows call `names`.
    """
    first: dict[str, int] = {}
    differ = []
    for row, (file, name) in enumerate(zip(files, names, strict=True)):
        before = first.setdefault(file, row)
        told = [[cells[k] for cells in (labels, splits) if cells] for k in (before, row)]
        if told[0] != told[1]:
            differ.append((name, *told))
    if differ:
        name, one, other = differ[0]
        raise ValueError(
            f"{table} names {len(differ):,} images twice with different labels or splits (first: "
            f"{name}, {', '.join(map(str, one))} and {', '.join(map(str, other))}): keep one row"
        )
    return list(first.values())


def _of_split(rows, table, label, column, split, file) -> tuple[list[int], list[str]]:
    """(the rows of a split, notes on the splits). A split without labels is not offered."""
    if column is None:
        if split != "train":
            raise ValueError(
                f'{file} has no column of splits, so all of it is the split "train"; got '
                f"{split!r}: name the column with split_column, or hold a part out, dpkit.hold_out"
            )
        return rows, []
    parts: dict[str, list[int]] = {}
    for row in rows:
        parts.setdefault(table[column][row], []).append(row)
    if "" in parts:
        raise ValueError(f"{len(parts['']):,} rows of {file} have no split in the column {column}")
    unlabelled = {name for name, part in parts.items() if all(table[label][r] == "" for r in part)}
    known = [name for name in parts if name not in unlabelled]
    chosen = _named_split(known, split, file)
    others = [f'split="{name}" ({len(parts[name]):,} images)' for name in known if name != chosen]
    notes = [f"this is the split {chosen}" + f"; there are also {', '.join(others)}" * bool(others)]
    if unlabelled:
        notes.append(f"left out: the splits {shorten(sorted(unlabelled))}, which have no labels")
    return parts[chosen], notes


def _named_split(known: Sequence[str], split: str, file: str) -> str:
    alike = [name for name in known if name == split] or [
        name for name in known if split_kind(name) and split_kind(name) == split_kind(split)
    ]
    if len(alike) == 1:
        return alike[0]
    raise ValueError(
        f"{file} has {len(alike) or 'no'} splits that {split!r} may mean; those with labels are "
        f"{shorten(known) or 'none'}: name one of them, split="
    )


def _classes(cells, column, file) -> np.ndarray:
    """The labels as whole numbers, if all are, else as texts."""
    odd = next((cell for cell in cells if not isinstance(cell, str)), None)
    several = _several(cells) if odd is None else None
    if odd is not None or several:
        what = "tables, as for detection" if isinstance(odd, dict) else "several for one image"
        raise ValueError(
            f"{ONE_CLASS}; the column {column} of {file} has {what}: {several or odd!r:.80}"
        )
    if empty := sum(not cell for cell in cells):
        raise ValueError(
            f"{empty:,} of {len(cells):,} rows of {file} have no label in the column {column}: "
            "fill them, or leave those rows out"
        )
    if len(cells) >= 20 and len(set(cells)) == len(cells):
        raise ValueError(
            f"{ONE_CLASS}; the column {column} of {file} is different in every row: name another, "
            "label_column= (--label-column)"
        )
    if not all(re.fullmatch(r"-?\d{1,18}(\.0+)?", cell) for cell in cells):
        if all(re.fullmatch(r"-?\d*\.?\d+(e[+-]?\d+)?", cell, re.IGNORECASE) for cell in cells):
            raise ValueError(
                f"{ONE_CLASS}; the column {column} of {file} has numbers with fractions"
            )
        return np.array(cells)
    zeros = any(re.match(r"-?0\d", cell) for cell in cells)
    return np.array(cells) if zeros else np.array([int(cell.split(".")[0]) for cell in cells])


def _several(cells):
    """A label that joins others of the column, as "cat|dog"; None if there is none."""
    known = set(cells)
    for label in known:
        for between in "|;,":
            parts = [part.strip() for part in label.split(between)]
            if len(parts) > 1 and all(part in known for part in parts):
                return label
    return None


# ---- files ---------------------------------------------------------------------------------------


def _with_endings(folder, names) -> tuple[list[str], str]:
    """(names of the files, the ending that was added to them, or ""): some tables leave it out."""
    there = any(os.path.isfile(folder / name) for name in names[:100])
    for ending in () if there else _spellings():
        if any(os.path.isfile(folder / f"{name}{ending}") for name in names[:100]):
            return [f"{name}{ending}" for name in names], ending
    return names, ""


def _spellings():
    return (*image_endings(), *(ending.upper() for ending in image_endings()))


def _check_files(folder, paths, table) -> None:
    missing = [path for path in paths if not os.path.isfile(folder / path)]
    if not missing:
        return
    below = [entry.path for entry in _folders(folder) if (Path(entry.path) / missing[0]).is_file()]
    raise ValueError(
        f"{len(missing):,} of the {len(paths):,} images that {table.name} names are not in "
        f"{folder} ({shorten(missing, 3)}): "
        + (
            f"they seem to lie in {below[0]}, so name that, images= (--images {below[0]})"
            if below
            else "name the folder that they lie in, images= (--images), or leave those rows out"
        )
    )


def _unnamed_note(folder, files) -> list[str]:
    """A sentence on images that lie beside those of the table, `files`, and have no row."""
    known = set(files)
    found = [
        os.path.join(place, file)
        for place in sorted({os.path.dirname(file) for file in known})
        for file in sorted(os.listdir(place))
        if file.lower().endswith(image_endings()) and not file.startswith(".")
    ]
    unnamed = [os.path.relpath(path, folder) for path in found if path not in known]
    if not unnamed:
        return []
    return [
        f"left out: {len(unnamed):,} images that the table does not name ({shorten(unnamed, 3)})"
    ]
