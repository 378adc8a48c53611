"""The rules that look at features: against scikit-learn, dense matrices and full recomputation; D2
on 50,000 samples.
"""

import time
from multiprocessing import get_context

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from benchmarks._compare import compare
from benchmarks.dual import _peak
from dpkit import Scores, keep_d2, keep_herding, keep_kcenter
from dpkit.selectors._neighbours import nearest
from dpkit.selectors.d2 import _graph, _pick

N, D = 50_000, 512


def features_of(n: int, d: int = D, seed: int = 0) -> np.ndarray:
    """Ten clusters, and columns of falling spread, as the features of a trained network have. (n,
    d) float32.
    """
    rng = np.random.default_rng(seed)
    spread = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    x = rng.standard_normal((10, d), np.float32)[rng.integers(0, 10, n)]
    x += rng.standard_normal((n, d), np.float32)
    x *= spread
    return x


def neighbours(n=N, k=10) -> dict:
    """All k nearest neighbours, and the share of scikit-learn's that are found (by distance, so
    that ties do not count).
    """
    x, found = features_of(n), {}

    def ours():
        found["ours"] = nearest(x, k)

    def plain():
        found["plain"] = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)

    row = compare(ours, plain, repeats=3)
    same = [
        len(np.intersect1d(a, b))
        for a, b in zip(found["ours"][0], found["plain"][1][:, 1:], strict=True)
    ]
    return row | {"recall": sum(same) / (n * k)}


def dense_graph(x, k=5):
    """The whole distance matrix, and whether two samples are joined: (n, n) float64, (n, n)
    bool.
    """
    distance = cdist(x, x)
    graph = np.zeros(distance.shape, bool)
    graph[np.arange(len(x))[:, None], np.argsort(distance, axis=1)[:, 1 : k + 1]] = True
    return distance, graph | graph.T


def dense_passes(s, distance, graph, keep, gamma=0.1):
    """D2's forward and reverse pass on dense matrices, with a loop over neighbours."""
    v = s + (np.exp(-distance) * graph) @ s
    kept = []
    for _ in range(keep):
        p = int(np.argmax(v))
        kept.append(p)
        for j in np.flatnonzero(graph[p]):
            v[j] -= np.exp(-gamma * distance[p, j]) * v[p]
        v[p] = -np.inf
    return sorted(kept)


def d2_small(n=2000) -> dict:
    s, x = np.random.default_rng(1).random(n), features_of(n)
    scores = Scores(s, "made up")

    def plain():
        return dense_passes(s, *dense_graph(x), n // 2)

    assert keep_d2(scores, n // 2, features=x, rng=0).kept.tolist() == plain()
    return compare(lambda: keep_d2(scores, n // 2, features=x, rng=0), plain, repeats=5)


def d2_passes(n=2000) -> dict:
    """Selecting alone, the graph being there."""
    s, x = np.random.default_rng(1).random(n), features_of(n)
    ours, dense = _graph(x, 5), dense_graph(x)
    assert sorted(_pick(s, *ours, n // 2, 0.1, True)) == dense_passes(s, *dense, n // 2)
    return compare(
        lambda: _pick(s, *ours, n // 2, 0.1, True),
        lambda: dense_passes(s, *dense, n // 2),
        repeats=9,
    )


def d2_large() -> dict:
    """Seconds and peak memory of a whole process that keeps half of N samples, the features
    themselves included.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_d2_large)


def _d2_large():
    scores, x = Scores(np.random.default_rng(1).random(N), "made up"), features_of(N)
    keep_d2(Scores(scores.values[:50], "made up"), 10, features=x[:50], rng=0)  # compiled
    before, begun = _peak(), time.perf_counter()
    keep_d2(scores, N // 2, features=x, rng=0)
    return {
        "seconds": time.perf_counter() - begun,
        "peak_MB": _peak() / 1e6,
        "extra_MB": (_peak() - before) / 1e6,
    }


def herded(x, keep):
    """Every mean of the picks and one more, again for every pick."""
    mean, total, rest, picked = x.mean(axis=0), np.zeros(x.shape[1]), np.arange(len(x)), []
    for t in range(keep):
        place = np.argmin(np.linalg.norm((total + x[rest]) / (t + 1) - mean, axis=1))
        picked.append(int(rest[place]))
        total += x[rest[place]]
        rest = np.delete(rest, place)
    return sorted(picked)


def herding(n=5000, keep=150) -> dict:
    x = features_of(n).astype(np.float64)

    def ours():
        return keep_herding(x, keep, labels=None, per_class=None, rng=0).kept.tolist()

    assert ours() == herded(x, keep)
    return compare(ours, lambda: herded(x, keep), repeats=3)


def spread(x, start, keep):
    """As in public code: a matrix of distances from the picks to all, of which the columns not
    picked are copied each time.
    """
    picked = np.zeros(len(x), bool)
    picked[start] = True
    distances = np.empty((keep, len(x)), np.float32)
    squares = np.einsum("nd,nd->n", x, x)
    last = start
    for t in range(keep - 1):
        rest = np.flatnonzero(~picked)
        distances[t, ~picked] = np.sqrt(
            np.maximum(squares[~picked] - 2 * x[~picked] @ x[last] + squares[last], 0)
        )
        last = rest[np.argmax(distances[: t + 1, ~picked].min(axis=0))]
        picked[last] = True
    return np.flatnonzero(picked).tolist()


def kcenter(n=N, keep=200) -> dict:
    x = features_of(n)
    start = np.random.default_rng(0).permutation(n)[0]  # what rng=0 makes the first pick
    assert keep_kcenter(x, keep, rng=0).kept.tolist() == spread(x, start, keep)
    return compare(lambda: keep_kcenter(x, keep, rng=0), lambda: spread(x, start, keep), repeats=3)


def run():
    yield "D2, half of 2,000 picked, the graph being there, against dense matrices", d2_passes()
    yield "D2, half of 2,000 x 512, graph and all, against dense matrices", d2_small()
    yield "herding, 150 of 5,000 x 512, against full recomputation", herding()
    yield "k-centre, 200 of 50,000 x 512, against copied distances", kcenter()
    yield "10 nearest neighbours of 50,000 x 512, against scikit-learn", neighbours()
    yield "D2, half of 50,000 x 512", d2_large()
