"""EEPrune: the three conditions by hand, the literal rule, the ratio, and what is never pruned."""

import warnings

import numpy as np
import pytest

from dpkit import eeprune, keep_above, keep_count, keep_top
from dpkit.methods import catalog
from dpkit.records import Scores, Snapshot

# label 0 of two classes. (early, final) probability of it
SAMPLES = [
    (0.95, 0.9),  # both right, the early exit sure
    (0.60, 0.9),  # both right, the early exit not so sure
    (0.97, 0.2),  # the early exit right and sure, the final one wrong: "overthinking"
    (0.10, 0.9),  # the early exit sure and wrong
    (0.05, 0.1),  # both wrong
    (0.80, 0.7),  # both right
]


def looked_at(samples=SAMPLES, label=0):
    probs = np.array(samples).T[..., None]
    return Snapshot(np.concatenate([probs, 1 - probs], axis=-1), None, [label] * len(samples))


def random_snapshot(n=400, exits=3, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(exits, n, classes)) * 2
    logits[:, np.arange(n), labels] += 2
    probs = np.exp(logits)
    return Snapshot(probs / probs.sum(-1, keepdims=True), None, labels)


def by_the_rule(snapshot, threshold, exit=0):
    """The samples to prune, one after the other, as the paper words it."""
    gone = []
    for i in range(snapshot.num_samples):
        early, final = snapshot.probs[exit, i], snapshot.probs[-1, i]
        right = early.argmax() == snapshot.labels[i] and final.argmax() == snapshot.labels[i]
        if right and float(early.max()) > threshold:
            gone.append(i)
    return gone


def test_the_score_by_hand():
    scores = eeprune(looked_at())
    assert scores.name == "eeprune" and scores.params == {"exit": 0}
    np.testing.assert_allclose(scores.values, [0.05, 0.4, np.inf, np.inf, np.inf, 0.2], rtol=1e-6)


@pytest.mark.parametrize("threshold", [0, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("exit", [0, 1])
def test_keep_above_is_the_literal_rule(threshold, exit):
    snapshot = random_snapshot()
    selection = keep_above(eeprune(snapshot, exit=exit), 1 - threshold)
    gone = by_the_rule(snapshot, threshold, exit)
    assert selection.pruned.tolist() == gone and (gone or threshold > 0.9)


def test_a_confidence_of_just_the_threshold_stays():
    assert keep_above(eeprune(looked_at([(0.75, 0.9), (0.875, 0.9)])), 1 - 0.75).kept.tolist() == [
        0
    ]


def test_the_higher_the_threshold_the_fewer_are_pruned_and_they_are_nested():
    scores, before = eeprune(random_snapshot()), None
    for threshold in np.linspace(0, 0.99, 34):
        gone = set(keep_above(scores, 1 - threshold).pruned.tolist())
        assert before is None or gone <= before
        before = gone


def test_none_that_an_exit_got_wrong_is_ever_pruned():
    snapshot = random_snapshot()
    wrong = np.flatnonzero((snapshot.probs[[0, -1]].argmax(-1) != snapshot.labels).any(axis=0))
    scores = eeprune(snapshot)
    for ratio in (0.1, 0.3, 0.6, 0.9, 0.99):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = keep_top(scores, keep_count(400, ratio), rng=0, protect_inf=True).kept
        assert np.isin(wrong, kept).all()
    assert np.isin(wrong, keep_above(scores, 1.0).kept).all()


def test_a_ratio_prunes_the_surest_first():
    kept = keep_top(eeprune(looked_at()), 5, rng=0, protect_inf=True)
    assert kept.pruned.tolist() == [0] and kept.params["requested"] == kept.params["achieved"] == 5
    assert keep_top(eeprune(looked_at()), 4, rng=0, protect_inf=True).pruned.tolist() == [0, 5]


def test_a_ratio_above_what_the_rule_allows_prunes_what_it_may_and_says_so():
    with pytest.warns(
        UserWarning,
        match="kept 3 samples instead of 1: samples scored .inf are protected and never pruned",
    ):
        selection = keep_top(eeprune(looked_at()), 1, rng=0, protect_inf=True)
    assert selection.pruned.tolist() == [0, 1, 5]
    assert (selection.params["requested"], selection.params["achieved"]) == (1, 3)
    with pytest.warns(UserWarning, match="kept 3 samples instead of 1"):
        chosen = catalog.find_method("eeprune").choose(looked_at(), 1, rng=0)
    assert chosen.kept.tolist() == selection.kept.tolist()


def test_what_neither_exit_has_learned_is_kept_a_wrong_label_above_all():
    # the last one has label 0 and looks like a 1
    snapshot = looked_at([(0.99, 0.99)] * 9 + [(0.01, 0.01)])
    assert np.isinf(eeprune(snapshot).values[-1])


@pytest.mark.parametrize(
    "exit, message",
    [
        (2, r"exit must be 0\.\.1 here; got 2"),
        (-1, r"exit must be 0\.\.1 here; got -1"),
        (3, "needs a Snapshot with at least 4 exits; this one has three"),
        (-4, "needs a Snapshot with at least 4 exits; this one has three"),
        (True, "exit must be a whole number"),
        (0.0, "exit must be a whole number"),
    ],
)
def test_an_exit_that_is_not_there_or_not_early_is_refused(exit, message):
    with pytest.raises(ValueError, match=message):
        eeprune(random_snapshot(), exit=exit)


def test_a_snapshot_without_early_exits_is_told_what_to_do():
    with pytest.raises(
        ValueError,
        match=r"this one has one: wrap the net before training, EarlyExitNet\(net, after=",
    ):
        eeprune(random_snapshot(exits=1))
    with pytest.raises(TypeError, match="eeprune needs Snapshot; got Scores"):
        eeprune(Scores([1.0], "dual"))


@pytest.mark.parametrize("confidence", [-0.1, 1, 1.5])
def test_a_threshold_outside_its_range_is_refused(confidence):
    with pytest.raises(
        ValueError,
        match=r"the threshold is 1 - t for a confidence t in \[0, 1\); got .* which is t = ",
    ):
        keep_above(eeprune(looked_at()), 1 - confidence)
    keep_above(Scores([1.0, 2.0], "mine"), 1 - confidence)  # other scores have other units


def test_large_snapshots_are_read_block_by_block_to_the_same_scores(monkeypatch):
    from dpkit.storage import blocks

    snapshot = random_snapshot()
    whole = eeprune(snapshot).values
    monkeypatch.setitem(blocks.row_blocks.__kwdefaults__, "size", 7)
    np.testing.assert_array_equal(eeprune(snapshot).values, whole)
