"""fast_cnn: whitening that comes from the training images alone, and a recipe whose new settings
change nothing by default.
"""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import dpkit
from dpkit.data import image_set
from dpkit.experiments import stages
from dpkit.experiments.trials import Trial
from dpkit.nets import builders
from dpkit.nets.fast import FastCNN, whitening_filters
from dpkit.training.recipe import recipe_for

DIGITS = image_set.load("digits", device="cpu", say=None)


def made(side=8, channels=1, n=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(
        0, 256, (n, side, side, channels) if channels > 1 else (n, side, side), dtype=np.uint8
    )
    return image_set.from_arrays(pixels, np.arange(n) % classes, device="cpu")


# ---- whitening -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_with_second_moment_one(channels):
    x = made(16, channels, n=64).clean(slice(None))
    out = F.conv2d(x, whitening_filters(x)).transpose(0, 1).flatten(1)
    first, second = out.split(4 * channels)
    assert torch.equal(first, -second)
    moments = first @ first.T / first.shape[1]
    torch.testing.assert_close(moments, torch.eye(4 * channels), atol=2e-3, rtol=0)


def test_two_pixels_whitened_by_hand():
    # patches (a, a, b, b), a and b of -3, -1, 1, 3: second moment 2 * 5 along (1, 1, 0, 0) and (0,
    # 0, 1, 1), else 0
    rows = torch.tensor([[a, b] for a in (-3.0, -1.0, 1.0, 3.0) for b in (-3.0, -1.0, 1.0, 3.0)])
    found = whitening_filters(rows[:, None, :, None].expand(-1, 1, 2, 2).contiguous()).view(8, 4)[
        :4
    ]
    lengths = found.square().sum(1)
    # at right angles
    torch.testing.assert_close(found @ found.T, torch.diag(lengths), atol=1e-2, rtol=0)
    torch.testing.assert_close(lengths[:2], torch.full((2,), 1 / (10 + 5e-4)))
    # without variance: no further
    torch.testing.assert_close(lengths[2:], torch.full((2,), 1 / 5e-4), rtol=1e-3, atol=0)


def test_the_largest_weight_of_a_direction_is_positive():
    filters = whitening_filters(made(16, 3, n=64).clean(slice(None)))[:12].flatten(1)
    assert (filters.gather(1, filters.abs().argmax(1, keepdim=True)) > 0).all()


def test_make_net_whitens_by_the_images_it_is_given_and_by_no_others():
    images = DIGITS.first(200)
    kept = images.subset(np.arange(50))
    whole, part, again = (
        builders.make_net("fast_cnn", some, seed=0) for some in (images, kept, kept)
    )
    expected = whitening_filters(kept.clean(slice(None)))
    assert torch.equal(part.stages[0][0].weight, expected) and not torch.equal(
        whole.stages[0][0].weight, expected
    )
    for name, value in part.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        if name != "stages.0.0.weight":
            assert torch.equal(value, whole.state_dict()[name]), name  # seed alone decides the rest


def test_retraining_whitens_by_the_kept_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(FastCNN, "see_images", lambda net, images: seen.append(images.ids.tolist()))
    kept = dpkit.Selection(np.arange(0, 40, 2), 40, "by hand")
    images = DIGITS.first(40)
    stages.retrain(
        images,
        images,
        kept,
        model="fast_cnn",
        recipe=dpkit.Recipe(budget="steps", steps=1),
        seed=0,
        cache=tmp_path,
    )
    assert seen == [kept.kept.tolist()]


def test_whitening_is_frozen_and_its_bias_learns():
    images = DIGITS.first(64)
    net = builders.make_net("fast_cnn", images, seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    list(dpkit.train(net, images, dpkit.Recipe(epochs=1, batch_size=16), seed=0, record=False))
    after = net.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "stages.0.0.weight" not in moved and "stages.0.0.bias" in moved
    assert all(
        torch.equal(module.weight, torch.ones_like(module.weight))
        for module in net.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    "pixels", [np.full((12, 8, 8), 7, np.uint8), np.full((12, 8, 8, 3), [10, 20, 30], np.uint8)]
)
def test_a_set_of_one_colour_is_refused(pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = image_set.from_arrays(pixels, np.arange(12) % 2, device="cpu")
    with pytest.raises(
        ValueError,
        match="whitening needs images that differ somewhere; all of these are of one colour",
    ):
        builders.make_net("fast_cnn", images, seed=0)


def test_images_that_are_plain_but_unlike_each_other_are_whitened():
    pixels = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None] * 20, (12, 8, 8)).copy()
    net = builders.make_net(
        "fast_cnn", image_set.from_arrays(pixels, np.arange(12) % 2, device="cpu"), seed=0
    )
    assert torch.isfinite(net.stages[0][0].weight).all()


# ---- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 9, 12, 28, 32, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_from_8x8_up_grey_too(side, channels):
    images = made(side, channels)
    net = builders.make_net("fast_cnn", images, seed=0)
    assert net(images.clean(slice(None))).shape == (12, 3)


def test_an_oblong_image_is_taken():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 40), dtype=np.uint8)
    images = image_set.from_arrays(pixels, np.arange(12) % 3, device="cpu")
    assert builders.make_net("fast_cnn", images, seed=0)(images.clean(slice(None))).shape == (12, 3)


@pytest.mark.parametrize("model", ["fast_cnn", "fast_cnn_wide", "small_cnn"])
@pytest.mark.parametrize("side", [7, 4])
def test_smaller_images_are_refused_with_advice(model, side):
    with pytest.raises(
        ValueError,
        match=f"{model} needs images of at least 8x8 pixels; these are {side}x{side}: have them",
    ):
        builders.make_net(model, made(side), seed=0)


def test_a_sweep_refuses_small_images_before_any_training(tmp_path, monkeypatch):
    images, labels = np.arange(240, dtype=np.uint8).reshape(10, 6, 4), np.arange(10) % 2
    np.savez(
        tmp_path / "tiny.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    monkeypatch.setenv("DPKIT_DATA", str(tmp_path))
    grid = {
        "dataset": "tiny",
        "model": "fast_cnn",
        "method": "random",
        "prune_ratio": 0.5,
        "record": {"epochs": 1},
        "retrain": {"epochs": 1},
    }
    with pytest.raises(
        ValueError, match="fast_cnn needs images of at least 8x8 pixels; these are 4x6"
    ):
        dpkit.sweep(grid, out=tmp_path / "out", cache=tmp_path / "cache", device="cpu")


def test_more_channels_than_whitening_can_see_are_refused():
    FastCNN(8, 2, (64, 128, 128))
    with pytest.raises(
        ValueError, match="whitening sees at most 8 channels here .* these images have 9"
    ):
        FastCNN(9, 2, (64, 128, 128))
    with pytest.raises(ValueError, match="whitening sees at most 4 channels here"):
        FastCNN(5, 2, (32, 64, 64))


def test_everything_that_reads_a_network_reads_this_one():
    images = DIGITS.first(60)
    net = builders.make_net("fast_cnn", images, seed=0, exits=(1, 2))
    recipe = recipe_for("fast_cnn", epochs=2, batch_size=20)
    reports = list(dpkit.train(net, images, recipe, seed=0, loss=dpkit.exit_loss()))
    assert np.isfinite(reports[-1].target_prob).all()
    snapshot = dpkit.take_snapshot(net, images)
    assert snapshot.probs.shape == (3, 60, 10) and snapshot.features.shape == (60, 128)
    vectors = dpkit.influence_vectors(snapshot, damping=1e-2)
    assert np.isfinite(np.asarray(vectors)).all()
    assert len(dpkit.gradient_norms(net, images).values) == 60


def test_gradient_norms_are_autograds():
    images = DIGITS.first(4)
    net = builders.make_net("fast_cnn", images, seed=0).eval()
    for p in net.parameters():
        p.requires_grad_(True)  # the frozen ones count
    found = dpkit.gradient_norms(net, images).values
    for i in range(4):
        net.zero_grad()
        F.cross_entropy(net(images.clean(slice(i, i + 1))), images.labels[i : i + 1]).backward()
        norm = math.sqrt(
            sum(
                float(p.grad.double().square().sum())
                for p in net.parameters()
                if p.grad is not None
            )
        )
        assert found[i] == pytest.approx(norm, rel=1e-4)


# ---- the recipe's later settings -----------------------------------------------------------------


def test_defaults_leave_every_key_as_it_was():
    before = {
        "epochs": 30,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "budget": "epochs",
        "steps": None,
        "augment": "own",
        "precision": "auto",
    }
    recipe = dpkit.Recipe(epochs=30)
    assert (
        recipe.settings() == before
        and recipe.plain() == before | {"compile": False}
        and recipe.describe() == "30 epochs"
    )
    trial = Trial(
        "digits", "random", 0.5, 0, recipe, 30, dataclasses.replace(recipe, label_smoothing=0.1)
    )
    assert trial.plain()["record"] == before | {"compile": False}
    assert trial.plain()["retrain"] == before | {"compile": False, "label_smoothing": 0.1}
    assert trial.retrain.describe() == "30 epochs label_smoothing=0.1"
    json.dumps(trial.plain())


@pytest.mark.parametrize(
    "settings, rates",
    [
        ({}, [1.0, 0.75, 0.25]),  # 0.5 (1 + cos(0, pi/3, 2 pi/3))
        ({"schedule": "linear"}, [1.0, 2 / 3, 1 / 3]),
        ({"schedule": "linear", "warmup": 1}, [0.5, 1.0, 0.5]),
        ({"warmup": 2}, [1 / 3, 2 / 3, 1.0]),
    ],
)
def test_rates_by_hand(settings, rates):
    recipe = dpkit.Recipe(lr=1.0, epochs=3, **settings)
    assert [recipe.rate(step, 3) for step in range(3)] == pytest.approx(rates)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"schedule": "step"}, 'schedule must be "cosine" or "linear"; got \'step\''),
        ({"warmup": -1}, "warmup must be a whole number of steps from 0; got -1"),
        ({"warmup": 0.2}, "warmup must be a whole number of steps from 0; got 0.2"),
        ({"norm_bias_lr": 0.0}, "norm_bias_lr must be a factor of lr above 0; got 0.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a number in \[0, 1\); got 1.0"),
        ({"label_smoothing": -0.1}, r"label_smoothing must be a number in \[0, 1\); got -0.1"),
        ({"label_smoothing": math.nan}, r"label_smoothing must be a number in \[0, 1\); got nan"),
        (
            {"budget": "steps", "steps": 10, "warmup": 10},
            "warmup must be shorter than the schedule, 10 steps here; got 10",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dpkit.Recipe(**settings)


def test_a_schedule_shorter_than_its_warmup_is_refused_before_the_first_step():
    images = DIGITS.first(64)
    net = builders.make_net("small_cnn", images, seed=0)
    recipe = dpkit.Recipe(epochs=2, batch_size=32, warmup=4)  # 4 steps in all
    with pytest.raises(
        ValueError, match="warmup must be shorter than the schedule, 4 steps here; got 4"
    ):
        next(dpkit.train(net, images, recipe, seed=0))


def test_smoothed_labels_are_torchs_and_a_recording_with_them_is_warned_of():
    images = DIGITS.first(32)
    recipe = dpkit.Recipe(
        epochs=1, batch_size=32, label_smoothing=0.2, augment=None, precision="fp32"
    )
    net = builders.make_net("small_cnn", images, seed=0)
    net.train()
    expected = F.cross_entropy(
        net(images.clean(slice(None))), images.labels, label_smoothing=0.2
    ).item()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = builders.make_net("small_cnn", images, seed=0)
        report = next(dpkit.train(net, images, recipe, seed=0, record=False))
    assert report.loss == pytest.approx(expected, rel=1e-4)
    with pytest.warns(UserWarning, match="label smoothing distorts the probabilities"):
        next(dpkit.train(net, images, recipe, seed=0))


def test_smoothing_with_a_loss_of_ones_own_is_refused():
    images = DIGITS.first(32)
    net = builders.make_net("small_cnn", images, seed=0)
    with pytest.raises(ValueError, match="label_smoothing is for the usual loss"):
        next(
            dpkit.train(
                net,
                images,
                dpkit.Recipe(epochs=1, label_smoothing=0.1),
                seed=0,
                loss=dpkit.exit_loss(),
            )
        )


def test_a_batch_larger_than_the_set_is_told():
    images = DIGITS.first(20)
    net = builders.make_net("fast_cnn", images, seed=0)
    with pytest.warns(
        UserWarning,
        match="batch_size 1,024 is larger than the set: every step takes all of its 20 images",
    ):
        next(dpkit.train(net, images, dpkit.Recipe(epochs=1, batch_size=1024), seed=0))


def test_norm_biases_have_their_own_rate_and_the_same_decay():
    images = DIGITS.first(32)
    moved = {}
    for factor in (1.0, 8.0):
        net = builders.make_net("small_cnn", images, seed=0)
        before = {name: value.detach().clone() for name, value in net.named_parameters()}
        recipe = dpkit.Recipe(
            epochs=1,
            batch_size=32,
            norm_bias_lr=factor,
            augment=None,
            momentum=0.0,
            nesterov=False,
            precision="fp32",
        )
        next(dpkit.train(net, images, recipe, seed=0, record=False))
        moved[factor] = {
            name: value.detach() - before[name] for name, value in net.named_parameters()
        }
    for name in moved[1.0]:
        # biases start at 0: no decay in the first step
        ratio = 8.0 if name.endswith(".bias") and name != "head.bias" else 1.0
        torch.testing.assert_close(moved[8.0][name], ratio * moved[1.0][name], rtol=1e-3, atol=1e-6)


def test_norm_bias_lr_without_norms_is_refused():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    with pytest.raises(ValueError, match="norm_bias_lr is for networks with normalisation layers"):
        next(dpkit.train(net, DIGITS.first(32), dpkit.Recipe(epochs=1, norm_bias_lr=2.0), seed=0))


def test_a_training_with_its_own_norm_rate_goes_on_from_a_checkpoint(tmp_path, every_epoch):
    images = DIGITS.first(48)
    recipe = dpkit.Recipe(epochs=3, batch_size=16, norm_bias_lr=4.0, warmup=2, label_smoothing=0.1)

    def losses(epochs, folder):
        net = builders.make_net("fast_cnn", images, seed=0)
        found = []
        for report in dpkit.train(net, images, recipe, seed=0, record=False, checkpoint=folder):
            found.append(report.loss)
            if len(found) == epochs:
                break
        return found

    whole = losses(3, None)
    assert losses(2, tmp_path / "c") == whole[:2]
    assert losses(3, tmp_path / "c") == whole


def test_recipe_for_knows_what_suits_a_network():
    assert recipe_for("small_cnn", epochs=3) == dpkit.Recipe(epochs=3)
    assert dpkit.recipe_for("fast_cnn", lr=0.7).lr == 0.7
    assert dpkit.recipe_for("fast_cnn").label_smoothing == 0  # for recordings too
    with pytest.raises(ValueError, match="unknown model 'fast'"):
        dpkit.recipe_for("fast")
