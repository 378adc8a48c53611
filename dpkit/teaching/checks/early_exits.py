"""The exercises of lesson 05."""

from collections.abc import Callable

import numpy as np

from dpkit.records import Scores, keep_count
from dpkit.teaching.checks._answer import Verdict, judge

PROBS = np.array(
    [  # three exits, six samples, three classes
        [
            [0.9, 0.05, 0.05],
            [0.2, 0.2, 0.6],
            [0.5, 0.25, 0.25],
            [0.3, 0.3, 0.4],
            [0.1, 0.8, 0.1],
            [0.4, 0.3, 0.3],
        ],
        [
            [0.4, 0.35, 0.25],
            [0.1, 0.1, 0.8],
            [0.1, 0.3, 0.6],
            [0.4, 0.45, 0.15],
            [0.05, 0.9, 0.05],
            [0.75, 0.15, 0.1],
        ],
        [
            [0.95, 0.03, 0.02],
            [0.0, 0.3, 0.7],
            [0.2, 0.1, 0.7],
            [0.45, 0.35, 0.2],
            [0.02, 0.97, 0.01],
            [0.8, 0.1, 0.1],
        ],
    ]
)


def _sure(probs, threshold):
    """Which exit is surer than the threshold of which sample, the final one of all: (exits, n)."""
    sure = probs.max(-1) > threshold
    sure[-1] = True
    return sure


def leaving_exit(answer: Callable) -> Verdict:
    """Who leaves where: `answer(probs, threshold)` with probs (exits, n, C) gives each sample's
    exit (n,), 0 the shallowest.
    """

    def right(probs, threshold):
        return _sure(probs, threshold).argmax(0)

    return judge(
        answer,
        [(PROBS, 0.5), (PROBS, 0.75), (PROBS[:2], 0.85)],
        right,
        [
            (
                lambda probs, t: (probs.max(-1) > t).argmax(0),
                "Whoever no exit is sure of leaves at 0 here: `argmax` gives 0 where nothing is "
                "True. They go all the way, to the final exit.",
            ),
            (
                lambda probs, t: np.where((probs.max(-1) > t).any(0), right(probs, t), -1),
                (
                    "Whoever no exit is sure of leaves at -1 here. Write the number of the final "
                    "exit, `len(probs) - 1`."
                ),
            ),
            (
                lambda probs, t: _sure(probs, np.nextafter(t, 0)).argmax(0),
                (
                    "An exit that is exactly as sure as the threshold lets go here. It must be "
                    "surer: `>`, not `>=`."
                ),
            ),
            (
                lambda probs, t: probs.max(-1).argmax(0),
                (
                    "That is the surest exit. An image leaves at the first one that is sure "
                    "enough, and never sees the others."
                ),
            ),
            (
                lambda probs, t: (
                    len(probs)
                    - 1
                    - (probs[:-1].max(-1) > t)[::-1].argmax(0)
                    - (probs[:-1].max(-1) > t).any(0)
                ),
                "That is the last of the early exits that are sure. An image leaves at the first.",
            ),
            (
                lambda probs, t: (probs[:-1].max(-1) <= t).sum(0),
                (
                    "That is how many early exits are unsure. An exit may be sure and a deeper one "
                    "not; the image has left by then."
                ),
            ),
            (
                lambda probs, t: right(probs, t) + 1,
                "The exits are counted from 1 here. They count from 0, the shallowest.",
            ),
            (
                lambda probs, t: probs[right(probs, t), np.arange(probs.shape[1])].argmax(-1),
                (
                    "These are the answers, the classes. Asked for is the number of the exit where "
                    "each answer is given."
                ),
            ),
            (
                lambda probs, t: np.bincount(right(probs, t), minlength=len(probs)),
                (
                    "That is how many leave at each exit. Asked for is, of each sample, where it "
                    "leaves."
                ),
            ),
        ],
        "The first exit that is sure enough, else the final one: that is `leaving.leaves_at`.",
        whole=True,
    )


def flops_saved(answer: Callable) -> Verdict:
    """What leaving saves: `answer(where, flops)` with exits (n,) and the FLOPs up to each exit
    gives a share of a full pass.
    """
    cases = [
        (np.array([0, 0, 1, 2, 0, 1, 2, 0]), np.array([10.0, 40.0, 100.0])),
        (np.array([1, 1, 2, 2, 0]), np.array([2.0, 6.0, 7.0, 8.0])),
    ]
    return judge(
        answer,
        cases,
        lambda where, flops: 1 - flops[where].mean() / flops[-1],
        [
            (
                lambda where, flops: flops[where].mean() / flops[-1],
                "That is the share that is still spent. What is saved is 1 minus it.",
            ),
            (
                lambda where, flops: 1 - np.cumsum(flops)[where].mean() / flops[-1],
                (
                    "The FLOPs are added up twice: `flops` counts everything up to an exit, the "
                    "exits before it included."
                ),
            ),
            (
                lambda where, flops: 1 - np.cumsum(flops)[where].mean() / flops.sum(),
                (
                    "The FLOPs are added up here, but `flops` has done so already: a full pass "
                    "costs its last entry, not the sum."
                ),
            ),
            (
                lambda where, flops: 1 - flops[where].mean() / flops.sum(),
                (
                    "A full pass costs the last entry of `flops`, not the sum: every entry counts "
                    "all that came before it."
                ),
            ),
            (
                lambda where, flops: 1 - flops[where].mean() / flops[where].max(),
                (
                    "A full pass costs `flops[-1]`, even where nobody goes all the way. Here it "
                    "costs what the dearest image did."
                ),
            ),
            (
                lambda where, flops: 1 - flops.mean() / flops[-1],
                (
                    "That is the mean over the exits, as if equally many left at each. Take the "
                    "mean over the images, `flops[where]`."
                ),
            ),
            (
                lambda where, flops: 1 - flops[where].sum() / flops[-1],
                (
                    "All images together are compared with one full pass. Take the mean over the "
                    "images."
                ),
            ),
            (
                lambda where, flops: flops[-1] - flops[where].mean(),
                (
                    "That is a number of FLOPs. As a share it is divided by those of a full pass, "
                    "`flops[-1]`."
                ),
            ),
            (
                lambda where, flops: np.mean(where < len(flops) - 1),
                (
                    "That is the share of the images that leave early. How much each saves depends "
                    "on where."
                ),
            ),
            (
                lambda where, flops: 1 - where.mean() / (len(flops) - 1),
                (
                    "The numbers of the exits are averaged, as if all steps cost the same. Look up "
                    "what each exit costs, `flops[where]`."
                ),
            ),
            (
                lambda where, flops: 100 - 100 * flops[where].mean() / flops[-1],
                "These are percent. Asked for is a share, in [0, 1].",
            ),
        ],
        (
            "The mean of what each image costs, against a full pass: that is `saved` in "
            "`leaving.leaving_curve`."
        ),
    )


def _right(probs, labels):
    return probs.argmax(-1) == labels


def _score(
    *,
    qualifies=lambda early, final, labels: _right(early, labels) & _right(final, labels),
    value=lambda early, final: 1 - early.max(-1),
    other=np.inf,
):
    """EEPrune's score, or what becomes of it with another condition, another value, or another
    number for the rest.
    """
    return lambda early, final, labels: np.where(
        qualifies(early, final, labels), value(early, final), other
    )


def early_exit_score(answer: Callable) -> Verdict:
    """EEPrune by hand: `answer(early, final, labels)` with probabilities (n, C) and labels (n,)
    gives the scores (n,).
    """
    labels = np.array([0, 2, 1, 0, 1, 2])
    cases = [
        (PROBS[0], PROBS[1], labels),
        (PROBS[1], PROBS[2], labels),
        (PROBS[0], PROBS[2], np.array([0, 1, 0, 0, 1, 0])),
    ]
    return judge(
        answer,
        cases,
        _score(),
        [
            (
                _score(value=lambda early, final: early.max(-1)),
                (
                    "The direction: the confidence itself is high for what may go. A high score "
                    "means keep it: 1 minus the confidence."
                ),
            ),
            (
                _score(value=lambda early, final: 1 - final.max(-1)),
                (
                    "That is the final exit's confidence. Of the final exit the rule asks only "
                    "whether it is right."
                ),
            ),
            (
                _score(qualifies=lambda early, final, labels: _right(early, labels)),
                (
                    "The second condition is missing: the final exit must be right too, else the "
                    "score is +inf."
                ),
            ),
            (
                _score(qualifies=lambda early, final, labels: _right(final, labels)),
                (
                    "The first condition is missing: the early exit must be right itself, else the "
                    "score is +inf."
                ),
            ),
            (
                _score(
                    qualifies=lambda early, final, labels: (
                        _right(early, labels) | _right(final, labels)
                    )
                ),
                "One exit that is right is enough here. Both must be: `&`, not `|`.",
            ),
            (
                _score(qualifies=lambda early, final, labels: early.argmax(-1) == final.argmax(-1)),
                (
                    "The two exits are compared with each other. They may agree on a wrong answer: "
                    "compare each with the label."
                ),
            ),
            (
                _score(qualifies=lambda early, final, labels: True),
                (
                    "The conditions are missing: where an exit is wrong, the score is +inf, "
                    "however sure it is."
                ),
            ),
            (
                _score(other=0),
                (
                    "What an exit gets wrong has the score 0 here, and would be pruned first. It "
                    "is never pruned: +inf."
                ),
            ),
            (
                _score(other=-np.inf),
                (
                    "The sign: -inf ranks last and would be pruned first. What an exit gets wrong "
                    "is never pruned: +inf."
                ),
            ),
            (
                _score(other=1),
                (
                    "What an exit gets wrong has the score 1 here. That ranks high, but it is not "
                    "*never*: +inf."
                ),
            ),
        ],
        "Right at both exits, and then how unsure: that is `dpkit.eeprune`.",
    )


def _lowest(values, count):
    """Ids of the `count` lowest values, lowest first; never one at +inf."""
    order = np.argsort(values, kind="stable")[:count]
    return order[np.isfinite(values[order])]


def _removed(values, ratio):
    return len(values) - keep_count(len(values), ratio)


def prune_surest(answer: Callable) -> Verdict:
    """Ratio mode: `answer(scores, prune_ratio)` with Scores (n,) gives the ids to PRUNE, ascending;
    never one at +inf.
    """
    scores = Scores(
        np.array([0.3, np.inf, 0.05, 0.4, 0.01, np.inf, 0.2, 0.02, np.inf, 0.1]), "eeprune"
    )
    few = Scores(np.array([np.inf, 0.02, np.inf, 0.3, np.inf, 0.01]), "eeprune")

    cut = (
        "The count is cut off: `int` and `//` drop what stands behind the point. "
        "`dpkit.keep_count` rounds those that stay."
    )

    def on_values(prune):
        return lambda scores, ratio: prune(scores.values, ratio)

    return judge(
        answer,
        [(scores, 0.28), (scores, 0.62), (few, 0.8)],
        on_values(lambda v, ratio: np.sort(_lowest(v, _removed(v, ratio)))),
        [
            (
                on_values(
                    lambda v, ratio: np.sort(np.argsort(v, kind="stable")[: _removed(v, ratio)])
                ),
                (
                    "Samples at +inf are pruned here when the others run out. They are never "
                    "pruned: prune fewer instead."
                ),
            ),
            (
                on_values(lambda v, ratio: _lowest(v, _removed(v, ratio))),
                (
                    "The right samples, but the surest first. Ids come ascending, `np.sort(...)`: "
                    "row i is sample i."
                ),
            ),
            (
                on_values(
                    lambda v, ratio: np.sort(np.argsort(-v, kind="stable")[: _removed(v, ratio)])
                ),
                (
                    "The order is reversed: these are the highest scores. High means keep it, and "
                    "the lowest go."
                ),
            ),
            (
                on_values(
                    lambda v, ratio: np.setdiff1d(np.arange(len(v)), _lowest(v, _removed(v, ratio)))
                ),
                "These are the samples to keep. Asked for are those to prune.",
            ),
            (
                on_values(lambda v, ratio: np.sort(_lowest(v, keep_count(len(v), ratio)))),
                (
                    "So many are to stay. The ratio is the fraction REMOVED: n - keep_count(n, "
                    "prune_ratio) go."
                ),
            ),
            (on_values(lambda v, ratio: np.sort(_lowest(v, int(len(v) * ratio)))), cut),
            (
                on_values(lambda v, ratio: np.sort(_lowest(v, len(v) - int(len(v) * (1 - ratio))))),
                cut,
            ),
            (
                on_values(lambda v, ratio: np.sort(_lowest(v, _removed(v[np.isfinite(v)], ratio)))),
                (
                    "The ratio is taken of the samples that may go. It is a fraction of the whole "
                    "set, n."
                ),
            ),
            (
                on_values(
                    lambda v, ratio: np.sort(np.argsort(v[np.isfinite(v)])[: _removed(v, ratio)])
                ),
                (
                    "The ids are places in the shortened array, where +inf was left out. Sort the "
                    "whole array: row i is sample i."
                ),
            ),
            (
                on_values(
                    lambda v, ratio: np.isin(np.arange(len(v)), _lowest(v, _removed(v, ratio)))
                ),
                (
                    "That is a mask, one True or False per sample. Asked for are the ids: "
                    "`np.flatnonzero(mask)`."
                ),
            ),
            (
                on_values(lambda v, ratio: np.sort(v[_lowest(v, _removed(v, ratio))])),
                "These are scores. Asked for is where they stand: `np.argsort` gives ids.",
            ),
        ],
        (
            "The surest go, and what an exit got wrong stays: that is `dpkit.keep_top(..., "
            "protect_inf=True)`."
        ),
        whole=True,
    )
