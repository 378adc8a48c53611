"""A training whose length nobody knows, or that was stopped and goes on, leaves the same record."""

import io

import numpy as np
import pytest
import torch

from dpkit.training.recorder import Recorder

N, CLASSES = 30, 4
GIVEN = torch.arange(N) * 7 % CLASSES


def batches(epoch, only=None):
    """(index, logits, labels) of one epoch's five batches, shuffled."""
    generator = torch.Generator().manual_seed(epoch)
    for rows in torch.randperm(N, generator=generator).split(6):
        rows = rows if only is None else rows[torch.isin(rows, only)]
        logits = 2 * torch.randn(len(rows), CLASSES, generator=generator)
        yield rows, logits, GIVEN[rows]


def shown(recorder, epochs, *, skip=0, only=None):
    """The recorder after these epochs, the first `skip` batches of the first left out."""
    for epoch in epochs:
        for number, batch in enumerate(batches(epoch, only)):
            if number >= skip or epoch != epochs[0]:
                recorder.update(epoch, *batch)
    return recorder


def assert_same(a, b):
    for name in ("target_prob", "margin", "correct", "labels"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.divergence is None) == (b.divergence is None) and a.moment == b.moment
    if a.divergence is not None:
        np.testing.assert_array_equal(a.divergence, b.divergence)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ---- length --------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 8, 9, 17])
@pytest.mark.parametrize("tdds", [False, True])
def test_a_record_of_unknown_length_is_that_of_a_known_one(epochs, tdds):
    known = shown(Recorder(N, epochs, tdds=tdds), range(epochs))
    unknown = shown(Recorder(N, tdds=tdds), range(epochs))
    assert_same(unknown.dynamics(), known.dynamics())
    assert unknown.dynamics().num_epochs == epochs


def test_a_record_that_was_read_stays_as_it_was_while_more_epochs_come():
    recorder = shown(Recorder(N), range(3))
    early = recorder.dynamics()
    before = early.target_prob.copy()
    shown(recorder, range(3, 20))
    np.testing.assert_array_equal(early.target_prob, before)
    assert_same(recorder.dynamics(3), early)


def test_of_a_training_that_stopped_early_the_whole_epochs_can_be_had():
    recorder = shown(Recorder(N, 10), range(4))
    with pytest.raises(ValueError, match=r"6 are missing .* take those .*dynamics\(epochs=4\)"):
        recorder.dynamics()
    assert_same(recorder.dynamics(epochs=4), shown(Recorder(N, 4), range(4)).dynamics())
    with pytest.raises(ValueError, match="needs at least one; got 0"):
        recorder.dynamics(0)


@pytest.mark.parametrize("planned", [None, 10])
def test_an_epoch_that_was_broken_off_is_named_and_can_be_left_out(planned):
    recorder = shown(Recorder(N, planned), range(2))
    recorder.update(2, *next(batches(2)))
    kept = recorder.dynamics(epochs=2)  # and the epoch goes on
    assert_same(kept, shown(Recorder(N, 2), range(2)).dynamics())
    with pytest.raises(
        ValueError, match=r"epoch 2 24 were seen never .*the 2 epochs .*dynamics\(epochs=2\)"
    ):
        recorder.dynamics()


def test_a_moment_that_is_none_is_refused_before_the_training():
    with pytest.raises(ValueError, match='moment must be "train" or "eval"; got "?\'?test'):
        Recorder(N, moment="test")


def test_nothing_recorded_is_no_record():
    with pytest.raises(ValueError, match=r"1 are missing \(first: epoch 0\): finish the training$"):
        Recorder(N).dynamics()


@pytest.mark.parametrize(
    ("planned", "epoch", "said"),
    [
        (3, 3, r"epoch must be 0\.\.2 .*; got 3; for a training that may go on.*epochs=None"),
        (None, -1, "epoch must be a whole number from 0; got -1"),
        (None, 0.5, "epoch must be a whole number from 0; got 0.5"),
        (3, 1.0, r"epoch must be 0\.\.2 .* got 1.0$"),
        (3, True, "got True"),
        # counted from 1: told in the first batch, not after the training
        (3, 1, "counted from 0, .*recorded in order; got epoch 1 after 0 epochs"),
        (None, 5, "got epoch 5 after 0 epochs: .*load_state_dict"),
    ],
)
def test_an_epoch_that_cannot_be_the_next_is_refused(planned, epoch, said):
    with pytest.raises(ValueError, match=said):
        Recorder(N, planned).update(epoch, *next(batches(0)))


@pytest.mark.parametrize("epoch", [np.int64(0), torch.tensor(0)])
def test_whole_numbers_of_any_kind_are_epochs(epoch):
    Recorder(N).update(epoch, *next(batches(0)))


# ---- the part that is expected -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (np.arange(N) < 10, "got a mask of bool: pass np.flatnonzero"),
        ([0, N], r"original ids in 0\.\.29; got 0\.\.30"),
        ([-1, 0], r"got -1\.\.0"),
        ([], "at least one"),
        ([0.5], "float64"),
        ([[0, 1]], r"shape \(1, 2\)"),
    ],
)
def test_expected_ids_that_are_none_are_refused(index, said):
    with pytest.raises(ValueError, match=said):
        Recorder(N, 1, index=index)


def test_what_is_held_out_is_nan_and_without_a_label_after_a_restart_too():
    part = torch.arange(0, N, 3)
    recorder = shown(Recorder(N, index=part), range(2), only=part)
    again = Recorder(N, index=part)
    again.load_state_dict(through_a_file(recorder.state_dict()))
    record = shown(again, range(2, 4), only=part).dynamics()
    assert np.flatnonzero(record.trained()).tolist() == part.tolist()
    assert set(record.labels[~record.trained()]) == {-1}
    assert not record.correct[~record.trained()].any()


# ---- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tdds", [False, True])
@pytest.mark.parametrize("planned", [None, 6])
@pytest.mark.parametrize("at", [(2, 0), (2, 3), (0, 1), (6, 0)])
def test_a_stopped_training_goes_on_to_the_same_record(tdds, planned, at):
    epoch, done = at  # saved when so many batches of the epoch were recorded
    first = shown(Recorder(N, planned, tdds=tdds), range(epoch))
    for batch in list(batches(epoch))[:done]:
        first.update(epoch, *batch)
    second = Recorder(N, planned, labels=GIVEN, tdds=tdds)
    second.load_state_dict(through_a_file(first.state_dict()))
    shown(second, range(epoch, 6), skip=done)
    assert_same(second.dynamics(), shown(Recorder(N, 6, tdds=tdds), range(6)).dynamics())


def test_a_saved_state_is_a_copy_and_can_be_gone_back_to():
    recorder = shown(Recorder(N), range(3))
    state = recorder.state_dict()
    whole = shown(recorder, range(3, 6)).dynamics()
    recorder.load_state_dict(state)  # the training diverged, say
    assert_same(shown(recorder, range(3, 6)).dynamics(), whole)
    again = Recorder(N)
    again.load_state_dict(state)  # what went on from it has not changed it
    assert again.dynamics().num_epochs == 3


def test_a_label_that_changes_after_the_restart_is_named():
    recorder = Recorder(N)
    recorder.load_state_dict(shown(Recorder(N), range(1)).state_dict())
    with pytest.raises(ValueError, match=r"30 of 30 .* in an earlier epoch"):
        recorder.update(1, torch.arange(N), torch.randn(N, CLASSES), (GIVEN + 1) % CLASSES)


@pytest.mark.parametrize(
    ("made", "change", "said"),
    [
        ({"n": 31}, {}, "of a Recorder with n=30, other ids in index; make"),
        ({"moment": "eval", "tdds": True}, {}, "with moment=train, tdds=False; make"),
        ({"index": range(5)}, {}, "with other ids in index"),
        ({"labels": (GIVEN + 1) % CLASSES}, {}, "other labels than labels= in 30 of 30 rows"),
        ({"epochs": 2}, {}, "has 3 epochs, and this Recorder was made for 2: .*epochs=None"),
        ({}, {"kind": "another"}, "must be what Recorder.state_dict.*got another dict"),
        ({}, {"open": {}}, "not whole: it lacks 'seen'"),
        ({}, {"log_probs": ...}, "not whole: it lacks 'log_probs'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(made, change, said):
    state = shown(Recorder(N), range(3)).state_dict() | change
    state = {name: value for name, value in state.items() if value is not ...}
    recorder = Recorder(**{"n": N} | made)
    with pytest.raises(ValueError, match=said):
        recorder.load_state_dict(state)
    with pytest.raises(ValueError, match="are missing"):
        recorder.dynamics()


@pytest.mark.parametrize("state", [None, [], torch.zeros(3)])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(ValueError, match=r"must be what Recorder.state_dict\(\) returned; got a"):
        Recorder(N).load_state_dict(state)
