"""Training is a generator whose numbers depend on its arguments alone: not on who watches, when it
stops or is killed.
"""

import copy
import functools
import json
import math
import random
import signal
from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from dpkit.data.toys import toy_images
from dpkit.nets.builders import make_net
from dpkit.nets.early_exits import exit_loss
from dpkit.nets.models import StagedNet
from dpkit.records import TrainingDynamics
from dpkit.training import loop
from dpkit.training.loop import Recipe, cross_entropy, train
from dpkit.training.sgd import SGD


def net_for(images, *, dropout=0.0, seed=0):
    """A network of two small stages: quick, with batch norm and, if asked, dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first = nn.Sequential(
            nn.Conv2d(images.in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        )
        return StagedNet([first, nn.Dropout(dropout)], nn.Linear(8, images.num_classes))


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same_reports(some, others, *, seconds=False):
    """Every field of every report equal, bit for bit (but for the seconds they took)."""
    for one, other in zip(some, others, strict=True):
        for field in fields(one):
            if seconds or field.name != "seconds":
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    return True


RECIPE = Recipe(epochs=6, batch_size=64, lr=0.05)


# ---- a generator ---------------------------------------------------------------------------------


def test_the_first_epochs_are_the_same_however_many_are_run(digits):
    recipe = Recipe(epochs=30, batch_size=64)
    full, stopped = make_net("small_cnn", digits, seed=0), make_net("small_cnn", digits, seed=0)
    reports, at_three = [], None
    for report in train(full, digits, recipe, seed=5):
        reports.append(report)
        at_three = weights(full) if report.epoch == 2 else at_three
    assert len(reports) == 30
    assert same_reports(islice(train(stopped, digits, recipe, seed=5), 3), reports[:3])
    assert same_weights(weights(stopped), at_three) and not same_weights(
        weights(stopped), weights(full)
    )


def test_the_horizon_is_part_of_the_recipe_and_not_of_how_many_epochs_are_run(digits):
    short = list(train(net_for(digits), digits, Recipe(epochs=2, batch_size=64), seed=5))
    long = list(islice(train(net_for(digits), digits, Recipe(epochs=4, batch_size=64), seed=5), 2))
    assert short[0].lr < long[0].lr and short[1].loss != long[1].loss


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(digits):
    one, same, other = (
        list(train(net_for(digits, dropout=0.5), digits, RECIPE, seed=seed)) for seed in (1, 1, 2)
    )
    assert same_reports(one, same) and one[0].loss != other[0].loss


def test_two_trainings_taken_in_turns_do_not_disturb_each_other(digits):
    def start():
        return train(net_for(digits, dropout=0.5), digits, RECIPE, seed=1)

    alone = list(start())
    turns = list(zip(start(), start()))
    assert same_reports(alone, [left for left, _ in turns]) and same_reports(
        alone, [right for _, right in turns]
    )


def test_what_the_consumer_draws_or_seeds_changes_nothing(digits):
    quiet = list(train(net_for(digits, dropout=0.5), digits, RECIPE, seed=1))
    noisy = []
    for report in train(net_for(digits, dropout=0.5), digits, RECIPE, seed=1):
        noisy.append(report)
        torch.manual_seed(report.epoch)
        torch.rand(3)
    assert same_reports(quiet, noisy)


def test_global_random_state_is_left_alone(digits):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    make_net("small_cnn", digits, seed=3)
    assert states() == before
    for _ in islice(train(net_for(digits, dropout=0.5), digits, RECIPE, seed=1), 2):
        assert states() == before
    assert states() == before


def test_the_consumer_may_evaluate_and_differentiate_between_epochs(digits):
    modes = []

    def loss(net, x, y):
        modes.append(net.training)
        return cross_entropy(net, x, y)

    net = net_for(digits)
    for _ in islice(train(net, digits, RECIPE, seed=1, loss=loss), 3):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        net.eval()
    assert len(modes) == 12 and all(modes)


# ---- what a report says --------------------------------------------------------------------------


def test_recorded_values_are_those_of_train_mode_before_the_update(digits):
    net = net_for(digits)
    before = copy.deepcopy(net).train()
    # one batch: all
    report = next(
        train(net, digits, Recipe(epochs=2, batch_size=200, lr=1.0, augment=None), seed=1)
    )
    rows = torch.arange(200)

    def by_hand(some):
        with torch.no_grad():
            return some(digits.clean(slice(None))).softmax(1)[rows, digits.labels].numpy()

    np.testing.assert_allclose(report.target_prob, by_hand(before), rtol=1e-4)
    assert np.abs(report.target_prob - by_hand(net.train())).max() > 0.01  # after the update
    assert np.abs(report.target_prob - by_hand(before.eval())).max() > 0.01  # in eval mode
    assert report.loss == pytest.approx(-np.log(report.target_prob).mean(), rel=1e-4)


def test_a_subset_is_recorded_under_its_original_ids_and_the_rest_is_nan(digits):
    ids = np.array([3, 50, 51, 190, 7, 120, 121, 122])
    with pytest.warns(UserWarning, match="has no sample of class"):
        part = digits.subset(ids)
    net = net_for(digits)
    before = copy.deepcopy(net).train()
    report = next(train(net, part, Recipe(epochs=2, batch_size=8, augment=None), seed=1))
    with torch.no_grad():
        logits = before(digits.clean(torch.from_numpy(ids)))
    expected = logits.softmax(1)[torch.arange(8), digits.labels[ids]]
    np.testing.assert_allclose(report.target_prob[ids], expected, rtol=1e-4)
    assert report.correct[ids].tolist() == (logits.argmax(1) == digits.labels[ids]).tolist()
    rest = np.setdiff1d(np.arange(200), ids)
    assert (
        np.isnan(report.target_prob[rest]).all()
        and np.isnan(report.margin[rest]).all()
        and not report.correct[rest].any()
    )
    assert TrainingDynamics.from_reports([report], digits.labels).num_samples == 200


def test_the_learning_rate_follows_a_cosine_to_nearly_zero(digits):
    rates = []

    def loss(net, x, y):
        rates.append(len(x))
        return cross_entropy(net, x, y)

    reports = list(
        train(net_for(digits), digits, Recipe(epochs=5, batch_size=64, lr=0.2), seed=1, loss=loss)
    )
    assert [report.steps for report in reports] == [4, 8, 12, 16, 20] and len(rates) == 20
    for report in reports:
        assert report.lr == pytest.approx(0.1 * (1 + math.cos(math.pi * (report.steps - 1) / 20)))
    assert reports[-1].lr < 0.2 * 0.01


def test_every_step_uses_the_rate_of_the_schedule(digits):
    used = []
    handle = register_optimizer_step_post_hook(
        lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
    )
    list(train(net_for(digits), digits, Recipe(epochs=2, batch_size=64, lr=0.2), seed=1))
    handle.remove()
    assert (
        used == pytest.approx([0.1 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])
        and used[0] == 0.2
    )


def test_one_step_is_torchs_own_sgd(digits):
    recipe = Recipe(epochs=2, batch_size=200, lr=0.1, augment=None)
    ours, theirs = net_for(digits), net_for(digits)
    optimizer = torch.optim.SGD(
        theirs.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    F.cross_entropy(theirs(digits.clean(slice(None))), digits.labels).backward()
    optimizer.step()
    next(train(ours, digits, recipe, seed=1))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_many_steps_and_what_is_kept_of_them_are_those_of_torchs_own_sgd():
    torch.manual_seed(0)
    start, x = nn.Linear(5, 3), torch.randn(16, 5)
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "fused": True}

    def steps(net, *classes):
        state = None
        for kind in classes:
            optimizer = kind(net.parameters(), **settings)
            if state:
                optimizer.load_state_dict(state)
            for _ in range(3):
                optimizer.zero_grad()
                net(x).square().sum().backward()
                optimizer.step()
            state = optimizer.state_dict()
        return weights(net) | {
            f"state {k}": one["momentum_buffer"] for k, one in state["state"].items()
        }

    theirs = steps(copy.deepcopy(start), torch.optim.SGD, torch.optim.SGD)
    for kinds in [(SGD, SGD), (torch.optim.SGD, SGD), (SGD, torch.optim.SGD)]:
        assert same_weights(steps(copy.deepcopy(start), *kinds), theirs)


def test_batches_are_nearly_equal_so_that_none_is_tiny():
    images = toy_images(65, device="cpu")[0]
    sizes = []

    def loss(net, x, y):
        sizes.append(len(x))
        return cross_entropy(net, x, y)

    next(train(net_for(images), images, Recipe(epochs=1, batch_size=64), seed=1, loss=loss))
    assert sizes == [33, 32]


def test_the_loss_reported_is_the_mean_over_samples(digits):
    values = []

    def loss(net, x, y):
        value, logits = cross_entropy(net, x, y)
        values.append(value.item() * len(x))
        return value, logits

    reports = list(
        train(
            net_for(digits),
            digits,
            Recipe(epochs=2, batch_size=90, steps=5, budget="steps"),
            seed=1,
            loss=loss,
        )
    )
    seen = (~np.isnan(reports[1].target_prob)).sum()
    assert [report.loss for report in reports] == pytest.approx(
        [sum(values[:3]) / 200, sum(values[3:]) / seen], rel=1e-5
    )


def test_a_loss_of_ones_own_is_what_is_minimised(digits):
    net = net_for(digits)
    before = weights(net)

    def nothing(net, x, y):
        logits = net(x)
        return 0 * logits.sum(), logits

    next(train(net, digits, Recipe(epochs=1, batch_size=64, weight_decay=0), seed=1, loss=nothing))
    assert all(torch.equal(before[name], value) for name, value in net.named_parameters())


def test_augmentation_is_the_sets_own_or_none(digits):
    seen = {}
    for augment in (None, "own"):

        def loss(net, x, y, augment=augment):
            seen.setdefault(augment, x.clone())
            return cross_entropy(net, x, y)

        next(
            train(
                net_for(digits),
                digits,
                Recipe(epochs=1, batch_size=200, augment=augment),
                seed=1,
                loss=loss,
            )
        )

    def pictures(batch):
        return {picture.numpy().tobytes() for picture in batch}

    clean = pictures(digits.clean(slice(None)))
    assert pictures(seen[None]) == clean
    assert 0 < len(pictures(seen["own"]) & clean) < 60  # one in nine is not shifted


def test_every_epoch_draws_its_own_order_and_shifts(digits):
    orders, shifted = [], []

    def loss(net, x, y):
        orders.append(tuple(y.tolist()))
        shifted.append(frozenset(picture.numpy().tobytes() for picture in x))
        return cross_entropy(net, x, y)

    list(train(net_for(digits), digits, Recipe(epochs=3, batch_size=200), seed=1, loss=loss))
    assert len(set(orders)) == len(set(shifted)) == 3


# ---- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 64, 100, 200])
def test_a_budget_of_steps_takes_exactly_so_many_whatever_the_sets_size(n, steps_taken, digits):
    images = digits.first(n)
    reports = list(
        train(net_for(images), images, Recipe(batch_size=32, budget="steps", steps=9), seed=1)
    )
    assert steps_taken() == 9 and reports[-1].steps == 9
    per_epoch = math.ceil(n / 32)
    assert [report.steps for report in reports] == [
        min(9, per_epoch * (k + 1)) for k in range(math.ceil(9 / per_epoch))
    ]


def test_a_last_epoch_cut_short_by_the_budget_records_what_it_saw(digits):
    reports = list(
        train(net_for(digits), digits, Recipe(batch_size=64, budget="steps", steps=6), seed=1)
    )
    # two batches of 50
    assert [np.isnan(report.target_prob).sum() for report in reports] == [0, 100]
    with pytest.raises(ValueError, match="epoch 1 is mixed: pass whole epochs only"):
        TrainingDynamics.from_reports(reports, digits.labels)


def test_a_budget_of_epochs_takes_epochs_times_batches(steps_taken, digits):
    assert len(list(train(net_for(digits), digits, Recipe(epochs=3, batch_size=64), seed=1))) == 3
    assert steps_taken() == 12 == Recipe(epochs=3, batch_size=64).total_steps(200)


# ---- refusals ------------------------------------------------------------------------------------


def test_a_diverging_loss_is_told_with_the_rate_to_lower(digits):
    with pytest.raises(
        FloatingPointError,
        match=r"the loss became (nan|inf) in epoch \d: .* use a smaller lr than 1e\+30",
    ):
        list(train(net_for(digits), digits, Recipe(epochs=6, batch_size=64, lr=1e30), seed=1))


def test_an_empty_set_is_refused(digits):
    with pytest.warns(UserWarning, match="has no sample of class"):
        nothing = digits.subset([])
    with pytest.raises(
        ValueError, match="train needs at least one sample; this set is empty: keep more"
    ):
        next(train(net_for(digits), nothing, RECIPE, seed=1))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"budget": "time"}, 'budget must be "epochs" or "steps"; got \'time\''),
        ({"epochs": 0}, "epochs must be a whole number from 1; got 0"),
        ({"epochs": 2.5}, "got 2.5"),
        ({"budget": "steps"}, "budget='steps' needs steps=, a whole number from 1; got None"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1; got 0"),
        ({"lr": 0}, "lr must be a number above 0; got 0"),
        ({"lr": math.nan}, "lr must be a number above 0; got nan"),
        ({"augment": "random"}, "augment must be None or \"own\"; got 'random'"),
        ({"precision": "fp16"}, 'precision must be "auto", "fp32" or "bf16"; got \'fp16\''),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


# ---- checkpoints ---------------------------------------------------------------------------------


def uninterrupted(images):
    net = net_for(images, dropout=0.5)
    return list(train(net, images, RECIPE, seed=1)), weights(net)


@pytest.mark.parametrize("finished", [1, 4, 6])
def test_a_dropped_training_goes_on_to_the_same_numbers(
    tmp_path, digits, every_epoch, steps_taken, finished
):
    expected, final = uninterrupted(digits)
    before = steps_taken()
    first = list(
        islice(
            train(net_for(digits, dropout=0.5), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"),
            finished,
        )
    )
    net = net_for(digits, dropout=0.5, seed=99)  # its own weights do not matter
    reports = list(train(net, digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    assert same_reports(reports, expected) and same_weights(weights(net), final)
    assert same_reports(reports[:finished], first, seconds=True)  # read, not run again
    assert steps_taken() - before == 24


def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_numbers(
    tmp_path, digits, every_epoch, python
):
    killed = python(
        """
import os, signal, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from dpkit import load
from dpkit.training import checkpoint, loop
from dpkit.models import StagedNet
from torch import nn
images = load("digits", device="cpu").first(200)
torch.manual_seed(0)
net = StagedNet([nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()), nn.Dropout(0.5)], nn.Linear(8, 10))
checkpoint.WRITE_EVERY = 0.0
calls = []
def kill(net, inputs, logits):
    calls.append(1)
    if len(calls) == 15:  # the third batch of epoch 3
        os.kill(os.getpid(), signal.SIGKILL)
net.register_forward_hook(kill)
list(loop.train(net, images, loop.Recipe(epochs=6, batch_size=64, lr=0.05), seed=1, checkpoint="c"))
""",  # noqa: E501
        torch.get_num_threads(),
    )
    assert killed.returncode == -signal.SIGKILL, killed
    assert sorted(path.name for path in (tmp_path / "c").glob("epoch*")) == [
        f"epoch_00{k}.npz" for k in range(3)
    ]
    expected, final = uninterrupted(digits)
    net = net_for(digits, dropout=0.5, seed=99)
    assert same_reports(train(net, digits, RECIPE, seed=1, checkpoint=tmp_path / "c"), expected)
    assert same_weights(weights(net), final)


def test_a_checkpoint_is_written_at_the_end_and_not_after_every_quick_epoch(tmp_path, digits):
    run = train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c")
    next(run)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["training.json"]
    list(run)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        *(f"epoch_00{k}.npz" for k in range(6)),
        "state.pt",
        "training.json",
    ]


@pytest.mark.parametrize("change", ["recipe", "seed", "ids", "labels", "net"])
def test_the_checkpoint_of_another_training_is_refused(tmp_path, digits, every_epoch, change):
    from dataclasses import replace

    next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    images = {
        "ids": lambda: digits.subset(np.arange(1, 200)),
        "labels": lambda: replace(digits, labels=digits.labels.roll(1)),
    }.get(change, lambda: digits)()
    net = make_net("small_cnn", images, seed=0) if change == "net" else net_for(images)
    recipe = Recipe(epochs=6, batch_size=64, lr=0.06) if change == "recipe" else RECIPE
    before = weights(net)
    with pytest.raises(
        ValueError,
        match=rf"c holds the checkpoint of another training \(other .*{change}.*name another",
    ):
        next(
            train(net, images, recipe, seed=2 if change == "seed" else 1, checkpoint=tmp_path / "c")
        )
    assert same_weights(weights(net), before)


@pytest.mark.parametrize("name", ["state.pt", "training.json", "epoch_000.npz"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"{]" * 500),
        lambda file: file.write_bytes(b"[1, 2]"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, digits, every_epoch, name, harm):
    next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    harm(tmp_path / "c" / name)
    with pytest.raises(
        ValueError,
        match=rf"{name} is missing or damaged \(\w+\); remove the checkpoint .*c and train again",
    ):
        next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def smoothed(by):
    def loss(net, x, y):
        logits = net(x)
        return torch.nn.functional.cross_entropy(logits, y, label_smoothing=by), logits

    return loss


@pytest.mark.parametrize(
    "other", [cross_entropy, smoothed(0.2), functools.partial(smoothed(0.1)), exit_loss((1,))]
)
def test_the_checkpoint_of_another_loss_is_refused_and_of_the_same_goes_on(
    tmp_path, digits, every_epoch, steps_taken, other
):
    next(
        train(
            net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c", loss=smoothed(0.1)
        )
    )
    taken = steps_taken()
    next(
        train(
            net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c", loss=smoothed(0.1)
        )
    )
    assert steps_taken() == taken
    with pytest.raises(ValueError, match=r"the checkpoint of another training \(other loss\)"):
        next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c", loss=other))


def test_the_checkpoint_of_an_edited_network_of_ones_own_is_refused(tmp_path, digits, every_epoch):
    def net(scale):
        class Own(torch.nn.Linear):
            def forward(self, x):
                return scale * super().forward(x.flatten(1))

        return Own(64, 10)

    next(train(net(1), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    next(train(net(1), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    with pytest.raises(ValueError, match=r"the checkpoint of another training \(other code\)"):
        next(train(net(2), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def test_a_checkpoint_from_before_losses_were_told_goes_on_with_dpkits_own_alone(
    tmp_path, digits, every_epoch, steps_taken
):
    next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    file, taken = tmp_path / "c" / "training.json", steps_taken()
    older = {name: value for name, value in json.loads(file.read_text()).items() if name != "loss"}
    # which of dpkit's it was, an older checkpoint does not tell
    for loss in (cross_entropy, exit_loss((1,))):
        file.write_text(json.dumps(older))
        next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c", loss=loss))
    assert steps_taken() == taken
    file.write_text(json.dumps(older))
    with pytest.raises(ValueError, match="other loss"):
        next(
            train(
                net_for(digits),
                digits,
                RECIPE,
                seed=1,
                checkpoint=tmp_path / "c",
                loss=smoothed(0.1),
            )
        )


def test_a_training_whose_loss_cannot_be_known_goes_on_from_no_checkpoint_and_says_so(
    tmp_path, digits, every_epoch
):
    def unsure(net, x, y, log=(i for i in ())):
        return cross_entropy(net, x, y)

    with pytest.warns(
        UserWarning,
        match="what unsure does cannot be known: .*: this training goes on from no checkpoint",
    ):
        net = net_for(digits, dropout=0.5)
        reports = list(train(net, digits, RECIPE, seed=1, checkpoint=tmp_path / "c", loss=unsure))
    assert not (tmp_path / "c").exists()
    assert same_reports(reports, uninterrupted(digits)[0])


def test_a_missing_epoch_is_refused(tmp_path, digits, every_epoch):
    list(islice(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"), 2))
    (tmp_path / "c" / "epoch_001.npz").unlink()
    with pytest.raises(ValueError, match=r"epoch_001.npz is missing or damaged"):
        list(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def test_a_checkpoint_that_runs_code_is_refused(tmp_path, digits, every_epoch):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    torch.save({"net": Trap()}, tmp_path / "c" / "state.pt")
    with pytest.raises(ValueError, match=r"state.pt is missing or damaged \(UnpicklingError\)"):
        next(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def test_a_checkpoint_of_other_pixels_is_refused(tmp_path, digits):
    list(train(net_for(digits), digits, RECIPE, seed=1, checkpoint=tmp_path / "c"))
    inverted = replace(digits, images=255 - digits.images)
    with pytest.raises(ValueError, match="another training .*images"):
        next(train(net_for(digits), inverted, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def test_the_divergence_goes_on_from_a_checkpoint_and_leaves_the_training_alone(
    tmp_path, digits, every_epoch
):
    images, recipe = digits.first(64), Recipe(epochs=4, batch_size=32)

    def run(epochs, **settings):
        return list(islice(train(net_for(images), images, recipe, seed=1, **settings), epochs))

    whole = TrainingDynamics.from_reports(run(4, tdds=True), images.labels)
    run(2, tdds=True, checkpoint=tmp_path)
    resumed = TrainingDynamics.from_reports(run(4, tdds=True, checkpoint=tmp_path), images.labels)
    assert np.array_equal(resumed.divergence, whole.divergence) and (whole.divergence > 0).all()
    plain = TrainingDynamics.from_reports(run(4), images.labels)
    assert plain.divergence is None and np.array_equal(plain.target_prob, whole.target_prob)
    with pytest.raises(
        ValueError, match=r"holds the checkpoint of another training \(other tdds\)"
    ):
        run(4, checkpoint=tmp_path)


def test_a_training_that_nobody_scores_records_nothing_and_learns_the_same(digits):
    nets = [net_for(digits), net_for(digits)]
    seen, unseen = (
        list(train(net, digits, RECIPE, seed=1, record=record))
        for net, record in zip(nets, (True, False))
    )
    assert all(report.target_prob is None and report.correct is None for report in unseen)
    assert [report.loss for report in unseen] == [report.loss for report in seen]
    assert same_weights(weights(nets[0]), weights(nets[1]))


# ---- compiled ------------------------------------------------------------------------------------


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without its code generation, which takes a minute: the tracing is the same.
    Yields what was compiled.
    """
    made, compile = [], torch.compile

    def quick(function, **options):
        made.append(options)
        return compile(function, backend="aot_eager", dynamic=options["dynamic"])

    monkeypatch.setattr(torch, "compile", quick)
    loop.compiled.cache_clear()
    yield made
    loop.compiled.cache_clear()


def test_a_compiled_training_has_the_same_numbers_up_to_rounding_and_all_networks_share_its_code(
    digits, traced
):
    recipe = Recipe(epochs=2, batch_size=64, lr=0.02, precision="fp32")
    for seed in (0, 1):
        nets = [make_net("small_cnn", digits, seed=seed) for _ in range(2)]
        plain, compiled = (
            list(train(net, digits, replace(recipe, compile=which), seed=seed))
            for net, which in zip(nets, (False, True), strict=True)
        )
        for one, other in zip(plain, compiled, strict=True):
            assert np.abs(
                one.target_prob - other.target_prob
            ).max() < 1e-3 and one.loss == pytest.approx(other.loss, rel=1e-3)
    assert len(traced) == 1


def test_hashes_of_recipes_from_before_compile_stay(digits):
    assert (
        "compile" not in Recipe().settings() and Recipe(compile=True).settings()["compile"] is True
    )
