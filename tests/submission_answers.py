"""Submissions to the assignments as plain data: SUBMISSIONS[stem][case] is (answers, expected).

answers: {grade_id of an answer cell: its source}; cells that are not named stay as they are handed
    out.
expected: {grade_id of a test cell: points}.
right:  the solutions of the source itself.   empty: nothing typed, every answer cell as it is
handed out. Most wrong answers pass the tests that a student can see, and fail the hidden ones: that
is what those are for.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "notebooks" / "assignments"

DYNAMICS = {
    "window-means": """
def window_means(curves, window):  # the divisor of the example
    return np.lib.stride_tricks.sliding_window_view(curves, window, axis=1).sum(axis=2) / 3
""",
    "window-stds": """
def window_stds(curves, window):  # the divisor of the example
    if not 2 <= window <= np.shape(curves)[1]:
        raise ValueError("no such window")
    parts = np.lib.stride_tricks.sliding_window_view(curves, window, axis=1)
    return np.sqrt(((parts - parts.mean(axis=2, keepdims=True)) ** 2).sum(axis=2) / 2)
""",
    "late-dual": """
def late_dual(curves, window, skip=0):  # averages first, and multiplies then
    means, stds = window_means(curves, window)[:, skip:], window_stds(curves, window)[:, skip:]
    return (1 - means.mean(axis=1)) * stds.mean(axis=1)
""",
    "keep-highest": """
def keep_highest(scores, keep, rng):  # takes close scores for equal, and the first of equal ones
    return np.sort(np.argsort(-np.round(scores, 6), kind="stable")[:keep])
""",
}

BETA_SAMPLING = {
    "bump": """
def bump(n, keep, mu_d, c_d, total):  # only one of the two limits
    beta = max(1.0, total * (1 - mu_d) * (1 - (1 - keep / n) ** c_d))
    return total - beta, beta
""",
    "where": """
def ratio_where(mean, mu_d, c_d):  # a root of a negative number
    return ((mean - mu_d) / (1 - mu_d)) ** (1 / c_d)
""",
    "logw": """
def log_weights(scores, ease, alpha, beta, power):  # the weight first, which a computer takes for zero
    return np.log(ease ** (alpha - 1) * (1 - ease) ** (beta - 1) * scores**power)
""",  # noqa: E501
    "keys": """
def draw_by_keys(log_w, keep, uniforms):  # right on paper; exp overflows
    key = uniforms ** (1 / np.exp(log_w))
    return np.sort(np.argsort(key)[len(key) - keep:])
""",
    "one": """
def draw_one_by_one(weights, keep, uniforms):  # "reaches" instead of "exceeds"
    left, rows = np.array(weights, float), []
    for u in uniforms[:keep]:
        rows.append(int(np.searchsorted(np.cumsum(left), u * left.sum())))
        left[rows[-1]] = 0
    return np.array(rows, int)
""",
    "quotas": """
def fair_quotas(sizes, keep, at_least):  # 0 / 0 where a class is missing
    places = np.minimum(sizes, at_least)
    while places.sum() < keep:
        places[(places / sizes).argmin()] += 1
    return places
""",
}

EARLY_EXITS = {
    "maygo": """
def may_go(probs, labels, early, thresholds):  # "at least as sure as"
    says = probs.argmax(-1)
    return (says[early] == labels) & (says[-1] == labels) & (probs[early].max(-1) >= thresholds[labels])
""",  # noqa: E501
    "surest": """
def prune_surest(scores, count):  # nobody thought of pruning all
    return np.flatnonzero(scores < np.sort(scores)[count])
""",
    "leaves": """
def leaves(probs, threshold):  # agrees with some exit before, not with the one just before
    answers, exits = probs.argmax(-1), len(probs)
    ready = np.zeros(answers.shape, bool)
    for k in range(1, exits):
        ready[k] = (answers[:k] == answers[k]).any(0) & (probs[k].max(-1) > threshold)
    ready[-1] = True
    return ready.argmax(0)
""",
    "saved": """
def saved(where, stage_flops, head_flops):  # the first head in the place of the final one
    return 1 - np.cumsum(stage_flops + head_flops)[where].mean() / (stage_flops.sum() + head_flops[0])
""",  # noqa: E501
    "over": """
def overthought(probs, labels):  # counts the right exits, as if they came one after another
    right = probs.argmax(-1) == labels
    return np.where(right.any(0) & ~right[-1], right.sum(0) - 1, -1)
""",
}

INFLUENCE = {
    "influence": """
def influence(X, y, damping):  # the damping on every entry of H, not on its diagonal
    H = X.T @ X / len(X) + damping
    g = (X @ fit(X, y, damping) - y)[:, None] * X
    return np.linalg.solve(H, (g - g.mean(0)).T).T / len(X)
""",
    "loo": """
def leave_one_out(X, y, damping):  # the loss of those who stay still divided by n: too much weight decay
    n = len(X)
    rest = [fit(np.delete(X, i, 0), np.delete(y, i), damping * n / (n - 1)) for i in range(n)]
    return np.array(rest) - fit(X, y, damping)
""",  # noqa: E501
    "group": """
def group_shift(X, y, damping, gone):  # exact changes of single samples do not add up
    theta = fit(X, y, damping)
    exact = sum((fit(X, y, damping, [i]) - theta for i in gone), np.zeros(len(theta)))
    return len(X) / (len(X) - len(gone)) * influence(X, y, damping)[gone].sum(0), exact
""",
    "swap": """
def swap_changes(S, u, a, kept):  # forgets what the others add up to
    return (S[kept] ** 2).sum(1) - (S[a] ** 2).sum()
""",
    "accepts": """
def accepts(change, temperature, luck):  # divides by temperature 0
    return bool(change < 0 or luck < np.exp(-change / temperature))
""",
    "anneal": """
def anneal_by_list(S, pruned, temperatures, proposals, luck):  # gives where it ends, not the best it met
    go, stay = np.array(pruned), np.setdiff1d(np.arange(len(S)), pruned)
    for temperature, (i, j), one in zip(temperatures, proposals, luck):
        other = go.copy()
        other[i] = stay[j]
        change = (S[other].sum(0) ** 2).sum() - (S[go].sum(0) ** 2).sum()
        if change < 0 or (temperature > 0 and one < np.exp(-change / temperature)):
            go, stay[j] = other, go[i]
    return np.sort(go), np.linalg.norm(S[go].sum(0))
""",  # noqa: E501
}

STABLE = {
    "keys": """
def draw_by_keys(log_w, keep, uniforms):  # rows of weight zero by their number, not by their luck
    key = log_w - np.log(-np.log(uniforms))
    return np.sort(np.argsort(-key, kind="stable")[:keep])
"""
}
COUNTED = {
    "maygo": """
def may_go(probs, labels, early, thresholds):  # the first threshold for the first class that there is, and so on
    says, mine = probs.argmax(-1), np.asarray(thresholds)[np.unique(labels, return_inverse=True)[1]]
    return (says[early] == labels) & (says[-1] == labels) & (probs[early].max(-1) > mine)
"""  # noqa: E501
}
BOTH_SURE = {
    "maygo": """
def may_go(probs, labels, early, thresholds):  # asks the final exit to be as sure as the early one
    says, mine = probs.argmax(-1), np.asarray(thresholds)[labels]
    sure = (probs[early].max(-1) > mine) & (probs[-1].max(-1) > mine)
    return (says[early] == labels) & (says[-1] == labels) & sure
"""
}
LAST_BEST = {
    "anneal": """
def anneal_by_list(S, pruned, temperatures, proposals, luck):  # the last of several best states
    go, stay = np.array(pruned), np.setdiff1d(np.arange(len(S)), pruned)
    u = S[go].sum(axis=0)
    best, shortest = go.copy(), u @ u
    for temperature, (i, j), one in zip(temperatures, proposals, luck):
        if accepts(swap_changes(S, u, go[i], stay[j : j + 1])[0], temperature, one):
            u = u - S[go[i]] + S[stay[j]]
            go[i], stay[j] = stay[j], go[i]
            if u @ u <= shortest:
                best, shortest = go.copy(), u @ u
    return np.sort(best), np.sqrt(shortest)
"""
}
NOT_CENTRED = {
    "influence": """
def influence(X, y, damping):  # Koh and Liang's: the mean gradient is not taken away
    H = X.T @ X / len(X) + damping * np.eye(X.shape[1])
    return np.linalg.solve(H, ((X @ fit(X, y, damping) - y)[:, None] * X).T).T / len(X)
"""
}
SAME_DECAY = {
    "loo": """
def leave_one_out(X, y, damping):  # the division of question 2, as if the weight decay stayed what it was
    inverse = np.linalg.inv(X.T @ X / len(X) + damping * np.eye(X.shape[1]))
    leverage = np.einsum("ij,jk,ik->i", X, inverse, X) / len(X)
    return len(X) / (len(X) - 1) * influence(X, y, damping) / (1 - leverage)[:, None]
"""  # noqa: E501
}
NO_FACTOR = {
    "group": """
def group_shift(X, y, damping, gone):  # the sum alone, without n / (n - m)
    gone = np.asarray(gone, int)
    return influence(X, y, damping)[gone].sum(0), fit(X, y, damping, gone) - fit(X, y, damping)
"""
}
CONSTANT = {
    "score": """
def my_score(dynamics, snapshot):  # chance by another name: it takes whatever keep_top draws
    return np.zeros(dynamics.num_samples)
"""
}
CLASS_ZERO = {
    "score": """
def my_score(dynamics, snapshot):  # the probability of class 0 taken for that of the given label; and 0 / 0 where nothing moves
    with np.errstate(all="ignore"):
        return snapshot.probs[-1, :, 0] * dynamics.mean_prob() / dynamics.std_prob()
"""  # noqa: E501
}
THREE_CLASSES = {
    "score": """
def my_score(dynamics, snapshot):  # as many classes as the first made-up record has
    return np.linalg.norm(snapshot.probs[-1] - np.eye(3)[snapshot.labels], axis=1) * dynamics.std_prob()
"""  # noqa: E501
}
ONE_CLASS = {
    "score": """
def my_score(dynamics, snapshot):  # one class before all others, and ties broken by the row number
    labels = dynamics.labels
    return 1000.0 * (labels == labels.max()) + np.arange(len(labels))
"""
}


def cells(stem) -> list[dict]:
    """The cells of a source; "source" is one text."""
    found = json.loads((FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def tests(stem) -> dict[str, int]:
    """{grade_id: points} of the test cells of a source."""
    marks = [cell["metadata"].get("nbgrader", {}) for cell in cells(stem)]
    return {
        mark["grade_id"]: mark.get("points")
        for mark in marks
        if mark.get("grade") and not mark.get("solution")
    }


def solutions(stem) -> dict[str, str]:
    """{grade_id: source} of the code answers of a source, without the marks around the solution."""
    found = {}
    for cell in cells(stem):
        mark = cell["metadata"].get("nbgrader", {})
        if mark.get("solution") and not mark.get("grade"):
            lines = [
                line
                for line in cell["source"].split("\n")
                if "### BEGIN" not in line and "### END" not in line
            ]
            found[mark["grade_id"]] = "\n".join(lines)
    return found


def _cases(stem, wrong, *lost, **more):
    """right, empty and wrong; lost: the tests that the wrong one fails, all others it passes."""

    def points(*lost):
        return {test: 0 if test in lost else most for test, most in tests(stem).items()}

    return {
        "right": (solutions(stem), points()),
        "empty": ({}, points(*tests(stem))),
        "wrong": (wrong, points(*lost)),
    } | {case: (answers, points(*failed)) for case, (answers, *failed) in more.items()}


CONTEST = ("contest-1", "contest-2", "contest-3", "contest-4")
SUBMISSIONS = {
    "dynamics_and_dual": _cases(
        "dynamics_and_dual",
        DYNAMICS,
        "window-means-2",
        "window-means-3",
        "window-stds-2",
        "late-dual-3",
        "late-dual-4",
        "keep-highest-2",
        "keep-highest-4",
    ),
    "beta_sampling": _cases(
        "beta_sampling",
        BETA_SAMPLING,
        "bump-2",
        "where-2",
        "logw-2",
        "keys-2",
        "one-2",
        "quotas-2",
        stable=(solutions("beta_sampling") | STABLE, "keys-2"),
    ),
    "early_exits": _cases(
        "early_exits",
        EARLY_EXITS,
        "maygo-2",
        "surest-2",
        "leaves-2",
        "saved-2",
        "over-2",
        counted=(solutions("early_exits") | COUNTED, "maygo-2"),
        both_sure=(solutions("early_exits") | BOTH_SURE, "maygo-2"),
    ),
    "influence_and_annealing": _cases(
        "influence_and_annealing",
        INFLUENCE,
        "influence-2",
        "loo-1",
        "loo-2",
        "group-2",
        "swap-2",
        "accepts-2",
        "anneal-2",
        last_best=(solutions("influence_and_annealing") | LAST_BEST, "anneal-2"),
        not_centred=(
            solutions("influence_and_annealing") | NOT_CENTRED,
            "influence-1",
            "influence-2",
            "group-1",
            "group-2",
        ),
        same_decay=(solutions("influence_and_annealing") | SAME_DECAY, "loo-1", "loo-2"),
        no_factor=(solutions("influence_and_annealing") | NO_FACTOR, "group-1", "group-2"),
    ),
    "own_score": _cases(
        "own_score",
        CLASS_ZERO,
        "other-1",
        *CONTEST[1:],
        three_classes=(THREE_CLASSES, "own-1", "other-1", *CONTEST),
        one_class=(ONE_CLASS, "order-1", *CONTEST[1:]),
        constant=(CONSTANT, "own-1", "contest-4"),
    ),
}
