"""What would fail after hours of training is refused before it."""

import warnings
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from dpkit import scorers
from dpkit.methods import catalog
from dpkit.nets import builders
from dpkit.nets.early_exits import check_after, exit_loss
from dpkit.records import Snapshot, TrainingDynamics, keep_count
from dpkit.storage.lookup import find
from dpkit.training.recorder import MOST_PROBS


def check_size(method: str, n: int, num_classes: int, options=None) -> None:
    """ValueError, before any training, if the set is too large to record what the method needs, or too small to choose from."""
    neighbours = (options or {}).get("neighbours", 0)
    if neighbours >= max(n, 2):
        raise ValueError(f"{method}'s neighbours must be below {n}, the set's size; got {neighbours}")
    if catalog.METHODS[method].scorer is scorers.tdds and n * num_classes > MOST_PROBS:
        raise ValueError(f"{method} compares all probabilities with those of the epoch before, and {n:,} samples of "
                         f"{num_classes:,} classes have more than the {MOST_PROBS:,} that are held: choose another method, or "
                         "record with Recorder(..., tdds=True) in a loop of your own")


def check_exits(method: str, model: str, exits: tuple, weights: tuple) -> None:
    """ValueError if the method reads exits and this network cannot have them there, trained with these weights."""
    if "exits" in catalog.needs(method):
        check_after(exits, _stages(find(builders.MODELS, model, "model")))
        if weights and len(weights) != len(exits) + 1:
            raise ValueError(f"exit_weights must be one per exit and one for the final exit, {len(exits) + 1} here; got "
                             f"{len(weights)}")
        exit_loss(weights or None)


@lru_cache
def _stages(build) -> int:
    with torch.random.fork_rng(devices=[]):
        return len(build(3, 2).stages)


def check_settings(method, options, epochs, prune_ratio=0.5, exits=1) -> None:
    """ValueError if the method, with these settings, could not choose from a record of so many epochs and early exits."""
    usual = catalog.defaults(method)
    cutoff = options.get("cutoff")
    if isinstance(cutoff, (int, float)) and not isinstance(cutoff, bool) and cutoff > prune_ratio:
        raise ValueError(f"cutoff must not be above the prune ratio: it removes the hardest {cutoff:g} of all samples, and "
                         f"only {prune_ratio:g} of them may go")
    unfit = [name for name, value in options.items() if isinstance(usual.get(name), bool) and not isinstance(value, bool)]
    if unfit:
        raise ValueError(f"{method}'s {unfit[0]} must be true or false; got {options[unfit[0]]!r}")
    made_up = _made_up(min(epochs, 10_000), exits)  # windows are shorter
    n = made_up.dynamics.num_samples
    try:
        with warnings.catch_warnings():  # about samples that are made up
            warnings.simplefilter("ignore")
            # the method itself judges them
            keep, labels = keep_count(n, prune_ratio), made_up.dynamics.labels
            if isinstance(options.get("neighbours"), int):  # check_size knows how many there are
                options = options | {"neighbours": min(options["neighbours"], n - 1)}
            catalog.choose(method, made_up, keep, num_samples=n, rng=0, labels=labels, **options)
    except TypeError as error:
        raise ValueError(f"{method} cannot use the settings {catalog.worded(options)}: {error}") from None


@lru_cache(maxsize=4)
def _made_up(epochs, exits, n=200):
    rng, labels = np.random.default_rng(0), np.arange(n) % 2
    prob = rng.random((n, epochs), np.float32)
    probs = np.stack([prob[:, 0], 1 - prob[:, 0]], axis=1)
    looked = Snapshot(np.stack([probs] * (exits + 1)), rng.random((n, 4), np.float32), labels)
    dynamics = TrainingDynamics(prob, prob - 0.5, prob > 0.5, labels, divergence=prob[:, 1:])
    return SimpleNamespace(dynamics=dynamics, snapshot=looked, final=looked)
