"""The hardest go first: what CCS and D2 share."""

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Scores, keep_count, require_kind
from dpkit.selectors._choose import by_class, check_labels, take_top

# prune ratio -> CCS's cutoff. The released README's commands give CIFAR-10 at .9 and ImageNet at .8
# and .9; the others are quoted from memory of the paper's appendix and could not be checked.
_PUBLISHED = {
    "cifar10": {0.3: 0.0, 0.5: 0.0, 0.7: 0.1, 0.8: 0.1, 0.9: 0.3},
    "cifar100": {0.3: 0.1, 0.5: 0.2, 0.7: 0.2, 0.8: 0.4, 0.9: 0.5},
    "imagenet": {0.3: 0.0, 0.5: 0.1, 0.7: 0.2, 0.8: 0.2, 0.9: 0.3},
}


def published_cutoff(name: str, prune_ratio: float) -> float:
    """The published cutoff of an image set at this prune ratio, never above the ratio.

    It is linear between the published ratios.
    """
    if name not in _PUBLISHED:
        raise ValueError(
            f"cutoff must be a fraction in [0, 1) or one of {', '.join(map(repr, _PUBLISHED))}; "
            f"got {name!r}"
        )
    ratios, cutoffs = zip((0.0, 0.0), *_PUBLISHED[name].items(), strict=True)
    return min(float(np.interp(prune_ratio, ratios, cutoffs)), prune_ratio)


def cut(
    scores: Scores,
    difficulty: Scores | None,
    cutoff: float | str,
    keep: int,
    labels: ArrayLike | None,
    per_class: str | ArrayLike | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict]:
    """(rows left when the hardest go, ascending; what to record).

    With per_class every class loses the same share.
    """
    n, hard = scores.num_samples, scores if difficulty is None else difficulty
    require_kind(hard, Scores, "difficulty")
    if hard.num_samples != n:
        raise ValueError(
            f"difficulty must judge the {n} samples of {scores.name!r}; {hard.name!r} judges "
            f"{hard.num_samples}"
        )
    params = {"scores": scores.name, "difficulty": hard.name, "per_class": per_class}
    if isinstance(cutoff, str):
        params["published"] = cutoff
        cutoff = published_cutoff(cutoff, 1 - keep / n if n else 0.0)
    drop = _count(cutoff, n, keep)
    if per_class is None:
        share = None
    else:
        share = "proportional"  # by largest remainder, so that no more go than `keep` allows
        labels = check_labels(labels, n, per_class)
    gone, _ = by_class(
        labels,
        n,
        drop,
        share,
        rng,
        lambda rows, count: rows[take_top(hard.values[rows], count, rng)],
    )
    return np.setdiff1d(np.arange(n), gone, assume_unique=True), params | {"cutoff": float(cutoff)}


def _count(cutoff, n, keep):
    if (
        isinstance(cutoff, (bool, np.bool_))
        or not isinstance(cutoff, (int, float, np.number))
        or not 0 <= cutoff < 1
    ):
        raise ValueError(
            "cutoff is the fraction of hardest samples removed first and must be in [0, 1); got "
            f"{cutoff!r}"
        )
    drop = n - keep_count(n, float(cutoff))
    if n - drop < keep:
        raise ValueError(
            f"cutoff must not be above the prune ratio, {1 - keep / n:.4g}; got {cutoff}, which "
            f"leaves {n - drop} of {n} samples where {keep} are to be kept: lower the cutoff or "
            "keep fewer"
        )
    return drop


def clip_infinite(values: np.ndarray) -> np.ndarray:
    """Values with infinities counted as the largest and the smallest finite one.

    As 1 and 0 where none is finite.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == len(values):
        return values
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    return np.clip(values, low, high)
