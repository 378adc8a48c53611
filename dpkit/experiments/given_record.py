"""A record of training dynamics that was made elsewhere, and given to `prune` for its set."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpkit import storage
from dpkit.experiments.costs import Cost
from dpkit.experiments.stages import Evidence
from dpkit.methods.method import Method
from dpkit.records import TrainingDynamics
from dpkit.records.kept_list import KIND


def read_record(
    folder: str | Path, source: Any, numbers: np.ndarray | None, name: str, method: Method
) -> tuple[Evidence | None, dict]:
    """(Evidence, what the manifest says of it) from a saved TrainingDynamics of the original set.

    ValueError if it is another set's.
    """
    folder = _folder_of_record(Path(folder))
    dynamics = TrainingDynamics.load(folder)
    if not method.reads <= {"dynamics"}:
        raise ValueError(
            f"{method.name} looks at a snapshot, and {folder} is read for training dynamics only: "
            "leave --dynamics out"
        )
    if dynamics.num_samples != source.total:
        raise ValueError(
            f"the record in {folder} is of {dynamics.num_samples} samples, but {name} has "
            f"{source.total}: it is of another set, or files were added or removed since"
        )
    if not dynamics.trained()[source.ids].any():
        raise ValueError(
            f"the record in {folder} holds no sample that was trained on (all its rows are NaN): "
            "name another"
        )
    dynamics = _with_labels(dynamics, source, numbers, folder, name)
    sha256 = json.loads((folder / "manifest.json").read_text())["sha256"]
    seen = storage.key_hash([sha256, hashlib.sha256(dynamics.labels.tobytes()).hexdigest()])
    evidence = Evidence(dynamics, None, Cost(), folder, name=f"given-{seen}")
    origin = dynamics.params | {"folder": str(folder), "sha256": sha256}
    return rows_of(evidence, source.ids), origin


def _folder_of_record(folder):
    """The record in a folder, or in the cache's folder of a stage; ValueError for a pruning, or a
    file.
    """
    if folder.is_file():
        raise ValueError(
            f"dynamics must be the folder that TrainingDynamics.save wrote; {folder} is a file: of "
            "an array of probabilities TrainingDynamics.from_probs makes a record, and scores are "
            "given by --scores (scores=)"
        )
    if not (folder / "manifest.json").exists() or (folder / "dynamics" / "manifest.json").exists():
        folder = folder / "dynamics" if (folder / "dynamics").is_dir() else folder
    origin = storage.read_manifest(folder)
    if origin.get("kind") != KIND:
        return folder
    made_from = (origin.get("record") or {}).get("folder")
    raise ValueError(
        f"{folder} is a pruning, not a record"
        + (
            f"; the record it was made from is in {made_from}"
            if made_from
            else " of training dynamics"
        )
    )


def _with_labels(dynamics, source, numbers, folder, name):
    """The record, which must have the set's labels.

    numbers: what the file calls the classes, where those have gaps: a record may have them.
    """
    labels, rows = source.labels, source.ids
    trained, theirs = dynamics.trained()[rows], dynamics.labels[rows]
    if numbers is not None and np.array_equal(theirs[trained], numbers[labels][trained]):
        return replace(dynamics, labels=labels)
    differ = np.flatnonzero((theirs != labels) & trained)
    if len(differ):
        row = differ[0]
        raise ValueError(
            f"the record in {folder} has other labels than {name} in {len(differ)} of "
            f"{len(labels)} rows (first: row {rows[row]}, {theirs[row]} there and {labels[row]} "
            "here): it is of another set, or of this one in another order"
        )
    return dynamics


def rows_of(evidence: Evidence | None, rows: np.ndarray) -> Evidence | None:
    """The evidence of these rows alone."""
    if evidence is None or evidence.dynamics is None:
        return evidence
    if np.array_equal(rows, np.arange(evidence.dynamics.num_samples)):
        return evidence
    return replace(
        evidence,
        name=f"{evidence.name}-{storage.key_hash(rows.tolist())}",
        dynamics=evidence.dynamics.rows(rows),
    )
