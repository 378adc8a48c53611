"""A second set whose class names are numbers goes by name where the network has such names."""

import numpy as np

from dpkit.data.loading import from_arrays


def _set(labels, names=None):
    pixels = np.random.default_rng(0).integers(0, 255, (len(labels), 8, 8, 3)).astype("uint8")
    return from_arrays(pixels, np.array(labels), class_names=names, device="cpu")


def test_names_that_are_numbers_among_other_names():
    train = _set([0, 1, 2, 3, 4], ["0", "1", "10", "2", "background"])
    other = _set(["0", "1", "2"])
    assert other.aligned(train.facts, "evaluate").labels.tolist() == [0, 1, 3]
