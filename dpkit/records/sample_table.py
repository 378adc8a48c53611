"""samples.csv, what `prune` decided of every sample: for people, other programs and `export`.

    id,path,label,class_name,score,rank,kept
    0,cat/1.jpg,0,cat,0.25,2,true

A line per sample, ascending by id. Text is UTF-8; bytes in a path that are none stay as they are.
A fact that a sample has not is blank: path in a set without files; score and rank without a score;
kept where the sample could not be chosen, as it was held out from the record.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

NAME = "samples.csv"
COLUMNS = ("id", "path", "label", "class_name", "score", "rank", "kept")
NO_CHOICE = -1  # in `kept`, of a sample that could not be chosen
_BLOCK = 65536  # rows that are plain Python objects at once
_KEPT = {"true": 1, "false": 0, "": NO_CHOICE}


@dataclass(frozen=True, eq=False)
class SampleTable:
    """What is known of each sample of a pruned set, row by row.

    Parameters
    ----------
    ids : (n,) int64, ascending, the samples' numbers in the original set.
    labels : (n,) int64, numbers of the classes.
    class_names : by which labels are numbered.
    kept : (n,) int8: 1 kept, 0 removed, NO_CHOICE.
    scores : (n,) float64, NaN where there is none.
    ranks : (n,) int64 from 1, the highest score; equal scores share a rank; 0 where there is none.
    paths : n of them, or None.
    """

    ids: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]
    kept: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    paths: list[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, which: np.ndarray) -> "SampleTable":
        """Some of the rows, by their numbers; ranks stay those among all."""
        arrays = ("ids", "labels", "kept", "scores", "ranks")
        paths = None if self.paths is None else [self.paths[row] for row in which]
        return replace(self, paths=paths, **{name: getattr(self, name)[which] for name in arrays})

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """A tuple of COLUMNS for each sample; None where it has no such fact."""
        for start in range(0, len(self), _BLOCK):
            rows = slice(start, start + _BLOCK)
            labels = self.labels[rows].tolist()
            yield from zip(
                self.ids[rows].tolist(),
                self.paths[rows] if self.paths is not None else [None] * len(labels),
                labels,
                [self.class_names[label] for label in labels],
                [None if score != score else score for score in self.scores[rows].tolist()],
                [rank or None for rank in self.ranks[rows].tolist()],
                [None if kept < 0 else bool(kept) for kept in self.kept[rows].tolist()],
                strict=True,
            )


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """(n,) int64: 1 + how many scores are higher; 0 where a score is NaN.

    Examples
    --------
    >>> from dpkit.records.sample_table import ranks_of
    >>> ranks_of(np.array([0.2, np.inf, np.nan, 0.2, 0.1]))
    array([2, 1, 0, 2, 4])
    """
    ordered = np.sort(-scores[~np.isnan(scores)])
    return np.where(np.isnan(scores), 0, 1 + np.searchsorted(ordered, -scores))


def csv_writer(text: TextIO, class_names: Sequence[str]) -> Any:
    """A csv.writer that readers of any kind understand, whatever classes are called: Python's own
    quotes no carriage return.
    """
    odd = any("\r" in name for name in class_names)
    if odd:
        return csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    return csv.writer(text, lineterminator="\n")


def write_samples(file: BinaryIO, table: SampleTable) -> None:
    """Write samples.csv into a file that is open for bytes."""
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="", write_through=False)
    writer = csv_writer(text, table.class_names)
    writer.writerow(COLUMNS)
    words = {True: "true", False: "false", None: ""}
    writer.writerows((*row, words[kept]) for *row, kept in table)
    text.flush()
    text.detach()


def read_samples(file: Path, class_names: Sequence[str]) -> SampleTable:
    """The table in a samples.csv; ValueError if it is none."""
    ids, paths, labels, scores, ranks, kept = [], [], [], [], [], []
    with open(file, encoding="utf-8", errors="surrogateescape", newline="") as text:
        lines = csv.reader(text)
        try:
            if next(lines, None) != [*COLUMNS]:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            for i, path, label, _, score, rank, decided in lines:
                ids.append(int(i))
                paths.append(path)
                labels.append(int(label))
                scores.append(float(score or "nan"))
                ranks.append(int(rank or 0))
                kept.append(_KEPT[decided])
        except (ValueError, KeyError, csv.Error) as error:
            raise ValueError(
                f"{file} is not a whole {NAME} as dpkit writes it ({error}): prune again"
            ) from None
    return SampleTable(
        np.array(ids, np.int64),
        np.array(labels, np.int64),
        class_names,
        np.array(kept, np.int8),
        np.array(scores),
        np.array(ranks, np.int64),
        paths if any(paths) else None,
    )
