"""Scores made elsewhere, read from a file and brought into the order of the set."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpkit import storage
from dpkit.data.table_files import read_lines
from dpkit.experiments.costs import Cost
from dpkit.experiments.evidence import Evidence
from dpkit.experiments.pruning_source import Source
from dpkit.records import Scores, require_kind
from dpkit.records.kept_list import rows_of

_FORMS = "an .npy of (n,) floats, or a .csv with the columns id or path, and score"


def with_scores(
    source: Source, scores: str | Path | Scores, name: str, say: Callable[[str], object]
) -> Source:
    """The source with these scores of its samples as evidence. ValueError if they are not of them.

    scores: a file, or Scores of the whole original set.   name: of the set, for messages.
    """
    if isinstance(scores, (str, os.PathLike)):
        file = Path(scores)
        values, how = _read(file, source, name)
        origin = {"scores": os.path.abspath(file), "sha256": storage.file_hash(file)}
        title = file.name
    else:
        require_kind(scores, Scores, "scores=, where it is no file,")
        values, how, title = _of_the_set(scores.values, source, name, "scores="), "", scores.name
        origin = {"scores": title, "sha256": hashlib.sha256(scores.values.tobytes()).hexdigest()}
    low, high = values.min(), values.max()
    say(
        f"{title}: scores of {len(values):,} samples{how}, {low:.6g} to {high:.6g}; "
        "higher = more worth keeping"
    )
    if low == high:
        say("careful: all scores are the same, so the seed alone decides which samples stay")
    found = Scores(values, Path(title).stem)
    seen = storage.key_hash(hashlib.sha256(found.values.tobytes()).hexdigest())
    evidence = Evidence(None, None, Cost(), scores=found, name=f"scores-{seen}")
    return replace(source, evidence=evidence, origin=origin)


def _read(file, source, name):
    """(values (k,) of the source's samples, how they were matched, in words)."""
    if not file.is_file():
        what = "a folder" if file.is_dir() else "no file"
        raise ValueError(f"scores must be a file, {_FORMS}; {file} is {what}")
    if file.suffix == ".npy":
        return _of_the_set(_array(file), source, name, file), ""
    if file.suffix == ".csv":
        return _table(file, source, name)
    raise ValueError(f"scores must be {_FORMS}; got {file}: write one of the two")


def _of_the_set(values, source, name, what):
    if len(values) != source.total:
        raise ValueError(
            f"{what} must have a score for each of the {source.total} samples of {name}, in its "
            f"order; got {len(values)}"
        )
    return _numbers(values[source.ids], source.ids, what)


def _numbers(values, ids, what):
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise ValueError(
            f"{what} must hold numbers; {len(wrong)} of {len(values)} scores are NaN (first: "
            f"sample {ids[wrong[0]]})"
        )
    return values


def _array(file):
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{file} is not a whole .npy of numbers ({error})") from None
    if values.ndim != 1 or values.dtype.kind != "f":
        more = ""
        if values.ndim == 1 and values.dtype.kind in "iu":
            more = "; of whole numbers that are scores, not ids or ranks, save values.astype(float)"
        elif values.ndim == 2 and 1 in values.shape:
            more = ": save values.ravel()"
        raise ValueError(
            f"{file} must hold (n,) floats, a score per sample; got shape {values.shape} of "
            f"{values.dtype}{more}"
        )
    return values.astype(np.float64)


# ---- a table -------------------------------------------------------------------------------------


def _table(file, source, name):
    # bytes that are no UTF-8 stand in paths as os.fsdecode has them
    header, lines = read_lines(file, errors="surrogateescape")
    header = [column.lower() for column in header]
    by = "path" if source.paths is not None and "path" in header else "id"
    double = sorted({column for column in header if header.count(column) > 1} & {by, "score"})
    if double or not {by, "score"} <= set(header):
        known = "id or path" if source.paths is not None else "id"
        raise ValueError(
            f"{file} must have the columns {known}, and score, each once; it has "
            f"{', '.join(map(repr, header)) or 'none'}"
        )
    keys = [row[header.index(by)] for _, row in lines]
    scores = np.array([_score(file, line, row[header.index("score")]) for line, row in lines])
    rows = _rows_by_path if by == "path" else _rows_by_id
    rows = rows(file, keys, lines, source, name)
    return _numbers(scores[rows], source.ids, file), f", by {by}"


def _score(file, line, text):
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"{file} must have a number in the column score; line {line} has {text!r}"
        ) from None


def _rows_by_path(file, paths, lines, source, name):
    """For each sample of the source the row that has its path."""
    try:
        rows = rows_of([source.paths[i] for i in source.ids], paths)
    except ValueError as error:
        raise ValueError(f"{file} must have every image of {name} once: {error}") from None
    unknown = np.setdiff1d(np.arange(len(paths)), rows)
    if len(unknown) and source.is_whole:
        line = lines[unknown[0]][0]
        raise ValueError(
            f"{file} must have the images of {name} and no others; {len(unknown)} of "
            f"{len(paths)} are not in it (first: {paths[unknown[0]]!r} in line {line})"
        )
    return rows


def _rows_by_id(file, ids, lines, source, name):
    """For each sample of the source the row that has its id."""
    row_of = np.full(source.total, -1)
    for row, text in enumerate(ids):
        line = lines[row][0]
        i = int(text) if re.fullmatch(r"\s*\d{1,18}\s*", text) else -1
        if not 0 <= i < source.total:
            raise ValueError(
                f"{file} must have ids of {name}, 0..{source.total - 1}; line {line} has {text!r}"
            )
        if row_of[i] >= 0:
            raise ValueError(
                f"{file} must have every id once; {i} is in lines {lines[row_of[i]][0]} and {line}"
            )
        row_of[i] = row
    lacking = source.ids[row_of[source.ids] < 0]
    if len(lacking):
        raise ValueError(
            f"{file} must have a score for each of the {len(source.ids)} samples of {name}; "
            f"{len(lacking)} have none (first: id {lacking[0]})"
        )
    return row_of[source.ids]
