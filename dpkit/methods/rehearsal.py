"""A method tried on a made-up record, before hours of training: what it refuses, it refuses now."""

import warnings
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from dpkit.methods.method import Method
from dpkit.methods.option_words import options_in_words
from dpkit.records import Scores, Snapshot, TrainingDynamics, keep_count

SAMPLES = 200


def rehearse(
    method: Method, options: dict, *, epochs: int, prune_ratio: float = 0.5, exits: int = 1
) -> None:
    """ValueError if the method, with these options, could not choose from a record of so many
    epochs and early exits.
    """
    evidence = _made_up(min(epochs, 10_000), exits)  # windows are shorter
    for name in method.counts:  # how many there may be, Method.check says once it sees the set
        if isinstance(options.get(name), int):
            options = options | {name: min(options[name], SAMPLES - 1)}
    method.check(options, SAMPLES, 2, prune_ratio)
    try:
        with warnings.catch_warnings():  # about samples that are made up
            warnings.simplefilter("ignore")
            keep, labels = keep_count(SAMPLES, prune_ratio), evidence.dynamics.labels
            method.choose(evidence, keep, num_samples=SAMPLES, rng=0, labels=labels, **options)
    except TypeError as error:
        words = options_in_words(options)
        raise ValueError(f"{method.name} cannot use the settings {words}: {error}") from None


@lru_cache(maxsize=4)
def _made_up(epochs, exits):
    rng, labels = np.random.default_rng(0), np.arange(SAMPLES) % 2
    prob = rng.random((SAMPLES, epochs), np.float32)
    probs = np.stack([prob[:, 0], 1 - prob[:, 0]], axis=1)
    looked = Snapshot(np.stack([probs] * (exits + 1)), rng.random((SAMPLES, 4), np.float32), labels)
    dynamics = TrainingDynamics(prob, prob - 0.5, prob > 0.5, labels, divergence=prob[:, 1:])
    scores = Scores(prob[:, 0], "made up")
    return SimpleNamespace(dynamics=dynamics, snapshot=looked, final=looked, scores=scores)
