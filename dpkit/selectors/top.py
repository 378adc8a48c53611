import warnings

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Scores, Selection, require_kind
from dpkit.selectors._choose import by_class, check_keep, generator, take_top


def keep_top(
    scores: Scores,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
    protect_inf: bool = False,
) -> Selection:
    """Keep the `keep` samples with the highest scores.

    Parameters
    ----------
    scores : Scores (n,), higher = more worth keeping.
    keep : how many stay, 0..n.
    rng : seed or numpy Generator; draws among samples tied at the edge.
    labels : (n,) whole numbers, needed with per_class.
    per_class : None | "balanced" (equal counts) | "proportional" (the set's shares) | recall (C,),
        of class 0, 1, ... in [0, 1]: each class keeps a share of its samples in proportion to
        1 - recall, at most all; what is above goes to the others (DRoP, Vysogorets et al., ICLR
        2025, best on held-out recall; class_recall has that of a record).
    protect_inf : never prune a sample scored +inf, even if the selection grows beyond `keep`; it
        then warns and records both counts. Otherwise, if more than `keep` are +inf, rng draws among
        them.

    Returns
    -------
    Selection of exactly `keep` samples (more only under protect_inf).

    Raises
    ------
    ValueError unless keep is in 0..n.

    Examples
    --------
    >>> scores = dpkit.Scores([0.1, 0.9, 0.5, 0.7], name="mine")
    >>> dpkit.keep_top(scores, 2, rng=0).kept
    array([1, 3])
    >>> dpkit.keep_top(scores, 2, rng=0, labels=[0, 1, 0, 1], per_class="balanced").kept
    array([1, 2])
    >>> recall, labels = [0.9, 0.6, 0.5], np.repeat([0, 1, 2], 10)  # weights .1, .4 and .5
    >>> chosen = dpkit.keep_top(
    ...     dpkit.Scores(np.ones(30), "mine"), 20, rng=0, labels=labels, per_class=recall
    ... )
    >>> np.bincount(labels[chosen.kept])                     # 20 times each weight
    array([ 2,  8, 10])
    """
    require_kind(scores, Scores, "keep_top")
    n = scores.num_samples
    keep = check_keep(keep, n)
    rng, params = generator(rng)
    values = scores.values
    kept, note = by_class(
        labels,
        n,
        keep,
        per_class,
        rng,
        lambda rows, count: rows[take_top(values[rows], count, rng)],
    )
    params |= {"scores": scores.name, "per_class": per_class, **note}
    if protect_inf:
        kept = np.union1d(kept, np.flatnonzero(values == np.inf))
        params |= {"requested": keep, "achieved": len(kept)}
        if len(kept) > keep:
            warnings.warn(
                f"kept {len(kept)} samples instead of {keep}: samples scored +inf are protected "
                "and never pruned",
                stacklevel=2,
            )
    return Selection(np.sort(kept), n, "top", params)


def keep_above(scores: Scores, threshold: float) -> Selection:
    """Keep every sample with a score >= threshold, however many those are.

    A rule of literal thresholds: EEPrune at confidence t, in [0, 1), is
    keep_above(eeprune(...), 1 - t).

    Parameters
    ----------
    scores : Scores (n,), higher = more worth keeping.
    threshold : in the unit of the scores.

    Returns
    -------
    Selection of 0..n samples.

    Raises
    ------
    ValueError on NaN, and for a threshold that no confidence has.

    Examples
    --------
    >>> scores = dpkit.Scores([0.1, 0.9, 0.5, 0.7], name="mine")
    >>> dpkit.keep_above(scores, 0.5).kept
    array([1, 2, 3])
    """
    require_kind(scores, Scores, "keep_above")
    if np.isnan(threshold):
        raise ValueError("threshold must be a number; got NaN")
    if scores.name == "eeprune" and not 0 < threshold <= 1:
        raise ValueError(
            "eeprune's scores are 1 - confidence, so the threshold is 1 - t for a confidence t in "
            f"[0, 1); got {threshold:g}, which is t = {1 - threshold:g}"
        )
    params = {"scores": scores.name, "threshold": float(threshold)}
    return Selection(
        np.flatnonzero(scores.values >= threshold), scores.num_samples, "above", params
    )
