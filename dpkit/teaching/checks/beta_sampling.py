"""The exercises of lesson 03."""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import beta as beta_function

from dpkit.records import keep_count
from dpkit.selectors import beta_parameters
from dpkit.teaching.checks._answer import Verdict, judge


def reached_ratio(answer: Callable) -> Verdict:
    """What rounding makes of a ratio: `answer(n, prune_ratio)` gives the fraction of n images that
    is really removed.
    """
    cases = [(5, 0.5), (7, 0.5), (5, 0.9), (12, 0.3), (1297, 0.95)]
    return judge(
        answer,
        cases,
        lambda n, ratio: 1 - keep_count(n, ratio) / n,
        [
            (
                lambda n, ratio: keep_count(n, ratio) / n,
                "That is the fraction that stays. A prune ratio is the fraction REMOVED.",
            ),
            (
                keep_count,
                "That is how many images stay, a count. Asked for is the fraction that is removed.",
            ),
            (
                lambda n, ratio: n - keep_count(n, ratio),
                (
                    "That is how many images are removed, a count. As a fraction of the set it is "
                    "divided by n."
                ),
            ),
            (
                lambda n, ratio: ratio,
                (
                    "That is the ratio that was asked for. Only whole images can go: round the "
                    "count first, then divide."
                ),
            ),
            (
                lambda n, ratio: 1 - int(n * (1 - ratio)) / n,
                (
                    "The count of those that stay is cut off, or that of the removed rounded up. "
                    "`keep_count` takes the nearest one."
                ),
            ),
            (
                lambda n, ratio: 1 - np.ceil(n * (1 - ratio)) / n,
                (
                    "The count of those that stay is rounded up, or that of the removed cut off. "
                    "`keep_count` takes the nearest one."
                ),
            ),
            (
                lambda n, ratio: 1 - np.floor(n * (1 - ratio) + 0.5) / n,
                (
                    "Halves are always rounded up here. Python's `round` goes to the even number: "
                    "2.5 becomes 2, and 3.5 becomes 4."
                ),
            ),
            (
                lambda n, ratio: round(n * ratio) / n,
                (
                    "The removed images are rounded here. `keep_count` rounds those that stay; at "
                    "a half this differs."
                ),
            ),
        ],
        "The count is rounded, and the ratio follows from it: that is `selection.prune_ratio`.",
    )


def _shares(
    values,
    mean_prob,
    keep,
    c_d,
    *,
    ratio=lambda keep, n: 1 - keep / n,
    mu_d=lambda values, ease: ease[values.argmax()],
    parameters=beta_parameters,
    clip=1e-6,
    exponents=(1, 1),
    score=lambda values: values,
    total=np.sum,
):
    """The weights' shares, or what becomes of them if one of the steps is another."""
    alpha, beta = parameters(ratio(keep, len(values)), mu_d(values, mean_prob), c_d)
    ease = np.clip(mean_prob, clip, 1 - clip)
    weight = ease ** (alpha - exponents[0]) * (1 - ease) ** (beta - exponents[1]) * score(values)
    return weight / total(weight)


def sampling_shares(answer: Callable) -> Verdict:
    """The draw's weights: `answer(values, mean_prob, keep, c_d)` with scores and ease (n,) gives
    each image's share (n,).
    """
    values = np.array([0.02, 0.12, 0.05, 0.21, 0.08, 0.01])
    ease = np.array([0.9, 0.6, 0.35, 0.55, 0.8, 1.0])
    wrong = partial(partial, _shares)
    cases = [
        (values, ease, 3, 4.0),
        (values, ease, 5, 1.0),
        (values[::-1].copy(), ease, 2, 11.0),
        (values, ease, 1, 1.0),
    ]
    return judge(
        answer,
        cases,
        _shares,
        [
            (
                wrong(ratio=lambda keep, n: keep / n),
                (
                    "The ratio: `keep / n` is the fraction that stays. r is the fraction REMOVED, "
                    "`1 - keep / n`."
                ),
            ),
            (
                wrong(mu_d=lambda values, ease: ease.mean()),
                (
                    "μ_D is the mean over all images here. It is the ease of one image, the one "
                    "with the highest score."
                ),
            ),
            (
                wrong(mu_d=lambda values, ease: ease.min()),
                (
                    "μ_D is that of the hardest image here. Take the ease of the one with the "
                    "highest score: it need not be the hardest."
                ),
            ),
            (
                wrong(mu_d=lambda values, ease: values.max()),
                (
                    "μ_D is the highest score itself here. Take that image's ease, "
                    "`mean_prob[np.argmax(values)]`."
                ),
            ),
            (
                wrong(parameters=lambda r, mu, c: beta_parameters(r, 1 - mu, c)),
                "μ_D stands where 1 - μ_D belongs: β = 15 (1 - μ_D) (1 - r^c_D).",
            ),
            (
                wrong(
                    parameters=lambda r, mu, c: (
                        15 - 15 * (1 - mu) * (1 - r) ** c,
                        15 * (1 - mu) * (1 - r) ** c,
                    )
                ),
                "The power: the formula has `1 - r**c_d`, not `(1 - r)**c_d`.",
            ),
            (
                wrong(parameters=lambda r, mu, c: beta_parameters(r, mu, c)[::-1]),
                "α and β have changed places: α - 1 is the exponent of p, β - 1 that of 1 - p.",
            ),
            (
                wrong(exponents=(0, 0)),
                "The exponents are α and β here. A Beta density has α - 1 and β - 1.",
            ),
            (
                wrong(score=np.ones_like),
                "The density alone is here. An image's weight is the density times its score.",
            ),
            (
                wrong(total=lambda weight: 1),
                "These are weights. Divide them by their sum, and they are shares.",
            ),
            (
                lambda values, ease, keep, c_d: _shares(
                    values,
                    ease,
                    keep,
                    c_d,
                    total=lambda weight: beta_function(
                        *beta_parameters(1 - keep / len(values), ease[values.argmax()], c_d)
                    ),
                ),
                (
                    "These are weights, the density's constant included. Divide by their sum: that "
                    "takes out the constant as well."
                ),
            ),
            (
                wrong(total=np.max),
                (
                    "The largest share is 1 here: the weights are divided by the largest of them. "
                    "Divide by their sum."
                ),
            ),
            (
                wrong(clip=0),
                (
                    "An ease of exactly 1 (or 0) gets the share 0 here. Clip first: "
                    "`np.clip(mean_prob, 1e-6, 1 - 1e-6)`."
                ),
            ),
        ],
        (
            "μ_D, α and β, density times score, and each weight as a share of all: this is what "
            "DUAL+β draws with."
        ),
    )


def _draw(weight, uniform, keep, *, log_weight=np.log, noise=lambda u: -np.log(-np.log(u))):
    """Rows in the order of their sums, the `keep` largest: the draw itself, or what becomes of it
    with other terms.
    """
    return np.argsort(-(log_weight(weight) + noise(uniform)), kind="stable")[:keep]


def gumbel_draw(answer: Callable) -> Verdict:
    """Draw without replacement: `answer(weight, uniform, keep)` with (n,) and (n,) in (0, 1) gives
    the ids kept, ascending.
    """
    weight = np.array([0.05, 2.0, 0.4, 0.1, 1.2, 0.02, 0.7, 0.3])
    chance = np.array(
        [
            [0.97, 0.04, 0.62, 0.9, 0.33, 0.994, 0.08, 0.71],
            [0.2, 0.5, 0.95, 0.35, 0.15, 0.81, 0.88, 0.6],
            [0.66, 0.12, 0.3, 0.98, 0.02, 0.45, 0.79, 0.93],
            [0.83, 0.27, 0.9, 0.97, 0.1, 0.55, 0.4, 0.05],
        ]
    )
    order = (
        "The right images, but in the order of their sums. Ids come ascending, "
        "`np.sort(...)`: row i is image i."
    )
    smallest = (
        "These are the smallest sums: `np.argsort` puts the smallest first. Take the largest."
    )
    cases = [
        (weight, chance[0], 3),
        (weight, chance[1], 4),
        (weight, chance[2], 2),
        (weight[::-1].copy(), chance[3], 3),
    ]
    return judge(
        answer,
        cases,
        lambda w, u, keep: np.sort(_draw(w, u, keep)),
        [
            (_draw, order),
            (lambda w, u, keep: _draw(w, u, keep)[::-1], order),
            (
                lambda w, u, keep: np.isin(np.arange(len(w)), _draw(w, u, keep)),
                (
                    "That is a mask, one True or False per image. Asked for are the ids: "
                    "`np.flatnonzero(mask)`."
                ),
            ),
            (
                lambda w, u, keep: np.sort(np.log(w) - np.log(-np.log(u)))[::-1][:keep],
                "These are the sums. Asked for is where they stand: `np.argsort` gives ids.",
            ),
            (
                lambda w, u, keep: np.setdiff1d(np.arange(len(w)), _draw(w, u, keep)),
                "These are the images that are not drawn. Asked for are those that are.",
            ),
            (
                lambda w, u, keep: np.sort(
                    _draw(1 / w, u, keep, noise=lambda u: np.log(-np.log(u)))
                ),
                smallest,
            ),
            (
                lambda w, u, keep: _draw(1 / w, u, keep, noise=lambda u: np.log(-np.log(u))),
                smallest,
            ),
            (
                lambda w, u, keep: np.sort(_draw(w, u, keep, noise=lambda u: 0)),
                (
                    "These are the largest weights: nothing is drawn. Add the Gumbel numbers to "
                    "the log weights before you rank."
                ),
            ),
            (
                lambda w, u, keep: np.sort(_draw(w, u, keep, noise=lambda u: np.log(-np.log(u)))),
                "The sign: G = -log(-log U) has a minus in front as well as inside.",
            ),
            (
                lambda w, u, keep: np.sort(_draw(w, u, keep, noise=lambda u: -np.log(u))),
                (
                    "One logarithm is missing: G = -log(-log U). With -log U alone a small U helps "
                    "an image, and it should hurt."
                ),
            ),
            (
                lambda w, u, keep: np.sort(_draw(w, u, keep, noise=lambda u: u)),
                (
                    "The uniform numbers are added as they are. Turn them into Gumbel numbers "
                    "first, G = -log(-log U)."
                ),
            ),
            (
                lambda w, u, keep: np.sort(_draw(w, u, keep, log_weight=lambda w: w)),
                (
                    "The Gumbel numbers are added to the weights. Add them to the logarithms of "
                    "the weights."
                ),
            ),
            (
                lambda w, u, keep: np.sort(
                    np.argsort(np.log(w) * np.log(-np.log(u)), kind="stable")[:keep]
                ),
                "Logarithm and Gumbel number are multiplied here. They are added.",
            ),
        ],
        (
            "Log weight plus Gumbel number, the largest stay: so `dpkit.keep_beta` draws without "
            "replacement."
        ),
        whole=True,
    )
