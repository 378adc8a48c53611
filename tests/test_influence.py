"""Influence of every sample against autograd, dense algebra and true refits of a small convex
problem.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dpkit import (
    OuterVectors,
    Selection,
    Snapshot,
    influence_norm,
    influence_vectors,
    outer_influence,
    plan_influence,
    predicted_shift,
)
from dpkit.influence.hessian import gradients, hessian, hessian_product
from dpkit.influence.last_layer import fit_last_layer, mean_loss, with_last_layer
from dpkit.records import TrainingDynamics

DAMPING = 1e-2


def made_up(n=60, width=5, classes=3, seed=0):
    """(Snapshot, theta): random features and labels under a random last layer, theta in the order
    [weight.flatten(), bias].
    """
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=classes * width + classes)
    blank = Snapshot(
        np.full((1, n, classes), 1 / classes),
        rng.normal(size=(n, width)),
        rng.integers(0, classes, n),
    )
    return with_last_layer(blank, theta), theta


def losses(snapshot, theta):
    """Every sample's loss under theta, by torch. (n,) float64."""
    classes, width = snapshot.num_classes, snapshot.features.shape[1]
    weight, bias = theta[: classes * width].reshape(classes, width), theta[classes * width :]
    logits = torch.tensor(snapshot.features).double() @ weight.T + bias
    return F.cross_entropy(logits, torch.tensor(snapshot.labels), reduction="none")


@pytest.fixture(scope="module")
def digits():
    """Snapshot of 240 digits, their last layer (8 x 8 pixels -> 10 classes) at its minimum, and
    theta there.
    """
    pixels, labels = load_digits(return_X_y=True)
    blank = Snapshot(np.full((1, 240, 10), 0.1), pixels[:240, 20:44] / 16, labels[:240])
    theta = fit_last_layer(blank, damping=DAMPING)
    return with_last_layer(blank, theta), theta


def test_gradients_and_hessian_are_those_of_autograd():
    snapshot, theta = made_up()
    theta = torch.from_numpy(theta)
    np.testing.assert_allclose(
        gradients(snapshot),
        torch.autograd.functional.jacobian(lambda t: losses(snapshot, t), theta),
        atol=1e-6,
    )
    dense = torch.autograd.functional.hessian(lambda t: losses(snapshot, t).mean(), theta)
    np.testing.assert_allclose(hessian(snapshot), dense, atol=1e-7)
    np.testing.assert_allclose(
        hessian(snapshot, damping=0.5), dense + 0.5 * torch.eye(len(theta)), atol=1e-7
    )


def test_products_with_the_hessian_are_those_of_the_dense_matrix():
    snapshot, theta = made_up(n=300, width=7, classes=4)
    vectors = np.random.default_rng(1).normal(size=(5, len(theta)))
    expected = vectors @ hessian(snapshot, damping=0.1)
    np.testing.assert_allclose(
        hessian_product(snapshot, vectors, damping=0.1), expected, atol=1e-12
    )


def test_one_sample_by_hand():
    probs, h = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[1.0], [2.0]])
    snapshot = Snapshot(probs[None], h, np.array([0, 1]))
    # g_0 = (p - onehot) (x) [h, 1] with p - onehot = (-.2, .2): weights -.2 and .2, biases -.2 and
    # .2
    np.testing.assert_allclose(gradients(snapshot, [0])[0], [-0.2, 0.2, -0.2, 0.2], atol=1e-7)
    # both p (1 - p) are .16 and .24; over [h, 1] [h, 1]^T their mean is .5 (.16 [1 1; 1 1] + .24 [4
    # 2; 2 1])
    block = 0.5 * (0.16 * np.ones((2, 2)) + 0.24 * np.array([[4, 2], [2, 1]]))
    np.testing.assert_allclose(hessian(snapshot)[np.ix_([0, 2], [0, 2])], block, atol=1e-7)
    np.testing.assert_allclose(hessian(snapshot)[np.ix_([0, 2], [1, 3])], -block, atol=1e-7)
    # along (-1, 1) (x) v the Hessian acts as 2 block, so S_0 = (-1, 1) (x) (2 block + damping)^-1
    # .2 [1, 1] / n
    v = np.linalg.solve(2 * block + 0.1 * np.eye(2), [0.2, 0.2]) / 2
    first = influence_vectors(snapshot, damping=0.1, of="sum")
    np.testing.assert_allclose(first[0], [-v[0], v[0], -v[1], v[1]], rtol=1e-5)
    # of two samples each takes half of the other's away: S_0 - (S_0 + S_1) / 2
    np.testing.assert_allclose(
        influence_vectors(snapshot, damping=0.1)[0], (first[0] - first[1]) / 2, rtol=1e-5
    )


@pytest.mark.parametrize("of", ["mean", "sum"])
def test_influence_is_what_a_refit_without_the_sample_finds(digits, of):
    snapshot, theta = digits
    predicted = influence_vectors(snapshot, damping=DAMPING, of=of)
    rows = range(0, 240, 12)
    without = [Selection(np.delete(np.arange(240), i), 240, "one out") for i in rows]
    measured = [
        fit_last_layer(snapshot, damping=DAMPING, selection=selection, of=of) - theta
        for selection in without
    ]
    assert np.corrcoef(predicted[rows].ravel(), np.ravel(measured))[0, 1] > 0.99
    slope = (predicted[rows] * measured).sum() / (predicted[rows] ** 2).sum()
    # right in size too; a little short, as the Hessian still holds the sample that goes
    assert 1 < slope < 1.1


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def moved(snapshot, theta, damping, selection, of):
    """(predicted, measured) shift of the last layer when all but the selection goes."""
    vectors = influence_vectors(snapshot, damping=damping, of=of)
    return (
        predicted_shift(vectors, selection, of=of),
        fit_last_layer(snapshot, damping=damping, selection=selection, of=of) - theta,
    )


@pytest.mark.parametrize("gone", [12, 60, 120])
def test_each_convention_predicts_its_own_refit_of_a_group_and_not_the_others(digits, gone):
    snapshot, theta = digits
    rest = Selection(np.arange(gone, 240), 240, "a group")
    (mean, mean_refit), (total, sum_refit) = (
        moved(snapshot, theta, DAMPING, rest, of) for of in ("mean", "sum")
    )
    assert min(cosine(mean, mean_refit), cosine(total, sum_refit)) > 0.94
    assert max(cosine(total, mean_refit), cosine(mean, sum_refit)) < (0.97 if gone == 12 else 0.8)
    assert 1 < np.linalg.norm(mean_refit) / np.linalg.norm(mean) < 1.3  # in size too
    # a loss that is still divided by n also shrinks the layer, the more the more have gone
    assert cosine(sum_refit, theta) < min(-0.2, cosine(mean_refit, theta) - 0.1)


def test_copies_of_a_set_go_without_moving_the_mean_and_not_without_moving_the_sum():
    once, _ = made_up(n=40)
    twice = Snapshot(
        np.tile(once.probs, (1, 2, 1)), np.tile(once.features, (2, 1)), np.tile(once.labels, 2)
    )
    theta = fit_last_layer(twice, damping=DAMPING)
    twice, half = with_last_layer(twice, theta), Selection(np.arange(40), 80, "every image once")
    mean, mean_refit = moved(twice, theta, DAMPING, half, "mean")
    total, sum_refit = moved(twice, theta, DAMPING, half, "sum")
    assert max(np.linalg.norm(mean), np.linalg.norm(mean_refit)) < 1e-5
    assert min(np.linalg.norm(total), np.linalg.norm(sum_refit)) > 0.05 * np.linalg.norm(theta)


@pytest.mark.parametrize(
    "more",
    [{}, {"method": "cg"}, {"method": "kronecker"}, {"method": "lissa", "rng": 0, "depth": 300}],
)
def test_vectors_of_the_mean_add_up_to_zero_and_are_those_of_the_sum_less_their_mean(more):
    snapshot, _ = made_up(n=200)
    mean, total = (
        influence_vectors(snapshot, damping=0.1, of=of, **more).astype(float)
        for of in ("mean", "sum")
    )
    # each block of right-hand sides has its own batches
    near = 0.05 if more.get("method") == "lissa" else 1e-4
    assert np.linalg.norm(mean.sum(0)) < near * np.linalg.norm(mean) and np.linalg.norm(
        total.sum(0)
    ) > np.linalg.norm(mean)
    assert np.linalg.norm(mean - (total - total.mean(0))) < near * np.linalg.norm(mean)
    np.testing.assert_allclose(
        influence_vectors(snapshot, damping=0.1, rows=[5, 190], **more)[0],
        mean[5],
        atol=near * np.abs(mean).max(),
    )


def test_without_weight_decay_both_conventions_are_alike_but_for_the_factor():
    snapshot, _ = made_up(n=400, classes=2)
    theta = fit_last_layer(snapshot, damping=1e-7)
    at = with_last_layer(snapshot, theta)
    mean, total = (influence_vectors(at, damping=1e-3, of=of) for of in ("mean", "sum"))
    assert np.linalg.norm(mean - total) < 1e-3 * np.linalg.norm(total)


@pytest.mark.parametrize("damping", [1e-1, 1e-3])
def test_conjugate_gradients_agree_with_the_exact_solution(digits, damping):
    exact = influence_vectors(digits[0], damping=damping, method="exact")
    found = influence_vectors(digits[0], damping=damping, method="cg", rows=np.arange(0, 240, 5))
    assert np.linalg.norm(found - exact[::5]) < 1e-4 * np.linalg.norm(exact[::5])


def test_exact_is_the_dense_inverse_and_a_tenth_of_the_rows_a_tenth_of_the_answer():
    snapshot, theta = made_up()
    centred = gradients(snapshot) - gradients(snapshot).mean(0)
    dense = centred @ np.linalg.inv(hessian(snapshot, damping=0.01)) / 60
    found = influence_vectors(snapshot, damping=0.01)
    assert found.dtype == np.float32 and found.shape == (60, len(theta))
    np.testing.assert_allclose(found, dense, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(
        influence_vectors(snapshot, damping=0.01, rows=[7, 3]), found[[7, 3]]
    )


def test_lissa_comes_near_where_it_has_steps_enough_and_says_so_where_not():
    snapshot, _ = made_up()
    exact = influence_vectors(snapshot, damping=0.3)
    near, again = (
        influence_vectors(snapshot, damping=0.3, method="lissa", rng=0, depth=500) for _ in range(2)
    )
    assert np.linalg.norm(near - exact) < 0.1 * np.linalg.norm(exact)
    np.testing.assert_array_equal(near, again)
    with pytest.warns(UserWarning, match="lissa left a residual of"):
        influence_vectors(snapshot, damping=1e-3, method="lissa", rng=0, depth=20)
    with pytest.raises(ArithmeticError, match="diverged with scale 0.01"):
        influence_vectors(snapshot, damping=0.3, method="lissa", rng=0, depth=2000, scale=0.01)


def test_the_kronecker_way_is_exact_where_all_probabilities_are_alike():
    snapshot, _ = made_up()
    alike = Snapshot(
        np.broadcast_to([0.5, 0.3, 0.2], (1, 60, 3)), snapshot.features, snapshot.labels
    )
    # H is then A (x) B truly. Along the directions that it does not see damping alone decides: only
    # the others are compared
    outer, exact = (
        vectors @ hessian(alike)
        for vectors in (
            outer_influence(alike, damping=1e-7).dense(),
            influence_vectors(alike, damping=1e-7),
        )
    )
    assert np.linalg.norm(outer - exact) < 0.01 * np.linalg.norm(exact)


def test_the_kronecker_way_needs_memory_for_its_factors_only():
    snapshot, _ = made_up(n=300, width=7, classes=4)
    outer = outer_influence(snapshot, damping=0.1)
    assert (outer.left.shape, outer.right.shape) == ((300, 4), (300, 8))
    dense = influence_vectors(snapshot, damping=0.1, method="kronecker")
    np.testing.assert_array_equal(dense, outer.dense())
    exact = influence_vectors(snapshot, damping=0.1)
    # an approximation, and not the exact one in disguise
    assert 0.9 < np.corrcoef(dense.ravel(), exact.ravel())[0, 1] < 0.9999
    weight, bias = outer.dense([5])[0, :28].reshape(4, 7), outer.dense([5])[0, 28:]
    np.testing.assert_allclose(
        np.column_stack([weight, bias]),
        np.outer(outer.left[5], outer.right[5]) - outer.centre,
        rtol=1e-4,
        atol=1e-7,
    )


def test_influence_norm_is_the_length_of_the_vector_written_out_or_not():
    rng = np.random.default_rng(0)
    for centre in (None, rng.normal(size=(3, 6))):
        outer = OuterVectors(rng.normal(size=(20, 3)), rng.normal(size=(20, 6)), centre)
        scores = influence_norm(outer)
        assert scores.name == "influence_norm"
        np.testing.assert_allclose(scores.values, np.linalg.norm(outer.dense(), axis=1), rtol=1e-6)
        np.testing.assert_allclose(scores.values, influence_norm(outer.dense()).values, rtol=1e-6)
    assert influence_norm(np.array([[3.0, 4.0], [0.0, 0.0]])).values.tolist() == [5, 0]


def test_the_plan_is_exact_until_memory_ends():
    # 10,000 parameters: 800 MB and blocks
    wide = Snapshot(np.full((1, 50, 100), 0.01), np.ones((50, 99)), np.zeros(50, int))
    assert plan_influence(wide).method == "exact"
    assert str(plan_influence(wide)).startswith(
        "exact: 10,000 parameters in 8.0 GB of memory (needed: exact 0.8 GB"
    )
    assert plan_influence(wide, memory=1e8).method == "kronecker"
    assert plan_influence(wide, memory=1e5).method == "none"


def test_auto_says_so_where_it_cannot_be_exact():
    snapshot, _ = made_up(n=40, width=30, classes=10)
    needed = plan_influence(snapshot).needed
    assert needed["kronecker"] < needed["exact"]
    with pytest.warns(
        UserWarning,
        match='influence by the kronecker approximation, as "exact" needs .* pass a larger memory=',
    ):
        found = influence_vectors(snapshot, damping=0.1, memory=needed["exact"] - 1)
    np.testing.assert_array_equal(
        found, influence_vectors(snapshot, damping=0.1, method="kronecker")
    )


def test_the_loss_after_a_shift_is_the_loss_of_the_shifted_layer():
    snapshot, theta = made_up()
    shift = 0.1 * np.random.default_rng(2).normal(size=len(theta))
    for moved, expected in ((None, theta), (shift, theta + shift)):
        assert (
            abs(
                mean_loss(snapshot, shift=moved)
                - losses(snapshot, torch.from_numpy(expected)).mean().item()
            )
            < 1e-6
        )


def test_the_last_layer_is_fitted_to_its_minimum_for_two_classes_too(digits):
    snapshot, theta = digits
    np.testing.assert_allclose(gradients(snapshot).mean(0) + DAMPING * theta, 0, atol=1e-7)
    two, _ = made_up(classes=2)
    theta = fit_last_layer(two, damping=0.05)
    np.testing.assert_allclose(
        gradients(with_last_layer(two, theta)).mean(0) + 0.05 * theta, 0, atol=1e-7
    )


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda s: influence_vectors(s, damping=0),
            "damping must be above 0; got 0: a softmax Hessian is singular.*5e-4",
        ),
        (lambda s: influence_vectors(s, damping=float("nan")), "damping must be above 0; got nan"),
        (
            lambda s: influence_vectors(s, damping=1e-30),
            "singular to working precision with damping 1e-30.*take more",
        ),
        (
            lambda s: influence_vectors(s, damping=0.1, method="exat"),
            "method must be one of auto, exact, cg.*got 'exat'",
        ),
        (lambda s: influence_vectors(s, damping=0.1, method="lissa"), "draws batches: pass rng="),
        (
            lambda s: influence_vectors(s, damping=0.1, of="total"),
            'of must be "mean" .* or "sum" .*; got \'total\'',
        ),
        (lambda s: outer_influence(s, damping=0.1, of=None), 'of must be "mean"'),
        (lambda s: fit_last_layer(s, damping=0.1, of="n"), 'of must be "mean"'),
        (
            lambda s: predicted_shift(
                influence_vectors(s, damping=0.1, of="sum"), Selection(np.arange(30), 60, "half")
            ),
            (
                'vectors of="mean" add up to zero over all samples; .* pass of="sum" if they are '
                "of that convention"
            ),
        ),
        (
            lambda s: predicted_shift(
                influence_vectors(s, damping=0.1), Selection(np.arange(0), 60, "none")
            ),
            "prunes all 60",
        ),
        (
            lambda s: influence_vectors(s, damping=0.1, rows=[60]),
            r"rows must be row numbers in 0..59",
        ),
        (
            lambda s: influence_vectors(s, damping=0.1, method="exact", memory=1000),
            (
                "influence of 18 parameters needs .* MB of memory and 0.0 MB was allowed: pass "
                "fewer rows=, or allow more with memory="
            ),
        ),
        (
            lambda s: influence_vectors(Snapshot(s.probs, None, s.labels), damping=0.1),
            "kept none: pass take_snapshot",
        ),
        (
            lambda s: outer_influence(
                Snapshot(s.probs, np.where(s.features > 2, np.nan, s.features), s.labels),
                damping=0.1,
            ),
            "influence needs finite features; . of 60 rows",
        ),
        (
            lambda s: influence_norm(np.full((3, 2), np.nan)),
            "influence_norm needs finite vectors; 3 of 3 rows",
        ),
        (
            lambda s: influence_norm(np.zeros(3)),
            r"needs vectors \(n, p\), a row per sample; got shape \(3,\)",
        ),
        (
            lambda s: OuterVectors(np.zeros((3, 2)), np.zeros((4, 2))),
            r"a row per sample; got \(3, 2\) and \(4, 2\)",
        ),
        (
            lambda s: OuterVectors(np.zeros((3, 2)), np.zeros((3, 4)), np.zeros((4, 2))),
            r"centre of shape \(2, 4\).*got \(4, 2\)",
        ),
        (lambda s: fit_last_layer(s, damping=0), "damping must be above 0"),
        (
            lambda s: fit_last_layer(
                s, damping=0.1, selection=Selection(np.flatnonzero(s.labels), 60, "x")
            ),
            "class 0 has none",
        ),
        (lambda s: with_last_layer(s, np.zeros(17)), "has 18 parameters.*got shape .17,."),
    ],
)
def test_bad_input_is_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(made_up()[0])


def test_memory_that_does_not_suffice_names_the_way_that_fits():
    snapshot, _ = made_up(n=40, width=30, classes=10)
    needed = plan_influence(snapshot).needed
    with pytest.raises(
        ValueError, match='method="kronecker" or outer_influence.* fits, or allow more with memory='
    ):
        influence_vectors(snapshot, damping=0.1, method="exact", memory=needed["kronecker"])


def test_dynamics_are_no_snapshot():
    wrong = TrainingDynamics(
        np.full((3, 2), 0.5), np.zeros((3, 2)), np.ones((3, 2), bool), np.zeros(3, int)
    )
    with pytest.raises(TypeError, match="influence needs Snapshot; got TrainingDynamics"):
        influence_vectors(wrong, damping=0.1)
