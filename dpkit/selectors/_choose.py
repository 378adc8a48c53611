"""What the selection rules share: seeds, ranking with fair ties, class quotas, draws, checks."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import whole_labels
from dpkit.storage.blocks import by_label, unfit_rows


def generator(rng: int | np.random.Generator) -> tuple[np.random.Generator, dict]:
    """(Generator, what to record of it). A seed is recorded; a Generator is used as it is."""
    if isinstance(rng, np.random.Generator):
        return rng, {}
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(int(rng)), {"seed": int(rng)}
    raise TypeError(f"rng must be a seed (a whole number from 0) or a numpy Generator; got {rng!r}")


def check_keep(keep: int, n: int) -> int:
    """keep as an int, or one clear sentence."""
    if isinstance(keep, (bool, np.bool_)) or not isinstance(keep, (int, np.integer)):
        raise ValueError(
            f"keep is a count and must be a whole number; got {keep!r}: use keep_count(n, "
            "prune_ratio)"
        )
    if not 0 <= keep <= n:
        raise ValueError(f"keep must be 0..{n} (the set's size); got {keep}")
    return int(keep)


def take_top(values: np.ndarray, keep: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (keep,) int64 of the `keep` largest values, unordered; rng draws among ties. O(n)."""
    n = len(values)
    if keep == 0:
        return np.empty(0, np.int64)
    edge = np.partition(values, n - keep)[n - keep]
    above = np.flatnonzero(values > edge)
    # array order would favour whole classes here: image folders are ordered by class
    tied = rng.choice(np.flatnonzero(values == edge), keep - len(above), replace=False)
    return np.concatenate([above, tied])


def take_top_of(chunks: Iterable[np.ndarray], keep: int, rng: np.random.Generator) -> np.ndarray:
    """take_top of arrays that follow each other, exactly as if they were one: (keep,) int64.

    Only rows that may still be kept are held: memory for O(keep + a chunk + the rows tied at the
    edge), time O(n).
    """
    rows, values = [np.empty(0, np.int64)], [np.empty(0)]
    start, held, room = 0, 0, 2 * keep
    edge = -np.inf if keep else np.nan  # nothing reaches NaN
    for chunk in chunks:
        near = np.flatnonzero(chunk >= edge)
        rows.append(start + near)
        values.append(chunk[near])
        start += len(chunk)
        held += len(near)
        if held > room:
            rows, values = np.concatenate(rows), np.concatenate(values)
            edge = np.partition(values, held - keep)[held - keep]
            # all that are tied at the edge too: take_top draws among all of them
            stay = values >= edge
            rows, values, held = [rows[stay]], [values[stay]], np.count_nonzero(stay)
            room = 2 * held  # so that in all no more than O(n) rows are sorted through
    return np.concatenate(rows)[take_top(np.concatenate(values), keep, rng)]


def gumbel_top(
    log_weights: Iterable[np.ndarray], keep: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw (keep,) int64 rows without replacement, in proportion to weight at every draw.

    log_weights: arrays that follow each other, one number a row; where they are cut changes
                 nothing.
    Adding Gumbel noise to log weights and taking the top is that distribution exactly (Efraimidis &
    Spirakis 2006), O(n), and safe with weights of zero (-inf): they only fill what is missing,
    uniformly.
    """
    return take_top_of((chunk + rng.gumbel(size=len(chunk)) for chunk in log_weights), keep, rng)


def class_quotas(
    labels: np.ndarray, keep: int, per_class: str | ArrayLike, rng: np.random.Generator
) -> dict[int, int]:
    """How many samples each class keeps: {class: count}, of sum `keep`, none above its size.

    "proportional": shares of `keep` like the set's, by largest remainder.
    "balanced":     equal shares; what a small class cannot fill is spread over the others.
    recall, (C,):   of class 0, 1, ...; shares of each class in proportion to 1 - recall (DRoP).
    Leftover single places go by rng, not by class number.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if not isinstance(per_class, str):
        exact = _by_difficulty(sizes, keep, 1 - _recall_of(classes, per_class))
    elif per_class == "proportional":
        exact = keep * sizes / sizes.sum()
    elif per_class == "balanced":
        exact = _water_level(sizes, keep)
    elif per_class == "difficulty":
        raise ValueError(
            'per_class="difficulty" is for a Method, which reads the recall in the record; here '
            "pass the recall itself: per_class=class_recall(dynamics)"
        )
    else:
        raise ValueError(
            'per_class must be None, "balanced", "proportional", "difficulty" or the recall of '
            f"each class; got {per_class!r}"
        )
    counts = np.floor(exact + 1e-9).astype(np.int64)
    remainder = np.where(counts < sizes, exact - counts, -np.inf)
    counts[take_top(np.round(remainder, 9), keep - counts.sum(), rng)] += 1
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _water_level(sizes, keep):
    """min(size, level) for the level at which the sum is keep."""
    ordered = np.sort(sizes)
    filled = 0
    for i, size in enumerate(ordered):
        level = (keep - filled) / (len(sizes) - i)
        if level <= size:
            return np.minimum(sizes, level)
        filled += size
    return sizes.astype(float)


def _by_difficulty(sizes, keep, difficulty):
    """DRoP (Vysogorets et al., ICLR 2025, Algorithm 1): every class keeps a share of its samples in
    proportion to its difficulty 1 - recall, at most all of them; what is above that goes to the
    others by the same rule.

        kept_c = size_c * difficulty_c * keep / sum of size * difficulty
    """
    kept = np.zeros(len(sizes))
    while keep - kept.sum() > 1e-9 * keep:
        weight = np.where(kept < sizes, sizes * difficulty, 0)
        if not weight.any():  # nothing is left but classes that are never wrong
            weight = sizes - kept
        kept = np.minimum(sizes, kept + (keep - kept.sum()) * weight / weight.sum())
    return kept


def _recall_of(classes, recall):
    """The recall of these classes, or one clear sentence."""
    recall = np.asarray(recall)
    if recall.ndim != 1 or recall.dtype.kind not in "fiu" or len(recall) <= classes.max(initial=-1):
        raise ValueError(
            "per_class as recall must have a number for each class, in the order of their numbers "
            f"0..{classes.max(initial=0)}; got {recall.dtype} of shape {recall.shape}"
        )
    found = recall[classes].astype(float)
    wrong = np.flatnonzero(~((found >= 0) & (found <= 1)))  # also NaN
    if len(wrong):
        raise ValueError(
            f"recall must be in [0, 1]; got {found[wrong[0]]:g} for class {classes[wrong[0]]}, "
            "which has samples to choose from: record a training that sees this class"
        )
    return found


def by_class(
    labels: ArrayLike | None,
    n: int,
    keep: int,
    per_class: str | ArrayLike | None,
    rng: np.random.Generator,
    choose: Callable[[np.ndarray, int], np.ndarray],
    *,
    left: np.ndarray | None = None,
) -> tuple[np.ndarray, dict]:
    """(rows, note): rows chosen by `choose(rows, count)`, of the whole set or class by class; the
    rest as for class_parts.
    """
    parts, note = class_parts(labels, n, keep, per_class, rng, left=left, stacklevel=4)
    return join_choices(choose(rows, count) for rows, count in parts), note


def class_parts(
    labels: ArrayLike | None,
    n: int,
    keep: int,
    per_class: str | ArrayLike | None,
    rng: np.random.Generator,
    *,
    left: np.ndarray | None = None,
    stacklevel: int = 3,
) -> tuple[list[tuple[np.ndarray, int]], dict]:
    """([(rows, how many of them to keep)], note): the whole set, or class by class.

    left: rows to choose from, ascending (default: all).
    A class that has less than its quota gives all it has and other classes fill its places: a
    warning says which and how many, and the note, {"short": {class: places}}, is for the
    selection's params.
    """
    rows = np.arange(n) if left is None else left
    if per_class is None:
        return [(rows, keep)], {}
    labels = check_labels(labels, n, per_class)
    quotas, short = _places(labels, rows, keep, per_class, rng)
    for c, places in short.items():
        warnings.warn(
            f"class {c} has {quotas[c]} samples to keep where its quota is {quotas[c] + places}: "
            f"all {quotas[c]} stay and other classes fill the {places} place{'s' * (places > 1)}",
            stacklevel=stacklevel,
        )
    members = dict(by_label(labels[rows]))  # sorted once: a search for every class would take n * C
    nobody = np.empty(0, np.int64)
    parts = [(rows[members.get(c, nobody)], count) for c, count in quotas.items()]
    return parts, {"short": {str(c): places for c, places in short.items()}} if short else {}


def join_choices(choices: Iterable[np.ndarray]) -> np.ndarray:
    """The rows chosen in all parts, one after another."""
    return np.concatenate([*choices] or [np.empty(0, np.int64)])


def _places(
    labels: np.ndarray,
    rows: np.ndarray,
    keep: int,
    per_class: str | ArrayLike,
    rng: np.random.Generator,
) -> tuple[dict, dict]:
    """({class: places}, {class: places that others fill}) when only `rows` may be kept."""
    classes = np.unique(labels).tolist()
    present, counts = np.unique(labels[rows], return_counts=True)
    have = dict.fromkeys(classes, 0) | dict(zip(present.tolist(), counts.tolist(), strict=True))
    if isinstance(per_class, str) and per_class == "balanced":
        due = dict.fromkeys(classes, keep // max(len(classes), 1))
        quotas = dict.fromkeys(classes, 0) | class_quotas(labels[rows], keep, per_class, rng)
    else:
        due = class_quotas(labels, keep, per_class, rng)
        quotas = {c: min(due[c], have[c]) for c in classes}
        room = np.repeat(classes, [have[c] - quotas[c] for c in classes])
        missing = keep - sum(quotas.values())
        for c, more in class_quotas(room, missing, per_class, rng).items() if missing else ():
            quotas[c] += more
    return quotas, {c: due[c] - have[c] for c in classes if have[c] < due[c]}


def check_labels(labels: ArrayLike | None, n: int, per_class: str | ArrayLike | None) -> np.ndarray:
    """labels as an (n,) array, or one clear sentence."""
    if labels is None:
        raise ValueError(
            f"per_class={per_class!r} needs labels=, one whole number per sample; got none"
        )
    return whole_labels(labels, n)


# ---- features ------------------------------------------------------------------------------------


def check_features(features: ArrayLike, n: int | None = None) -> np.ndarray:
    """features as (n, d) finite numbers, float32 or float64, or one clear sentence."""
    if not hasattr(features, "__len__"):
        raise ValueError(
            f"features must be (samples, d), a row per sample; got {type(features).__name__}: pass "
            "snapshot.features"
        )
    features = np.asarray(features)
    if features.ndim != 2 or (n is not None and len(features) != n):
        raise ValueError(
            f"features must be ({'samples' if n is None else n}, d), a row per sample; got shape "
            f"{features.shape}"
        )
    if features.dtype.kind not in "fiu":
        raise ValueError(f"features must be numbers; got {features.dtype}: pass snapshot.features")
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float32 if features.dtype == np.float16 else np.float64)
    wrong = unfit_rows(features)
    if len(wrong):
        raise ValueError(
            f"features must be finite numbers; row {wrong[0]} holds NaN or infinity: look at the "
            "network or the image it came from"
        )
    return features
