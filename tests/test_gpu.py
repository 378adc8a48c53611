"""What must hold on a GPU as on the CPU. Skips itself where there is none.

DPKIT_GPU_TESTS=cpu runs them on the CPU, to see that the tests themselves are sound.
"""

import io
import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from dpkit.data.image_set import from_arrays, load
from dpkit.nets.builders import make_net
from dpkit.nets.early_exits import exit_loss
from dpkit.records import TrainingDynamics
from dpkit.training import checkpoint
from dpkit.training.gradients import gradient_norms
from dpkit.training.inference import evaluate, take_snapshot
from dpkit.training.loop import Recipe, train
from dpkit.training.recorder import Recorder
from dpkit.training.sgd import SGD

DEVICE = os.environ.get("DPKIT_GPU_TESTS", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU here"),
]
only_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="asks something of CUDA alone")
RECIPE = Recipe(epochs=4, batch_size=64, lr=0.02)


def some_epochs(device, count=3, folder=None, exits=(), tdds=False, **settings):
    """(images, network, the reports of the first epochs)."""
    images = load("digits", device=device).first(300)
    net = make_net("small_cnn", images, seed=0, exits=exits)
    how = {"loss": exit_loss()} if exits else {}
    recipe = replace(RECIPE, **settings)
    epochs = train(net, images, recipe, seed=0, checkpoint=folder, tdds=tdds, **how)
    return images, net, list(islice(epochs, count))


def test_a_gpu_draws_what_the_cpu_draws_and_records_nearly_the_same():
    (_, _, ours), (_, _, cpu) = some_epochs(DEVICE), some_epochs("cpu")
    assert np.abs(ours[0].target_prob - cpu[0].target_prob).max() < 0.05
    assert np.corrcoef(ours[2].target_prob, cpu[2].target_prob)[0, 1] > 0.95


def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0.0)
    _, _, whole = some_epochs(DEVICE, 4)
    _, _, begun = some_epochs(DEVICE, 2, tmp_path / "run")
    _, net, again = some_epochs(DEVICE, 4, tmp_path / "run")
    assert [report.epoch for report in again] == [0, 1, 2, 3] and len(begun) == 2
    # what was done is read, not done again, and the network has learned on from there
    assert [report.seconds for report in again[:2]] == [report.seconds for report in begun]
    for a, b in zip(whole, again, strict=True):
        assert np.abs(a.target_prob - b.target_prob).max() < 0.05
    assert next(net.parameters()).device.type == DEVICE


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16"}, {"precision": "fp32"}, {"batch_size": 48}, {"batch_size": 300}],
    ids=str,
)
def test_precisions_and_batch_sizes_record_nearly_the_same(settings):
    (_, _, ours), (_, _, cpu) = some_epochs(DEVICE, **settings), some_epochs("cpu", **settings)
    loose = 0.2 if settings.get("precision") == "bf16" else 0.05
    assert np.abs(ours[0].target_prob - cpu[0].target_prob).max() < loose
    assert ours[-1].loss == pytest.approx(cpu[-1].loss, rel=loose)


def test_divergences_and_exits_are_recorded_nearly_the_same():
    (_, net, ours), (_, _, cpu) = (
        some_epochs(device, exits=(1,), tdds=True) for device in (DEVICE, "cpu")
    )
    labels = load("digits").first(300).labels.numpy()
    one, other = (TrainingDynamics.from_reports(reports, labels) for reports in (ours, cpu))
    assert one.divergence.shape == other.divergence.shape
    np.testing.assert_allclose(one.divergence, other.divergence, rtol=0.5, atol=0.05)
    images = load("digits", device=DEVICE).first(300)
    assert take_snapshot(net, images).probs.shape == (2, 300, 10)


def test_gradient_norms_are_those_of_the_cpu():
    images, net, _ = some_epochs(DEVICE, 1)
    ours = gradient_norms(net, images).values
    cpu = gradient_norms(net.to("cpu"), load("digits", device="cpu").first(300)).values
    np.testing.assert_allclose(ours, cpu, rtol=1e-2, atol=1e-4)


def test_augmentation_is_the_cpus_to_the_bit():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)
    ours, cpu = (
        from_arrays(pixels, np.arange(64) % 4, shift=4, mirror=True, device=device)
        for device in (DEVICE, "cpu")
    )
    for seed in (0, 7):
        draws = np.random.default_rng(seed)
        rows, offsets = draws.permutation(64)[:16], draws.integers(0, 9, (2, 16))
        mirrored = draws.random(16) < 0.5
        x, y = (
            images.augmented(
                *(torch.from_numpy(some).to(device) for some in (rows, offsets, mirrored))
            )
            for images, device in ((ours, DEVICE), (cpu, "cpu"))
        )
        torch.testing.assert_close(x.cpu(), y, rtol=0, atol=0)


def test_a_step_does_not_wait_for_the_gpu():
    """No .item(), no copy to the host, between the first batch of an epoch and its report."""
    images = load("digits", device=DEVICE).first(300)
    net = make_net("small_cnn", images, seed=0)
    epochs = train(net, images, RECIPE, seed=0)
    next(epochs)
    seen = []
    step = SGD.step

    def watched(optimizer, *args, **kwargs):
        # from the epoch's first step on a wait is an error; the report at its end may wait
        seen.append(1)
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("error" if len(seen) % 5 else "default")
        return step(optimizer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SGD, "step", watched)
        try:
            next(epochs)
        finally:
            if DEVICE == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    assert len(seen) == 5  # 300 images in batches of 64


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
    for epoch, (first, then) in enumerate(((DEVICE, DEVICE), (DEVICE, "cpu"), ("cpu", DEVICE))):
        shown(recorder, first, epoch, slice(0, 2))
        file = io.BytesIO()
        torch.save(recorder.state_dict(), file)
        file.seek(0)
        recorder = Recorder(30, tdds=True, labels=labels)
        recorder.load_state_dict(torch.load(file, map_location=then, weights_only=True))
        shown(recorder, then, epoch, slice(2, 3))
    shown(recorder, DEVICE, 3, slice(None))
    for name in ("target_prob", "margin", "divergence"):
        found, expected = getattr(recorder.dynamics(), name), getattr(whole.dynamics(), name)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@only_cuda
def test_training_leaves_the_gpu_random_state_alone():
    before = torch.cuda.get_rng_state()
    some_epochs(DEVICE)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_snapshots_and_accuracy_come_back_to_the_host():
    images, net, _ = some_epochs(DEVICE)
    snapshot = take_snapshot(net, images)
    right = (snapshot.probs[-1].argmax(1) == snapshot.labels).mean()
    assert evaluate(net, images).accuracy == pytest.approx(right, abs=0.01)


@only_cuda
@pytest.mark.parametrize(("model", "batch_size"), [("small_cnn", 64), ("fast_cnn", 100)])
def test_a_compiled_training_has_the_same_numbers_up_to_rounding(model, batch_size):
    images = load("digits", device=DEVICE).first(300)
    plain, compiled = (
        list(
            train(
                make_net(model, images, seed=0),
                images,
                replace(RECIPE, compile=which, batch_size=batch_size),
                seed=0,
            )
        )
        for which in (False, True)
    )
    assert np.abs(plain[0].target_prob - compiled[0].target_prob).max() < 0.05
    assert plain[-1].loss == pytest.approx(compiled[-1].loss, rel=0.1)


@only_cuda
@pytest.mark.parametrize("told", [True, False])
def test_a_wrong_batch_is_refused_without_the_loop_waiting(told):
    logits, ids = torch.randn(64, 5, device=DEVICE), torch.arange(64, device=DEVICE)
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
    index, labels = torch.tensor(index, device=DEVICE), torch.tensor(labels, device=DEVICE)
    with pytest.raises(ValueError, match=said):  # a CPU tells it at once
        recorder.update(0, index, torch.randn(2, 5, device=DEVICE), labels)
        recorder.epoch(0)
