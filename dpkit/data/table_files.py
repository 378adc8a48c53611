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


def read_lines(path: Path, errors: str = "strict") -> tuple[list[str], list[tuple[int, list]]]:
    """(names of the columns, [(number of the line, its cells)]) of a .csv or .tsv, with commas,
    semicolons or tabs between them. ValueError for a line that has not as many cells.

    errors: of bytes that are no UTF-8, as open takes it.
    """
    with open(path, newline="", encoding="utf-8-sig", errors=errors) as file:  # Excel's mark
        first = file.readline()
        file.seek(0)
        between = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
        reader = csv.reader(file, delimiter=between, skipinitialspace=True)
        try:
            lines = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}, is no line of a table: {error}"
            ) from None
    header = [name.strip() for name in lines[0][1]] if lines else []
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path} has {len(header)} columns, and line {number} has {len(row)} cells: put "
                "texts that hold commas in quotes"
            )
    return header, lines[1:]


def _read_csv(path):
    header, lines = read_lines(path)
    if any(name.lower().endswith(image_endings()) for name in header):
        raise ValueError(
            f"the first line of {path} must name its columns, as in file_name,label; it is "
            f"{','.join(header)!r:.80}"
        )
    return _as_table(
        header, ([row[k].strip() for _, row in lines] for k in range(len(header))), path
    )


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
