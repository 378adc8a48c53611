"""Influence of all samples against a sample at a time, and annealing against the ways it is written
first.
"""

import time
from multiprocessing import get_context

import numpy as np

from benchmarks._compare import compare
from benchmarks.dual import _peak
from benchmarks.selectors import features_of
from dpkit import Snapshot, anneal, influence_vectors, outer_influence
from dpkit.influence.hessian import gradients, product_with, split_rows
from dpkit.influence.last_layer import with_last_layer
from dpkit.influence.solvers import conjugate_gradients, lissa
from dpkit.records.vectors import factors, norms, sum_of
from dpkit.selectors._swaps import Factors, Proposals, State, try_swaps

# vectors are of="sum", as the plain ways solve for plain gradients
N, D, C, DAMPING = (50_000, 512, 10, 5e-4)


def looked_at(n=N, d=D) -> Snapshot:
    """Features in clusters under a random head, nine in ten labels drawn from its probabilities."""
    rng = np.random.default_rng(0)
    blank = Snapshot(np.full((1, n, C), 1 / C), features_of(n, d), np.zeros(n, int))
    probs = with_last_layer(blank, np.append(rng.normal(0, 0.6, C * d), np.zeros(C))).probs
    labels = (probs[0].cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=C - 1)
    return Snapshot(probs, blank.features, labels)


class Chain:
    """One sequence of proposals, and where it starts: what all ways of annealing are given."""

    def __init__(self, vectors, size, keep=0.7, seed=0):
        rng, n = np.random.default_rng(seed), len(vectors)
        rows, m = rng.permutation(n), n - round(keep * n)
        self.go, self.stay = rows[:m], rows[m:]
        self.first, self.second = rng.integers(0, m, size), rng.integers(0, n - m, size)
        self.u = sum_of(vectors, self.go)
        self.square = norms(vectors) ** 2
        self.luck, self.temperature = rng.exponential(size=size), float(self.square.mean()) / 10


def compiled(vectors, chain) -> float:
    """|u| after the chain, by the loop that anneal runs."""
    factored, u = Factors(*factors(vectors), chain.square), chain.u.copy()
    state = State(chain.go.copy(), chain.stay.copy(), u, u.astype(factored.right.dtype))
    proposals = Proposals(chain.first, chain.second, chain.luck)
    hot = cold = chain.temperature
    objective, swaps = float((u**2).sum()), np.empty(len(chain.luck), np.int32)
    squared, *_ = try_swaps(factored, state, proposals, hot, cold, objective, np.inf, swaps)
    return squared**0.5


def incremental(vectors, chain, rng=None) -> float:
    """In numpy, the sum carried along; with rng, each proposal drawn where it is needed, as such a
    loop is written.
    """
    u, go, stay = chain.u[0].astype(np.float32), chain.go.copy(), chain.stay.copy()
    now = float(u @ u)
    for a, b, luck in zip(chain.first, chain.second, chain.luck, strict=True):
        if rng is not None:
            a, b, luck = rng.integers(len(go)), rng.integers(len(stay)), rng.exponential()
        moved = u - vectors[go[a]] + vectors[stay[b]]
        length = float(moved @ moved)
        if length - now < chain.temperature * luck:
            u, now = moved, length
            go[a], stay[b] = stay[b], go[a]
    return now**0.5


def recomputed(vectors, chain) -> float:
    """W^T S for every proposal."""
    w = np.zeros(len(vectors), np.float32)
    w[chain.go] = 1
    go, stay = chain.go.copy(), chain.stay.copy()
    now = float(np.sum(chain.u**2))
    for a, b, luck in zip(chain.first, chain.second, chain.luck, strict=True):
        w[go[a]], w[stay[b]] = 0, 1
        length = float(np.sum((w @ vectors) ** 2))
        if length - now < chain.temperature * luck:
            now = length
            go[a], stay[b] = stay[b], go[a]
        else:
            w[go[a]], w[stay[b]] = 1, 0
    return now**0.5


def per_proposal(vectors, plain, size, repeats) -> dict:
    """The loop that anneal runs against `plain`, which makes `size` of its proposals and comes to
    the same sum.
    """
    chain, many = Chain(vectors, size), Chain(vectors, 100_000)
    assert np.isclose(compiled(vectors, chain), plain(vectors, chain), rtol=1e-3)
    drawing = {"rng": np.random.default_rng(0)} if plain is incremental else {}
    row = compare(
        lambda: compiled(vectors, many), lambda: plain(vectors, chain, **drawing), repeats=repeats
    )
    scale = len(many.first) / size
    return {
        "ours_per_second": len(many.first) / row["ours_s"],
        "plain_per_second": size / row["plain_s"],
        **{name: row[name] * scale for name in ("ratio", "ratio_min", "ratio_max")},
        "repeats": repeats,
    }


def outer(snapshot, steps=200_000) -> dict:
    """The same annealing of vectors that are outer products, written out and not."""
    factored = outer_influence(snapshot, damping=DAMPING, of="sum")
    dense, keep = factored.dense(), round(0.7 * snapshot.num_samples)
    one, other = (
        anneal(vectors, keep, rng=0, steps=steps).params["norm"] for vectors in (factored, dense)
    )
    assert np.isclose(one, other, rtol=0.02), (one, other)
    row = compare(
        *(lambda v=v: anneal(v, keep, rng=0, steps=steps) for v in (factored, dense)), repeats=5
    )
    return row | {"ours_norm": one, "plain_norm": other}


def plain_cg(snapshot, rows, tolerance=1e-4):
    """A sample at a time, without a preconditioner."""
    g = gradients(snapshot, rows)
    return np.concatenate(
        [
            conjugate_gradients(
                lambda v: (
                    product_with(snapshot, v.reshape(-1, C, D + 1)).reshape(len(v), -1)
                    + DAMPING * v
                ),
                split_rows(g[k : k + 1], C, D + 1).reshape(1, -1),
                precondition=lambda v: v,
                tolerance=tolerance,
                most=20_000,
            )
            for k in range(len(rows))
        ]
    )


def plain_lissa(snapshot, rows, depth=5000, batch_size=128):
    """A sample at a time: 5,000 steps, as is usual in code for influence."""
    g, rng = gradients(snapshot, rows), np.random.default_rng(0)
    scale = float((snapshot.features.astype(np.float64) ** 2).sum(axis=1).max() + 1) / 2
    return np.concatenate(
        [
            lissa(
                lambda v, batch: product_with(snapshot, v, batch) + DAMPING * v,
                split_rows(g[k : k + 1], C, D + 1),
                scale=scale,
                batches=(rng.integers(0, snapshot.num_samples, batch_size) for _ in range(depth)),
            )
            for k in range(len(rows))
        ]
    )


def all_at_once(snapshot, plain, rows, repeats=3) -> dict:
    """Seconds a sample: all of them exactly, against `plain` for some rows."""

    def ours():
        return influence_vectors(snapshot, damping=DAMPING, of="sum")

    exact, found = ours()[rows] * len(snapshot.labels), plain(snapshot, rows[:1])
    far = np.linalg.norm(split_rows(exact[:1], C, D + 1).ravel() - found.ravel()) / np.linalg.norm(
        exact[0]
    )
    assert plain is not plain_cg or far < 0.02, far
    row, scale = (
        compare(ours, lambda: plain(snapshot, rows), repeats=repeats),
        snapshot.num_samples / len(rows),
    )
    return {
        "ours_s": row["ours_s"],
        "plain_s_a_sample": row["plain_s"] / len(rows),
        "plain_far_from_exact": far,
        **{name: row[name] * scale for name in ("ratio", "ratio_min", "ratio_max")},
        "repeats": repeats,
    }


def whole() -> dict:
    """Seconds and peak memory of a process that finds all N influence vectors and anneals them for
    10 s.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_whole)


def _whole():
    snapshot = looked_at()
    begun = time.perf_counter()
    vectors = influence_vectors(snapshot, damping=DAMPING, of="sum")
    influence = time.perf_counter() - begun
    found = anneal(vectors, round(0.7 * N), rng=0, seconds=10)
    return {
        "influence_s": influence,
        "start_norm": found.params["start_norm"],
        "norm": found.params["norm"],
        "proposals": found.params["steps"],
        "peak_GB": _peak() / 1e9,
    }


def run():
    snapshot = looked_at()
    dense = outer_influence(snapshot, damping=DAMPING, of="sum").dense()
    yield (
        "annealing, a proposal of 50,000 x 5,130, against W^T S anew",
        per_proposal(dense, recomputed, 20, repeats=3),
    )
    yield (
        "annealing, a proposal, against numpy with the sum carried",
        per_proposal(dense, incremental, 5000, repeats=5),
    )
    del dense
    yield "annealing outer products, against the same written out", outer(snapshot)
    few = looked_at(10_000)  # of more samples a step of CG takes longer, and ours a sample does not
    yield (
        "influence of 10,000, 512 features, against CG a sample",
        all_at_once(few, plain_cg, np.array([11, 4711])),
    )
    yield (
        "influence of 10,000, 512 features, against LiSSA a sample",
        all_at_once(few, plain_lissa, np.array([11, 4711])),
    )
    yield "influence of 50,000 and 10 s of annealing, one process", whole()
