"""The two-point theorem: the times by hand, against the definition written out, and for any points
hypothesis thinks of.
"""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpkit.teaching import two_point
from dpkit.teaching.two_point import crossing_times, descent, random_pair, window_statistics

A, B = (0.5, 0.5), (2.0, 1.0)  # squares and product: 0.5, 1.5, 5
NEAR, LONG = (1.0, 0.0), (3.0, 1.0)  # 1, 3, 10


# ---- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair, rate, window, times",
    [
        ((A, B), 0.001, 10, (1618, 653)),
        ((A, B), 0.01, 10, (158, 61)),
        ((A, B), 0.1, 10, (12, 3)),
        # at a large rate both turn at once: "small enough" is needed for the strict order
        ((A, B), 1, 2, (1, 1)),
        ((NEAR, LONG), 0.01, 10, (77, 29)),
    ],
)
def test_times_measured_once_and_kept(pair, rate, window, times):
    assert crossing_times(*pair, learning_rate=rate, window=window) == times


def test_the_first_step_on_paper():
    start, one = itertools.islice(descent(A, B, learning_rate=0.1), 2)
    assert (
        start.step == 0
        and start.w.tolist() == [0, 0]
        and start.target_prob == start.error == (0.5, 0.5)
    )
    np.testing.assert_allclose(one.w, [0.125, 0.075])  # 0.1 times half of (2.5, 1.5)
    z = 0.5 * 0.125 + 0.5 * 0.075, 2 * 0.125 + 0.075  # 0.1 and 0.325
    np.testing.assert_allclose(one.target_prob, [1 / (1 + np.exp(-z[0])), 1 / (1 + np.exp(-z[1]))])


def test_a_window_on_paper():
    # errors .8 .4 .6, J = 2: means .6 and .5; the deviation of two numbers is their distance over
    # the root of 2
    found = window_statistics([0.8, 0.4, 0.6], 2)
    np.testing.assert_allclose(found.mean, [0.4, 0.5])
    np.testing.assert_allclose(found.std, np.array([0.4, 0.2]) / 2**0.5)
    np.testing.assert_allclose(found.dual, np.array([0.6 * 0.4, 0.5 * 0.2]) / 2**0.5)


# ---- the definition written out ------------------------------------------------------------------


def from_the_definition(x1, x2, rate, window, steps):
    """T_v and T_vm from w, probabilities and np.std, exactly as the theorem is stated."""
    x = np.array([x1, x2], dtype=float)
    w, probs = np.zeros(x.shape[1]), []
    for _ in range(steps + 1):
        p = 1 / (1 + np.exp(-x @ w))
        probs.append(p)
        w = w + rate * (1 - p) @ x
    t_v = t_vm = None
    for t in range(steps - window + 2):
        p = np.array(probs[t : t + window])
        std, mean = p.std(axis=0, ddof=1), p.mean(axis=0)
        if t_v is None and std[0] > std[1]:
            t_v = t
        if t_vm is None and std[0] * (1 - mean[0]) > std[1] * (1 - mean[1]):
            t_vm = t
    return t_v, t_vm


@pytest.mark.parametrize(
    "x1, x2",
    [
        (A, B),
        (NEAR, LONG),
        ((0.6,), (1.8,)),
        ((1.0, -0.9, 0.2), (0.7, -0.1, 1.4)),
        ((1.0, 0.0), (0.3, 1.2)),
        ((0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8)),
    ],
)
@pytest.mark.parametrize("rate, window", [(0.02, 10), (0.3, 3), (2.0, 2)])
def test_the_times_are_those_of_the_definition(x1, x2, rate, window):
    expected = from_the_definition(x1, x2, rate, window, 1200)
    assert crossing_times(x1, x2, learning_rate=rate, window=window, max_steps=1200) == expected
    assert None not in expected or rate == 0.02


@pytest.mark.parametrize("chunk", [1, 10, 97, 4096])
@pytest.mark.parametrize("window", [2, 10, 300])
def test_windows_that_cross_the_seam_between_two_chunks_are_seen(chunk, window, monkeypatch):
    error = np.array(
        [step.error for step in itertools.islice(descent(A, B, learning_rate=0.01), 600)]
    ).T
    whole = window_statistics(error, window)
    monkeypatch.setattr(two_point, "_CHUNK", chunk)
    assert crossing_times(A, B, learning_rate=0.01, window=window) == (
        np.argmax(whole.std[0] > whole.std[1]),
        np.argmax(whole.dual[0] > whole.dual[1]),
    )


def test_the_descent_that_can_be_watched_gives_the_same_times():
    error = np.array(
        [step.error for step in itertools.islice(descent(A, B, learning_rate=0.01), 300)]
    ).T
    found = window_statistics(error, 10)
    first = [int(np.argmax(value[0] > value[1])) for value in (found.std, found.dual)]
    assert tuple(first) == crossing_times(A, B, learning_rate=0.01, window=10) == (158, 61)


def test_a_time_is_found_in_the_last_window_and_not_before():
    # the window of T_v = 158 ends at step 167, that of T_vm = 61 at step 70
    def times(max_steps):
        return crossing_times(A, B, learning_rate=0.01, window=10, max_steps=max_steps)

    assert [times(steps) for steps in (167, 166, 70, 69, 9)] == [
        (158, 61),
        (None, 61),
        (None, 61),
        (None, None),
        (None, None),
    ]


# ---- what the theorem claims, for any points -----------------------------------------------------

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def pairs(draw, *, shortest=0.02, longest=0.98, cosine=0.02):
    """(x1, x2) in the plane with |x1| between these fractions of |x2|, and the cosine between them
    at least `cosine`.
    """
    length = draw(st.floats(0.1, 10))
    ratio, angle = draw(st.floats(shortest, longest)), np.arccos(draw(st.floats(cosine, 1)))
    turn = draw(st.floats(0, 2 * np.pi))
    return (
        length * ratio * np.array([np.cos(turn + angle), np.sin(turn + angle)]),
        length * np.array([np.cos(turn), np.sin(turn)]),
    )


def scaled(pair, rate):
    """A learning rate in units of 1 / |x2|^2."""
    return rate / float(pair[1] @ pair[1])


@few
@given(pairs(), st.floats(0.01, 20), st.integers(2, 12))
def test_dual_is_never_later_at_any_rate(pair, rate, window):
    t_v, t_vm = crossing_times(
        *pair, learning_rate=scaled(pair, rate), window=window, max_steps=3000
    )
    assert t_v is None or (t_vm is not None and t_vm <= t_v)  # not reached is no counterexample


@few
@given(pairs(shortest=0.1, longest=0.85, cosine=0.2), st.integers(2, 10))
def test_at_a_small_rate_dual_is_strictly_earlier(pair, window):
    t_v, t_vm = crossing_times(
        *pair, learning_rate=scaled(pair, 0.01), window=window, max_steps=8000
    )
    assert t_v is None or (t_vm is not None and t_vm < t_v)


@few
@given(pairs(shortest=0.1, longest=0.85, cosine=0.2), st.sampled_from([0.01, 100.0]))
def test_points_times_s_at_a_rate_over_s_squared_are_the_same_descent(pair, s):
    # s = 0.01 or 100 moves the rounding, so two equal values may change sides: not more than one
    # step
    rate = scaled(pair, 0.05)
    ours = crossing_times(*pair, learning_rate=rate, window=5, max_steps=2000)
    theirs = crossing_times(
        *(s * x for x in pair), learning_rate=rate / s**2, window=5, max_steps=2000
    )
    assert all(t is other or abs(t - other) <= 1 for t, other in zip(ours, theirs))


@few
@given(pairs(shortest=0.1, longest=0.85, cosine=0.2), st.floats(0, 6))
def test_turning_both_points_changes_nothing(pair, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ours = crossing_times(*pair, learning_rate=scaled(pair, 0.05), window=5, max_steps=2000)
    theirs = crossing_times(
        *(turn @ x for x in pair), learning_rate=scaled(pair, 0.05), window=5, max_steps=2000
    )
    assert all(t is other or abs(t - other) <= 1 for t, other in zip(ours, theirs))


def test_the_printed_premise_is_not_free_of_scale_and_the_needed_one_is():
    def printed(x1, x2):
        return np.linalg.norm(x1) < x1 @ x2 < np.linalg.norm(x2)

    a, b = np.array(A), np.array(B)
    assert printed(a, b) and not printed(2 * a, 2 * b) and not printed(a / 3, b / 3)
    assert crossing_times(2 * a, 2 * b, learning_rate=0.01 / 4, window=10) == (158, 61)


# ---- numbers that would trip a careless loop -----------------------------------------------------


def test_a_probability_that_is_one_to_a_computer_still_wavers():
    late = np.array(
        [step.error for step in itertools.islice(descent((1, 0), (30, 5), learning_rate=0.05), 50)]
    ).T[:, 35:]
    assert np.all(1 - late[1] == 1)
    found = window_statistics(late, 10)
    assert np.all(found.std > 0) and np.all(found.dual > 0)
    np.testing.assert_allclose(found.std[1, 0] * 1e20, np.std(late[1, :10] * 1e20, ddof=1))


def test_nothing_overflows_however_large_the_step():
    last = list(itertools.islice(descent((1e3, 0), (1e4, 1e4), learning_rate=1e6), 5))[-1]
    assert last.error == (0.0, 0.0) and np.isfinite(last.w).all()
    wrong_side = list(itertools.islice(descent((-1e3, 0), (1e4, 1e4), learning_rate=1e6), 5))
    assert all(0 <= u <= 1 for step in wrong_side for u in step.error)


def test_many_steps_take_little_memory():
    tracemalloc.start()
    found = crossing_times((1, 0), (1.0001, 0), learning_rate=1e-7, window=10, max_steps=60_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == (None, None) and peak < 3_000_000


def test_points_given_stay_as_they_were_and_steps_cannot_be_changed():
    x1, x2 = np.array(A), np.array(B)
    step = next(descent(x1, x2, learning_rate=0.1))
    crossing_times(x1, x2, learning_rate=0.1, window=2)
    assert x1.tolist() == list(A) and x2.tolist() == list(B)
    with pytest.raises(ValueError, match="read-only"):
        step.w += 1
    with pytest.raises(AttributeError):
        step.step = 3


# ---- drawing pairs -------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 5])
def test_drawn_pairs_fit_their_premise(dimension):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x1, x2 = random_pair(rng, dimension=dimension)
        assert x1.shape == (dimension,) and np.linalg.norm(x1) < x1 @ x2 < np.linalg.norm(x2)
        y1, y2 = random_pair(rng, premise="needed", dimension=dimension)
        assert np.linalg.norm(y1) < np.linalg.norm(y2) and y1 @ y2 > 0


def test_the_same_seed_draws_the_same_pair_and_a_generator_goes_on():
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(random_pair(3), random_pair(rng))
    assert not np.array_equal(random_pair(3), random_pair(rng))


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair, says",
    [
        ((B, A), r"\|x1\| < \|x2\|; got 2.23607 and 0.707107: swap"),
        ((A, A), r"\|x1\| < \|x2\|; got 0.707107 and 0.707107"),
        (((1, 0), (0, 2)), r"<x1, x2> > 0; got 0"),
        (((1, 0), (-2, 0)), r"<x1, x2> > 0; got -2"),
        (((0, 0), (2, 0)), r"<x1, x2> > 0; got 0"),
        (((1, 0), (2, 0, 1)), r"same dimension, shape \(d,\); got \(2,\) and \(3,\)"),
        ((1.0, 2.0), r"shape \(d,\); got \(\) and \(\)"),
        (([], []), r"shape \(d,\); got \(0,\)"),
        (((np.nan, 0), (2, 0)), "finite .*got .*nan"),
        (((1, 0), (np.inf, 0)), "finite .*got .*inf"),
        (((1, 0), (1e200, 0)), "below 1e100"),
    ],
)
def test_a_pair_that_is_not_admissible_is_refused(pair, says):
    with pytest.raises(ValueError, match=says):
        crossing_times(*pair, learning_rate=0.01, window=10)


@pytest.mark.parametrize("rate", [0, -0.1, np.nan, np.inf])
def test_a_rate_that_is_no_rate_is_refused_at_once(rate):
    for ask in (
        lambda: descent(A, B, learning_rate=rate),
        lambda: crossing_times(A, B, learning_rate=rate, window=2),
    ):
        with pytest.raises(ValueError, match=f"learning_rate must be a number above 0; got {rate}"):
            ask()


@pytest.mark.parametrize("rate", [20, 50, 200])
def test_a_rate_at_which_one_step_saturates_both_points_still_gives_the_right_times(rate):
    # after the first step u1 / u2 is at least exp(rate): x1 is ahead in the window that starts
    # there, by either score
    for window in (2, 5):
        late = crossing_times(A, B, learning_rate=rate, window=window)
        assert late == (1, min(late)) and late[1] in (0, 1)


def test_falls_of_one_part_in_1e30_are_seen():
    # z1 = 70, z2 = 105 after one step; then z1 rises by 140 exp(-70), 1e-28, which no float64
    # beside 70 can hold
    assert crossing_times((1, 0), (1, 1), learning_rate=70, window=2) == (1, 1)


@pytest.mark.parametrize("window", [1, 0, -3, 12, 2.0, True, None])
def test_a_window_that_does_not_fit_is_refused(window):
    with pytest.raises(
        ValueError,
        match=rf"window must be 2\.\.11 steps \(10 steps and the start .*\); got {window}",
    ):
        crossing_times(A, B, learning_rate=0.01, window=window, max_steps=10)
    with pytest.raises(
        ValueError, match=rf"window must be 2\.\.11 steps \(the steps given are 11\); got {window}"
    ):
        window_statistics(np.zeros((2, 11)), window)


@pytest.mark.parametrize("max_steps", [0, -1, 2.5, None, True])
def test_a_number_of_steps_that_is_none_is_refused(max_steps):
    with pytest.raises(ValueError, match="max_steps must be a whole number of steps"):
        crossing_times(A, B, learning_rate=0.01, window=2, max_steps=max_steps)


def test_an_unknown_premise_is_refused():
    with pytest.raises(ValueError, match='"printed" or "needed"; got \'paper\''):
        random_pair(0, premise="paper")
