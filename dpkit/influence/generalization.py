"""The generalisation bound of optimisation-based pruning, with the factor n in its place (Yang et
al., ICLR 2023, Theorem 1).

Taking D away, m of n samples, moves the parameters, to first order, by n / (n - m) times the sum of
S_i over D; of="sum", Koh & Liang's convention, by the sum itself, -(1/n) sum of I_param(z_i)
(dpkit.influence tells them apart). The test loss then moves by <grad L_test, shift>, which is at
most |shift| |grad L_test|. The paper's Theorem 1 supposes that |sum of I_param| <= epsilon, and
writes that bound as (epsilon / n) |grad L_test|; its Eq. 3 bounds |sum of S|, which carries the 1/n
already, so with the epsilon of Eq. 3 the bound is epsilon |grad L_test|. Both are the same number:
here the two epsilons have names of their own. The rest of Theorem 1, O(m / n^2), has an unknown
constant (a bound on the second derivative): only m / n^2 is told.
"""

from dataclasses import dataclass

import numpy as np

from dpkit.influence.hessian import join_rows, mean_gradient
from dpkit.influence.last_layer import mean_loss
from dpkit.records import Selection, Snapshot, require_kind
from dpkit.records.set_facts import SetFacts, check_fits
from dpkit.records.vectors import OuterVectors, check_vectors, shift_factor, sum_of


@dataclass(frozen=True, eq=False)
class Bound:
    """What Theorem 1 says of a Selection.

    num_samples, num_pruned:  n and m.
    epsilon_shift:            |shift|: Eq. 3's epsilon, in the unit of the parameters.
    epsilon_influence:        n |sum of S| = |sum of I_param| over the pruned: Theorem 1's epsilon.
    test_gradient:            |grad L_test| at the parameters as they are.
    first_order:              epsilon_shift |grad L_test|
                              = epsilon_influence / (n - m) |grad L_test| (/ n of="sum"),
                              in nats: the first term.
    predicted:                <grad L_test, shift>, in nats, with its sign: what the bound bounds.
    moved:                    L_test after the shift, minus L_test, in nats: no longer first order.
    second_order:             m / n^2, the second term but for its constant.
    """

    num_samples: int
    num_pruned: int
    epsilon_shift: float
    epsilon_influence: float
    test_gradient: float
    first_order: float
    predicted: float
    moved: float
    second_order: float


def predicted_shift(
    vectors: np.ndarray | OuterVectors, selection: Selection, *, of: str = "mean"
) -> np.ndarray:
    """How far the last layer moves when the PRUNED are taken away and the rest fitted again.

        shift = n / (n - m) * sum of S_i over the m pruned         of="mean"
        shift = sum of S_i over the m pruned                       of="sum"

    This is to first order.

    Parameters
    ----------
    vectors : (n, C d + C) influence vectors or OuterVectors of the training set.
    selection : of that set.
    of : the convention of the vectors, "mean" or "sum".

    Returns
    -------
    (C d + C,) float64, order [weight.flatten(), bias]: what fit_last_layer(..., of=of) finds, minus
    where it was.

    Raises
    ------
    ValueError for vectors of the other convention, a selection of another set, or one that keeps
    nothing of="mean".
    """
    vectors = check_vectors(vectors, "predicted_shift")
    require_kind(selection, Selection, "predicted_shift")
    n, pruned = len(vectors), selection.pruned
    if selection.num_samples != n:
        raise ValueError(
            f"selection is of {selection.num_samples} samples and there are {n} vectors: take both "
            "of one set"
        )
    factor = shift_factor(vectors, of)
    if of == "mean" and len(pruned) == n:
        raise ValueError(
            "the mean loss over the kept needs a sample that is kept; this selection prunes all "
            f"{n}"
        )
    total = sum_of(vectors, pruned)
    return factor(len(pruned)) * (
        join_rows(total[None])[0] if isinstance(vectors, OuterVectors) else total[0]
    )


def bound(
    vectors: np.ndarray | OuterVectors,
    selection: Selection,
    *,
    test: Snapshot,
    train: Snapshot | None = None,
    of: str = "mean",
) -> Bound:
    """The quantities of Theorem 1 for this Selection.

    What was measured after refitting or retraining is set beside them.

    Parameters
    ----------
    vectors, selection, of : as for predicted_shift.
    test : Snapshot of the same network on the test set, with features.
    train : the Snapshot that the vectors were made of. Of a network that make_net made,
        take_snapshot has aligned both sets.

    Returns
    -------
    Bound.

    Raises
    ------
    ValueError if `train` is given and both sets do not have the same classes and normalisation; if
    the test snapshot has no features, or is of another network.
    """
    shift = predicted_shift(vectors, selection, of=of)
    require_kind(test, Snapshot, "bound")
    if train is not None:
        require_kind(train, Snapshot, "bound")
        check_fits(SetFacts.of_snapshot(train), SetFacts.of_snapshot(test), "bound")
    if test.features is None:
        raise ValueError(
            "bound reads the test set's features, and this Snapshot kept none: pass "
            "take_snapshot(net, test)"
        )
    gradient = join_rows(mean_gradient(test)[None])[0]
    if gradient.shape != shift.shape:
        raise ValueError(
            f"the vectors have {len(shift)} parameters and the test snapshot's last layer "
            f"{len(gradient)}: take both of one network"
        )
    n, m = selection.num_samples, len(selection.pruned)
    length, steep = float(np.linalg.norm(shift)), float(np.linalg.norm(gradient))
    return Bound(
        n,
        m,
        length,
        length * (n - m if of == "mean" else n),
        steep,
        length * steep,
        float(gradient @ shift),
        mean_loss(test, shift=shift) - mean_loss(test),
        m / n**2,
    )
