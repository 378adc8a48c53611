"""Answers to the exercises of lesson 04 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import math
from statistics import mean, stdev

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def in_one_line(w, points, learning_rate):
    return w + learning_rate * (1 - sigmoid(points @ w)) @ points


def point_by_point(w, points, learning_rate):
    change = np.zeros_like(w)
    for x in points:
        p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(w, x))))
        change = change + (1 - p) * x
    return w + learning_rate * change


def pulls_with_p(w, points, learning_rate):
    p = sigmoid(points @ w)
    return w + learning_rate * (p[:, None] * points).sum(axis=0)


def uphill(w, points, learning_rate):
    u = 1 - sigmoid(points @ w)
    gradient = (u[:, None] * points).sum(axis=0)
    return w - learning_rate * gradient


def mean_of_losses(w, points, learning_rate):
    u = 1 - sigmoid(points @ w)
    return w + learning_rate * np.mean(u[:, None] * points, axis=0)


def one_after_the_other(w, points, learning_rate):
    for x in points:
        w = w + learning_rate * (1 - sigmoid(w @ x)) * x
    return w


def only_the_change(w, points, learning_rate):
    u = 1 - sigmoid(points @ w)
    return learning_rate * points.T @ u


def in_place(w, points, learning_rate):
    w += learning_rate * (1 - sigmoid(points @ w)) @ points
    return w


def summed_over_the_wrong_axis(w, points, learning_rate):
    u = 1 - sigmoid(points @ w)
    return w + learning_rate * (u[:, None] * points).sum()


def with_windows(prob, window):
    p = np.lib.stride_tricks.sliding_window_view(prob, window, axis=1)
    std, missing = p.std(2, ddof=1), 1 - p.mean(2)
    times = []
    for score in (std, std * missing):
        ahead = np.flatnonzero(score[0] > score[1])
        times.append(int(ahead[0]) if len(ahead) else None)
    return tuple(times)


def with_loops(prob, window):
    t_v = t_vm = None
    for t in range(len(prob[0]) - window + 1):
        one, two = prob[0, t : t + window].tolist(), prob[1, t : t + window].tolist()
        if t_v is None and stdev(one) > stdev(two):
            t_v = t
        if t_vm is None and stdev(one) * (1 - mean(one)) > stdev(two) * (1 - mean(two)):
            t_vm = t
    return t_v, t_vm


def other_divisor(prob, window):  # n instead of n - 1: a common factor, so the times are right
    std = np.array(
        [[prob[i, t : t + window].std() for t in range(prob.shape[1] - window + 1)] for i in (0, 1)]
    )
    means = np.array(
        [
            [prob[i, t : t + window].mean() for t in range(prob.shape[1] - window + 1)]
            for i in (0, 1)
        ]
    )
    return [
        next((t for t, (a, b) in enumerate(score.T) if a > b), None)
        for score in (std, std * (1 - means))
    ]


def nan_for_never(prob, window):
    return tuple(np.nan if t is None else t for t in with_loops(prob, window))


def of_argmax(prob, window):
    p = np.lib.stride_tricks.sliding_window_view(prob, window, axis=1)
    s, m = p.std(2, ddof=1), p.mean(2)
    dual = s * (1 - m)
    return np.argmax(s[0] > s[1]), np.argmax(dual[0] > dual[1])


def exchanged(prob, window):
    t_v, t_vm = with_windows(prob, window)
    return t_vm, t_v


def last_step(prob, window):
    times = [None, None]
    for end in range(window - 1, prob.shape[1]):
        p = prob[:, end - window + 1 : end + 1]
        s = p.std(1, ddof=1)
        for k, score in enumerate((s, s * (1 - p.mean(1)))):
            if times[k] is None and score[0] > score[1]:
                times[k] = end
    return tuple(times)


def one_window_short(prob, window):
    return with_windows(prob[:, :-1], window)


def at_least(prob, window):
    times = [None, None]
    for t in range(prob.shape[1] - window + 1):
        p = prob[:, t : t + window]
        s = p.std(1, ddof=1)
        for k, score in enumerate((s, s * (1 - p.mean(1)))):
            if times[k] is None and score[0] >= score[1]:
                times[k] = t
    return tuple(times)


def the_mean_itself(prob, window):
    p = np.lib.stride_tricks.sliding_window_view(prob, window, axis=1)
    times = []
    for score in (p.std(2), p.std(2) * p.mean(2)):
        ahead = [t for t in range(score.shape[1]) if score[0, t] > score[1, t]]
        times.append(ahead[0] if ahead else None)
    return tuple(times)


def only_t_v(prob, window):
    return with_windows(prob, window)[0] or 0


def with_products(x1, x2):
    a, b, c = x1 @ x1, x1 @ x2, x2 @ x2
    return (a + b) / (b + c), (c - b) / (a - b) if b < a else np.inf


def with_sums(x1, x2):
    a, c = np.sum(x1**2), np.sum(x2**2)
    b = sum(p * q for p, q in zip(x1.tolist(), x2.tolist()))
    if b >= a:
        return [(a + b) / (b + c), math.inf]
    return [(a + b) / (b + c), (c - b) / (a - b)]


def norms(x1, x2):
    a, b, c = np.linalg.norm(x1), np.dot(x1, x2), np.linalg.norm(x2)
    limit = (c - b) / (a - b) if b < a else float("inf")
    return (a + b) / (b + c), limit


def upside_down(x1, x2):
    a, b, c = x2 @ x2, x1 @ x2, x1 @ x1
    return (a + b) / (b + c), (c - b) / (a - b) if b < a else np.inf


def one_case(x1, x2):
    a, b, c = x1 @ x1, x1 @ x2, x2 @ x2
    with np.errstate(divide="ignore"):
        return (a + b) / (b + c), (c - b) / (a - b)


def always_infinite(x1, x2):
    return (x1 @ x1 + x1 @ x2) / (x1 @ x2 + x2 @ x2), np.inf


def no_cross_terms(x1, x2):
    a, b, c = x1 @ x1, x1 @ x2, x2 @ x2
    return a / c, np.inf if b >= a else (c - b) / (a - b)


def elementwise(x1, x2):
    a, b, c = x1 * x1, x1 * x2, x2 * x2
    return (a + b) / (b + c), np.where(b < a, 1.0, np.inf)


ANSWERS = {
    "descent_step": (
        [in_one_line, point_by_point],
        {
            pulls_with_p: "pulls with p",
            uphill: "goes uphill",
            mean_of_losses: "The mean of the pulls",
            one_after_the_other: "one after the other",
            only_the_change: "the change alone",
            in_place: "changes its input `w` in place",
            summed_over_the_wrong_axis: "2 of 2 numbers differ",
        },
    ),
    "turning_times": (
        [with_windows, with_loops, other_divisor],
        {
            of_argmax: "`np.argmax` gives 0",
            exchanged: "changed places",
            last_step: "by their last step",
            one_window_short: "One window is missing",
            at_least: "Equal is not ahead",
            the_mean_itself: "The mean itself",
            only_t_v: "should be 2 values",
            nan_for_never: "`np.nan` itself",
        },
    ),
    "ratio_limits": (
        [with_products, with_sums],
        {
            norms: "The norms themselves",
            upside_down: "changed places",
            one_case: "never negative",
            always_infinite: "always infinite",
            no_cross_terms: "moves the other too",
            elementwise: "a single number",
        },
    ),
}
