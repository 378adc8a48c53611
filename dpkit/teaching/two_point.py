"""The two-point theorem: DUAL turns to the point near the boundary before std alone does.

Two points x_1, x_2, both of label +1, and a linear model:

    z_i = <w, x_i>,      p_i = sigma(z_i) = 1 / (1 + exp(-z_i))

In the window of the J steps t .. t + J - 1, S_i is the standard deviation of p_i (J - 1 in the
divisor), mu_i its mean:

    T_v  = first t with  S_1 > S_2                              the standard deviation prefers x_1
    T_vm = first t with  S_1 (1 - mu_1) > S_2 (1 - mu_2)        DUAL prefers x_1

Statement (Cho, Shin, Kang and Yun, ICML 2025, informal Theorem 3.1): if |x_1| < <x_1, x_2> < |x_2|
and the learning rate is small enough, then T_vm < T_v.  The proof needs only |x_1| < |x_2| and
<x_1, x_2> > 0, so only that is asked here; and T_vm <= T_v then holds at any rate (lesson 04 has
both proofs).

Not given there, chosen here: w = 0 at step 0, and gradient descent on the SUM of the two logistic
losses,

    w <- w + eta (u_1 x_1 + u_2 x_2),      u_i = 1 - p_i = sigma(-z_i)

(with the mean of the losses every time doubles). So the outputs obey, in any dimension,

    z_1 += eta (a u_1 + b u_2),   z_2 += eta (b u_1 + c u_2)
    a = |x_1|^2,   b = <x_1, x_2>,   c = |x_2|^2

u has the standard deviation of p and does not saturate: p = 1 - 1e-20 is 1 to a computer,
u = 1e-20 is not. All arithmetic here is on u.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike

_CHUNK = 4096  # steps looked at together


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """The descent after `step` steps. w: (d,). error: (u_1, u_2), that is 1 - target_prob."""

    step: int
    w: np.ndarray
    error: tuple[float, float]

    @property
    def target_prob(self) -> tuple[float, float]:
        return 1 - self.error[0], 1 - self.error[1]


@dataclass(frozen=True, eq=False, slots=True)
class Windows:
    """Of every window: std, mean of target_prob, dual = std * (1 - mean); (..., windows)."""

    std: np.ndarray
    mean: np.ndarray
    dual: np.ndarray


def descent(x1: ArrayLike, x2: ArrayLike, *, learning_rate: float) -> Iterator[Step]:
    """Gradient descent on two points, a Step at a time, from w = 0; it never ends: stop with
    `break` or `islice`.

    x1, x2: (d,) any two points of label +1.   learning_rate: eta > 0, on the sum of the losses.
    """
    x1, x2 = _points(x1, x2)
    _check_rate(learning_rate)
    # so that a wrong argument is refused here, not at the first step
    return _descent(x1, x2, learning_rate)


def window_statistics(error: ArrayLike, window: int) -> Windows:
    """Standard deviation, mean and DUAL of all sliding windows.

    error: (..., steps), 1 - target_prob at each step.
    window: J, 2..steps.
    Two passes in float64.
    """
    error = np.asarray(error, dtype=np.float64)
    steps = error.shape[-1] if error.ndim else 0
    _check_window(window, steps, f"the steps given are {steps}")
    count = steps - window + 1
    # views: the k-th value of every window
    mean, std = _mean_and_std([error[..., k : k + count] for k in range(window)])
    return Windows(std, 1 - mean, std * mean)


def _mean_and_std(values):
    """Mean and standard deviation over a list of arrays, in two passes."""
    mean = sum(values) / len(values)
    return mean, np.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def crossing_times(
    x1: ArrayLike, x2: ArrayLike, *, learning_rate: float, window: int, max_steps: int = 100_000
) -> tuple[int | None, int | None]:
    """(T_v, T_vm): the first step of the first window in which x1 is ahead, by standard deviation
    and by DUAL.

    x1, x2:        (d,), with |x1| < |x2| and <x1, x2> > 0.
    learning_rate: eta > 0, on the sum of the losses.   window: J >= 2 steps.
    max_steps:     the last step of the last window looked at. A time not reached by then is None,
                   which says nothing about later steps: some pairs need very many.
    Scores that differ by less than float64 can tell (one part in 1e16) count as equal, so x1 is not
    ahead.
    ValueError if the pair is not admissible, or a window does not fit.
    """
    x1, x2 = _points(x1, x2)
    a, b, c = _gram(x1, x2)
    if not a < c:
        raise ValueError(
            f"x1 must be the shorter point, |x1| < |x2|; got {a**0.5:.6g} and {c**0.5:.6g}: swap "
            "or change them"
        )
    if not b > 0:
        raise ValueError(
            f"the points must share a direction, <x1, x2> > 0; got {b:.6g}: turn one of them"
        )
    _check_rate(learning_rate)
    if isinstance(max_steps, bool) or not isinstance(max_steps, (int, np.integer)) or max_steps < 1:
        raise ValueError(
            f"max_steps must be a whole number of steps, 1 or more; got {max_steps!r}: a window "
            "needs J - 1"
        )
    _check_window(
        window, max_steps + 1, f"{max_steps} steps and the start give {max_steps + 1} values"
    )

    steps = islice(_errors(a, b, c, learning_rate), max_steps + 1)
    # what the next windows are made of, and the step it starts at
    seen, start = (np.empty((4, 0)), 0)
    times: list[int | None] = [None, None]
    while None in times and (fresh := list(islice(steps, max(_CHUNK, window)))):
        seen = np.hstack([seen, np.array(fresh).T])
        for k, ahead in enumerate(_ahead(seen[:2], seen[2:], window)):
            if times[k] is None and ahead.any():
                times[k] = start + int(ahead.argmax())
        done = seen.shape[1] - window + 1
        start, seen = start + done, seen[:, done:]
    return times[0], times[1]


def _ahead(error, rise, window):
    """For each window, whether x1 is ahead by std, and by DUAL: two (windows,) of bool.

    error: (2, steps).
    rise:  (2, steps), of z to the next step. Late steps change u by less than float64 can see in u
           itself, so a window is followed by its falls relative to its first value: 1 - u_next / u
           = (1 - exp(-rise)) p_next.
    """
    count = error.shape[1] - window + 1
    falls = -np.expm1(-rise[:, :-1]) * (1 - error[:, 1:])
    fallen = [np.zeros((2, count))]
    for k in range(window - 1):
        fallen.append(fallen[-1] + falls[:, k : k + count] * (1 - fallen[-1]))
    mean, std = _mean_and_std(fallen)
    first, second = std * error[:, :count]
    missing1, missing2 = error[:, :count] * (1 - mean)  # 1 - mu
    # as a ratio, which is at most 1: products of such small numbers would vanish
    ratio = np.divide(missing2, missing1, out=np.zeros(count), where=missing1 > 0)
    return first > second, first > second * ratio


def random_pair(
    rng: int | np.random.Generator, *, premise: str = "printed", dimension: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Draw two admissible points: normal (standard deviation 1.5), again until they fit.

    rng:     seed or numpy Generator.
    premise: "printed": |x1| < <x1, x2> < |x2|, as in the theorem; "needed": |x1| < |x2| and <x1,
             x2> > 0, as in its proof.
    """
    if premise not in ("printed", "needed"):
        raise ValueError(f'premise must be "printed" or "needed"; got {premise!r}')
    rng = np.random.default_rng(rng)
    while True:
        x1, x2 = rng.normal(scale=1.5, size=(2, dimension))
        a, b, c = _gram(x1, x2)
        if (a < c and b > 0) if premise == "needed" else a**0.5 < b < c**0.5:
            return x1, x2


# ---- the one copy of the arithmetic --------------------------------------------------------------


def _errors(a, b, c, rate) -> Iterator[tuple[float, float, float, float]]:
    """(u_1, u_2, and by how much z_1 and z_2 rise next) at step 0, 1, ... Python's floats: numpy's
    are slower one at a time.
    """
    z1 = z2 = 0.0
    while True:
        u1, u2 = _one_minus_sigmoid(z1), _one_minus_sigmoid(z2)
        rise1, rise2 = rate * (a * u1 + b * u2), rate * (b * u1 + c * u2)
        yield u1, u2, rise1, rise2
        z1 += rise1
        z2 += rise2


def _descent(x1, x2, rate) -> Iterator[Step]:
    w = np.zeros(len(x1))
    for step, (u1, u2, _, _) in enumerate(_errors(*_gram(x1, x2), rate)):
        w.flags.writeable = False
        yield Step(step, w, (u1, u2))
        w = w + rate * (u1 * x1 + u2 * x2)


def _one_minus_sigmoid(z: float) -> float:
    small = math.exp(-abs(z))  # never overflows
    return small / (1 + small) if z > 0 else 1 / (1 + small)


def _gram(x1, x2) -> tuple[float, float, float]:
    return float(x1 @ x1), float(x1 @ x2), float(x2 @ x2)


# ---- what is refused -----------------------------------------------------------------------------


def _points(x1, x2) -> tuple[np.ndarray, np.ndarray]:
    x1, x2 = np.array(x1, dtype=np.float64), np.array(x2, dtype=np.float64)
    if x1.ndim != 1 or x1.shape != x2.shape or not len(x1):
        raise ValueError(
            f"x1 and x2 must be two points of the same dimension, shape (d,); got {x1.shape} and "
            f"{x2.shape}"
        )
    if not np.all(np.abs([x1, x2]) < 1e100):  # also NaN; squares beyond would overflow
        raise ValueError(
            f"x1 and x2 must be finite and below 1e100; got {x1.tolist()} and {x2.tolist()}"
        )
    return x1, x2


def _check_rate(rate):
    if not 0 < rate < math.inf:  # also NaN
        raise ValueError(f"learning_rate must be a number above 0; got {rate}: try 0.01")


def _check_window(window, steps, have):
    if (
        isinstance(window, bool)
        or not isinstance(window, (int, np.integer))
        or not 2 <= window <= steps
    ):
        raise ValueError(
            f"window must be 2..{steps} steps ({have}); got {window!r}: go on longer or choose a "
            "shorter window"
        )
