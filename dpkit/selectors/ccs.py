import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Scores, Selection, require_kind
from dpkit.selectors._choose import by_class, check_keep, generator
from dpkit.selectors._cutoff import clip_infinite, cut


def keep_ccs(
    scores: Scores,
    keep: int,
    *,
    cutoff: float | str,
    rng: int | np.random.Generator,
    difficulty: Scores | None = None,
    strata: int = 50,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
) -> Selection:
    """Drop the hardest, then cover the whole range of scores evenly (CCS).

        1. The n * cutoff samples of highest `difficulty` go: at high prune ratios they are too
           hard, or mislabelled.
        2. The range of the remaining scores is split into strata of equal width,
           [low + k * width, low + (k + 1) * width), the highest score belonging to the last one.
        3. Budgets, from the stratum with the fewest samples up:
           min(its size, what is left to keep // strata left).
        4. Within a stratum samples are drawn uniformly.

    Parameters
    ----------
    scores : Scores (n,); the paper's is AUM. What is infinite after the cutoff counts as the
        largest (+inf) or the smallest (-inf) finite score.
    keep : how many stay, 0..n.
    cutoff : beta, the fraction of n removed first, in [0, 1 - keep / n]; or "cifar10", "cifar100",
        "imagenet": the published cutoffs, linear in the prune ratio r between the published ratios,
        0 at r = 0, constant after .9. Read in the released README: CIFAR-10 .3 at r = .9, ImageNet
        .2 at .8 and .3 at .9; the others are unverified.
    rng : seed or numpy Generator; also draws among samples tied at the cutoff.
    difficulty : Scores (n,), higher = harder (default: `scores`).
    strata : how many, from 1; 50 in the paper.
    labels, per_class : (n,) and None | "balanced" | "proportional" | recall, as in keep_top:
        cutoff, strata and budgets class by class. A class that is left with less than its quota
        keeps all it has, other classes fill the rest, and a warning says so.

    Returns
    -------
    Selection of exactly `keep` samples; its params hold the cutoff as used.

    Raises
    ------
    ValueError if the cutoff leaves fewer than `keep` samples, or for keep outside 0..n.

    References
    ----------
    Zheng et al., ICLR 2023, Algorithm 1. The released code differs: it splits up to max * 1.0001,
    so a highest score that is not positive falls out of the last stratum; and by class it gives
    every class the last class's quota.

    Examples
    --------
    >>> scores = dpkit.Scores(np.arange(10), name="mine")    # 8 and 9 go; strata 0..3 and 4..7
    >>> chosen = dpkit.keep_ccs(scores, 4, cutoff=0.2, strata=2, rng=0)
    >>> np.histogram(chosen.kept, [0, 4, 8, 10])[0]
    array([2, 2, 0])
    """
    require_kind(scores, Scores, "keep_ccs")
    n = scores.num_samples
    keep = check_keep(keep, n)
    if (
        isinstance(strata, (bool, np.bool_))
        or not isinstance(strata, (int, np.integer))
        or strata < 1
    ):
        raise ValueError(
            f"strata is a count and must be a whole number from 1 (50 in the paper); got {strata!r}"
        )
    rng, params = generator(rng)
    left, settings = cut(scores, difficulty, cutoff, keep, labels, per_class, rng)

    def choose(rows, count):
        stratum = _strata(clip_infinite(scores.values[rows]), strata)
        budgets = _budgets(np.bincount(stratum, minlength=strata), count, rng)
        drawn = [
            rng.choice(rows[stratum == k], budgets[k], replace=False)
            for k in np.flatnonzero(budgets)
        ]
        return np.concatenate(drawn or [np.empty(0, int)])

    kept, note = by_class(labels, n, keep, per_class, rng, choose, left=left)
    return Selection(np.sort(kept), n, "ccs", params | settings | {"strata": int(strata), **note})


def _strata(values, strata):
    """Which stratum each value falls in. (n,) int64 in 0..strata-1."""
    low, high = values.min(initial=np.inf) / 2, values.max(initial=-np.inf) / 2
    if not high - low > 0:  # of halves, as the range of two finite numbers may be infinite
        return np.zeros(len(values), np.int64)
    place = (values / 2 - low) / (high - low) * strata
    # the highest score is in the last stratum
    return np.minimum(place.astype(np.int64), strata - 1)


def _budgets(sizes, keep, rng):
    """How many each stratum gives, of sum keep. The order of equal strata is drawn."""
    budgets = np.zeros(len(sizes), np.int64)
    shuffled = rng.permutation(len(sizes))
    for filled, k in enumerate(shuffled[np.argsort(sizes[shuffled], kind="stable")]):
        budgets[k] = min(sizes[k], (keep - budgets.sum()) // (len(sizes) - filled))
    return budgets
