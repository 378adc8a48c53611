"""What every method of the catalog must do; a new method is checked by standing there."""

import numpy as np
import pytest
from scipy import stats

from dpkit import catalog
from dpkit.records import Scores, Snapshot, TrainingDynamics
from dpkit.selectors import keep_top

EPOCHS, CLASSES = 12, 3
SCORED = [name for name, method in catalog.METHODS.items() if method.scorer]
RANKED = [name for name, method in catalog.METHODS.items() if method.selector is keep_top]  # no chance but in ties


def evidence_for(method, n, *, rows=None, constant=False):
    """Random evidence of the kind the method looks at; `rows` reorders its samples. Labels are sorted by class."""
    rng = np.random.default_rng(n)
    rows = np.arange(n) if rows is None else rows
    labels = np.arange(n) * CLASSES // n

    def like(*shape, **how):  # the same for every sample if constant
        return np.broadcast_to(rng.random((*shape[:-1], 1), **how), shape) if constant else rng.random(shape, **how)

    if catalog.METHODS[method].evidence == "snapshot":
        probs = like(2, CLASSES, n).transpose(0, 2, 1)
        if constant:  # the same probability of the own label for every class
            probs = np.stack([np.roll([0.5, 0.3, 0.2], label) for label in labels])[None]
        return Snapshot((probs / probs.sum(-1, keepdims=True))[:, rows], like(5, n).T[rows], labels[rows])
    prob = like(EPOCHS, n).T
    return TrainingDynamics(prob[rows], (like(EPOCHS, n).T * 4 - 2)[rows], (prob > 0.5)[rows], labels[rows])


def select(method, evidence, keep, rng):
    scores = catalog.score(method, evidence)
    return catalog.select(method, scores, keep, evidence=evidence, num_samples=evidence.num_samples, rng=rng)


def contents(evidence):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in vars(evidence).items()
            if isinstance(array, np.ndarray)}


@pytest.mark.parametrize("method", catalog.METHODS)
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_exactly_keep_samples_of_the_set_stay(method, n):
    evidence = evidence_for(method, n)
    for keep in sorted({0, 1, n // 2, n - 1, n}):
        selection = select(method, evidence, keep, rng=5)
        assert selection.num_samples == n and len(selection.kept) == keep
        assert np.all(np.diff(selection.kept) > 0) and np.all((selection.kept >= 0) & (selection.kept < n))
        assert selection.params["seed"] == 5


@pytest.mark.parametrize("method", SCORED)
def test_every_sample_has_one_score_and_none_is_nan(method):
    scores = catalog.score(method, evidence_for(method, 60))
    assert isinstance(scores, Scores) and scores.num_samples == 60 and not np.isnan(scores.values).any()
    assert len(np.unique(scores.values)) > 3  # the evidence tells samples apart


@pytest.mark.parametrize("method", catalog.METHODS)
def test_the_evidence_is_left_as_it_was(method):
    evidence = evidence_for(method, 60)
    before = contents(evidence)
    select(method, evidence, 20, rng=0)
    assert contents(evidence) == before


@pytest.mark.parametrize("method", catalog.METHODS)
def test_the_same_seed_gives_the_same_answer_and_global_random_state_is_left_alone(method):
    evidence = evidence_for(method, 60)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (select(method, evidence, 20, rng=3) for _ in range(2))
    assert first.kept.tolist() == second.kept.tolist() and first.params == second.params
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@pytest.mark.parametrize("method", catalog.METHODS)
def test_seeds_matter_where_there_is_chance_and_only_there(method):
    evidence = evidence_for(method, 60)
    answers = {tuple(select(method, evidence, edge_without_ties(method, evidence), rng=seed).kept) for seed in range(8)}
    assert len(answers) == 1 if method in RANKED else len(answers) == 8


@pytest.mark.parametrize("method", SCORED)
def test_reordered_samples_have_the_same_scores_reordered(method):
    rows = np.random.default_rng(0).permutation(60)
    straight, reordered = (catalog.score(method, evidence_for(method, 60, rows=r)).values for r in (None, rows))
    np.testing.assert_array_equal(reordered, straight[rows])


@pytest.mark.parametrize("method", RANKED)
def test_reordered_samples_are_kept_just_the_same(method):
    rows = np.random.default_rng(0).permutation(60)
    keep = edge_without_ties(method, evidence_for(method, 60))
    straight, reordered = (select(method, evidence_for(method, 60, rows=r), keep, rng=0) for r in (None, rows))
    assert sorted(rows[reordered.kept]) == straight.kept.tolist()


@pytest.mark.parametrize("method", catalog.METHODS)
def test_equal_samples_have_equal_chances_whatever_their_place_and_class(method):
    n, keep, times = 12, 4, 1500
    evidence = evidence_for(method, n, constant=True)
    scores, rng = catalog.score(method, evidence), np.random.default_rng(0)
    if scores is not None:
        assert np.ptp(scores.values) < 1e-12
        scores = Scores(np.full(n, scores.values[0]), scores.name)
    kept = np.concatenate([catalog.select(method, scores, keep, evidence=evidence, num_samples=n, rng=rng).kept
                           for _ in range(times)])
    counts, share = np.bincount(kept, minlength=n), keep / n
    # counts of draws without replacement vary by share * (1 - share), and sum to a constant
    statistic = np.sum((counts - times * share) ** 2) / (times * share * (1 - share)) * (n - 1) / n
    assert stats.chi2.sf(statistic, n - 1) > 1e-3


def edge_without_ties(method, evidence):
    """A keep near a third at which no two samples are tied."""
    scores = catalog.score(method, evidence)
    if scores is None:
        return 20
    ordered = np.sort(scores.values)[::-1]
    return int(min(np.flatnonzero(ordered[:-1] != ordered[1:]) + 1, key=lambda keep: abs(keep - 20)))
