"""Answers to the exercises of lesson 02 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import numpy as np
import torch

import dpkit


def loops(target_prob, window):
    scores = []
    for p in target_prob:
        duals = []
        for k in range(len(p) - window + 1):
            part = p[k : k + window]
            duals.append((1 - part.mean()) * part.std(ddof=1))
        scores.append(np.mean(duals))
    return np.array(scores)


def with_torch(target_prob, window):
    p = torch.from_numpy(target_prob).unfold(1, window, 1)
    return ((1 - p.mean(2)) * p.std(2)).mean(1)


def divisor(target_prob, window):
    scores = np.zeros(len(target_prob))
    for k in range(target_prob.shape[1] - window + 1):
        part = target_prob[:, k : k + window]
        scores += (1 - part.mean(axis=1)) * np.std(part, axis=1)
    return scores / (target_prob.shape[1] - window + 1)


def one_window_short(target_prob, window):
    epochs = target_prob.shape[1]
    parts = [target_prob[:, k : k + window] for k in range(epochs - window)]
    return np.mean([(1 - p.mean(1)) * p.std(1, ddof=1) for p in parts], axis=0)


def over_epochs(target_prob, window):
    total = 0
    for k in range(0, target_prob.shape[1] - window + 1, window):
        part = target_prob[:, k : k + window]
        total = total + (1 - part.mean(1)) * part.std(1, ddof=1)
    return total / (target_prob.shape[1] // window)


def whole_record(target_prob, window):
    return (1 - target_prob.mean(1)) * target_prob.std(1, ddof=1)


def easy_first(target_prob, window):
    p = np.lib.stride_tricks.sliding_window_view(target_prob, window, axis=1)
    return (p.mean(2) * p.std(2, ddof=1)).mean(1)


def in_place(target_prob, window):
    p = np.lib.stride_tricks.sliding_window_view(target_prob, window, axis=1)
    spread = p.std(2, ddof=1)
    target_prob *= -1
    target_prob += 1
    return (p.mean(2) * spread).mean(1)


def sample_by_sample_of_one(target_prob, window):
    return loops(target_prob[:1], window)


def kept(scores, ratio):
    order = np.argsort(scores.values)[::-1]
    return np.sort(order[: round((1 - ratio) * len(order))])


def by_sorting_pairs(scores, ratio):
    pairs = sorted(((value, k) for k, value in enumerate(scores.values)), reverse=True)
    return np.array(sorted(k for _, k in pairs[: round((1 - ratio) * len(pairs))]))


def lowest(scores, ratio):
    return np.sort(np.argsort(scores.values)[: round((1 - ratio) * len(scores.values))])


def kept_fraction(scores, ratio):
    return np.sort(np.argsort(-scores.values)[: round(ratio * len(scores.values))])


def in_order_of_score(scores, ratio):
    return np.argsort(-scores.values)[: round((1 - ratio) * len(scores.values))]


def pruned(scores, ratio):
    return np.sort(np.argsort(-scores.values)[round((1 - ratio) * len(scores.values)) :])


def mask(scores, ratio):
    return scores.values >= np.sort(scores.values)[round(ratio * len(scores.values))]


def cutoff(scores, ratio):
    return np.sort(scores.values)[::-1][: round((1 - ratio) * len(scores.values))]


def cut_off(scores, ratio):
    return np.sort(np.argsort(-scores.values)[: int((1 - ratio) * len(scores.values))])


def ids_with_a_point(scores, ratio):
    found = np.zeros(round((1 - ratio) * len(scores.values)))
    found[:] = kept(scores, ratio)
    return found


def of_sets(first, second, ratio):
    keep = round((1 - ratio) * len(first.values))
    a, b = (set(np.argsort(-some.values)[:keep].tolist()) for some in (first, second))
    return len(a & b) / keep


def of_masks(first, second, ratio):
    keep = dpkit.keep_count(len(first.values), ratio)
    masks = [dpkit.keep_top(some, keep, rng=0).mask() for some in (first, second)]
    return (masks[0] & masks[1]).sum() / keep


def of_the_whole_set(first, second, ratio):
    masks = [
        some.values > np.quantile(some.values, ratio, method="lower") for some in (first, second)
    ]
    return np.mean(masks[0] & masks[1])


def of_either(first, second, ratio):
    a, b = (set(most_wanted.tolist()) for most_wanted in (kept(first, ratio), kept(second, ratio)))
    return len(a & b) / len(a | b)


def counted(first, second, ratio):
    return sum(k in kept(second, ratio) for k in kept(first, ratio))


def place_by_place(first, second, ratio):
    a, b = in_order_of_score(first, ratio), in_order_of_score(second, ratio)
    return sum(x == y for x, y in zip(a, b)) / len(a)


def same_fate(first, second, ratio):
    masks = []
    for some in (first, second):
        mask = np.zeros(len(some.values), bool)
        mask[kept(some, ratio)] = True
        masks.append(mask)
    return (masks[0] == masks[1]).mean()


def kept_the_ratio(first, second, ratio):
    return len(np.intersect1d(kept_fraction(first, ratio), kept_fraction(second, ratio))) / round(
        ratio * len(first.values)
    )


def of_the_lowest(first, second, ratio):
    a, b = lowest(first, ratio), lowest(second, ratio)
    return np.isin(a, b).mean()


def of_the_pruned(first, second, ratio):
    return np.isin(pruned(first, ratio), pruned(second, ratio)).mean()


def of_the_values(first, second, ratio):
    return np.isin(cutoff(first, ratio), cutoff(second, ratio)).mean()


def which_they_share(first, second, ratio):
    return np.intersect1d(kept(first, ratio), kept(second, ratio))


def sorted_in_place(first, second, ratio):
    first.values.sort()
    second.values.sort()
    return of_sets(first, second, ratio)


ANSWERS = {
    "dual": (
        [loops, with_torch],
        {
            divisor: "divisor",
            one_window_short: "One window is missing",
            over_epochs: "side by side",
            whole_record: "whole record",
            easy_first: "direction",
            in_place: "changes its input `target_prob` in place",
            sample_by_sample_of_one: "has shape (1,)",
        },
    ),
    "most_wanted": (
        [kept, by_sorting_pairs],
        {
            lowest: "lowest",
            kept_fraction: "fraction REMOVED",
            in_order_of_score: "in the order of their scores",
            pruned: "to prune",
            mask: "a mask",
            cutoff: "These are scores",
            cut_off: "cut off",
            ids_with_a_point: "but as floats",
        },
    ),
    "overlap": (
        [of_sets, of_masks],
        {
            of_the_whole_set: "among all n",
            of_either: "that either keeps",
            counted: "a count",
            place_by_place: "place by place",
            same_fate: "both throw away",
            kept_the_ratio: "fraction REMOVED",
            of_the_lowest: "lowest scores",
            of_the_pruned: "two pruned parts",
            of_the_values: "scores themselves",
            which_they_share: "has shape (4,)",
            sorted_in_place: "in place",
        },
    ),
}
