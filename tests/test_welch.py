"""A difference of means, its interval and what it could have shown: against hand-worked numbers,
scipy and simulation.
"""

import warnings

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from dpkit.experiments.welch import holm, welch

NAMES = ("error", "low", "high", "p", "detectable")


def test_a_hand_worked_difference():
    found = welch([82, 84, 86], [81, 82, 83])  # variances 4 and 1; error sqrt(4/3 + 1/3) = 1.291
    assert (found["difference"], found["error"]) == (
        pytest.approx(2),
        pytest.approx(1.29099, abs=1e-5),
    )
    nu = (5 / 3) ** 2 / ((4 / 3) ** 2 / 2 + (1 / 3) ** 2 / 2)  # 2.941
    assert nu == pytest.approx(2.941, abs=1e-3)
    # between the tables' 4.303 for 2 and 3.182 for 3
    assert t.ppf(0.975, nu) == pytest.approx(3.2187, abs=1e-4)
    assert (found["low"], found["high"]) == (
        pytest.approx(2 - 3.2187 * 1.29099, abs=1e-3),
        pytest.approx(6.1554, abs=1e-3),
    )
    assert found["detectable"] == pytest.approx(4.1554, abs=1e-3)


@pytest.mark.parametrize(
    "here, there",
    [
        ([1.0, 2.0, 4.0, 4.5], [0.0, 0.1]),
        ([83.3, 83.6, 83.6], [84.2, 84.5, 83.9]),
        ([0, 9], [5, 5.5]),
    ],
)
def test_interval_and_p_are_scipys_whatever_the_numbers_of_seeds_and_their_order(here, there):
    for confidence in (0.95, 0.8):
        found, test = (
            welch(here[::-1], there, confidence=confidence),
            ttest_ind(here, there, equal_var=False),
        )
        assert (found["low"], found["high"]) == pytest.approx(
            tuple(test.confidence_interval(confidence))
        )
        assert found["p"] == pytest.approx(test.pvalue)
    swapped = welch(there, here)
    assert swapped["difference"] == pytest.approx(-found["difference"]) and swapped[
        "error"
    ] == pytest.approx(found["error"])


@pytest.mark.parametrize(
    "here, there",
    [([60] * 3, [50, 51, 52]), ([83.32] * 3, [83.3, 83.4]), ([50, 51, 52], [83.32] * 5)],
)
def test_a_side_without_a_spread_counts_by_the_other_and_warns_of_nothing(here, there):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = welch(here, there)
    side = here if np.ptp(here) else there
    error = np.std(side, ddof=1) / np.sqrt(len(side))
    assert found["error"] == pytest.approx(error)
    assert found["high"] - found["difference"] == pytest.approx(t.ppf(0.975, len(side) - 1) * error)


@pytest.mark.parametrize(
    "here, there, difference",
    [([60] * 3, [50] * 3, 10), ([0.1] * 3, [0.1] * 4, 0), ([60], [50, 51], 9.5), ([60], [50], 10)],
)
def test_what_has_no_spread_or_one_seed_has_a_difference_and_no_interval(here, there, difference):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = welch(here, there)
    assert (
        found["difference"] == pytest.approx(difference)
        and np.isnan([found[name] for name in NAMES]).all()
    )


def test_nothing_on_a_side_is_nothing_at_all():
    for here, there in (([], [1, 2]), ([1, 2], []), ([], [])):
        assert np.isnan([*welch(here, there).values()]).all()


@pytest.mark.parametrize("spreads, n", [((0.4, 0.4), 3), ((0.2, 0.6), 3), ((0.4, 0.4), 5)])
def test_a_true_difference_of_the_detectable_size_is_shown_about_every_second_time(spreads, n):
    rng, sigma = np.random.default_rng(0), np.array(spreads)[:, None]
    typical = np.median(
        [welch(*(sigma * rng.standard_normal((2, n))))["detectable"] for _ in range(300)]
    )
    shown = [
        welch(*(sigma * rng.standard_normal((2, n)) + [[typical], [0]]))["low"] > 0
        for _ in range(600)
    ]
    assert np.mean(shown) == pytest.approx(0.5, abs=0.1)


def test_holms_correction_by_hand():
    # times 3, 1, 2, 4; none falls
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (
        holm([0.5, 0.9]).tolist() == [1, 1]
        and holm([0.04]).tolist() == [0.04]
        and holm([]).tolist() == []
    )


def test_lines_without_a_test_do_not_count_in_the_family():
    found = holm([np.nan, 0.02, np.nan, 0.03])
    assert np.isnan(found[[0, 2]]).all() and found[[1, 3]].tolist() == pytest.approx([0.04, 0.04])


def test_holm_rejects_what_its_step_down_rule_does():
    """Smallest first, p_i against 0.05 / (m - i + 1), and stop at the first that fails."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        p, rejected = rng.random(8) ** 6, set()
        for i, k in enumerate(np.argsort(p)):
            if p[k] >= 0.05 / (len(p) - i):
                break
            rejected.add(int(k))
        assert set(np.flatnonzero(holm(p) < 0.05).tolist()) == rejected
