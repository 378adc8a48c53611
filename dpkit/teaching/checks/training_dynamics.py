"""The exercises of lesson 01."""

from collections.abc import Callable

import numpy as np

from dpkit.teaching.checks._answer import Verdict, judge

LOGITS = np.array(
    [
        [2.0, 1.0, -1.0],
        [0.5, 0.4, 0.3],  # right, and below one half
        [-1.0, 3.0, -2.0],
        [1.0, 1.5, 4.0],
    ]
)
LABELS = np.array([0, 0, 2, 1])
# powers overflow, or vanish beside others
LARGE = np.array([[1000.0, 998.0, 0.0], [0.0, 500.0, 499.5], [2.3, -0.2, -0.1]])
CORRECT = np.array(
    [
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1],
        [0, 1, 0, 1, 1],  # learned, lost, learned again
        [0, 0, 0, 0, 0],  # never right
        [1, 1, 1, 1, 0],  # lost at the end
        [1, 0, 1, 1, 1],
    ],
    bool,
)


def _softmax(z, axis=1):
    powers = np.exp(z - z.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _of_label(values, y):
    return values[np.arange(len(y)), y]


def _prob(z, y):
    return _of_label(_softmax(z), y)


def _others(z, y, out=-np.inf):
    """(n,) the largest of the other classes; `out` is put in the label's place."""
    return np.where(np.arange(z.shape[1]) == y[:, None], out, z).max(1)


def _margin(z, y):
    return _of_label(z, y) - _others(z, y)


def _correct(z, y):
    return z.argmax(1) == y


def _three(prob=_prob, margin=_margin, correct=_correct):
    """The three numbers of a record, or what becomes of them with another one."""
    return lambda logits, labels: tuple(of(logits, labels) for of in (prob, margin, correct))


def three_numbers(answer: Callable) -> Verdict:
    """`answer(logits, labels)` with logits (n, C) and labels (n,) gives target_prob, margin and
    correct, each (n,).
    """
    samples = (
        "The softmax sums over the samples. One sample's probabilities sum to 1: add along "
        "the classes, `axis=1`."
    )
    return judge(
        answer,
        [(LOGITS, LABELS), (LARGE, np.array([1, 1, 0]))],
        _three(),
        [
            (
                _three(lambda z, y: _softmax(z).max(1)),
                (
                    "`target_prob` is the largest probability here. Asked for is that of the given "
                    "label, even where it is small."
                ),
            ),
            (_three(lambda z, y: _of_label(_softmax(z, 0), y)), samples),
            (_three(lambda z, y: _of_label(_softmax(z - z.max(1, keepdims=True), 0), y)), samples),
            (
                _three(lambda z, y: np.log(_prob(z, y))),
                "`target_prob` is the logarithm of the probability here. Leave the logarithm out.",
            ),
            (
                _three(margin=lambda z, y: _of_label(z, y) - z.max(1)),
                (
                    "The margin never gets above 0: the given label is among the classes whose "
                    "maximum is taken. Leave it out there."
                ),
            ),
            (
                _three(margin=lambda z, y: _of_label(z, y) - _others(z, y, 0)),
                (
                    "The given label's logit is struck out with 0, which wins where all others are "
                    "below 0. Put `-np.inf` in its place."
                ),
            ),
            (
                _three(margin=lambda z, y: abs(_margin(z, y))),
                (
                    "The margin has lost its sign: where another class wins it is below 0. Leave "
                    "`abs` out."
                ),
            ),
            (
                _three(margin=lambda z, y: -_margin(z, y)),
                (
                    "The margin has the wrong sign: given label minus the largest other, so that "
                    "right answers are above 0."
                ),
            ),
            (
                _three(margin=lambda z, y: _prob(z, y) - _others(_softmax(z), y)),
                (
                    "The margin is taken between probabilities. A record's margin is between "
                    "logits, which do not saturate."
                ),
            ),
            (
                _three(margin=lambda z, y: np.ptp(np.sort(z, 1)[:, -2:], axis=1)),
                (
                    "The margin is largest logit minus second here. It starts from the given "
                    "label, and is below 0 where another wins."
                ),
            ),
            (
                _three(
                    margin=lambda z, y: (
                        _of_label(z, y) - (z.sum(1) - _of_label(z, y)) / (z.shape[1] - 1)
                    )
                ),
                (
                    "The margin is taken to the mean of the others. It is the distance to the "
                    "largest of them, the strongest rival."
                ),
            ),
            (
                _three(correct=lambda z, y: _prob(z, y) > 0.5),
                (
                    "`correct` has a threshold of one half here. 0.37 is right if all others have "
                    "less: look for the largest logit."
                ),
            ),
            (
                _three(correct=lambda z, y: z.argmax(1)),
                (
                    "`correct` holds the class that the network prefers. Compare it with the given "
                    "label: `... == labels`."
                ),
            ),
        ],
        (
            "Probability, margin, right or wrong: that is what `train` writes down of every image "
            "in every epoch."
        ),
    )


def _rate(share=lambda at, horizon: at / horizon, fall=lambda s: 0.5 * (1 + np.cos(np.pi * s))):
    """The cosine schedule, or what becomes of it with another share of the way or another fall."""
    return lambda at, horizon, lr: lr * fall(share(at, horizon))


def cosine_rate(answer: Callable) -> Verdict:
    """`answer(at, horizon, lr)` with `at` (k,) and the horizon in epochs and the largest rate lr
    gives the rates (k,).
    """
    cases = [
        (np.array([0.0, 1.0, 5.0, 15.0, 30.0]), 30, 0.01),
        (np.array([0.0, 10.0, 20.0, 29.0]), 200, 0.1),
    ]
    return judge(
        answer,
        cases,
        _rate(),
        [
            (
                _rate(lambda at, horizon: at / at.max()),
                (
                    "The curve ends with the epochs that are run. Its length is the horizon: "
                    "stopped early, the rate is still large."
                ),
            ),
            (
                _rate(lambda at, horizon: at / len(at)),
                (
                    "The epochs are divided by how many of them were asked for. The length of the "
                    "curve is the horizon."
                ),
            ),
            (
                _rate(fall=lambda s: np.cos(np.pi * s)),
                (
                    "The rate falls below 0: a cosine goes from 1 to -1. Lift it by 1 and halve "
                    "it, and it goes from 1 to 0."
                ),
            ),
            (
                _rate(fall=lambda s: 1 + np.cos(np.pi * s)),
                "The rate starts at twice lr: 1 + cos starts at 2. Halve it.",
            ),
            (
                _rate(fall=lambda s: 0.5 * (1 + np.cos(2 * np.pi * s))),
                (
                    "The rate comes back up: that is a whole wave. Half a wave fits into the "
                    "horizon, so π and not 2π."
                ),
            ),
            (
                _rate(fall=lambda s: np.cos(0.5 * np.pi * s)),
                (
                    "That is a quarter of a wave, which ends steeply. Half a wave, lifted by 1 and "
                    "halved, comes to rest at both ends."
                ),
            ),
            (
                _rate(fall=lambda s: 0.5 * (1 - np.cos(np.pi * s))),
                (
                    "The rate rises: with a minus before the cosine it starts at 0. It should "
                    "start at lr and fall."
                ),
            ),
            (
                _rate(fall=lambda s: 1 - s),
                (
                    "That is a straight line from lr to 0. The cosine stays near lr at first and "
                    "near 0 at the end."
                ),
            ),
            (
                _rate(fall=lambda s: 0.5 * (1 + np.cos(180 * s))),
                "`np.cos` reckons in radians, where half a wave is π, not 180.",
            ),
            (
                lambda at, horizon, lr: _rate()(at, horizon, 1),
                "The rate starts at 1. Multiply by lr, the largest rate.",
            ),
        ],
        (
            "Half a cosine wave over the horizon, whatever part of it is run: that is the schedule "
            "of `dpkit.train`."
        ),
    )


def _for_good(correct):
    epochs = correct.shape[1]
    return np.where(correct.all(1), 1, epochs - (~correct)[:, ::-1].argmax(1) + 1)


def right_for_good(answer: Callable) -> Verdict:
    """`answer(correct)` with correct (n, T) bool gives the epoch (n,) from which on each is right:
    1..T, or T + 1.
    """
    small = (
        "One too small: epochs count from 1, and the one asked for comes after the last wrong one."
    )
    first = (
        "That is the first time it is right, but it may be lost again. Find the last time it "
        "is wrong: the epoch after."
    )
    return judge(
        answer,
        [(CORRECT,), (CORRECT[[2, 4, 0], :4],)],
        _for_good,
        [
            (lambda c: _for_good(c) - 1, small),
            (lambda c: np.maximum(_for_good(c) - 1, 1), small),
            (lambda c: c.argmax(1) + 1, first),
            (lambda c: np.where(c.any(1), c.argmax(1) + 1, c.shape[1] + 1), first),
            (
                lambda c: (~c).sum(1) + 1,
                (
                    "These are the wrong epochs, counted. A sample can be right between two of "
                    "them: ask where the last one stands."
                ),
            ),
            (
                lambda c: c.shape[1] - (~c)[:, ::-1].argmax(1) + 1,
                "A sample that was never wrong comes out as never right: `argmax` of a row "
                "without True is 0. Ask first whether there is any wrong epoch.",
            ),
            (
                lambda c: np.where(c[:, -1], _for_good(c), 0),
                (
                    "A sample that is wrong at the end gets 0 here, earlier than all others. Give "
                    "it T + 1, later than all."
                ),
            ),
            (
                lambda c: np.where(c[:, -1], _for_good(c), c.shape[1]),
                (
                    "A sample that is wrong at the end gets T, like one that is right in the last "
                    "epoch only. Give it T + 1."
                ),
            ),
            (
                lambda c: c.shape[1] + 1 - _for_good(c),
                (
                    "That is how long it is right at the end. Asked for is when that time begins, "
                    "counted from the first epoch."
                ),
            ),
            (
                lambda c: _for_good(~c),
                "Right and wrong are exchanged: this is the epoch from which on it stays wrong.",
            ),
            (
                lambda c: _for_good(c.T),
                "That is one number per epoch. A row is a sample: go along its epochs, `axis=1`.",
            ),
        ],
        "The epoch after the last mistake: the lesson draws it as the black line.",
    )
