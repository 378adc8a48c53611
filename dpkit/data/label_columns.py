"""Which columns of a table of labels hold what: as they are named, or guessed by their names and by
what they hold.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from dpkit.data.folder_layout import split_kind
from dpkit.data.image_files import image_endings
from dpkit.data.labels import ONE_CLASS
from dpkit.records.set_facts import shorten

# names of columns, in small letters
_IMAGES = {
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image", "image_name"),
    *("image_path", "image_id", "img", "img_path", "id"),
}
LABELS = {"label", "labels", "class", "class_name", "category", "target", "y"}
_SPLITS = {"split", "set", "subset", "partition", "phase"}
# a column each: whether the row is of that split
_FLAGS = {
    **dict.fromkeys(("is_train", "is_training", "is_training_image"), "train"),
    **dict.fromkeys(("is_val", "is_valid", "is_validation"), "val"),
    **dict.fromkeys(("is_test", "is_testing"), "test"),
}
_BOOL = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
# columns of boxes, in small letters and without what stands between them
_BOXES = {"bbox", "bboxes", "box", "boxes", "boundingbox", "boundingboxes"}
_SIDES = {
    *("xmin", "ymin", "xmax", "ymax", "minx", "miny", "maxx", "maxy", "x0", "y0", "x1", "y1"),
    *("x2", "y2", "bboxx", "bboxy", "bboxw", "bboxh", "bboxwidth", "bboxheight"),
    *("xcenter", "ycenter", "boxx", "boxy", "boxw", "boxh", "roix1", "roiy1", "roix2", "roiy2"),
}


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


def columns_of(table: dict, columns: Columns, file: str) -> tuple[str, str, str | None]:
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


def with_split(table: dict, columns: Columns, file: str) -> tuple[dict, Columns]:
    """(the table, the columns) with columns such as is_train and is_test, true or false in each
    row, as one column of splits.

    A named one is taken alone; unnamed ones only where no other column tells splits, and some row
    is for training. ValueError for rows of several splits, or none.
    """
    named = columns.split_column
    taken = (columns.image_column, columns.label_column)
    flags = {}
    for name in table:
        kind = _FLAGS.get(name.lower())
        if kind and name not in taken and named in (None, name) and _is_flag(table[name]):
            flags[name] = kind
    others = named is None and any(name.lower() in _SPLITS for name in table)
    if not flags or others:
        return table, columns
    rest = next((kind for kind in ("train", "test") if kind not in flags.values()), None)
    told = [[_BOOL[cell.lower()] for cell in table[name]] for name in flags]
    splits: list[str] = []
    for row, values in enumerate(zip(*told, strict=True)):
        kinds = {kind for kind, true in zip(flags.values(), values, strict=True) if true}
        kinds = kinds or ({rest} if rest else kinds)
        if len(kinds) != 1:
            raise ValueError(
                f"row {row} of {file} is of {'several splits' if kinds else 'no split'} by the "
                f"columns {shorten(flags)}: mend it, or name one of them, split_column= "
                "(--split-column)"
            )
        splits += kinds
    if named is None and "train" not in splits:
        return table, columns
    column = " and ".join(flags)
    kept = {name: cells for name, cells in table.items() if name not in flags}
    return kept | {column: splits}, replace(columns, split_column=column)


def _is_flag(cells):
    return all(isinstance(cell, str) and cell.lower() in _BOOL for cell in cells)


def check_no_boxes(table: dict, files: Sequence[str], name: str) -> None:
    """ValueError for a table of boxes, with several rows for an image. One box each may well be
    where the one thing in it is.
    """
    plain = {column: re.sub(r"[\W_]", "", column.lower()) for column in table}
    boxes = [column for column in table if plain[column] in _BOXES | _SIDES]
    told = len(boxes) > 1 or any(plain[column] in _BOXES for column in boxes)
    several = len(files) - len(set(files))
    if told and several:
        raise ValueError(
            f"{ONE_CLASS}; {name} has boxes ({shorten(boxes, 4)}) and {several:,} more rows than "
            "images, as for detection"
        )


def _label_column(table, rest, file):
    found = _one_of_alike([name for name in rest if name.lower() in LABELS], table) or rest
    if len(found) == 1:
        return found[0]
    binary = [name for name in rest if _is_flag(table[name])]
    rows = zip(*([_BOOL[cell.lower()] for cell in table[name]] for name in binary), strict=True)
    one_hot = len(binary) > 1 and all(sum(row) == 1 for row in rows)
    if len(binary) > 1 and not one_hot and len(binary) == len(rest):
        raise ValueError(
            f"{ONE_CLASS}; {file} has the columns {shorten(binary)} with 0 or 1, and "
            "rows with several ones, or none: if one of them is the label, name it, label_column= "
            "(--label-column)"
        )
    raise ValueError(
        f"which column of {file} has the labels cannot be told: "
        + (f"{shorten(found)} may be it" if found else "there is none besides the images")
        + "; name it, label_column= (--label-column)"
        + (
            f". Of columns with a 1 for the class ({shorten(binary, 3)}) make one, "
            "table[columns].idxmax(axis=1)"
            if one_hot
            else ""
        )
    )


def _one_of_alike(found, table):
    """The last of several columns that tell the same classes, as the number and the name of each
    (samples.csv has both); else all.
    """
    if len(found) < 2 or not all(isinstance(c, str) for name in found for c in table[name]):
        return found
    together = len(set(zip(*(table[name] for name in found), strict=True)))
    alike = all(len(set(table[name])) == together for name in found)
    names = [n for n in found if not all(cell.lstrip("-").isdigit() for cell in table[n])]
    return (names or found)[-1:] if alike else found
