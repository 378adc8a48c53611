"""The cache of finished stages: each is done once, whoever asks, and read once per process."""

import json
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dpkit import storage
from dpkit.experiments.costs import Cost


@dataclass
class Stage:
    """A step of a trial, whose result is kept in the cache.

    name : in keys, names of files and columns of a row.
    version : bump it when what the stage leaves changes (also in CHANGELOG.md): older results are
        then left unused.
    compatible : earlier versions whose numbers are today's; None among them: rows from before the
        stage was there count, too.
    needs_record : whether it is only for methods that read a recorded training.
    """

    name: str
    version: int = 1
    compatible: tuple[int | None, ...] = ()
    needs_record: bool = False


def done_once(folder: Path, key: dict, work: Callable[[Path], Cost]) -> Cost:
    """What the stage in `folder` cost; first doing it, work(empty folder) -> Cost, if nobody has,
    or is about to.
    """
    manifest = folder / "manifest.json"

    def make():
        with storage.whole_folder(folder) as part:
            cost = work(part)
            storage.write_json(part / "manifest.json", {"key": key, **asdict(cost)})

    once(manifest, make, lock=folder, partial=partial_of(folder))
    there = json.loads(manifest.read_text())
    return Cost(**{name: there[name] for name in asdict(Cost()) if name in there})


def once(finished: Path, make: Callable[[], object], *, lock: Path, partial: Path) -> bool:
    """Call make(), which leaves the file `finished`, unless it is there. Whether it was there.

    Who comes second waits for the lock, and finds it done. `partial`, the checkpoint of an
    unfinished training, goes away with the end; and when the training diverged, as from there it
    would only diverge again.
    """
    there = finished.exists()
    if not there or partial.exists():  # a run that is killed at its very end leaves both
        with storage.locked(lock):
            there = finished.exists()
            if not there:
                with _no_checkpoint_of_a_divergence(partial):
                    make()
            shutil.rmtree(partial, ignore_errors=True)
    return there


def partial_of(place: Path) -> Path:
    """Where a stage keeps its checkpoint until it is finished."""
    return place.with_name(place.name + "-partial")


def load_once(kind: type, folder: Path) -> Any:
    """kind.load(folder), read and held against its hashes once per process."""
    stat = (folder / "manifest.json").stat()
    return _loaded(kind, folder, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=32)
def _loaded(kind, folder, _changed, _file):
    return kind.load(folder)


@contextmanager
def _no_checkpoint_of_a_divergence(partial):
    try:
        yield
    except FloatingPointError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
