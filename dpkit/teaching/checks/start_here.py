"""The exercises of lesson 00."""

from collections.abc import Callable
from math import ceil

import numpy as np

from dpkit.records import keep_count
from dpkit.teaching.checks._answer import Verdict, judge

CURVES = np.array(
    [
        [0.1, 0.3, 0.2, 0.7, 0.9],  # learned with ups and downs
        [0.9, 0.95, 0.97, 0.99, 1.0],  # easy
        [0.1, 0.05, 0.1, 0.0, 0.05],  # never learned
    ]
)


def how_many_stay(answer: Callable) -> Verdict:
    """The count: `answer(n, ratio)`, ratio the fraction REMOVED, gives how many stay."""
    cut = (
        "The rest was cut off: 64.85 images became 64. `int` and `//` always go down; `round` "
        "goes to the nearest number."
    )
    return judge(
        answer,
        [(1297, 0.95), (1297, 0.8), (50_000, 0.9), (300, 0.0)],
        keep_count,
        [
            (
                lambda n, ratio: n - keep_count(n, ratio),
                (
                    "That is how many go. The ratio is the fraction REMOVED, so the fraction `1 - "
                    "ratio` stays."
                ),
            ),
            (lambda n, ratio: int(n * (1 - ratio)), cut),
            (lambda n, ratio: int(n - n * ratio), cut),
            (
                lambda n, ratio: ceil(n * (1 - ratio)),
                (
                    "Rounded up: 259.4 images became 260. Round once, at the end, and to the "
                    "nearest number: `round`."
                ),
            ),
            (
                lambda n, ratio: n * (1 - ratio),
                "Nobody can keep 64.85 images. Round to the nearest whole number: `round`.",
            ),
            (
                lambda n, ratio: n * round(1 - ratio),
                "The fraction itself is rounded, to 0 or 1. Multiply by n first, then round.",
            ),
            (
                lambda n, ratio: round(n - ratio),
                (
                    "The ratio is taken away as if it were a number of images. It is a fraction of "
                    "them: n times the ratio go."
                ),
            ),
            (
                lambda n, ratio: keep_count(n, ratio / 100),
                "The ratio is divided by 100, but it is no percentage: 0.95 already means 95 %.",
            ),
        ],
        (
            "So many stay; `dpkit.keep_count` is the one place in the library where a ratio "
            "becomes a count."
        ),
    )


def _place(x=lambda p: p.std(1, ddof=1), y=lambda p: p.mean(1)):
    """A place on the moon plot, or what becomes of it with another x or y."""
    return lambda target_prob: (x(target_prob), y(target_prob))


def moon_place(answer: Callable) -> Verdict:
    """The moon by hand: `answer(target_prob)` with target_prob (n, T) gives x, the std, and y, the
    mean, both (n,).
    """
    return judge(
        answer,
        [(CURVES,), (CURVES[:2, :4],)],
        _place(),
        [
            (
                _place(lambda p: p.std(1)),
                (
                    "The divisor: `std` divides by T here, the moon plot by T - 1. NumPy wants to "
                    "be told: `std(..., ddof=1)`."
                ),
            ),
            (
                lambda p: _place()(p)[::-1],
                (
                    "The two are exchanged: x, to the right, is the standard deviation, and y, "
                    "upwards, is the mean."
                ),
            ),
            (
                _place(lambda p: p.var(1, ddof=1)),
                (
                    "x is the variance here. Take its root: the moon plot shows the standard "
                    "deviation."
                ),
            ),
            (
                _place(lambda p: p.std(0, ddof=1), lambda p: p.mean(0)),
                (
                    "That is one place per epoch. A row is a sample: go along the epochs, "
                    "`axis=1`, and one number per sample is left."
                ),
            ),
            (
                _place(lambda p: p.std(ddof=1), lambda p: p.mean()),
                (
                    "That is one place for all samples together. Say `axis=1`, and each sample "
                    "gets its own."
                ),
            ),
            (
                _place(y=lambda p: 1 - p.mean(1)),
                (
                    "The moon is upside down: 1 - mean is difficulty. Upwards is ease, the mean "
                    "itself."
                ),
            ),
            (
                _place(lambda p: np.ptp(p, axis=1)),
                (
                    "x is the distance from lowest to highest here. The moon plot takes the "
                    "standard deviation, which sees every epoch."
                ),
            ),
            (
                _place(y=lambda p: p[:, -1]),
                (
                    "y is the probability in the last epoch. The moon plot takes the mean over all "
                    "epochs."
                ),
            ),
        ],
        (
            "To the right uncertainty, upwards ease: these are `dynamics.std_prob()` and "
            "`dynamics.mean_prob()`."
        ),
    )


def _paired(mean=lambda a, b: np.mean(a - b), spread=lambda a, b: np.std(a - b, ddof=1)):
    """The paired difference, or what becomes of it with another mean or spread."""
    return lambda accuracy, baseline: (mean(accuracy, baseline), spread(accuracy, baseline))


def paired_difference(answer: Callable) -> Verdict:
    """`answer(accuracy, baseline)`, both (seeds,) in percent, gives mean and std of the difference,
    seed by seed, in points.
    """
    cases = [
        (np.array([60.1, 58.3, 63.0]), np.array([52.1, 55.0, 58.4])),
        (np.array([70.0, 74.0, 71.0, 69.0]), np.array([72.5, 75.5, 74.0, 70.5])),
    ]
    return judge(
        answer,
        cases,
        _paired(),
        [
            (
                lambda a, b: _paired()(b, a),
                (
                    "The sign is reversed: accuracy minus baseline, so that a method better than "
                    "the baseline is above 0."
                ),
            ),
            (
                _paired(spread=lambda a, b: np.hypot(np.std(a, ddof=1), np.std(b, ddof=1))),
                (
                    "The two spreads are added as if the seeds had nothing in common. Subtract "
                    "seed by seed first, then take the std."
                ),
            ),
            (
                _paired(spread=lambda a, b: np.std(a, ddof=1) - np.std(b, ddof=1)),
                (
                    "That is the difference of the spreads. Asked for is the spread of the "
                    "differences: subtract first, then take std."
                ),
            ),
            (
                _paired(spread=lambda a, b: np.std(a, ddof=1)),
                (
                    "The spread is that of the accuracy alone. Take the std of the differences, "
                    "seed by seed."
                ),
            ),
            (
                _paired(spread=lambda a, b: np.std(a - b)),
                (
                    "The divisor: `std` divides by the number of seeds here; with few seeds, one "
                    "less: `std(..., ddof=1)`."
                ),
            ),
            (
                _paired(spread=lambda a, b: np.var(a - b, ddof=1)),
                "The spread is the variance here. Take its root, and it is in points again.",
            ),
            (
                _paired(spread=lambda a, b: np.std(a - b, ddof=1) / len(a) ** 0.5),
                (
                    "That is the uncertainty of the mean, the spread divided by the root of the "
                    "seeds. Asked for is the spread itself."
                ),
            ),
            (
                _paired(lambda a, b: np.abs(a - b).mean()),
                (
                    "The sign is gone: with absolute values a method that loses every time looks "
                    "as good as one that wins."
                ),
            ),
            (
                lambda a, b: _paired()(np.sort(a), np.sort(b)),
                (
                    "Both were sorted first, which pairs the best seed with the best. Place k is "
                    "seed k: leave the order alone."
                ),
            ),
            (
                lambda a, b: _paired(lambda a, b: a.mean(), lambda a, b: a.std(ddof=1))(
                    100 * (a - b) / b, b
                ),
                (
                    "That is the difference in percent of the baseline. Accuracies are in percent "
                    "already: subtracting gives points."
                ),
            ),
        ],
        (
            "Seed by seed. If seeds share no luck, this variance is on average the sum of the two "
            "methods' own."
        ),
    )
