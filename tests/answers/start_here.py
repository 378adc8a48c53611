"""Answers to the exercises of lesson 00 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import math

import numpy as np


def stay(n, ratio):
    return round(n * (1 - ratio))


def what_is_left(n, ratio):
    gone = n * ratio
    return int(np.rint(n - gone))


def gone(n, ratio):
    return round(ratio * n)


def down(n, ratio):
    return int(n * (1 - ratio))


def up(n, ratio):
    return n - int(ratio * n)


def not_rounded(n, ratio):
    return n - n * ratio


def rounded_too_early(n, ratio):
    return round(1 - ratio) * n


def as_a_count(n, ratio):
    return round(n - ratio)


def as_a_percentage(n, ratio):
    return round(n * (100 - ratio) / 100)


def one_for_luck(n, ratio):
    return round(n * (1 - ratio)) + 1


def in_arrays(target_prob):
    return np.std(target_prob, axis=1, ddof=1), np.mean(target_prob, axis=1)


def in_loops(target_prob):
    x, y = [], []
    for curve in target_prob:
        mean = sum(curve) / len(curve)
        x.append((sum((p - mean) ** 2 for p in curve) / (len(curve) - 1)) ** 0.5)
        y.append(mean)
    return np.array(x), np.array(y)


def with_divisor_t(target_prob):
    y = target_prob.mean(axis=1)
    return np.sqrt(((target_prob - y[:, None]) ** 2).mean(axis=1)), y


def exchanged(target_prob):
    x, y = in_loops(target_prob)
    return y, x


def no_root(target_prob):
    x, y = [], []
    for curve in target_prob:
        y.append(curve.mean())
        x.append(((curve - y[-1]) ** 2).sum() / (len(curve) - 1))
    return np.array(x), np.array(y)


def per_epoch(target_prob):
    return in_arrays(target_prob.T)


def one_dot(target_prob):
    return np.std(target_prob, ddof=1), np.mean(target_prob)


def upside_down(target_prob):
    return np.std(target_prob, axis=1, ddof=1), np.mean(1 - target_prob, axis=1)


def highest_minus_lowest(target_prob):
    return target_prob.max(axis=1) - target_prob.min(axis=1), target_prob.mean(axis=1)


def at_the_end(target_prob):
    return target_prob.std(axis=1, ddof=1), target_prob.T[-1]


def one_array(target_prob):
    return np.stack(in_arrays(target_prob), axis=1)


def in_lists(target_prob):
    x, y = in_loops(target_prob)
    return list(x), list(y)


def centred_in_place(target_prob):
    y = target_prob.mean(axis=1)
    target_prob -= y[:, None]
    return np.sqrt((target_prob**2).sum(axis=1) / (target_prob.shape[1] - 1)), y


def the_middle(target_prob):
    return target_prob.std(axis=1, ddof=1), np.median(target_prob, axis=1)


def subtracted(accuracy, baseline):
    gaps = accuracy - baseline
    return gaps.mean(), gaps.std(ddof=1)


def seed_by_seed(accuracy, baseline):
    gaps = [a - b for a, b in zip(accuracy, baseline)]
    mean = sum(gaps) / len(gaps)
    return mean, math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1))


def the_other_way_round(accuracy, baseline):
    return subtracted(baseline, accuracy)


def two_spreads_added(accuracy, baseline):
    return accuracy.mean() - baseline.mean(), math.sqrt(accuracy.var(ddof=1) + baseline.var(ddof=1))


def two_spreads_subtracted(accuracy, baseline):
    return accuracy.mean() - baseline.mean(), accuracy.std(ddof=1) - baseline.std(ddof=1)


def only_its_own_spread(accuracy, baseline):
    return np.mean(accuracy) - np.mean(baseline), np.std(accuracy, ddof=1)


def with_all_seeds_in_the_divisor(accuracy, baseline):
    gaps = accuracy - baseline
    return np.mean(gaps), np.std(gaps)


def squared(accuracy, baseline):
    mean, spread = seed_by_seed(accuracy, baseline)
    return mean, spread * spread


def of_the_mean(accuracy, baseline):
    mean, spread = seed_by_seed(accuracy, baseline)
    return mean, spread / math.sqrt(len(accuracy))


def how_far(accuracy, baseline):
    return sum(abs(a - b) for a, b in zip(accuracy, baseline)) / len(accuracy), (
        accuracy - baseline
    ).std(ddof=1)


def best_with_best(accuracy, baseline):
    return seed_by_seed(sorted(accuracy), sorted(baseline))


def relative(accuracy, baseline):
    gain = (accuracy / baseline - 1) * 100
    return gain.mean(), gain.std(ddof=1)


def mean_only(accuracy, baseline):
    return (accuracy - baseline).mean()


def all_the_gaps(accuracy, baseline):
    gaps = accuracy - baseline
    return gaps, gaps.std(ddof=1)


def in_fractions(accuracy, baseline):
    return subtracted(accuracy / 100, baseline / 100)


ANSWERS = {
    "how_many_stay": (
        [stay, what_is_left],
        {
            gone: "how many go",
            down: "cut off",
            up: "Rounded up",
            not_rounded: "Nobody can keep",
            as_a_count: "taken away",
            rounded_too_early: "fraction itself is rounded",
            as_a_percentage: "no percentage",
            one_for_luck: "expected was 65",
        },
    ),
    "moon_place": (
        [in_arrays, in_loops],
        {
            with_divisor_t: "divisor",
            exchanged: "exchanged",
            no_root: "variance",
            per_epoch: "per epoch",
            one_dot: "one place for all",
            upside_down: "upside down",
            highest_minus_lowest: "lowest to highest",
            at_the_end: "last epoch",
            one_array: "should be 2 values",
            in_lists: "np.array(...)",
            centred_in_place: "changes its input `target_prob` in place",
            the_middle: "Value 2 of the result: 3 of 3",
        },
    ),
    "paired_difference": (
        [subtracted, seed_by_seed],
        {
            the_other_way_round: "sign is reversed",
            two_spreads_added: "added as if",
            two_spreads_subtracted: "difference of the spreads",
            only_its_own_spread: "accuracy alone",
            with_all_seeds_in_the_divisor: "divisor",
            squared: "variance",
            of_the_mean: "uncertainty of the mean",
            how_far: "sign is gone",
            best_with_best: "sorted first",
            relative: "in percent of the baseline",
            mean_only: "should be 2 values",
            all_the_gaps: "Value 1 of the result has shape (3,)",
            in_fractions: "Value 1 of the result is 0.053; expected",
        },
    ),
}
