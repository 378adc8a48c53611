"""Hashes of files and values, and JSON files that carry their own: a change in one is noticed."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_hash(value: Any) -> str:
    """A short name (20 hexadecimal digits) for a JSON-like value; equal values get equal names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=plain).encode()).hexdigest()[
        :20
    ]


def plain(value: Any) -> Any:
    """numpy scalars and arrays as plain Python, for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(
        "expected something JSON can hold (str, int, float, bool, list, dict); got "
        f"{type(value).__name__}"
    )


def read_manifest(folder: str | Path) -> dict:
    """manifest.json of a folder as a dict; empty if there is none, or it cannot be read."""
    try:
        found = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


# ---- files that carry a checksum -----------------------------------------------------------------


class NewerFormat(ValueError):
    """Written by a newer dpkit: not damaged, and not for this one to make again."""


def with_checksum(value: dict) -> dict:
    """`value` as JSON holds it, with its checksum as one more entry."""
    said = json.loads(json.dumps(value, allow_nan=False, default=plain))
    return said | {"checksum": _checksum_of(said)}


def check_checksum(said: dict, file: str | Path) -> None:
    """ValueError if the JSON object from this file has a checksum that is not its own. Those from
    before 0.9 have none.
    """
    if "checksum" in said and said["checksum"] != _checksum_of(said):
        raise ValueError(f"{file} was changed since dpkit wrote it (its checksum is another)")


def read_checked(file: str | Path) -> dict[str, Any]:
    """The JSON object in a file, without its checksum; ValueError, which names the file, for
    anything else, and where the checksum is another's.
    """
    try:
        said = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error})") from None
    if not isinstance(said, dict):
        raise ValueError(f"{file} must hold a JSON object; it holds a {type(said).__name__}")
    check_checksum(said, file)
    return _without(said)


def _checksum_of(said: dict) -> str:
    return key_hash(_without(said))


def _without(said: dict) -> dict:
    return {name: value for name, value in said.items() if name != "checksum"}
