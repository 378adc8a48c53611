"""Answers to the exercises of lesson 07 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import numpy as np
import torch

import dpkit


def product_of_lengths(probs, features, labels):
    error = probs.copy()
    error[np.arange(len(labels)), labels] -= 1
    return np.linalg.norm(error, axis=1) * np.sqrt(1 + (features**2).sum(axis=1))


def all_gradients(probs, features, labels):
    lengths = []
    for p, h, y in zip(probs, features, labels):
        gradient = [[(p[c] - (c == y)) * x for x in [*h, 1]] for c in range(len(p))]
        lengths.append(sum(value**2 for row in gradient for value in row) ** 0.5)
    return np.array(lengths)


def grand_of_the_library(probs, features, labels):
    return dpkit.grand(dpkit.Snapshot(probs[None], features, labels)).values


def without_bias(probs, features, labels):
    error = probs - np.eye(probs.shape[1])[labels]
    return np.linalg.norm(error, axis=1) * np.linalg.norm(features, axis=1)


def error_only(probs, features, labels):
    return np.linalg.norm(probs - np.eye(probs.shape[1])[labels], axis=1)


def p_for_error(probs, features, labels):
    return (probs**2).sum(1) ** 0.5 * (1 + (features**2).sum(1)) ** 0.5


def roots_forgotten(probs, features, labels):
    error = probs - np.eye(probs.shape[1])[labels]
    return (error**2).sum(1) * ((features**2).sum(1) + 1)


def all_in_one(probs, features, labels):
    error = probs - np.eye(probs.shape[1])[labels]
    return np.linalg.norm(error) * np.linalg.norm(
        np.hstack([features, np.ones((len(features), 1))])
    )


def of_the_mean_loss(probs, features, labels):
    error, inputs = (
        probs - np.eye(probs.shape[1])[labels],
        np.hstack([features, np.ones((len(features), 1))]),
    )
    return np.linalg.norm(np.einsum("nc,nd->ncd", error, inputs) / len(labels), axis=(1, 2))


def label_in_place(probs, features, labels):
    probs[np.arange(len(labels)), labels] -= 1
    return np.linalg.norm(probs, axis=1) * np.sqrt(1 + (features**2).sum(axis=1))


def as_a_list(probs, features, labels):
    return list(product_of_lengths(probs, features, labels))


def label_as_column(probs, features, labels):
    error = probs.copy()
    error[:, labels] -= 1  # every label's column, for every row
    return np.linalg.norm(error, axis=1) * np.sqrt(1 + (features**2).sum(axis=1))


def window_by_window(moves, window):
    scores, last = np.zeros(len(moves)), moves.shape[1] + 1 - window
    for k in range(last + 1):
        inside = moves[:, k : k + window - 1]
        deviation = np.sqrt(np.sum((inside - inside.mean(axis=1, keepdims=True)) ** 2, axis=1))
        scores += 0.9 * 0.1 ** (last - k) * deviation
    return scores


def std_times_root(moves, window):
    inside = torch.from_numpy(moves).unfold(1, window - 1, 1)
    deviations = inside.std(2, correction=0) * (window - 1) ** 0.5
    return deviations @ (
        0.9 * 0.1 ** torch.arange(deviations.shape[1] - 1, -1, -1, dtype=torch.float64)
    )


def tdds_of_the_library(moves, window):
    half = np.full((len(moves), moves.shape[1] + 1), 0.5)
    record = dpkit.TrainingDynamics(
        half, half, half > 0, np.zeros(len(moves), int), divergence=moves
    )
    return dpkit.tdds(record, window=window).values


def first_window_heaviest(moves, window):
    scores = np.zeros(len(moves))
    for k in range(moves.shape[1] - window + 2):
        inside = moves[:, k : k + window - 1]
        scores += 0.9 * 0.1**k * np.sqrt(((inside - inside.mean(1)[:, None]) ** 2).sum(1))
    return scores


def j_moves(moves, window):
    scores, count = np.zeros(len(moves)), moves.shape[1] - window + 1
    for k in range(count):
        inside = moves[:, k : k + window]
        scores += (
            0.9 * 0.1 ** (count - 1 - k) * np.sqrt(((inside - inside.mean(1)[:, None]) ** 2).sum(1))
        )
    return scores


def numpy_std(moves, window):
    last = moves.shape[1] - window + 1
    return sum(
        0.9 * 0.1 ** (last - k) * moves[:, k : k + window - 1].std(axis=1) for k in range(last + 1)
    )


def sample_std(moves, window):
    last = moves.shape[1] - window + 1
    return sum(
        0.9 * 0.1 ** (last - k) * moves[:, k : k + window - 1].std(axis=1, ddof=1)
        for k in range(last + 1)
    )


def mean_of_windows(moves, window):
    view = np.lib.stride_tricks.sliding_window_view(moves, window - 1, axis=1)
    return np.sqrt(((view - view.mean(2, keepdims=True)) ** 2).sum(2)).mean(1)


def no_decay_in_front(moves, window):
    return window_by_window(moves, window) / 0.9


def one_window_short(moves, window):
    scores, last = np.zeros(len(moves)), moves.shape[1] + 1 - window
    for k in range(last):
        inside = moves[:, k : k + window - 1]
        scores += (
            0.9 * 0.1 ** (last - 1 - k) * np.sqrt(((inside - inside.mean(1)[:, None]) ** 2).sum(1))
        )
    return scores


def around_the_last_move(moves, window):
    scores, last = np.zeros(len(moves)), moves.shape[1] + 1 - window
    for k in range(last + 1):
        inside = moves[:, k : k + window - 1]
        scores += 0.9 * 0.1 ** (last - k) * np.sqrt(((inside - inside[:, -1:]) ** 2).sum(1))
    return scores


def one_score_a_window(moves, window):
    view = np.lib.stride_tricks.sliding_window_view(moves, window - 1, axis=1)
    deviations = np.sqrt(((view - view.mean(2, keepdims=True)) ** 2).sum(2))
    return 0.9 * 0.1 ** np.arange(deviations.shape[1])[::-1] * deviations


def others_masked(logits, labels):
    n, epochs, classes = logits.shape
    other = logits.copy()
    rows = np.arange(n)
    other[rows, :, labels] = -np.inf
    return -(logits[rows, :, labels] - other.max(axis=2)).mean(axis=1)


def margin_by_margin(logits, labels):
    scores = []
    for epochs, y in zip(logits, labels):
        margins = [z[y] - max(value for c, value in enumerate(z) if c != y) for z in epochs]
        scores.append(-sum(margins) / len(margins))
    return np.array(scores)


def struck_out_with_nought(logits, labels):
    other, rows = logits.copy(), np.arange(len(labels))
    other[rows, :, labels] = 0
    return (other.max(axis=2) - logits[rows, :, labels]).mean(axis=1)


def high_end(logits, labels):
    return -others_masked(logits, labels)


def final_margin(logits, labels):
    z = logits[:, -1]
    own = z[np.arange(len(z)), labels]
    return np.where(np.eye(z.shape[1], dtype=bool)[labels], -np.inf, z).max(1) - own


def largest_of_all(logits, labels):
    own = logits[np.arange(len(labels)), :, labels]
    return -(own - logits.max(axis=2)).mean(axis=1)


def first_minus_second(logits, labels):
    top = np.sort(logits, axis=2)[:, :, ::-1]
    return -(top[..., 0] - top[..., 1]).mean(1)


def second_for_other(logits, labels):
    top = np.sort(logits, axis=2)
    own = np.stack([logits[i, :, y] for i, y in enumerate(labels)])
    return -(own - top[..., -2]).mean(1)


def of_probabilities(logits, labels):
    return others_masked(torch.softmax(torch.from_numpy(logits), 2).numpy(), labels)


def total(logits, labels):
    return others_masked(logits, labels) * logits.shape[1]


def masks_its_input(logits, labels):
    own = logits[np.arange(len(labels)), :, labels].copy()
    logits[np.arange(len(labels)), :, labels] = -np.inf
    return -(own - logits.max(2)).mean(1)


def over_the_samples(logits, labels):
    other = logits.copy()
    rows = np.arange(len(labels))
    other[rows, :, labels] = -np.inf
    return -(logits[rows, :, labels] - other.max(axis=2)).mean(axis=0)


def halved(logits, labels):
    return others_masked(logits, labels) / 2


ANSWERS = {
    "grand": (
        [product_of_lengths, all_gradients, grand_of_the_library],
        {
            without_bias: "bias is forgotten",
            error_only: "EL2N",
            p_for_error: "label is not read",
            roots_forgotten: "the root of that",
            all_in_one: "axis=1",
            of_the_mean_loss: "Divided by n",
            label_in_place: "changes its input `probs` in place",
            as_a_list: "np.array(...)",
            label_as_column: "tried with",
        },
    ),
    "tdds": (
        [window_by_window, std_times_root, tdds_of_the_library],
        {
            first_window_heaviest: "wrong way",
            j_moves: "one move too many",
            numpy_std: "mean under the root",
            sample_std: "J - 2",
            mean_of_windows: "count alike",
            no_decay_in_front: "has weight 1",
            one_window_short: "last window is missing",
            around_the_last_move: "numbers differ",
            one_score_a_window: "has shape (3, 6)",
        },
    ),
    "area_under_margin": (
        [others_masked, margin_by_margin],
        {
            high_end: "LOW area",
            struck_out_with_nought: "struck out with 0",
            final_margin: "last epoch's margin",
            largest_of_all: "Leave the label out",
            first_minus_second: "does not read the label",
            second_for_other: "largest OTHER",
            of_probabilities: "margins of probabilities",
            total: "added up",
            masks_its_input: "changes its input `logits` in place",
            over_the_samples: "has shape (3,)",
            halved: "numbers differ",
        },
    ),
}
