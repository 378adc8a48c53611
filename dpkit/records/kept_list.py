r"""kept.txt, the list of kept samples: written, read, and found again in a list in another order.

A line per kept sample, ended by "\n": its id; and, where the samples are files, a tab and its path
in the set's folder, as the bytes that the system has. So whatever stands between the first tab and
the end of the line is the path, blanks and quotes too. No path holds a tab or a line break, of any
kind that `str.splitlines` knows: such a set is refused before.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

NAME = "kept.txt"
KIND = "Pruning"  # of the manifest beside it
BREAKS = {*map(chr, range(32)), "\x85", "\u2028", "\u2029"}


def check_paths(paths: Iterable[str]) -> None:
    """ValueError if a path would not stay one line of a list, naming the first."""
    odd = next((path for path in paths if not BREAKS.isdisjoint(path)), None)
    if odd is not None:
        raise ValueError(
            "file names must be free of line breaks and tabs, so that lists of them can be read; "
            f"got {odd!r}: rename it"
        )


def write_kept(file: BinaryIO, kept: Iterable[int], paths: Sequence[str] | None = None) -> None:
    """Write kept.txt into a file that is open for bytes.

    kept: ids;  paths: of the whole set, in its order, or None.
    """
    check_paths(paths or ())
    for i in kept:
        file.write(
            str(i).encode() + (b"" if paths is None else b"\t" + os.fsencode(paths[i])) + b"\n"
        )


def read_kept(pruned: str | Path) -> tuple[np.ndarray, list[str] | None]:
    r"""The ids and the paths of what `dpkit prune` kept.

    Parameters
    ----------
    pruned : the folder that `dpkit prune` wrote, or the kept.txt in it.

    Returns
    -------
    (ids, paths): ids (k,) int64, ascending; paths of those k, or None where the set has no files.
    Paths are relative to the pruned set's folder; bytes that are no UTF-8 are in them as
    os.fsdecode has them, so that `open` finds the file.

    Raises
    ------
    ValueError if the file is not a whole kept.txt.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "kept.txt").write_bytes(b"0\tcat/a.jpg\n3\tdog/b.jpg\n")
    ...     dpkit.read_kept(folder)
    (array([0, 3]), ['cat/a.jpg', 'dog/b.jpg'])
    """
    file = Path(pruned)
    file = file / NAME if file.is_dir() else file
    try:
        *lines, rest = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise ValueError(
            f"there is no {file}; name the folder that dpkit prune wrote, or its {NAME}"
        ) from None
    parts = [line.partition(b"\t") for line in lines]
    wrong = next(
        (number for number, (i, _, _) in enumerate(parts, 1) if not re.fullmatch(rb"\d{1,18}", i)),
        None,
    )
    if wrong is not None:
        raise ValueError(
            f"{file} is not a {NAME} as dpkit writes it: line {wrong} must be an id, or an id, a "
            f"tab and a path; got {lines[wrong - 1][:80]!r}"
        )
    tabs = {tab for _, tab, _ in parts}
    ids = np.array([int(i) for i, _, _ in parts], np.int64)
    if rest or len(tabs) > 1 or np.any(np.diff(ids) <= 0):
        raise ValueError(
            f"{file} is not whole, or was changed: ids must ascend, with a path in every line or "
            "in none, and the last line must end; prune again"
        )
    return ids, [os.fsdecode(path) for _, _, path in parts] if tabs == {b"\t"} else None


def find_kept(kept: str | Path | Sequence[str], others: Iterable) -> np.ndarray:
    """Where the kept files stand in another reader's list.

    By path and by nothing else, as readers differ in their order: where one class is called "wolf"
    and another "wolf spider", Hugging Face's imagefolder has another than torchvision's
    ImageFolder, whose is ours.

    Parameters
    ----------
    kept : what `dpkit prune` wrote, by its folder or its kept.txt; or a list of paths.
    others : the other reader's whole list, in its order: paths, or whatever has one: (path, label)
        as in ImageFolder.samples (or the ImageFolder itself), {"path": ...} as in a Hugging Face
        column of Image(decode=False), objects with .path or .filename. They may lie under another
        root, and be written with backslashes. Names without any folder are enough if no two are the
        same.

    Returns
    -------
    (k,) int64, ascending, in that reader's order.

    Raises
    ------
    ValueError, naming the first, if a kept file is not in the list, or if two of the list could be
    it.

    Examples
    --------
    >>> dpkit.find_kept(["wolf/a.jpg"], ["/data/wolf spider/a.jpg", "/data/wolf/a.jpg"])
    array([1])
    """
    if isinstance(kept, (str, os.PathLike)):
        paths = read_kept(kept)[1]
        if paths is None:
            raise ValueError(
                f"{kept} is of a set without files, so nothing can be found by path; use the ids, "
                "which count the set's rows"
            )
    else:
        paths = list(kept)
    return np.sort(rows_of(paths, others))


def rows_of(paths: Sequence[str], others: Iterable) -> np.ndarray:
    """As find_kept, of a list of paths: (k,) int64, where each of them stands, in their order."""
    if isinstance(others, (str, bytes, os.PathLike)):
        raise TypeError(
            f"others must be the list of all paths of the other reader; got {others!r}, a single "
            "one"
        )
    others = list(getattr(others, "samples", others))
    wanted = [_plain(path, f"kept[{row}]") for row, path in enumerate(paths)]
    there = [_plain(other, f"others[{row}]") for row, other in enumerate(others)]
    if not wanted or not there:
        raise ValueError(
            f"there must be something to find, and to find it in; got {len(wanted)} kept paths and "
            f"{len(there)} others"
        )
    if not any("/" in path for path in there):
        wanted = [path.rpartition("/")[2] for path in wanted]
        _require_unique(there, "in the other list, where no name has a folder")
    _require_unique(wanted, "among the kept files")
    places: dict[str, list[int]] = {}
    for row, path in enumerate(there):
        places.setdefault(path, []).append(row)
    return np.array([_only(places, path, others) for path in _under_one_root(wanted, places)])


def _under_one_root(wanted: Sequence[str], places: dict[str, list[int]]) -> list[str]:
    """The kept paths as the other list has them: all under one folder there. ValueError if there is
    none, or more than one.
    """
    lacking: Sequence[str] = ()
    for tails in _tails(wanted):
        end = "/" + tails[0].lstrip("/")
        roots = [
            path[: len(path) - len(tails[0])]
            for path in places
            if path == tails[0] or path.endswith(end)
        ]
        whole = [root for root in roots if all(root + tail in places for tail in tails)]
        if len(whole) > 1:
            raise ValueError(
                f"{wanted[0]} stands in the other list {len(whole)} times, under {whole[0] or '.'} "
                f"and under {whole[1] or '.'}, and so do all kept files: give the list of one of "
                "them"
            )
        if whole:
            return [whole[0] + tail for tail in tails]
        lacking = lacking or min(
            ([tail for tail in tails if root + tail not in places] for root in roots),
            key=len,
            default=wanted[:1],
        )
    more = f" (nor are {len(lacking) - 1} more of {len(wanted)})" if len(lacking) > 1 else ""
    raise ValueError(
        f"{lacking[0]} is not in the other list{more}: it is of another set, or files were renamed "
        f"or left out since; the list begins with {next(iter(places))}"
    )


def _tails(wanted):
    """The kept paths; and, if they are absolute, those without the folders that all of them share,
    one more at a time.
    """
    yield wanted
    if all(re.match(r"/|[A-Za-z]:/", path) for path in wanted):
        parts = [path.split("/") for path in wanted]
        # a folder and a name stay: names alone may be another class's
        for cut in range(1, min(map(len, parts)) - 1):
            if len({tuple(part[:cut]) for part in parts}) > 1:
                return
            yield ["/".join(part[cut:]) for part in parts]


def _only(places: dict[str, list[int]], path: str, others: Sequence) -> int:
    rows = places[path]
    if len(rows) > 1:
        raise ValueError(
            f"{path} stands in the other list {len(rows)} times, in rows {rows[0]} "
            f"({others[rows[0]]!r:.200}) and {rows[1]} ({others[rows[1]]!r:.200}), so it cannot be "
            "told which is meant: rename one, or give paths with their folders"
        )
    return rows[0]


def _require_unique(paths: Sequence[str], where: str) -> None:
    seen = set()
    for path in paths:
        if path in seen:
            raise ValueError(
                f"{path} stands there twice {where}, so it cannot be told which is meant: give "
                "paths with their folders, of one set"
            )
        seen.add(path)


def _plain(entry: Any, what: str) -> str:
    """The path of an entry, with / between its parts. What Hugging Face says of files in an archive
    is the path in there.
    """
    path = entry
    if isinstance(path, (tuple, list)) and path:
        path = path[0]
    if isinstance(path, dict):
        path = path.get("path")
    if not isinstance(path, (str, bytes, os.PathLike)):
        path = getattr(path, "path", None) or getattr(path, "filename", None)  # Pillow's
    if not isinstance(path, (str, bytes, os.PathLike)) or not path:
        raise ValueError(
            f"{what} must be a path, or have one; got {entry!r:.200}: read the list without "
            "decoding its images"
        )
    path = os.fsdecode(path)
    path = path.partition("::")[0] if re.match(r"\w+://", path) else path
    parts = re.split(r"[/\\]+", path)
    plain = "/".join(
        part for number, part in enumerate(parts) if part != "." and (part or not number)
    )
    return plain or path
