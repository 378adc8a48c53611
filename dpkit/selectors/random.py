import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Selection
from dpkit.selectors._choose import by_class, check_keep, generator


def keep_random(
    num_samples: int,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
) -> Selection:
    """Keep `keep` samples drawn uniformly: the baseline that every comparison needs.

    Parameters
    ----------
    num_samples : n, the set's size.
    keep : how many stay, 0..n.
    rng : seed or numpy Generator.
    labels, per_class : (n,) and None | "balanced" | "proportional" | recall, as in keep_top. With
        recall it is DRoP.

    Returns
    -------
    Selection of exactly `keep` samples.

    Raises
    ------
    ValueError unless keep is in 0..num_samples.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> chosen = dpkit.keep_random(8, 4, rng=0, labels=labels, per_class="proportional")
    >>> np.bincount(labels[chosen.kept])                     # half of each class
    array([3, 1])
    """
    keep = check_keep(keep, num_samples)
    rng, params = generator(rng)
    kept, note = by_class(
        labels,
        num_samples,
        keep,
        per_class,
        rng,
        lambda rows, k: rng.choice(rows, k, replace=False),
    )
    return Selection(
        np.sort(kept), num_samples, "random", params | {"per_class": per_class, **note}
    )
