"""Answers to the exercises of lesson 01 as learners write them: right ones, and wrong ones with a
word of the message.
"""

import math

import numpy as np
import torch


def row_by_row(logits, labels):
    prob, margin, correct = [], [], []
    for z, y in zip(logits, labels):
        powers = np.exp(z - z.max())
        prob.append(powers[y] / powers.sum())
        margin.append(z[y] - np.delete(z, y).max())
        correct.append(np.argmax(z) == y)
    return np.array(prob), np.array(margin), np.array(correct)


def with_torch(logits, labels):
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)[:, None]
    own = z.gather(1, y)
    others = z.scatter(1, y, -torch.inf).amax(1, keepdim=True)
    return z.softmax(1).gather(1, y)[:, 0], (own - others)[:, 0], (own > others)[:, 0]


def sure_of_something(logits, labels):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).max(axis=1), *row_by_row(logits, labels)[1:]


def over_the_samples(logits, labels):
    powers = np.exp(logits - logits.max())
    prob = powers / powers.sum(axis=0)
    return prob[range(len(labels)), labels], *row_by_row(logits, labels)[1:]


def log_softmax(logits, labels):
    logs = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    return logs[np.arange(len(labels)), labels], *row_by_row(logits, labels)[1:]


def among_themselves(logits, labels):
    prob, _, correct = row_by_row(logits, labels)
    return prob, np.array([z[y] - max(z) for z, y in zip(logits, labels)]), correct


def rival_first(logits, labels):
    prob, margin, correct = row_by_row(logits, labels)
    return prob, 0 - margin, correct


def between_probabilities(logits, labels):
    p = torch.from_numpy(logits).softmax(1).numpy()
    prob, _, correct = row_by_row(logits, labels)
    return prob, row_by_row(p, labels)[1], correct


def first_and_second(logits, labels):
    best = np.sort(logits, axis=1)[:, ::-1]
    prob, _, correct = row_by_row(logits, labels)
    return prob, best[:, 0] - best[:, 1], correct


def struck_out_with_nought(logits, labels):
    prob, _, correct = row_by_row(logits, labels)
    others = logits.copy()
    others[np.arange(len(labels)), labels] = 0
    return prob, logits[np.arange(len(labels)), labels] - others.max(axis=1), correct


def how_far_apart(logits, labels):
    prob, margin, correct = row_by_row(logits, labels)
    return prob, np.abs(margin), correct


def to_the_mean(logits, labels):
    prob, _, correct = row_by_row(logits, labels)
    return prob, np.array([z[y] - np.delete(z, y).mean() for z, y in zip(logits, labels)]), correct


def above_one_half(logits, labels):
    prob, margin, _ = row_by_row(logits, labels)
    return prob, margin, prob >= 0.5


def prediction(logits, labels):
    prob, margin, _ = row_by_row(logits, labels)
    return prob, margin, np.argmax(logits, axis=1)


def overflowing(logits, labels):
    with np.errstate(all="ignore"):
        powers = np.exp(logits)
        prob = powers / powers.sum(axis=1, keepdims=True)
    return prob[np.arange(len(labels)), labels], *row_by_row(logits, labels)[1:]


def largest_of_the_batch_taken_off(logits, labels):
    with np.errstate(all="ignore"):
        powers = np.exp(logits - logits.max())
        prob = powers / powers.sum(axis=1, keepdims=True)
    return prob[np.arange(len(labels)), labels], *row_by_row(logits, labels)[1:]


def struck_out_in_place(logits, labels):
    at = np.arange(len(labels)), labels
    prob, _, correct = row_by_row(logits, labels)
    own = logits[at].copy()
    logits[at] = -np.inf
    return prob, own - logits.max(axis=1), correct


def every_pair(logits, labels):
    prob, margin, correct = row_by_row(logits, labels)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True))[:, labels], margin, correct


def half_a_wave(at, horizon, lr):
    return lr * (1 + np.cos(np.pi * at / horizon)) / 2


def one_by_one(at, horizon, lr):
    return np.array([lr * math.cos(math.pi * t / horizon / 2) ** 2 for t in at])


def as_long_as_it_runs(at, horizon, lr):
    return lr * (1 + np.cos(np.pi * at / at[-1])) / 2


def per_entry(at, horizon, lr):
    return np.array([lr * 0.5 * (1 + math.cos(math.pi * t / len(at))) for t in at])


def below_nothing(at, horizon, lr):
    return np.cos(at / horizon * np.pi) * lr


def twice_as_large(at, horizon, lr):
    return lr + lr * np.cos(np.pi * at / horizon)


def up_again(at, horizon, lr):
    return lr * (0.5 + 0.5 * np.cos(2 * np.pi / horizon * at))


def quarter(at, horizon, lr):
    return lr * np.cos(at / horizon * np.pi / 2)


def rising(at, horizon, lr):
    return lr - half_a_wave(at, horizon, lr)


def straight(at, horizon, lr):
    return np.interp(at, [0, horizon], [lr, 0])


def degrees(at, horizon, lr):
    return lr / 2 * (1 + np.cos(180 * at / horizon))


def no_lr(at, horizon, lr):
    return (1 + np.cos(np.pi * at / horizon)) / 2


def only_the_last(at, horizon, lr):
    for t in at:
        rate = lr * (1 + math.cos(math.pi * t / horizon)) / 2
    return rate


def a_list_of_rates(at, horizon, lr):
    return [lr * (1 + math.cos(math.pi * t / horizon)) / 2 for t in at]


def halved(at, horizon, lr):
    return half_a_wave(at, horizon, lr) / 2


def last_mistake_and_one(correct):
    found = []
    for row in correct:
        since = 1
        for t, hit in enumerate(row):
            if not hit:
                since = t + 2
        found.append(since)
    return np.array(found)


def all_right_from_here(correct):
    right_to_the_end = np.logical_and.accumulate(correct[:, ::-1], axis=1)
    return correct.shape[1] - right_to_the_end.sum(axis=1) + 1


def counted_from_nought(correct):
    return np.array(
        [max((t + 1 for t, hit in enumerate(row) if not hit), default=0) for row in correct]
    )


def first_time(correct):
    return np.argmax(correct, axis=1) + 1


def wrong_ones_counted(correct):
    return correct.shape[1] - np.sum(correct, axis=1) + 1


def never_wrong_forgotten(correct):
    backwards = np.argmax(~correct[:, ::-1], axis=1)
    return correct.shape[1] + 1 - backwards


def nought_for_the_lost(correct):
    found = last_mistake_and_one(correct)
    found[found > correct.shape[1]] = 0
    return found


def at_most_all_epochs(correct):
    return np.minimum(last_mistake_and_one(correct), correct.shape[1])


def how_long(correct):
    lengths = []
    for row in correct:
        length = 0
        while length < len(row) and row[-1 - length]:
            length += 1
        lengths.append(length)
    return np.array(lengths)


def wrong_for_good(correct):
    return last_mistake_and_one(np.logical_not(correct))


def down_the_columns(correct):
    return np.array([last_mistake_and_one(column[None])[0] for column in correct.T])


def turned_in_place(correct):
    correct ^= True
    return np.where(correct.any(1), correct.shape[1] - correct[:, ::-1].argmax(1), 0) + 1


def for_all_at_once(correct):
    return np.max(last_mistake_and_one(correct))


ANSWERS = {
    "three_numbers": (
        [row_by_row, with_torch],
        {
            sure_of_something: "largest probability",
            over_the_samples: "sums over the samples",
            log_softmax: "logarithm",
            among_themselves: "never gets above 0",
            rival_first: "wrong sign",
            between_probabilities: "between probabilities",
            first_and_second: "minus second",
            to_the_mean: "mean of the others",
            struck_out_with_nought: "struck out with 0",
            how_far_apart: "lost its sign",
            above_one_half: "threshold",
            prediction: "class that the network prefers",
            overflowing: "np.exp(1000)",
            largest_of_the_batch_taken_off: "NaN in the result, first at [2]",
            every_pair: "Value 1 of the result has shape (4, 4)",
            struck_out_in_place: "changes its input `logits` in place",
        },
    ),
    "cosine_rate": (
        [half_a_wave, one_by_one],
        {
            as_long_as_it_runs: "ends with the epochs",
            per_entry: "how many of them",
            below_nothing: "falls below 0",
            twice_as_large: "twice lr",
            up_again: "whole wave",
            quarter: "quarter",
            rising: "rate rises",
            straight: "straight line",
            degrees: "radians",
            no_lr: "starts at 1",
            only_the_last: "has shape ()",
            a_list_of_rates: "np.array(...)",
            halved: "yours is 0.005, expected was 0.01",
        },
    ),
    "right_for_good": (
        [last_mistake_and_one, all_right_from_here],
        {
            counted_from_nought: "One too small",
            first_time: "first time",
            wrong_ones_counted: "counted",
            never_wrong_forgotten: "never wrong comes out",
            nought_for_the_lost: "gets 0",
            at_most_all_epochs: "gets T, like",
            how_long: "how long",
            wrong_for_good: "exchanged",
            down_the_columns: "per epoch",
            turned_in_place: "in place",
            for_all_at_once: "has shape ()",
        },
    ),
}
