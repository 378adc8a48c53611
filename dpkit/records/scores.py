"""Scores: what each sample is worth."""

from dataclasses import dataclass, field

import numpy as np

from dpkit.records._saved import Saved


@dataclass(frozen=True, eq=False)
class Scores(Saved):
    """What each sample is worth: values (n,) float64, higher = more worth keeping; +inf ranks
    first; NaN is refused.
    """

    values: np.ndarray
    name: str
    params: dict = field(default_factory=dict)
    _arrays = ("values",)
    _plain = ("name",)

    def __post_init__(self):
        values = np.ascontiguousarray(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(
                f"scores must be (samples,), one number each; got shape {values.shape}"
            )
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            raise ValueError(
                f"scores of {self.name!r} must be numbers; {len(missing)} of {len(values)} are NaN "
                f"(first: row {missing[0]}): score only samples that were trained on"
            )
        self._set(values=values, params=dict(self.params))

    @property
    def num_samples(self) -> int:
        return len(self.values)
