"""Places where published tables lie: a folder, or an address, with a folder per table.

An address cannot be listed, so index.json says which tables there are.
"""

import json
import os
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from dpkit import storage
from dpkit.experiments.results import KIND

# Where tables are fetched from if nothing else is named: an https:// address under which a copy of
# results/ lies. There is none yet; whoever makes one public writes it here, and nowhere else.
ADDRESS = ""
INDEX = "index.json"
TRIES, PAUSE, SILENCE = 3, 1.0, 60  # requests for a file, seconds between them, seconds to wait


def copies_folder(folder: str | Path | None = None) -> Path:
    """Where fetched tables lie: `folder`, else tables/ where the image sets are."""
    return Path(folder) if folder else storage.data_folder() / "tables"


def tables_at(source: str | Path | None = None) -> dict[str, str]:
    """{name: title} of the tables at a place.

    source : as of `fetch`; None: where `fetch` would look.

    Raises
    ------
    ValueError, ConnectionError as `fetch`.
    """
    source = find_source(source)
    if not is_address(source):
        return tables_in(source)
    try:
        said = json.loads(read(source, INDEX))
        storage.check_checksum(said, where(source, INDEX))
        return {str(name): str(title) for name, title in said["tables"].items()}
    except FileNotFoundError:
        raise ValueError(f"{source} has no {INDEX}, which would list its tables") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{where(source, INDEX)} is not a whole list of tables") from None


def write_index(folder: str | Path) -> Path:
    """Write index.json into a folder of tables, which lists them for those who fetch from its
    address. Returns its path.

    Raises
    ------
    ValueError if the folder is not there.
    """
    tables = tables_in(folder)
    file = Path(folder) / INDEX
    storage.write_json(
        file, storage.with_checksum({"kind": "Index", "schema": 1, "tables": tables})
    )
    return file


def find_source(source: str | Path | None) -> str | Path:
    """The place that is meant; ValueError if there is none."""
    source = source or os.environ.get("DPKIT_TABLES") or ADDRESS
    if not source:
        there = ", ".join(tables_in(copies_folder())) if copies_folder().is_dir() else ""
        raise ValueError(
            "there is no public address of tables yet: name a folder or an address, by --from on "
            "the command line, source= in Python, or $DPKIT_TABLES; a clone of dpkit has the "
            "folder results" + (f"; fetched already: {there}" if there else "")
        )
    if is_address(source):
        parts = urlsplit(str(source))
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query:
            raise ValueError(
                f"tables are fetched from a folder or an address like https://host/results; got "
                f"{source}"
            )
    elif not Path(source).is_dir():
        raise ValueError(f"there is no folder {source}: name one that holds tables, or an address")
    elif storage.read_manifest(source).get("kind") == KIND:
        raise ValueError(
            f"{source} is a table itself: fetch {Path(source).resolve().name} from the folder that "
            f"it lies in, {Path(source).resolve().parent}"
        )
    return source


def is_address(source: str | Path) -> bool:
    """Whether a place is an address, not a folder."""
    return isinstance(source, str) and "://" in source


def where(source: str | Path, *parts: str) -> str:
    """A place in a source, for messages and to open it."""
    if is_address(source):
        return "/".join([str(source).rstrip("/"), *map(quote, parts)])
    return str(Path(source, *parts))


def tables_in(folder: str | Path) -> dict[str, str]:
    """{name: title} of the tables in a folder; ValueError if it is not there."""
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {folder}: name one that holds tables")
    found = {
        path.parent.name: storage.read_manifest(path.parent)
        for path in sorted(Path(folder).glob("*/manifest.json"))
    }
    return {
        name: str(manifest.get("title", ""))
        for name, manifest in found.items()
        if manifest.get("kind") == KIND and not name.startswith(".")  # one that is being written
    }


def read(source: str | Path, *parts: str) -> bytes:
    """A file at a place. What a network does not give at once is requested again.

    Raises
    ------
    FileNotFoundError if it is not there, ConnectionError if the address does not answer.
    """
    file = where(source, *parts)
    if not is_address(source):
        return Path(file).read_bytes()
    for left in reversed(range(TRIES)):
        try:
            request = Request(file, headers={"User-Agent": "dpkit"})
            with closing(urlopen(request, timeout=SILENCE)) as stream:
                return stream.read()
        except HTTPError as error:
            if error.code in (404, 410):
                raise FileNotFoundError(f"there is no {file}") from None
            why, passing = f"HTTP {error.code} {error.reason}", error.code >= 500
        except (OSError, HTTPException) as error:
            why, passing = str(getattr(error, "reason", error) or type(error).__name__), True
        if not passing:
            break
        time.sleep(PAUSE if left else 0)
    raise ConnectionError(
        f"could not fetch {file} ({why}); nothing was written: check the address and the network, "
        "and try again"
    )
