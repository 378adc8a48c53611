"""The generalisation bound of optimisation-based pruning, with the factor n in its place (Yang et al., ICLR 2023, Theorem 1).

Taking D away moves the parameters, to first order, by sum of S_i over D = -(1/n) sum of I_param(z_i). The test loss then
moves by <grad L_test, sum of S>, which is at most |sum of S| |grad L_test|. The paper's Theorem 1 supposes that
|sum of I_param| <= epsilon, and writes that bound as (epsilon / n) |grad L_test|; its Eq. 3 bounds |sum of S|, which carries
the 1/n already, so with the epsilon of Eq. 3 the bound is epsilon |grad L_test|. Both are the same number: here the two
epsilons have names of their own. The rest of Theorem 1, O(m / n^2), has an unknown constant (a bound on the second
derivative): only m / n^2 is told.
"""

from dataclasses import dataclass

import numpy as np

from dpkit.curvature import errors, inputs, joined_rows
from dpkit.last_layer import mean_loss
from dpkit.records import Selection, Snapshot, require_kind
from dpkit.vectors import OuterVectors, check_vectors, sum_of


@dataclass(frozen=True, eq=False)
class Bound:
    """What Theorem 1 says of a Selection.

    num_samples, num_pruned:  n and m.
    epsilon_shift:            |sum of S| over the pruned: Eq. 3's epsilon, in the unit of the parameters.
    epsilon_influence:        |sum of I_param| = n |sum of S|: Theorem 1's epsilon.
    test_gradient:            |grad L_test| at the parameters as they are.
    first_order:              (epsilon_influence / n) |grad L_test| = epsilon_shift |grad L_test|, in nats: the first term.
    predicted:                <grad L_test, sum of S>, in nats, with its sign: what the bound bounds.
    moved:                    L_test after a shift by sum of S, minus L_test, in nats: no longer first order.
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


def bound(vectors, selection: Selection, *, test: Snapshot) -> Bound:
    """The quantities of Theorem 1 for this Selection; what was measured after refitting or retraining is set beside them.

    vectors:   (n, C d + C) influence vectors or OuterVectors of the training set.
    selection: of that set; what it PRUNES is summed up.
    test:      Snapshot of the same network on the test set, with features.
    """
    vectors = check_vectors(vectors, "bound")
    require_kind(selection, Selection, "bound")
    require_kind(test, Snapshot, "bound")
    n, pruned = len(vectors), selection.pruned
    if selection.num_samples != n:
        raise ValueError(f"selection is of {selection.num_samples} samples and there are {n} vectors: take both of one set")
    if test.features is None:
        raise ValueError("bound reads the test set's features, and this Snapshot kept none: pass take_snapshot(net, test)")
    outer = isinstance(vectors, OuterVectors)
    shift = sum_of(vectors, pruned)
    shift = joined_rows(shift[None])[0] if outer else shift[0]
    gradient = joined_rows((errors(test).T @ inputs(test) / test.num_samples)[None])[0]
    if gradient.shape != shift.shape:
        raise ValueError(f"the vectors have {len(shift)} parameters and the test snapshot's last layer {len(gradient)}: take "
                         "both of one network")
    length, steep = float(np.linalg.norm(shift)), float(np.linalg.norm(gradient))
    return Bound(n, len(pruned), length, n * length, steep, length * steep, float(gradient @ shift),
                 mean_loss(test, shift=shift) - mean_loss(test), len(pruned) / n**2)
