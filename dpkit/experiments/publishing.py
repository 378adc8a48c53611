"""Measured tables as folders that others can check: rows, scores, kept sets and their making.

rows.csv       a line per training; its `kept` and `scores` say where the two below are
kept.npy       (rows, n/8 rounded up) uint8: line k holds the kept set of row k, a bit per
               sample (numpy.packbits)
scores/        <name>-seed<k>.npy, (n,) float32, higher = more worth keeping
table.md       accuracy in percent, mean ± standard deviation over the seeds, and differences
               to random
accuracy.png   the same as a picture
DATA_CARD.md   what the files are, how they were made, their licence, how to use them
manifest.json  command, seeds, machine, versions, notes; of each file of scores by what it was
               made (score_files); and the SHA-256 of every file

Kept sets are committed as bits: 2 MB for the six tables of results/, which as texts and arrays of
ids would be 47 MB. dpkit.fetch adds those to the copy that it makes.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpkit import storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments import data_card, stages
from dpkit.experiments.page import configurations, write_page
from dpkit.experiments.pipeline import has_current_numbers
from dpkit.experiments.results import KIND, load_outcomes, scores_in_manifest
from dpkit.experiments.row_files import SCHEMA, write_table
from dpkit.experiments.rows import Row
from dpkit.experiments.score_files import describe_scores
from dpkit.experiments.trials import Outcome, Trial, identity_of, settings_in_row
from dpkit.storage.processors import kind_of
from dpkit.storage.provenance import machine, versions
from dpkit.training.recipe import Recipe

__all__ = ["configurations", "in_order", "publish", "published", "rewrite"]


def publish(
    folder: str | Path,
    outcomes: Iterable[Outcome],
    *,
    title: str,
    command: str,
    notes: Iterable[str] = (),
    settings: dict | None = None,
    tables: dict | None = None,
    device: str = "cpu",
) -> Path:
    """Write outcomes as a folder that others can check, whole or not at all.

    An earlier one of this title is replaced.

    Parameters
    ----------
    folder : where.
    outcomes : of trials.outcome_of.
    title : of the table.
    command : what to type to make it again.
    notes : footnotes, printed under the table.
    settings : what else the rows depend on, for the manifest.
    tables : {title: lines (dicts)} of what else was measured on these trials, printed below the
        differences and kept in the manifest, so that every number that is quoted has a row.
    device : for the manifest's machine.

    Returns
    -------
    The folder's path.

    Raises
    ------
    ValueError for no outcome.
    FileExistsError if `folder` holds anything else: a table of another title, or a file that is not
    the table's.
    """
    folder, outcomes = Path(folder), list(outcomes)
    if not outcomes:
        raise ValueError("a table needs at least one outcome; got none: run the trials first")
    before = storage.read_manifest(folder)
    if before.get("kind") == KIND and before.get("title") != title:
        raise FileExistsError(
            f"{folder} holds the table {before.get('title')!r}, and this one is {title!r}; name "
            "another folder, or move that one away"
        )
    with storage.whole_folder(folder, kind=KIND) as part:
        rows, masks = [], []
        known: dict[str, str] = {}
        names: dict[str, str] = {}  # of scores, by file
        (part / "scores").mkdir()
        for outcome in outcomes:
            masks.append(np.packbits(outcome.selection.mask()))
            scores = _write_scores(part, outcome, known)
            if outcome.scores:
                names[scores] = outcome.scores.name
            rows.append(replace(outcome.row, scores=scores, from_cache=None))
        np.save(part / "kept.npy", np.stack(masks), allow_pickle=False)
        write_table(part / "rows.csv", rows)
        # numpy's numbers become Python's
        tables = json.loads(json.dumps(tables or {}, default=storage.plain))
        write_page(part, [row.flat() for row in rows], title, command, list(notes), tables)
        manifest = {
            "kind": KIND,
            "schema": SCHEMA,
            "title": title,
            "command": command,
            "settings": settings or {},
            "seeds": sorted({row.seed for row in rows}),
            "notes": list(notes),
            "tables": tables,
            "machine": machine(device),
            "versions": versions(),
            "scores": describe_scores(rows, names),
        }
        _write_card(part, manifest, rows)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        manifest["sha256"] = {
            path.relative_to(part).as_posix(): storage.file_hash(path) for path in files
        }
        storage.write_json(part / "manifest.json", storage.with_checksum(manifest))
    return folder


def rewrite(folder: str | Path, images: ImageSet | None = None) -> Path:
    """Write rows.csv, table.md, accuracy.png and DATA_CARD.md of a published table again, as this
    dpkit does, and say in the manifest of each file of scores by what it was made.

    For a table that an older one wrote. What the rows, scores, kept sets and the rest of the
    manifest say stays, and so do their files.

    Parameters
    ----------
    folder : of publish.
    images : the set of the table. With it manifest and card tell the hash of its labels, by which
        others see whether their copy has the same order.

    Raises
    ------
    ValueError if the folder is no published table, its rows are not the published ones, or the
    images are not those of the table.
    """
    folder = Path(folder)
    rows, manifest = [one.row for one in load_outcomes(folder)], storage.read_manifest(folder)
    names = {file: one["score"] for file, one in scores_in_manifest(manifest).items()}
    manifest["schema"], manifest["scores"] = SCHEMA, describe_scores(rows, names)
    if images is not None:
        if images.fingerprint != manifest.get("settings", {}).get("data"):
            raise ValueError(f"{images.name} is not the set that {folder} was measured on")
        manifest["labels_sha256"] = data_card.hash_of_labels(images.labels.cpu())
    about = [manifest.get(name, {}) for name in ("title", "command", "notes", "tables")]
    with storage.whole_folder(folder, kind=KIND) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        write_table(part / "rows.csv", rows)
        write_page(part, [row.flat() for row in rows], *about)
        _write_card(part, manifest, rows)
        manifest["sha256"] |= {
            name: storage.file_hash(part / name)
            for name in ("rows.csv", "table.md", "accuracy.png", data_card.NAME)
        }
        storage.write_json(part / "manifest.json", storage.with_checksum(manifest))
    return folder


def published(
    trials: Iterable[Trial],
    folders: Iterable[str | Path],
    images: ImageSet,
    test: ImageSet,
    *,
    other_kinds: bool = False,
) -> tuple[list[Outcome], list[Trial]]:
    """(outcomes of those trials that stand in published tables, the trials that are left to run).

    So that work finished on this kind of processor (or GPU) is not done again, whatever the
    precision and torch: its row says so. On another kind the same seed is nearly another seed, and
    all trials are left to run.
    other_kinds: also take rows of other kinds, or that do not tell theirs: the table is then a
                 mixed one, and says so.
    folders: of publish; one that is not there is passed over.
    images:  the ImageSet of the trials; a table that was made of other images, or by stages whose
             numbers have changed since, counts for nothing. A trial is a row's if all that the row
             depends on is the same; what a table does not say counts as different. Where two rows
             fit, the first counts.
    test:    the ImageSet that they are tested on; the first tables did not tell theirs.
    """
    here = stages.compute_environment(images, Recipe())["processor"]
    known = [outcome for folder in folders for outcome in _comparable(folder, images, test)]
    if other_kinds:  # where both are there, those of this kind
        known.sort(key=lambda outcome: kind_of(outcome.row.flat()) != here)
    else:
        known = [outcome for outcome in known if kind_of(outcome.row.flat()) == here]
    there, left = [], []
    for trial in trials:
        own = identity_of(trial, trial.num_samples or len(images))
        found = next((outcome for outcome in known if _is_of(outcome.row, own)), None)
        if found is None:
            left.append(trial)
        else:
            there.append(replace(found, row=_completed(found.row, trial)))
    return there, left


def in_order(outcomes: Sequence[Outcome], trials: Iterable[Trial]) -> list[Outcome]:
    """The outcomes in the order of the trials of one set that they are of, others last.

    Parameters
    ----------
    outcomes : of published and load_outcomes.
    trials : as grids.trials_of gives them.
    """
    if not outcomes:
        return []
    owns = [identity_of(trial, outcomes[0].row.num_samples) for trial in trials]

    def place(outcome):
        return [*(_is_of(outcome.row, own) for own in owns), True].index(True)

    return sorted(outcomes, key=place)


def _comparable(folder, images, test) -> list[Outcome]:
    """The outcomes of a published table that is of these sets, by stages with today's numbers."""
    manifest = storage.read_manifest(folder)
    said = manifest.get("settings", {})
    if not manifest or said.get("data") != images.fingerprint:
        return []
    if said.get("test", test.fingerprint) != test.fingerprint:
        return []
    return [
        outcome for outcome in load_outcomes(folder) if has_current_numbers(outcome.row.versions)
    ]


def _is_of(row: Row, own: dict) -> bool:
    return all(getattr(row, name) == value for name, value in own.items())


def _completed(row: Row, trial: Trial) -> Row:
    """The row with what an older one does not tell, and this trial of it does."""
    own = settings_in_row(trial, row.num_samples)
    names = [
        name for name in ("snapshot_epoch", "best_every", "exits") if getattr(row, name) is None
    ]
    return replace(row, **{name: own[name] for name in names})


# ---- the folder ----------------------------------------------------------------------------------


def _write_card(part, manifest, rows) -> None:
    (part / data_card.NAME).write_text(data_card.card_text(manifest, rows), encoding="utf-8")


def _write_scores(part, outcome, known) -> str:
    """Write the scores once, whoever else selected by them; their path in the folder, or "" where
    there are none.
    """
    if outcome.scores is None:
        return ""
    values = outcome.scores.values.astype(np.float32)
    key = storage.key_hash([outcome.scores.name, outcome.row.seed, values.tobytes().hex()])
    if key not in known:
        stem, taken = f"{outcome.scores.name}-seed{outcome.row.seed}", set(known.values())
        names = [
            f"scores/{stem}{more}.npy"
            for more in ["", *(f"-{i}" for i in range(2, 2 + len(taken)))]
        ]
        known[key] = next(name for name in names if name not in taken)
        np.save(part / known[key], values, allow_pickle=False)
    return known[key]
