"""What a notebook left for its report, read back: what must be true of its result.json."""

import json
import re
from pathlib import Path

from dpkit.reports.result import FIELDS, RESULT, SCHEMA
from dpkit.storage.files import file_hash


def read_result(
    folder: str | Path, *, notebook: str, parameters: dict
) -> tuple[dict | None, list[str]]:
    """Read result.json and check what must be true of it. Returns (result or None, mistakes)."""
    folder = Path(folder)
    result, unread = _load(folder / RESULT)
    if result is None:
        return None, unread
    failed = [name for name, passed in result["checks"].items() if passed is not True]
    return result, [
        *_of_another_run(result, notebook, parameters),
        *(f"the check {name!r} failed" for name in failed),
        *_wrong_figures(result["figures"], folder),
        *_wrong_tables(result["tables"]),
    ]


def _load(file) -> tuple[dict | None, list[str]]:
    """result.json with all fields, each of its type; else None and why."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        return None, [
            "the notebook wrote no result.json; its last cell must call report.finish(...)"
        ]
    except ValueError as error:
        return None, [f"result.json is not valid JSON: {error}"]
    if not isinstance(result, dict) or set(result) != set(FIELDS):
        fields = set(result) if isinstance(result, dict) else set()
        odd = ", ".join(sorted(set(FIELDS) ^ fields))
        return None, [f"result.json must hold exactly {', '.join(FIELDS)}; missing or extra: {odd}"]
    wrong = [
        f"result.json: {name} has the wrong type ({type(result[name]).__name__})"
        for name, kind in FIELDS.items()
        if not isinstance(result[name], kind) or isinstance(result[name], bool)
    ]
    return None if wrong else result, wrong


def _of_another_run(result, notebook, parameters) -> list[str]:
    """Where the result says another schema, notebook or parameter than this run's."""
    wrong = []
    if result["schema"] != SCHEMA:
        wrong.append(f"result.json has schema {result['schema']}; this dpkit reads schema {SCHEMA}")
    if result["notebook"] != notebook:
        wrong.append(
            f"result.json names the notebook {result['notebook']!r}; this is {notebook!r}: correct "
            "the name given to reports.begin"
        )
    for name in sorted(set(result["parameters"]) | set(parameters)):
        ours, theirs = (
            json.dumps(values[name]) if name in values else "absent"
            for values in (parameters, result["parameters"])
        )
        if ours != theirs:
            wrong.append(f"parameter {name!r} was given as {ours}, but result.json says {theirs}")
    return wrong


def _wrong_figures(figures, folder) -> list[str]:
    wrong = []
    for figure in figures:
        file = figure.get("file", "") if isinstance(figure, dict) else ""
        if not re.fullmatch(r"figures/[A-Za-z0-9_-]+\.png", file):
            wrong.append(
                f"result.json names a figure {figure!r}; expected a file figures/<name>.png with "
                "its sha256"
            )
        elif not (folder / file).is_file():
            wrong.append(f"{file} is missing")
        elif file_hash(folder / file) != figure.get("sha256"):
            wrong.append(f"{file} is not the picture that the notebook saved (its SHA-256 differs)")
    return wrong


def _wrong_tables(tables) -> list[str]:
    wrong = []
    for name, rows in tables.items():
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            wrong.append(f"table {name!r} must be a list of rows")
        elif all(value is None for row in rows for value in row.values()):
            wrong.append(f"table {name!r} holds no value at all: every entry is null")
    return wrong


def _no_constant(name):
    raise ValueError(f"it holds {name}, which is not JSON")
