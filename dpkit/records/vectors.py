"""One vector per sample, whose sums matter: rows of an array, or outer products never written out.

Two conventions of influence differ in what such a sum predicts (dpkit.influence). Let m of n
samples go:
    of="mean"   the vectors are centred, they add up to zero over all samples; n / (n - m) times
                the sum of the m is the shift;
    of="sum"    the sum itself is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dpkit.storage.blocks import row_blocks, unfit_rows

CONVENTIONS = ("mean", "sum")


@dataclass(frozen=True, eq=False)
class OuterVectors:
    """n vectors that truly are outer products, held in C + d + 1 numbers instead of C (d + 1).

        vector i = left_i (x) right_i - centre

    Plain last-layer gradients are of this kind, and influence where the Hessian is a Kronecker
    product; H^-1 g of an exact Hessian is not.

    Parameters
    ----------
    left : (n, C), float32 or float64, finite; kept as float32 otherwise.
    right : (n, d + 1), the same, the bias's column last.
    centre : (C, d + 1), taken away from every vector; None: nothing is.

    Raises
    ------
    ValueError if shapes do not fit, or a centre is not finite.

    Examples
    --------
    >>> vectors = dpkit.OuterVectors(np.array([[1.0, -1.0]]), np.array([[2.0, 3.0, 1.0]]))
    >>> vectors.dense()                                      # [weight (2, 2).flatten(), bias (2,)]
    array([[ 2.,  3., -2., -3.,  1., -1.]])
    """

    left: np.ndarray
    right: np.ndarray
    centre: np.ndarray | None = None

    def __post_init__(self) -> None:
        left, right = (_numbers(array) for array in (self.left, self.right))
        if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
            raise ValueError(
                "OuterVectors need left (n, C) and right (n, d + 1), a row per sample; got "
                f"{left.shape} and {right.shape}"
            )
        object.__setattr__(self, "left", left)
        object.__setattr__(self, "right", right)
        if self.centre is not None:
            centre, shape = np.asarray(self.centre, np.float64), (left.shape[1], right.shape[1])
            if centre.shape != shape or not np.isfinite(centre).all():
                raise ValueError(
                    f"OuterVectors need a finite centre of shape {shape}, as each vector has; got "
                    f"{centre.shape}"
                )
            object.__setattr__(self, "centre", centre)

    def __len__(self) -> int:
        return len(self.left)

    def dense(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """These rows written out: (rows, C d + C), of the type of `left`.

        The order is [weight.flatten(), bias].
        """
        left, right = self.left[rows], self.right[rows]
        weight, bias = left[:, :, None] * right[:, None, :-1], left * right[:, -1:]
        if self.centre is not None:
            weight, bias = (
                (weight - self.centre[:, :-1]).astype(left.dtype),
                (bias - self.centre[:, -1]).astype(left.dtype),
            )
        return np.concatenate([weight.reshape(len(left), -1), bias], axis=1)


def check_vectors(vectors: np.ndarray | OuterVectors, what: str) -> np.ndarray | OuterVectors:
    """The vectors, as floats in C order; ValueError if they are no vectors or not finite."""
    if not isinstance(vectors, OuterVectors):
        vectors = _numbers(vectors)
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise ValueError(
                f"{what} needs vectors (n, p), a row per sample; got shape {vectors.shape}: pass "
                "what influence_vectors returned"
            )
    for array in factors(vectors):
        wrong = unfit_rows(array)
        if len(wrong):
            raise ValueError(
                f"{what} needs finite vectors; {len(wrong)} of {len(array)} rows hold NaN or "
                f"infinity (first: row {wrong[0]}): the network diverged, or the damping was too "
                "small to invert its Hessian"
            )
    return vectors


def factors(vectors: np.ndarray | OuterVectors) -> tuple[np.ndarray, np.ndarray]:
    """(left, right): of outer products without the centre; of an array ones and itself."""
    if isinstance(vectors, OuterVectors):
        return vectors.left, vectors.right
    return np.ones((len(vectors), 1), vectors.dtype), vectors


def sum_of(vectors: np.ndarray | OuterVectors, rows: np.ndarray) -> np.ndarray:
    """The sum of these rows, in float64: (C, d + 1) of outer products, (1, p) of an array."""
    left, right = factors(vectors)
    total = np.zeros((left.shape[1], right.shape[1]))
    for block in row_blocks(len(rows), size=2048):
        total += left[rows[block]].astype(np.float64).T @ right[rows[block]].astype(np.float64)
    centre = centre_of(vectors)
    return total if centre is None else total - len(rows) * centre


def norms(vectors: np.ndarray | OuterVectors) -> np.ndarray:
    """The length of every vector, in float64. (n,)"""
    centre, lengths = centre_of(vectors), np.sqrt(squares(vectors))
    if centre is None:
        return lengths
    for rows in row_blocks(len(vectors), size=2048):
        left, right = (array[rows].astype(np.float64) for array in factors(vectors))
        square = lengths[rows] ** 2 - 2 * ((left @ centre) * right).sum(1) + (centre**2).sum()
        lengths[rows] = np.sqrt(np.maximum(square, 0))
    return lengths


def squares(vectors: np.ndarray | OuterVectors) -> np.ndarray:
    """The squared length of every vector, a centre left aside, in float64. (n,)"""
    found = np.empty(len(vectors))
    for rows in row_blocks(len(vectors), size=2048):
        found[rows] = np.prod(
            [(array[rows].astype(np.float64) ** 2).sum(1) for array in factors(vectors)], axis=0
        )
    return found


def centre_of(vectors: np.ndarray | OuterVectors) -> np.ndarray | None:
    """What outer products take away from every vector, (C, d + 1), or None."""
    return vectors.centre if isinstance(vectors, OuterVectors) else None


# ---- the two conventions -------------------------------------------------------------------------


def check_convention(of: str) -> None:
    """ValueError if `of` is neither "mean" nor "sum"."""
    if of not in CONVENTIONS:
        raise ValueError(
            'of must be "mean" (of the losses that are kept: Yang et al., and every retraining) '
            'or "sum" (Koh & '
            f"Liang); got {of!r}"
        )


def shift_factor(vectors: np.ndarray | OuterVectors, of: str) -> Callable[[int], float]:
    """m -> what the sum of m pruned vectors is multiplied with to predict the shift.

    n / (n - m), or 1 of="sum". ValueError if `of` is "mean" and the vectors do not add up to zero
    over all samples, as those of="mean" do.
    """
    check_convention(of)
    n = len(vectors)
    if of == "sum":
        return lambda m: 1.0
    total, typical = np.linalg.norm(sum_of(vectors, np.arange(n))), np.linalg.norm(norms(vectors))
    if total > 0.01 * typical:
        raise ValueError(
            'vectors of="mean" add up to zero over all samples; the sum of these has length '
            f"{total:.3g}, where "
            f'{typical:.3g} would be chance: take influence_vectors(..., of="mean"), or pass '
            'of="sum" if they '
            "are of that convention"
        )
    return lambda m: n / (n - m)


def _numbers(array):
    array = np.asarray(array)
    return np.ascontiguousarray(
        array, dtype=array.dtype if array.dtype in (np.float32, np.float64) else np.float32
    )
