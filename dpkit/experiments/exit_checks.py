"""What would fail after hours of training is refused before it."""

from collections.abc import Callable
from functools import lru_cache

import torch

from dpkit.methods.method import Method
from dpkit.nets.builders import find_builder
from dpkit.nets.early_exits import check_after, exit_loss


def check_exits(method: Method, model: str | Callable, exits: tuple, weights: tuple) -> None:
    """ValueError if the method reads exits that this network cannot have, with these weights."""
    if "exits" in method.reads:
        check_after(exits, _stages(find_builder(model)))
        if weights and len(weights) != len(exits) + 1:
            raise ValueError(
                f"exit_weights must be one per exit and one for the final exit, {len(exits) + 1} "
                f"here; got {len(weights)}"
            )
        exit_loss(weights or None)


@lru_cache
def _stages(build) -> int:
    with torch.random.fork_rng(devices=[]):
        return len(build(3, 2).stages)
