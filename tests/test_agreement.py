"""Rank agreement against pairs counted by hand and by brute force."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from dpkit.records import Scores, Selection
from dpkit.records.agreement import rank_agreement

# a ranks the samples 1 2 3 4, b 1 3 2 4. Of six pairs one is turned round: tau = (5 - 1) / 6.
# Squared rank differences 0 1 1 0: Spearman = 1 - 6 * 2 / (4 * 15) = .8. The two highest are {2, 3}
# and {1, 3}: one of two in common.
A, B = [10.0, 20, 30, 40], [-5.0, 3, 1, 9]


def test_agreement_of_four_samples_by_hand():
    found = rank_agreement(A, B, top=2)
    assert (found.spearman, found.kendall) == (pytest.approx(0.8), pytest.approx(4 / 6))
    assert (found.overlap, found.top) == (0.5, 2)


def test_the_same_order_agrees_fully_and_the_opposite_one_not_at_all():
    same, opposite = rank_agreement(A, np.exp(A), top=2), rank_agreement(A, -np.array(A), top=2)
    assert (same.spearman, same.kendall, same.overlap) == (pytest.approx(1), pytest.approx(1), 1)
    assert (opposite.spearman, opposite.kendall, opposite.overlap) == (
        pytest.approx(-1),
        pytest.approx(-1),
        0,
    )


def test_kendall_with_ties_is_tau_b_counted_pair_by_pair():
    a, b = np.random.default_rng(0).integers(0, 5, (2, 40))
    signs = np.array(
        [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(40), 2)]
    )
    tau_b = (signs[:, 0] * signs[:, 1]).sum() / np.sqrt(
        (signs[:, 0] != 0).sum() * (signs[:, 1] != 0).sum()
    )
    assert rank_agreement(a, b).kendall == pytest.approx(tau_b)


def test_spearman_with_ties_is_scipys():
    a, b = np.random.default_rng(1).integers(0, 9, (2, 200))
    assert rank_agreement(a, b).spearman == pytest.approx(stats.spearmanr(a, b).statistic)


def test_overlap_with_ties_is_what_fair_draws_share_on_average():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 4, (2, 30))

    def draw(values):  # shuffled first, so that the stable sort breaks ties by chance
        order = rng.permutation(30)
        return set(order[np.argsort(-values[order], kind="stable")[:12]])

    shared = np.mean([len(draw(a) & draw(b)) for _ in range(4000)]) / 12
    assert rank_agreement(a, b, top=12).overlap == pytest.approx(shared, abs=0.01)


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 6, (2, 100))
    rows = rng.permutation(100)
    straight, reordered = rank_agreement(a, b), rank_agreement(a[rows], b[rows])
    np.testing.assert_allclose(
        [reordered.spearman, reordered.kendall, reordered.overlap],
        [straight.spearman, straight.kendall, straight.overlap],
        rtol=1e-12,
    )


def test_by_chance_correlations_are_zero_and_overlap_is_top_over_n():
    rng = np.random.default_rng(4)
    found = [rank_agreement(*rng.random((2, 200)), top=50) for _ in range(200)]
    assert np.mean([[one.spearman, one.kendall] for one in found], axis=0) == pytest.approx(
        [0, 0], abs=0.02
    )
    assert np.mean([one.overlap for one in found]) == pytest.approx(50 / 200, abs=0.02)


def test_a_constant_has_no_order_so_only_the_overlap_by_chance_is_left():
    found = rank_agreement(np.ones(8), np.arange(8), top=2)
    assert np.isnan(found.spearman) and np.isnan(found.kendall) and found.overlap == 2 / 8
    assert rank_agreement([3.0], [4.0]).overlap == 1


@pytest.mark.parametrize("n, top", [(1, 1), (9, 1), (10, 1), (25, 2), (50_000, 5000)])
def test_a_tenth_is_compared_unless_asked_otherwise(n, top):
    assert rank_agreement(np.arange(n), np.arange(n)).top == top


def test_infinite_scores_rank_first_and_last():
    a = Scores([1, np.inf, 3, -np.inf], "forgetting")
    found = rank_agreement(a, [2, 4, 3, 1], top=1)
    assert (found.spearman, found.kendall, found.overlap) == (pytest.approx(1), pytest.approx(1), 1)


def test_words_are_no_scores():
    with pytest.raises(TypeError, match="needs numbers, one per sample; a holds str"):
        rank_agreement(["high", "low"], [1, 2])


@pytest.mark.parametrize("kept", [Selection([0, 2], 3, "top"), np.array([True, False, True])])
def test_what_says_who_is_kept_is_not_taken_for_scores(kept):
    with pytest.raises(
        TypeError,
        match="needs Scores or numbers, one per sample; b says which are kept: pass the scores",
    ):
        rank_agreement([1.0, 2, 3], kept)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="got 4 and 3 of them: score both on one set"):
        rank_agreement(A, B[:3])
    with pytest.raises(ValueError, match=r"2 of 4 in a are NaN \(first: row 1\)"):
        rank_agreement([1, np.nan, np.nan, 2], B)
    with pytest.raises(ValueError, match=r"b has shape \(2, 2\): pass Scores"):
        rank_agreement(A, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"a has shape \(0,\)"):
        rank_agreement([], [])


@pytest.mark.parametrize("top", [0, 5, -1, 2.0, True, "2"])
def test_a_top_that_does_not_fit_is_refused(top):
    with pytest.raises(
        ValueError, match=rf"top must be a count in 1\.\.4 \(the number of samples\); got {top!r}"
    ):
        rank_agreement(A, B, top=top)
