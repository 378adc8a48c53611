"""Scores against tables worked by hand and against the plain two-pass formula."""

import tracemalloc

import numpy as np
import pytest
import torch

from dpkit.records import Snapshot, TrainingDynamics
from dpkit.scorers import aum, dual, dyn_unc, el2n, forgetting

NAN = np.nan


def dynamics(prob, margin=None, correct=None):
    prob = np.asarray(prob, np.float32)
    margin = np.zeros(prob.shape) if margin is None else margin
    correct = np.zeros(prob.shape, bool) if correct is None else np.asarray(correct, bool)
    return TrainingDynamics(prob, margin, correct, np.zeros(len(prob), int))


# ---- by hand ---------------------------------------------------------------------------------------------------

ROOT2 = 2**0.5
# J = 2, T = 3. The standard deviation of two numbers (divisor J - 1 = 1) is their distance over the root of 2.
CURVES = [
    [0.2, 0.6, 0.4],  # windows (.2, .6): mean .4, std .4/root2 and (.6, .4): mean .5, std .2/root2
    [0.0, 1.0, 1.0],  # windows (0, 1): mean .5, std 1/root2 and (1, 1): mean 1, std 0
    [0.5, 0.5, 0.5],  # never wavers
    [1.0, 0.0, 1.0],  # windows (1, 0) and (0, 1): mean .5, std 1/root2 both
]
DUAL = [(0.6 * 0.4 + 0.5 * 0.2) / ROOT2 / 2, (0.5 * 1 + 0 * 0) / ROOT2 / 2, 0, 0.5 / ROOT2]  # .1202 .1768 0 .3536
DYN_UNC = [(0.4 + 0.2) / ROOT2 / 2, 1 / ROOT2 / 2, 0, 1 / ROOT2]  # .2121 .3536 0 .7071


def test_dual_is_one_minus_mean_times_std_averaged_over_windows():
    np.testing.assert_allclose(dual(dynamics(CURVES), window=2).values, DUAL, rtol=1e-6, atol=1e-12)


def test_dyn_unc_is_the_std_averaged_over_all_windows_the_last_too():
    np.testing.assert_allclose(dyn_unc(dynamics(CURVES), window=2).values, DYN_UNC, rtol=1e-6, atol=1e-12)


def test_one_window_may_span_the_whole_record():
    # mean .4; deviations -.2, .2, 0; variance (.04 + .04) / 2 = .04; std .2; times 1 - .4
    assert dual(dynamics(CURVES[:1]), window=3).values[0] == pytest.approx(0.6 * 0.2, rel=1e-6)


def test_of_two_equally_wavering_samples_dual_prefers_the_harder():
    record = dynamics([[0.1, 0.3] * 5, [0.7, 0.9] * 5])
    hard, easy = dual(record).values
    assert hard == pytest.approx(4 * easy, rel=1e-6)  # 1 - .2 against 1 - .8
    assert np.ptp(dyn_unc(record).values) < 1e-7


def test_forgetting_counts_right_to_wrong():
    correct = [[1, 0, 1, 0, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 0, 1, 0]]
    assert forgetting(dynamics(np.zeros((5, 5)), correct=correct)).values.tolist() == [2, 1, 0, 0, 2]


def test_never_learned_samples_rank_hardest():
    scores = forgetting(dynamics(np.zeros((3, 4)), correct=[[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])).values
    assert scores.tolist() == [2, np.inf, 0]


def test_a_low_area_under_the_margin_ranks_high():
    scores = aum(dynamics(np.zeros((2, 3)), margin=[[1, -2, 4], [-3, -3, 0]])).values
    assert scores.tolist() == [-1, 2]  # -(1 - 2 + 4) / 3 and -(-3 - 3 + 0) / 3


def snapshot(*exits, labels):
    return Snapshot(np.array(exits), None, labels)


def test_el2n_is_the_length_of_the_error_vector():
    looked = snapshot([[0.6, 0.3, 0.1], [1, 0, 0], [1, 0, 0]], labels=[0, 0, 1])
    # (-.4, .3, .1): root of .16 + .09 + .01;  surely right: 0;  surely wrong (1, -1, 0): root of 2
    np.testing.assert_allclose(el2n(looked).values, [0.26**0.5, 0, ROOT2], rtol=1e-6)


def test_el2n_averages_lengths_over_snapshots_and_reads_the_final_exit():
    right, wrong = [[1.0, 0.0]], [[0.0, 1.0]]
    assert el2n(snapshot(right, wrong, labels=[0])).values[0] == pytest.approx(ROOT2)
    both = el2n(snapshot(right, labels=[0]), snapshot(wrong, labels=[0]))
    assert both.values[0] == pytest.approx(ROOT2 / 2) and both.params == {"snapshots": 2}


def test_el2n_crosses_its_blocks_of_rows():
    rng = np.random.default_rng(0)
    probs, labels = rng.dirichlet(np.ones(3), 65536 + 7).astype(np.float32), rng.integers(0, 3, 65536 + 7)
    expected = np.linalg.norm(probs.astype(float) - np.eye(3)[labels], axis=1)
    np.testing.assert_allclose(el2n(Snapshot(probs[None], None, labels)).values, expected, rtol=1e-12)


# ---- the plain formula as oracle -------------------------------------------------------------------------------


def two_passes(prob, window, difficulty=True):
    """The formula as printed, in float64: every window's mean first, then its deviations."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(prob, np.float64), window, axis=1)
    std = windows.std(axis=2, ddof=1)
    return ((1 - windows.mean(axis=2)) * std if difficulty else std).mean(axis=1)


def float32_torch(prob, window):
    """The usual loop: one window after the other, in float32."""
    prob, total = torch.from_numpy(prob), 0
    for k in range(prob.shape[1] - window + 1):
        part = prob[:, k : k + window]
        total = total + (1 - part.mean(1)) * part.std(1)
    return (total / (prob.shape[1] - window + 1)).numpy().astype(np.float64)


def kinds_of_data(n, epochs):
    rng = np.random.default_rng(0)
    near_one = np.float32(1) - rng.integers(1, 5, (n, epochs)).astype(np.float32) * np.float32(2**-24)
    near_zero = (rng.random((n, epochs)) * 1e-7).astype(np.float32)
    random = rng.random((n, epochs)).astype(np.float32)
    learned = (1 / (1 + np.exp(-np.linspace(-9, 17, epochs) + rng.normal(0, 1, (n, epochs))))).astype(np.float32)
    mixed = np.concatenate([random, near_one, near_zero, learned])[rng.permutation(4 * n)]
    return {"random": random, "near one": near_one, "near zero": near_zero, "learned": learned, "mixed": mixed}


@pytest.mark.parametrize("window", [2, 10, 30])
@pytest.mark.parametrize("kind", kinds_of_data(1, 30))
def test_rolling_sums_agree_with_two_passes_to_seven_digits(kind, window):
    prob = kinds_of_data(1500, 30)[kind]  # more than one block of 1024
    np.testing.assert_allclose(dual(dynamics(prob), window=window).values, two_passes(prob, window), rtol=1e-7)
    np.testing.assert_allclose(dyn_unc(dynamics(prob), window=window).values, two_passes(prob, window, False), rtol=1e-7)


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025])
def test_every_row_is_scored_at_the_edges_of_a_block(n):
    prob = np.random.default_rng(1).random((n, 6)).astype(np.float32)
    np.testing.assert_allclose(dual(dynamics(prob), window=4).values, two_passes(prob, 4), rtol=1e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 - 2**-24, 1.0])
def test_a_constant_curve_scores_exactly_zero(value):
    record = dynamics(np.full((3, 20), value))
    assert dual(record).values.tolist() == dyn_unc(record).values.tolist() == [0, 0, 0]


def test_on_saturated_samples_float64_sums_beat_a_float32_loop():
    prob = kinds_of_data(1500, 30)["near one"]
    exact = two_passes(prob, 10)
    ours, theirs = (np.max(np.abs(found / exact - 1)) for found in (dual(dynamics(prob)).values, float32_torch(prob, 10)))
    assert ours < 1e-7 < 1e-2 < theirs


def test_scores_stay_within_their_stated_ranges():
    prob = np.tile([0.0, 1.0], (1, 15))
    prob = np.concatenate([prob, 1 - prob, np.random.default_rng(0).random((500, 30))])
    assert 0 <= dual(dynamics(prob), window=2).values.min() and dual(dynamics(prob)).values.max() <= 0.39
    assert 0.5 < dyn_unc(dynamics(prob)).values.max() <= 0.53


# ---- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, forgetting])
def test_scoring_a_memory_mapped_record_copies_no_epochs(tmp_path, scorer):
    n, epochs = 50_000, 30
    prob = np.random.default_rng(0).random((epochs, n), np.float32).T
    record = TrainingDynamics.load(dynamics(prob, margin=prob, correct=prob > 0.5).save(tmp_path / "record"))
    scorer(record)  # compiled, and any first-call memory taken
    tracemalloc.start()
    values = scorer(record).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes + 1_500_000  # target_prob alone is 6,000,000 bytes


# ---- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scorer", [dual, dyn_unc])
@pytest.mark.parametrize("window", [13, 1, 0, -2, 2.5, 10.0, True, NAN, np.inf, "10", None])
def test_a_window_that_does_not_fit_the_record_is_refused(scorer, window):
    with pytest.raises(ValueError, match=rf"{scorer.__name__}'s window must be 2\.\.12 epochs .*has 12\); got {window}"):
        scorer(dynamics(np.zeros((2, 12))), window=window)


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, forgetting])
def test_samples_that_were_not_trained_on_are_refused_by_number(scorer):
    prob = np.full((5, 12), 0.5)
    prob[[2, 4]] = NAN
    with pytest.raises(ValueError, match=rf"{scorer.__name__} needs every sample's dynamics; 2 of 5 rows .*\(first: row 2\)"):
        scorer(dynamics(prob, margin=prob))


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, forgetting])
def test_a_bare_array_is_no_evidence(scorer):
    with pytest.raises(TypeError, match=f"{scorer.__name__} needs TrainingDynamics; got ndarray"):
        scorer(np.zeros((3, 12)))


def test_el2n_refuses_what_is_not_one_set():
    looked = snapshot([[0.5, 0.5]], labels=[0])
    with pytest.raises(ValueError, match=r"at least one Snapshot; got none: pass take_snapshot"):
        el2n()
    with pytest.raises(ValueError, match="have different labels: take them all on one set"):
        el2n(looked, snapshot([[0.5, 0.5]], labels=[1]))
    with pytest.raises(TypeError, match="el2n needs Snapshot; got TrainingDynamics"):
        el2n(dynamics([[0.5, 0.5]]))
