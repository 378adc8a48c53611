import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Selection
from dpkit.selectors._choose import check_features, check_keep, class_parts, generator, join_choices
from dpkit.storage.blocks import row_blocks
from dpkit.storage.long_work import LongWork

__all__ = ["keep_herding"]

_ROUNDING = 2.0**-24


def keep_herding(
    features: np.ndarray,
    keep: int,
    *,
    labels: ArrayLike,
    rng: int | np.random.Generator,
    per_class: str | ArrayLike | None = "proportional",
) -> Selection:
    """Match the mean of each class: pick what brings the mean of the picks closest (herding).

        next = argmin_x |(S + x) / (t + 1) - mu|  =  argmin_x <S', x'> + |x'|^2 / 2

    among the samples x of a class that are not picked yet; mu is the mean of them all, S the sum of
    the t picked so far, x' = x - mu, S' the sum of the picked x'. Welling's update, argmax <w, x>
    and w += mu - x from w = mu, is the same without |x|^2 / 2: the same picks where all features
    have one norm. With that term moving all features moves no pick.

    Parameters
    ----------
    features : (n, d) finite numbers, snapshot.features.
    keep : how many stay, 0..n.
    labels : (n,) whole numbers; not needed if per_class is None.
    rng : seed or numpy Generator: ties are drawn; without ties nothing is.
    per_class : "proportional" | "balanced" | recall, as in keep_top | None: one mean over the whole
        set.

    Returns
    -------
    Selection of exactly `keep` samples. A pick costs O(n d) in a class of n: one product in
    float32, and the few it cannot tell from the best in float64.

    Raises
    ------
    ValueError for features that are not finite, keep outside 0..n.

    References
    ----------
    Welling, "Herding dynamical weights to learn", ICML 2009; for the distance Chen, Welling &
    Smola, UAI 2010. DeepCore's herding picks the FARTHEST; what Yang et al. (2023) call herding is
    keep_nearest_to_centre.

    Examples
    --------
    >>> features = np.array([[4.0], [6.0], [7.0], [7.4]])    # mean 6.1; picks 6, 7, 4 of mean 5.67
    >>> dpkit.keep_herding(features, 3, labels=[0, 0, 0, 0], rng=0).kept
    array([0, 1, 2])
    """
    features = check_features(features)
    n = len(features)
    keep = check_keep(keep, n)
    rng, params = generator(rng)

    parts, note = class_parts(labels, n, keep, per_class, rng)
    pick_seconds = 4e-9 + 1.7e-10 * features.shape[1]  # for each sample there is
    work = LongWork(
        f"herding of {n:,} samples",
        seconds=pick_seconds * sum(len(rows) * count for rows, count in parts if count < len(rows)),
        # the largest class once as it is, and once in float32
        memory=max((len(rows) for rows, _ in parts), default=0)
        * (features.shape[1] * (features.itemsize + 4) + 16),
    )

    def choose(rows, count):
        rows = rng.permutation(rows)  # ties go by place, which is now a matter of chance
        return rows[herding_picks(features[rows], count, work, len(rows) * pick_seconds)]

    kept = join_choices(choose(rows, count) for rows, count in parts)
    return Selection(np.sort(kept), n, "herding", params | {"per_class": per_class, **note})


def herding_picks(
    features: np.ndarray, count: int, work: LongWork | None = None, seconds: float = 0.0
) -> np.ndarray:
    """Places of the picks, in their order; of equally good ones the first. `work` hears of each
    pick, as so many seconds.
    """
    n = len(features)
    if count in (0, n):
        return np.arange(count)
    mean = features.mean(axis=0, dtype=np.float64)
    half, scale = (
        np.empty(n),
        max(np.abs(features[rows] - mean).max() for rows in row_blocks(n, size=4096)) or 1.0,
    )
    x = np.empty(features.shape, np.float32)
    for rows in row_blocks(n, size=4096):
        centred = (features[rows] - mean) / scale
        half[rows], x[rows] = np.einsum("nd,nd->n", centred, centred) / 2, centred
    # what rounding can do to <S', x'>, by |S'|
    slack = (features.shape[1] + 8) * _ROUNDING * np.sqrt(2 * half)
    total, picked = np.zeros(features.shape[1]), np.empty(count, np.int64)
    for t in range(count):
        distance = half + x @ total.astype(np.float32)
        error = slack * np.linalg.norm(total)
        likely = np.flatnonzero(distance - error <= (distance + error).min())
        if len(likely) > 1:
            distance = half[likely] + (features[likely] - mean) / scale @ total
        p = picked[t] = likely[distance.argmin()] if len(likely) > 1 else likely[0]
        total += (features[p] - mean) / scale
        half[p] = np.inf
        if work:
            work.add(seconds)
    return picked
