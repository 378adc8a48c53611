"""The last layer as a problem of its own: softmax regression on features, fitted to its minimum.

theta, a weight (C, d) and a bias (C,), minimises over the k that are KEPT of n samples

    J(theta) = 1/k sum of L_i + damping/2 |theta|^2      of="mean": the paper's Definition 1, and
                                                         what every retraining does
    J(theta) = 1/n sum of L_i + damping/2 |theta|^2      of="sum": a sample that goes takes 1/n of
                                                         its loss with it, and the weight decay
                                                         counts for more the more have gone
                                                         (Koh & Liang)

influence_vectors predicts either. Parameters are in one row, in the order [weight.flatten(), bias].
"""

from dataclasses import replace

import numpy as np
from scipy.special import log_softmax, softmax

from dpkit.influence.hessian import inputs, join_rows, split_rows
from dpkit.records import Selection, Snapshot, require_kind
from dpkit.records.vectors import check_convention
from dpkit.storage.blocks import row_blocks


def fit_last_layer(
    snapshot: Snapshot,
    *,
    damping: float,
    selection: Selection | None = None,
    of: str = "mean",
    tolerance: float = 1e-9,
) -> np.ndarray:
    """theta, the minimiser of J (see this module's docstring), by scikit-learn's Newton method.

    The bias is damped as the weights are.

    Parameters
    ----------
    snapshot : features (n, d) and labels (n,); its probs are not read.
    damping : above 0, as for influence_vectors.
    selection : fit only what it keeps (default: all).
    of : "mean" | "sum", what the kept losses are divided by; without a selection both are the same.
    tolerance : the largest |dJ / dtheta_k| left, in units of k damping (n damping of="sum").

    Returns
    -------
    (C d + C,) float64, order [weight.flatten(), bias].

    Raises
    ------
    ValueError if a class has no sample among the kept: its weights would have no minimum to go to
    but the others'.
    """
    from sklearn.linear_model import LogisticRegression  # a second of imports

    require_kind(snapshot, Snapshot, "fit_last_layer")
    if snapshot.features is None:
        raise ValueError(
            "fit_last_layer reads features, and this Snapshot kept none: pass take_snapshot(net, "
            "images)"
        )
    if not 0 < damping < np.inf:
        raise ValueError(
            f"damping must be above 0; got {damping}: without it the minimum may lie at infinity"
        )
    check_convention(of)
    n, classes = snapshot.num_samples, snapshot.num_classes
    rows = np.arange(n) if selection is None else _rows_of(selection, n)
    lacking = np.setdiff1d(np.arange(classes), snapshot.labels[rows])
    if len(lacking):
        raise ValueError(
            f"every class needs a sample among the kept; class {lacking[0]} has none: keep more, "
            "or by class"
        )
    count = len(rows) if of == "mean" else n
    # of two classes scikit-learn fits the difference w of the weights, w/2 and -w/2, whose squares
    # add up to half of |w|^2
    solver = LogisticRegression(
        C=(2 if classes == 2 else 1) / (count * damping),
        fit_intercept=False,
        solver="newton-cholesky",
        tol=tolerance,
        max_iter=200,
    )
    fitted = solver.fit(inputs(snapshot, rows), snapshot.labels[rows]).coef_
    weights = np.vstack([-fitted, fitted]) / 2 if classes == 2 else fitted
    return join_rows(weights[None])[0]


def with_last_layer(snapshot: Snapshot, theta: np.ndarray) -> Snapshot:
    """The snapshot of the same features under another last layer.

    Parameters
    ----------
    snapshot : with features (n, d).
    theta : (C d + C,), order [weight.flatten(), bias].

    Returns
    -------
    Snapshot with probs (1, n, C) anew, of that exit alone.
    """
    n, classes = snapshot.num_samples, snapshot.num_classes
    matrix = _matrix(snapshot, theta)
    probs = np.empty((1, n, classes), np.float32)
    for rows in row_blocks(n, snapshot.features, size=4096):
        probs[0, rows] = softmax(inputs(snapshot, rows) @ matrix.T, axis=1)
    return replace(snapshot, probs=probs)


def mean_loss(snapshot: Snapshot, *, shift: np.ndarray | None = None) -> float:
    """Mean cross-entropy at the final exit, in nats.

    With `shift` (C d + C,), after the last layer has moved by it. Logits are read from the
    probabilities, up to a constant that changes nothing: log p + shift h~. A probability that
    float32 has rounded to 0 counts as the smallest that it can hold, 1e-45.
    """
    total, matrix = 0.0, None if shift is None else _matrix(snapshot, shift)
    for rows in row_blocks(snapshot.num_samples, snapshot.features, snapshot.probs, size=4096):
        logits = np.log(np.maximum(snapshot.probs[-1][rows].astype(np.float64), 1e-45))
        if matrix is not None:
            logits = logits + inputs(snapshot, rows) @ matrix.T
        total -= np.take_along_axis(
            log_softmax(logits, axis=1), snapshot.labels[rows][:, None], axis=1
        ).sum()
    return float(total / snapshot.num_samples)


def _matrix(snapshot, theta):
    """(C d + C,) -> (C, d + 1)."""
    if snapshot.features is None:
        raise ValueError(
            "a last layer reads features, and this Snapshot kept none: pass take_snapshot(net, "
            "images)"
        )
    classes, width = snapshot.num_classes, snapshot.features.shape[1]
    theta = np.asarray(theta, np.float64)
    if theta.shape != (classes * width + classes,):
        raise ValueError(
            f"the last layer of {classes} classes and {width} features has "
            f"{classes * width + classes} parameters, [weight.flatten(), bias]; got shape "
            f"{theta.shape}"
        )
    return split_rows(theta[None], classes, width + 1)[0]


def _rows_of(selection, n):
    require_kind(selection, Selection, "fit_last_layer")
    if selection.num_samples != n:
        raise ValueError(
            f"selection is of {selection.num_samples} samples and the snapshot of {n}: take both "
            "of one set"
        )
    return selection.kept
