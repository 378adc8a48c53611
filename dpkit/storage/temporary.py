"""Temporary folders that are removed with their block, or with the command if that is stopped in
between.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN: set[str] = set()


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new folder, which is removed at the end with all that is in it."""
    folder = tempfile.mkdtemp(prefix=prefix)
    _OPEN.add(folder)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _OPEN.discard(folder)


def remove_open() -> None:
    """Remove those whose blocks have not ended, as the process will not run their ends any more."""
    for folder in list(_OPEN):
        shutil.rmtree(folder, ignore_errors=True)
