"""The ways to S = H^-1 (g - centre) / n of some rows of a snapshot; see `influence_vectors`."""

import warnings

import numpy as np

from dpkit.influence.hessian import (
    blocks_of,
    errors,
    gradients,
    inputs,
    join_rows,
    lower_hessian,
    product_with,
    shape_of,
)
from dpkit.influence.solvers import conjugate_gradients, lissa
from dpkit.records import Snapshot
from dpkit.storage.blocks import row_blocks
from dpkit.storage.long_work import LongWork

ROWS_AT_ONCE = 2048  # samples looked at together
RIGHT_SIDES = 64  # right-hand sides that cg and lissa solve for together


def exact(
    snapshot: Snapshot, damping: float, rows: np.ndarray, centre: np.ndarray | float, work: LongWork
) -> np.ndarray:
    # a quarter of a second, for whoever lists the methods
    from scipy.linalg import cho_factor, cho_solve

    n, classes, width = shape_of(snapshot)
    # a sample of the Hessian takes half the arithmetic of a row of the solution
    share = work.total / (n + 2 * len(rows))

    def hear(samples):
        work.add(samples * share)

    try:
        hessian = lower_hessian(snapshot, damping, hear)
        factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"the Hessian is singular to working precision with damping {damping:g}, as a softmax "
            "Hessian is without damping: take more, e.g. the weight decay of the training, 5e-4"
        ) from None
    found = np.empty((len(rows), classes * width), np.float32)
    away = join_rows(centre[None])[0] if isinstance(centre, np.ndarray) else centre
    for block in row_blocks(len(rows), snapshot.features, snapshot.probs, size=ROWS_AT_ONCE):
        right = gradients(snapshot, rows[block]) - away
        found[block] = cho_solve(factor, right.T, overwrite_b=True, check_finite=False).T / n
        hear(2 * len(right))
    return found


def kronecker_factors(snapshot: Snapshot, damping: float) -> tuple[np.ndarray, np.ndarray]:
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
    first += np.sqrt(damping) / balance * np.eye(classes)
    second += np.sqrt(damping) * balance * np.eye(width)
    return first, second


def _iterated(snapshot, rows, centre, solve, work):
    """S of these samples, block by block of right-hand sides: solve((k, C, d + 1)) -> the same."""
    n, classes, width = shape_of(snapshot)
    found = np.empty((len(rows), classes * width), np.float32)
    for block in row_blocks(len(rows), size=RIGHT_SIDES):
        right = (
            errors(snapshot, rows[block])[:, :, None] * inputs(snapshot, rows[block])[:, None, :]
        )
        found[block] = join_rows(solve(right - centre)) / n
        work.add(work.total * len(right) / len(rows))
    return found


def by_cg(
    snapshot: Snapshot,
    damping: float,
    rows: np.ndarray,
    centre: np.ndarray | float,
    tolerance: float,
    work: LongWork,
) -> np.ndarray:
    first, second = (np.linalg.inv(factor) for factor in kronecker_factors(snapshot, damping))
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
        work,
    )


def by_lissa(
    snapshot: Snapshot,
    damping: float,
    rows: np.ndarray,
    centre: np.ndarray | float,
    depth: int,
    batch_size: int,
    scale: float | None,
    rng: int | np.random.Generator | None,
    work: LongWork,
) -> np.ndarray:
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

    far: list[float] = []
    found = _iterated(snapshot, rows, centre, solve, work)
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
