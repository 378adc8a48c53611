"""The DUAL score against the plain loop over windows in torch, and its error on saturated
samples.
"""

import re
import resource
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks._compare import compare
from dpkit import TrainingDynamics, dual


def plain_dual(target_prob: torch.Tensor, window=10) -> torch.Tensor:
    """One mean and one std per window, on a (n, T) float32 tensor."""
    epochs = target_prob.shape[1]
    total = torch.zeros(len(target_prob))
    for k in range(epochs - window + 1):
        p = target_prob[:, k : k + window]
        total += (1 - p.mean(1)) * p.std(1)
    return total / (epochs - window + 1)


def two_pass(target_prob, window=10):
    """The same in float64, from the definition."""
    p = np.lib.stride_tricks.sliding_window_view(
        np.asarray(target_prob, np.float64), window, axis=1
    )
    return ((1 - p.mean(-1)) * p.std(-1, ddof=1)).mean(1)


def record_of(target_prob):
    zeros = np.zeros(target_prob.shape, np.float32)
    return TrainingDynamics(target_prob, zeros, zeros > 1, np.zeros(len(target_prob), int))


def speed(repeats=9):
    torch.set_num_threads(2)
    p = np.random.default_rng(0).random((50_000, 30), np.float32)
    dynamics, tensor = record_of(p), torch.from_numpy(p)
    np.testing.assert_allclose(dual(dynamics).values, plain_dual(tensor), atol=1e-6)
    return compare(lambda: dual(dynamics), lambda: plain_dual(tensor), repeats=repeats)


def saturated(*, first=None) -> dict:
    """99th percentile of the relative error to float64, on samples within 1e-6 of 0 or 1; `first`:
    but for epoch 0.
    """
    rng = np.random.default_rng(0)
    near = (1e-6 * rng.random((20_000, 30))).astype(np.float32)
    p = np.where(rng.random((20_000, 1)) < 0.5, near, 1 - near).astype(np.float32)
    if first is not None:
        p[:, 0] = first
    right = two_pass(p)
    error = [
        float(np.quantile(np.abs(found - right) / right, 0.99))
        for found in (dual(record_of(p)).values, plain_dual(torch.from_numpy(p)).numpy())
    ]
    return {
        "ours_error": error[0],
        "plain_error": error[1],
        "ratio": error[1] / max(error[0], 1e-16),
    }


def large() -> dict:
    """1.28 million samples by 60 epochs: seconds, and peak memory beyond the record itself."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_large)


def _large():
    n, epochs = 1_280_000, 60
    p = np.empty((epochs, n), np.float32)
    np.random.default_rng(0).random(out=p, dtype=np.float32)
    dynamics = TrainingDynamics(p.T, p.T, np.zeros((epochs, n), bool).T, np.zeros(n, int))
    dual(record_of(np.ones((10, 30), np.float32)))  # compiled
    before, begun = _peak(), time.perf_counter()
    dual(dynamics)
    return {"seconds": time.perf_counter() - begun, "extra_MB": (_peak() - before) / 1e6}


def _peak():
    """The most memory this process ever held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; there ru_maxrss of a new process starts at its parent's
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def run():
    yield "dual, 50,000 x 30", speed()
    yield "dual, error on samples saturated from the first epoch", saturated()
    yield "dual, error on samples saturated from the second epoch", saturated(first=0.1)
    yield "dual, 1.28 M x 60", large()
