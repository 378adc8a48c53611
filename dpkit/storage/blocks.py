"""Large arrays a block of rows at a time."""

import mmap
from collections.abc import Iterator

import numpy as np


def row_blocks(n: int, *arrays: np.ndarray | None, size: int = 65536) -> Iterator[slice]:
    """Yield the rows 0..n-1 as slices of at most `size`; after each, the pages read of
    memory-mapped `arrays` are given back.

    What is computed row by row under this needs memory for one block, however large the record. No
    result may depend on where the blocks end.
    """
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
        give_back(*arrays)


def unfit_rows(features: np.ndarray) -> np.ndarray:
    """The rows of (n, d) features that hold NaN or infinity, ascending."""
    wrong = [
        rows.start + np.flatnonzero(~np.isfinite(features[rows]).all(axis=1))
        for rows in row_blocks(len(features), features, size=2048)
    ]
    return np.concatenate(wrong or [np.empty(0, np.int64)])


def by_label(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (label, its places, ascending) for every label that is there, in order. O(n log n) for
    all of them.
    """
    order = np.argsort(labels, kind="stable")
    starts = (
        np.flatnonzero(np.diff(labels[order], prepend=labels[order[0]] - 1)) if len(order) else ()
    )
    for start, end in zip(starts, [*starts[1:], len(order)], strict=False):
        yield int(labels[order[start]]), order[start:end]


def mean_over_epochs(array: np.ndarray) -> np.ndarray:
    """The mean of each row of a record's (n, T) array, summed epoch after epoch. (n,) float64."""
    total = np.zeros(len(array))
    for rows in row_blocks(len(array), array):
        # not np.mean: it adds in another order where a block has one row
        for t in range(array.shape[1]):
            total[rows] += array[rows, t]
    return total / array.shape[1]


def give_back(*arrays: np.ndarray | None) -> None:
    """Free the pages held of memory-mapped arrays; reading them again fetches them again."""
    for array in arrays:
        while isinstance(array, np.ndarray):
            array = array.base
        # a page of a writable map may hold the only copy of what was written
        if (
            isinstance(array, mmap.mmap)
            and memoryview(array).readonly
            and hasattr(mmap, "MADV_DONTNEED")
        ):
            array.madvise(mmap.MADV_DONTNEED)
