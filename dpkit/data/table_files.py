"""Tables as they lie in files, .csv, .tsv, .jsonl or .parquet: {column: its cells}.

Cells are texts, "" for none; only lists and tables stay as they are.
"""

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dpkit.data.image_files import image_endings


def read_table(path: Path) -> dict[str, list]:
    """{column: its cells}, texts where they are plain; "" for none."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name a table of labels that exists")
    try:
        table = READERS[path.suffix.lower()](path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8: save it as that") from None
    if not table or not all(len(cells) for cells in table.values()):
        raise ValueError(f"{path} must hold a row per image; it holds none")
    return table


def _read_csv(path):
    with open(path, newline="", encoding="utf-8-sig") as file:  # Excel begins files by a mark
        first = file.readline()
        file.seek(0)
        between = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
        reader = csv.reader(file, delimiter=between, skipinitialspace=True)
        try:
            header, *rows = [[cell.strip() for cell in row] for row in reader if row] or [[]]
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}, is no line of a table: {error}"
            ) from None
    if any(name.lower().endswith(image_endings()) for name in header):
        raise ValueError(
            f"the first line of {path} must name its columns, as in file_name,label; it is "
            f"{between.join(header)!r:.80}"
        )
    uneven = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if uneven:
        raise ValueError(
            f"{path} has {len(header)} columns, and row {uneven} has {len(rows[uneven - 2])} "
            "cells: put texts that hold commas in quotes"
        )
    return _as_table(header, ([row[k] for row in rows] for k in range(len(header))), path)


def _as_table(header, columns, path):
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has two columns named {twice[0]}: rename one")
    return dict(zip(header, columns, strict=True))


def _read_jsonl(path):
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line) if line.strip() else {}
            except ValueError as error:
                raise ValueError(f"{path}, line {number}, is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {number}, must be a table in braces; got {line[:80]!r}"
                )
            rows += [row] if row else []
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_text(row.get(name)) for row in rows] for name in names}


def _read_parquet(path):
    if find_spec("pyarrow") is None:
        raise ValueError(
            f"to read {path} takes the package pyarrow: pip install pyarrow, or write the table as "
            ".csv"
        )
    import pandas

    try:
        frame = pandas.read_parquet(path)
    except (OSError, ValueError) as error:  # of pyarrow, which has no kind of its own
        raise ValueError(f"{path} is not a whole .parquet file ({error}): write it again") from None
    return _as_table(list(map(str, frame)), ([_text(c) for c in frame[k]] for k in frame), path)


def _text(cell: Any) -> Any:
    """A plain value as the text that a .csv would have, "" for none; lists and tables stay."""
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() if isinstance(cell, (str, int, float)) else cell


READERS: dict[str, Callable] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
