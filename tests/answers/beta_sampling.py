"""Answers to the exercises of lesson 03 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import math

import numpy as np
from scipy.stats import beta as beta_density

import dpkit


def with_the_library(n, prune_ratio):
    return 1 - dpkit.keep_count(n, prune_ratio) / n


def by_rounding(n, prune_ratio):
    stay = round(n * (1 - prune_ratio))
    gone = n - stay
    return gone / n


def stays(n, prune_ratio):
    return round(n * (1 - prune_ratio)) / n


def cut_off(n, prune_ratio):
    keep = int(n * (1 - prune_ratio))
    return (n - keep) / n


def rounds_the_removed(n, prune_ratio):
    pruned = round(prune_ratio * n)
    return pruned / n


def no_rounding(n, prune_ratio):
    keep = n * (1 - prune_ratio)
    return (n - keep) / n


def school_rounding(n, prune_ratio):
    keep = math.floor(0.5 + (1 - prune_ratio) * n)
    return 1 - keep / n


def in_percent(n, prune_ratio):
    return 100 * (1 - round(n * (1 - prune_ratio)) / n)


def with_logarithms(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), mean_prob[np.argmax(values)], c_d)
    p = np.clip(mean_prob, 1e-6, 1 - 1e-6)
    log_weight = (alpha - 1) * np.log(p) + (beta - 1) * np.log1p(-p) + np.log(values)
    share = np.exp(log_weight - log_weight.max())
    return share / share.sum()


def with_scipy(values, mean_prob, keep, c_d):
    r = (len(values) - keep) / len(values)
    mu = mean_prob[np.argsort(values)[-1]]
    b = 15 * (1 - mu) * (1 - r**c_d)
    weights = beta_density.pdf(np.clip(mean_prob, 1e-6, 1 - 1e-6), 15 - b, b) * values
    return weights / np.sum(weights)


def image_by_image(values, mean_prob, keep, c_d):
    best = max(range(len(values)), key=lambda i: values[i])
    b = 15 * (1 - mean_prob[best]) * (1 - (1 - keep / len(values)) ** c_d)
    weights = []
    for value, p in zip(values, mean_prob):
        p = min(max(p, 1e-6), 1 - 1e-6)
        weights.append(p ** (14 - b) * (1 - p) ** (b - 1) * value)
    return np.array([w / sum(weights) for w in weights])


def kept_ratio(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(keep / len(values), mean_prob[np.argmax(values)], c_d)
    p = np.clip(mean_prob, 1e-6, 1 - 1e-6)
    w = beta_density.pdf(p, alpha, beta) * values
    return w / w.sum()


def mean_ease(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), np.mean(mean_prob), c_d)
    p = np.clip(mean_prob, 1e-6, 1 - 1e-6)
    w = beta_density.pdf(p, alpha, beta) * values
    return w / w.sum()


def exchanged(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), mean_prob[np.argmax(values)], c_d)
    p = np.clip(mean_prob, 1e-6, 1 - 1e-6)
    w = beta_density.pdf(p, beta, alpha) * values
    return w / w.sum()


def density_alone(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), mean_prob[np.argmax(values)], c_d)
    w = beta_density.pdf(np.clip(mean_prob, 1e-6, 1 - 1e-6), alpha, beta)
    return w / w.sum()


def never_divided(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), mean_prob[np.argmax(values)], c_d)
    return beta_density.pdf(np.clip(mean_prob, 1e-6, 1 - 1e-6), alpha, beta) * values


def never_clipped(values, mean_prob, keep, c_d):
    alpha, beta = dpkit.beta_parameters(1 - keep / len(values), mean_prob[np.argmax(values)], c_d)
    w = mean_prob ** (alpha - 1) * (1 - mean_prob) ** (beta - 1) * values
    return w / w.sum()


def forgets_minus_one(values, mean_prob, keep, c_d):
    mu, r = mean_prob[values.argmax()], 1 - keep / len(values)
    b = 15 * (1 - mu) * (1 - r**c_d)
    a = 15 - b
    p = np.clip(mean_prob, 1e-6, 1 - 1e-6)
    w = np.exp(a * np.log(p) + b * np.log(1 - p)) * values
    return w / w.sum()


def clips_in_place(values, mean_prob, keep, c_d):
    np.clip(mean_prob, 1e-6, 1 - 1e-6, out=mean_prob)
    return with_scipy(values, mean_prob, keep, c_d)


def gumbel(weight, uniform, keep):
    total = np.log(weight) - np.log(-np.log(uniform))
    return np.sort(np.argsort(-total)[:keep])


def by_keys(weight, uniform, keep):  # Efraimidis and Spirakis: the largest U**(1/w), the same draw
    keys = sorted((u ** (1 / w), i) for i, (w, u) in enumerate(zip(weight, uniform)))
    return np.array(sorted(i for _, i in keys[-keep:]))


def with_a_partition(weight, uniform, keep):
    total = np.log(weight) + -np.log(-np.log(uniform))
    return np.flatnonzero(total >= np.partition(total, -keep)[-keep])


def unsorted(weight, uniform, keep):
    g = -np.log(-np.log(uniform))
    return (np.log(weight) + g).argsort()[::-1][:keep]


def smallest(weight, uniform, keep):
    g = -np.log(-np.log(uniform))
    return np.sort(np.argsort(np.log(weight) + g)[:keep])


def one_logarithm(weight, uniform, keep):
    g = -np.log(uniform)
    return np.sort(np.argsort(np.log(weight) + g)[-keep:])


def plain_weights(weight, uniform, keep):
    total = weight - np.log(-np.log(uniform))
    return np.sort(np.argsort(-total)[:keep])


def no_chance(weight, uniform, keep):
    return np.sort(np.argsort(np.log(weight))[-keep:])


def mask(weight, uniform, keep):
    total = np.log(weight) - np.log(-np.log(uniform))
    return total > np.sort(total)[-keep - 1]


def from_zeros(weight, uniform, keep):
    ids = np.zeros(keep)
    ids[:] = gumbel(weight, uniform, keep)
    return ids


def list_of_ids(weight, uniform, keep):
    total = np.log(weight) - np.log(-np.log(uniform))
    return sorted(total.argsort()[-keep:].tolist())


def one_too_few(weight, uniform, keep):
    total = np.log(weight) - np.log(-np.log(uniform))
    return np.sort(np.argsort(-total)[: keep - 1])


ANSWERS = {
    "reached_ratio": (
        [with_the_library, by_rounding],
        {
            stays: "fraction that stays",
            cut_off: "cut off",
            rounds_the_removed: "removed images are rounded",
            no_rounding: "Only whole images",
            school_rounding: "to the even number",
            in_percent: "The result is 60",
        },
    ),
    "sampling_shares": (
        [with_logarithms, with_scipy, image_by_image],
        {
            kept_ratio: "fraction that stays",
            mean_ease: "mean over all images",
            exchanged: "changed places",
            density_alone: "density alone",
            never_divided: "constant included",
            never_clipped: "Clip first",
            forgets_minus_one: "exponents are α and β",
            clips_in_place: "changes its input `mean_prob` in place",
        },
    ),
    "gumbel_draw": (
        [gumbel, by_keys, with_a_partition],
        {
            unsorted: "in the order of their sums",
            smallest: "smallest sums",
            one_logarithm: "One logarithm is missing",
            plain_weights: "added to the weights",
            no_chance: "nothing is drawn",
            mask: "a mask",
            list_of_ids: "is a list of 3",
            one_too_few: "has shape (2,)",
            from_zeros: "but as floats",
        },
    ),
}
