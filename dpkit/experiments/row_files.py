"""The files that hold rows, which are written and read here alone.

A sweep has a JSON file for each trial, a published table a line of rows.csv. Both hold the fields
of Row: options, exits and versions as JSON, recipes as JSON of what differs from the defaults.
Those from before 0.9 (schema 1) are read by old_rows.
"""

import csv
import json
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from dpkit import storage
from dpkit.experiments.old_rows import from_words
from dpkit.experiments.rows import Failure, Row, columns_as_costs, costs_as_columns, stage_of
from dpkit.training.recipe import Recipe

SCHEMA = 2


def write_answer(file: Path, answer: Row | Failure, **about: Any) -> None:
    """Write what a trial of a sweep came to, whole or not at all. about: what else is noted."""
    found: dict = (
        {"failed": answer.reason, "transient": answer.transient}
        if isinstance(answer, Failure)
        else {"row": answer.plain()}
    )
    said = {"kind": "Row", "schema": SCHEMA, **about, **found}
    storage.write_json(file, storage.with_checksum(said))


def read_answer(file: Path) -> Row | Failure:
    """What write_answer wrote, or an older dpkit. ValueError for anything else."""
    with _naming(file):
        said = storage.read_checked(file)
        schema = said.get("schema", 1)
        if schema > SCHEMA:
            reason = f"{file} was written by a newer dpkit: update dpkit to read it"
            return Failure(reason, newer=True)
        if said.get("failed"):
            return Failure(said["failed"], transient=said.get("transient", False))
        return from_words(said["row"], {}) if schema < 2 else _from_plain(said["row"])


def write_table(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, a field a column, and a column for each cost of a stage. Texts stand as
    they are, all else as JSON; None is empty.
    """
    lines = [costs_as_columns(row.plain()) for row in rows]
    names = [name for name in dict.fromkeys(chain(*lines)) if name != "from_cache"]
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*names, "kept"])
        for k, line in enumerate(lines):
            writer.writerow([*(_cell(line.get(name)) for name in names), k])


def read_table(file: Path, schema: int, settings: dict) -> list[Row]:
    """The rows of a published table.

    schema : of its manifest.
    settings : of the manifest. Of tables from before 0.9 they tell what their rows do not.
    """
    if schema > SCHEMA:
        raise ValueError(
            f"{file} was written by a newer dpkit (schema {schema}; this one reads 1..{SCHEMA}): "
            "update dpkit"
        )
    with _naming(file), open(file, newline="", encoding="utf-8") as lines:
        cells = list(csv.DictReader(lines))
        return [from_words(line, settings) if schema < 2 else _from_cells(line) for line in cells]


@contextmanager
def _naming(file):
    """Name the file in an error about what it holds."""
    try:
        yield
    except (IsADirectoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        # other JSON, or none
        raise ValueError(
            f"{file} holds no row as dpkit writes it ({error}): run the sweep again, which makes "
            "it anew, or fetch a whole copy"
        ) from None


def _from_cells(line: dict) -> Row:
    texts = {each.name for each in fields(Row) if each.type is str}
    found = {
        name: text if name in texts else _json(name, text or "null")
        for name, text in line.items()
        if name != "kept" and (text or stage_of(name))
    }
    return _from_plain(found)


def _json(name, text):
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{name} must be JSON; got {text!r}") from None


def _cell(value) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _from_plain(found: dict) -> Row:
    recipes = {name: _recipe(**found[name]) for name in ("record", "retrain") if name in found}
    return Row(**columns_as_costs(found) | recipes)


_recipe = lru_cache(typed=True)(Recipe)  # many rows share them
