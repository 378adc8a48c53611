"""Exact nearest neighbours, never an n x n matrix."""

import numpy as np
from numba import njit

from dpkit.selectors._choose import check_features
from dpkit.storage.blocks import row_blocks
from dpkit.storage.long_work import LongWork

BLOCK = 1024  # rows: the inner products of a pair of blocks are 4 MB
_SPARE = 4  # candidates beyond k that the float32 pass holds on to
_CHUNK = 64  # inner products looked at together before any of them is looked at alone
_ROUNDING = 2.0**-24
_AT_ONCE = 2**26  # squared differences that compiled code computes before it can be interrupted


def search_seconds(n: int, d: int) -> float:
    """About how long `nearest` takes for n samples of d features: measured on one core."""
    return n**2 / 2 * (1e-9 + 1.2e-11 * d)


def search_memory(n: int, d: int, k: int) -> float:
    """The bytes that `nearest` takes on top of the features: n (d + k) numbers."""
    return 4.0 * n * d + 8.0 * n * (k + _SPARE) + 16.0 * n * k


def nearest(
    features: np.ndarray, k: int, work: LongWork | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(indices, distances) of each sample's k nearest others, Euclidean, nearest first: (n, k)
    int64, (n, k) float64.

    Inner products of mean-centred rows in float32, two blocks of rows at a time and each pair of
    blocks once, as d(i, j) = d(j, i); every row holds on to its k + 4 best. Those are then measured
    in float64 on the features as given, and a row where rounding could have hidden a nearer one (by
    a bound, not by chance) is searched again in float64. So the k are exact; which of several at
    one distance are taken is arbitrary. Time O(n^2 d / 2), and at most O(n d) for each repeated
    row: few where the features are spread out, all of them in clusters about ten times as far apart
    as they are wide (8 times the time at n = 4,000; class by class there is one cluster). Memory
    one copy of the features in float32, and O(n k).

    features: (n, d) finite numbers.   k: 1..n-1.   ValueError otherwise.   work: hears of it, in
    all search_seconds(n, d).
    """
    features = np.ascontiguousarray(check_features(features))
    n, d = features.shape
    if isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)) or not 1 <= k < n:
        raise ValueError(
            f"k must be 1..{n - 1}: each of the {n} samples has {n - 1} others; got {k!r}"
        )
    held = min(int(k) + _SPARE, n - 1)
    x, half, scale = _centred(features)
    found, worst = _search(x, half.astype(np.float32), held, work)
    indices, squares = np.empty((n, k), np.int64), np.empty((n, k))
    for rows in row_blocks(n, size=_rows_at_once(held, d)):
        _measure(features, rows.start, found[rows], indices[rows], squares[rows])
    if held < n - 1:
        # one not held has |x_i - x_j|^2 / 2 >= half_i + worst_i - error; |x_j| <= |x_i| + radius if
        # it is nearer than radius
        radius = np.sqrt(squares[:, -1]) / scale
        error = (d + 16) * _ROUNDING * (np.sqrt(2 * half) + radius) ** 2
        doubtful = np.flatnonzero((radius > 0) & ~(radius**2 / 2 <= half + worst - error))
        for part in row_blocks(len(doubtful), size=_rows_at_once(n, d)):
            search_again(features, doubtful[part], indices, squares)
    return indices, np.sqrt(squares, out=squares)


def _rows_at_once(others, d):
    """How many rows are compared with so many others each, before it can be interrupted."""
    return max(_AT_ONCE // (others * d), 1)


def _centred(features):
    """(features - mean) / scale, float32; half squared norms, float64; scale, the largest norm."""
    mean, norms = features.mean(axis=0, dtype=np.float64), np.empty(len(features))
    for rows in row_blocks(len(features), size=BLOCK):
        norms[rows] = np.linalg.norm(features[rows] - mean, axis=1)
    scale = norms.max() or 1.0
    x, half = np.empty(features.shape, np.float32), np.empty(len(features))
    for rows in row_blocks(len(features), size=BLOCK):
        x[rows] = (features[rows] - mean) / scale
        half[rows] = np.square(x[rows], dtype=np.float64).sum(axis=1) / 2
    return x, half, scale


def _search(x, half, held, work):
    """Per row, the `held` smallest half_j - <x_i, x_j> over the other rows j: (indices (n, held)
    int32, the largest (n,)).
    """
    n = len(x)
    values, found = np.full((n, held), np.inf, np.float32), np.empty((n, held), np.int32)
    worst = np.full(n, np.inf, np.float32)
    room = np.empty((BLOCK, BLOCK), np.float32)
    blocks = list(row_blocks(n, size=BLOCK))
    share = 2 * search_seconds(n, x.shape[1]) / (len(blocks) * (len(blocks) + 1))  # of each pair
    for a, rows in enumerate(blocks):
        for columns in blocks[a:]:
            inner = (
                room
                if (rows.stop - rows.start, columns.stop - columns.start) == room.shape
                else None
            )
            inner = np.matmul(x[rows], x[columns].T, out=inner)
            _offer(inner, rows.start, columns.start, half, values, found, worst)
        if work:
            work.add(share * len(blocks[a:]))
    return found, worst


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _offer(inner, first_row, first_column, half, values, found, worst):
    # each pair (i, j) is offered to i and to j; within a block on the diagonal it comes twice, so
    # there to i alone
    rows, columns = inner.shape
    both = first_row != first_column
    for a in range(rows):
        i = first_row + a
        mine = half[i]
        for start in range(0, columns, _CHUNK):
            products = inner[a, start : start + _CHUNK]
            first = first_column + start
            halves, limits = (
                half[first : first + len(products)],
                worst[first : first + len(products)],
            )
            limit, near = worst[i], 0
            if both:
                for b in range(len(products)):
                    near += (halves[b] - products[b] < limit) | (mine - products[b] < limits[b])
            else:
                for b in range(len(products)):
                    near += halves[b] - products[b] < limit
            if near:
                for b in range(len(products)):
                    j = first + b
                    if halves[b] - products[b] < worst[i] and i != j:
                        worst[i] = _insert(values[i], found[i], halves[b] - products[b], j)
                    if both and mine - products[b] < limits[b]:
                        limits[b] = _insert(values[j], found[j], mine - products[b], i)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _insert(values, indices, value, index):
    """Put a value below the last into its place in ascending `values`; the last falls out. Returns
    the new last.
    """
    p = len(values) - 1
    while p > 0 and values[p - 1] > value:
        values[p] = values[p - 1]
        indices[p] = indices[p - 1]
        p -= 1
    values[p] = value
    indices[p] = index
    return values[-1]


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _measure(features, first, found, indices, squares):
    """The nearest of the rows `found`, by squared distance in float64; of the rows from `first`."""
    squares[:] = np.inf
    for i in range(len(found)):
        for p in range(found.shape[1]):
            j = found[i, p]
            square = square_distance(features[first + i], features[j], squares[i, -1])
            if square < squares[i, -1]:
                _insert(squares[i], indices[i], square, j)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def search_again(
    features: np.ndarray, rows: np.ndarray, indices: np.ndarray, squares: np.ndarray
) -> None:
    """The same among all other rows, for the rows named."""
    for i in rows:
        squares[i] = np.inf
        for j in range(len(features)):
            square = square_distance(features[i], features[j], squares[i, -1])
            if square < squares[i, -1] and j != i:
                _insert(squares[i], indices[i], square, j)


@njit(
    cache=True, nogil=True, error_model="numpy", boundscheck=False, fastmath={"reassoc", "contract"}
)
def square_distance(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """|x - y|^2 in float64; once it reaches `limit`, some number that has."""
    total = 0.0
    for start in range(0, len(x), _CHUNK):
        a, b = x[start : start + _CHUNK], y[start : start + _CHUNK]
        part = 0.0
        for c in range(len(a)):
            part += (np.float64(a[c]) - np.float64(b[c])) ** 2
        total += part
        if total >= limit:
            break
    return total
