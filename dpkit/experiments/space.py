"""How much of a disk the records of a run take, said before it starts where that is much."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from dpkit.nets import builders
from dpkit.records.training_dynamics import MOST_PROBS
from dpkit.storage.long_work import size_text

MUCH = 2**30  # bytes
STATE = 8  # bytes of a weight in a checkpoint, with its momentum


def record_bytes(
    model: str | Callable,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    num_samples: int,
    epochs: int,
    num_exits: int = 0,
) -> tuple[int, int] | None:
    """Bytes that a recorded training takes: (at its end, with its checkpoint still there; for
    good). None if the network cannot be looked at here, as one that is made for a GPU.

    model : as make_net takes it.   shape : (channels, height, width) of an image.
    """
    try:
        width, weights = _size_of_net(model, shape, num_classes)
    except Exception:  # a note is no reason to stop: the training says what is wrong with it
        return None
    tdds = num_samples * num_classes <= MOST_PROBS
    dynamics = num_samples * epochs * (13 if tdds else 9)
    snapshot = num_samples * (4 * width + 4 * num_classes * (1 + num_exits) + 8)
    state = STATE * weights + (4 * num_samples * num_classes if tdds else 0)
    kept = dynamics + 2 * snapshot
    # a new state is written beside the one before
    return 2 * kept + 2 * state, kept


def _size_of_net(model, shape, num_classes):
    """(length of its feature vector, number of weights)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net = builders.find_builder(model)(shape[0], num_classes).eval()
        # of a network without it there is no record: take_snapshot says so
        staged = hasattr(net, "features_and_exits")
        width = net.features_and_exits(torch.zeros(1, *shape))[0].shape[1] if staged else 0
    return width, sum(weight.numel() for weight in net.parameters())


def space_note(sizes: Collection[tuple[int, int]], cache: Path) -> str | None:
    """A sentence on what records of these `record_bytes` take in the cache; None if it is little,
    both in itself and of what is free.
    """
    if not sizes:
        return None
    need = sum(kept for _, kept in sizes) + max(most - kept for most, kept in sizes)
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if need < MUCH and need < free / 2:
        return None
    records = "the record takes" if len(sizes) == 1 else f"{len(sizes)} records take"
    much, room = size_text(need), size_text(free)
    advice = "" if need < free else ": free some first, or the run will stop on its way"
    return f"{records} about {much} in {cache}, and {room} are free there{advice}"
