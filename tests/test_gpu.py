"""What must hold on a GPU as on the CPU. Skips itself where there is none."""

import io
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from dpkit.data.image_set import load
from dpkit.nets.builders import make_net
from dpkit.training.inference import evaluate, take_snapshot
from dpkit.training.loop import Recipe, train
from dpkit.training.recorder import Recorder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
RECIPE = Recipe(epochs=4, batch_size=64, lr=0.02)


def three_epochs(device, checkpoint=None):
    images = load("digits", device=device).first(300)
    net = make_net("small_cnn", images, seed=0)
    return images, net, list(islice(train(net, images, RECIPE, seed=0, checkpoint=checkpoint), 3))


def test_a_gpu_draws_what_the_cpu_draws_and_records_nearly_the_same():
    (_, _, ours), (_, _, cpu) = three_epochs("cuda"), three_epochs("cpu")
    assert np.abs(ours[0].target_prob - cpu[0].target_prob).max() < 0.05
    assert np.corrcoef(ours[2].target_prob, cpu[2].target_prob)[0, 1] > 0.95


def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(tmp_path):
    _, _, whole = three_epochs("cuda", tmp_path / "run")
    _, _, again = three_epochs("cuda", tmp_path / "run")
    for a, b in zip(whole, again, strict=True):
        assert np.abs(a.target_prob - b.target_prob).max() < 0.05


def test_a_record_saved_on_a_gpu_goes_on_there_and_on_a_cpu():
    logits, labels = torch.randn(4, 30, 5), torch.arange(30) % 5
    whole, ids = Recorder(30, tdds=True), torch.arange(30).split(10)

    def shown(recorder, device, epoch, batches):
        for rows in ids[batches]:
            batch = (values.to(device) for values in (logits[epoch, rows], labels[rows]))
            recorder.update(epoch, rows, *batch)

    for epoch in range(4):
        shown(whole, "cpu", epoch, slice(None))
    recorder = Recorder(30, tdds=True)
    for epoch, (first, then) in enumerate((("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda"))):
        shown(recorder, first, epoch, slice(0, 2))
        file = io.BytesIO()
        torch.save(recorder.state_dict(), file)
        file.seek(0)
        recorder = Recorder(30, tdds=True, labels=labels)
        recorder.load_state_dict(torch.load(file, map_location=then, weights_only=True))
        shown(recorder, then, epoch, slice(2, 3))
    shown(recorder, "cuda", 3, slice(None))
    for name in ("target_prob", "margin", "divergence"):
        found, expected = getattr(recorder.dynamics(), name), getattr(whole.dynamics(), name)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_training_leaves_the_gpu_random_state_alone():
    before = torch.cuda.get_rng_state()
    three_epochs("cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_snapshots_and_accuracy_come_back_to_the_host():
    images, net, _ = three_epochs("cuda")
    snapshot = take_snapshot(net, images)
    right = (snapshot.probs[-1].argmax(1) == snapshot.labels).mean()
    assert evaluate(net, images).accuracy == pytest.approx(right, abs=0.01)


def test_a_compiled_training_has_the_same_numbers_up_to_rounding():
    images = load("digits", device="cuda").first(300)
    plain, compiled = (
        list(
            train(
                make_net("small_cnn", images, seed=0),
                images,
                replace(RECIPE, compile=which),
                seed=0,
            )
        )
        for which in (False, True)
    )
    assert np.abs(plain[0].target_prob - compiled[0].target_prob).max() < 0.05
    assert plain[-1].loss == pytest.approx(compiled[-1].loss, rel=0.1)


@pytest.mark.parametrize("told", [True, False])
def test_a_wrong_batch_is_refused_without_the_loop_waiting(told):
    logits, ids = torch.randn(64, 5, device="cuda"), torch.arange(64, device="cuda")
    recorder = Recorder(64, 2, labels=ids % 5 if told else None)
    recorder.update(0, ids, logits, ids % 5)
    recorder.update(1, ids[:32], logits[:32], ids[:32] % 5)
    torch.cuda._sleep(10**9)  # the GPU is busy for about half a second
    recorder.update(1, ids[32:48], logits[32:48], (ids[32:48] + 1) % 5)
    assert not torch.cuda.current_stream().query()  # still busy: nobody waited for it
    torch.cuda.synchronize()
    with pytest.raises(
        ValueError,
        match="a sample's label must stay what it is: 16 of 16 .*first: id 32 is 2 .*and 3 now",
    ):
        recorder.update(1, ids[48:], logits[48:], ids[48:] % 5)


@pytest.mark.parametrize(
    "index, labels, said",
    [
        ([0, 9], [0, 1], "index must be original ids in 0..3; got 0..9"),
        ([0, 1], [0, 7], "labels must be in 0..4 .*got 0..7"),
    ],
)
def test_ids_and_labels_out_of_range_are_told_at_the_latest_when_the_epoch_closes(
    index, labels, said
):
    recorder = Recorder(4, 1)
    index, labels = torch.tensor(index, device="cuda"), torch.tensor(labels, device="cuda")
    recorder.update(0, index, torch.randn(2, 5, device="cuda"), labels)
    with pytest.raises(ValueError, match=said):
        recorder.epoch(0)
