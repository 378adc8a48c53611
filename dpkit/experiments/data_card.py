"""DATA_CARD.md of a published table: what the files are, how they were made, how to use them."""

import json
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike

from dpkit.data.named_sets import DATASETS
from dpkit.experiments.page import markdown
from dpkit.experiments.rows import Row
from dpkit.experiments.tables import labelled

NAME = "DATA_CARD.md"


def kept_file(row: int, ending: str) -> str:
    """Where a fetched table holds the kept ids of a row of rows.csv."""
    return f"kept/{row:03}.{ending}"


def hash_of_labels(labels: ArrayLike) -> str:
    """SHA-256 of labels in their order, as int64: two copies of a set that have the same order have
    the same.
    """
    return sha256(np.asarray(labels, "<i8").tobytes()).hexdigest()


def card_text(manifest: dict, rows: Sequence[Row]) -> str:
    """The text of the card.

    manifest : the table's, with its scores.
    """
    names = [line["method"] for line in labelled(rows)]
    example = max(range(len(rows)), key=lambda k: (bool(rows[k].scores), rows[k].prune_ratio > 0))
    sets = dict.fromkeys((row.dataset, row.num_samples) for row in rows)
    cells = [
        f"# Data card: {manifest['title']}",
        f"{len(rows)} trainings: the ids of the samples that each was trained on, the scores that "
        "chose them, and the accuracy that it reached. [table.md](table.md) has the accuracies.",
        "## What an id is",
        f"Id i is row i, counted from 0, of the training split of "
        f"{' or '.join(_set(*one) for one in sets)}. A copy of the set in another order has other "
        "images under these ids.",
        *_fingerprint(manifest),
        "## Files",
        _FILES.format(
            row=example, text=kept_file(example, "txt.gz"), npy=kept_file(example, "npy")
        ),
        "## How it was made",
        f"`{manifest['command']}`",
        f"Seeds {', '.join(map(str, manifest['seeds']))}; dpkit "
        f"{manifest['versions'].get('dpkit', 'unknown')}, torch "
        f"{manifest['versions'].get('torch', 'unknown')}. rows.csv says of every row the recipes, "
        "settings, versions, processor and costs.",
        *manifest.get("notes", []),
        "## Use",
        _use(rows[example], names[example]),
        f"Without dpkit: `numpy.loadtxt({kept_file(example, 'txt.gz')!r}, dtype=int)`, or "
        f"`numpy.load({kept_file(example, 'npy')!r})`; both files are in fetched copies.",
        "## Licence",
        "The files hold ids, scores and accuracies, and no image: the images have their own terms, "
        "from whoever gives them out. A table that lies in dpkit's `results/` is under dpkit's MIT "
        "licence; for another one ask its author.",
        "## Rows",
        markdown(_row_lines(rows, names)),
    ]
    if manifest["scores"]:
        cells += ["## Scores", _SCORES, markdown(_score_lines(manifest["scores"]))]
    return "\n\n".join(cells) + "\n"


_FILES = """\
| file | what it holds |
| --- | --- |
| `rows.csv` | a line per training; `kept` is its number, `scores` its file of scores |
| `kept.npy` | (rows, n/8 rounded up) uint8: all kept sets, a bit per sample (`numpy.packbits`) |
| `{text}`, `{npy}` | kept ids of row {row}: a line each, and int32; `dpkit fetch` adds these |
| `scores/` | (n,) float32 each, higher = more worth keeping; listed below |
| `manifest.json` | all of this for programs, and the SHA-256 of every file |"""

_SCORES = (
    "Made from a watched training with the seed and the recipe that the line names (what differs "
    "from dpkit's usual recipe). `processor` is that of the rows."
)


def _set(name, num_samples) -> str:
    order = (
        f'as `dpkit.load("{name}")` gives it (of a download: in the order of torchvision)'
        if name in DATASETS
        else "a set of the author's own"
    )
    return f"{name}, {num_samples:,} samples, {order}"


def _use(row, method) -> str:
    images = f'dpkit.load("{row.dataset}")' if row.dataset in DATASETS else "images"
    return f"""\
```python
import dpkit

table = dpkit.PublishedTable(".")  # the folder of this card
kept = table.kept(method="{method}", prune_ratio={row.prune_ratio:g}, seed={row.seed})
images = {images}.subset(kept)  # row i is still sample i
```"""


def _fingerprint(manifest) -> list[str]:
    """What tells the measured set, and its order, from others."""
    cells = []
    if known := manifest.get("labels_sha256"):
        cells.append(
            "Whether a copy has this order its labels tell: "
            '`hashlib.sha256(numpy.asarray(labels, "<i8").tobytes()).hexdigest()` of the whole '
            f"split's is `{known}`."
        )
    if known := manifest.get("settings", {}).get("data"):
        cells.append(
            f"Measured on the copy whose `fingerprint` is `{known}`: of its pixels, labels and "
            "normalisation, so that a single other pixel makes another."
        )
    return cells


def _row_lines(rows, names) -> list[dict]:
    several = [
        name
        for name in ("model", "dataset", "num_samples")
        if len({getattr(row, name) for row in rows}) > 1
    ]
    return [
        {"row": k, "method": method}
        | {name: getattr(row, name) for name in several}
        | {
            "pruned": f"{100 * row.prune_ratio:g} %",
            "seed": row.seed,
            "kept": f"{row.keep:,}",
            "scores": row.scores,
        }
        for k, (row, method) in enumerate(zip(rows, names, strict=True))
    ]


def _score_lines(scores) -> list[dict]:
    lines = [
        {
            "file": file,
            "score": one["score"],
            "of": ", ".join(one["methods"]),
            "seed": one["seed"],
            "settings": _words(one["settings"]),
            "unit": one["unit"],
            "network": one["network"],
            "recipe": _words(one["record"]),
            "epochs": one["record_epochs"],
            **{name: _words(one.get(name)) for name in ("snapshot_epoch", "exits")},
            "processor": ", ".join(one["processor"]),
        }
        for file, one in scores.items()
    ]
    return [
        {name: line[name] for name in line if any(one[name] not in ("", None) for one in lines)}
        for line in lines
    ]


def _words(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={json.dumps(each)}" for name, each in value.items())
    return "" if value is None else str(value)
