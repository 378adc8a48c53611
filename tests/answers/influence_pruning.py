"""Answers to the exercises of lesson 06 as learners write them: right ones, and wrong ones with a word of the message."""

import numpy as np


def solved(p, label, h, H, n):
    error = p.copy()
    error[label] -= 1
    g = np.outer(error, np.append(h, 1))
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def with_loops(p, label, h, H, n):
    h = [*h, 1.0]
    g = np.zeros(len(p) * len(h))
    for c in range(len(p)):
        for j in range(len(h)):
            g[c * len(h) + j] = (p[c] - (c == label)) * h[j]
    return (np.linalg.inv(H) @ g / n).reshape(len(p), len(h))


def error_backwards(p, label, h, H, n):
    onehot = np.eye(len(p))[label]
    g = np.outer(onehot - p, np.append(h, 1))
    return np.linalg.solve(H, g.ravel()).reshape(len(p), -1) / n


def of_the_sum_of_losses(p, label, h, H, n):
    return n * solved(p, label, h, H, n)


def no_label(p, label, h, H, n):
    g = np.outer(p, np.append(h, 1))
    return np.linalg.solve(H, g.flatten()).reshape(g.shape) / n


def times_hessian(p, label, h, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.append(h, 1))
    return (H @ g.ravel()).reshape(g.shape) / n


def bias_first(p, label, h, H, n):
    g = np.outer(p - np.eye(len(p))[label], np.concatenate([[1], h]))
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def features_outside(p, label, h, H, n):
    g = np.kron(np.append(h, 1), p - np.eye(len(p))[label])
    return np.linalg.solve(H, g).reshape(len(h) + 1, len(p)).T / n


def as_the_library_orders_it(p, label, h, H, n):
    S = solved(p, label, h, H, n)
    return np.concatenate([S[:, :-1].ravel(), S[:, -1]])


def no_bias(p, label, h, H, n):
    g = np.outer(p - np.eye(len(p))[label], h)
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


def error_in_place(p, label, h, H, n):
    p[label] -= 1
    g = np.outer(p, np.append(h, 1))
    return np.linalg.solve(H, g.ravel()).reshape(g.shape) / n


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


def bounds(S, pruned, test_gradient):
    shift = np.linalg.norm(S[pruned].sum(axis=0))
    return shift, len(S) * shift, shift * np.linalg.norm(test_gradient)


def from_theorem_1(S, pruned, test_gradient):
    n, u = len(S), np.zeros(S.shape[1])
    for i in pruned:
        u = u - n * S[i]  # I_param
    epsilon = (u @ u) ** 0.5
    return epsilon / n, epsilon, epsilon / n * (test_gradient @ test_gradient) ** 0.5


def lengths_added(S, pruned, test_gradient):
    shift = sum(np.linalg.norm(S[i]) for i in pruned)
    return shift, len(S) * shift, shift * np.linalg.norm(test_gradient)


def of_the_kept(S, pruned, test_gradient):
    kept = np.ones(len(S), bool)
    kept[pruned] = False
    return bounds(S, np.flatnonzero(kept), test_gradient)


def one_epsilon(S, pruned, test_gradient):
    shift = np.linalg.norm(S[pruned].sum(0))
    return shift, shift, shift * np.linalg.norm(test_gradient)


def count_of_the_pruned(S, pruned, test_gradient):
    shift = np.linalg.norm(S[pruned].sum(0))
    return shift, len(pruned) * shift, shift * np.linalg.norm(test_gradient)


def n_twice(S, pruned, test_gradient):
    shift, influence, _ = bounds(S, pruned, test_gradient)
    return shift, influence, shift / len(S) * np.linalg.norm(test_gradient)


def prediction(S, pruned, test_gradient):
    total = S[pruned].sum(axis=0)
    return np.linalg.norm(total), len(S) * np.linalg.norm(total), test_gradient @ total


def axis_forgotten(S, pruned, test_gradient):
    shift = np.linalg.norm(S[pruned].sum())
    return shift, len(S) * shift, shift * np.linalg.norm(test_gradient)


def only_the_bound(S, pruned, test_gradient):
    return bounds(S, pruned, test_gradient)[2]


def gradient_squared(S, pruned, test_gradient):
    shift, influence, _ = bounds(S, pruned, test_gradient)
    return shift, influence, shift * (test_gradient @ test_gradient)


ANSWERS = {
    "influence_of_one": ([solved, with_loops], {
        error_backwards: "is ADDED", of_the_sum_of_losses: "The 1/n is missing", no_label: "label is not read",
        times_hessian: "H is multiplied", bias_first: "before the features", features_outside: "features first",
        as_the_library_orders_it: "has shape (6,); expected was (2, 3)", no_bias: "stopped with",
        error_in_place: "changes its input `p` in place"}),
    "swap_change": ([without_root, as_the_formula_stands], {
        gain: "old minus new", a_joins: "change roles", new_length_squared: "new squared length", of_lengths: "SQUARE",
        no_cross_term: "product of the two that swap", once_instead_of_twice: "A 2 is missing",
        half_of_the_formula: "tried with", one_number_a_coordinate: "has shape (3,)",
        moves_the_sum: "changes its input `u` in place"}),
    "two_epsilons": ([bounds, from_theorem_1], {
        lengths_added: "lengths are added", of_the_kept: "those that stay", one_epsilon: "one number here",
        count_of_the_pruned: "factor is m", n_twice: "the 1/n twice", prediction: "with a sign", axis_forgotten: "axis=0",
        only_the_bound: "should be 3 values", gradient_squared: "Value 3 of the result"}),
}
