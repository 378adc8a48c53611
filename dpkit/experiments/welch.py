"""Is a difference of two means more than luck of the seeds? Welch's interval, and Holm's correction
for a table of them.

    error^2 = s1^2/n1 + s2^2/n2          degrees of freedom (Welch, Satterthwaite):
    nu = error^4 / ((s1^2/n1)^2/(n1-1) + (s2^2/n2)^2/(n2-1))
    interval = difference ± t(nu) error

The means are not paired by seed: accuracies of two methods with the same seed are uncorrelated here
(results/README.md), so a pairing takes no luck out, and with three seeds its t is 4.30 where
Welch's is 2.78 for equal spreads.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike


def welch(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> dict:
    """The mean of a minus that of b, with Welch's interval.

    a, b: values, one a seed; numbers of seeds and spreads may differ.

    Returns a dict, in the unit of the values:
        difference  the mean of a minus that of b
        error       its standard error
        low, high   the interval
        p           of the two-sided test for no difference
        detectable  half the interval's length, the least difference that seeds with these spreads
                    could have shown. A true difference of that size such seeds show about every
                    second time, and a smaller one more rarely.
    NaN where it cannot be told: all without values on both sides, and all but the difference where
    a side has a single value, or where no side has a spread (seeds that agree to the last digit say
    nothing of how far others would lie apart).

    Examples
    --------
    >>> found = welch([3, 4, 5], [1, 2, 3])                  # error sqrt(1/3 + 1/3), nu 4, t 2.776
    >>> {name: round(float(value), 2) for name, value in found.items()}
    {'difference': 2.0, 'error': 0.82, 'low': -0.27, 'high': 4.27, 'p': 0.07, 'detectable': 2.27}
    """
    from scipy.stats import ttest_ind

    a, b = np.asarray(a, float), np.asarray(b, float)
    found = dict.fromkeys(("difference", "error", "low", "high", "p", "detectable"), np.nan)
    if not len(a) or not len(b):
        return found
    found["difference"] = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2 or not (np.ptp(a) or np.ptp(b)):
        return found
    with warnings.catch_warnings():
        # that one side has no spread: the other's counts
        warnings.simplefilter("ignore", RuntimeWarning)
        test = ttest_ind(a, b, equal_var=False)
    error = float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    low, high = test.confidence_interval(confidence)
    return found | {
        "error": error,
        "low": float(low),
        "high": float(high),
        "p": float(test.pvalue),
        "detectable": float(high - low) / 2,
    }


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values: below 1 - confidence, a difference is told apart with the whole
    family of tests in view.

    p: (m,), NaN where there was no test; those stay NaN and do not count.   The i-th smallest of m
    is multiplied by m - i + 1, and none may lie below a smaller one's. The chance of a single false
    one among all is then at most 1 - confidence.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3)
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, float)
    tests = np.flatnonzero(~np.isnan(p))
    order, adjusted = tests[np.argsort(p[tests], kind="stable")], np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
