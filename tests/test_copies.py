"""Images that are there twice, and labels that networks which did not see them do not believe."""

import numpy as np
import pytest

import dpkit
from dpkit.data import from_arrays
from dpkit.data.duplicates import exact_groups, near_pairs, pixel_hashes, thumbnails
from dpkit.experiments.copies import find_copies
from dpkit.experiments.out_of_fold import folds_of, out_of_fold, suspected_labels


def coloured(pixels, labels=None, **more):
    labels = np.arange(len(pixels)) % 2 if labels is None else labels
    return from_arrays(pixels, labels, device="cpu", **more)


@pytest.fixture
def pixels():
    """Six images of 24x24 in soft patches; 3 is 0, 4 is 1 brighter and mirrored, 5 is alone."""
    rng = np.random.default_rng(0)
    found = np.kron(rng.integers(40, 180, (6, 8, 8, 3)), np.ones((1, 3, 3, 1))).astype(np.uint8)
    found[3] = found[0]
    found[4] = found[1][:, ::-1] + 20
    return found


def test_copies_to_the_pixel_and_near_ones_are_found_and_no_others(pixels):
    images = coloured(pixels)
    assert [group.tolist() for group in exact_groups(pixel_hashes(images))] == [[0, 3]]
    views = [thumbnails(images, mirrored=way) for way in (False, True)]
    pairs, cosines = near_pairs(*views)
    assert sorted(pairs.tolist()) == [[0, 3], [1, 4]]
    assert cosines.min() > 0.99 and (np.diff(cosines) <= 0).all()


def test_pairs_are_the_same_whatever_the_block(pixels, monkeypatch):
    features = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cosine = features @ features.T
    expected = [(a, b) for a in range(50) for b in range(a + 1, 50) if cosine[a, b] >= 0.9]
    monkeypatch.setattr("dpkit.data.duplicates.BLOCK", 7)
    assert sorted(map(tuple, near_pairs(features, least=0.9)[0].tolist())) == expected


def test_copies_across_the_parts_and_of_two_labels_are_counted(pixels):
    images = coloured(pixels, [0, 0, 1, 1, 0, 1])
    held_out = images.subset([1, 3])
    found = find_copies(images, held_out, own_test=False)
    exact, near = found.table()
    assert (exact["pairs"], exact["one held out"], exact["two labels"]) == (1, 1, 1)
    assert (near["pairs"], near["one held out"], near["two labels"]) == (1, 1, 0)
    test = coloured(pixels[:1], [0], like=images)  # a test set of its own: row 6
    exact, _ = find_copies(images, test, own_test=True).table()
    assert (exact["pairs"], exact["one held out"]) == (2, 1)
    (only,) = find_copies(images, held_out, own_test=False, most=5).table()
    assert only["what"] == "the same to the pixel"


# ---- labels --------------------------------------------------------------------------------------


def test_folds_are_even_and_every_class_is_spread_over_them():
    labels = np.repeat([0, 1, 2], [40, 31, 4])
    parts = folds_of(labels, 3, seed=1)
    assert np.ptp(np.bincount(parts)) <= 1
    for c in range(3):
        assert np.ptp(np.bincount(parts[labels == c], minlength=3)) <= 1
    assert not np.array_equal(parts, folds_of(labels, 3, seed=2))
    with pytest.raises(ValueError, match=r"folds must be 2\.\.75 .* got 1"):
        folds_of(labels, 1, seed=0)


def test_wrong_labels_are_found_by_networks_that_did_not_see_them(tmp_path, steps_taken):
    images, kinds = dpkit.toy_images(180, hard=0.0, mislabelled=0.05, device="cpu")
    how = {"recipe": dpkit.Recipe(epochs=10, batch_size=16, lr=0.05), "folds": 2, "cache": tmp_path}
    told = []
    judged = out_of_fold(images, **how, on_epoch=lambda stage, report: told.append(stage))
    wrong = np.flatnonzero(kinds == "mislabelled")
    suspects = suspected_labels(judged)
    assert np.isin(wrong, suspects.rows).mean() > 0.7
    assert np.isin(suspects.rows[: len(wrong)], wrong).mean() > 0.7
    assert told == ["fold 1 of 2"] * 10 + ["fold 2 of 2"] * 10
    before = steps_taken()
    again = out_of_fold(images, **how)
    assert steps_taken() == before and np.array_equal(again.probs, judged.probs)


def test_a_class_of_one_image_is_not_suspected():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])
    judged = dpkit.Snapshot(probs[None], None, [0, 0, 1])
    assert len(suspected_labels(judged).rows) == 0
