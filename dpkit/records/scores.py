"""Scores: what each sample is worth."""

from dataclasses import dataclass, field

import numpy as np

from dpkit.records._saved import Saved


@dataclass(frozen=True, eq=False)
class Scores(Saved):
    """What each sample is worth: one number per sample, higher = more worth keeping.

    Parameters
    ----------
    values : (n,) float64; +inf ranks first; NaN is refused.
    name : of the score, for titles and messages.
    params : the settings that it was made with.

    Raises
    ------
    ValueError if values are not (n,), or some are NaN.

    Examples
    --------
    >>> scores = dpkit.Scores([0.1, 0.9, np.inf], name="mine")
    >>> scores.values, scores.num_samples
    (array([0.1, 0.9, inf]), 3)
    """

    values: np.ndarray
    name: str
    params: dict = field(default_factory=dict)
    _arrays = ("values",)
    _plain = ("name",)

    def __post_init__(self) -> None:
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
        """n, the size of the set."""

        return len(self.values)
