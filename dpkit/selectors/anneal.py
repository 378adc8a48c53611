"""Simulated annealing over which samples go: the vectors of the PRUNED shall add up to little.

A state is a set of m pruned samples, u the sum of their vectors. A proposal takes a pruned sample a
and one b that is kept, both drawn uniformly, and swaps them with probability
min(1, exp(-change / temperature)), where

    change = |u - S_a + S_b|^2 - |u|^2 = |S_a|^2 + |S_b|^2 - 2 <S_a, S_b> + 2 <u, S_b - S_a>

costs O(p), whatever n and m are: u is carried along and never summed anew. The paper (Yang et al.,
ICLR 2023) gives no schedule. Ours is geometric, from `hottest` to `coldest`, both in units of the
mean |change| of a random proposal at the start.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Selection, require_kind
from dpkit.records.vectors import OuterVectors, check_vectors, factors, norms, squares, sum_of
from dpkit.selectors._choose import by_class, check_keep, check_labels, generator, take_top
from dpkit.selectors._swaps import Factors, Proposals, State, mean_change, try_swaps
from dpkit.storage.blocks import by_label
from dpkit.storage.long_work import LongWork

__all__ = ["Annealed", "anneal", "annealing"]

_CHUNK = 8192  # proposals between two reports, fewer where a proposal is long
_LEAST = 100_000  # proposals where a set is small, and they are quick
_SAMPLED = 512  # proposals that tell how much one changes


@dataclass(frozen=True, eq=False, slots=True)
class Annealed:
    """Where an annealing stands after `step` proposals of restart number `restart`.

    temperature: the squared length at which a rise of it is accepted with probability 1/e.
    accepted:    the share of the proposals since the last report that were accepted.
    objective:   |u| now.
    best:        the smallest |u| of all restarts so far, that of `pruned`.
    pruned:      (m,) int64, the samples that go in that best state, ascending.
    seconds:     since the start.
    """

    step: int
    restart: int
    temperature: float
    accepted: float
    objective: float
    best: float
    pruned: np.ndarray
    seconds: float


def anneal(
    vectors: np.ndarray | OuterVectors,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    restarts: int = 1,
    hottest: float = 1.0,
    coldest: float = 1e-4,
    start: Selection | None = None,
) -> Selection:
    """Keep `keep` samples so that the vectors of the PRUNED add up to little (Eq. 4).

        minimise |sum of S_i over the pruned|   with n - keep of them

    For influence vectors of="mean" n / keep times that is, to first order, how far the parameters
    of the last layer move when the pruned are taken away and the rest is fitted again; of="sum" it
    is that itself, of a loss that is still divided by n. How many go is given, so either is
    searched as it is.

    Parameters
    ----------
    vectors : (n, p) float32 or float64, influence_vectors(snapshot, ...), or OuterVectors.
    keep : how many are KEPT, 0..n.
    rng : seed or numpy Generator.
    labels : (n,) whole numbers, with per_class.
    per_class : None | "proportional" | "balanced" | recall, as in keep_top: swaps then stay within
        a class. The paper's rule knows no classes: None.
    steps : proposals in each restart; 50 n if nothing is said, 100,000 at least.
    seconds : of all restarts together; the temperature then falls with the clock, and the answer
        depends on the machine. With both, the first to be over ends it.
    restarts : independent annealings; the best state of all is returned, whenever it was met.
    hottest, coldest : first and last temperature, in units of the mean |change| of a random swap at
        the start; 0 and 0 is descent, which takes only what is better.
    start : a Selection to start from instead of a random one; `keep` must be its size.

    Returns
    -------
    Selection of exactly `keep` samples; params hold the objective of the random start and of the
    end, and where the end was found from. The same vectors, rng and steps give the same answer.

    Raises
    ------
    ValueError for vectors that are not finite, keep outside 0..n, a limit that is not above 0.

    Notes
    -----
    Where most vectors are short and few go, the shortest are hard to beat, and a hot start among
    the long ones does not find them: so unless `start` is given a fifth of the proposals are spent
    on a descent from the shortest, and the better set of the two is returned.

    References
    ----------
    Yang et al., "Dataset Pruning: Reducing Training Data by Examining Generalization Influence",
    ICLR 2023; schedule and moves are ours.

    Examples
    --------
    >>> vectors = np.array([[1.0], [-1.0], [3.0], [5.0]])    # rows 0 and 1 cancel
    >>> dpkit.anneal(vectors, 2, rng=0).pruned
    array([0, 1])
    """
    rng, params = generator(rng)
    vectors = check_vectors(vectors, "anneal")
    n, keep = len(vectors), check_keep(keep, len(vectors))
    check_limits(steps, seconds, restarts, hottest, coldest)
    steps = _default_steps(n, steps, seconds)
    main, rest = (1, 0) if start is not None else (0.8, 0.2)
    common: dict[str, Any] = {"rng": rng, "labels": labels, "per_class": per_class}
    step_seconds = _step_seconds(vectors)
    expected = step_seconds * (steps or 0) * (restarts * main + rest)
    work = LongWork(f"anneal of {n:,} samples", seconds=seconds or expected)
    spent = _by_clock if seconds else partial(_by_steps, step_seconds)
    first, last = _first_and_last(
        annealing(
            vectors,
            keep,
            **common,
            restarts=restarts,
            hottest=hottest,
            coldest=coldest,
            start=start,
            **_share(main, steps, seconds),
        ),
        work,
        spent,
    )
    origin, count = "start" if start is not None else "random", last.step
    if rest:
        shortest = _shortest(vectors, keep, rng, labels, per_class)
        _, other = _first_and_last(
            annealing(
                vectors,
                keep,
                **common,
                hottest=0,
                coldest=0,
                start=shortest,
                **_share(rest, steps, seconds),
            ),
            work,
            spent,
        )
        count += other.step
        last, origin = (other, "shortest") if other.best < last.best else (last, origin)
    found = {
        "per_class": per_class,
        "start_norm": first.objective,
        "norm": last.best,
        "found_from": origin,
        "steps": count,
        "restarts": restarts,
    }
    return selection_without(last.pruned, n, "anneal", params | found)


def annealing(
    vectors: np.ndarray | OuterVectors,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    restarts: int = 1,
    hottest: float = 1.0,
    coldest: float = 1e-4,
    start: Selection | None = None,
) -> Iterator[Annealed]:
    """What `anneal` iterates over: reports of where it stands.

    Parameters
    ----------
    vectors, keep and all others : as for anneal.

    Yields
    ------
    Annealed, before the first proposal of each restart, and every few thousand proposals. Stopping
    early loses nothing: the last report holds the best state met.

    Examples
    --------
    >>> vectors = np.array([[1.0], [-1.0], [3.0], [5.0]])
    >>> *_, last = dpkit.annealing(vectors, 2, rng=0)
    >>> last.pruned, last.best
    (array([0, 1]), 0.0)
    """
    vectors = check_vectors(vectors, "anneal")
    n = len(vectors)
    keep = check_keep(keep, n)
    check_limits(steps, seconds, restarts, hottest, coldest)
    if start is not None:
        require_kind(start, Selection, "anneal's start")
        if (start.num_samples, len(start.kept)) != (n, keep):
            raise ValueError(
                f"start must keep {keep} of {n} samples, as asked; it keeps {len(start.kept)} of "
                f"{start.num_samples}"
            )
    labels = np.zeros(n, np.int64) if per_class is None else check_labels(labels, n, per_class)
    rng, _ = generator(rng)
    steps = _default_steps(n, steps, seconds)
    search = _Search(steps, seconds, restarts, hottest, coldest)
    first_state = partial(_first_state, n, keep, rng, labels, per_class, start)
    return _annealing(vectors, search, first_state, rng)


def _first_and_last(reports, work, spent):
    """The first report and the last; `work` hears of spent(a report, the next one) seconds."""
    first = last = next(reports)
    for now in reports:
        work.add(spent(last, now))
        last = now
    return first, last


def _by_clock(last, now):
    return now.seconds - last.seconds


def _by_steps(step_seconds, last, now):
    return step_seconds * (now.step - last.step) if now.restart == last.restart else 0.0


def _step_seconds(vectors):
    """About how long a proposal takes, measured: fetching two rows of the vectors, or of outer
    products the arithmetic.
    """
    left, right = factors(vectors)
    numbers = left.shape[1] * right.shape[1]
    return numbers * (1.1e-9 if left.shape[1] == 1 else 4e-10)


def _default_steps(n, steps, seconds):
    """The proposals of a restart: what was said, or the usual number if no limit was."""
    return max(50 * n, _LEAST) if steps is None and seconds is None else steps


def _share(part: float, steps: int | None, seconds: float | None) -> dict[str, Any]:
    """The limits of a part of the search."""
    return {"steps": steps and max(round(part * steps), 1), "seconds": seconds and part * seconds}


def _shortest(vectors, keep, rng, labels, per_class):
    """The Selection that prunes the shortest vectors, by class under quotas; ties are drawn."""
    lengths = norms(vectors)
    kept, _ = by_class(
        labels,
        len(vectors),
        keep,
        per_class,
        rng,
        lambda rows, k: rows[take_top(lengths[rows], k, rng)],
    )
    return Selection(np.sort(kept), len(vectors), "shortest")


# ---- one annealing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    """How long to search, and how hot: the settings of `annealing` under the same names."""

    steps: int | None
    seconds: float | None
    restarts: int
    hottest: float
    coldest: float

    def chunk(self, vectors) -> int:
        """Proposals between two reports."""
        width = vectors.left.shape[1] * vectors.right.shape[1]
        chunk = int(np.clip(2**26 // width, 256, _CHUNK))
        return min(chunk, max(self.steps // 20, 64)) if self.steps else chunk

    def progress(self, step, seconds) -> float:
        """What part of a restart is over, by the limit that is nearer."""
        by_steps = step / self.steps if self.steps else 0
        by_clock = seconds / (self.seconds / self.restarts) if self.seconds else 0
        return min(max(by_steps, by_clock), 1)

    def temperature(self, unit, done) -> float:
        """When `done` of the way is gone."""
        cooled = (self.coldest / self.hottest) ** done if self.hottest else 0.0
        return self.hottest * unit * cooled


def _annealing(vectors, search, first_state, rng):
    factored = Factors(*factors(vectors), squares(vectors))
    begun, chunk, best, chosen = time.monotonic(), search.chunk(factored), np.inf, None
    for restart in range(search.restarts):
        pruned, kept, pools = first_state()
        u = sum_of(vectors, pruned)
        # a swap changes the sum by S_b - S_a, in which a centre cancels
        state = State(pruned, kept, u, u.astype(factored.right.dtype))
        objective = float((u**2).sum())
        if objective < best:
            best, chosen = objective, np.sort(pruned)
        unit = mean_change(factored, state, *_places(pools, _SAMPLED, rng)) if pools else 0.0
        step, done, accepted, cold = 0, 0.0, 0.0, search.temperature(unit, 0.0)
        started = time.monotonic()
        while True:
            lengths, now = (objective**0.5, best**0.5), time.monotonic() - begun
            yield Annealed(step, restart, cold, accepted, *lengths, chosen, now)
            if done >= 1 or not pools:
                break
            size = min(chunk, search.steps - step) if search.steps else chunk
            step += size
            done = search.progress(step, time.monotonic() - started)
            hot, cold = cold, search.temperature(unit, done)
            proposals = Proposals(*_places(pools, size, rng), rng.exponential(size=size))
            swaps = np.empty(size, np.int32)
            objective, lowest, taken, at = try_swaps(
                factored, state, proposals, hot, cold, objective, best, swaps
            )
            if at >= 0:
                best, chosen = lowest, state.before(proposals, swaps[at:taken])
            accepted = taken / size


def _first_state(n, keep, rng, labels, per_class, start):
    """(pruned, kept, pools): the rows of both class by class, and of each class that can swap where
    its rows stand.
    """

    def drawn(rows, count):
        return rng.choice(rows, count, replace=False)

    if start is None:
        kept, _ = by_class(labels, n, keep, per_class, rng, drawn)
    else:
        kept = start.kept
    stays = np.zeros(n, bool)
    stays[kept] = True
    order = np.argsort(labels, kind="stable")
    parts = order[~stays[order]], order[stays[order]]
    # of each part {label: (its first place, how many)}
    pruned, kept = (
        {label: (rows[0], len(rows)) for label, rows in by_label(labels[part])} for part in parts
    )
    return *parts, [(*pruned[label], *kept[label]) for label in sorted(pruned.keys() & kept.keys())]


def _places(pools, size, rng):
    """Places among the pruned and the kept, uniform within a class; classes by the rows they have.
    Two (size,) int64.
    """
    pools = np.array(pools)
    shares = (pools[:, 1] + pools[:, 3]) / (pools[:, 1] + pools[:, 3]).sum()
    pool = (
        pools[rng.choice(len(pools), size, p=shares)]
        if len(pools) > 1
        else np.broadcast_to(pools[0], (size, 4))
    )
    return pool[:, 0] + rng.integers(0, pool[:, 1]), pool[:, 2] + rng.integers(0, pool[:, 3])


# ---- what is refused, what is returned -----------------------------------------------------------


def check_limits(
    steps: int | None, seconds: float | None, restarts: int, hottest: float, coldest: float
) -> None:
    """ValueError for limits or temperatures that no annealing can have."""
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1
        ):
            raise ValueError(f"{name} must be a whole number from 1; got {value!r}")
    if seconds is not None and not 0 < seconds < np.inf:
        raise ValueError(f"seconds must be above 0; got {seconds!r}")
    if not 0 < coldest <= hottest < np.inf and not coldest == hottest == 0:
        raise ValueError(
            "temperatures must fall, 0 < coldest <= hottest, or both be 0 for descent; got hottest "
            f"{hottest!r}, coldest {coldest!r}"
        )


def selection_without(pruned: np.ndarray, n: int, method: str, params: dict) -> Selection:
    """The Selection of all n samples but the pruned."""
    kept = np.ones(n, bool)
    kept[pruned] = False
    return Selection(np.flatnonzero(kept), n, method, params)
