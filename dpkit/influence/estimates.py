"""How each training sample holds the last layer in place: influence functions.

The last layer of a network, weight (C, d) and bias (C,), is a softmax regression on the features h:
with h~ = [h, 1] and p = softmax(theta h~) the loss of sample i has the gradient, and the mean loss
has the Hessian

    g_i = (p_i - onehot(y_i)) (x) h~_i
    H   = 1/n sum_i (diag p_i - p_i p_i^T) (x) h~_i h~_i^T + damping I

What is fitted again without a group D of m samples is the MEAN loss of the n - m that stay, with
the same weight decay: that is the paper's Definition 1, and what every retraining does. With weight
decay the gradients at theta do not add up to zero (their mean is g = -damping theta), and to first
order theta moves by

    n / (n - m) sum over D of S_i ,   S_i = H^-1 (g_i - g) / n   of="mean": the vectors are centred

The usual influence of Koh & Liang predicts another refit, whose loss is still divided by n, so that
the weight decay counts for more the more is pruned:

    sum over D of S_i ,               S_i = H^-1 g_i / n = -I_param(z_i) / n   of="sum"

Without weight decay both are the same but for n / (n - m). H without damping is singular always:
adding one vector to the weights of every class changes no probability. So damping is required. The
weight decay of the training is the value for which theta is the minimiser. (The paper names no
damping.) Everything here reads a Snapshot: probs of the final exit, features and labels.

References
----------
Yang et al., "Dataset Pruning: Reducing Training Data by Examining Generalization Influence", ICLR
2023. Influence functions: Koh & Liang, ICML 2017.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from dpkit.influence.hessian import (
    blocks_of,
    errors,
    gradients,
    inputs,
    joined_rows,
    lower_hessian,
    mean_gradient,
    product_with,
    shape_of,
)
from dpkit.influence.solvers import conjugate_gradients, lissa
from dpkit.records import Snapshot, require_kind
from dpkit.records.vectors import OuterVectors, check_convention
from dpkit.storage.blocks import row_blocks, unfit_rows

METHODS = ("auto", "exact", "cg", "kronecker", "lissa")
_ROWS = 2048  # samples looked at together
_RIGHT = 64  # right-hand sides that cg and lissa solve for together


@dataclass(frozen=True)
class Plan:
    """Which way influence_vectors goes, and why: `print` it.

    method:     the way.
    parameters: C d + C.
    needed:     bytes, by way.
    memory:     bytes that were allowed.
    """

    method: str
    parameters: int
    needed: dict
    memory: float

    def __str__(self) -> str:
        needs = ", ".join(f"{name} {_size(count)}" for name, count in self.needed.items())
        return (
            f"{self.method}: {self.parameters:,} parameters in {_size(self.memory)} of memory "
            f"(needed: {needs})"
        )


def plan_influence(snapshot: Snapshot, *, memory: float = 8e9, rows: int | None = None) -> Plan:
    """Where influence_vectors(method="auto") goes.

    "exact" if that fits into `memory` bytes, else "kronecker" if that does. "cg" needs little
    memory but, for all samples, n times the time: it is for some `rows`, and never chosen by
    itself.

    Parameters
    ----------
    snapshot : of the network, with features (n, d).
    memory : bytes that may be used, the result among them.
    rows : how many samples the vectors are needed of; default all n.

    Returns
    -------
    Plan: the method, and the bytes that each way needs.
    """
    require_kind(snapshot, Snapshot, "influence")
    n, classes, width = shape_of(snapshot)
    count = classes * width
    block = 4 * 8 * min(_ROWS, n) * count  # a few blocks of rows in float64
    result = 4 * (n if rows is None else rows) * count
    features = 8 * n * width
    needed = {
        "exact": 8 * (count**2 + classes * width**2) + block + result,
        "cg": features + 10 * 8 * _RIGHT * (count + n * classes // 8) + result,
        "kronecker": 16 * (classes**2 + width**2) + 12 * n * (classes + width) + result,
        "OuterVectors": 16 * (classes**2 + width**2) + 12 * n * (classes + width),
    }
    fits = [name for name in ("exact", "kronecker") if needed[name] <= memory]
    return Plan(fits[0] if fits else "none", count, needed, memory)


def influence_vectors(
    snapshot: Snapshot,
    *,
    damping: float,
    of: str = "mean",
    method: str = "auto",
    memory: float = 8e9,
    rows: np.ndarray | None = None,
    tolerance: float = 1e-6,
    depth: int = 2000,
    batch_size: int = 128,
    scale: float | None = None,
    rng: int | np.random.Generator | None = None,
) -> np.ndarray:
    """What taking each sample away adds to the last layer's parameters (influence).

        S_i = (H + damping I)^-1 (g_i - g) / n

    Parameters
    ----------
    snapshot : features (n, d), labels and the final exit's probs: those of one linear layer on
        these features.
    damping : above 0, in the unit of H; the weight decay of the training, 5e-4 in most recipes,
        makes theta a minimiser.
    of : "mean": of the loss that is the mean over the kept, as in the paper's Definition 1 and in
        every retraining: g is the mean gradient, all vectors add up to zero, and m of them go with
        n / (n - m) times their sum (`bound`, `predicted_shift`). "sum": Koh & Liang's, where g is
        left out and the sum itself is the shift.
    method : with P = C d + C,
        "exact"      the Hessian written out, one Cholesky factor, one solve for all: 8 P^2 bytes,
                     O(n P^2);
        "cg"         conjugate gradients on exact Hessian-vector products, preconditioned by the
                     Kronecker product: no P x P matrix, but O(n P) an iteration for every
                     right-hand side: for some `rows`;
        "kronecker"  H as the product of its class part and its feature part, an approximation; see
                     outer_influence;
        "lissa"      the paper's own, Agarwal et al. (2016): H^-1 g by a recursion over random
                     batches;
        "auto"       what plan_influence says. It warns if that is not "exact".
    memory : bytes that may be used, the result among them.
    rows : only of these samples (default: all); H is of all samples in any case.
    tolerance : of cg: the residual's length over the right-hand side's.
    depth, batch_size, scale, rng : of lissa: steps, samples in each, what H is divided by (default:
        a bound of its largest eigenvalue, so that the recursion cannot diverge), and the seed.

    Returns
    -------
    S (n, C d + C) float32, order [weight.flatten(), bias]; in the unit of the parameters.

    Raises
    ------
    ValueError for damping not above 0, a snapshot without features, memory that does not suffice.
    """
    n, _, _ = _check(snapshot, damping)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    check_convention(of)
    rows = _check_rows(rows, n)
    plan = plan_influence(snapshot, memory=memory, rows=None if rows is None else len(rows))
    chosen = plan.method if method == "auto" else method
    if chosen == "none" or plan.needed.get(chosen, 0) > memory:
        _refuse_memory(plan, method)
    if method == "auto" and chosen != "exact":
        warnings.warn(
            f'influence by the {chosen} approximation, as "exact" needs '
            f"{_size(plan.needed['exact'])} and memory is {_size(memory)}: pass a larger memory=, "
            f'or method="{chosen}" if that is meant',
            stacklevel=2,
        )
    if chosen == "kronecker":
        return outer_influence(snapshot, damping=damping, of=of).dense(
            slice(None) if rows is None else rows
        )
    centre = mean_gradient(snapshot) if of == "mean" else 0.0
    if chosen == "exact":
        return _exact(snapshot, damping, rows, centre)
    if chosen == "lissa":
        return _lissa(snapshot, damping, rows, centre, depth, batch_size, scale, rng)
    return _cg(snapshot, damping, rows, centre, tolerance)


def outer_influence(snapshot: Snapshot, *, damping: float, of: str = "mean") -> OuterVectors:
    """influence_vectors(method="kronecker") in the form it truly has, as outer products.

    H is taken for A (x) B, A = mean of diag p - p p^T, B = mean of h~ h~^T, as if the two were
    independent. The damping goes into the factors (Martens & Grosse, ICML 2015),

        (A + sqrt(damping) / s I) (x) (B + s sqrt(damping) I)
        s^2 = mean eigenvalue of B / that of A

    so that the inverse, too, is a product and

        S_i = (A^-1 (p_i - onehot)) (x) (B^-1 h~_i) / n

    less the mean of these, one `centre` for all, of="mean".

    Parameters
    ----------
    snapshot, damping, of : as for influence_vectors.

    Returns
    -------
    OuterVectors: (n, C) and (n, d + 1) numbers instead of (n, C d + C).
    """
    n, _, _ = _check(snapshot, damping)
    check_convention(of)
    inverse = [np.linalg.inv(factor) for factor in _kronecker(snapshot, damping)]
    left, right = (np.empty((n, len(part)), np.float32) for part in inverse)
    for rows in blocks_of(snapshot):
        left[rows], right[rows] = (
            errors(snapshot, rows) @ inverse[0] / n,
            inputs(snapshot, rows) @ inverse[1],
        )
    return OuterVectors(
        left, right, inverse[0] @ mean_gradient(snapshot) @ inverse[1] / n if of == "mean" else None
    )


# ---- the ways ------------------------------------------------------------------------------------


def _exact(snapshot, damping, rows, centre):
    n, classes, width = shape_of(snapshot)
    try:
        factor = cho_factor(
            lower_hessian(snapshot, damping), lower=True, overwrite_a=True, check_finite=False
        )
    except LinAlgError:
        raise ValueError(
            f"the Hessian is singular to working precision with damping {damping:g}, as a softmax "
            "Hessian is without damping: take more, e.g. the weight decay of the training, 5e-4"
        ) from None
    rows = np.arange(n) if rows is None else rows
    found = np.empty((len(rows), classes * width), np.float32)
    centre = joined_rows(centre[None])[0] if np.ndim(centre) else centre
    for block in row_blocks(len(rows), snapshot.features, snapshot.probs, size=_ROWS):
        right = gradients(snapshot, rows[block]) - centre
        found[block] = cho_solve(factor, right.T, overwrite_b=True, check_finite=False).T / n
    return found


def _kronecker(snapshot, damping):
    """(A + ..., B + ...): the two factors, each with its part of the damping."""
    n, classes, width = shape_of(snapshot)
    first, second = np.zeros((classes, classes)), np.zeros((width, width))
    for rows in blocks_of(snapshot):
        x, p = inputs(snapshot, rows), snapshot.probs[-1][rows].astype(np.float64)
        first += np.diag(p.sum(0)) - p.T @ p
        second += x.T @ x
    first, second = first / n, second / n
    balance = np.sqrt(
        np.trace(second) / width / max(np.trace(first) / classes, np.finfo(float).tiny)
    )
    return first + np.sqrt(damping) / balance * np.eye(classes), second + np.sqrt(
        damping
    ) * balance * np.eye(width)


def _iterated(snapshot, rows, centre, solve):
    """S of these samples, block by block of right-hand sides: solve((k, C, d + 1)) -> the same."""
    n, classes, width = shape_of(snapshot)
    rows = np.arange(n) if rows is None else rows
    found = np.empty((len(rows), classes * width), np.float32)
    for block in row_blocks(len(rows), size=_RIGHT):
        right = (
            errors(snapshot, rows[block])[:, :, None] * inputs(snapshot, rows[block])[:, None, :]
        )
        found[block] = joined_rows(solve(right - centre)) / n
    return found


def _cg(snapshot, damping, rows, centre, tolerance):
    first, second = (np.linalg.inv(factor) for factor in _kronecker(snapshot, damping))
    return _iterated(
        snapshot,
        rows,
        centre,
        lambda right: conjugate_gradients(
            lambda v: product_with(snapshot, v) + damping * v,
            right,
            precondition=lambda v: first @ v @ second,
            tolerance=tolerance,
        ),
    )


def _lissa(snapshot, damping, rows, centre, depth, batch_size, scale, rng):
    if rng is None:
        raise ValueError('method="lissa" draws batches: pass rng=, a seed or a numpy Generator')
    rng, n = np.random.default_rng(rng), snapshot.num_samples
    if scale is None:  # diag p - p p^T has no eigenvalue above 1/2
        longest = max((inputs(snapshot, part) ** 2).sum(1).max() for part in blocks_of(snapshot))
        scale = longest / 2 + damping

    def solve(right):
        batches = (rng.integers(0, n, batch_size) for _ in range(depth))
        with np.errstate(over="ignore", invalid="ignore"):
            x = lissa(
                lambda v, batch: product_with(snapshot, v, batch) + damping * v,
                right,
                batches=batches,
                scale=scale,
            )
        left_over = right[:8] - product_with(snapshot, x[:8]) - damping * x[:8]
        far.append(np.linalg.norm(left_over) / max(np.linalg.norm(right[:8]), np.finfo(float).tiny))
        return x

    far = []
    found = _iterated(snapshot, rows, centre, solve)
    if not np.isfinite(far).all():
        raise ArithmeticError(
            f"lissa diverged with scale {scale:g}: leave scale out, or take a larger one"
        )
    if max(far, default=0) > 0.1:
        warnings.warn(
            f"lissa left a residual of {max(far):.0%} of g after {depth} steps; it needs some "
            f"{scale / damping:,.0f} "
            '(scale / damping) and more, or method="exact" or "cg"',
            stacklevel=3,
        )
    return found


# ---- what is refused -----------------------------------------------------------------------------


def _check(snapshot, damping):
    require_kind(snapshot, Snapshot, "influence")
    shape = shape_of(snapshot)
    if isinstance(damping, bool) or not 0 < damping < np.inf:  # also NaN
        raise ValueError(
            f"damping must be above 0; got {damping}: a softmax Hessian is singular without it "
            "(the same vector added to the weights of every class changes no probability); try "
            "the weight decay of the training, 5e-4"
        )
    wrong = unfit_rows(snapshot.features)
    if len(wrong):
        raise ValueError(
            f"influence needs finite features; {len(wrong)} of {shape[0]} rows hold NaN or "
            f"infinity (first: row {wrong[0]}): the network diverged, so train it again at a lower "
            "rate"
        )
    return shape


def _check_rows(rows, n):
    if rows is None:
        return None
    rows = np.asarray(rows)
    if (
        rows.ndim != 1
        or rows.dtype.kind not in "iu"
        or (rows.size and not 0 <= rows.min() <= rows.max() < n)
    ):
        raise ValueError(
            f"rows must be row numbers in 0..{n - 1}; got shape {rows.shape} of {rows.dtype}"
        )
    return rows.astype(np.int64)


def _refuse_memory(plan, method):
    fitting = [
        name for name, count in plan.needed.items() if count <= plan.memory and name != method
    ]
    words = {
        "OuterVectors": "outer_influence(snapshot, damping=...), which never writes the vectors "
        "out",
        "cg": 'method="cg", slow for many rows',
    }
    ways = " or ".join(words.get(name, f'method="{name}"') for name in fitting)
    needed = _size(plan.needed["exact" if method == "auto" else method])
    raise ValueError(
        f"influence of {plan.parameters:,} parameters needs {needed} of memory and "
        f"{_size(plan.memory)} was allowed: {f'{ways} fits' if ways else 'pass fewer rows='}, or "
        "allow more with memory="
    )


def _size(count):
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
