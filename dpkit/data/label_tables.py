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
from pathlib import Path

import numpy as np

from dpkit.data.folder_layout import split_kind
from dpkit.data.image_files import Listing, image_endings
from dpkit.data.label_columns import Columns, check_no_boxes, columns_of, with_split
from dpkit.data.labels import ONE_CLASS, joined_label, numbered
from dpkit.data.table_files import READERS, read_table
from dpkit.records.kept_list import check_paths
from dpkit.records.set_facts import shorten

# with a fraction, or an exponent; the decimal comma is one
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)


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
    table, columns = with_split(read_table(path), columns, path.name)
    at, label_at, split_at = columns_of(table, columns, path.name)
    folder = Path(columns.images) if columns.images is not None else path.parent
    if not folder.is_dir():
        raise ValueError(
            f"the images of {path} should lie in {folder}, and there is no such folder"
        )
    names, ending = _with_endings(folder, _cells(table, at, "name of an image", path.name))
    names = _with_blanks(folder, names)
    check_paths(names)
    files = [os.path.abspath(folder / name) for name in names]
    check_no_boxes(table, files, path.name)
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
    own = {_class(table[label][r]) for r in parts[chosen]}
    others = []
    for name in known:
        lacking = sorted({_class(table[label][r]) for r in parts[name]} - own - {""})
        unknown = (
            f", of classes that this split has not: {shorten(lacking, 3)}"
            if lacking and split == "train"
            else ""
        )
        if name != chosen:
            others.append(f'split="{name}" ({len(parts[name]):,} images{unknown})')
    notes = [f"this is the split {chosen}" + f"; there are also {', '.join(others)}" * bool(others)]
    if unlabelled:
        notes.append(f"left out: the splits {shorten(sorted(unlabelled))}, which have no labels")
    return parts[chosen], notes


def _class(cell):
    return cell.removesuffix(".0") if isinstance(cell, str) else str(cell)


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
    several = joined_label(cells) if odd is None else None
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
        if all(re.fullmatch(_NUMBER, cell) for cell in cells):
            raise ValueError(
                f"{ONE_CLASS}; the column {column} of {file} has numbers with fractions"
            )
        return np.array(cells)
    zeros = any(re.match(r"-?0\d", cell) for cell in cells)
    return np.array(cells) if zeros else np.array([int(cell.split(".")[0]) for cell in cells])


# ---- files ---------------------------------------------------------------------------------------


def _with_endings(folder, names) -> tuple[list[str], str]:
    """(names of the files, the ending that was added to them, or ""): some tables leave it out."""
    there = any(os.path.isfile(folder / name) for name in names[:100])
    for ending in () if there else _spellings():
        if any(os.path.isfile(folder / f"{name}{ending}") for name in names[:100]):
            return [f"{name}{ending}" for name in names], ending
    return names, ""


def _with_blanks(folder, names) -> list[str]:
    """The names with the blanks around them, which a table's cells lose, where a file is there only
    by such a name.
    """
    by_name: dict[str, dict[str, list[str]]] = {}

    def entries(place, name):
        if place not in by_name:
            found = by_name[place] = {}
            for entry in os.listdir(place) if os.path.isdir(place) else ():
                found.setdefault(entry.strip(), []).append(entry)
        return by_name[place].get(name.strip(), [])

    def spelled(name):
        place, last = os.path.split(name)
        top, _, below = place.partition("/")
        places = [os.path.join(entry, below) for entry in entries(str(folder), top)] if top else []
        alike = {
            os.path.join(start, entry)
            for start in (place, *places)
            for entry in entries(os.path.join(folder, start), last)
        }
        files = sorted(one for one in alike if os.path.isfile(folder / one))
        return files[0] if len(files) == 1 else name

    return [name if os.path.isfile(folder / name) else spelled(name) for name in names]


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
