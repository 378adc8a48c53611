"""Labels as they are given: one class per image, as a whole number in any numbering or as a text.

Texts are numbered by their order, numbers without names by theirs, and the numbering is told.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dpkit.records.set_facts import SetFacts, shorten

ONE_CLASS = "dpkit prunes sets with one class label per image"


def plain_labels(labels: Any, n: int, prefix: str = "") -> np.ndarray:
    """labels as (n,) whole numbers or texts; ValueError for anything else, called by `prefix`.

    Of shape (n, 1) they become (n,): MedMNIST's files have them so.
    """
    labels = as_array(labels, prefix)
    if labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.dtype == object and labels.shape == (n,):
        labels = _of_one_kind(labels)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.shape != (n,) or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"{prefix}labels must be ({n},) whole numbers or names; got {labels.dtype} of shape "
            f"{labels.shape}{_advice(labels, n)}"
        )
    if labels.dtype.kind == "U" and (empty := np.flatnonzero(np.char.strip(labels) == "")).size:
        raise ValueError(
            f"{len(empty):,} of {n:,} {prefix}labels are empty (first: row {empty[0]}): name their "
            "class, or leave those images out"
        )
    if labels.dtype.kind == "U" and (joined := joined_label(np.unique(labels).tolist())):
        raise ValueError(f"{ONE_CLASS}; {prefix}labels have several for one image: {joined:.80}")
    return labels


def joined_label(labels: Iterable[str]) -> str | None:
    """A label that joins others of the set, as "cat|dog"; None if there is none.

    With | or ; it is enough that one part stands in another label too; with commas, which names
    have as well, all parts must be labels of their own.
    """
    known = sorted(set(labels))
    for between in "|;":
        parts = {label: {part.strip() for part in label.split(between)} for label in known}
        counts = Counter(part for found in parts.values() for part in found if part)
        for label in known:
            if between in label and any(counts[part] > 1 for part in parts[label]):
                return label
    for label in known:
        parts_of = [part.strip() for part in label.split(",")]
        if len(parts_of) > 1 and set(parts_of) <= set(known):
            return label
    return None


def as_array(labels: Any, prefix: str = "") -> np.ndarray:
    """labels as an array of any kind; ValueError where there are more of them for some images."""
    try:
        return np.asarray(labels)
    except ValueError:
        raise ValueError(f"{ONE_CLASS}; {prefix}labels hold lists of several lengths") from None


def _of_one_kind(labels):
    """An array of objects as one of texts or of whole numbers, if it holds only those."""
    for kind, plain in ((str, str), ((int, np.integer), np.int64)):
        if all(isinstance(label, kind) and not isinstance(label, bool) for label in labels):
            return labels.astype(plain)
    return labels


def _advice(labels, n):
    """What to do with labels that are none."""
    if labels.ndim == 2 and len(labels) == n and labels.dtype.kind in "biuf":
        binary = ((labels == 0) | (labels == 1)).all()
        if binary and (labels.sum(1) == 1).all():
            return ": of rows with a 1 for the class pass labels.argmax(axis=1)"
        if binary:
            return f": {ONE_CLASS}; rows with several, or none, are no such labels"
        return f": {ONE_CLASS}; of a probability for each class pass labels.argmax(axis=1)"
    if labels.shape == (n,) and labels.dtype == object:
        odd = next(label for label in labels if not isinstance(label, str))
        return f": {ONE_CLASS}; {_kind_of(odd)}"
    if labels.shape == (n,) and labels.dtype.kind == "f" and not (labels == np.rint(labels)).all():
        return f": {ONE_CLASS}; numbers with fractions, or NaN, are none"
    return ": convert them, labels.astype(int)" if labels.shape == (n,) else ""


def _kind_of(label):
    """What a label that is neither a number nor a text is, in words."""
    if isinstance(label, dict):
        return f"there are tables with {shorten(label)}, as for detection"
    if isinstance(label, (list, tuple, set, np.ndarray)):
        return "there are several for one image"
    return f"there is {label!r:.80}"


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that differ only in capital letters or in their Unicode form; None if no
    two do. Single letters may be meant so.
    """
    seen: dict[str, tuple[str, str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name)
        form = unicodedata.normalize("NFKC", plain.casefold())
        other, theirs = seen.setdefault(form, (name, plain))
        letters = len(theirs) == len(plain) == 1 and theirs != plain
        if other != name and not letters:
            return other, name
    return None


def check_distinct(class_names: Iterable[str], what: str) -> None:
    """ValueError for names of classes that are alike. what: they are called in the message."""
    if pair := alike(class_names):
        raise ValueError(
            f"the classes {pair[0]!r} and {pair[1]!r} in {what} differ only in capital letters or "
            "in their Unicode form, so they seem to be one: make them one; if they are two, give "
            "class_names, or whole numbers as labels"
        )


def check_range(labels: np.ndarray, class_names: Sequence[str]) -> None:
    """ValueError unless labels are places in class_names."""
    if labels.size and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise ValueError(
            f"labels must be in 0..{len(class_names) - 1} (one of {len(class_names)} classes); got "
            f"{labels.min()}..{labels.max()}: number the classes from 0, in the order of their "
            "names"
        )


def numbered(
    labels: np.ndarray,
    class_names: Sequence[str] | None,
    what: str,
    among: np.ndarray | None = None,
) -> tuple[np.ndarray, list, tuple]:
    """(labels as places in the class names, those names, notes) of what plain_labels returned.

    what: the labels are called in messages.
    among: the training set's labels, whose classes count where there are no class_names.
    """
    keys = keys_in(labels if among is None else among, class_names)
    if class_names is None:
        names, notes = [str(key) for key in keys], numbering_note(keys)
        check_distinct(names, what)
    else:
        names, notes = list(class_names), ()
        if labels.dtype.kind != "U":
            check_range(labels, names)
    return number_labels(labels, keys, what), names, notes


def keys_in(labels: np.ndarray, class_names: Sequence[str] | None = None) -> np.ndarray:
    """What stands for class 0, 1, ... in labels: the class_names in labels that are texts, the
    places in class_names, or without those the labels that are there, ascending.
    """
    if class_names is not None:
        texts = labels.dtype.kind == "U"
        return np.array(class_names, dtype=str) if texts else np.arange(len(class_names))
    found = np.unique(labels)
    if found.dtype.kind == "U" or found.min(initial=0) >= 0:
        return found
    return np.arange(max(1 + int(found.max()), 1))


def number_labels(labels: np.ndarray, keys: np.ndarray, what: str) -> np.ndarray:
    """labels (n,) as places in `keys`; ValueError for one that is not among them."""
    found, inverse = np.unique(labels, return_inverse=True)
    places = {key: place for place, key in enumerate(keys.tolist())}
    unseen = [label for label in found.tolist() if label not in places]
    if unseen and isinstance(unseen[0], int) and unseen[0] < 0:
        check_range(labels, [str(key) for key in keys])
    if unseen:
        raise ValueError(
            f"{what} hold {shorten(unseen)}, which no training label is (they are "
            f"{shorten(keys)}): leave those images out, or name all classes with class_names"
        )
    return np.array([places[label] for label in found.tolist()], np.int64)[inverse]


def numbering_note(keys: np.ndarray) -> tuple:
    """A sentence on how labels are numbered; none if each is its own number."""
    if np.array_equal(keys, np.arange(len(keys))):
        return ()
    order = "by their names" if keys.dtype.kind == "U" else "in order"
    return (
        f"the labels are numbered {order}: "
        f"{', '.join(f'{key} is class {k}' for k, key in enumerate(keys[:3]))}"
        + (f", ... {keys[-1]} is class {len(keys) - 1}" if len(keys) > 3 else ""),
    )


def classes_like(
    train: SetFacts, labels: np.ndarray, class_names: Sequence[str] | None, name: str
) -> np.ndarray:
    """labels (n,) as numbers of the training set's classes; ValueError for one that it has not.

    train: SetFacts of the training set.
    class_names: what the labels stand for; None: they are the training set's numbers.
    """
    theirs = {given: k for k, given in enumerate(train.class_names)}
    numbers = np.unique(labels)
    if class_names is None:  # where the training set's names are numbers, they are meant
        as_they_are = all(given.isdigit() for given in theirs)
        names = [
            str(k) if as_they_are or not 0 <= k < len(theirs) else train.class_names[k]
            for k in numbers
        ]
    else:
        names = [str(class_names[k]) for k in numbers]
    lacking = [given for given in names if given not in theirs]
    if lacking:
        unnamed = all(given.isdigit() for given in lacking) and not any(
            given.isdigit() for given in theirs
        )
        raise ValueError(
            f"{name} has the class{'es' * (len(lacking) > 1)} {shorten(lacking)}, and the "
            f"training set {train.name} has only {shorten(train.class_names)}: "
            + (
                "its labels are numbers, so say with class_names what they stand for"
                if unnamed
                else "leave those images out, or train with images of all classes"
            )
        )
    return np.array([theirs[given] for given in names])[np.searchsorted(numbers, labels)]
