"""Scores against tables worked by hand and against the plain two-pass formula."""

import tracemalloc

import numpy as np
import pytest
import torch

from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics
from dpkit.scorers import (
    aum,
    dual,
    dyn_unc,
    el2n,
    entropy,
    forgetting,
    grand,
    least_confidence,
    margin,
    moderate,
    tdds,
)
from dpkit.selectors import keep_top

NAN = np.nan


def dynamics(prob, margin=None, correct=None, divergence=None):
    prob = np.asarray(prob, np.float32)
    margin = np.zeros(prob.shape) if margin is None else margin
    correct = np.zeros(prob.shape, bool) if correct is None else np.asarray(correct, bool)
    return TrainingDynamics(prob, margin, correct, np.zeros(len(prob), int), divergence=divergence)


# ---- by hand -------------------------------------------------------------------------------------

ROOT2 = 2**0.5
# J = 2, T = 3. The standard deviation of two numbers (divisor J - 1 = 1) is their distance over the
# root of 2.
CURVES = [
    [0.2, 0.6, 0.4],  # windows (.2, .6): mean .4, std .4/root2 and (.6, .4): mean .5, std .2/root2
    [0.0, 1.0, 1.0],  # windows (0, 1): mean .5, std 1/root2 and (1, 1): mean 1, std 0
    [0.5, 0.5, 0.5],  # never wavers
    [1.0, 0.0, 1.0],  # windows (1, 0) and (0, 1): mean .5, std 1/root2 both
]
# .1202 .1768 0 .3536
DUAL = [(0.6 * 0.4 + 0.5 * 0.2) / ROOT2 / 2, (0.5 * 1 + 0 * 0) / ROOT2 / 2, 0, 0.5 / ROOT2]
DYN_UNC = [(0.4 + 0.2) / ROOT2 / 2, 1 / ROOT2 / 2, 0, 1 / ROOT2]  # .2121 .3536 0 .7071


def test_dual_is_one_minus_mean_times_std_averaged_over_windows():
    np.testing.assert_allclose(dual(dynamics(CURVES), window=2).values, DUAL, rtol=1e-6, atol=1e-12)


def test_dyn_unc_is_the_std_averaged_over_all_windows_the_last_too():
    np.testing.assert_allclose(
        dyn_unc(dynamics(CURVES), window=2).values, DYN_UNC, rtol=1e-6, atol=1e-12
    )


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
    assert forgetting(dynamics(np.zeros((5, 5)), correct=correct)).values.tolist() == [
        2,
        1,
        0,
        0,
        2,
    ]


def test_never_learned_samples_rank_hardest():
    scores = forgetting(
        dynamics(np.zeros((3, 4)), correct=[[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    ).values
    assert scores.tolist() == [2, np.inf, 0]


def test_a_low_area_under_the_margin_ranks_high():
    scores = aum(dynamics(np.zeros((2, 3)), margin=[[1, -2, 4], [-3, -3, 0]])).values
    assert scores.tolist() == [-1, 2]  # -(1 - 2 + 4) / 3 and -(-3 - 3 + 0) / 3


def test_aum_is_the_mean_over_all_epochs_not_the_last_one():
    # by the last epoch alone the first sample would be the easier one; over the whole training it
    # is the harder one
    hard, easy = aum(dynamics(np.zeros((2, 4)), margin=[[-6, -6, -6, 2], [4, 4, 4, 0]])).values
    assert (hard, easy) == (4, -3)


def softmax_seen(logits, labels):
    """What a Recorder keeps of logits (n, T, C): float32 target_prob and margin; and all
    probabilities in float64.
    """
    logits = np.asarray(logits, np.float64)
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    given = np.eye(logits.shape[-1], dtype=bool)[labels][:, None].repeat(logits.shape[1], 1)
    others = np.where(given, -np.inf, logits).max(-1)
    return (
        probs[given].reshape(others.shape),
        logits[given].reshape(others.shape) - others,
        probs,
        given,
    )


# at 60 most probabilities are 0 or 1, and some too small for float32
@pytest.mark.parametrize("spread", [1, 10, 60])
def test_aum_by_probability_is_the_given_probability_minus_the_largest_other(spread):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    p, m, probs, given = softmax_seen(spread * rng.normal(size=(400, 7, 5)), labels)
    expected = -(p - np.where(given, -np.inf, probs).max(-1)).mean(1)
    found = aum(dynamics(p, margin=m), scale="probability").values
    held = (p > np.finfo(np.float32).tiny).all(1)
    np.testing.assert_allclose(found[held], expected[held], atol=2e-5)
    # of a probability that float32 does not hold nothing is known but that the largest other is
    # between 1/4 and 1
    lost = (p <= np.finfo(np.float32).tiny).mean(1)
    assert np.all(np.abs(found - expected) <= 0.75 * lost + 2e-5)
    assert held.sum() >= 20 and (spread < 60 or not held.all())


def test_the_scale_of_the_margin_orders_samples_differently():
    # sure in one epoch and lost in the next, against slightly wrong in both
    record = dynamics([[1, np.exp(-9)], [0.45, 0.45]], margin=[[20, -9], [-0.2, -0.2]])
    np.testing.assert_allclose(aum(record).values, [-5.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(
        aum(record, scale="probability").values, [-0.0001 / 2, 0.45 * (np.exp(0.2) - 1)], atol=2e-5
    )
    swinging = dynamics([[1, np.exp(-9)], [0.5, 0.5]], margin=[[5, -9], [0.01, 0.01]])
    by_logit, by_probability = aum(swinging).values, aum(swinging, scale="probability").values
    assert by_logit[0] - by_logit[1] > 2 and abs(by_probability[0] - by_probability[1]) < 0.01


@pytest.mark.parametrize("lowest", [-90, -104, -200, -1e4, -3e38])
def test_a_probability_too_small_for_float32_counts_as_surely_wrong(lowest):
    assert aum(dynamics([[0.0]], margin=[[lowest]]), scale="probability").values.tolist() == [1]


# T = 4, J = 3: three moves; the windows hold moves (0, 1) and (1, 2). Of two numbers the root of
# the summed squared deviations is their distance over the root of 2. Weights: .9 * .1 for the first
# window, .9 for the last.
MOVES = [[0.5, 0.1, 0.3], [0.2, 0.2, 0.2], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
TDDS = [(0.09 * 0.4 + 0.9 * 0.2) / ROOT2, 0, (0.09 + 0.9) / ROOT2, 0.09 / ROOT2]


def test_tdds_is_the_unevenness_of_the_moves_the_last_windows_counting_most():
    found = tdds(dynamics(np.zeros((4, 4)), divergence=MOVES), window=3)
    np.testing.assert_allclose(found.values, TDDS, rtol=1e-6, atol=1e-8)
    assert found.params == {"window": 3, "decay": 0.9}


def test_tdds_shifts_its_windows():
    # moves that are uneven only after the first window: a port that never shifts it finds nothing
    late = dynamics(np.zeros((1, 12)), divergence=[[0.2] * 9 + [0.0, 0.9]])
    assert tdds(late).values[0] > 0.5
    # and only before the last one: with the whole weight on the newest window nothing is left
    early = dynamics(np.zeros((1, 12)), divergence=[[0.9, 0.0] + [0.2] * 9])
    assert (
        tdds(early, decay=1).values[0] == pytest.approx(0, abs=1e-7) and tdds(early).values[0] > 0
    )


def plain_tdds(moves, window, decay):
    """The formula as printed, window after window, in float64."""
    moves, epochs = np.asarray(moves, np.float32).astype(float), np.shape(moves)[1] + 1
    total = np.zeros(len(moves))
    for k in range(epochs - window + 1):
        part = moves[:, k : k + window - 1]
        total += (
            decay
            * (1 - decay) ** (epochs - window - k)
            * np.linalg.norm(part - part.mean(1, keepdims=True), axis=1)
        )
    return total


@pytest.mark.parametrize("window, decay", [(3, 0.9), (10, 0.9), (30, 0.9), (10, 0.5), (10, 1)])
def test_tdds_agrees_with_the_formula_as_printed(window, decay):
    rng = np.random.default_rng(0)
    # more than one block; from large moves to minute ones
    moves = rng.random((9000, 29)) * np.geomspace(5, 1e-7, 29)
    found = tdds(
        dynamics(np.zeros((9000, 30)), divergence=moves), window=window, decay=decay
    ).values
    np.testing.assert_allclose(found, plain_tdds(moves, window, decay), rtol=1e-9)


def snapshot(*exits, labels, features=None):
    return Snapshot(np.array(exits), features, labels)


LOOKED = [[0.5, 0.25, 0.25], [1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]


@pytest.mark.parametrize(
    "scorer, expected",
    [
        (entropy, [1.5 * np.log(2), 0, np.log(2), np.log(3)]),  # .5 log 2 + 2 * .25 log 4
        (least_confidence, [0.5, 0, 0.5, 2 / 3]),
        (margin, [0.75, 0, 1, 1]),
    ],
)
def test_uncertainty_of_four_answers_by_hand(scorer, expected):
    found = scorer(snapshot(LOOKED, labels=[0, 1, 2, 0]))
    np.testing.assert_allclose(found.values, expected, rtol=1e-6, atol=1e-12)
    assert found.name == scorer.__name__ and found.params == {"exit": -1}


def test_least_confidence_is_of_probabilities_not_of_logits():
    # by its largest logit the first sample would be the surer one
    logits = np.array([[9.0, 8.0], [3.0, 0.0]])
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    undecided, sure = least_confidence(snapshot(probs, labels=[0, 0])).values
    assert (undecided, sure) == (pytest.approx(1 / (1 + np.e)), pytest.approx(1 / (1 + np.e**3)))


@pytest.mark.parametrize("scorer", [entropy, least_confidence, margin])
def test_uncertainty_reads_the_exit_asked_for(scorer):
    early, final = LOOKED, LOOKED[::-1]
    both, labels = snapshot(early, final, labels=[0] * 4), [0] * 4
    for exit, probs in ((0, early), (-2, early), (1, final), (-1, final)):
        np.testing.assert_array_equal(
            scorer(both, exit=exit).values, scorer(snapshot(probs, labels=labels)).values
        )
    np.testing.assert_array_equal(scorer(both).values, scorer(both, exit=-1).values)


# distances of features to their class's median: class 0 has 0 1 2 3 4 9 (median 2.5), class 2 has
# one sample, class 1 none
FEATURES, CLASSES_OF = [[0.0], [1], [2], [3], [4], [9], [50]], [0, 0, 0, 0, 0, 0, 2]
# distances 2.5 1.5 .5 .5 1.5 6.5 0; ranks 6 4.5 2.5 2.5 4.5 7 1; the middle of seven is rank 4
MODERATE = [-2 / 7, -0.5 / 7, -1.5 / 7, -1.5 / 7, -0.5 / 7, -3 / 7, -3 / 7]
# class 0 by itself: ranks 5 3.5 1.5 1.5 3.5 6, middle 3.5; the only one of its class stands in the
# middle
BY_CLASS = [-1.5 / 6, 0, -2 / 6, -2 / 6, 0, -2.5 / 6, 0]


@pytest.mark.parametrize("ranked, expected", [("together", MODERATE), ("by_class", BY_CLASS)])
def test_moderate_is_nearness_to_the_middle_of_the_ranking(ranked, expected):
    probs = np.full((7, 3), 1 / 3)
    found = moderate(snapshot(probs, labels=CLASSES_OF, features=FEATURES), ranked=ranked)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert found.params == {"ranked": ranked}


def released_moderate(features, labels, keep):
    """The rows the released code KEEPS: all but those it returns, which are both ends of the sorted
    distances.
    """
    medians = np.stack([np.median(features[labels == c], axis=0) for c in range(labels.max() + 1)])
    order, n = np.linalg.norm(features - medians[labels], axis=1).argsort(), len(labels)
    removed = np.concatenate(
        [order[: round(n * (0.5 - keep / n / 2))], order[round(n * (0.5 + keep / n / 2)) :]]
    )
    return np.setdiff1d(np.arange(n), removed)


@pytest.mark.parametrize("keep", [20, 60, 100])
def test_keeping_the_top_of_moderate_keeps_the_middle_and_not_the_ends(keep):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(120, 8)).astype(np.float32), rng.integers(0, 3, 120)
    scores = moderate(Snapshot(np.full((1, 120, 3), 1 / 3), features, labels))
    assert (
        keep_top(scores, keep, rng=0).kept.tolist()
        == released_moderate(features, labels, keep).tolist()
    )


def test_moderate_takes_the_two_sides_of_the_middle_for_equal():
    features = np.random.default_rng(0).normal(size=(1001, 4))
    values = np.sort(
        moderate(Snapshot(np.ones((1, 1001, 1)), features, np.zeros(1001, int))).values
    )
    assert values[-1] == 0 and np.array_equal(values[0:-1:2], values[1:-1:2])


def test_a_constant_feature_moves_no_distance():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    probs = np.full((1, 50, 2), 0.5)
    plain, more = (
        moderate(Snapshot(probs, f, labels)).values
        for f in (features, np.column_stack([features, np.ones(50)]))
    )
    np.testing.assert_array_equal(plain, more)
    # all tied in the middle
    assert moderate(Snapshot(probs, np.ones((50, 3)), labels)).values.tolist() == [0] * 50


# p - y: (-.4, .4), length .4 * root 2; [h, 1] = (2, 2, 1), length 3.  Surely right: no gradient.
GRAND = dict(labels=[0, 1], features=[[2.0, 2.0], [5.0, 7.0]])


def test_grand_is_error_times_feature_length():
    found = grand(snapshot([[0.6, 0.4], [0, 1]], **GRAND))
    np.testing.assert_allclose(found.values, [0.4 * ROOT2 * 3, 0], rtol=1e-6)


def test_grand_averages_over_snapshots_and_reads_the_final_exit():
    early, final = [[0.0, 1.0], [1.0, 0.0]], [[0.6, 0.4], [0, 1]]
    # surely wrong: root 2, times 1 and 3
    other = Snapshot([early], [[0.0, 0.0], [2.0, 2.0]], [0, 1])
    found = grand(snapshot(early, final, **GRAND), other)
    np.testing.assert_allclose(
        found.values, [(0.4 * ROOT2 * 3 + ROOT2) / 2, ROOT2 * 3 / 2], rtol=1e-6
    )
    assert found.params == {"snapshots": 2}


def seen_by_a_head(n, seed=0, classes=4, width=6):
    """A head, the features it reads, labels, and the Snapshot of it."""
    rng = np.random.default_rng(seed)
    weight, bias = (
        torch.tensor(rng.normal(size=shape), requires_grad=True)
        for shape in ((classes, width), (classes,))
    )
    h, labels = torch.tensor(rng.normal(size=(n, width))), torch.tensor(rng.integers(0, classes, n))
    probs = (h @ weight.T + bias).softmax(1).detach().numpy()
    return weight, bias, h, labels, Snapshot(probs[None], h.numpy(), labels.numpy())


def test_grand_is_the_length_of_the_heads_gradient_by_autograd():
    weight, bias, h, labels, looked = seen_by_a_head(30)
    expected = []
    for i in range(30):
        loss = torch.nn.functional.cross_entropy((h[i] @ weight.T + bias)[None], labels[i : i + 1])
        parts = torch.autograd.grad(loss, [weight, bias])
        expected.append(float(sum(part.square().sum() for part in parts).sqrt()))
    np.testing.assert_allclose(grand(looked).values, expected, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 80, 2047, 2048, 2049])  # 2048 rows are a block
def test_grand_of_a_sample_does_not_depend_on_how_many_are_scored_with_it(n):
    *_, looked = seen_by_a_head(4000)
    part = Snapshot(looked.probs[:, :n], looked.features[:n], looked.labels[:n])
    np.testing.assert_array_equal(grand(part).values, grand(looked).values[:n])


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
    probs, labels = (
        rng.dirichlet(np.ones(3), 65536 + 7).astype(np.float32),
        rng.integers(0, 3, 65536 + 7),
    )
    expected = np.linalg.norm(probs.astype(float) - np.eye(3)[labels], axis=1)
    np.testing.assert_allclose(
        el2n(Snapshot(probs[None], None, labels)).values, expected, rtol=1e-12
    )


# ---- the plain formula as oracle -----------------------------------------------------------------


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
    near_one = np.float32(1) - rng.integers(1, 5, (n, epochs)).astype(np.float32) * np.float32(
        2**-24
    )
    near_zero = (rng.random((n, epochs)) * 1e-7).astype(np.float32)
    random = rng.random((n, epochs)).astype(np.float32)
    learned = (
        1 / (1 + np.exp(-np.linspace(-9, 17, epochs) + rng.normal(0, 1, (n, epochs))))
    ).astype(np.float32)
    mixed = np.concatenate([random, near_one, near_zero, learned])[rng.permutation(4 * n)]
    return {
        "random": random,
        "near one": near_one,
        "near zero": near_zero,
        "learned": learned,
        "mixed": mixed,
    }


@pytest.mark.parametrize("window", [2, 10, 30])
@pytest.mark.parametrize("kind", kinds_of_data(1, 30))
def test_rolling_sums_agree_with_two_passes_to_seven_digits(kind, window):
    prob = kinds_of_data(1500, 30)[kind]  # more than one block of 1024
    np.testing.assert_allclose(
        dual(dynamics(prob), window=window).values, two_passes(prob, window), rtol=1e-7
    )
    np.testing.assert_allclose(
        dyn_unc(dynamics(prob), window=window).values, two_passes(prob, window, False), rtol=1e-7
    )


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025])
def test_every_row_is_scored_at_the_edges_of_a_block(n):
    prob = np.random.default_rng(1).random((n, 6)).astype(np.float32)
    np.testing.assert_allclose(
        dual(dynamics(prob), window=4).values, two_passes(prob, 4), rtol=1e-7
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1 - 2**-24, 1.0])
def test_a_constant_curve_scores_exactly_zero(value):
    record = dynamics(np.full((3, 20), value))
    assert dual(record).values.tolist() == dyn_unc(record).values.tolist() == [0, 0, 0]


def test_on_saturated_samples_float64_sums_beat_a_float32_loop():
    prob = kinds_of_data(1500, 30)["near one"]
    exact = two_passes(prob, 10)
    ours, theirs = (
        np.max(np.abs(found / exact - 1))
        for found in (dual(dynamics(prob)).values, float32_torch(prob, 10))
    )
    assert ours < 1e-7 < 1e-2 < theirs


def test_scores_stay_within_their_stated_ranges():
    prob = np.tile([0.0, 1.0], (1, 15))
    prob = np.concatenate([prob, 1 - prob, np.random.default_rng(0).random((500, 30))])
    assert (
        0 <= dual(dynamics(prob), window=2).values.min()
        and dual(dynamics(prob)).values.max() <= 0.39
    )
    assert 0.5 < dyn_unc(dynamics(prob)).values.max() <= 0.53


# ---- memory --------------------------------------------------------------------------------------


def aum_by_probability(record):
    return aum(record, scale="probability")


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, aum_by_probability, forgetting, tdds])
def test_scoring_a_memory_mapped_record_copies_no_epochs(tmp_path, scorer):
    n, epochs = 50_000, 30
    prob = np.random.default_rng(0).random((epochs, n), np.float32).T
    record = TrainingDynamics.load(
        dynamics(prob, prob, prob > 0.5, prob[:, 1:]).save(tmp_path / "record")
    )
    scorer(record)  # compiled, and any first-call memory taken
    tracemalloc.start()
    values = scorer(record).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes + 1_500_000  # target_prob alone is 6,000,000 bytes


@pytest.mark.parametrize("scorer", [grand, moderate])
def test_scoring_memory_mapped_features_copies_few_of_them(tmp_path, scorer):
    n, width = 30_000, 64
    rng = np.random.default_rng(0)
    probs, features, labels = (
        np.full((1, n, 10), 0.1),
        rng.random((n, width), np.float32),
        rng.integers(0, 10, n),
    )
    looked = Snapshot.load(Snapshot(probs, features, labels).save(tmp_path / "looked"))
    scorer(looked)
    tracemalloc.start()
    scorer(looked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # a tenth of the rows, as float64 and sorted by column, for moderate
    assert peak < features.nbytes * 0.7


@pytest.mark.parametrize("scorer", [el2n, grand, entropy, least_confidence, margin, moderate])
def test_a_memory_mapped_snapshot_scores_as_one_in_memory(tmp_path, scorer):
    *_, looked = seen_by_a_head(2100)
    np.testing.assert_array_equal(
        scorer(Snapshot.load(looked.save(tmp_path / "looked"))).values, scorer(looked).values
    )


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scorer", [dual, dyn_unc])
@pytest.mark.parametrize("window", [13, 1, 0, -2, 2.5, 10.0, True, NAN, np.inf, "10", None])
def test_a_window_that_does_not_fit_the_record_is_refused(scorer, window):
    with pytest.raises(
        ValueError,
        match=rf"{scorer.__name__}'s window must be 2\.\.12 epochs .*has 12\); got {window}",
    ):
        scorer(dynamics(np.zeros((2, 12))), window=window)


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, forgetting, tdds])
def test_samples_that_were_not_trained_on_are_refused_by_number(scorer):
    prob = np.full((5, 12), 0.5)
    prob[[2, 4]] = NAN
    with pytest.raises(
        ValueError,
        match=rf"{scorer.__name__} needs every sample's dynamics; 2 of 5 rows .*\(first: row 2\)",
    ):
        scorer(dynamics(prob, margin=prob, divergence=prob[:, 1:]))


@pytest.mark.parametrize("window", [13, 2, 0, 2.5, True, NAN, "10", None])
def test_a_window_without_two_moves_or_longer_than_the_record_is_refused_by_tdds(window):
    with pytest.raises(
        ValueError, match=rf"tdds's window must be 3\.\.12 epochs .*has 12\); got {window}"
    ):
        tdds(dynamics(np.zeros((2, 12)), divergence=np.zeros((2, 11))), window=window)


@pytest.mark.parametrize("decay", [0, -0.1, 1.1, NAN])
def test_a_decay_that_is_no_weight_is_refused(decay):
    with pytest.raises(ValueError, match=rf"tdds's decay .* must be in \(0, 1\]; got {decay}"):
        tdds(dynamics(np.zeros((2, 12)), divergence=np.zeros((2, 11))), decay=decay)


def test_tdds_says_how_to_record_what_it_needs():
    with pytest.raises(
        ValueError, match=r"this one has none: record with Recorder\(\.\.\., tdds=True\)"
    ):
        tdds(dynamics(np.zeros((2, 12))))


def test_unknown_words_are_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match='aum\'s scale must be "logit" or "probability"; got \'prob\''
    ):
        aum(dynamics(np.zeros((2, 3))), scale="prob")
    with pytest.raises(
        ValueError, match='moderate\'s ranked must be "together" or "by_class"; got \'class\''
    ):
        moderate(snapshot([[0.5, 0.5]], labels=[0], features=[[1.0]]), ranked="class")


@pytest.mark.parametrize("scorer", [dual, dyn_unc, aum, forgetting, tdds])
def test_a_bare_array_is_no_evidence(scorer):
    with pytest.raises(TypeError, match=f"{scorer.__name__} needs TrainingDynamics; got ndarray"):
        scorer(np.zeros((3, 12)))


@pytest.mark.parametrize("scorer", [el2n, grand])
def test_snapshots_that_are_not_of_one_set_are_refused(scorer):
    looked, other = (snapshot([[0.5, 0.5]], labels=[label], features=[[1.0]]) for label in (0, 1))
    with pytest.raises(
        ValueError,
        match=rf"{scorer.__name__} needs at least one Snapshot; got none: pass take_snapshot",
    ):
        scorer()
    with pytest.raises(ValueError, match="have different labels: take them all on one set"):
        scorer(looked, other)
    with pytest.raises(TypeError, match=f"{scorer.__name__} needs Snapshot; got TrainingDynamics"):
        scorer(looked, dynamics([[0.5, 0.5]]))


@pytest.mark.parametrize("scorer", [entropy, least_confidence, margin, moderate])
@pytest.mark.parametrize(
    "evidence", [np.ones((1, 3, 2)) / 2, Scores([1, 2, 3], "el2n"), Selection([0, 1], 3, "top")]
)
def test_what_is_no_snapshot_is_refused(scorer, evidence):
    with pytest.raises(
        TypeError, match=f"{scorer.__name__} needs Snapshot; got {type(evidence).__name__}"
    ):
        scorer(evidence)


@pytest.mark.parametrize(
    "mistaken",
    [np.ones(3, bool), np.array([2, 0, 1]), [0.5, 0.1, 0.2], Selection([0, 2], 3, "top")],
)
def test_a_mask_an_order_or_a_selection_is_not_taken_for_scores(mistaken):
    with pytest.raises(
        TypeError, match=f"keep_top needs Scores; got {type(mistaken).__name__}; wrap it: Scores"
    ):
        keep_top(mistaken, 2, rng=0)


@pytest.mark.parametrize("scorer", [entropy, least_confidence, margin])
def test_an_exit_that_is_not_there_is_refused(scorer):
    one, two = snapshot(LOOKED, labels=[0] * 4), snapshot(LOOKED, LOOKED, labels=[0] * 4)
    for looked, exit, least, there in (
        (one, 1, "two", "one"),
        (one, -2, "two", "one"),
        (two, 2, "three", "two"),
        (two, 7, 8, "two"),
    ):
        with pytest.raises(
            ValueError,
            match=f"{scorer.__name__} at exit {exit} needs a Snapshot with at least {least} exits; "
            f"this one has {there}: wrap the net",
        ):
            scorer(looked, exit=exit)
    for exit in (0.0, "0", None, True):
        with pytest.raises(
            ValueError, match=f"{scorer.__name__}'s exit must be a whole number, .*; got {exit!r}"
        ):
            scorer(two, exit=exit)


def test_a_margin_between_classes_needs_two():
    with pytest.raises(
        ValueError, match="margin needs at least two classes to compare; this Snapshot has one"
    ):
        margin(snapshot([[1.0]], labels=[0]))


@pytest.mark.parametrize("scorer", [grand, moderate])
def test_features_that_are_missing_or_not_finite_are_refused_by_row(scorer):
    with pytest.raises(
        ValueError,
        match=f"{scorer.__name__} reads features, and this Snapshot kept none: pass take_snapshot",
    ):
        scorer(snapshot(LOOKED, labels=[0] * 4))
    features = np.ones((4, 2))
    features[1, 0], features[3] = NAN, np.inf
    with pytest.raises(
        ValueError,
        match=rf"{scorer.__name__} needs finite features; 2 of 4 rows hold .* \(first: row 1\)",
    ):
        scorer(snapshot(LOOKED, labels=[0] * 4, features=features))


@pytest.mark.parametrize("scorer", [entropy, least_confidence, margin, moderate, el2n, grand])
def test_a_set_of_no_samples_has_no_scores(scorer):
    assert scorer(Snapshot(np.ones((1, 0, 2)), np.ones((0, 3)), [])).num_samples == 0
