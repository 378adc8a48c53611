"""Two lines in anyone's loop record the same as arithmetic by hand, and refuse what was seen twice
or never.
"""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from dpkit import make_net, train
from dpkit.training.batches import DeferredChecks
from dpkit.training.loop import Recipe, cross_entropy
from dpkit.training.recorder import Recorder, indexed, per_sample_metrics


def batch(*rows, classes=3):
    """(index, logits, labels) with logits that tell rows apart."""
    index = torch.tensor(rows)
    return index, torch.arange(len(rows) * classes).reshape(-1, classes).float(), index % classes


# ---- one batch -----------------------------------------------------------------------------------


def test_look_at_by_hand():
    logits = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1.0]])
    prob, margin, correct = per_sample_metrics(logits, torch.tensor([0, 1]))
    e = np.exp([2.0, 0.0, 1.0])
    np.testing.assert_allclose(prob, [e[0] / e.sum(), e[1] / e.sum()], rtol=1e-6)
    assert margin.tolist() == [1.0, -2.0]  # 2 - 1 and 0 - 2
    assert correct.tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_look_at_agrees_with_softmax_top_two_and_argmax(dtype):
    logits, labels = (
        (torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) * 8).to(dtype),
        torch.arange(500) % 7,
    )
    prob, margin, correct = per_sample_metrics(logits.requires_grad_(), labels)
    wide = logits.detach().double()
    rows = torch.arange(500)
    others = wide.clone()
    others[rows, labels] = -torch.inf
    torch.testing.assert_close(prob.double(), wide.softmax(1)[rows, labels], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(
        margin.double(), wide[rows, labels] - others.max(1).values, rtol=1e-5, atol=1e-5
    )
    assert torch.equal(correct, logits.argmax(1) == labels)
    assert (
        prob.dtype == margin.dtype == torch.float32
        and not prob.requires_grad
        and not margin.requires_grad
    )


def test_of_tied_logits_argmax_decides_and_the_margin_is_zero():
    logits = torch.tensor([[1.0, 1.0, 0.0]] * 3)
    _, margin, correct = per_sample_metrics(logits, torch.tensor([0, 1, 2]))
    assert margin.tolist() == [0, 0, -1]
    assert (
        correct.sum() == 1
        and correct.tolist() == (logits.argmax(1) == torch.tensor([0, 1, 2])).tolist()
    )


# ---- how far all probabilities move, for TDDS ----------------------------------------------------


def divergence_of(logits):
    """(n, T - 1), from the definition, of logits (T, n, C)."""
    p = torch.as_tensor(logits).double().softmax(-1)
    return (p[1:] * (p[1:].log() - p[:-1].log()).abs()).sum(-1).T.numpy()


def test_the_divergence_by_hand():
    recorder = Recorder(1, 2, tdds=True)
    for epoch, p in enumerate(([0.5, 0.5], [0.8, 0.2])):
        recorder.update(epoch, torch.tensor([0]), torch.tensor([p]).log(), torch.tensor([0]))
    moved = 0.8 * np.log(0.8 / 0.5) + 0.2 * np.log(0.5 / 0.2)  # both terms count with their size
    np.testing.assert_allclose(recorder.dynamics().divergence, [[moved]], rtol=1e-6)


def test_the_divergence_is_of_probabilities_not_of_logits():
    recorder, logits = Recorder(1, 3, tdds=True), torch.tensor([[1.0, -2.0, 0.5]])
    # adding a number to all logits leaves the probabilities
    for epoch, moved in enumerate((0.0, 7.0, -40.0)):
        recorder.update(epoch, torch.tensor([0]), logits + moved, torch.tensor([0]))
    np.testing.assert_allclose(recorder.dynamics().divergence, [[0, 0]], atol=1e-5)


def test_the_divergence_is_the_samples_own_in_whatever_order_it_is_shown():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 40, 7, generator=generator)
    recorder = Recorder(40, 5, tdds=True)
    for epoch in range(5):
        for index in torch.randperm(40, generator=generator).split(11):
            recorder.update(epoch, index, logits[epoch, index], index % 7)
    np.testing.assert_allclose(
        recorder.dynamics().divergence, divergence_of(logits), rtol=1e-4, atol=1e-6
    )


def test_saturated_probabilities_diverge_by_a_finite_amount():
    recorder = Recorder(2, 2, tdds=True)
    for epoch, z in enumerate(([[200.0, 0.0], [0.0, 200.0]], [[0.0, 200.0], [0.0, 200.0]])):
        recorder.update(epoch, torch.arange(2), torch.tensor(z), torch.zeros(2, dtype=torch.long))
    assert recorder.dynamics().divergence.tolist() == [[200.0], [0.0]]


def test_epochs_out_of_order_are_not_compared():
    recorder = Recorder(3, 3, tdds=True)
    recorder.update(0, *batch(0, 1, 2))
    with pytest.raises(ValueError, match="they are recorded in order; got epoch 2 after 1 epochs"):
        recorder.update(2, *batch(0, 1, 2))


def test_a_class_that_is_masked_out_is_no_move():
    recorder = Recorder(1, 2, tdds=True)
    for epoch in range(2):
        recorder.update(
            epoch,
            torch.tensor([0]),
            torch.tensor([[0.0, 1.0 + epoch, -torch.inf]]),
            torch.tensor([0]),
        )
    np.testing.assert_allclose(
        recorder.dynamics().divergence, divergence_of([[[0.0, 1.0]], [[0.0, 2.0]]]), rtol=1e-5
    )


def test_without_tdds_no_divergence_is_recorded():
    recorder = Recorder(3, 1)
    recorder.update(0, *batch(0, 1, 2))
    assert (
        recorder.dynamics().divergence is None
        and recorder.epoch(0)[3] is None
        and recorder.log_probs is None
    )


# ---- in a loop -----------------------------------------------------------------------------------


# where there is one core
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
def test_an_ordinary_loop_with_workers_records_what_is_computed_by_hand():
    n, epochs = 23, 2
    pixels, labels = (
        torch.randn(n, 4, generator=torch.Generator().manual_seed(2)),
        torch.arange(n) % 3,
    )
    weights = [
        torch.randn(4, 3, generator=torch.Generator().manual_seed(3 + epoch))
        for epoch in range(epochs)
    ]
    loader = DataLoader(
        indexed(TensorDataset(pixels, labels)),
        batch_size=5,
        shuffle=True,
        num_workers=2,
        generator=torch.Generator().manual_seed(4),
    )
    recorder, orders = Recorder(n, epochs), []
    for epoch in range(epochs):
        orders.append([])
        for index, (x, y) in loader:
            recorder.update(epoch, index, x @ weights[epoch], y)
            orders[-1] += index.tolist()
    record = recorder.dynamics()
    assert orders[0] != orders[1] and sorted(orders[0]) == list(range(n))
    assert record.labels.tolist() == labels.tolist() and record.moment == "train"
    for epoch in range(epochs):
        logits = (pixels @ weights[epoch]).double().numpy()
        own = logits[np.arange(n), labels]
        rest = np.where(np.eye(3, dtype=bool)[labels], -np.inf, logits).max(1)
        np.testing.assert_allclose(
            record.target_prob[:, epoch], np.exp(own) / np.exp(logits).sum(1), rtol=1e-5
        )
        np.testing.assert_allclose(record.margin[:, epoch], own - rest, rtol=1e-4, atol=1e-5)
        assert record.correct[:, epoch].tolist() == (own > rest).tolist()


def test_indexed_yields_the_index_beside_the_item():
    assert len(indexed("abc")) == 3 and list(indexed("abc")) == [(0, "a"), (1, "b"), (2, "c")]


def test_part_of_a_set_may_be_expected_and_the_rest_is_nan():
    recorder = Recorder(100, 1, index=[3, 70])
    recorder.update(0, *batch(70, 3))
    record = recorder.dynamics()
    assert np.flatnonzero(~np.isnan(record.target_prob[:, 0])).tolist() == [3, 70]
    assert np.isnan(record.margin).sum() == 98 and record.labels[[3, 70]].tolist() == [0, 1]
    assert set(record.labels[~record.trained()]) == {-1}  # not 0, which would be a class


def test_recording_leaves_gradients_alone():
    logits = torch.zeros(2, 3, requires_grad=True)
    recorder = Recorder(2, 1)
    recorder.update(0, torch.tensor([0, 1]), logits, torch.tensor([0, 1]))
    logits.sum().backward()
    assert logits.grad.tolist() == [[1, 1, 1]] * 2


# ---- refusals ------------------------------------------------------------------------------------


def test_samples_that_drop_last_leaves_out_are_counted_whichever_they_are():
    items = TensorDataset(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long))
    loader = DataLoader(
        indexed(items),
        batch_size=3,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(5),
    )
    dropped = []
    for _ in range(3):  # another pair in every epoch
        recorder, seen = Recorder(8, 1), []
        for index, (x, y) in loader:
            recorder.update(0, index, x, y)
            seen += index.tolist()
        dropped.append(sorted(set(range(8)) - set(seen)))
        with pytest.raises(
            ValueError,
            match=rf"in epoch 0 2 were seen never \(first: id {dropped[-1][0]}\): "
            "sample without replacement and with drop_last=False",
        ):
            recorder.dynamics()
    assert len({tuple(pair) for pair in dropped}) > 1


def test_drop_last_is_noticed_when_the_second_epoch_begins():
    items = TensorDataset(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long))
    loader = DataLoader(indexed(items), batch_size=3, shuffle=True, drop_last=True)
    recorder = Recorder(8, 30)
    # not after all thirty
    with pytest.raises(ValueError, match="in epoch 0 2 were seen never .*drop_last=False"):
        for epoch in range(30):
            for index, (x, y) in loader:
                recorder.update(epoch, index, x, y)


def test_drop_last_that_drops_nothing_is_fine():
    items = TensorDataset(torch.zeros(9, 3), torch.arange(9) % 3)
    recorder = Recorder(9, 2)
    for epoch in range(2):
        for index, (x, y) in DataLoader(indexed(items), batch_size=3, shuffle=True, drop_last=True):
            recorder.update(epoch, index, x, y)
    assert recorder.dynamics().labels.tolist() == [0, 1, 2] * 3


def test_a_dropped_last_batch_is_refused_with_the_number_never_seen():
    items = TensorDataset(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long))
    loader = DataLoader(indexed(items), batch_size=3, drop_last=True)
    recorder = Recorder(8, 1)
    for index, (x, y) in loader:
        recorder.update(0, index, x, y)
    with pytest.raises(
        ValueError,
        match=r"in epoch 0 2 were seen never \(first: id 6\): sample without replacement",
    ):
        recorder.dynamics()


def test_an_unfinished_epoch_is_found_when_the_next_begins():
    recorder = Recorder(3, 2)
    recorder.update(0, *batch(0, 1))
    with pytest.raises(ValueError, match=r"in epoch 0 1 were seen never \(first: id 2\)"):
        recorder.update(1, *batch(0, 1, 2))


@pytest.mark.parametrize("rows", [[(0, 1, 2), (1,)], [(0, 1, 1, 2)]])
def test_a_sample_seen_twice_is_refused(rows):
    recorder = Recorder(3, 1)
    for part in rows:
        recorder.update(0, *batch(*part))
    with pytest.raises(
        ValueError, match=r"in epoch 0 1 were seen more often than expected \(first: id 1\)"
    ):
        recorder.dynamics()


def test_a_sample_that_was_not_expected_is_refused():
    recorder = Recorder(9, 1, index=[1, 2])
    recorder.update(0, *batch(1, 2, 5))
    with pytest.raises(ValueError, match=r"more often than expected \(first: id 5\)"):
        recorder.dynamics()


@pytest.mark.parametrize("rows, told", [((0, 3), r"0\.\.3"), ((-1, 2), r"-1\.\.2")])
def test_an_index_outside_the_set_is_refused(rows, told):
    with pytest.raises(ValueError, match=rf"index must be original ids in 0\.\.2; got {told}"):
        Recorder(3, 1).update(0, *batch(*rows))


def test_epochs_out_of_order_or_range_are_refused():
    recorder = Recorder(2, 3)
    recorder.update(0, *batch(0, 1))
    recorder.update(1, *batch(0, 1))
    with pytest.raises(
        ValueError, match="epoch 0 was already recorded; count epochs upwards from 0"
    ):
        recorder.update(0, *batch(0, 1))
    for epoch in (3, -1):
        with pytest.raises(
            ValueError, match=rf"epoch must be 0\.\.2 \(this Recorder was made for 3\); got {epoch}"
        ):
            recorder.update(epoch, *batch(0, 1))
    with pytest.raises(
        ValueError, match=r"expected 3 recorded epochs; 1 are missing \(first: epoch 2\)"
    ):
        recorder.dynamics()


@pytest.mark.parametrize("n, epochs", [(0, 3), (3, 0)])
def test_a_recorder_of_nothing_is_refused(n, epochs):
    with pytest.raises(
        ValueError, match=f"at least one sample and one epoch; got n={n}, epochs={epochs}"
    ):
        Recorder(n, epochs)


# ---- records that are not the sample's -----------------------------------------------------------


def loop(ids, told, epochs=2, **more):
    """A loop of one's own over 60 samples in 6 batches an epoch, shuffled, with ids(k, rows) and
    told(epoch, rows).
    """
    recorder, generator = Recorder(60, epochs, **more), torch.Generator().manual_seed(1)
    for epoch in range(epochs):
        for k, rows in enumerate(torch.randperm(60, generator=generator).split(10)):
            recorder.update(
                epoch, ids(k, rows), torch.randn(10, 5, generator=generator), told(epoch, rows)
            )
    return recorder.dynamics()


GIVEN = torch.arange(60) * 7 % 5


def own_ids(k, rows):
    return rows


def own_labels(epoch, rows):
    return GIVEN[rows]


@pytest.mark.parametrize(
    "ids, labels, changes",
    [
        # places in the loader
        (lambda k, rows: torch.arange(10 * k, 10 * k + 10), own_labels, True),
        (lambda k, rows: rows.flip(0), own_labels, True),  # mixed up within a batch
        (lambda k, rows: (rows + 1) % 60, own_labels, False),  # counted from 1
        # mixed up on the way, as mixup's second labels are
        (own_ids, lambda epoch, rows: GIVEN[rows.flip(0)], True),
        (own_ids, lambda epoch, rows: (GIVEN[rows] + epoch + 1) % 5, True),  # relabelled
        # a single one
        (own_ids, lambda epoch, rows: (GIVEN[rows] + (rows == 33) * (epoch + 1)) % 5, True),
        (own_ids, lambda epoch, rows: GIVEN.flip(0)[rows], False),  # another set's
    ],
)
def test_a_sample_whose_label_changes_is_named_and_with_labels_at_once(ids, labels, changes):
    said = (
        r"differ \(first: id \d+ is \d {}, and \d now\): ids must be the dataset's own.*use "
        r"dpkit.indexed\(dataset\)"
    )
    with pytest.raises(ValueError, match=said.format("in labels=")):
        loop(ids, labels, epochs=1, labels=GIVEN)
    if changes:  # else the same wrong one in every epoch: only labels= can tell
        with pytest.raises(ValueError, match=said.format("in an earlier epoch")):
            loop(ids, labels)


@pytest.mark.parametrize(
    "told",
    [
        GIVEN,
        GIVEN.numpy(),
        GIVEN.tolist(),
        GIVEN.to(torch.uint8),
        GIVEN.numpy().astype(np.int16),
        torch.where(torch.arange(60) < 30, GIVEN, -1),
    ],
)
def test_labels_in_any_form_leave_a_right_record_as_it_is(told):
    plain, checked = loop(own_ids, own_labels), loop(own_ids, own_labels, labels=told)
    np.testing.assert_array_equal(plain.target_prob, checked.target_prob)
    assert checked.labels.tolist() == plain.labels.tolist() == GIVEN.tolist()


def test_the_label_before_and_the_label_now_are_told():
    recorder = Recorder(3, 2)
    recorder.update(0, *batch(0, 1, 2))
    with pytest.raises(
        ValueError,
        match=r"2 of 3 in this batch differ \(first: id 1 is 1 in an earlier epoch, and 2 now\)",
    ):
        recorder.update(1, torch.arange(3), torch.zeros(3, 3), torch.tensor([0, 2, 1]))
    recorder.update(1, *batch(0, 1, 2))  # what was refused left nothing
    assert recorder.dynamics().labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1.5], [0, 1, -2], [[0], [1], [2]]])
def test_given_labels_that_are_none_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be"):
        Recorder(3, 1, labels=labels)


def test_given_labels_stand_in_the_record_of_samples_never_seen_too():
    recorder = Recorder(4, 1, index=[1, 2], labels=[0, 1, 2, -1])
    recorder.update(0, *batch(1, 2))
    assert recorder.dynamics().labels.tolist() == [
        0,
        1,
        2,
        -1,
    ] and recorder.dynamics().trained().tolist() == [0, 1, 1, 0]


def test_a_loss_that_changes_its_labels_is_refused_by_train(digits):
    def mixing(net, x, y):
        y.copy_(y.flip(0))
        return cross_entropy(net, x, y)

    with pytest.raises(ValueError, match="a sample's label must stay what it is: .* in labels="):
        next(
            train(
                make_net("small_cnn", digits, seed=0), digits, Recipe(epochs=1), seed=0, loss=mixing
            )
        )


class Slow:
    """A GPU that has come as far as `done`: its answers are there, or not yet."""

    def __init__(self):
        self.done, self.waited = False, 0

    def refuse_if(self, doubts, wrong, why):
        def wait():
            self.waited += 1

        doubts.add(lambda: self.done, wait, wrong, why)


def test_on_a_gpu_a_wrong_batch_is_refused_as_soon_as_the_answer_is_there_and_nothing_waits_for_it(
    monkeypatch,
):
    gpu = Slow()
    monkeypatch.setattr(DeferredChecks, "refuse_if", lambda *doubt: gpu.refuse_if(*doubt))
    for closing in (False, True):
        gpu.done = False
        recorder = Recorder(4, 1, labels=[0, 1, 2, 0])
        recorder.update(0, torch.tensor([0, 1]), torch.randn(2, 3), torch.tensor([0, 2]))
        recorder.update(0, torch.tensor([2]), torch.randn(1, 3), torch.tensor([2]))
        assert gpu.waited == 0 or closing
        gpu.done = not closing
        with pytest.raises(ValueError, match="first: id 1 is 1 in labels=, and 2 now"):
            recorder.epoch(0) if closing else recorder.update(
                0, torch.tensor([3]), torch.randn(1, 3), torch.tensor([0])
            )


# ---- what is taken for logits and labels ---------------------------------------------------------


class Output(dict):
    """As transformers returns it."""

    logits = torch.zeros(2, 3)


@pytest.mark.parametrize(
    "logits, said",
    [
        (
            (torch.zeros(2, 3), torch.zeros(2, 3)),
            r"got a tuple of 2, as networks with several outputs return: .*output\[0\]",
        ),
        ([torch.zeros(2, 3)], "got a list of 1"),
        (Output(), r"got Output, which holds them: pass output.logits"),
        ({"out": torch.zeros(2, 3), "aux": 0}, "got a dict with 'out', 'aux': pass the entry"),
        ({}, "a dict with nothing"),
        (
            torch.zeros(2),
            r"got shape \(2,\): of one output z per sample pass torch.stack\(\[0 \* z, z\], 1\)",
        ),
        (
            torch.zeros(2, 1),
            r"at least two classes; got shape \(2, 1\): .*torch.cat\(\[0 \* z, z\], 1\)",
        ),
        (torch.zeros(2, 3, 4, 4), r"got shape \(2, 3, 4, 4\): .*not one per pixel"),
        (torch.zeros(2, 7, 3), r"got shape \(2, 7, 3\): .*pool over the sequence"),
        (torch.zeros(()), r"got shape \(\)"),
        (torch.zeros(2, 3, 1, 1, 1), "pool the other dimensions"),
        (torch.zeros(2, 3, dtype=torch.int64), "floating point; got torch.int64"),
        (np.zeros((2, 1)), "at least two classes"),
        (np.zeros((2, 3), int), "floating point"),
        (None, "got NoneType"),
        ("ab", "got str"),
        (torch.zeros(2, 3, dtype=torch.complex64), "floating point"),
        (torch.zeros(2, 0), "at least two classes"),
    ],
)
def test_what_is_no_row_of_logits_per_sample_is_told_what_to_pass(logits, said):
    with pytest.raises(
        ValueError,
        match=r"logits must be one tensor \(B, C\), a row of class logits per sample.*" + said,
    ):
        Recorder(2, 1).update(0, torch.arange(2), logits, torch.tensor([0, 1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 3, 40])
def test_probabilities_are_not_taken_for_logits_and_their_logarithms_are(dtype, size):
    p = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)).softmax(1).to(dtype)
    labels = torch.arange(40) % 7
    with pytest.raises(
        ValueError, match=r"before the softmax.* pass .*p.clamp_min\(1e-12\).log\(\)"
    ):
        recorder = Recorder(40, 1)
        for rows in torch.arange(40).split(size):
            recorder.update(0, rows, p[rows], labels[rows])
    recorder = Recorder(40, 1)
    recorder.update(0, torch.arange(40), p.clamp_min(1e-12).log(), labels)
    given = p.float()[torch.arange(40), labels].numpy()
    np.testing.assert_allclose(recorder.dynamics().target_prob[:, 0], given, rtol=0.03)


def test_a_few_rows_that_look_like_probabilities_by_chance_are_logits():
    recorder = Recorder(40, 1)
    for k, rows in enumerate(torch.arange(40).split(1)):
        recorder.update(
            0,
            rows,
            torch.tensor([[0.25, 0.75]]) if k < 7 else torch.tensor([[0.5, 0.75]]),
            rows % 2,
        )
    assert recorder.dynamics().num_samples == 40


@pytest.mark.parametrize(
    "form",
    [
        lambda z: z.numpy(),
        lambda z: z.numpy().astype(">f4"),
        lambda z: z.numpy()[::-1][::-1],
        lambda z: z.half(),
        lambda z: z.numpy().astype(np.float16),
        lambda z: z.bfloat16(),
        lambda z: z.double(),
        lambda z: z.clone().requires_grad_(),
    ],
)
def test_logits_of_any_precision_and_of_numpy_are_recorded(form):
    logits, labels = (
        torch.randn(9, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    plain, other = Recorder(9, 1), Recorder(9, 1)
    plain.update(0, torch.arange(9), logits, labels)
    other.update(0, torch.arange(9), form(logits), labels)
    np.testing.assert_allclose(
        plain.dynamics().target_prob, other.dynamics().target_prob, atol=0.01
    )


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.to(torch.uint8),
        lambda y: y.int(),
        lambda y: y[:, None],
        lambda y: y.numpy(),
        lambda y: y.tolist(),
        lambda y: y.numpy().astype(np.uint8),
        lambda y: y.numpy().astype(np.uint16),
        lambda y: y.numpy()[:, None].astype(np.int8),
        lambda y: y.numpy().astype(">i4"),
        lambda y: y.numpy()[::-1].copy()[::-1],
        lambda y: list(y),
    ],
)
def test_class_numbers_of_any_kind_are_labels(form):
    recorder, labels = Recorder(9, 1), torch.arange(9) % 4
    recorder.update(0, torch.arange(9), torch.randn(9, 4), form(labels))
    assert recorder.dynamics().labels.tolist() == labels.tolist()


@pytest.mark.parametrize(
    "labels, said",
    [
        (
            torch.full((2, 3), 1 / 3),
            r"got torch.float32 of shape \(2, 3\), soft labels, such as mixup.*labels that the "
            r"dataset",
        ),
        (torch.eye(3)[:2].half(), r"soft labels.*of one-hot labels labels.argmax\(1\)"),
        (torch.eye(3)[:2].long(), r"one-hot labels: .*labels.argmax\(1\)"),
        (np.eye(3, dtype=bool)[:2], "one-hot labels"),
        (torch.tensor([[0.7], [0.3]]), "torch.float32"),
        (["cat", "dog"], "a list that holds something else"),
        (torch.zeros(2, 5, dtype=torch.long), r"got torch.int64 of shape \(2, 5\)"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_class_number_is_refused(labels, said):
    with pytest.raises(
        ValueError, match=r"labels must be \(2,\) whole numbers, one per row of logits.*" + said
    ):
        Recorder(2, 1).update(0, torch.arange(2), torch.randn(2, 3), labels)


@pytest.mark.parametrize(
    "index, said",
    [
        (["a.png", "b.png"], "index .* dpkit.indexed"),
        (torch.tensor([0, 1], dtype=torch.uint8), "index .* torch.uint8"),
        (np.array([0, 1], np.uint8), "index .* torch.uint8"),
        (torch.tensor([0.0, 1.0]), "index .*float32"),
    ],
)
def test_ids_that_are_no_row_numbers_are_refused(index, said):
    with pytest.raises(ValueError, match=said):
        Recorder(2, 1).update(0, index, torch.randn(2, 3), torch.tensor([0, 1]))


def test_another_number_of_classes_is_another_training():
    recorder = Recorder(4, 1)
    recorder.update(0, torch.arange(2), torch.randn(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="same classes in every batch; got 5, and 3 before"):
        recorder.update(0, torch.arange(2, 4), torch.randn(2, 5), torch.tensor([0, 1]))


# ---- memory --------------------------------------------------------------------------------------


def bytes_in(value):
    """Of all arrays and tensors that an object holds."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.nbytes
    parts = value if isinstance(value, list) else vars(value).values() if is_object(value) else ()
    return sum(map(bytes_in, parts))


def is_object(value):
    return hasattr(value, "__dict__") and not isinstance(value, type)


def test_memory_grows_with_samples_times_epochs_and_never_with_classes():
    n, epochs, classes = 20_000, 10, 100
    tracemalloc.start()
    recorder = Recorder(n, epochs)
    index, labels = torch.arange(n), torch.zeros(n, dtype=torch.long)
    for epoch in range(epochs):
        for rows in index.split(1000):
            recorder.update(epoch, rows, torch.zeros(len(rows), classes), labels[rows])
    held = bytes_in(recorder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    record = n * epochs * (4 + 4 + 1)
    # besides: labels, the ids to expect, and the epoch under way
    assert record <= held <= record + n * 40
    # an epoch's rows on their way; all logits would be n * 400 per epoch
    assert peak < record + n * 60
    dynamics = recorder.dynamics()
    assert dynamics.target_prob.nbytes == n * epochs * 4 and np.shares_memory(
        dynamics.target_prob, recorder.epoch(0)[0]
    )


# ---- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "labels", "said"),
    [
        ([0, 1], [0, 3], r"labels must be in 0\.\.2 .* got 0\.\.3"),
        ([0, 1], [-1, 2], r"labels must be in 0\.\.2 .* got -1\.\.2"),
        ([0, 1], [0.0, 1.0], r"labels must be \(2,\) whole numbers.*float32"),
        ([0, 1], [0], r"labels must be \(2,\) whole numbers.*\(1,\)"),
        ([True, False], [0, 1], r"index must be \(2,\) whole numbers.*bool"),
    ],
)
def test_labels_and_ids_that_are_none_are_refused(index, labels, said):
    recorder = Recorder(2, 1)
    with pytest.raises(ValueError, match=said):
        recorder.update(0, torch.tensor(index), torch.randn(2, 3), torch.tensor(labels))


@pytest.mark.parametrize(
    "wrong",
    [[torch.nan, 0.0], [0.0, torch.nan], [torch.inf, 0.0], [0.0, torch.inf], [-torch.inf] * 2],
)
def test_logits_that_are_not_numbers_are_not_taken_for_untrained_samples(wrong):
    recorder, logits = Recorder(2, 1), torch.tensor([[0.0, 1.0], wrong])
    recorder.update(0, torch.arange(2), logits, torch.tensor([0, 1]))
    with pytest.raises(
        ValueError, match=r"1 samples got logits that are not numbers in epoch 0 \(first: id 1\)"
    ):
        recorder.dynamics()


def test_an_epoch_that_was_not_recorded_cannot_be_read():
    with pytest.raises(ValueError, match="epoch 0 was not recorded"):
        Recorder(2, 1).epoch(0)
