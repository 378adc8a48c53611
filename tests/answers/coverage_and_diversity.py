"""Answers to the exercises of lesson 08 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from dpkit import Scores, selectors


def smallest_first(counts, keep):
    budget = np.zeros(len(counts), int)
    left = len(counts)
    for k in np.argsort(counts):
        budget[k] = min(counts[k], (keep - budget.sum()) // left)
        left -= 1
    return budget


def with_a_sorted_list(counts, keep):
    budget = {}
    waiting = sorted(range(len(counts)), key=lambda k: counts[k])
    while waiting:
        share, k = keep // len(waiting), waiting.pop(0)
        budget[k] = min(int(counts[k]), share)
        keep -= budget[k]
    return np.array([budget[k] for k in range(len(counts))])


def budgets_of_the_library(counts, keep):
    stratum = np.repeat(np.arange(len(counts)), counts)
    drawn = selectors.keep_ccs(
        Scores(stratum.astype(float), "stratum"), keep, cutoff=0, strata=len(counts), rng=0
    )
    return np.bincount(stratum[drawn.kept], minlength=len(counts))


def in_sorted_order(counts, keep):
    budget = []
    counts = np.sort(counts)
    for filled, size in enumerate(counts):
        budget.append(min(size, (keep - sum(budget)) // (len(counts) - filled)))
    return np.array(budget)


def once(counts, keep):
    share = keep // len(counts)
    return np.array([min(share, size) for size in counts])


def as_they_stand(counts, keep):
    budget = np.zeros(len(counts), int)
    for k, size in enumerate(counts):
        budget[k] = min(size, (keep - budget.sum()) // (len(counts) - k))
    return budget


def largest_first(counts, keep):
    budget = np.zeros(len(counts), int)
    for filled, k in enumerate(np.argsort(counts)[::-1]):
        budget[k] = min(counts[k], (keep - budget.sum()) // (len(counts) - filled))
    return budget


def like_a_random_draw(counts, keep):
    return np.round(counts / counts.sum() * keep).astype(int)


def keep_stays(counts, keep):
    budget = np.zeros(len(counts), int)
    for filled, k in enumerate(np.argsort(counts)):
        budget[k] = min(counts[k], keep // (len(counts) - filled))
    return budget


def empties_the_counts(counts, keep):
    budget = np.zeros(len(counts), int)
    for _ in range(keep):
        k = np.argmax(np.where(counts > 0, -budget, -(10**9)))
        counts[k] -= 1
        budget[k] += 1
    return budget


def only_a_list(counts, keep):
    return smallest_first(counts, keep).tolist()


def one_too_many(counts, keep):
    return np.minimum(smallest_first(counts, keep) + 1, counts)


def either_is_near(features, k):
    d = np.linalg.norm(features[:, None] - features, axis=2)
    np.fill_diagonal(d, np.inf)
    near = np.zeros(d.shape, bool)
    np.put_along_axis(near, d.argsort(axis=1)[:, :k], True, axis=1)
    return near | near.T


def with_a_tree(features, k):
    joined = np.zeros((len(features), len(features)), bool)
    for i, ids in enumerate(KDTree(features).query(features, k + 1)[1]):
        for j in ids[1:]:  # the first is the sample itself
            joined[i, j] = joined[j, i] = True
    return joined


def one_by_one(features, k):
    joined = np.zeros((len(features), len(features)), bool)
    for i, x in enumerate(features):
        d = np.sqrt(((features - x) ** 2).sum(1))
        d[i] = np.inf
        joined[i, np.argsort(d)[:k]] = True
    return joined


def each_other(features, k):
    near = one_by_one(features, k)
    return near & near.T


def added(features, k):
    near = one_by_one(features, k).astype(int)
    return near + near.T


def with_the_diagonal(features, k):
    near = np.zeros((len(features), len(features)), bool)
    for i, x in enumerate(features):
        near[i, np.argsort(np.linalg.norm(features - x, axis=1))[:k]] = True
    return near | near.T


def k_plus_one(features, k):
    near = np.zeros((len(features), len(features)), bool)
    for i, x in enumerate(features):
        near[i, np.argsort(np.linalg.norm(features - x, axis=1))[: k + 1]] = True
    return near | near.T


def only_ids(features, k):
    return cdist(features, features).argsort(1)[:, 1 : k + 1]


def upper_half(features, k):
    return np.triu(either_is_near(features, k))


def along_the_first_axis(features, k):
    return either_is_near(features[:, :1], k)


def by_columns(features, kept):
    return np.linalg.norm(features[:, None] - features[kept], axis=2).min(axis=1).max()


def by_a_tree(features, kept):
    return max(KDTree(features[kept]).query(x)[0] for x in features)


def average(features, kept):
    return cdist(features, features[kept]).min(axis=1).mean()


def squared(features, kept):
    return ((features[:, None] - features[kept]) ** 2).sum(2).min(1).max()


def farthest_pair(features, kept):
    return max(np.linalg.norm(x - features[k]) for x in features for k in kept)


def axes_exchanged(features, kept):
    return cdist(features, features[kept]).min(axis=0).max()


def max_then_min(features, kept):
    return cdist(features, features[kept]).max(axis=1).min()


def who_it_is(features, kept):
    return int(np.argmax(cdist(features, features[kept]).min(axis=1)))


def every_distance(features, kept):
    return cdist(features, features[kept]).min(axis=1)


def city_blocks(features, kept):
    return cdist(features, features[kept], "cityblock").min(1).max()


def of_the_kept_alone(features, kept):
    x = features[kept]
    return cdist(x, x).max()


ANSWERS = {
    "water_filling": (
        [smallest_first, with_a_sorted_list, budgets_of_the_library],
        {
            in_sorted_order: "in the order of size",
            once: "first equal share",
            as_they_stand: "as they stand",
            largest_first: "largest stratum is filled first",
            like_a_random_draw: "in proportion",
            keep_stays: "again and again",
            empties_the_counts: "changes its input `counts` in place",
            only_a_list: "is a list of 4",
            one_too_many: "numbers differ",
        },
    ),
    "neighbour_graph": (
        [either_is_near, with_a_tree],
        {
            one_by_one: "i may name j",
            each_other: "EACH OTHER",
            added: "There is a 2",
            with_the_diagonal: "their own nearest",
            k_plus_one: "diagonal should be False",
            only_ids: "ids of the k nearest",
            upper_half: "numbers differ, first [1, 0]",
            along_the_first_axis: "numbers differ",
        },
    ),
    "cover_radius": (
        [by_columns, by_a_tree],
        {
            average: "mean distance",
            squared: "a root is missing",
            farthest_pair: "farthest pair",
            axes_exchanged: "axes are exchanged",
            max_then_min: "changed places",
            who_it_is: "WHICH",
            every_distance: "distances of all samples",
            city_blocks: "added up",
            of_the_kept_alone: "expected was",
        },
    ),
}
