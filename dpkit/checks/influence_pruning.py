"""The exercises of lesson 06."""

import numpy as np

from dpkit.checks._answer import Verdict, judge

TWO_CLASSES = (np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]), np.array([[1.0, -0.5], [0.5, 2.0], [-1.5, 0.5]]))  # p, h
THREE_CLASSES = (np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]), np.array([[2.0], [-1.0], [0.5]]))

FOUR = np.array([[0.6, -0.2, 0.3], [-0.5, 0.4, 0.1], [0.2, 0.9, -0.4], [0.3, -0.7, 0.8]])
SIX = np.array([[3.0, 4.0], [-3.0, 0.0], [1.0, -2.0], [0.0, 5.0], [-2.0, 2.0], [4.0, -1.0]])


def _bordered(h):
    return np.append(h, 1.0)


def _hessian(probs, features, damping=0.1):
    """(C (d + 1), C (d + 1)), to three decimals, so that what is printed is what was used."""
    H = damping * np.eye(probs.shape[1] * (features.shape[1] + 1))
    for p, h in zip(probs, features):
        H += np.kron(np.diag(p) - np.outer(p, p), np.outer(_bordered(h), _bordered(h))) / len(probs)
    return H.round(3)


def _error(p, label):
    return p - np.eye(len(p))[label]


def _influence(error=_error, features=_bordered, pull=np.linalg.solve):
    """S of one sample, or what becomes of it with another error, other features, or without the solve."""
    def influence(p, label, h, H, n):
        g = np.outer(error(p, label), features(h))
        return pull(H, g.ravel()).reshape(g.shape) / n
    return influence


def _features_first(p, label, h, H, n):
    return np.linalg.solve(H, np.outer(_bordered(h), _error(p, label)).ravel()).reshape(-1, len(p)).T / n


def influence_of_one(answer) -> Verdict:
    """S of one sample: `answer(p, label, h, H, n)` with p (C,), h (d,), the damped H in the order of
    `np.outer(error, [h, 1]).ravel()`, and n samples in all, gives S (C, d + 1)."""
    cases = [(probs[i], label, features[i], _hessian(probs, features), n)
             for (probs, features), i, label, n in ((TWO_CLASSES, 0, 1, 3), (THREE_CLASSES, 1, 0, 50))]
    return judge(answer, cases, _influence(), [
        (lambda *case: -_influence()(*case),
         "The direction is reversed: this is where θ goes when the sample is ADDED. There are two signs to mind: the error is "
         "p - onehot(y), and S = +H⁻¹g / n."),
        (lambda p, label, h, H, n: n * _influence()(p, label, h, H, n),
         "The 1/n is missing: one sample is only one of the n that J takes its mean over."),
        (_influence(error=lambda p, label: p),
         "The label is not read: the gradient in the logits is p - onehot(y), so take 1 from p at the label."),
        (_influence(pull=lambda H, g: H @ g),
         "H is multiplied with here, and it should be inverted: what is held stiffly moves little. `np.linalg.solve(H, g)`."),
        (_influence(pull=lambda H, g: g),
         "This is g / n, how hard the sample pulls. How far θ moves depends on who else holds it: `np.linalg.solve(H, g)`."),
        (_influence(features=lambda h: np.append(1.0, h)),
         "The 1 of the bias stands before the features. H has it behind them: `np.append(h, 1)`."),
        (_features_first,
         "g is flattened with the features first, but H has the classes first: `np.outer(error, [h, 1])`, in this order."),
        (lambda *case: _influence()(*case).ravel(),
         "The right numbers, in one row. Asked for is one row a class: `.reshape(C, d + 1)`."),
    ], "The error times [h, 1], through H⁻¹, over n: a row of `dpkit.influence_vectors` (which puts the biases last).")


def _square(v):
    return v @ v


def swap_change(answer) -> Verdict:
    """One proposal of annealing: `answer(S, u, a, b)` with S (n, p) and u (p,), the sum over the pruned; a leaves them and
    b joins them. Gives what is added to |u|²."""
    cases = [(FOUR, FOUR[0] + FOUR[1], 0, 3), (FOUR, FOUR[2] + FOUR[1], 2, 0), (SIX, SIX[:3].sum(0), 1, 4)]
    return judge(answer, cases, lambda S, u, a, b: _square(u - S[a] + S[b]) - _square(u), [
        (lambda S, u, a, b: _square(u) - _square(u - S[a] + S[b]),
         "The sign: this is old minus new. A swap that makes the sum shorter should come out negative."),
        (lambda S, u, a, b: _square(u + S[a] - S[b]) - _square(u),
         "The two change roles: `a` is pruned and goes back, so S[a] leaves the sum; `b` is kept and goes, so S[b] joins it."),
        (lambda S, u, a, b: _square(u - S[a] + S[b]),
         "This is the new squared length. Asked for is the change: take the old one, |u|², away from it."),
        (lambda S, u, a, b: np.sqrt(_square(u - S[a] + S[b])) - np.sqrt(_square(u)),
         "This is the change of the length. Asked for is that of its SQUARE, which needs no root."),
        (lambda S, u, a, b: _square(u + S[b]) - _square(u),
         "S[b] has joined the sum, but S[a] has not left it. A swap does both, so that m stays what it is."),
        (lambda S, u, a, b: _square(u - S[a]) - _square(u),
         "S[a] has left the sum, but S[b] has not joined it. A swap does both, so that m stays what it is."),
        (lambda S, u, a, b: _square(S[a]) + _square(S[b]) + 2 * u @ (S[b] - S[a]),
         "The product of the two that swap is missing: |S_b - S_a|² is |S_a|² + |S_b|² - 2⟨S_a, S_b⟩."),
        (lambda S, u, a, b: _square(S[b] - S[a]) + u @ (S[b] - S[a]),
         "A 2 is missing before ⟨u, S_b - S_a⟩: both cross terms of the square count."),
        (lambda S, u, a, b: 2 * u @ (S[b] - S[a]),
         "This is the slope only, 2⟨u, S_b - S_a⟩. A swap is no small step: |S_b - S_a|² comes on top."),
        (lambda S, u, a, b: _square(S[b]) - _square(S[a]),
         "The two are compared alone. What a swap does depends on the sum they leave and join: u must be in it."),
    ], "A few products of two vectors, whatever n and m are: that is why annealing can make half a million proposals.")


def _epsilons(shift=lambda S, pruned: np.linalg.norm(S[pruned].sum(0)), factor=lambda S, pruned: len(S),
              bound=lambda epsilon, g, n: epsilon * np.linalg.norm(g)):
    """(Eq. 3's epsilon, Theorem 1's, the bound), or what becomes of them."""
    def epsilons(S, pruned, test_gradient):
        epsilon = shift(S, pruned)
        return epsilon, factor(S, pruned) * epsilon, bound(epsilon, test_gradient, len(S))
    return epsilons


def two_epsilons(answer) -> Verdict:
    """The bound: `answer(S, pruned, test_gradient)` with S (n, p), the ids of the pruned and the gradient (p,) of the test
    loss gives three numbers: |sum of S|, |sum of I_param|, and the first-order bound."""
    cases = [(SIX, np.array([0, 1]), np.array([0.3, -0.4])), (FOUR, np.array([1, 2, 3]), np.array([1.0, 0.0, 2.0]))]
    return judge(answer, cases, _epsilons(), [
        (_epsilons(shift=lambda S, pruned: np.linalg.norm(S[pruned], axis=1).sum()),
         "The lengths are added up, so nothing can cancel. Add the vectors first, `S[pruned].sum(axis=0)`; then the length."),
        (_epsilons(shift=lambda S, pruned: np.linalg.norm(np.delete(S, pruned, 0).sum(0))),
         "The sum is over those that stay. In Eq. 3 W_i = 1 means PRUNED."),
        (_epsilons(shift=lambda S, pruned: np.linalg.norm(S.sum(0))),
         "The sum is over all images. Only the pruned take their pull with them."),
        (_epsilons(shift=lambda S, pruned: np.linalg.norm(S[pruned].mean(0))),
         "This is the mean of the pruned. Each image that goes moves θ by its S, so they add up."),
        (_epsilons(shift=lambda S, pruned: np.sum(S[pruned].sum(0) ** 2)),
         "The sum's length is squared: a root is missing."),
        (_epsilons(shift=lambda S, pruned: np.abs(S[pruned].sum())),
         "All numbers are added into one. Add over the images only, `sum(axis=0)`, so that a vector is left."),
        (_epsilons(factor=lambda S, pruned: 1),
         "The first two are one number here. S = -I_param / n carries a 1/n, so |sum of I_param| is n times |sum of S|."),
        (_epsilons(factor=lambda S, pruned: 1 / len(S)),
         "The factor goes the other way: S is I_param over n, so |sum of I_param| is n TIMES |sum of S|."),
        (_epsilons(factor=lambda S, pruned: len(pruned)),
         "The factor is m, how many go. The 1/n in S is that of the whole set: `len(S)`."),
        (_epsilons(bound=lambda epsilon, g, n: epsilon / n * np.linalg.norm(g)),
         "The bound has the 1/n twice: |sum of S| carries it already. ε / n belongs to Theorem 1's ε, the second number."),
        (_epsilons(bound=lambda epsilon, g, n: n * epsilon * np.linalg.norm(g)),
         "The bound is n times too large: Theorem 1's ε, the second number, is divided by n in it."),
        (lambda S, pruned, g: (*_epsilons()(S, pruned, g)[:2], g @ S[pruned].sum(0)),
         "The third is the prediction ⟨∇L, sum of S⟩, with a sign. The bound takes the worst direction: the lengths' product."),
        (lambda S, pruned, g: _epsilons()(S, pruned, g)[1::-1] + _epsilons()(S, pruned, g)[2:],
         "The two epsilons stand in the other order: first that of S, then that of I_param."),
    ], "One bound in two spellings, a factor n apart: `dpkit.bound` calls them epsilon_shift and epsilon_influence.")
