"""What a stage is said to cost is what it took: passes, images, seconds and memory."""

import sys
import time
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from dpkit.experiments.costs import Cost, measured
from dpkit.training.loop import Recipe, cross_entropy, train

MB = 1024 * 1024
NUMBERS_OF = {
    "epochs": 201,
    "batch_size": 64,
    "lr": 0.05,
    "momentum": 0.8,
    "nesterov": False,
    "weight_decay": 1e-4,
    "augment": None,
    "precision": "fp32",
    "schedule": "linear",
    "warmup": 10,
    "norm_bias_lr": 64.0,
    "label_smoothing": 0.1,
}


# ---- counted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 29, 30, 31, 59, 60, 61, 100])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=1, batch_size=30),
        Recipe(epochs=3, batch_size=30),
        Recipe(budget="steps", steps=1, batch_size=30),
        Recipe(budget="steps", steps=5, batch_size=30),
        Recipe(budget="steps", steps=7, batch_size=8),
    ],
    ids=Recipe.describe,
)
def test_passes_and_images_are_those_that_a_training_goes_through(digits, recipe, n):
    batches = []

    def counting(net, x, y):
        batches.append(len(x))
        return cross_entropy(net, x, y)

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    reports = list(train(net, digits.first(n), recipe, seed=0, loss=counting, record=False))
    assert recipe.total_steps(n) == len(batches) == reports[-1].steps
    assert recipe.samples_seen(n) == sum(batches)
    assert recipe.epochs_over(n) == len(reports)
    assert recipe.batches(n) == min(len(batches), reports[0].steps) or len(reports) == 1


def test_a_budget_of_steps_costs_nearly_the_same_whatever_is_kept():
    recipe = Recipe(budget="steps", steps=3900)
    assert {n: recipe.samples_seen(n) for n in (50_000, 25_000, 5_000)} == {
        # 3900 = 9 * 391 + 381 = 19 * 196 + 176 = 97 * 40 + 20 batches; of a pass the first n %
        # batches are larger by one
        50_000: 9 * 50_000 + 381 * 127 + 343,
        25_000: 19 * 25_000 + 176 * 127 + 108,
        5_000: 97 * 5_000 + 20 * 125,
    }


def test_recipes_that_differ_are_worded_differently():
    assert Recipe().describe() == Recipe().length == "200 epochs"
    assert (
        Recipe(budget="steps", steps=3900, batch_size=64).describe() == "3900 steps batch_size=64"
    )
    assert Recipe(budget="steps", steps=3900, batch_size=64).length == "3900 steps"
    others = [replace(Recipe(), **{name: value}) for name, value in NUMBERS_OF.items()]
    others += [Recipe(budget="steps", steps=200), Recipe(budget="steps", steps=201)]
    assert len({recipe.describe() for recipe in [Recipe(), *others]}) == 1 + len(others)
    # none is forgotten here
    assert {*NUMBERS_OF, "budget", "steps", "compile"} == {field.name for field in fields(Recipe)}


# ---- measured ------------------------------------------------------------------------------------


def peak_of(megabytes):
    with measured() as cost:
        block = np.ones(megabytes * MB, np.uint8)  # written to, so it is really there
        del block
    return cost.peak_memory


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere the peak is that of the process so far"
)
def test_the_peak_is_of_the_block_and_not_of_what_came_before():
    before, large, after = peak_of(1), peak_of(300), peak_of(1)
    assert large - before > 280 * MB and large - after > 280 * MB


def test_the_peak_is_known_where_there_is_no_proc(monkeypatch):
    def closed(*arguments, **options):
        raise PermissionError

    monkeypatch.setattr("builtins.open", closed)
    peak = peak_of(1)
    monkeypatch.undo()
    assert peak > 50 * MB  # Python with torch and numpy


def test_seconds_are_those_of_the_block_even_if_it_fails():
    begun = time.perf_counter()
    with pytest.raises(ZeroDivisionError), measured() as cost:
        time.sleep(0.05)
        raise ZeroDivisionError
    assert 0.05 <= cost.seconds <= time.perf_counter() - begun and cost.peak_memory > 0
    assert asdict(Cost()) == {"seconds": 0.0, "epochs": 0, "samples": 0, "peak_memory": None}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_peak_is_of_its_memory():
    device = torch.device("cuda")
    with measured(device) as large:
        torch.ones(300 * MB, dtype=torch.uint8, device=device)
    with measured(device) as small:
        torch.ones(MB, dtype=torch.uint8, device=device)
    assert large.peak_memory - small.peak_memory >= 299 * MB
