"""Rows typed by hand, for tests of tables, figures and folders."""

import csv
import json
from dataclasses import fields

import numpy as np

from dpkit import storage
from dpkit.experiments.old_rows import options_from
from dpkit.experiments.rows import Row
from dpkit.experiments.trials import Outcome
from dpkit.records import Scores, Selection
from dpkit.training.recipe import Recipe

N = 11  # not a multiple of 8: the last byte of a packed set is not full


def row(method, ratio, seed, accuracy, options="{}"):
    return {
        "dataset": "mine",
        "num_samples": N,
        "model": "small_cnn",
        "method": method,
        "options": options,
        "prune_ratio": ratio,
        "keep": round(N * (1 - ratio)),
        "seed": seed,
        "accuracy": accuracy,
        "from_cache": True,
    }


def as_row(found: dict) -> Row:
    """The Row of a dict with a few columns; the recipes, where it has none, are of 3 steps."""
    known = {each.name for each in fields(Row)}
    recipes = {"record": Recipe(epochs=3), "retrain": Recipe(budget="steps", steps=3)}
    told = {name: value for name, value in found.items() if name in known}
    return Row(**recipes | told | {"options": options_from(found["options"])})


def outcome(found: dict) -> Outcome:
    seed, row = found["seed"], as_row(found)
    kept = np.random.default_rng([seed, len(row.method)]).permutation(N)[: row.keep]
    scores = Scores(np.random.default_rng(seed).random(N), "dual")
    return Outcome(
        row, Selection(np.sort(kept), N, row.method), None if row.method == "random" else scores
    )


def as_before_0_9(table, lines: list[dict]) -> None:
    """Make rows.csv of a published table one that an older dpkit wrote, with these lines."""
    with open(table / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    manifest = json.loads((table / "manifest.json").read_text())
    manifest["sha256"]["rows.csv"] = storage.file_hash(table / "rows.csv")
    storage.write_json(table / "manifest.json", manifest | {"schema": 1})


ROWS = [
    row("random", 0.0, 0, 0.9),
    row("random", 0.0, 1, 0.8),
    row("random", 0.5, 0, 0.6),
    row("random", 0.5, 1, 0.7),
    row("dual", 0.5, 0, 0.5),
    row("dual", 0.5, 1, 0.64),
    row("dual+beta", 0.5, 0, 0.65, '{"c_d": 5.5}'),
    row("dual+beta", 0.5, 0, 0.66, '{"c_d": 4}'),
]
OUTCOMES = [outcome(one) for one in ROWS]
