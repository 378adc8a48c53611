"""Each sample judged by networks that did not train on it, and which labels that makes suspect.

A K-fold record: the set is cut into K parts, stratified by class; for each part a fresh network is
trained on the others and looks at it once. A network that has seen a sample knows its label by
heart, right or wrong; one that has not can only say what the image looks like.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from dpkit import storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments.cache import Stage, done_once, load_once, partial_of
from dpkit.experiments.costs import measured
from dpkit.experiments.stages import derived_seed, training_key
from dpkit.nets import builders
from dpkit.records import Snapshot
from dpkit.training.inference import take_snapshot
from dpkit.training.loop import train
from dpkit.training.recipe import Recipe

FOLD = Stage("fold")


def folds_of(labels: ArrayLike, folds: int, seed: int) -> np.ndarray:
    """The part, 0..folds-1, that each sample belongs to: every class is spread over all of them.

    Parameters
    ----------
    labels : (n,) whole numbers.
    folds : K, at least 2 and at most n.
    seed : of the draw.

    Returns
    -------
    (n,) int64. Sizes differ by one at most, and so do a class's shares.

    Examples
    --------
    >>> parts = folds_of([0, 0, 0, 0, 1, 1], 2, seed=0)
    >>> [int((parts[:4] == k).sum()) for k in (0, 1)], sorted(parts[4:].tolist())
    ([2, 2], [0, 1])
    """
    labels = np.asarray(labels)
    if isinstance(folds, bool) or not 2 <= folds <= len(labels):
        raise ValueError(f"folds must be 2..{len(labels)} (the set's size); got {folds!r}")
    # class after class, in a random order within each: then dealt out like cards
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    parts = np.empty(len(labels), np.int64)
    parts[order] = np.arange(len(labels)) % folds
    return parts


def out_of_fold(
    images: ImageSet,
    *,
    model: str | Callable = "small_cnn",
    recipe: Recipe,
    folds: int = 3,
    seed: int = 0,
    cache: str | Path | None = None,
    on_epoch: Callable | None = None,
) -> Snapshot:
    """Probabilities of every sample by a network that was trained on the other folds.

    Parameters
    ----------
    images : the set; its row i is row i of what is returned.
    model, recipe : of the `folds` trainings, each on (folds - 1) / folds of the set.
    folds : K, at least 2.
    seed : of the folds and the trainings.
    cache : folder for finished folds; default storage.cache_folder(). A killed call goes on there.
    on_epoch : called as on_epoch("fold 2 of 3", report) after every epoch that is run.

    Returns
    -------
    Snapshot with probs (1, n, C), without features: each fold's network has its own.

    Raises
    ------
    ValueError for folds out of range.
    """
    images, cache = images.standalone(), Path(cache or storage.cache_folder())
    labels = images.labels.cpu().numpy()
    parts = folds_of(labels, folds, derived_seed(seed, 4))
    probs = np.empty((1, len(images), images.num_classes), np.float32)
    for k in range(folds):
        rows = np.flatnonzero(parts == k)
        name = f"fold {k + 1} of {folds}"
        tell = (lambda report, name=name: on_epoch(name, report)) if on_epoch else None
        probs[0, rows] = _judged(images, rows, model, recipe, seed, cache, tell).probs[0]
    return Snapshot(probs, None, labels, {"folds": folds, "seed": seed, "set": images.name})


def _judged(images, rows, model, recipe, seed, cache, tell) -> Snapshot:
    """A look at these rows by a network trained on the others, or from the cache."""
    key = training_key(FOLD, images, model, recipe, seed)
    key["judged"] = hashlib.sha256(rows.tobytes()).hexdigest()
    folder = cache / f"fold-{storage.key_hash(key)}"

    def work(part):
        others = images.subset(np.setdiff1d(np.arange(len(images)), rows))
        net = builders.make_net(model, others, seed=derived_seed(seed, 5))
        how = {"seed": derived_seed(seed, 6), "checkpoint": partial_of(folder), "record": False}
        with measured(images.device) as cost:
            for report in train(net, others, recipe, **how):
                if tell:
                    tell(report)
            look = take_snapshot(net, images.subset(rows).standalone(), precision=recipe.precision)
        Snapshot(look.probs, None, look.labels).save(part / "look")
        return cost

    return done_once(folder, key, work, lambda folder: load_once(Snapshot, folder / "look"))[1]


@dataclass(frozen=True, eq=False)
class Suspects:
    """Samples whose given label is suspect, the most suspect first.

    rows : (k,) their rows.
    guesses : (k,) the class that the networks take them for.
    probs : (k,) in [0, 1], what they give to the given label.
    """

    rows: np.ndarray
    guesses: np.ndarray
    probs: np.ndarray


def suspected_labels(judged: Snapshot, *, below: float = 0.5) -> Suspects:
    """Labels that networks which did not train on the sample do not believe.

    Suspect is a label whose probability is less than `below` times chance, 1 / classes: the
    networks do not waver, they rule it out. The lower, the more suspect. On CIFAR-10 with people's
    labels this order finds more of the wrong ones than the margin to the likeliest class, and as
    many suspects hold more of them than confident learning's (Northcutt et al., 2021): see
    benchmarks/wrong_labels.py. A sample that is alone in its class is not suspected, as no network
    has seen that class.

    Parameters
    ----------
    judged : of out_of_fold; its last exit counts.
    below : of chance, above 0 and up to the number of classes.

    Returns
    -------
    Suspects, by rising probability, then by row.

    Examples
    --------
    >>> probs = np.array([[0.9, 0.1], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])  # chance is 1/2
    >>> found = suspected_labels(Snapshot(probs[None], None, [0, 0, 1, 1]))
    >>> found.rows.tolist(), found.guesses.tolist(), found.probs.round(2).tolist()
    ([2], [0], [0.1])
    """
    probs, labels = judged.probs[-1], judged.labels
    if not 0 < below <= judged.num_classes:
        raise ValueError(
            f"below must be above 0 and up to {judged.num_classes}, the number of classes; got "
            f"{below!r}"
        )
    own = probs[np.arange(len(labels)), labels].astype(float)
    alone = np.bincount(labels, minlength=judged.num_classes)[labels] < 2
    rows = np.flatnonzero((own * judged.num_classes < below) & ~alone)
    rows = rows[np.argsort(own[rows], kind="stable")]
    others = probs[rows].copy()
    others[np.arange(len(rows)), labels[rows]] = -1
    return Suspects(rows, others.argmax(1), own[rows])
