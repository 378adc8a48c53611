"""Networks with early exits: what the exits say, how they are trained, and that leaving early is
what it claims.
"""

from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dpkit import Recipe
from dpkit.data import image_set
from dpkit.nets import builders, models
from dpkit.nets.early_exits import EarlyExitNet, exit_flops, exit_loss, leave_early
from dpkit.nets.early_leaving import leaves_at, leaving_curve
from dpkit.records import Snapshot
from dpkit.training.inference import take_snapshot
from dpkit.training.loop import train


def net_with_exits(name="small_cnn", after=(0, 1), channels=1):
    torch.manual_seed(0)
    return EarlyExitNet(getattr(models, name)(channels, 5), after)


# ---- the exits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", builders.MODELS)
def test_the_last_exit_is_what_forward_says_and_the_network_is_as_without_exits(name):
    x, plain = torch.randn(2, 1, 16, 16), builders.MODELS[name](1, 5).eval()
    net = EarlyExitNet(plain, after=(0, 2)).eval()
    with torch.no_grad():
        features, exits = net.features_and_exits(x)
        assert len(exits) == 3 and all(logits.shape == (2, 5) for logits in exits)
        assert torch.equal(exits[-1], net(x)) and torch.equal(net.exits(x)[-1], net(x))
        torch.testing.assert_close(net(x), plain(x))
        torch.testing.assert_close(features, net.features(x))
    assert [type(out) for out in (net.train()(x), net.eval()(x))] == [torch.Tensor] * 2


def test_an_exit_reads_the_average_of_its_stage_and_nothing_behind_it():
    net, x = net_with_exits().eval(), torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        inside = net.stages[0](x)
        torch.testing.assert_close(
            net.exits(x)[0], F.linear(inside.mean((2, 3)), net.heads[0].weight, net.heads[0].bias)
        )
        before = net.exits(x)[0]
        for p in net.stages[1].parameters():
            p.add_(1.0)
        assert torch.equal(net.exits(x)[0], before)


def test_exits_compute_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert all(
            logits.dtype == torch.float32
            for logits in net_with_exits().exits(torch.randn(2, 1, 16, 16))
        )


def test_the_catalog_gives_a_network_the_same_weights_with_and_without_exits():
    images = image_set.load("digits", device="cpu").first(8)
    plain, exits = (
        builders.make_net("small_cnn", images, seed=3, exits=after) for after in ((), (1,))
    )
    for name, value in plain.state_dict().items():
        assert torch.equal(value, exits.state_dict()[name]), name
    again = builders.make_net("small_cnn", images, seed=3, exits=(1,))
    assert torch.equal(again.heads[0].weight, exits.heads[0].weight)


@pytest.mark.parametrize("after", [(3,), (4,), (-1,), (), (1, 0), (1, 1), (True,), (0.5,)])
def test_exits_that_cannot_be_are_refused(after):
    with pytest.raises(
        ValueError,
        match=r"after must be stages of 0\.\.2 in ascending order \(stage 3 is the last one",
    ):
        EarlyExitNet(models.small_cnn(1, 5), after)


def test_a_net_that_is_not_staged_is_told_how_to_be():
    with pytest.raises(
        TypeError,
        match=r"needs a staged network, .*; got Sequential: list its layers as models.StagedNet\(",
    ):
        EarlyExitNet(nn.Sequential(nn.Linear(2, 2)), (0,))


# ---- the joint loss ------------------------------------------------------------------------------


def test_the_joint_loss_is_the_weighted_mean_of_the_exits():
    net, x, y = net_with_exits(), torch.randn(6, 1, 16, 16), torch.arange(6) % 5
    with torch.no_grad():
        one, two, three = (float(F.cross_entropy(logits, y)) for logits in net.exits(x))
        value, logits = exit_loss()(net, x, y)
        assert float(value) == pytest.approx((one + two + three) / 3, rel=1e-6)
        assert logits.shape == (6, 5)
        weighted, _ = exit_loss((0.5, 0, 2))(net, x, y)
        assert float(weighted) == pytest.approx((0.5 * one + 2 * three) / 2.5, rel=1e-6)


def test_every_exit_learns():
    images = image_set.load("digits", device="cpu").first(300)
    net = builders.make_net("small_cnn", images, seed=0, exits=(0, 1))
    for _ in train(
        net, images, Recipe(epochs=12, batch_size=32, lr=0.05), seed=0, loss=exit_loss()
    ):
        pass
    snapshot = take_snapshot(net, images)
    right = (snapshot.probs.argmax(-1) == snapshot.labels).mean(axis=1)
    assert (
        snapshot.probs.shape == (3, 300, 10)
        and right[2] > 0.9
        and right[1] > 0.7
        and right[0] > 0.3
    )


def test_weights_of_the_wrong_length_are_refused_at_the_first_step():
    with pytest.raises(
        ValueError, match="one per exit, 3 for this network, the final one's included; got 2"
    ):
        exit_loss((1, 1))(net_with_exits(), torch.randn(2, 1, 16, 16), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "weights", [(), (0, 0, 0), (1, -1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1), ("1", 1, 1)]
)
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="exit weights must be numbers from 0, and not all 0"):
        exit_loss(weights)


# ---- leaving early -------------------------------------------------------------------------------


def test_a_sample_leaves_at_the_first_exit_that_is_sure_with_that_exits_answer():
    net, x = net_with_exits().eval(), 3 * torch.randn(40, 1, 16, 16)
    with torch.no_grad():
        exits = torch.stack(net.exits(x))
    sure = exits.softmax(-1).amax(-1)
    threshold = float(sure[:-1].median())
    logits, where = leave_early(net, x, threshold=threshold)
    expected = [next((k for k in (0, 1) if sure[k, i] > threshold), 2) for i in range(40)]
    assert where.tolist() == expected and len(set(expected)) == 3
    torch.testing.assert_close(logits, exits[where, torch.arange(40)])
    probs = exits.softmax(-1).double().numpy()
    seen = Snapshot(probs, None, np.zeros(40, int))
    assert leaves_at(seen, threshold).tolist() == expected


def test_who_has_left_does_no_more_work():
    net, x = net_with_exits().eval(), 3 * torch.randn(40, 1, 16, 16)
    seen = []
    for stage in net.stages:
        stage.register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    _, where = leave_early(net, x, threshold=0.3)
    left = np.bincount(where.numpy(), minlength=3)
    assert left[0] > 0
    expected = [40, 40 - left[0], *[left[2]] * 2]
    assert seen == [count for count in expected if count]
    seen.clear()
    _, where = leave_early(net, x, threshold=0.0)
    assert seen == [40] and where.tolist() == [0] * 40


def test_leaving_is_the_same_in_either_memory_layout():
    net, x = net_with_exits().eval(), 3 * torch.randn(40, 1, 16, 16)
    with torch.no_grad():
        sure = net.exits(x)[0].softmax(-1).amax(-1).sort().values
    threshold = float(sure[19] + sure[20]) / 2  # between two samples, so that rounding moves none
    logits, where = leave_early(net, x, threshold=threshold)
    net.to(memory_format=torch.channels_last)
    again, there = leave_early(
        net, x.contiguous(memory_format=torch.channels_last), threshold=threshold
    )
    assert torch.equal(where, there) and len(set(where.tolist())) > 1
    torch.testing.assert_close(logits, again)


def test_an_empty_batch_leaves_too():
    logits, where = leave_early(net_with_exits().eval(), torch.zeros(0, 1, 16, 16), threshold=0.5)
    assert logits.shape == (0, 5) and where.shape == (0,)


@pytest.mark.parametrize("threshold", [-0.1, 1, 1.5, float("nan"), True, "0.9"])
def test_a_threshold_that_is_no_confidence_is_refused(threshold):
    with pytest.raises(
        ValueError,
        match=r"threshold is a probability that an exit must be surer than, in \[0, 1\); got",
    ):
        leave_early(net_with_exits().eval(), torch.zeros(1, 1, 16, 16), threshold=threshold)
    with pytest.raises(ValueError, match="threshold is a probability"):
        leaves_at(Snapshot(np.full((2, 1, 2), 0.5), None, [0]), threshold)


def test_a_network_without_exits_is_told_how_to_have_them():
    with pytest.raises(
        TypeError,
        match=r"needs a network with exits; got StagedNet: wrap it before training, EarlyExitNet\(",
    ):
        leave_early(models.small_cnn(1, 5).eval(), torch.zeros(1, 1, 16, 16), threshold=0.5)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"eval mode, .* call net.eval\(\) first"):
        leave_early(net_with_exits().train(), torch.zeros(1, 1, 16, 16), threshold=0.5)


# ---- what it saves -------------------------------------------------------------------------------


def test_flops_are_those_counted_by_hand():
    side = 8
    # 3x3 convolution of one channel into 32, and the exit's 32 x 5
    first = 2 * side**2 * 32 * 9 + 2 * 32 * 5
    second = 2 * (side // 2) ** 2 * 64 * 32 * 9
    third, fourth = 2 * (side // 4) ** 2 * 128 * 64 * 9, 2 * 128 * 128 * 9
    net = net_with_exits(after=(0,)).train()
    assert exit_flops(net, (1, side, side)) == [
        first,
        first + second + third + fourth + 2 * 128 * 5,
    ]
    assert net.training and net.stages[0].training  # left as it was
    assert (
        exit_flops(models.small_cnn(1, 5), (1, side, side))[0]
        == first + second + third + fourth + 2 * 128 * 5 - 2 * 32 * 5
    )


def test_the_curve_of_four_samples_by_hand():
    early = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]]
    final = [[0.99, 0.01], [0.3, 0.7], [0.1, 0.9], [0.8, 0.2]]
    snapshot = Snapshot(np.array([early, final]), None, [0, 1, 0, 0])
    never, some, all_of_them = leaving_curve(snapshot, [10, 100], [0.95, 0.7, 0.0])
    assert never == {
        "threshold": 0.95,
        "accuracy": 0.75,
        "flops": 100,
        "saved": 0.0,
        "left": [0.0, 1.0],
    }
    assert some == {
        "threshold": 0.7,
        "accuracy": 0.75,
        "flops": 55,
        "saved": pytest.approx(0.45),
        "left": [0.5, 0.5],
    }
    assert (
        all_of_them["left"] == [1.0, 0.0]
        and all_of_them["accuracy"] == 0.25
        and all_of_them["flops"] == 10
    )


def test_costs_that_do_not_fit_the_exits_are_refused():
    with pytest.raises(ValueError, match="flops must be one number per exit, 2 here"):
        leaving_curve(Snapshot(np.full((2, 1, 2), 0.5), None, [0]), [1, 2, 3], [0.5])


def test_a_snapshot_with_one_exit_leaves_at_the_end():
    assert leaves_at(Snapshot(np.full((1, 3, 2), 0.5), None, [0, 1, 0]), 0.1).tolist() == [0, 0, 0]


def test_training_with_exits_resumes_to_the_same_numbers(tmp_path):
    images = image_set.load("digits", device="cpu").first(60)
    recipe = Recipe(epochs=4, batch_size=16, lr=0.01)

    def trained(folder, stop=4):
        net = builders.make_net("small_cnn", images, seed=0, exits=(1,))
        reports = list(
            islice(train(net, images, recipe, seed=0, loss=exit_loss(), checkpoint=folder), stop)
        )
        return net, reports

    whole, reports = trained(tmp_path / "a")
    trained(tmp_path / "b", stop=2)
    again, resumed = trained(tmp_path / "b")
    assert [report.loss for report in reports] == [report.loss for report in resumed]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
