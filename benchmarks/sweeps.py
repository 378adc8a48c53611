"""What a sweep adds to its trainings, what a second worker gains, and whether cost stays linear.
About a quarter of an hour.
"""

import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np

from dpkit import Recipe, Trial, storage, sweep
from dpkit.experiments import results
from dpkit.experiments.clusters import connected
from dpkit.experiments.row_files import write_answer
from dpkit.experiments.rows import Row
from dpkit.experiments.trials import settings_in_row

WAIT, TRIALS = 30.0, 20
ONE_STEP = Recipe(budget="steps", steps=1, batch_size=20)


def waiting_train(seconds):
    """Put in the place of dpkit's `train` on a worker: waits, and trains nothing."""
    from dpkit.experiments import stages
    from dpkit.training import loop

    def train(net, images, recipe, *, seed, checkpoint=None, record=True):
        time.sleep(seconds)
        yield loop.EpochReport(0, 1.0, recipe.lr, seconds, 1, None, None, None)

    stages.train = train


def swept(trials, seconds, workers=2):
    """Seconds that a sweep of these trials takes, from nothing to its table, with trainings that
    wait so long.
    """
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with connected(workers=workers) as client:
            client.run(waiting_train, seconds)
            rows = sweep(
                trials,
                client,
                out=f"{folder}/out",
                cache=f"{folder}/cache",
                on_progress=lambda *a, **k: None,
            )
        taken = time.perf_counter() - begun
    assert len(rows) == len(trials) and not rows.failed.any()
    return taken


def grid(count):
    return [
        Trial("digits", "random", 0.5, seed, Recipe(epochs=1), 1, ONE_STEP, num_samples=100)
        for seed in range(count)
    ]


def trained(data, workers, threads):
    """Seconds of eight real trainings (small CNN, 32x32 colour, 120 steps) as a sweep, cluster
    included.
    """
    recipe = Recipe(budget="steps", steps=120)
    trials = [
        Trial(str(data), "random", 0.5, seed, Recipe(epochs=1), 1, recipe) for seed in range(8)
    ]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = sweep(
            trials,
            out=f"{folder}/out",
            cache=f"{folder}/cache",
            workers=workers,
            threads=threads,
            on_progress=lambda *a, **k: None,
        )
        taken = time.perf_counter() - begun
    assert len(rows) == len(trials) and not rows.failed.any()
    return taken


def collected(count):
    """Seconds to read a sweep's folder of so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        trial, folder = grid(1)[0], Path(folder)
        row = Row(**settings_in_row(trial, 60), keep=30, accuracy=0.5)
        asked = [{"name": f"{k:020}", "versions": {}, **asdict(trial)} for k in range(count)]
        storage.write_json(folder / results.SWEEP, {"kind": "Sweep", "cache": "", "trials": asked})
        (folder / "rows").mkdir()
        for one in asked:
            write_answer(results.row_file(folder, one["name"]), row, trial=asdict(trial))
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            assert len(results.results_table(folder)) == count
            times.append(time.perf_counter() - begun)
        return median(times)


def run():
    os.environ["DPKIT_DATA"] = tempfile.mkdtemp()  # the sets of this benchmark are made here
    yield "10,000 rows collected", {"seconds": collected(10_000)}
    for count in (100, 1000):
        seconds = swept(grid(count), 0.0)
        yield (
            f"sweep of {count} empty trials, 2 workers",
            {"seconds": seconds, "ms_per_trial": 1000 * seconds / count},
        )
    bare = TRIALS * WAIT / 2
    seconds = swept(grid(TRIALS), WAIT)
    yield (
        f"sweep of {TRIALS} trials that wait {WAIT:g} s, 2 workers",
        {"seconds": seconds, "bare_seconds": bare, "overhead_percent": 100 * (seconds / bare - 1)},
    )
    rng = np.random.default_rng(0)
    data = Path(os.environ["DPKIT_DATA"]) / "noise.npz"
    np.savez(
        data,
        train_images=rng.integers(0, 256, (5000, 32, 32, 3), np.uint8),
        train_labels=rng.integers(0, 10, 5000),
        test_images=rng.integers(0, 256, (500, 32, 32, 3), np.uint8),
        test_labels=rng.integers(0, 10, 500),
    )
    ways = {
        "1 worker, 1 thread": (1, 1),
        "2 workers, 1 thread": (2, 1),
        "1 worker, 2 threads": (1, 2),
    }
    times = {name: [] for name in ways}
    for _ in range(2):
        for name, (workers, threads) in ways.items():
            times[name].append(trained(data, workers, threads))
    for name, found in times.items():
        ratios = [
            one / other for one, other in zip(times["1 worker, 1 thread"], found, strict=True)
        ]
        yield (
            f"8 trainings as a sweep, {name}",
            {
                "seconds": median(found),
                "ratio_to_1x1": median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
            },
        )
