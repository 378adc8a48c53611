"""The last layer's loss around a snapshot: every sample's gradient, and the Hessian of the mean,
written out or as products.

theta, a weight (C, d) and a bias (C,), is one row in the order [weight.flatten(), bias], or C rows
of d + 1, the bias last.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Snapshot
from dpkit.records.vectors import OuterVectors
from dpkit.storage.blocks import row_blocks

_ROWS = 2048  # samples looked at together


def gradients(snapshot: Snapshot, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
    """g_i of these samples, in float64: (rows, C d + C), order [weight.flatten(), bias]."""
    return OuterVectors(errors(snapshot, rows), inputs(snapshot, rows)).dense()


def hessian(snapshot: Snapshot, *, damping: float = 0.0) -> np.ndarray:
    """H + damping I written out: (P, P) float64, P = C d + C, order [weight.flatten(), bias]."""
    lower = lower_hessian(snapshot, damping)
    return np.tril(lower) + np.tril(lower, -1).T


def hessian_product(snapshot: Snapshot, vectors: ArrayLike, *, damping: float = 0.0) -> np.ndarray:
    """(H + damping I) v of every row v of (k, P) vectors, without writing H out. (k, P) float64."""
    _, classes, width = shape_of(snapshot)
    vectors = np.asarray(vectors, np.float64)
    split = split_rows(vectors, classes, width)
    return join_rows(product_with(snapshot, split)) + damping * vectors


def errors(snapshot: Snapshot, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
    """p - onehot(y) at the final exit. (rows, C) float64."""
    error = snapshot.probs[-1][rows].astype(np.float64)
    error[np.arange(len(error)), snapshot.labels[rows]] -= 1
    return error


def inputs(snapshot: Snapshot, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
    """h~ = [h, 1]. (rows, d + 1) float64."""
    features = _features(snapshot)[rows].astype(np.float64)
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def mean_gradient(snapshot: Snapshot) -> np.ndarray:
    """The gradient of the mean loss: (C, d + 1) float64, the bias last. Zero at a minimum without
    weight decay only.
    """
    _, classes, width = shape_of(snapshot)
    total = np.zeros((classes, width))
    for rows in blocks_of(snapshot):
        total += errors(snapshot, rows).T @ inputs(snapshot, rows)
    return total / snapshot.num_samples


def shape_of(snapshot: Snapshot) -> tuple[int, int, int]:
    """(n, C, d + 1); ValueError if the snapshot kept no features."""
    return snapshot.num_samples, snapshot.num_classes, _features(snapshot).shape[1] + 1


def _features(snapshot: Snapshot) -> np.ndarray:
    if snapshot.features is None:
        raise ValueError(
            "influence reads features, and this Snapshot kept none: pass take_snapshot(net, images)"
        )
    return snapshot.features


def blocks_of(snapshot: Snapshot, size: int = _ROWS) -> Iterator[slice]:
    """The samples as slices of at most `size`."""
    return row_blocks(snapshot.num_samples, snapshot.features, snapshot.probs, size=size)


def lower_hessian(
    snapshot: Snapshot, damping: float, on_progress: Callable[[int], object] | None = None
) -> np.ndarray:
    """The lower triangle of H + damping I, in Fortran order; above the diagonal is nothing.

    on_progress: called after each block of samples with how many they were.
    """
    from scipy.linalg import blas  # a quarter of a second, for whoever lists the methods

    n, classes, width = shape_of(snapshot)
    total = np.zeros((classes * width, classes * width), order="F")
    own = np.zeros((classes, width, width))
    for rows in blocks_of(snapshot):
        x, p = inputs(snapshot, rows), snapshot.probs[-1][rows].astype(np.float64)
        outer = OuterVectors(p, x).dense()
        total = blas.dsyrk(-1.0 / n, outer.T, beta=1.0, c=total, lower=1, overwrite_c=1)
        for c in range(classes):
            own[c] += (x * (p[:, c : c + 1] / n)).T @ x
        if on_progress:
            on_progress(len(x))
    for c in range(classes):
        place = np.append(
            np.arange(c * (width - 1), (c + 1) * (width - 1)), classes * (width - 1) + c
        )
        total[np.ix_(place, place)] += own[c]
    total[np.diag_indices_from(total)] += damping
    return total


def product_with(
    snapshot: Snapshot, split: np.ndarray, only: np.ndarray | None = None
) -> np.ndarray:
    """H v for (k, C, d + 1) vectors, in one pass over the samples, or H of `only` these."""
    k, classes, width = split.shape
    flat, total = split.reshape(k * classes, width), np.zeros((k * classes, width))
    for rows in (
        blocks_of(snapshot, size=max(64, 2**23 // (k * classes))) if only is None else [only]
    ):
        x, p = inputs(snapshot, rows), snapshot.probs[-1][rows].astype(np.float64)[:, None]
        moved = (x @ flat.T).reshape(len(x), k, classes)
        moved = p * (moved - (p * moved).sum(2, keepdims=True))
        total += moved.reshape(len(x), -1).T @ x
    return total.reshape(split.shape) / (snapshot.num_samples if only is None else len(only))


def split_rows(vectors: np.ndarray, classes: int, width: int) -> np.ndarray:
    """(k, C d + C) -> (k, C, d + 1)."""
    weight, bias = vectors[:, : classes * (width - 1)], vectors[:, classes * (width - 1) :]
    return np.concatenate(
        [weight.reshape(len(vectors), classes, width - 1), bias[:, :, None]], axis=2
    )


def join_rows(split: np.ndarray) -> np.ndarray:
    """(k, C, d + 1) -> (k, C d + C)."""
    return np.concatenate([split[:, :, :-1].reshape(len(split), -1), split[:, :, -1]], axis=1)
