"""Networks are lists of stages and a head; nothing about them depends on the mode or on hooks."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from dpkit.nets import models
from dpkit.nets.builders import MODELS
from dpkit.nets.catalog import NETWORKS
from dpkit.nets.fast import fast_cnn, fast_cnn_narrow, fast_cnn_wide

SMALL = {"small_cnn": models.small_cnn, "resnet18": models.resnet18}
ALL = SMALL | {
    build.__name__: build
    for build in (
        fast_cnn,
        fast_cnn_narrow,
        fast_cnn_wide,
        models.resnet34,
        models.resnet50,
        models.mobilenet_v3_small,
        models.mobilenet_v3_large,
    )
}


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
@pytest.mark.parametrize("channels, side", [(1, 8), (3, 12)])
def test_logits_are_the_head_on_averaged_features(build, channels, side):
    net = build(channels, 5).eval()
    x = torch.randn(2, channels, side, side)
    with torch.no_grad():
        features, exits = net.features_and_exits(x)
        staged = x
        for stage in net.stages:
            staged = stage(staged)
        torch.testing.assert_close(features, staged.mean((2, 3)))
        torch.testing.assert_close(net.features(x), features)
        torch.testing.assert_close(net(x), F.linear(features, net.head.weight, net.head.bias))
        assert len(exits) == len(net.exits(x)) == 1
        torch.testing.assert_close(exits[0], net(x))
    assert net(x).shape == (2, 5) and features.shape[1] == net.head.in_features


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("small_cnn", 0.24),
        ("resnet18", 11.17),
        ("resnet34", 21.28),
        ("resnet50", 23.52),
        ("mobilenet_v3_small", 1.53),
        ("mobilenet_v3_large", 4.21),
        ("fast_cnn", 0.57),
        ("fast_cnn_narrow", 0.15),
        ("fast_cnn_wide", 1.97),
    ],
)
def test_sizes_are_as_stated(name, parameters):
    count = sum(p.numel() for p in ALL[name](3, 10).parameters()) / 1e6
    assert count == pytest.approx(parameters, abs=0.006)
    line = NETWORKS[name].split()[0]  # of the help: as many digits as it has
    assert line == f"{count:.{len(line.partition('.')[2])}f}"


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_a_resnet_is_torchvisions_with_the_stem_for_small_images(name):
    theirs = getattr(torchvision.models, name)(num_classes=10)
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = torch.nn.Identity()
    assert_same_function(ALL[name](3, 10), theirs)


@pytest.mark.parametrize("name, strided", [("mobilenet_v3_small", 1), ("mobilenet_v3_large", 2)])
def test_a_mobilenet_is_torchvisions_with_two_halvings_less(name, strided):
    theirs = getattr(torchvision.models, name)(num_classes=10)
    theirs.features[0][0].stride = (1, 1)
    depthwise = next(
        layer
        for layer in theirs.features[strided].modules()
        if getattr(layer, "stride", None) == (2, 2)
    )
    depthwise.stride = (1, 1)
    assert_same_function(ALL[name](3, 10), theirs)


def assert_same_function(ours, theirs):
    """The same logits with the same weights; both list a block as conv, norm, conv, norm,
    shortcut.
    """

    def in_order(net):
        return [(key, value) for key, value in net.state_dict().items() if "num_batches" not in key]

    renamed = dict(
        zip(
            (key for key, _ in in_order(ours)),
            (value for _, value in in_order(theirs)),
            strict=True,
        )
    )
    ours.load_state_dict(renamed, strict=False)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_the_head_computes_in_float32_under_autocast(build):
    net, x = build(1, 5), torch.randn(2, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        features, (logits,) = net.features_and_exits(x)
    assert features.dtype == logits.dtype == torch.float32
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_what_forward_returns_does_not_depend_on_the_mode(build):
    net, x = build(1, 5), torch.randn(4, 1, 8, 8)
    assert net.train()(x).shape == net.eval()(x).shape == (4, 5)


def test_every_model_of_the_catalog_is_tested_here():
    assert set(MODELS) == set(ALL)
