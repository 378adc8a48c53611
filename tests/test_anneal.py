"""Annealing against brute force on sets so small that every choice can be tried, and what it
promises of any set.
"""

import itertools
from itertools import islice

import numpy as np
import pytest

from dpkit import (
    OuterVectors,
    Selection,
    anneal,
    anneal_within,
    annealing,
    annealing_within,
    bound,
    keep_random,
    predicted_shift,
)
from dpkit.records.vectors import norms, sum_of
from dpkit.selectors._swaps import Proposals, State
from tests.test_influence import made_up


def drawn(n, p=4, seed=0, tail=0):
    """(n, p) float32; tail: how much longer the longest of them are, as those of influence."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, p)) * rng.exponential(size=(n, 1)) ** tail).astype(np.float32)


def length(vectors, selection):
    return np.linalg.norm(vectors[selection.pruned].sum(axis=0, dtype=np.float64))


def shortest(vectors, m):
    return min(
        np.linalg.norm(vectors[list(some)].sum(axis=0, dtype=np.float64))
        for some in itertools.combinations(range(len(vectors)), m)
    )


@pytest.mark.parametrize("n, keep", [(6, 3), (9, 7), (12, 4), (14, 7), (16, 8)])
def test_the_optimum_is_found_where_brute_force_can_tell_it(n, keep):
    for seed in range(3):
        vectors = drawn(n, seed=seed)
        found = anneal(vectors, keep, rng=seed)
        assert len(found.kept) == keep
        assert length(vectors, found) == pytest.approx(shortest(vectors, n - keep), rel=1e-9)
        assert found.params["norm"] == pytest.approx(length(vectors, found), rel=1e-6)


def test_two_large_ones_that_cancel_go_together():
    vectors = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [-9.0, -9.0], [1.0, 1.0]])
    # influence_norm would prune rows 1 and 2
    assert anneal(vectors, 3, rng=0).pruned.tolist() == [0, 3]


def test_the_same_vectors_rng_and_steps_give_the_same_answer():
    vectors = drawn(300, 20)
    first, second = (anneal(vectors, 200, rng=4, steps=3000, restarts=2) for _ in range(2))
    assert first.kept.tolist() == second.kept.tolist() and first.params == second.params
    assert anneal(vectors, 200, rng=5, steps=3000).kept.tolist() != first.kept.tolist()


def test_annealing_beats_descent_and_descent_beats_chance():
    vectors = drawn(400, 30, tail=1)
    descent, annealed = (
        np.mean(
            [
                list(annealing(vectors, 250, rng=seed, steps=200_000, **heat))[-1].best
                for seed in range(5)
            ]
        )
        for heat in ({"hottest": 0, "coldest": 0}, {})
    )
    chance = np.mean([length(vectors, keep_random(400, 250, rng=seed)) for seed in range(5)])
    assert annealed < 0.95 * descent < 0.3 * chance


def test_the_shortest_vectors_are_beaten_even_where_they_are_nearly_best():
    vectors = drawn(400, 30, tail=4)
    found = anneal(vectors, 360, rng=0)
    shortest = np.linalg.norm(
        vectors[np.argsort(np.linalg.norm(vectors, axis=1))[:40]].sum(0, dtype=np.float64)
    )
    assert found.params["found_from"] == "shortest" and length(vectors, found) < shortest
    *_, last = annealing(vectors, 360, rng=0)
    assert last.best > 2 * shortest  # what a random start alone comes to


def test_a_start_of_ones_own_is_the_only_start():
    vectors = drawn(400, 30, tail=4)
    found = anneal(
        vectors, 360, rng=0, start=keep_random(400, 360, rng=1), hottest=0, coldest=0, steps=1000
    )
    assert found.params["found_from"] == "start"
    assert found.params["start_norm"] == pytest.approx(
        length(vectors, keep_random(400, 360, rng=1))
    )


def test_the_best_state_is_never_lost():
    vectors, best, restarts = drawn(60, 5), np.inf, set()
    # far too hot to stay anywhere
    for report in annealing(vectors, 30, rng=0, steps=3000, restarts=3, hottest=50, coldest=50):
        assert report.best <= min(best, report.objective + 1e-9)
        assert np.linalg.norm(
            vectors[report.pruned].sum(axis=0, dtype=np.float64)
        ) == pytest.approx(report.best, rel=1e-6)
        best = report.best
        restarts.add(report.restart)
    assert restarts == {0, 1, 2} and report.objective > 2 * best


def test_a_state_is_found_again_by_undoing_what_came_after():
    state = State(np.array([7, 3, 5]), np.array([0, 1]), np.zeros((1, 1)), np.zeros((1, 1)))
    swaps = Proposals(np.array([0, 1, 0]), np.array([1, 0, 1]), np.ones(3))
    for a, b in zip(swaps.first, swaps.second, strict=True):
        state.pruned[a], state.kept[b] = state.kept[b], state.pruned[a]
    assert state.pruned.tolist() == [7, 0, 5]
    assert state.before(swaps, np.array([0, 1, 2])).tolist() == [3, 5, 7]
    assert state.before(swaps, np.array([2])).tolist() == [0, 1, 5]


def test_it_can_be_drawn_live_and_stopped_at_any_time():
    vectors = drawn(200, 10)
    reports = list(islice(annealing(vectors, 120, rng=0, steps=10_000), 6))
    assert [report.step for report in reports] == sorted(
        report.step for report in reports
    ) and reports[0].step == 0
    assert len(reports[-1].pruned) == 80
    temperatures = [report.temperature for report in annealing(vectors, 120, rng=0, steps=10_000)]
    assert temperatures[0] / temperatures[-1] == pytest.approx(1e4) and np.all(
        np.diff(temperatures) < 0
    )


def test_a_limit_of_time_ends_it():
    vectors = drawn(200, 10)
    anneal(vectors, 120, rng=0, steps=10)  # compiled
    *_, last = annealing(vectors, 120, rng=0, seconds=0.1, restarts=2)
    assert last.restart == 1 and last.step > 0 and last.seconds < 30


def test_it_can_start_where_another_selection_stands():
    vectors = drawn(100)
    start = keep_random(100, 60, rng=1)
    first = next(annealing(vectors, 60, rng=0, start=start))
    assert first.pruned.tolist() == start.pruned.tolist() and first.objective == pytest.approx(
        length(vectors, start)
    )


@pytest.mark.parametrize("per_class", ["proportional", "balanced"])
def test_swaps_stay_within_a_class_if_that_is_asked(per_class):
    vectors, labels = drawn(120), np.repeat([0, 1, 2], [60, 40, 20])
    found = anneal(vectors, 60, rng=0, labels=labels, per_class=per_class)
    assert np.bincount(labels[found.kept]).tolist() == (
        [30, 20, 10] if per_class == "proportional" else [20, 20, 20]
    )
    assert length(vectors, found) < 0.2 * length(vectors, keep_random(120, 60, rng=0))


@pytest.mark.parametrize("centred", [False, True])
def test_outer_products_are_annealed_as_if_they_were_written_out(centred):
    rng = np.random.default_rng(0)
    left, right = (
        rng.normal(0.3 * centred, 1, size=(200, 3)),
        rng.normal(0.3 * centred, 1, size=(200, 8)),
    )
    outer = OuterVectors(left, right, left.T @ right / 200 if centred else None)
    found, dense = (anneal(vectors, 120, rng=2) for vectors in (outer, outer.dense()))
    for selection in (found, dense):
        assert length(outer.dense(), selection) == pytest.approx(selection.params["norm"], rel=1e-5)
        assert selection.params["norm"] < 0.2 * selection.params["start_norm"]
    assert found.params["start_norm"] == pytest.approx(dense.params["start_norm"], rel=1e-5)
    np.testing.assert_allclose(norms(outer), norms(outer.dense()), rtol=1e-6)
    shape = sum_of(outer, found.pruned)
    np.testing.assert_allclose(np.linalg.norm(shape), length(outer.dense(), found), rtol=1e-6)


def test_none_or_all_can_be_kept_and_equal_vectors_do_no_harm():
    vectors = drawn(9)
    assert (
        anneal(vectors, 9, rng=0).params["norm"] == 0 and len(anneal(vectors, 9, rng=0).pruned) == 0
    )
    assert len(anneal(vectors, 0, rng=0).kept) == 0
    assert anneal(np.ones((8, 2)), 5, rng=0).params["norm"] == pytest.approx(3 * 2**0.5)
    assert anneal(np.zeros((8, 2)), 5, rng=0).params["norm"] == 0


# ---- Eq. 3 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_epsilon_is_never_exceeded_and_no_larger_set_exists_where_brute_force_can_tell(seed):
    vectors, epsilon = drawn(12, 3, seed=seed), 0.4
    found = anneal_within(vectors, epsilon, rng=0, of="sum", max_prune_ratio=0.75)
    largest = max(m for m in range(10) if m == 0 or shortest(vectors, m) <= epsilon)
    assert len(found.pruned) == largest and length(vectors, found) <= epsilon
    assert (
        found.params["norm"]
        == found.params["moves"]
        == pytest.approx(length(vectors, found), abs=1e-12)
    )


@pytest.mark.parametrize("seed", range(4))
def test_of_the_mean_epsilon_bounds_how_far_the_layer_moves(seed):
    vectors, epsilon = drawn(12, 3, seed=seed), 0.8
    vectors -= vectors.mean(0)
    found = anneal_within(vectors, epsilon, rng=0, max_prune_ratio=0.75)
    largest = max(m for m in range(10) if m == 0 or 12 / (12 - m) * shortest(vectors, m) <= epsilon)
    assert len(found.pruned) == largest
    moves = 12 / (12 - largest) * length(vectors, found)
    assert (
        moves <= epsilon
        and found.params["moves"] == pytest.approx(moves)
        and found.params["of"] == "mean"
    )


@pytest.mark.parametrize("epsilon", [0.3, 1, 5])
def test_epsilon_is_never_exceeded_in_a_larger_set(epsilon):
    vectors = drawn(300, 5)
    found = anneal_within(vectors, epsilon, rng=0, of="sum")
    assert len(found.pruned) > 100 and length(vectors, found) <= epsilon
    for report in annealing_within(vectors, epsilon, rng=1, of="sum", steps=2000):
        assert (
            not len(report.pruned)
            or np.linalg.norm(vectors[report.pruned].sum(0, dtype=np.float64)) <= epsilon
        )


def test_where_all_add_up_to_nothing_the_cap_is_what_ends_it():
    vectors = drawn(200, 3)
    vectors = np.concatenate([vectors, -vectors])
    found = anneal_within(vectors, 2, rng=0, max_prune_ratio=0.9)
    assert len(found.pruned) == 360 and found.params["capped"]


# ---- the bound -----------------------------------------------------------------------------------


def test_the_factor_n_stands_where_it_belongs():
    test, _ = made_up(n=30, width=2, classes=2, seed=1)
    vectors = np.random.default_rng(0).normal(size=(10, 6)) / 10
    kept = Selection(np.arange(4, 10), 10, "by hand")
    for of, some, factor in (("sum", vectors, 1), ("mean", vectors - vectors.mean(0), 10 / 6)):
        found, total = bound(some, kept, test=test, of=of), some[:4].sum(0)
        np.testing.assert_allclose(predicted_shift(some, kept, of=of), factor * total)
        assert found.epsilon_shift == pytest.approx(factor * np.linalg.norm(total))
        assert found.epsilon_influence == pytest.approx(10 * np.linalg.norm(total))
        assert found.first_order == pytest.approx(found.epsilon_shift * found.test_gradient)
        assert abs(found.predicted) <= found.first_order and found.second_order == 4 / 100


def test_for_a_small_shift_the_prediction_is_the_change_of_the_loss():
    test, _ = made_up(n=30, width=2, classes=2, seed=1)
    vectors = np.random.default_rng(0).normal(size=(10, 6)) * 1e-4
    found = bound(vectors, Selection(np.arange(4, 10), 10, "by hand"), test=test, of="sum")
    assert found.moved == pytest.approx(found.predicted, rel=0.01)
    left, right = np.random.default_rng(0).normal(size=(10, 2)) * 1e-4, np.ones((10, 3))
    outer = OuterVectors(left, right, left.T @ right / 10)
    written = bound(outer.dense(), Selection(np.arange(4, 10), 10, "by hand"), test=test)
    assert bound(
        outer, Selection(np.arange(4, 10), 10, "by hand"), test=test
    ).predicted == pytest.approx(written.predicted)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda v: anneal(v, 11, rng=0), "keep must be 0..10"),
        (lambda v: anneal(v, 0.3, rng=0), "keep is a count"),
        (
            lambda v: anneal(np.where(v > 1, np.nan, v), 5, rng=0),
            "anneal needs finite vectors; . of 10 rows hold NaN or infinity",
        ),
        (lambda v: anneal(v[0], 5, rng=0), r"needs vectors \(n, p\)"),
        (lambda v: anneal(v, 5, rng=0, steps=0), "steps must be a whole number from 1; got 0"),
        (lambda v: anneal(v, 5, rng=0, seconds=-1), "seconds must be above 0; got -1"),
        (lambda v: anneal(v, 5, rng=0, restarts=0), "restarts must be a whole number from 1"),
        (lambda v: anneal(v, 5, rng=0, hottest=1e-5), "temperatures must fall"),
        (lambda v: anneal(v, 5, rng=0, coldest=0), "temperatures must fall"),
        (lambda v: anneal(v, 5, rng=0, per_class="balanced"), "needs labels="),
        (
            lambda v: anneal(v, 5, rng=0, start=keep_random(10, 4, rng=0)),
            "start must keep 5 of 10 samples, .* it keeps 4 of 10",
        ),
        (lambda v: anneal_within(v, -1, rng=0), "epsilon must be a length, 0 or more; got -1"),
        (
            lambda v: anneal_within(v - v.mean(0), 1e-9, rng=0),
            "no set of 1 to 9 samples was found .* the least found is .*: raise",
        ),
        (lambda v: anneal_within(v, 1, rng=0), 'vectors of="mean" add up to zero .* pass of="sum"'),
        (
            lambda v: bound(v, keep_random(10, 4, rng=0), test=made_up()[0]),
            'vectors of="mean" add up to zero',
        ),
        (
            lambda v: bound(v, keep_random(9, 4, rng=0), test=made_up()[0]),
            "selection is of 9 samples and there are 10 vectors",
        ),
        (
            lambda v: bound(v, keep_random(10, 4, rng=0), test=made_up()[0], of="sum"),
            "the vectors have 4 parameters and .* 18",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(drawn(10))


def test_an_rng_is_required():
    with pytest.raises(TypeError, match="rng must be a seed"):
        anneal(drawn(10), 5, rng=None)
