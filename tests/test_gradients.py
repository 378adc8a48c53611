"""Gradient norms of the whole network against autograd, one sample after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dpkit.data.image_set import from_arrays
from dpkit.data.toys import toy_images
from dpkit.nets.models import StagedNet, resnet18, small_cnn
from dpkit.scorers import grand
from dpkit.training import gradients
from dpkit.training.gradients import gradient_norms
from dpkit.training.inference import take_snapshot


@pytest.fixture(scope="module")
def images():
    return toy_images(20, size=10, device="cpu")[0]


def made(build, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(*arguments)
        for module in net.modules():
            # as after a training
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        return net


def one_by_one(net, images):
    """The definition: backward from one sample's loss, the length of all gradients together."""
    net = net.eval()
    every = list(net.parameters())
    for parameter in every:
        parameter.requires_grad_()
    found = []
    for i in range(len(images)):
        loss = F.cross_entropy(net(images.clean(slice(i, i + 1))), images.labels[i : i + 1])
        parts = torch.autograd.grad(loss, every, allow_unused=True)
        found.append(
            sum(part.double().square().sum().item() for part in parts if part is not None) ** 0.5
        )
    return np.array(found)


class Odd(nn.Module):
    """Groups, strides, dilation, bias in convolutions; a linear layer at every position."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, (3, 1), stride=(2, 1), padding=(1, 0))
        self.second = nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2)
        self.apart = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Linear(8, 5)
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, x):
        x = F.relu_(self.norm(self.apart(F.relu_(self.second(self.first(x))))))
        return self.head(torch.tanh(self.mix(x.flatten(2).mT)).mean(1))


class Twice(Odd):
    """One module called twice: the two gradients add up before their length is taken."""

    def forward(self, x):
        x = F.relu_(self.norm(self.apart(F.relu_(self.second(self.first(x))))))
        return self.head(torch.tanh(self.mix(self.apart(x).flatten(2).mT)).mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.there, self.back, self.head = (
            nn.Linear(100, 100),
            nn.Linear(100, 100),
            nn.Linear(100, 3),
        )
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.head(self.back(self.there(x.flatten(1)).tanh()))


class Beside(Odd):
    """An exit that is computed and not used."""

    def __init__(self):
        super().__init__()
        self.aside = nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        self.aside(x.mean((2, 3)))
        return self.head(
            torch.tanh(
                self.mix(F.relu_(self.norm(self.apart(F.relu_(self.second(x))))).flatten(2).mT)
            ).mean(1)
        )


class Fixed(Odd):
    """A part that is computed under no_grad."""

    def forward(self, x):
        with torch.no_grad():
            x = self.first(x)
        return self.head(
            torch.tanh(
                self.mix(F.relu_(self.norm(self.apart(F.relu_(self.second(x))))).flatten(2).mT)
            ).mean(1)
        )


class Again(Odd):
    """A weight that is also used beside its module's call, which no hook sees."""

    def forward(self, x):
        x = self.apart(F.relu_(self.second(self.first(x))))
        x = F.relu_(self.norm(x)) + F.conv2d(
            x, self.apart.weight[:, :1].expand(-1, x.shape[1], -1, -1), padding="same"
        )
        return self.head(torch.tanh(self.mix(x.flatten(2).mT)).mean(1))


def layered():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(400, 3)
    )


def normalised():
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), nn.Flatten(), nn.Linear(256, 3)
    )


def batch_statistics():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(256, 3),
    )


def rows_of_pixels():
    whole = nn.Unflatten(0, (-1, 10))
    return nn.Sequential(
        nn.Flatten(0, 2), nn.Linear(10, 6), nn.Tanh(), whole, nn.Flatten(), nn.Linear(60, 3)
    )


BY_LAYER = {
    "small_cnn": lambda: small_cnn(1, 3),
    "resnet18": lambda: resnet18(1, 3),
    "odd": Odd,
    "beside": Beside,
}
BY_SAMPLE = {
    "fixed": Fixed,
    "twice": Twice,
    "tied": Tied,
    "again": Again,
    "layered": layered,
    "normalised": normalised,
    "batch": batch_statistics,
    "rows": rows_of_pixels,
}


@pytest.mark.parametrize("name", BY_LAYER | BY_SAMPLE)
def test_each_norm_is_what_autograd_gives_for_that_sample_alone(images, name):
    net = made((BY_LAYER | BY_SAMPLE)[name])
    found = gradient_norms(net, images)
    np.testing.assert_allclose(found.values, one_by_one(net, images), rtol=2e-5)
    assert found.name == "gradient_norms" and found.params == {"precision": "fp32"}


@pytest.mark.parametrize("name", BY_LAYER | BY_SAMPLE)
def test_only_what_the_rules_are_right_for_goes_layer_by_layer(images, name):
    modules, _ = gradients.try_one_image(
        made((BY_LAYER | BY_SAMPLE)[name]).eval(), images.clean(slice(0, 1))
    )
    assert (modules is not None) == (name in BY_LAYER)


@pytest.mark.parametrize("name", ["small_cnn", "layered"])
def test_a_norm_does_not_depend_on_the_batch_or_its_neighbours(images, name):
    net = made((BY_LAYER | BY_SAMPLE)[name])
    whole = gradient_norms(net, images).values
    for batch_size in (1, 7, 19):  # 19: the last batch is one image
        np.testing.assert_allclose(
            gradient_norms(net, images, batch_size=batch_size).values, whole, rtol=2e-5
        )
    np.testing.assert_allclose(gradient_norms(net, images.first(3)).values, whole[:3], rtol=2e-5)


def test_a_network_that_diverged_is_told(images):
    net = made(small_cnn, 1, 3)
    net.head.weight.data[:] = torch.nan
    with pytest.raises(
        ValueError, match=r"gradients are numbers; 20 of 20 are NaN \(first: row 0\): it diverged"
    ):
        gradient_norms(net, images)


def test_where_only_the_head_has_parameters_it_is_the_closed_form_of_grand(images):
    net = made(StagedNet, [nn.PixelUnshuffle(5)], nn.Linear(25, 3))
    np.testing.assert_allclose(
        gradient_norms(net, images).values, grand(take_snapshot(net, images)).values, rtol=2e-5
    )


def test_frozen_layers_count_and_stay_frozen(images):
    net = made(small_cnn, 1, 3)
    free = gradient_norms(net, images).values
    net.stages.requires_grad_(False)
    np.testing.assert_array_equal(gradient_norms(net, images).values, free)
    assert not any(p.requires_grad for p in net.stages.parameters()) and all(
        p.grad is None for p in net.parameters()
    )


def test_modes_hooks_statistics_threads_and_random_state_are_left_alone(images):
    net = made(small_cnn, 1, 3).train()
    net.stages[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        gradient_norms(net, images)
    assert (
        net.training
        and net.stages[0].training
        and not net.stages[1].training
        and not net.stages[1][0].training
    )
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_a_net_that_fails_is_put_back_too(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(7, 3)).train()
    with pytest.raises(RuntimeError):
        gradient_norms(net, images)
    assert net.training and not net[1]._forward_hooks


def test_chunks_are_as_many_images_as_fit(images, monkeypatch):
    def chunks():
        sizes, net = [], made(small_cnn, 1, 3)
        net.register_forward_pre_hook(lambda net, given: sizes.append(len(given[0])))
        gradient_norms(net, images)
        return sizes

    assert chunks()[-1] == 20 and chunks().count(20) == 1
    monkeypatch.setattr(gradients, "CHUNK_BYTES", 1)
    assert set(chunks()) == {1} and len(chunks()) >= 20


def test_a_part_of_a_set_is_refused(images):
    with pytest.raises(
        ValueError,
        match="gradient_norms needs the whole set, so that row i is sample i; got 5 of 20 samples: "
        r"pass the set before \.subset",
    ):
        gradient_norms(made(small_cnn, 1, 3), images.subset(np.arange(5)))


def test_bf16_is_near_fp32(images):
    net = made(small_cnn, 1, 3)
    fp32, bf16 = (
        gradient_norms(net, images, precision=precision).values for precision in ("fp32", "bf16")
    )
    np.testing.assert_allclose(bf16, fp32, rtol=0.1)


def test_colour_images_and_a_surely_right_sample_of_no_gradient():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    images = from_arrays(pictures, np.zeros(6, int), class_names=["a", "b"], device="cpu")
    net = made(small_cnn, 3, 2)
    with torch.no_grad():
        net.head.bias.copy_(torch.tensor([500.0, -500]))
    assert gradient_norms(net, images).values.tolist() == [0] * 6
    wrong = replace(images, labels=1 - images.labels)
    np.testing.assert_allclose(gradient_norms(net, wrong).values, one_by_one(net, wrong), rtol=2e-5)
