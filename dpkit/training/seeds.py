"""Random draws of a training: all from (seed, epoch), none from the global state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dpkit.data.image_set import ImageSet


def epoch_seed(seed: int, epoch: int, *share: int) -> int:
    """The seed of an epoch's draws, and of one process's own with its share (1 + rank)."""
    return int(np.random.SeedSequence([seed, epoch, *share]).generate_state(1)[0])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, random draws on the CPU and on `device` come from `seed`; then they go on as
    before.
    """
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        reseed(seed, device)
        yield


def reseed(seed: int, device: torch.device) -> None:
    """Draws on the CPU and on `device` come from `seed` from here on."""
    # torch.manual_seed would reseed every GPU
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def epoch_draws(
    images: ImageSet, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An epoch's order (n,), crop offsets (2, n) and mirroring (n,): drawn on the CPU, so every
    device sees the same.
    """
    n = len(images)
    order = torch.randperm(n)
    offsets = torch.randint(0, 2 * images.shift + 1, (2, n))
    mirrored = torch.rand(n) < 0.5
    return order.to(device), offsets.to(device), mirrored.to(device)
