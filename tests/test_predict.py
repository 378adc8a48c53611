"""One clean pass: the same numbers as a plain loop, in eval mode, and the mode put back."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dpkit.data.image_set import from_arrays
from dpkit.data.toys import toy_images
from dpkit.nets.builders import make_net
from dpkit.training import inference
from dpkit.training.inference import (
    autocast,
    evaluate,
    limit_threads,
    resolve_precision,
    take_snapshot,
)
from dpkit.training.loop import Recipe, train


@pytest.fixture(scope="module")
def trained():
    images = toy_images(70, device="cpu")[0]
    net = make_net("small_cnn", images, seed=0)
    list(train(net, images, Recipe(epochs=2, batch_size=16), seed=0))
    return net, images


def plain_logits(net, images):
    """One image after the other, eval mode."""
    net.eval()
    with torch.no_grad():
        return torch.cat([net(images.clean(slice(i, i + 1))) for i in range(len(images))]).double()


@pytest.mark.parametrize("batch_size", [1, 32, 1024])
def test_accuracy_and_loss_equal_a_plain_loop(trained, batch_size):
    net, images = trained
    found = evaluate(net, images, batch_size=batch_size)
    logits = plain_logits(net, images)
    assert (
        found.accuracy == (logits.argmax(1) == images.labels).double().mean()
        and 0.3 < found.accuracy < 1
    )
    assert (
        found.loss == pytest.approx(float(F.cross_entropy(logits, images.labels)), rel=1e-5)
        and found.num_samples == 70
    )
    right = logits.argmax(1) == images.labels
    assert found.class_accuracy == tuple(
        float(right[images.labels == c].double().mean()) for c in range(3)
    )


def test_a_class_without_test_images_has_no_accuracy(trained):
    net, images = trained
    with pytest.warns(UserWarning, match="no sample of class"):
        part = images.subset(np.flatnonzero(images.labels.numpy() != 1))
    assert evaluate(net, part).class_accuracy[1] is None


@pytest.mark.parametrize("batch_size", [32, 1024])
def test_a_snapshot_holds_softmax_features_and_labels_in_order(trained, batch_size):
    net, images = trained
    looked = take_snapshot(net, images, batch_size=batch_size)
    assert looked.probs.shape == (1, 70, 3) and looked.features.shape == (70, 128)
    np.testing.assert_allclose(looked.probs[-1], plain_logits(net, images).softmax(1), atol=1e-5)
    np.testing.assert_allclose(looked.probs.sum(-1), 1, atol=1e-6)
    logits = looked.features @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    np.testing.assert_allclose(looked.probs[-1], torch.tensor(logits).softmax(1), atol=1e-5)
    assert looked.labels.tolist() == images.labels.tolist()


def test_every_exit_is_in_the_snapshot_and_the_last_one_is_judged():
    images = toy_images(20, device="cpu")[0]

    class TwoExits(torch.nn.Module):
        def features_and_exits(self, x):
            right = F.one_hot(images.labels, 3).float() * 9
            return x.mean((2, 3)), [-right, right]

        def forward(self, x):
            return self.features_and_exits(x)[1][-1]

    looked = take_snapshot(TwoExits(), images)
    assert looked.probs.shape == (2, 20, 3)
    assert (looked.probs.argmax(-1) == looked.labels).mean(axis=1).tolist() == [0, 1]
    assert evaluate(TwoExits(), images).accuracy == 1


@pytest.mark.parametrize("look", [evaluate, take_snapshot])
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_and_weights_are_untouched(trained, look, training):
    net, images = trained
    net.train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    look(net, images)
    assert net.training is training and all(module.training is training for module in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("look", [evaluate, take_snapshot])
def test_the_mode_is_put_back_when_the_network_fails(trained, look, monkeypatch):
    net, images = trained
    net.train()

    def fails(x):
        assert not net.training
        raise RuntimeError("out of memory")

    monkeypatch.setattr(net, "features_and_exits", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        look(net, images)
    assert net.training and torch.is_grad_enabled()


def test_a_snapshot_of_part_of_a_set_is_refused(trained):
    net, images = trained
    with pytest.raises(
        ValueError, match=r"the whole set, so that row i is sample i; got 35 of 70 samples: pass"
    ):
        take_snapshot(net, images.subset(np.arange(35)))
    assert evaluate(net, images.subset(np.arange(35))).num_samples == 35


def test_precision_is_picked_by_the_size_of_the_pictures():
    small, large = toy_images(4, device="cpu")[0], toy_images(4, size=16, device="cpu")[0]
    assert resolve_precision(small) == "fp32"
    assert resolve_precision(large) in ("bf16", "fp32")
    assert resolve_precision(small, "bf16") == "bf16" and resolve_precision(large, "fp32") == "fp32"
    for precision, expected in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast(small, precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(
    "kind, avx512_bf16, amx, picked",
    [
        ("Intel(R) Xeon(R) Processor, amx_bf16", True, True, "bf16"),
        ("Intel(R) Xeon(R) Processor, avx512_bf16", True, False, "fp32"),  # measured: 1.5x slower
        ("AMD EPYC, avx512_bf16", True, False, "bf16"),
        ("AMD EPYC, avx2", False, False, "fp32"),
    ],
)
def test_bf16_is_picked_only_where_the_cpu_multiplies_it_faster(
    monkeypatch, kind, avx512_bf16, amx, picked
):
    monkeypatch.setattr(inference, "processor", lambda: kind)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision(toy_images(4, size=16, device="cpu")[0]) == picked


def test_an_unknown_precision_is_refused(trained):
    for call in (
        lambda: resolve_precision(trained[1], "fp16"),
        lambda: evaluate(*trained, precision="fp16"),
    ):
        with pytest.raises(
            ValueError, match='precision must be "auto", "fp32" or "bf16"; got \'fp16\''
        ):
            call()


def test_tiny_images_take_one_thread_and_give_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for size, threads in ((8, 1), (16, 2)):
            images = from_arrays(
                np.zeros((2, size, size), np.uint8), np.array([0, 1]), device="cpu"
            )
            with limit_threads(images):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
