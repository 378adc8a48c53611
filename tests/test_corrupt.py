"""Wrong labels on purpose: as many as asked, all of them wrong, and known."""

import numpy as np
import pytest
from scipy import stats

from dpkit.data.label_noise import flip_labels
from dpkit.selectors import keep_random

LABELS = np.arange(1000) % 5


def test_exactly_the_fraction_is_flipped_and_the_rows_are_told():
    noisy, flipped = flip_labels(LABELS, 0.2, num_classes=5, seed=0)
    assert flipped.tolist() == np.flatnonzero(noisy != LABELS).tolist() and len(flipped) == 200
    assert noisy.min() == 0 and noisy.max() == 4


def test_every_other_class_is_equally_likely():
    labels = np.zeros(20_000, int)
    noisy, flipped = flip_labels(labels, 0.5, num_classes=5, seed=1)
    counts = np.bincount(noisy[flipped], minlength=5)
    assert counts[0] == 0 and stats.chisquare(counts[1:]).pvalue > 1e-3


def test_the_seed_decides_and_the_labels_given_are_left_alone():
    labels = LABELS.copy()
    one, again, other = (
        flip_labels(labels, 0.3, num_classes=5, seed=seed)[0] for seed in (0, 0, 1)
    )
    assert (
        np.array_equal(one, again)
        and not np.array_equal(one, other)
        and np.array_equal(labels, LABELS)
    )
    assert flip_labels(labels, 0, num_classes=5, seed=0)[1].tolist() == []


@pytest.mark.parametrize(
    "labels, classes, fraction, message",
    [
        ([0.5, 1], 2, 0.1, "labels must be .* whole numbers; got float64"),
        ([0, 2], 2, 0.1, r"labels must be in 0\.\.1, .*got 0\.\.2"),
        ([0, 0], 1, 0.1, "of at least two classes"),
        ([0, 1], 2, 1.0, r"must be in \[0, 1\); got 1"),
    ],
)
def test_what_cannot_be_flipped_is_refused(labels, classes, fraction, message):
    with pytest.raises(ValueError, match=message):
        flip_labels(labels, fraction, num_classes=classes, seed=0)


def test_the_flipped_rows_are_not_those_that_random_pruning_keeps_with_the_same_seed():
    _, flipped = flip_labels(LABELS, 0.1, num_classes=5, seed=0)
    kept = keep_random(1000, 100, rng=0).kept
    assert np.isin(flipped, kept).sum() < 30  # ten are expected
