"""The exercises of lesson 04."""

from collections.abc import Callable

import numpy as np

from dpkit.teaching.checks._answer import Verdict, judge


def _missing(w, points):
    """u = 1 - p of each point: (N,)."""
    return 1 / (1 + np.exp(points @ w))


def _one_by_one(w, points, rate):
    for point in points:
        w = w + rate * _missing(w, point) * point
    return w


def descent_step(answer: Callable) -> Verdict:
    """One step of training: `answer(w, points, learning_rate)` with w (d,) and points (N, d) gives
    the next w (d,).
    """
    two, three = (
        np.array([[0.5, 0.5], [2.0, 1.0]]),
        np.array([[1.0, 0.0, 0.5], [0.2, 1.5, 0.0], [2.0, 0.3, 1.0]]),
    )
    cases = [
        (np.zeros(2), two, 0.1),
        (np.array([0.8, 0.3]), two, 0.5),
        (np.array([0.2, -0.4, 1.0]), three, 0.2),
    ]
    return judge(
        answer,
        cases,
        lambda w, x, rate: w + rate * _missing(w, x) @ x,
        [
            (
                lambda w, x, rate: w + rate * (1 - _missing(w, x)) @ x,
                (
                    "Each point pulls with p here, what is known already. It pulls with u = 1 - p, "
                    "what is still missing."
                ),
            ),
            (
                lambda w, x, rate: w - rate * _missing(w, x) @ x,
                (
                    "The sign: this step goes uphill. The gradient of the loss is -u x, so going "
                    "down adds u x."
                ),
            ),
            (
                lambda w, x, rate: w + rate * _missing(w, x) @ x / len(x),
                (
                    "The mean of the pulls is here. The loss is a sum over the points, so the "
                    "pulls are added."
                ),
            ),
            (
                lambda w, x, rate: w + _missing(w, x) @ x,
                "The learning rate is missing: it multiplies the pull of the points.",
            ),
            (
                lambda w, x, rate: rate * _missing(w, x) @ x,
                "That is the change alone. The new w is the old one plus the change.",
            ),
            (
                lambda w, x, rate: w + rate * x.sum(0),
                (
                    "Every point pulls with its full length here. Multiply each by what is still "
                    "missing of it, u = 1 - p."
                ),
            ),
            (
                lambda w, x, rate: w + rate * x.sum(0) / 2,
                "Every u is ½ here, as at the start. Work it out from the w that comes in.",
            ),
            (
                lambda w, x, rate: w + rate * (_missing(w, x) * (1 - _missing(w, x))) @ x,
                (
                    "That is the slope of σ, p (1 - p). The derivative of -log σ(z) is simpler: "
                    "-(1 - p)."
                ),
            ),
            (
                _one_by_one,
                (
                    "The points move w one after the other here. In one step all of them look at "
                    "the same, old w."
                ),
            ),
        ],
        "Each point pulls with what is still missing of it: that is a step of `two_point.descent`.",
    )


def _std(p):
    return p.std(-1, ddof=1)


def _dual(p):
    return _std(p) * (1 - p.mean(-1))


def _first(ahead):
    """The first window of which it is true, or None."""
    return int(ahead.argmax()) if ahead.any() else None


def _turns(
    *,
    scores=(_std, _dual),
    ahead=np.greater,
    pick=_first,
    starts=lambda count, window: range(count),
    name=lambda start, window: start,
):
    """The two times, or what becomes of them if one of the steps is another."""

    def times(prob, window):
        first = starts(prob.shape[1] - window + 1, window)
        p = np.stack([prob[:, t : t + window] for t in first], 1)  # (2, windows, J)
        found = [pick(ahead(*score(p))) for score in scores]
        return tuple(None if k is None else name(first[k], window) for k in found)

    return times


def turning_times(answer: Callable) -> Verdict:
    """T_v and T_vm: `answer(prob, window)` with prob (2, steps) of x1 and x2 gives (T_v, T_vm),
    None for one not reached.
    """
    descent = np.array(
        [
            # of (0.5, 0.5) and (2, 1) at the rate 0.3
            [0.5, 0.574, 0.619, 0.65, 0.674, 0.693, 0.709, 0.723],
            [0.5, 0.726, 0.829, 0.881, 0.912, 0.932, 0.946, 0.956],
        ]
    )
    tied = np.array(
        [[0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9], [0.5, 0.5, 0.6, 0.8, 0.91, 0.92, 0.93, 0.6]]
    )
    late = np.array([[0.5, 0.51, 0.52, 0.53, 0.55, 0.7], [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]])
    never = np.array([[0.5, 0.51, 0.52, 0.53, 0.54], [0.5, 0.6, 0.7, 0.8, 0.9]])
    right = _turns()
    return judge(
        answer,
        [(descent, 3), (tied, 2), (late, 2), (never, 3)],
        right,
        [
            (
                lambda prob, window: right(prob, window)[::-1],
                (
                    "The two times have changed places: T_v, of the standard deviation alone, "
                    "comes first."
                ),
            ),
            (
                _turns(pick=lambda ahead: int(ahead.argmax())),
                "A time that is never reached comes out as 0: `np.argmax` gives 0 where nothing "
                "is True. Ask `ahead.any()` first, and give None.",
            ),
            (
                _turns(ahead=np.less),
                (
                    "The comparison is the other way round: asked for is when x1, row 0, is ahead "
                    "of x2."
                ),
            ),
            (
                _turns(ahead=np.greater_equal),
                "Equal is not ahead: T_v is the first time with S1 > S2, and T_vm likewise.",
            ),
            (
                _turns(scores=(_std, lambda p: _std(p) * p.mean(-1))),
                (
                    "The mean itself is large for what is known. DUAL multiplies by what is "
                    "missing, 1 - mean."
                ),
            ),
            (
                _turns(scores=(_std, lambda p: 1 - p.mean(-1))),
                "T_vm looks at 1 - mean alone here. DUAL multiplies it by the standard deviation.",
            ),
            (
                _turns(name=lambda start, window: start + window - 1),
                (
                    "The windows are named by their last step here. Both times are the first step "
                    "of a window."
                ),
            ),
            (
                _turns(name=lambda start, window: start + 1),
                (
                    "The count begins at 1 here. It begins at 0: the first window holds the steps "
                    "0 to J - 1."
                ),
            ),
            (
                _turns(starts=lambda count, window: range(count - 1)),
                (
                    "One window is missing, the last: there are steps - J + 1 of them. "
                    "(`range(steps - J)` stops one too early.)"
                ),
            ),
            (
                _turns(starts=lambda count, window: range(0, count, window)),
                (
                    "The windows stand side by side. Let them slide: the next one begins one step "
                    "later, not J."
                ),
            ),
        ],
        "The first windows in which x1 is ahead: that is `two_point.crossing_times`.",
    )


def _products(x1, x2):
    """a = |x1|^2, b = <x1, x2>, c = |x2|^2."""
    return x1 @ x1, x1 @ x2, x2 @ x2


def _limits(
    of=_products,
    *,
    start=lambda a, b, c: (a + b) / (b + c),
    end=lambda a, b, c: (c - b) / (a - b) if b < a else np.inf,
):
    """R at the start and in the end, or what becomes of them with another formula."""
    return lambda x1, x2: (start(*of(x1, x2)), end(*of(x1, x2)))


def ratio_limits(answer: Callable) -> Verdict:
    """Step 4 of the proof: `answer(x1, x2)` with two points (d,) gives R at the start and its limit
    in the end.
    """
    pairs = [
        ([0.5, 0.5], [2.0, 1.0]),
        ([1.0, 0.0], [0.3, 1.2]),
        ([1.0, 0.5, 0.0], [0.4, 0.5, 2.0]),
        ([1.0, 0.0], [1.0, 1.0]),
    ]
    right = _limits()
    return judge(
        answer,
        [(np.array(x1), np.array(x2)) for x1, x2 in pairs],
        right,
        [
            (
                _limits(lambda x1, x2: (np.linalg.norm(x1), x1 @ x2, np.linalg.norm(x2))),
                (
                    "The norms themselves are here. a and c are their squares, `x1 @ x1` and `x2 @ "
                    "x2`."
                ),
            ),
            (
                lambda x1, x2: right(x2, x1),
                (
                    "The two points have changed places: R is x1's deviation divided by x2's, so a "
                    "belongs to x1 and c to x2."
                ),
            ),
            (
                lambda x1, x2: right(x1, x2)[::-1],
                "The two numbers have changed places: the start comes first.",
            ),
            (
                _limits(end=lambda a, b, c: (c - b) / (a - b)),
                (
                    "A ratio of deviations is never negative. If b ≥ a, R grows without end, and "
                    "the limit is `np.inf`."
                ),
            ),
            (
                _limits(end=lambda a, b, c: abs((c - b) / (a - b))),
                (
                    "Taking `abs` only hides the sign. If b ≥ a, R grows without end, and the "
                    "limit is `np.inf`."
                ),
            ),
            (
                _limits(end=lambda a, b, c: np.inf),
                (
                    "The limit is always infinite here. If b < a, the errors settle at a fixed "
                    "ratio, and R at (c - b) / (a - b)."
                ),
            ),
            (
                _limits(end=lambda a, b, c: (a - b) / (c - b) if b < a else np.inf),
                "The limit is upside down: (c - b) / (a - b), which is above 1 because a < c.",
            ),
            (
                _limits(end=lambda a, b, c: (c - b) / (b - a) if b < a else np.inf),
                "The sign of the limit: b is below a in this case, so divide by a - b.",
            ),
            (
                _limits(start=lambda a, b, c: a / c),
                (
                    "The start leaves out that each point moves the other too: it is (a + b) / (b "
                    "+ c), since all u are ½."
                ),
            ),
            (
                _limits(lambda x1, x2: (x1 @ x1, np.sqrt((x1 @ x1) * (x2 @ x2)), x2 @ x2)),
                (
                    "b is the product of the two lengths here. It is the scalar product, `x1 @ "
                    "x2`, which knows the angle."
                ),
            ),
        ],
        "Below 1 at the start and above it in the end: so R has to cross 1.",
    )
