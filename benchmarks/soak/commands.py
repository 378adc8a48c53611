"""The commands that are disturbed, and what each must come to, to the bit."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from dpkit.experiments.results import results_table
from dpkit.storage.files import file_hash

RECORD = {"epochs": 12, "batch_size": 50, "lr": 0.05}
RETRAIN = {"epochs": 8, "batch_size": 50, "lr": 0.05}
TRIAL = """\
import dpkit
from dpkit.training import checkpoint

checkpoint.WRITE_EVERY = 0.0
trial = dpkit.Trial(
    {data!r}, "dual+beta", 0.5, 0, dpkit.Recipe(**{record}), {epochs}, dpkit.Recipe(**{retrain})
)
row = dpkit.run_trial(trial, device="cpu")
"""
CELLS = [
    "seed = 0  # of nothing here",
    "from matplotlib.figure import Figure\nfrom dpkit import reports\n"
    'report = reports.begin("soak", globals())',
    "{trial}",
    'report.table("accuracy", [{{"accuracy": row["accuracy"], "keep": row["keep"]}}])\n'
    "figure = Figure(figsize=(2, 2))\nfigure.subplots().bar([0], [row['accuracy']])\n"
    'report.figure(figure, "accuracy")',
    'report.finish(seeds=[seed], device="cpu")',
]


@dataclass(frozen=True)
class Command:
    """words(place): what is typed.   result(place): what it came to.

    seconds : within which it has ended after Ctrl-C.
    speaks : whether it ends with a sentence of dpkit's; a script of one's own ends as Python does.
    workers : whether it has processes beside its own.
    """

    name: str
    words: Callable
    result: Callable
    seconds: float
    speaks: bool = True
    workers: bool = True


def _dpkit(*words):
    return [sys.executable, "-m", "dpkit", *map(str, words)]


def _prune(place):
    how = ["--ratio", 0.5, "--epochs", RECORD["epochs"], "--batch-size", 50, "--device", "cpu"]
    return _dpkit("prune", place.data, *how, "--out", place.out)


def _sweep(place):
    return _dpkit("sweep", "grid.yaml", "--out", place.out, "--device", "cpu", "--workers", 2)


def _cluster(place):
    return _dpkit(
        "sweep",
        "grid.yaml",
        "--out",
        place.out,
        "--device",
        "cpu",
        "--scheduler",
        place.cluster.address(),
    )


def _trial(place):
    return [sys.executable, "trial.py"]


def _report(place):
    return _dpkit("report", "soak.ipynb", "--out", place.out)


def _study(place):
    how = ["--preset", "smoke", "-p", "data", place.data, "-p", "device", "cpu"]
    return _dpkit("report", "your_own_set", *how, "--out", place.out)


def _pruned(place):
    files = (file for file in place.out.rglob("*") if file.is_file())
    return {
        file.relative_to(place.out).as_posix(): file_hash(file)
        for file in sorted(files)
        if file != place.out / "manifest.json"  # it tells the seconds
    }


def _rows(place):
    return [_numbers(row) for row in results_table(place.out).to_dict("records")]


def _row(place):
    return _numbers(json.loads((place.out / "row.json").read_text()))


def _numbers(row):
    """A row without what may differ from run to run."""
    return {
        name: str(value)
        for name, value in row.items()
        if not name.endswith(("seconds", "peak_memory")) and name not in ("from_cache", "threads")
    }


def _reported(place):
    found = json.loads((place.out / "result.json").read_text())
    return {name: found[name] for name in ("tables", "checks", "figures")}


COMMANDS = [
    Command("prune", _prune, _pruned, 2.0, workers=False),
    Command("sweep", _sweep, _rows, 5.0),
    Command("sweep on a cluster", _cluster, _rows, 5.0, workers=False),
    Command("run_trial", _trial, _row, 5.0, speaks=False, workers=False),  # no promise
    Command("report", _report, _reported, 2.0),
    Command("study", _study, _reported, 5.0),
]


def make_set(file: Path) -> None:
    """Three classes of 8x8 images: a bright bar in another place each, in noise."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 160, (700, 8, 8, 1), np.uint8), rng.integers(0, 3, 700)
    for k, label in enumerate(labels):
        images[k, :, 2 * label + 1] += 60
    np.savez(
        file,
        train_images=images[:600],
        train_labels=labels[:600],
        test_images=images[600:],
        test_labels=labels[600:],
    )


def write_inputs(folder: Path, data: Path) -> None:
    """What the commands are given besides the set: a grid, a script and a notebook."""
    grid = {
        "dataset": str(data),
        "method": ["dual", "random"],
        "prune_ratio": [0.3, 0.6],
        "record": RECORD,
        "retrain": RETRAIN,
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    trial = TRIAL.format(data=str(data), record=RECORD, epochs=RECORD["epochs"], retrain=RETRAIN)
    write = "\nfrom dpkit import storage\nstorage.write_json('results/out/row.json', row)\n"
    (folder / "trial.py").write_text(trial + write)
    cells = [
        {
            "cell_type": "code",
            "id": str(k),
            "metadata": {"tags": ["parameters"]} if k == 0 else {},
            "source": source.format(trial=trial),
            "outputs": [],
            "execution_count": None,
        }
        for k, source in enumerate(CELLS)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "soak.ipynb").write_text(json.dumps(notebook))
