"""What every method of the catalog must do; a new method is checked by standing there."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from dpkit import selectors
from dpkit.methods import catalog
from dpkit.records import Scores, Snapshot, TrainingDynamics

EPOCHS, CLASSES = 12, 3
SCORED = [name for name, method in catalog.METHODS.items() if method.scorer]
# no chance but in ties and in who gets a single place that quotas leave over
SURE = (
    selectors.keep_top,
    selectors.keep_d2,
    selectors.keep_herding,
    selectors.keep_nearest_to_centre,
)
SETTLED = [name for name, method in catalog.METHODS.items() if method.selector in SURE]


def evidence_for(n, *, rows=None, constant=False):
    """What a watched training leaves, made up: dynamics and two snapshots of n random samples;
    `rows` reorders them.

    Labels are sorted by class. constant: the same for every sample but its label.
    """
    rng = np.random.default_rng(n)
    rows = np.arange(n) if rows is None else rows
    labels = np.arange(n) * CLASSES // n

    def like(*shape):
        return (
            np.broadcast_to(rng.random((*shape[:-1], 1)), shape) if constant else rng.random(shape)
        )

    def looked():
        probs = like(2, CLASSES, n).transpose(0, 2, 1)
        if constant:  # the same probability of the own label for every class
            probs = np.stack([[np.roll([0.5, 0.3, 0.2], label) for label in labels]] * 2)
        return Snapshot(
            (probs / probs.sum(-1, keepdims=True))[:, rows], like(5, n).T[rows], labels[rows]
        )

    prob, margin, moved = like(EPOCHS, n).T, like(EPOCHS, n).T * 4 - 2, like(EPOCHS - 1, n).T
    dynamics = TrainingDynamics(
        prob[rows], margin[rows], (prob > 0.5)[rows], labels[rows], divergence=moved[rows]
    )
    return SimpleNamespace(dynamics=dynamics, snapshot=looked(), final=looked())


def select(method, evidence, keep, rng, **options):
    scores, labels = catalog.find_method(method).score(evidence), evidence.dynamics.labels
    if "neighbours" in catalog.find_method(method).options and len(labels) < 7:
        options["neighbours"] = 1  # there are no five
    if catalog.find_method(method).options.get("protect_inf"):
        options["protect_inf"] = False  # the one way to keep more than was asked, tested by itself
    if "steps" in catalog.find_method(method).options:
        options["steps"] = 300  # what must hold of any search holds of a short one
    if "cutoff" in catalog.find_method(method).options and keep == 21:
        options["cutoff"] = 0.1  # the same number of each class goes first
    return catalog.find_method(method).select(
        scores, keep, evidence=evidence, num_samples=len(labels), labels=labels, rng=rng, **options
    )


def contents(evidence):
    return {
        (kind, name): (array.dtype, array.shape, array.tobytes())
        for kind, record in vars(evidence).items()
        for name, array in vars(record).items()
        if isinstance(array, np.ndarray)
    }


@pytest.mark.parametrize("method", catalog.METHODS)
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_exactly_keep_samples_of_the_set_stay(method, n):
    evidence = evidence_for(n)
    for keep in sorted({0, 1, n // 2, n - 1, n}):
        selection = select(method, evidence, keep, rng=5)
        assert selection.num_samples == n and len(selection.kept) == keep
        assert np.all(np.diff(selection.kept) > 0) and np.all(
            (selection.kept >= 0) & (selection.kept < n)
        )
        assert selection.params["seed"] == 5


@pytest.mark.parametrize("method", SCORED)
def test_every_sample_has_one_score_and_none_is_nan(method):
    scores = catalog.find_method(method).score(evidence_for(60))
    assert (
        isinstance(scores, Scores)
        and scores.num_samples == 60
        and not np.isnan(scores.values).any()
    )
    assert len(np.unique(scores.values)) > 3  # the evidence tells samples apart


@pytest.mark.parametrize("method", catalog.METHODS)
def test_the_evidence_is_left_as_it_was(method):
    evidence = evidence_for(60)
    before = contents(evidence)
    select(method, evidence, 20, rng=0)
    assert contents(evidence) == before


@pytest.mark.parametrize("method", catalog.METHODS)
def test_the_same_seed_gives_the_same_answer_and_global_random_state_is_left_alone(method):
    evidence = evidence_for(60)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (select(method, evidence, 20, rng=3) for _ in range(2))
    assert first.kept.tolist() == second.kept.tolist() and first.params == second.params
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@pytest.mark.parametrize("method", catalog.METHODS)
def test_seeds_matter_where_there_is_chance_and_only_there(method):
    evidence = evidence_for(60)
    answers = {
        tuple(select(method, evidence, edge_without_ties(method, evidence), rng=seed).kept)
        for seed in range(8)
    }
    # k-centre's first centre may be drawn twice
    assert len(answers) == 1 if method in SETTLED else len(answers) > 4


@pytest.mark.parametrize("method", SCORED)
def test_reordered_samples_have_the_same_scores_reordered(method):
    rows = np.random.default_rng(0).permutation(60)
    straight, reordered = (
        catalog.find_method(method).score(evidence_for(60, rows=r)).values for r in (None, rows)
    )
    np.testing.assert_array_equal(reordered, straight[rows])


@pytest.mark.parametrize("method", SETTLED)
def test_reordered_samples_are_kept_just_the_same(method):
    rows = np.random.default_rng(0).permutation(60)
    keep = edge_without_ties(method, evidence_for(60))
    straight, reordered = (
        select(method, evidence_for(60, rows=r), keep, rng=0) for r in (None, rows)
    )
    assert sorted(rows[reordered.kept]) == straight.kept.tolist()


@pytest.mark.parametrize("method", catalog.METHODS)
def test_equal_samples_have_equal_chances_whatever_their_place_and_class(method):
    n, keep = 12, 4
    times = 400 if method == "influence" else 1500  # it inverts a matrix for each draw
    evidence = evidence_for(n, constant=True)
    scores, rng = catalog.find_method(method).score(evidence), np.random.default_rng(0)
    if scores is not None:
        assert np.ptp(scores.values) < 1e-12
        scores = Scores(np.full(n, scores.values[0]), scores.name)
    labels = evidence.dynamics.labels
    kept = np.concatenate(
        [
            catalog.find_method(method)
            .select(scores, keep, evidence=evidence, num_samples=n, labels=labels, rng=rng)
            .kept
            for _ in range(times)
        ]
    )
    # what looks at all vectors together tells classes apart: there samples are equal within their
    # class
    alike = (
        [labels == c for c in range(CLASSES)]
        if catalog.METHODS[method].selector_input == "snapshot"
        else [np.ones(n, bool)]
    )
    for group in alike:
        counts, k = np.bincount(kept, minlength=n)[group], group.sum()
        share = keep / n if k == n else counts.sum() / (k * times)
        # counts of draws without replacement vary by share * (1 - share), and sum to a constant
        statistic = (
            np.sum((counts - times * share) ** 2) / (times * share * (1 - share)) * (k - 1) / k
        )
        assert stats.chi2.sf(statistic, k - 1) > 1e-3


def edge_without_ties(method, evidence):
    """A keep near a third at which no two samples are tied, and no class can have a place more than
    another.
    """
    if catalog.METHODS[method].selector is not selectors.keep_top:
        return 21
    ordered = np.sort(catalog.find_method(method).score(evidence).values)[::-1]
    return int(
        min(np.flatnonzero(ordered[:-1] != ordered[1:]) + 1, key=lambda keep: abs(keep - 20))
    )


@pytest.mark.parametrize("per_class", ["balanced", "proportional"])
@pytest.mark.parametrize(
    "method", [name for name in catalog.METHODS if "per_class" in catalog.find_method(name).options]
)
def test_any_method_can_be_asked_for_class_quotas(method, per_class):
    evidence = evidence_for(60)
    labels = np.repeat([0, 1, 2], [36, 18, 6])
    for kind, record in vars(evidence).items():
        setattr(evidence, kind, replace(record, labels=labels))
    chosen = select(method, evidence, 10, rng=0, per_class=per_class)
    counts = sorted(np.bincount(labels[chosen.kept], minlength=3).tolist())
    assert counts == ([3, 3, 4] if per_class == "balanced" else [1, 3, 6])


@pytest.mark.parametrize(
    "method", [name for name in catalog.METHODS if "per_class" in catalog.find_method(name).options]
)
def test_any_method_can_go_by_the_difficulty_of_classes_in_the_record(method):
    evidence, labels = evidence_for(60), np.repeat([0, 1, 2], 20)
    for kind, record in vars(evidence).items():
        setattr(evidence, kind, replace(record, labels=labels))
    # right in .9, .6 and .5 of the last ten epochs
    correct = np.zeros_like(evidence.dynamics.correct)
    for c, right in enumerate((9, 6, 5)):
        correct[labels == c, -right:] = True
    evidence.dynamics = replace(evidence.dynamics, correct=correct)
    chosen = select(method, evidence, 40, rng=0, per_class="difficulty")
    assert np.bincount(labels[chosen.kept]).tolist() == [4, 16, 20]
    epochs = evidence.dynamics.num_epochs
    assert chosen.params["per_class"] == "difficulty"
    assert chosen.params["recall"] == pytest.approx([0.9, 0.6, 0.5])
    told = f"training, mean of the last 10 of {epochs} recorded epochs"
    assert chosen.params["recall_of"] == told
    asked = catalog.find_method(method).with_options({"per_class": "difficulty"})
    assert "dynamics" in asked.reads and asked.option_names == catalog.METHODS[method].option_names
    note = catalog.find_method(method).note(chosen)
    assert f"1 - recall in {told}: from 0.50 for class number 2 to 0.90 for class number 0" in note


def test_a_record_that_knows_a_class_by_heart_is_said_to_leave_it_nothing():
    evidence = evidence_for(60)
    labels = np.repeat([0, 1], 30)
    correct = np.tile(labels[:, None] == 0, evidence.dynamics.num_epochs)
    dynamics = replace(evidence.dynamics, labels=labels, correct=correct)
    random = catalog.METHODS["random"]
    chosen = random.select(
        None, 20, evidence=dynamics, num_samples=60, rng=0, per_class="difficulty"
    )
    assert labels[chosen.kept].tolist() == [1] * 20
    assert "a class of recall near 1 keeps next to nothing" in random.note(chosen)


def test_every_method_takes_class_quotas():
    assert all("per_class" in catalog.find_method(name).options for name in catalog.METHODS)
