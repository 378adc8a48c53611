"""The exercises of lesson 06."""

from collections.abc import Callable

import numpy as np

from dpkit.teaching.checks._answer import Verdict, judge

# p, h
TWO_CLASSES = (
    np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]),
    np.array([[1.0, -0.5], [0.5, 2.0], [-1.5, 0.5]]),
)
THREE_CLASSES = (
    np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]),
    np.array([[2.0], [-1.0], [0.5]]),
)

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


def _mean_gradient(probs, features, labels):
    """(C, d + 1), to three decimals: the mean of `np.outer(error, [h, 1])`."""
    return np.mean(
        [np.outer(_error(*one), _bordered(h)) for *one, h in zip(probs, labels, features)], axis=0
    ).round(3)


def _influence(error=_error, features=_bordered, pull=np.linalg.solve, centred=np.subtract):
    """S of one sample; or with another error, features or centring, or without the solve."""

    def influence(p, label, h, g_mean, H, n):
        g = centred(np.outer(error(p, label), features(h)), g_mean)
        return pull(H, g.ravel()).reshape(g.shape) / n

    return influence


def _features_first(p, label, h, g_mean, H, n):
    g = np.outer(_bordered(h), _error(p, label)) - g_mean.T
    return np.linalg.solve(H, g.ravel()).reshape(-1, len(p)).T / n


def influence_of_one(answer: Callable) -> Verdict:
    """S of one sample, of the mean: `answer(p, label, h, g_mean, H, n)` with p (C,), h (d,), the
    mean gradient (C, d + 1), the damped H in the order of `np.outer(error, [h, 1]).ravel()`, and n
    samples in all, gives S (C, d + 1).
    """
    cases = [
        (
            probs[i],
            labels[i],
            features[i],
            _mean_gradient(probs, features, labels),
            _hessian(probs, features),
            n,
        )
        for (probs, features), i, labels, n in (
            (TWO_CLASSES, 0, (1, 1, 0), 3),
            (THREE_CLASSES, 1, (2, 0, 1), 50),
        )
    ]
    return judge(
        answer,
        cases,
        _influence(),
        [
            (
                lambda *case: -_influence()(*case),
                "The direction is reversed: this is where θ goes when the sample is ADDED. There "
                "are two signs to mind: the error is p - onehot(y), and S = +H⁻¹(g - ḡ) / n.",
            ),
            (
                _influence(centred=lambda g, g_mean: g),
                "This is the uncentred one: ḡ is missing. It predicts a refit whose loss is still "
                "divided by n. With the mean over the kept, θ moves by what the sample's gradient "
                "differs from the mean: `g - g_mean`.",
            ),
            (
                _influence(centred=np.add),
                (
                    "ḡ is added here, and it is taken away: the kept lose the sample's gradient "
                    "and gain a share of the mean."
                ),
            ),
            (
                _influence(error=lambda p, label: np.eye(len(p))[label] - p),
                (
                    "The error has the other sign: it is p - onehot(y). ḡ is made of such errors, "
                    "so the two add up here."
                ),
            ),
            (
                lambda *case: case[-1] * _influence()(*case),
                "The 1/n is missing: one sample is only one of the n that J takes its mean over.",
            ),
            (
                _influence(error=lambda p, label: p),
                (
                    "The label is not read: the gradient in the logits is p - onehot(y), so take 1 "
                    "from p at the label."
                ),
            ),
            (
                _influence(pull=lambda H, g: H @ g),
                (
                    "H is multiplied with here, and it should be inverted: what is held stiffly "
                    "moves little. `np.linalg.solve(H, g)`."
                ),
            ),
            (
                _influence(pull=lambda H, g: g),
                "This is (g - ḡ) / n, how hard the sample pulls. How far θ moves depends on who "
                "else holds it: take `np.linalg.solve` with H.",
            ),
            (
                _influence(features=lambda h: np.append(1.0, h)),
                (
                    "The 1 of the bias stands before the features. H has it behind them: "
                    "`np.append(h, 1)`."
                ),
            ),
            (
                _features_first,
                (
                    "g is flattened with the features first, but H has the classes first: "
                    "`np.outer(error, [h, 1])`, in this order."
                ),
            ),
            (
                lambda *case: _influence()(*case).ravel(),
                (
                    "The right numbers, in one row. Asked for is one row a class: `.reshape(C, d + "
                    "1)`."
                ),
            ),
        ],
        "The error times [h, 1], less the mean of these, through H⁻¹, over n: a row of "
        "`dpkit.influence_vectors` (which puts the biases last).",
    )


def _square(v):
    return v @ v


def swap_change(answer: Callable) -> Verdict:
    """One proposal of annealing: `answer(S, u, a, b)` with S (n, p) and u (p,), the sum over the
    pruned; a leaves them and b joins them. Gives what is added to |u|².
    """
    cases = [
        (FOUR, FOUR[0] + FOUR[1], 0, 3),
        (FOUR, FOUR[2] + FOUR[1], 2, 0),
        (SIX, SIX[:3].sum(0), 1, 4),
    ]
    return judge(
        answer,
        cases,
        lambda S, u, a, b: _square(u - S[a] + S[b]) - _square(u),
        [
            (
                lambda S, u, a, b: _square(u) - _square(u - S[a] + S[b]),
                (
                    "The sign: this is old minus new. A swap that makes the sum shorter should "
                    "come out negative."
                ),
            ),
            (
                lambda S, u, a, b: _square(u + S[a] - S[b]) - _square(u),
                (
                    "The two change roles: `a` is pruned and goes back, so S[a] leaves the sum; "
                    "`b` is kept and goes, so S[b] joins it."
                ),
            ),
            (
                lambda S, u, a, b: _square(u - S[a] + S[b]),
                (
                    "This is the new squared length. Asked for is the change: take the old one, "
                    "|u|², away from it."
                ),
            ),
            (
                lambda S, u, a, b: np.sqrt(_square(u - S[a] + S[b])) - np.sqrt(_square(u)),
                (
                    "This is the change of the length. Asked for is that of its SQUARE, which "
                    "needs no root."
                ),
            ),
            (
                lambda S, u, a, b: _square(u + S[b]) - _square(u),
                (
                    "S[b] has joined the sum, but S[a] has not left it. A swap does both, so that "
                    "m stays what it is."
                ),
            ),
            (
                lambda S, u, a, b: _square(u - S[a]) - _square(u),
                (
                    "S[a] has left the sum, but S[b] has not joined it. A swap does both, so that "
                    "m stays what it is."
                ),
            ),
            (
                lambda S, u, a, b: _square(S[a]) + _square(S[b]) + 2 * u @ (S[b] - S[a]),
                (
                    "The product of the two that swap is missing: |S_b - S_a|² is |S_a|² + |S_b|² "
                    "- 2⟨S_a, S_b⟩."
                ),
            ),
            (
                lambda S, u, a, b: _square(S[b] - S[a]) + u @ (S[b] - S[a]),
                "A 2 is missing before ⟨u, S_b - S_a⟩: both cross terms of the square count.",
            ),
            (
                lambda S, u, a, b: 2 * u @ (S[b] - S[a]),
                (
                    "This is the slope only, 2⟨u, S_b - S_a⟩. A swap is no small step: |S_b - "
                    "S_a|² comes on top."
                ),
            ),
            (
                lambda S, u, a, b: _square(S[b]) - _square(S[a]),
                (
                    "The two are compared alone. What a swap does depends on the sum they leave "
                    "and join: u must be in it."
                ),
            ),
        ],
        (
            "A few products of two vectors, whatever n and m are: that is why annealing can make "
            "half a million proposals."
        ),
    )


def _divisor(n, m, of):
    """What the losses of the kept are divided by."""
    return n - m if of == "mean" else n


def _epsilons(
    length=lambda S, pruned: np.linalg.norm(S[pruned].sum(0)),
    influence=lambda n, m, of: n,
    divisor=_divisor,
    bound=lambda shift, influence, slope, n: shift * slope,
):
    """(Eq. 3's epsilon, Theorem 1's, the bound), or what becomes of them."""

    def epsilons(S, pruned, test_gradient, of):
        n, m, total = len(S), len(pruned), length(S, pruned)
        shift, first = n / divisor(n, m, of) * total, influence(n, m, of) * total
        return shift, first, bound(shift, first, np.linalg.norm(test_gradient), n)

    return epsilons


def _prediction(S, pruned, test_gradient, of):
    shift = len(S) / _divisor(len(S), len(pruned), of) * S[pruned].sum(0)
    return (*_epsilons()(S, pruned, test_gradient, of)[:2], test_gradient @ shift)


def two_epsilons(answer: Callable) -> Verdict:
    """The bound: `answer(S, pruned, test_gradient, of)` with S (n, p) of the convention `of`,
    "mean" or "sum", the ids of the m pruned and the gradient (p,) of the test loss gives three
    numbers: |shift|, |sum of I_param|, the first-order bound.
    """
    centred = [S - S.mean(0) for S in (SIX, FOUR)]
    cases = [
        (centred[0], np.array([0, 1]), np.array([0.3, -0.4]), "mean"),
        (SIX, np.array([0, 1]), np.array([0.3, -0.4]), "sum"),
        (centred[1], np.array([1, 2, 3]), np.array([1.0, 0.0, 2.0]), "mean"),
    ]
    return judge(
        answer,
        cases,
        _epsilons(),
        [
            (
                _epsilons(length=lambda S, pruned: np.linalg.norm(S[pruned], axis=1).sum()),
                (
                    "The lengths are added up, so nothing can cancel. Add the vectors first, "
                    "`S[pruned].sum(axis=0)`; then the length."
                ),
            ),
            (
                _epsilons(length=lambda S, pruned: np.linalg.norm(np.delete(S, pruned, 0).sum(0))),
                "The sum is over those that stay. In Eq. 3 W_i = 1 means PRUNED.",
            ),
            (
                _epsilons(length=lambda S, pruned: np.linalg.norm(S.sum(0))),
                "The sum is over all images. Only the pruned take their pull with them.",
            ),
            (
                _epsilons(length=lambda S, pruned: np.linalg.norm(S[pruned].mean(0))),
                (
                    "This is the mean of the pruned. Each image that goes moves θ by its S, so "
                    "they add up."
                ),
            ),
            (
                _epsilons(length=lambda S, pruned: np.sum(S[pruned].sum(0) ** 2)),
                "The sum's length is squared: a root is missing.",
            ),
            (
                _epsilons(length=lambda S, pruned: np.abs(S[pruned].sum())),
                (
                    "All numbers are added into one. Add over the images only, `sum(axis=0)`, so "
                    "that a vector is left."
                ),
            ),
            (
                _epsilons(divisor=lambda n, m, of: n),
                (
                    'The factor n / (n - m) is missing of="mean": fewer images share the mean, so '
                    "each one that goes counts for more."
                ),
            ),
            (
                _epsilons(divisor=lambda n, m, of: n - m),
                (
                    'The factor n / (n - m) is there of="sum" too. That loss is still divided by '
                    "n: the shift is the sum itself."
                ),
            ),
            (
                _epsilons(divisor=lambda n, m, of: n if of == "mean" else n - m),
                (
                    'The two conventions have changed places: n / (n - m) belongs to of="mean", '
                    'and 1 to of="sum".'
                ),
            ),
            (
                _epsilons(divisor=lambda n, m, of: n * n / _divisor(n, m, of)),
                "The factor stands upside down: it is n / (n - m), above 1, and not (n - m) / n.",
            ),
            (
                _epsilons(divisor=lambda n, m, of: m if of == "mean" else n),
                (
                    "The factor has m below, how many go. The mean is over those that stay: n / (n "
                    "- m)."
                ),
            ),
            (
                _epsilons(influence=lambda n, m, of: n * n / _divisor(n, m, of)),
                "The second number has n / (n - m) in it as well. |sum of I_param| is n times "
                "|sum of S|; the mean over fewer comes later, where Theorem 1 divides by n - m.",
            ),
            (
                _epsilons(influence=lambda n, m, of: n / _divisor(n, m, of)),
                (
                    "The first two are one number here. S = -I_param / n carries a 1/n, so |sum of "
                    "I_param| is n times |sum of S|."
                ),
            ),
            (
                _epsilons(influence=lambda n, m, of: 1),
                (
                    "The second is |sum of S|. S = -I_param / n carries a 1/n, so |sum of I_param| "
                    "is n times that."
                ),
            ),
            (
                _epsilons(influence=lambda n, m, of: 1 / n),
                (
                    "The factor goes the other way: S is I_param over n, so |sum of I_param| is n "
                    "TIMES |sum of S|."
                ),
            ),
            (
                _epsilons(influence=lambda n, m, of: m),
                (
                    "The second number is m times |sum of S|. The 1/n in S is that of the whole "
                    "set: `len(S)`."
                ),
            ),
            (
                _epsilons(bound=lambda shift, influence, slope, n: shift / n * slope),
                (
                    "The bound has the 1/n twice: |shift| carries it already. A division belongs "
                    "to Theorem 1's ε, the second number."
                ),
            ),
            (
                _epsilons(bound=lambda shift, influence, slope, n: influence * slope),
                (
                    "The bound is n - m or n times too large: Theorem 1's ε, the second number, is "
                    "divided by that in it."
                ),
            ),
            (
                _epsilons(bound=lambda shift, influence, slope, n: influence / n * slope),
                (
                    'The bound divides Theorem 1\'s ε by n for both. For of="mean" it is n - m, '
                    "how many the loss is a mean over."
                ),
            ),
            (
                _prediction,
                (
                    "The third is the prediction ⟨∇L, shift⟩, with a sign. The bound takes the "
                    "worst direction: the lengths' product."
                ),
            ),
            (
                lambda *case: _epsilons()(*case)[1::-1] + _epsilons()(*case)[2:],
                "The two epsilons stand in the other order: first |shift|, then that of I_param.",
            ),
        ],
        'One bound in two spellings, a factor n - m apart (n of="sum"): `dpkit.bound` calls them '
        "epsilon_shift and "
        "epsilon_influence.",
    )
