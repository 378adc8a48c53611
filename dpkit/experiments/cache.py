"""The cache of finished stages: each is done once, whoever asks, and read once per process.

What cannot be read is set aside, and made again: a stage is damaged for one run, not for good.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from dpkit import storage
from dpkit.experiments.costs import Cost
from dpkit.training.checkpoint import UnusableCheckpoint

Found = TypeVar("Found")


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


def done_once(
    folder: Path, key: dict, work: Callable[[Path], Cost], read: Callable[[Path], Found]
) -> tuple[Cost, Found]:
    """(what the stage in `folder` cost, read(folder)); first doing it, work(empty folder) -> Cost,
    if nobody has, or is about to, or if it is damaged.
    """

    def make():
        with storage.whole_folder(folder) as part:
            cost = work(part)
            manifest = storage.with_checksum({"key": key, **asdict(cost)})
            storage.write_json(part / "manifest.json", manifest)

    def read_all():
        there = read_stage(folder / "manifest.json", key)
        known = {name: there[name] for name in asdict(Cost()) if name in there}
        return Cost(seconds=known.pop("seconds"), **known), read(folder)

    return once(folder, make, read_all)[0]


def once(place: Path, make: Callable[[], object], read: Callable[[], Found]) -> tuple[Found, bool]:
    """(read(), whether it was there); first make(), which leaves the file or folder `place`, unless
    it lies there whole.

    Who comes second waits for the lock, and finds it done. The checkpoint of an unfinished training
    goes away with the end; and when the training diverged, as from there it would only diverge
    again.
    """
    partial = partial_of(place)
    if not partial.exists():  # a run that is killed at its very end leaves both
        try:
            with storage.damage_named():
                return read(), True
        except storage.Damaged:  # or not there
            pass
    with storage.locked(place):
        found = storage.read_or_set_aside(place, read)
        there = found is not None
        if found is None:
            storage.expect_folder(partial)
            _make(make, partial)
            found = read()
        shutil.rmtree(partial, ignore_errors=True)
    return found, there


def _make(make, partial):
    """make(), from its checkpoint; without it, where the training cannot go on from there."""
    while True:
        try:
            return make()
        except FloatingPointError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except UnusableCheckpoint as error:
            fault, cure = error.args  # and not its traceback, which holds the network
        if not partial.exists():  # what is wrong is not the checkpoint
            raise UnusableCheckpoint(fault, cure)
        storage.set_aside(partial, fault)


def partial_of(place: Path) -> Path:
    """Where a stage keeps its checkpoint until it is finished."""
    return place.with_name(place.stem + "-partial")


def read_stage(file: Path, key: dict) -> dict:
    """What a finished stage wrote into its JSON file; ValueError if it is not that of this key."""
    found = storage.read_checked(file)
    if storage.key_hash(found.get("key", key)) != storage.key_hash(key):
        raise ValueError(f"{file} is of another stage than its name says")
    return found


def load_once(kind: type, folder: Path) -> Any:
    """kind.load(folder), read and held against its hashes once per process, and again if one of its
    files was written since.
    """
    stats = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    return _loaded(kind, folder, tuple((n, s.st_mtime_ns, s.st_ino, s.st_size) for n, s in stats))


@lru_cache(maxsize=32)
def _loaded(kind, folder, _files):
    return kind.load(folder)
