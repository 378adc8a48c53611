import numpy as np

from dpkit.records import Selection
from dpkit.selectors._choose import by_class, check_keep, generator


def keep_random(num_samples: int, keep: int, *, rng, labels=None, per_class=None) -> Selection:
    """Keep `keep` samples drawn uniformly: the baseline nobody may skip.

    rng: seed or numpy Generator.   labels (n,), per_class: None | "balanced" | "proportional", as
    in keep_top. Returns a Selection of exactly `keep` samples. ValueError unless keep is in
    0..num_samples.
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
