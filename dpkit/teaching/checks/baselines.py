"""The exercises of lesson 07."""

from collections.abc import Callable

import numpy as np

from dpkit.teaching.checks._answer import Verdict, judge

PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]])
FEATURES = np.array([[2.0, -1.0], [0.5, 0.0], [-3.0, 1.5], [0.0, 0.4]])
LABELS = np.array([0, 2, 1, 2])

MOVES = np.array(
    [
        [0.9, 0.1, 0.7, 0.2, 0.5, 0.1, 0.3],  # uneven from the first epoch to the last
        [1.2, 0.6, 0.3, 0.1, 0.05, 0.02, 0.01],  # coming to rest
        [0.0, 0.0, 0.1, 0.0, 0.2, 0.9, 0.1],  # a late jump
    ]
)

LOGITS = np.array(
    [
        [[1.0, 0.0, -1.0], [2.0, 0.5, 0.0], [4.0, -1.0, -2.0]],  # label 0, learned
        [[0.0, 2.0, 1.0], [1.5, 0.5, 2.5], [3.0, 0.0, 1.0]],  # label 2, overtaken
        [[2.0, 1.0, 0.0], [3.0, -1.0, 1.5], [2.5, 0.5, 0.5]],  # label 1, never right
        [[0.0, 0.5, 3.0], [-1.0, 0.0, 2.0], [0.5, 2.0, -0.5]],  # label 1, right at the end alone
    ]
)


def _errors(probs, labels):
    return probs - np.eye(probs.shape[1])[labels]


def _length(rows):
    return np.sqrt((rows**2).sum(1))


def _bordered(h):
    return np.column_stack([h, np.ones(len(h))])


def _grand(
    error=lambda probs, labels: _length(_errors(probs, labels)),
    size=lambda h: _length(_bordered(h)),
):
    """GraNd of the last layer, or what becomes of it with other factors."""
    return lambda probs, features, labels: error(probs, labels) * size(features)


def grand(answer: Callable) -> Verdict:
    """The length of the last layer's gradient: `answer(probs, features, labels)` with probs (n, C),
    features (n, d) and labels (n,) gives (n,).
    """
    return judge(
        answer,
        [(PROBS, FEATURES, LABELS), (PROBS[:2], FEATURES[:2], LABELS[:2])],
        _grand(),
        [
            (
                _grand(size=_length),
                (
                    "The bias is forgotten: it has a gradient too. Append a 1 to the features, so "
                    "that the length is √(|h|² + 1)."
                ),
            ),
            (
                _grand(size=lambda h: _length(h) + 1),
                (
                    "The 1 of the bias is added to the length. It is one more coordinate: √(|h|² + "
                    "1), the 1 under the root."
                ),
            ),
            (
                _grand(size=lambda h: np.ones(len(h))),
                "That is the first factor, EL2N. GraNd multiplies it by the length of [h, 1].",
            ),
            (
                _grand(error=lambda probs, labels: _length(probs)),
                "The label is not read: the error is p - onehot(y), so take 1 from p at the label.",
            ),
            (
                _grand(
                    error=lambda probs, labels: (
                        1 - np.take_along_axis(probs, labels[:, None], 1)[:, 0]
                    )
                ),
                (
                    "Only the label's logit is counted, 1 - p_y. The other classes are pushed too: "
                    "take the length of p - onehot(y)."
                ),
            ),
            (
                _grand(error=lambda probs, labels: np.abs(_errors(probs, labels)).sum(1)),
                (
                    "The error is measured by the sum of its absolute values. A length has squares "
                    "and a root."
                ),
            ),
            (
                lambda *case: _grand()(*case) ** 2,
                "The squares are added up, but a length is the root of that.",
            ),
            (
                lambda probs, features, labels: (
                    _length(_errors(probs, labels)) + _length(_bordered(features))
                ),
                (
                    "The two lengths are added. The length of an outer product is the PRODUCT of "
                    "the lengths."
                ),
            ),
            (
                lambda *case: _grand()(*case) / len(case[0]),
                (
                    "Divided by n: that is the gradient of a batch's mean loss. Each sample has "
                    "its own loss, whatever its batch."
                ),
            ),
            (
                lambda probs, features, labels: (
                    np.linalg.norm(_errors(probs, labels)) * np.linalg.norm(_bordered(features))
                ),
                (
                    "That is one number for all samples together. Take the lengths row by row: "
                    "`axis=1`."
                ),
            ),
            (
                lambda *case: -_grand()(*case),
                "The order is reversed: a long gradient says keep it.",
            ),
        ],
        "Error times features, and no gradient ever formed: that is `dpkit.grand`.",
    )


def _deviations(moves, width, ddof=None):
    """Of windows of `width` moves: root of the summed squared deviations, or std. (n, windows)"""
    inside = np.lib.stride_tricks.sliding_window_view(moves, width, axis=1)
    squares = (inside - inside.mean(2, keepdims=True)) ** 2
    return np.sqrt(squares.sum(2) / (1 if ddof is None else width - ddof))


def _weights(count):
    return 0.9 * 0.1 ** np.arange(count)[::-1]


def _tdds(deviations=lambda moves, window: _deviations(moves, window - 1), weights=_weights):
    """TDDS, or what becomes of it with other deviations and other weights."""

    def tdds(moves, window):
        D = deviations(moves, window)
        return D @ weights(D.shape[1])

    return tdds


def tdds(answer: Callable) -> Verdict:
    """TDDS from its moves: `answer(moves, window)` with moves (n, T - 1) and window J in epochs
    gives the scores (n,).
    """
    return judge(
        answer,
        [(MOVES, 3), (MOVES, 5), (MOVES[:, :5], 4)],
        _tdds(),
        [
            (
                _tdds(weights=lambda count: _weights(count)[::-1]),
                "The weights run the wrong way: the LAST window has 0.9, the one before it 0.09.",
            ),
            (
                _tdds(deviations=lambda moves, window: _deviations(moves, window)),
                "A window holds one move too many: J epochs have J - 1 moves between them.",
            ),
            (
                _tdds(deviations=lambda moves, window: _deviations(moves, window - 1, 0)),
                (
                    "This is the standard deviation, with a mean under the root. TDDS takes the "
                    "root of the SUM of squared deviations."
                ),
            ),
            (
                _tdds(deviations=lambda moves, window: _deviations(moves, window - 1, 1)),
                (
                    "This is the standard deviation, divided by J - 2 under the root. TDDS takes "
                    "the root of the undivided SUM."
                ),
            ),
            (
                _tdds(deviations=lambda moves, window: _deviations(moves, window - 1) ** 2),
                "The root is missing: take it of each window's sum of squares, before weighing.",
            ),
            (
                _tdds(weights=lambda count: np.full(count, 1 / count)),
                (
                    "All windows count alike here. The last has 0.9, the one before it 0.09, and "
                    "so on."
                ),
            ),
            (
                _tdds(weights=lambda count: _weights(count) / 0.9),
                "The last window has weight 1. It is 0.9 · 0.1^0 = 0.9: one factor is missing.",
            ),
            (
                _tdds(weights=lambda count: _weights(count) / _weights(count).sum()),
                (
                    "The weights are divided by their sum. The formula leaves them as they are: "
                    "0.9, 0.09, 0.009 ..."
                ),
            ),
            (
                _tdds(weights=lambda count: 0.9 * (np.arange(count) == count - 1)),
                (
                    "Only the last window is read. It has most of the weight, not all: the one "
                    "before it has 0.09."
                ),
            ),
            (
                _tdds(weights=lambda count: 0.9 ** np.arange(1, count + 1)[::-1]),
                (
                    "The weights fall too slowly, by 0.9 from window to window. They fall by 0.1: "
                    "0.9 · 0.1^(windows to the last)."
                ),
            ),
            (
                _tdds(deviations=lambda moves, window: _deviations(moves, window - 1)[:, :-1]),
                "The last window is missing, and it has nine tenths of the weight: there are T - "
                "J + 1. (`range(T - J)` stops one too early.)",
            ),
        ],
        "Deviations of J - 1 moves, the last windows heaviest: that is `dpkit.tdds`.",
    )


def _own(logits, labels):
    """The logit of the given label. (n, T)"""
    return np.take_along_axis(logits, labels[:, None, None], 2)[..., 0]


def _others(logits, labels, out=-np.inf):
    """All logits, with `out` in the place of the given label's. (n, T, C)"""
    return np.where(np.eye(logits.shape[2], dtype=bool)[labels][:, None], out, logits)


def _margin(logits, labels, out=-np.inf):
    return _own(logits, labels) - _others(logits, labels, out).max(2)


def _place(logits, k):
    """The k-th largest logit. (n, T)"""
    return np.sort(logits, 2)[..., -k]


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def area_under_margin(answer: Callable) -> Verdict:
    """AUM: `answer(logits (n, T, C), labels (n,))` gives minus the mean margin, (n,)."""
    return judge(
        answer,
        [(LOGITS, np.array([0, 2, 1, 1])), (LOGITS[:, :2], np.array([1, 2, 0, 2]))],
        lambda logits, labels: -_margin(logits, labels).mean(1),
        [
            (
                lambda logits, labels: _margin(logits, labels).mean(1),
                (
                    "The sign: this is large for easy images. A LOW area is a hard image, so the "
                    "score is minus the mean margin."
                ),
            ),
            (
                lambda logits, labels: -_margin(logits, labels)[:, -1],
                (
                    "That is the last epoch's margin alone, a noisy estimate. Take the mean over "
                    "all epochs."
                ),
            ),
            (
                lambda logits, labels: -_margin(logits, labels).sum(1),
                (
                    "The margins are added up. Take their mean, so that records of different "
                    "length compare."
                ),
            ),
            (
                lambda logits, labels: logits.max(2).mean(1) - _own(logits, labels).mean(1),
                (
                    "The largest logit is sought among all classes, the label's own too, so no "
                    "margin is above 0. Leave the label out."
                ),
            ),
            (
                lambda logits, labels: -_margin(logits, labels, 0).mean(1),
                (
                    "The label's own logit is struck out with 0, which wins where all others are "
                    "below 0. Put `-np.inf` in its place."
                ),
            ),
            (
                lambda logits, labels: (_place(logits, 2) - _place(logits, 1)).mean(1),
                (
                    "That is first minus second, which does not read the label. Where the label is "
                    "not first its margin is negative."
                ),
            ),
            (
                lambda logits, labels: (_place(logits, 2) - _own(logits, labels)).mean(1),
                (
                    "The second largest logit is subtracted. Where the label is not first, the "
                    "largest OTHER logit is the first."
                ),
            ),
            (
                lambda logits, labels: (
                    (logits.sum(2) - _own(logits, labels)) / (logits.shape[2] - 1)
                    - _own(logits, labels)
                ).mean(1),
                (
                    "The mean of the others is subtracted. The margin is to the strongest rival "
                    "alone, the largest other logit."
                ),
            ),
            (
                lambda logits, labels: (
                    -(_own(logits, labels).mean(1) - _others(logits, labels).mean(1).max(1))
                ),
                (
                    "Here the logits are averaged over the epochs first. The strongest rival may "
                    "change: margins first, then their mean."
                ),
            ),
            (
                lambda logits, labels: -_margin(_softmax(logits), labels).mean(1),
                (
                    "These are margins of probabilities. AUM's own paper takes logits as they are, "
                    "which order images differently."
                ),
            ),
            (
                lambda logits, labels: -_own(logits, labels).mean(1),
                (
                    "Only the label's own logit is read. A logit means nothing alone: subtract the "
                    "largest other one."
                ),
            ),
        ],
        "Minus the mean margin, high for what another class won: that is `dpkit.aum`.",
    )
