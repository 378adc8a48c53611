"""Peak memory: recording grows with samples times epochs, not with classes; pruning a saved record
grows with samples alone.
"""

import time
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.dual import _peak
from dpkit import Recorder, TrainingDynamics, dual, keep_beta, keep_count

N = 500_000
LARGE, EPOCHS = 1_280_000, 60


def fresh(work, *arguments):
    """What `work` returns in a fresh process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def grown(epochs: int, classes: int) -> float:
    """MB that a process grows by while it records this many epochs of N samples, in a fresh
    process.
    """
    return fresh(_grown, epochs, classes)


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


def pruned() -> dict:
    """Seconds, and MB that a process grows by, for one tenth kept by DUAL+beta of a saved record
    that stays on disk.
    """
    with TemporaryDirectory() as folder:
        record_bytes = fresh(_saved, folder)
        return fresh(_pruned, folder) | {"record_MB": record_bytes / 1e6}


def _saved(folder):
    prob = np.empty((EPOCHS, LARGE), np.float32)
    np.random.default_rng(0).random(out=prob, dtype=np.float32)
    record = TrainingDynamics(prob.T, prob.T, (prob > 0.5).T, np.zeros(LARGE, int))
    record.save(f"{folder}/record")
    return sum(
        array.nbytes for array in (record.target_prob, record.margin, record.correct, record.labels)
    )


def _pruned(folder):
    # compiled
    dual(TrainingDynamics(np.zeros((1, 10)), np.zeros((1, 10)), np.zeros((1, 10), bool), [0]))
    before, begun = _peak(), time.perf_counter()
    record = TrainingDynamics.load(f"{folder}/record")
    keep_beta(dual(record), keep_count(LARGE, 0.9), mean_prob=record.mean_prob(), c_d=11, rng=0)
    return {"seconds": time.perf_counter() - begun, "extra_MB": (_peak() - before) / 1e6}


def run():
    for epochs, classes in ((30, 10), (30, 1000), (60, 10)):
        yield (
            f"recording {N:,} samples, T = {epochs}, C = {classes}",
            {
                "extra_MB": grown(epochs, classes),
                "n_T_floats_MB": 4e-6 * N * epochs,
                "n_C_T_floats_MB": 4e-6 * N * epochs * classes,
            },
        )
    yield f"dual + keep_beta, saved record of {LARGE:,} samples, T = {EPOCHS}", pruned()
