"""Selection: which samples stay; keep_count: how many."""

from dataclasses import dataclass, field

import numpy as np

from dpkit.records._saved import Saved


def keep_count(n: int, prune_ratio: float) -> int:
    """How many of n samples stay when the fraction `prune_ratio` is removed.

        keep = round(n * (1 - prune_ratio))

    The only place where a ratio becomes a count.

    Parameters
    ----------
    n : the set's size.
    prune_ratio : the fraction REMOVED, in [0, 1).

    Returns
    -------
    How many samples stay, 0..n.

    Raises
    ------
    ValueError unless prune_ratio is in [0, 1).

    Examples
    --------
    >>> dpkit.keep_count(10, prune_ratio=0.3)
    7
    """
    if not 0 <= prune_ratio < 1:  # also refuses NaN
        raise ValueError(
            f"prune_ratio is the fraction removed and must be in [0, 1); got {prune_ratio}"
        )
    return round(n * (1 - prune_ratio))


@dataclass(frozen=True, eq=False)
class Selection(Saved):
    """Which samples stay: row numbers of the original set, always the KEPT ones.

    Parameters
    ----------
    kept : (k,) int64, unique, ascending, in 0..num_samples - 1.
    num_samples : n, the original set's size.
    method : the rule's name, for titles and messages.
    params : the settings that it was made with.

    Raises
    ------
    ValueError for a mask, and for rows that repeat, do not ascend or are not of the set.

    Examples
    --------
    >>> selection = dpkit.Selection([0, 3], num_samples=4, method="mine")
    >>> selection.pruned, selection.prune_ratio
    (array([1, 2]), 0.5)
    >>> selection.mask()
    array([ True, False, False,  True])
    """

    kept: np.ndarray
    num_samples: int
    method: str
    params: dict = field(default_factory=dict)
    _arrays = ("kept",)
    _plain = ("num_samples", "method")

    def __post_init__(self) -> None:
        kept = np.asarray(self.kept)
        if kept.dtype == bool:
            raise ValueError(
                "kept must be row numbers; got a mask of bool: pass np.flatnonzero(mask)"
            )
        if kept.ndim != 1 or (kept.size and kept.dtype.kind not in "iu"):
            raise ValueError(
                f"kept must be (k,) whole row numbers; got shape {kept.shape} of {kept.dtype}"
            )
        kept = kept.astype(np.int64)
        if kept.size and (
            kept[0] < 0 or kept[-1] >= self.num_samples or np.any(np.diff(kept) <= 0)
        ):
            raise ValueError(
                f"kept must be unique, ascending row numbers in 0..{self.num_samples - 1}; got "
                f"numbers in {kept.min()}..{kept.max()}: pass np.unique(kept)"
            )
        self._set(kept=kept, params=dict(self.params))

    @property
    def pruned(self) -> np.ndarray:
        """(m,) int64: the rows that go, ascending."""
        return np.flatnonzero(~self.mask())

    def mask(self) -> np.ndarray:
        """(n,) bool: True where the sample is kept."""
        mask = np.zeros(self.num_samples, bool)
        mask[self.kept] = True
        return mask

    @property
    def prune_ratio(self) -> float:
        """The fraction removed, in [0, 1], as achieved."""
        return 1 - len(self.kept) / self.num_samples if self.num_samples else 0.0
