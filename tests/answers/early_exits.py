"""Answers to the exercises of lesson 05 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import numpy as np

import dpkit


def with_argmax(probs, threshold):
    sure = probs.max(axis=2) > threshold
    return np.where(sure.any(axis=0), sure.argmax(axis=0), len(probs) - 1)


def with_loops(probs, threshold):
    exits, n, _ = probs.shape
    where = []
    for i in range(n):
        for k in range(exits):
            if max(probs[k, i]) > threshold or k == exits - 1:
                where.append(k)
                break
    return np.array(where)


def from_the_deepest(probs, threshold):
    where = np.full(probs.shape[1], len(probs) - 1)
    for k in reversed(range(len(probs) - 1)):
        where[probs[k].max(1) > threshold] = k
    return where


def nobody_is_sure(probs, threshold):
    return np.argmax(probs.max(axis=-1) > threshold, axis=0)


def at_least(probs, threshold):
    sure = probs.max(axis=2) >= threshold
    sure[-1] = True
    return sure.argmax(axis=0)


def overwritten_by_the_deeper(probs, threshold):
    where = np.full(probs.shape[1], len(probs) - 1)
    for k in range(len(probs) - 1):
        where[probs[k].max(1) > threshold] = k
    return where


def from_one(probs, threshold):
    where = []
    for i in range(probs.shape[1]):
        number = 1
        while number < len(probs) and probs[number - 1, i].max() <= threshold:
            number += 1
        where.append(number)
    return np.array(where)


def from_zeros(probs, threshold):
    where = np.zeros(probs.shape[1])
    where[:] = with_loops(probs, threshold)
    return where


def how_many(probs, threshold):
    where = with_loops(probs, threshold)
    return np.array([np.sum(where == k) for k in range(len(probs))])


def over_samples(probs, threshold):
    sure = probs.max(axis=1) > threshold
    return np.where(sure.any(axis=0), sure.argmax(axis=0), len(probs) - 1)


def pythons_list(probs, threshold):
    return with_loops(probs, threshold).tolist()


def share(where, flops):
    return 1 - np.mean(flops[where]) / flops[-1]


def by_counting(where, flops):
    spent = 0
    for k, cost in enumerate(flops):
        spent += np.sum(where == k) * cost
    return float((len(where) * flops[-1] - spent) / (len(where) * flops[-1]))


def still_spent(where, flops):
    return sum(flops[k] for k in where) / (len(where) * flops[-1])


def added_twice(where, flops):
    costs = [flops[: k + 1].sum() for k in where]
    return 1 - np.mean(costs) / flops[-1]


def against_the_sum(where, flops):
    return 1 - np.mean(flops[where]) / np.sum(flops)


def mean_of_exits(where, flops):
    return 1 - np.mean(flops) / max(flops)


def against_the_dearest(where, flops):
    spent = flops[where]
    return 1 - spent.mean() / spent.max()


def number_of_flops(where, flops):
    return np.mean([flops[-1] - flops[k] for k in where])


def per_image(where, flops):
    return 1 - flops[where] / flops[-1]


def score(early, final, labels):
    right = (early.argmax(1) == labels) & (final.argmax(1) == labels)
    return np.where(right, 1 - early.max(1), np.inf)


def sample_by_sample(early, final, labels):
    found = np.full(len(labels), np.inf)
    for i, label in enumerate(labels):
        if np.argmax(early[i]) == label == np.argmax(final[i]):
            found[i] = 1 - early[i, label]
    return found


def confidence(early, final, labels):
    found = early.max(axis=1).copy()
    found[(early.argmax(axis=1) != labels) | (final.argmax(axis=1) != labels)] = np.inf
    return found


def only_early(early, final, labels):
    return np.where(early.argmax(1) == labels, 1 - early.max(1), np.inf)


def either(early, final, labels):
    wrong = (early.argmax(1) != labels) & (final.argmax(1) != labels)
    return np.where(wrong, np.inf, 1 - early.max(1))


def agreeing(early, final, labels):
    return np.where(early.argmax(1) == final.argmax(1), 1 - early.max(1), np.inf)


def zero_for_the_rest(early, final, labels):
    right = (early.argmax(1) == labels) * (final.argmax(1) == labels)
    return right * (1 - early.max(1))


def nan_for_the_rest(early, final, labels):
    right = (early.argmax(1) == labels) & (final.argmax(1) == labels)
    return np.where(right, 1 - early.max(1), np.nan)


def target_prob(early, final, labels):
    return 1 - early[np.arange(len(labels)), labels]


def prune(scores, prune_ratio):
    n = len(scores.values)
    gone = np.argsort(scores.values)[: n - dpkit.keep_count(n, prune_ratio)]
    return np.sort(gone[np.isfinite(scores.values[gone])])


def by_the_library(scores, prune_ratio):
    n = scores.num_samples
    finite = np.flatnonzero(scores.values < np.inf)
    count = min(len(finite), n - dpkit.keep_count(n, prune_ratio))
    return dpkit.keep_top(scores, n - count, rng=0).pruned


def one_at_a_time(scores, prune_ratio):
    left = dict(enumerate(scores.values.tolist()))
    n, gone = len(left), []
    while len(gone) < n - round(n * (1 - prune_ratio)) and min(left.values()) < float("inf"):
        gone.append(min(left, key=left.get))
        del left[gone[-1]]
    return np.array(sorted(gone))


def prunes_what_is_protected(scores, prune_ratio):
    return dpkit.keep_top(scores, dpkit.keep_count(scores.num_samples, prune_ratio), rng=0).pruned


def ids_of_the_finite(scores, prune_ratio):
    finite = scores.values[np.isfinite(scores.values)]
    return np.sort(
        np.argsort(finite)[: len(scores.values) - dpkit.keep_count(len(scores.values), prune_ratio)]
    )


def share_of_the_finite(scores, prune_ratio):
    finite = np.flatnonzero(np.isfinite(scores.values))
    count = len(finite) - dpkit.keep_count(len(finite), prune_ratio)
    return np.sort(finite[np.argsort(scores.values[finite])[:count]])


def surest_first(scores, prune_ratio):
    n = len(scores.values)
    gone = np.argsort(scores.values)[: n - dpkit.keep_count(n, prune_ratio)]
    return gone[scores.values[gone] < np.inf]


def cut_off(scores, prune_ratio):
    gone = np.argsort(scores.values)[: int(len(scores.values) * prune_ratio)]
    return np.sort(gone[np.isfinite(scores.values[gone])])


def keeps(scores, prune_ratio):
    return np.setdiff1d(np.arange(len(scores.values)), prune(scores, prune_ratio))


def selection(scores, prune_ratio):
    return dpkit.keep_top(scores, dpkit.keep_count(scores.num_samples, prune_ratio), rng=0)


ANSWERS = {
    "leaving_exit": (
        [with_argmax, with_loops, from_the_deepest],
        {
            nobody_is_sure: "leaves at 0 here",
            at_least: "It must be surer",
            overwritten_by_the_deeper: "the last of the early",
            from_one: "counted from 1",
            how_many: "how many leave at each exit",
            over_samples: "has shape (3,)",
            pythons_list: "a list of 6",
            from_zeros: "but as floats",
        },
    ),
    "flops_saved": (
        [share, by_counting],
        {
            still_spent: "still spent",
            added_twice: "added up twice",
            against_the_sum: "not the sum",
            against_the_dearest: "nobody goes all the way",
            mean_of_exits: "mean over the exits",
            number_of_flops: "a number of FLOPs",
            per_image: "a single number",
        },
    ),
    "early_exit_score": (
        [score, sample_by_sample],
        {
            confidence: "The direction",
            only_early: "second condition is missing",
            either: "`&`, not `|`",
            agreeing: "compared with each other",
            zero_for_the_rest: "score 0 here",
            nan_for_the_rest: "NaN in the result",
            target_prob: "numbers differ",
        },
    ),
    "prune_surest": (
        [prune, by_the_library, one_at_a_time],
        {
            prunes_what_is_protected: "never pruned: prune fewer",
            ids_of_the_finite: "shortened array",
            share_of_the_finite: "samples that may go",
            surest_first: "the surest first",
            keeps: "the samples to keep",
            selection: "yours is a Selection",
            cut_off: "cut off",
        },
    ),
}
