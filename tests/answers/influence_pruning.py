"""Answers to the exercises of lesson 06 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import numpy as np


def solved(p, label, h, g_mean, H, n):
    error = p.copy()
    error[label] -= 1
    g = np.outer(error, np.append(h, 1)) - g_mean
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def with_loops(p, label, h, g_mean, H, n):
    h = [*h, 1.0]
    g = np.zeros(len(p) * len(h))
    for c in range(len(p)):
        for j in range(len(h)):
            g[c * len(h) + j] = (p[c] - (c == label)) * h[j] - g_mean[c, j]
    return (np.linalg.inv(H) @ g / n).reshape(len(p), len(h))


def koh_and_liang(p, label, h, g_mean, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.append(h, 1))
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def mean_added(p, label, h, g_mean, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.append(h, 1)) + g_mean
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def all_backwards(p, label, h, g_mean, H, n):
    return (
        np.linalg.solve(
            H, g_mean.ravel() - np.outer(p - np.eye(len(p))[label], np.append(h, 1)).ravel()
        ).reshape(len(p), -1)
        / n
    )


def error_backwards(p, label, h, g_mean, H, n):
    onehot = np.eye(len(p))[label]
    g = np.outer(onehot - p, np.append(h, 1)) - g_mean
    return np.linalg.solve(H, g.ravel()).reshape(len(p), -1) / n


def of_the_sum_of_losses(p, label, h, g_mean, H, n):
    return n * solved(p, label, h, g_mean, H, n)


def no_label(p, label, h, g_mean, H, n):
    g = np.outer(p, np.append(h, 1)) - g_mean
    return np.linalg.solve(H, g.flatten()).reshape(g.shape) / n


def times_hessian(p, label, h, g_mean, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.append(h, 1)) - g_mean
    return (H @ g.ravel()).reshape(g.shape) / n


def no_hessian(p, label, h, g_mean, H, n):
    return (np.outer(p - np.eye(len(p))[label], np.append(h, 1)) - g_mean) / n


def bias_first(p, label, h, g_mean, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.concatenate([[1], h])) - g_mean
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def features_outside(p, label, h, g_mean, H, n):
    g = np.kron(np.append(h, 1), p - np.eye(len(p))[label]) - g_mean.T.ravel()
    return np.linalg.solve(H, g).reshape(len(h) + 1, len(p)).T / n


def as_the_library_orders_it(p, label, h, g_mean, H, n):
    S = solved(p, label, h, g_mean, H, n)
    return np.concatenate([S[:, :-1].ravel(), S[:, -1]])


def as_one_row(p, label, h, g_mean, H, n):
    return solved(p, label, h, g_mean, H, n).ravel()


def no_bias(p, label, h, g_mean, H, n):
    g = np.outer(p - np.eye(len(p))[label], h)
    return np.linalg.solve(H, g.ravel() - g_mean).reshape(g.shape) / n


def error_in_place(p, label, h, g_mean, H, n):
    p[label] -= 1
    g = np.outer(p, np.append(h, 1)) - g_mean
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def mean_in_place(p, label, h, g_mean, H, n):
    g_mean *= -1
    g_mean += np.outer(p - np.eye(len(p))[label], np.append(h, 1))
    return np.linalg.solve(H, g_mean.ravel()).reshape(g_mean.shape) / n


def without_root(S, u, a, b):
    return sum((u - S[a] + S[b]) ** 2) - sum(u**2)


def as_the_formula_stands(S, u, a, b):
    return S[a] @ S[a] + S[b] @ S[b] - 2 * S[a] @ S[b] + 2 * u @ (S[b] - S[a])


def gain(S, u, a, b):
    return np.linalg.norm(u) ** 2 - np.linalg.norm(u - S[a] + S[b]) ** 2


def a_joins(S, u, a, b):
    return np.sum((u + S[a] - S[b]) ** 2) - np.sum(u**2)


def new_length_squared(S, u, a, b):
    return np.linalg.norm(u - S[a] + S[b]) ** 2


def of_lengths(S, u, a, b):
    return np.linalg.norm(u - S[a] + S[b]) - np.linalg.norm(u)


def no_cross_term(S, u, a, b):
    return np.dot(S[a], S[a]) + np.dot(S[b], S[b]) + 2 * np.dot(u, S[b] - S[a])


def once_instead_of_twice(S, u, a, b):
    step = S[b] - S[a]
    return u @ step + step @ step


def half_of_the_formula(S, u, a, b):
    return S[a] @ S[a] + S[b] @ S[b] - S[a] @ S[b] + 2 * u @ (S[b] - S[a])


def one_number_a_coordinate(S, u, a, b):
    return (u - S[a] + S[b]) ** 2 - u**2


def moves_the_sum(S, u, a, b):
    before = u @ u
    u -= S[a]
    u += S[b]
    return u @ u - before


def bounds(S, pruned, test_gradient, of):
    n, m = len(S), len(pruned)
    shift = np.linalg.norm(S[pruned].sum(axis=0)) * (n / (n - m) if of == "mean" else 1)
    return shift, shift * (n - m if of == "mean" else n), shift * np.linalg.norm(test_gradient)


def from_theorem_1(S, pruned, test_gradient, of):
    n, u = len(S), np.zeros(S.shape[1])
    for i in pruned:
        u = u - n * S[i]  # I_param
    epsilon, over = (u @ u) ** 0.5, {"mean": n - len(pruned), "sum": n}[of]
    return epsilon / over, epsilon, epsilon / over * (test_gradient @ test_gradient) ** 0.5


def from_the_length(length, S, pruned, test_gradient, of):
    n = len(S)
    over = n - len(pruned) if of == "mean" else n
    return n / over * length, n * length, n / over * length * np.linalg.norm(test_gradient)


def lengths_added(S, pruned, test_gradient, of):
    return from_the_length(sum(np.linalg.norm(S[i]) for i in pruned), S, pruned, test_gradient, of)


def mean_of_the_pruned(S, pruned, test_gradient, of):
    return from_the_length(np.linalg.norm(S[pruned].mean(0)), S, pruned, test_gradient, of)


def axis_forgotten(S, pruned, test_gradient, of):
    return from_the_length(np.linalg.norm(S[pruned].sum()), S, pruned, test_gradient, of)


def of_the_kept(S, pruned, test_gradient, of):
    kept = np.ones(len(S), bool)
    kept[pruned] = False
    return from_the_length(np.linalg.norm(S[kept].sum(0)), S, pruned, test_gradient, of)


def never_a_factor(S, pruned, test_gradient, of):
    shift = np.linalg.norm(S[pruned].sum(axis=0))
    return shift, len(S) * shift, shift * np.linalg.norm(test_gradient)


def always_a_factor(S, pruned, test_gradient, of):
    return bounds(S, pruned, test_gradient, "mean")


def names_swapped(S, pruned, test_gradient, of):
    return bounds(S, pruned, test_gradient, {"mean": "sum", "sum": "mean"}[of])


def upside_down(S, pruned, test_gradient, of):
    n, total = len(S), np.linalg.norm(S[pruned].sum(0))
    shift = total * (n - len(pruned)) / n if of == "mean" else total
    return shift, n * total, shift * np.linalg.norm(test_gradient)


def over_the_pruned(S, pruned, test_gradient, of):
    n, total = len(S), np.linalg.norm(S[pruned].sum(0))
    shift = n / len(pruned) * total if of == "mean" else total
    return shift, n * total, shift * np.linalg.norm(test_gradient)


def n_times_the_shift(S, pruned, test_gradient, of):
    shift, _, limit = bounds(S, pruned, test_gradient, of)
    return shift, len(S) * shift, limit


def one_epsilon(S, pruned, test_gradient, of):
    shift, _, limit = bounds(S, pruned, test_gradient, of)
    return shift, shift, limit


def sum_of_S_again(S, pruned, test_gradient, of):
    shift, influence, limit = bounds(S, pruned, test_gradient, of)
    return shift, influence / len(S), limit


def count_of_the_pruned(S, pruned, test_gradient, of):
    shift, influence, limit = bounds(S, pruned, test_gradient, of)
    return shift, influence / len(S) * len(pruned), limit


def n_twice(S, pruned, test_gradient, of):
    shift, influence, _ = bounds(S, pruned, test_gradient, of)
    return shift, influence, shift / len(S) * np.linalg.norm(test_gradient)


def theorem_1_over_n(S, pruned, test_gradient, of):
    shift, influence, _ = bounds(S, pruned, test_gradient, of)
    return shift, influence, influence / len(S) * np.linalg.norm(test_gradient)


def prediction(S, pruned, test_gradient, of):
    total = S[pruned].sum(axis=0)
    total = total * (len(S) / (len(S) - len(pruned)) if of == "mean" else 1)
    return *bounds(S, pruned, test_gradient, of)[:2], test_gradient @ total


def only_the_bound(S, pruned, test_gradient, of):
    return bounds(S, pruned, test_gradient, of)[2]


def gradient_squared(S, pruned, test_gradient, of):
    shift, influence, _ = bounds(S, pruned, test_gradient, of)
    return shift, influence, shift * (test_gradient @ test_gradient)


ANSWERS = {
    "influence_of_one": (
        [solved, with_loops],
        {
            koh_and_liang: "ḡ is missing",
            mean_added: "ḡ is added",
            all_backwards: "is ADDED",
            error_backwards: "other sign",
            of_the_sum_of_losses: "The 1/n is missing",
            no_label: "label is not read",
            times_hessian: "H is multiplied",
            no_hessian: "how hard the sample pulls",
            bias_first: "before the features",
            features_outside: "features first",
            as_one_row: "in one row",
            as_the_library_orders_it: "has shape (6,); expected was (2, 3)",
            no_bias: "stopped with",
            error_in_place: "changes its input `p` in place",
            mean_in_place: "changes its input `g_mean` in place",
        },
    ),
    "swap_change": (
        [without_root, as_the_formula_stands],
        {
            gain: "old minus new",
            a_joins: "change roles",
            new_length_squared: "new squared length",
            of_lengths: "SQUARE",
            no_cross_term: "product of the two that swap",
            once_instead_of_twice: "A 2 is missing",
            half_of_the_formula: "tried with",
            one_number_a_coordinate: "has shape (3,)",
            moves_the_sum: "changes its input `u` in place",
        },
    ),
    "two_epsilons": (
        [bounds, from_theorem_1],
        {
            lengths_added: "lengths are added",
            mean_of_the_pruned: "mean of the pruned",
            axis_forgotten: "axis=0",
            of_the_kept: "those that stay",
            never_a_factor: 'is missing of="mean"',
            always_a_factor: 'is there of="sum" too',
            names_swapped: "changed places",
            upside_down: "upside down",
            over_the_pruned: "has m below",
            n_times_the_shift: "in it as well",
            one_epsilon: "one number here",
            sum_of_S_again: "The second is |sum of S|",
            count_of_the_pruned: "m times |sum of S|",
            n_twice: "the 1/n twice",
            theorem_1_over_n: "by n for both",
            prediction: "with a sign",
            only_the_bound: "should be 3 values",
            gradient_squared: "Value 3 of the result",
        },
    ),
}
