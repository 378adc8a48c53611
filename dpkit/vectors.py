"""One vector per sample, whose sums matter: rows of an array, or outer products that are never written out."""

from dataclasses import dataclass

import numpy as np

from dpkit.blocks import row_blocks, unfit_rows


@dataclass(frozen=True, eq=False)
class OuterVectors:
    """n vectors that truly are outer products: vector i is left_i (x) right_i, held in C + d + 1 numbers instead of C (d + 1).

    left:  (n, C).   right: (n, d + 1), the bias's column last.   Both float32 or float64, finite; kept as float32 otherwise.
    Plain last-layer gradients are of this kind, and influence where the Hessian is a Kronecker product; H^-1 g of an exact
    Hessian is not. `dense()` writes them out, in the order [weight.flatten(), bias].
    """

    left: np.ndarray
    right: np.ndarray

    def __post_init__(self):
        left, right = (_numbers(array) for array in (self.left, self.right))
        if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
            raise ValueError(f"OuterVectors need left (n, C) and right (n, d + 1), a row per sample; got {left.shape} and "
                             f"{right.shape}")
        object.__setattr__(self, "left", left)
        object.__setattr__(self, "right", right)

    def __len__(self):
        return len(self.left)

    def dense(self, rows=slice(None)) -> np.ndarray:
        """These rows written out: (rows, C d + C), of the type of `left`."""
        left, right = self.left[rows], self.right[rows]
        weight = left[:, :, None] * right[:, None, :-1]
        return np.concatenate([weight.reshape(len(left), -1), left * right[:, -1:]], axis=1)


def check_vectors(vectors, what: str):
    """The vectors, an array made C-ordered and of floats; ValueError if they are no vectors or not finite."""
    if not isinstance(vectors, OuterVectors):
        vectors = _numbers(vectors)
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise ValueError(f"{what} needs vectors (n, p), a row per sample; got shape {vectors.shape}: pass what "
                             "influence_vectors returned")
    for array in factors(vectors):
        wrong = unfit_rows(array)
        if len(wrong):
            raise ValueError(f"{what} needs finite vectors; {len(wrong)} of {len(array)} rows hold NaN or infinity (first: row "
                             f"{wrong[0]}): the network diverged, or the damping was too small to invert its Hessian")
    return vectors


def factors(vectors) -> tuple[np.ndarray, np.ndarray]:
    """(left, right): of outer products their own; of an array a column of ones and itself."""
    if isinstance(vectors, OuterVectors):
        return vectors.left, vectors.right
    return np.ones((len(vectors), 1), vectors.dtype), vectors


def sum_of(vectors, rows) -> np.ndarray:
    """The sum of these rows, in float64: (C, d + 1) of outer products, (1, p) of an array."""
    left, right = factors(vectors)
    total = np.zeros((left.shape[1], right.shape[1]))
    for block in row_blocks(len(rows), size=2048):
        total += left[rows[block]].astype(np.float64).T @ right[rows[block]].astype(np.float64)
    return total


def norms(vectors) -> np.ndarray:
    """The length of every vector, in float64. (n,)"""
    lengths = np.empty(len(vectors))
    for rows in row_blocks(len(vectors), size=2048):
        lengths[rows] = np.prod([np.linalg.norm(array[rows].astype(np.float64), axis=1) for array in factors(vectors)], axis=0)
    return lengths


def _numbers(array):
    array = np.asarray(array)
    return np.ascontiguousarray(array, dtype=array.dtype if array.dtype in (np.float32, np.float64) else np.float32)
