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

import numpy as np

from dpkit.influence._ways import by_cg, by_lissa, exact, kronecker_factors
from dpkit.influence.hessian import blocks_of, errors, inputs, mean_gradient, shape_of
from dpkit.influence.plans import choose_method, plan_influence, seconds_needed
from dpkit.records import Snapshot, require_kind
from dpkit.records.vectors import OuterVectors, check_convention
from dpkit.storage.blocks import unfit_rows
from dpkit.storage.long_work import LongWork

METHODS = ("auto", "exact", "cg", "kronecker", "lissa")


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
    chosen = choose_method(plan, method)
    if chosen == "kronecker":
        outer = outer_influence(snapshot, damping=damping, of=of)
        return outer.dense(slice(None) if rows is None else rows)
    rows = np.arange(n) if rows is None else rows
    seconds = seconds_needed(plan, n, len(rows), depth * batch_size)[chosen]
    work = LongWork(
        f"influence of {n:,} samples by {chosen}",
        seconds=seconds,
        memory=plan.needed.get(chosen, 0.0),
    )
    centre = mean_gradient(snapshot) if of == "mean" else 0.0
    if chosen == "exact":
        return exact(snapshot, damping, rows, centre, work)
    if chosen == "lissa":
        return by_lissa(snapshot, damping, rows, centre, depth, batch_size, scale, rng, work)
    return by_cg(snapshot, damping, rows, centre, tolerance, work)


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
    inverse = [np.linalg.inv(factor) for factor in kronecker_factors(snapshot, damping)]
    left, right = (np.empty((n, len(part)), np.float32) for part in inverse)
    for rows in blocks_of(snapshot):
        left[rows], right[rows] = (
            errors(snapshot, rows) @ inverse[0] / n,
            inputs(snapshot, rows) @ inverse[1],
        )
    return OuterVectors(
        left, right, inverse[0] @ mean_gradient(snapshot) @ inverse[1] / n if of == "mean" else None
    )


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
