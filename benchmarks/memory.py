"""Peak memory of recording: it grows with samples times epochs, not with classes."""

from multiprocessing import get_context

import torch

from benchmarks.dual import _peak
from dpkit import Recorder

N = 500_000


def grown(epochs: int, classes: int) -> float:
    """MB that a process grows by while it records this many epochs of N samples, in a fresh process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_grown, (epochs, classes))


def _grown(epochs, classes):
    torch.set_num_threads(1)
    logits, labels = torch.randn(5000, classes), torch.zeros(5000, dtype=torch.int64)
    warm = Recorder(5000, 1)
    warm.update(0, torch.arange(5000), logits, labels)
    warm.dynamics()
    before = _peak()
    recorder = Recorder(N, epochs)
    for epoch in range(epochs):
        for start in range(0, N, 5000):
            recorder.update(epoch, torch.arange(start, start + 5000), logits, labels)
    recorder.dynamics()
    return (_peak() - before) / 1e6


def run():
    for epochs, classes in ((30, 10), (30, 1000), (60, 10)):
        yield f"recording {N:,} samples, T = {epochs}, C = {classes}", {
            "extra_MB": grown(epochs, classes), "n_T_floats_MB": 4e-6 * N * epochs,
            "n_C_T_floats_MB": 4e-6 * N * epochs * classes}
