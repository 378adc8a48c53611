"""The stages between the trainings, kept in the cache: score and select."""

import hashlib
from pathlib import Path

import numpy as np

from dpkit import storage
from dpkit.experiments.cache import Stage, done_once, load_once
from dpkit.experiments.costs import Cost, measured
from dpkit.experiments.evidence import Evidence
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method
from dpkit.records import Scores, Selection
from dpkit.storage.identity import identity_or_new

SCORE = Stage("score", needs_record=True)
SELECT = Stage("select")


def score(
    method: str | Method, evidence: Evidence | None, *, options: dict, cache: str | Path
) -> tuple[Scores | None, Cost, Path | None]:
    """Method.score, kept in the cache: (scores, what they cost, where they lie); (None, no cost,
    None) without a score.
    """
    method = find_method(method)
    if method.scorer is None:
        return None, Cost(), None
    assert evidence is not None  # what has a scorer reads something
    key = {
        "stage": SCORE.name,
        "version": SCORE.version,
        "evidence": evidence.name,
        "of": method.evidence,
        "scorer": method.codes(identity_or_new)[0],
        "options": _with_defaults(method, options, 0),
    }
    folder = Path(cache) / f"score-{storage.key_hash(key)}"

    def work(part):
        with measured() as cost:
            found = method.score(evidence, **options)
        found.save(part / "scores")
        return cost

    def read(folder):
        return load_once(Scores, folder / "scores")

    cost, scores = done_once(folder, key, work, read)
    return scores, cost, folder


def select(
    method: str | Method,
    evidence: Evidence | None,
    keep: int,
    *,
    labels: np.ndarray,
    seed: int,
    options: dict,
    cache: str | Path,
    scored: tuple | None = None,
) -> tuple[Selection, Cost, Path]:
    """Method.select from samples with these given labels (n,), kept: (selection, what selecting
    cost, where it lies).

    scored: what `score` returned for this method, where that is at hand.
    """
    method = find_method(method).with_options(options)
    scores, _, scored = scored or score(method, evidence, options=options, cache=cache)
    key = {
        "stage": SELECT.name,
        "version": SELECT.version,
        "evidence": evidence.name if evidence else None,
        "scores": scored.name if scored else None,
        "selector": method.codes(identity_or_new)[1],
        "reads": [method.evidence, *method.extras],
        "options": _with_defaults(method, options, 1),
        "num_samples": len(labels),
        "keep": keep,
        "seed": seed,
        "labels": hashlib.sha256(labels.tobytes()).hexdigest(),
    }
    folder = Path(cache) / f"select-{storage.key_hash(key)}"

    def work(part):
        with measured() as cost:
            found = method.select(
                scores,
                keep,
                evidence=evidence,
                num_samples=len(labels),
                labels=labels,
                rng=seed,
                **options,
            )
        found.save(part / "selection")
        return cost

    def read(folder):
        return load_once(Selection, folder / "selection")

    cost, selection = done_once(folder, key, work, read)
    return selection, cost, folder


def _with_defaults(method, options, which):
    """The scorer's (0) or selector's (1) settings with the usual ones filled in: a changed default
    is another stage.
    """
    return method.split_options(method.options | options)[which]
