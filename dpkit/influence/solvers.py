"""Two ways to solve H x = g for many g at once when H is known only by products with vectors."""

from collections.abc import Callable, Iterable

import numpy as np


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    rhs: np.ndarray,
    *,
    precondition: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    most: int = 1000,
) -> np.ndarray:
    """Solve H x = g for every row g of `rhs` (k, ...), each with its own step lengths; all share
    the passes over the data.

    product, precondition: (k, ...) -> (k, ...), H times every row and an approximation of its
        inverse, both symmetric and positive. Rows that are done leave. ArithmeticError if a
        residual is still above tolerance |g| after `most` passes.
    """
    k = len(rhs)
    x, residual = np.zeros((k, rhs[0].size if k else 0)), rhs.reshape(k, -1).copy()
    goal = tolerance * np.linalg.norm(residual, axis=1)
    shape = rhs.shape[1:]

    def applied(function, rows):
        return function(rows.reshape(-1, *shape)).reshape(len(rows), -1)

    alive = np.flatnonzero(np.linalg.norm(residual, axis=1) > goal)
    z = applied(precondition, residual[alive]) if len(alive) else residual[alive]
    direction, rho = z.copy(), np.einsum("kp,kp->k", residual[alive], z)
    for _ in range(most):
        if not len(alive):
            return x.reshape(rhs.shape)
        moved = applied(product, direction)
        length = (rho / np.einsum("kp,kp->k", direction, moved))[:, None]
        x[alive] += length * direction
        residual[alive] -= length * moved
        open_ = np.linalg.norm(residual[alive], axis=1) > goal[alive]
        alive, direction, rho = alive[open_], direction[open_], rho[open_]
        if len(alive):
            z = applied(precondition, residual[alive])
            fresh = np.einsum("kp,kp->k", residual[alive], z)
            direction, rho = z + (fresh / rho)[:, None] * direction, fresh
    if len(alive):
        far = (np.linalg.norm(residual[alive], axis=1) / goal[alive]).max() * tolerance
        raise ArithmeticError(
            f"conjugate gradients are {far:.1g} from the solution after {most} passes, and "
            f"{tolerance:g} was asked for: take more damping or a larger tolerance"
        )
    return x.reshape(rhs.shape)


def lissa(product: Callable, rhs: np.ndarray, *, batches: Iterable, scale: float) -> np.ndarray:
    """The recursion of LiSSA (Agarwal, Bullins & Hazan, 2016) for every row g of `rhs`:  x <- x +
    (g - H_b x) / scale.

    product: (rhs-shaped, batch) -> H_b times every row, H_b of that batch.
    batches: what to go through, one a step.
    Its mean is the truncated series of H^-1 g; it converges where scale exceeds every eigenvalue of
    every H_b, and is near its limit only after many times scale / (the smallest eigenvalue) steps.
    """
    x = rhs / scale
    for batch in batches:
        x += (rhs - product(x, batch)) / scale
    return x
