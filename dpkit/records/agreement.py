"""How far two judgements of the same samples agree: rank correlations, and overlap at the top."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records import Scores, Selection


@dataclass(frozen=True)
class Agreement:
    """How far two scores agree, as rank_agreement returns it.

    spearman: -1..1, or NaN: the correlation of the ranks.
    kendall:  -1..1, or NaN: tau-b.
    overlap:  0..1, the share of the `top` highest in common.
    top:      how many of the highest were compared.
    """

    spearman: float
    kendall: float
    overlap: float
    top: int


def rank_agreement(
    a: Scores | ArrayLike, b: Scores | ArrayLike, *, top: int | None = None
) -> Agreement:
    """Do two scores order the samples alike?

    spearman: the correlation of the ranks.
    kendall:  tau-b, the share of pairs in the same order minus the share in the opposite one, ties
              allowed for.
    overlap:  the share of a's `top` highest that are among b's `top` highest. Where ties reach over
              the edge a fair draw decides who is in, and overlap is its expected value: never the
              order of the rows.

    By chance alone both correlations are 0 and overlap is top / n, so 0.1 at the default.

    Parameters
    ----------
    a, b : Scores, or (n,) numbers measured of the same samples in the same order; infinities rank
        first or last.
    top : how many of the highest to compare, 1..n; default a tenth of n, at least 1.

    Returns
    -------
    Agreement. Both correlations are NaN if a or b is constant: it has no order to compare.

    Raises
    ------
    TypeError for a Selection, a mask or words.
    ValueError for NaN, no samples, different lengths, a top that does not fit.

    References
    ----------
    Spearman, 1904; Kendall, 1945.

    Examples
    --------
    >>> found = dpkit.rank_agreement([1, 2, 3, 4], [1, 2, 4, 3], top=2)  # one of six pairs differs
    >>> round(found.spearman, 2), round(found.kendall, 2), found.overlap
    (0.8, 0.67, 1.0)
    """
    from scipy import stats  # a second of imports

    a, b = _numbers(a, "a"), _numbers(b, "b")
    if len(a) != len(b):
        raise ValueError(
            f"rank_agreement compares scores of the same samples; got {len(a)} and {len(b)} of "
            "them: score both on one set"
        )
    n = len(a)
    top = max(1, n // 10) if top is None else top
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or not 1 <= top <= n:
        raise ValueError(f"top must be a count in 1..{n} (the number of samples); got {top!r}")
    a, b = stats.rankdata(a), stats.rankdata(b)
    spearman = kendall = np.nan
    if np.ptp(a) > 0 and np.ptp(b) > 0:
        spearman = np.corrcoef(a, b)[0, 1]
        kendall = stats.kendalltau(a, b, method="asymptotic").statistic
    overlap = _membership(a, top) @ _membership(b, top) / top
    return Agreement(float(spearman), float(kendall), float(overlap), int(top))


def _numbers(values, name):
    """(n,) float64 of Scores or an array of numbers; what says who is kept is refused."""
    if isinstance(values, Scores):
        return values.values
    if isinstance(values, Selection) or np.asarray(values).dtype == bool:
        raise TypeError(
            f"rank_agreement needs Scores or numbers, one per sample; {name} says which are kept: "
            "pass the scores behind it"
        )
    if np.asarray(values).dtype.kind not in "iuf":
        raise TypeError(
            f"rank_agreement needs numbers, one per sample; {name} holds "
            f"{np.asarray(values).dtype.name}: turn it into numbers first, higher = more"
        )
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"rank_agreement needs one number per sample; {name} has shape {values.shape}: pass "
            "Scores or (n,)"
        )
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise ValueError(
            f"rank_agreement needs numbers; {len(missing)} of {len(values)} in {name} are NaN "
            f"(first: row {missing[0]}): leave those samples out of both"
        )
    return values


def _membership(ranks, top):
    """(n,) each sample's chance to be among the `top` highest, ties at the edge drawn fairly."""
    edge = np.partition(ranks, len(ranks) - top)[len(ranks) - top]
    above, tied = ranks > edge, ranks == edge
    return above + tied * (top - above.sum()) / tied.sum()
