"""Selection rules: exact counts, fair ties, quotas by hand, and draws with exactly the
probabilities they claim.
"""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dpkit.records import Scores
from dpkit.selectors import beta_parameters, keep_above, keep_beta, keep_random, keep_top
from dpkit.selectors._choose import class_quotas, generator, gumbel_top, take_top_of

NAN = np.nan


def scores(*values):
    return Scores(np.array(values, float), "mine")


def kept_by(rule, *arguments, **options):
    return rule(*arguments, **options).kept.tolist()


# ---- keep_top ------------------------------------------------------------------------------------


def test_the_highest_scores_stay_in_ascending_order_of_rows():
    selection = keep_top(scores(0.1, 0.9, 0.5, np.inf, -np.inf), 3, rng=0)
    assert selection.kept.tolist() == [1, 2, 3] and selection.num_samples == 5
    assert selection.params == {"seed": 0, "scores": "mine", "per_class": None}


def test_only_samples_tied_at_the_edge_are_drawn():
    picked = [kept_by(keep_top, scores(5, 1, 1, 9, 1, 0), 3, rng=seed) for seed in range(50)]
    assert {tuple(rows) for rows in picked} == {(0, 1, 3), (0, 2, 3), (0, 3, 4)}


def test_more_infinite_scores_than_places_are_drawn_among():
    picked = [
        kept_by(keep_top, scores(np.inf, 1, np.inf, np.inf), 2, rng=seed) for seed in range(50)
    ]
    assert {tuple(rows) for rows in picked} == {(0, 2), (0, 3), (2, 3)}


def test_protected_samples_may_exceed_keep_with_a_warning_and_both_counts():
    with pytest.warns(
        UserWarning, match=r"kept 3 samples instead of 1: samples scored \+inf are protected"
    ):
        selection = keep_top(scores(np.inf, 1, np.inf, np.inf), 1, rng=0, protect_inf=True)
    assert selection.kept.tolist() == [0, 2, 3]
    assert (selection.params["requested"], selection.params["achieved"]) == (1, 3)


def test_protection_changes_nothing_where_there_is_room(recwarn):
    selection = keep_top(scores(np.inf, 1, 2, 0), 2, rng=0, protect_inf=True)
    assert (
        selection.kept.tolist() == [0, 2] and selection.params["achieved"] == 2 and not recwarn.list
    )


def test_keep_above_keeps_what_reaches_the_threshold():
    assert kept_by(keep_above, scores(0.2, 0.5, 0.7, np.inf), 0.5) == [1, 2, 3]
    assert kept_by(keep_above, scores(0.2), 0.5) == []
    with pytest.raises(ValueError, match="threshold must be a number; got NaN"):
        keep_above(scores(1), NAN)


# ---- classes -------------------------------------------------------------------------------------


def quotas(sizes, keep, per_class, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return list(class_quotas(labels, keep, per_class, np.random.default_rng(seed)).values())


@pytest.mark.parametrize(
    "sizes, keep, expected",
    [
        ([60, 30, 10], 10, [6, 3, 1]),
        # 3.5, 2.1, 1.4: floors 3 + 2 + 1, the place left to the remainder .5
        ([50, 30, 20], 7, [4, 2, 1]),
        ([7, 7, 1], 8, [4, 4, 0]),  # 3.73, 3.73, .53: floors 3 + 3 + 0, two places to .73 and .73
        ([5, 5], 10, [5, 5]),
        ([5, 5], 0, [0, 0]),
    ],
)
def test_proportional_quotas_go_by_largest_remainder(sizes, keep, expected):
    assert all(quotas(sizes, keep, "proportional", seed) == expected for seed in range(10))


@pytest.mark.parametrize(
    "sizes, keep, expected",
    [
        ([50, 50, 50], 30, [10, 10, 10]),
        ([2, 10, 10], 12, [2, 5, 5]),  # the small class gives all it has; 10 over two classes
        ([1, 3, 20], 12, [1, 3, 8]),
        ([1, 3, 20], 24, [1, 3, 20]),
        ([4, 4], 0, [0, 0]),
    ],
)
def test_balanced_quotas_spread_what_a_small_class_lacks(sizes, keep, expected):
    assert all(quotas(sizes, keep, "balanced", seed) == expected for seed in range(10))


@pytest.mark.parametrize("per_class", ["balanced", "proportional"])
def test_a_place_left_over_between_equal_classes_goes_by_rng(per_class):
    times = np.sum([quotas([10, 10, 10], 4, per_class, seed) for seed in range(900)], axis=0) - 900
    assert times.sum() == 900 and stats.chisquare(times).pvalue > 1e-3


@pytest.mark.parametrize("per_class", ["balanced", "proportional"])
def test_quotas_always_sum_to_keep_and_fit_their_classes(per_class):
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = rng.integers(1, 20, rng.integers(1, 8))
        keep = int(rng.integers(0, sizes.sum() + 1))
        found = np.array(quotas(sizes, keep, per_class, int(rng.integers(1000))))
        assert found.sum() == keep and np.all((found >= 0) & (found <= sizes))
        if per_class == "proportional":
            assert np.all(np.abs(found - keep * sizes / sizes.sum()) < 1)


@pytest.mark.parametrize(
    "sizes, recall, keep, expected",
    [
        ([10, 10, 10], [0.9, 0.6, 0.5], 20, [2, 8, 10]),  # 20 * (.1, .4, .5)
        # 2.2, 8.8, 11 -> 10; of the 1 above .2 and .8: 2.4, 9.6, 10; the place left to .6
        ([10, 10, 10], [0.9, 0.6, 0.5], 22, [2, 10, 10]),
        ([20, 10], [0.5, 0.5], 15, [10, 5]),  # shares of a class, not counts: the paper's density
        ([20, 10], [0.8, 0.6], 12, [6, 6]),  # 20 * .2 and 10 * .4 weigh the same
        ([10, 10], [1.0, 0.0], 14, [4, 10]),  # who is never wrong gets only what is left
        ([10, 30], [1.0, 1.0], 12, [3, 9]),  # nobody is wrong: the set's shares
        ([10, 10], [0.3, 0.9], 0, [0, 0]),
        ([10, 10], [0.3, 0.9], 20, [10, 10]),
    ],
)
def test_quotas_by_difficulty_are_shares_of_1_minus_recall(sizes, recall, keep, expected):
    assert all(quotas(sizes, keep, recall, seed) == expected for seed in range(10))


def test_quotas_by_difficulty_follow_the_algorithm_as_the_paper_writes_it():
    def paper(sizes, recall, keep):  # Algorithm 1, in densities
        open_, excess, density = set(range(len(sizes))), float(keep), np.zeros(len(sizes))
        while excess > 1e-9:
            z = sum(sizes[k] * (1 - recall[k]) for k in open_) / excess
            for k in [*open_]:
                more = (1 - recall[k]) / z
                density[k] += more
                excess -= sizes[k] * more
                if density[k] > 1:
                    open_.remove(k)
                    excess += sizes[k] * (density[k] - 1)
                    density[k] = 1
        return density * sizes

    rng = np.random.default_rng(0)
    for _ in range(100):
        sizes = rng.integers(1, 40, 6)
        recall, keep = rng.uniform(0, 0.99, 6), int(rng.integers(0, sizes.sum() + 1))
        found = np.array(quotas(sizes, keep, recall))
        assert found.sum() == keep and np.all(np.abs(found - paper(sizes, recall, keep)) < 1 + 1e-6)


@pytest.mark.parametrize(
    "recall, told",
    [
        ("difficulty", r'"difficulty" is for a Method, .*per_class=class_recall\(dynamics\)'),
        ([0.5], r"a number for each class, in the order of their numbers 0\.\.1; got .*\(1,\)"),
        ([0.5, 1.5], r"recall must be in \[0, 1\]; got 1.5 for class 1"),
        ([np.nan, 0.5], r"got nan for class 0, which has samples"),
        ([[0.5, 0.5]], r"shape \(1, 2\)"),
        (["a", "b"], "a number for each class"),
    ],
)
def test_what_is_no_recall_is_refused(recall, told):
    with pytest.raises(ValueError, match=told):
        keep_random(4, 2, rng=0, labels=[0, 0, 1, 1], per_class=recall)


@pytest.mark.parametrize(
    "rule",
    [
        lambda **o: keep_top(scores(*range(12)), 6, rng=0, **o),
        lambda **o: keep_random(12, 6, rng=0, **o),
    ],
)
def test_per_class_keeps_by_quota(rule):
    labels = np.array([0] * 2 + [4] * 4 + [7] * 6)  # class numbers need not be 0, 1, 2
    assert labels[rule(labels=labels, per_class="balanced").kept].tolist() == [0, 0, 4, 4, 7, 7]
    assert labels[rule(labels=labels, per_class="proportional").kept].tolist() == [0, 4, 4, 7, 7, 7]
    with pytest.raises(
        ValueError,
        match="per_class='balanced' needs labels=, one whole number per sample; got none",
    ):
        rule(per_class="balanced")
    with pytest.raises(
        ValueError,
        match=r'per_class must be None, "balanced", "proportional", "difficulty" or the recall of '
        "each class; got 'equal'",
    ):
        rule(labels=labels, per_class="equal")
    with pytest.raises(
        ValueError, match=r"labels must be \(12,\), one per sample; got shape \(3,\)"
    ):
        rule(labels=[0, 1, 2], per_class="balanced")


def test_per_class_keeps_the_best_of_each_class():
    best = keep_top(
        scores(9, 8, 7, 1, 2, 3), 4, rng=0, labels=[0, 0, 0, 1, 1, 1], per_class="balanced"
    )
    assert best.kept.tolist() == [0, 1, 4, 5]


# ---- the Beta density ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "c, mu, r, alpha, beta",
    [
        (5.5, 0.35, 0.3, 5.26, 9.74),
        (5.5, 0.35, 0.9, 10.71, 4.29),
        (4, 0.25, 0.5, 4.45, 10.55),
        (11, 0.25, 0.8, 4.72, 10.28),
    ],
)
def test_beta_parameters_of_the_paper(c, mu, r, alpha, beta):
    found = beta_parameters(r, mu, c)
    assert found == pytest.approx((alpha, beta), abs=0.005) and sum(found) == pytest.approx(15)


def test_beta_parameters_by_hand():
    assert beta_parameters(0.5, 0.2, 2) == pytest.approx((6, 9))  # beta = 15 * .8 * (1 - .25) = 9
    assert beta_parameters(0.5, 0.2, 2, convention="code") == pytest.approx((7, 9))  # 16 - 9
    assert beta_parameters(1, 0.2, 2) == (15, 0) and beta_parameters(0, 0.2, 2) == pytest.approx(
        (3, 12)
    )


def test_the_more_is_pruned_the_easier_the_density():
    means = [alpha / 15 for alpha, _ in (beta_parameters(r, 0.3, 4) for r in np.linspace(0, 1, 11))]
    assert means[0] == pytest.approx(0.3) and means[-1] == 1 and np.all(np.diff(means) > 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-0.1, 0.5, 4), r"prune_ratio .* must be in \[0, 1\]; got -0\.1"),
        ((NAN, 0.5, 4), "prune_ratio .*got nan"),
        ((0.5, 1.5, 4), r"mu_d is a mean probability and must be in \[0, 1\]; got 1\.5"),
        ((0.5, NAN, 4), "mu_d .*got nan"),
        ((0.5, 0.5, 0), r"c_d must be a number above 0 \(4 on CIFAR, 11 on ImageNet\); got 0"),
        ((0.5, 0.5, NAN), "c_d .*got nan"),
    ],
)
def test_beta_parameters_outside_their_ranges_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        beta_parameters(*arguments)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match='convention must be "paper" or "code"; got \'slides\''):
        keep_beta(scores(1, 2), 1, mean_prob=[0.1, 0.2], c_d=4, rng=0, convention="slides")


def test_mu_d_is_the_hardest_samples_mean_probability():
    values, easy = np.arange(20.0), np.linspace(0.95, 0, 20)
    found = keep_beta(Scores(values, "mine"), 10, mean_prob=easy, c_d=2, rng=0).params
    # 15 * 1 * (1 - .25)
    assert (found["mu_d"], found["alpha"], found["beta"]) == pytest.approx((0, 3.75, 11.25))
    code = keep_beta(
        Scores(values, "mine"), 10, mean_prob=easy, c_d=2, rng=0, convention="code"
    ).params
    assert code["mu_d"] == pytest.approx(easy[10:].mean()) == pytest.approx(0.225)
    assert (code["alpha"], code["beta"]) == pytest.approx(
        (16 - 15 * 0.775 * 0.75, 15 * 0.775 * 0.75)
    )


def test_mu_d_of_tied_hardest_samples_is_their_mean_whatever_their_order():
    for order in ([0, 1, 2], [2, 0, 1]):
        values, easy = np.array([5.0, 5.0, 1.0])[order], np.array([0.2, 0.6, 0.9])[order]
        assert keep_beta(Scores(values, "mine"), 1, mean_prob=easy, c_d=4, rng=0).params[
            "mu_d"
        ] == pytest.approx(0.4)


# ---- draws with the probabilities they claim -----------------------------------------------------


def exact_pairs(weights):
    """Probability of each unordered pair when two are drawn one after the other without
    replacement.
    """
    share = np.asarray(weights) / np.sum(weights)
    return {
        (i, j): share[i] * share[j] / (1 - share[i]) + share[j] * share[i] / (1 - share[j])
        for i, j in combinations(range(len(share)), 2)
    }


def check_frequencies(draw, expected, times):
    counts = dict.fromkeys(expected, 0)
    for _ in range(times):
        counts[tuple(int(row) for row in sorted(draw()))] += 1
    possible = [pair for pair in expected if expected[pair] > 0]
    assert sum(counts[pair] for pair in possible) == times
    assert (
        stats.chisquare(
            [counts[pair] for pair in possible], [expected[pair] * times for pair in possible]
        ).pvalue
        > 1e-3
    )


def test_gumbel_top_is_sequential_sampling_without_replacement():
    weights, rng = np.array([5.0, 1.0, 0.5, 2.0, 1.5]), np.random.default_rng(0)
    assert sum(exact_pairs(weights).values()) == pytest.approx(1)
    check_frequencies(lambda: gumbel_top([np.log(weights)], 2, rng), exact_pairs(weights), 20_000)


@pytest.mark.parametrize("convention", ["paper", "code"])
def test_keep_beta_draws_by_score_times_beta_density(convention):
    values, easy = np.array([0.1, 0.3, 0.2, 0.05, 0.25]), np.array([0.9, 0.35, 0.6, 0.97, 0.5])
    mu = 0.35 if convention == "paper" else easy.mean()  # there are fewer than ten: all of them
    b = 15 * (1 - mu) * (1 - 0.6**3)  # 2 of 5 stay: r = .6
    weights = values * stats.beta.pdf(easy, (15 if convention == "paper" else 16) - b, b)
    rng, judged = np.random.default_rng(1), Scores(values, "mine")
    check_frequencies(
        lambda: keep_beta(judged, 2, mean_prob=easy, c_d=3, rng=rng, convention=convention).kept,
        exact_pairs(weights),
        8_000,
    )


def test_samples_of_weight_zero_only_fill_what_is_missing_and_fill_it_evenly():
    judged, easy = scores(0, 1, 0, 2, 0, 0), np.full(6, 0.5)
    rows = [kept_by(keep_beta, judged, 3, mean_prob=easy, c_d=4, rng=seed) for seed in range(2000)]
    assert all({1, 3} <= set(kept) for kept in rows)
    fill = np.bincount(
        [next(row for row in kept if row not in (1, 3)) for kept in rows], minlength=6
    )[[0, 2, 4, 5]]
    assert stats.chisquare(fill).pvalue > 1e-3
    assert not {0, 2, 4, 5} & set(kept_by(keep_beta, judged, 2, mean_prob=easy, c_d=4, rng=0))


@pytest.mark.parametrize("mu", [0.0, 1.0])
@pytest.mark.parametrize("keep", [0, 1, 2, 998, 999, 1000])
def test_alpha_and_beta_below_one_are_no_obstacle(mu, keep):
    easy = np.linspace(0, 1, 1000)  # 0 and 1 exactly: where such a density is infinite
    values = np.where(easy == mu, 2.0, 1.0)
    selection = keep_beta(Scores(values, "mine"), keep, mean_prob=easy, c_d=4, rng=0)
    assert (
        len(selection.kept) == keep
        and np.isfinite([selection.params["alpha"], selection.params["beta"]]).all()
    )
    if (mu, keep) in ((0.0, 999), (1.0, 1)):
        # the case this test is about
        assert min(selection.params["alpha"], selection.params["beta"]) < 1


def test_perfectly_learned_samples_of_score_zero_never_come_before_others():
    # their density is infinite, their score zero
    judged, easy = (scores(0, 0, 0, 1, 1, 2), [1, 1, 1, 0.5, 0.6, 0.99])
    for seed in range(20):
        selection = keep_beta(judged, 3, mean_prob=easy, c_d=4, rng=seed)
        assert selection.kept.tolist() == [3, 4, 5] and selection.params["beta"] < 1


def test_a_draw_class_by_class_keeps_quotas_and_draws_by_weight_within_them():
    values, easy, labels = (
        np.array([0.1, 0.3, 0.2, 5, 1, 2, 3, 4]),
        np.full(8, 0.5),
        [0, 0, 0, 1, 1, 1, 1, 1],
    )
    rng, judged = np.random.default_rng(2), Scores(values, "mine")
    # one of class 0, whose scores are the lowest, and one of class 1, each with probability of its
    # share of its class
    expected = {(i, j): values[i] / 0.6 * values[j] / 15 for i in range(3) for j in range(3, 8)}
    check_frequencies(
        lambda: (
            keep_beta(
                judged, 2, mean_prob=easy, c_d=4, rng=rng, labels=labels, per_class="balanced"
            ).kept
        ),
        expected,
        4_000,
    )


def test_infinite_scores_come_first_in_a_draw():
    assert kept_by(
        keep_beta, scores(1, np.inf, 1, np.inf), 2, mean_prob=np.full(4, 0.5), c_d=4, rng=0
    ) == [1, 3]


# ---- a set that comes in chunks ------------------------------------------------------------------


def top_of_all(values, keep, rng):
    """The rule over one whole array: all above the edge, and a fair choice among all that are tied
    there.
    """
    edge = sorted(values, reverse=True)[keep - 1] if keep else np.inf
    above = [row for row, value in enumerate(values) if keep and value > edge]
    tied = [row for row, value in enumerate(values) if keep and value == edge]
    return above + (rng.choice(tied, keep - len(above), replace=False).tolist() if keep else [])


# few values, so that most edges are tied
TIED = st.sampled_from([-np.inf, -np.inf, 0.0, 1.0, 1.0, 2.0, np.inf])
CHUNKS = st.lists(st.lists(TIED, max_size=9), max_size=9)  # empty ones too


@given(chunks=CHUNKS, share=st.sampled_from([0, 0.1, 0.5, 0.9, 1]), seed=st.integers(0, 999))
@settings(max_examples=400, deadline=None)
def test_however_a_set_is_cut_the_same_rows_are_taken_and_drawn(chunks, share, seed):
    values = np.array([value for chunk in chunks for value in chunk])
    keep = round(share * len(values))
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    assert take_top_of(map(np.array, chunks), keep, first).tolist() == top_of_all(
        values, keep, second
    )
    noise = second.gumbel(size=len(values))
    assert gumbel_top(map(np.array, chunks), keep, first).tolist() == top_of_all(
        values + noise, keep, second
    )
    # what is drawn next is the same too
    assert first.bit_generator.state == second.bit_generator.state


@pytest.mark.parametrize("size", [1, 3, 100, 5000])
@pytest.mark.parametrize("keep", [0, 1, 40, 2500, 4999, 5000])
def test_many_chunks_are_one_set(size, keep):
    values = np.random.default_rng(0).normal(size=5000)
    chunks = (values[start : start + size] for start in range(0, 5000, size))
    assert set(take_top_of(chunks, keep, np.random.default_rng(0))) == set(
        np.argsort(-values)[:keep]
    )


@pytest.mark.parametrize("edge", [-np.inf, 0.0, np.inf])
def test_rows_tied_at_the_edge_have_the_same_chance_in_every_chunk(edge):
    chunks = (
        [[edge], [edge, 5.0], [-np.inf, edge, edge], [], [edge]]
        if edge == 0
        else [[edge], [edge], [edge] * 3, [edge]]
    )
    rows = np.flatnonzero(np.concatenate(chunks) == edge)
    rng = np.random.default_rng(0)
    taken = np.concatenate([take_top_of(map(np.array, chunks), 3, rng) for _ in range(2000)])
    counts = np.bincount(taken, minlength=rows[-1] + 1)[rows]
    share = (3 - (edge == 0)) / len(rows)  # the 5 is always taken
    # counts of draws without replacement vary by share * (1 - share), and sum to a constant
    statistic = (
        np.sum((counts - 2000 * share) ** 2)
        / (2000 * share * (1 - share))
        * (len(rows) - 1)
        / len(rows)
    )
    assert (
        counts.sum() == 2000 * share * len(rows) and stats.chi2.sf(statistic, len(rows) - 1) > 1e-3
    )


# ---- refusals, the same for every rule -----------------------------------------------------------

RULES = {
    "keep_top": lambda keep, rng=0: keep_top(scores(1, 2, 3), keep, rng=rng),
    "keep_random": lambda keep, rng=0: keep_random(3, keep, rng=rng),
    "keep_beta": lambda keep, rng=0: keep_beta(
        scores(1, 2, 3), keep, mean_prob=[0.1, 0.2, 0.3], c_d=4, rng=rng
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "keep, message",
    [
        (-1, r"keep must be 0\.\.3 \(the set's size\); got -1"),
        (4, r"keep must be 0\.\.3 .*got 4"),
        (3.0, r"whole number; got 3\.0: use keep_count\(n, prune_ratio\)"),
        (0.5, "got 0.5"),
        (True, "got True"),
        (np.True_, "got np.True_"),
        (NAN, "got nan"),
        ("2", "got '2'"),
        (None, "got None"),
    ],
)
def test_keep_is_a_whole_number_within_the_set(rule, keep, message):
    with pytest.raises(ValueError, match=message):
        RULES[rule](keep)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rng", [None, 1.0, True, -1, "0", np.random.RandomState(0)])
def test_rng_is_a_seed_or_a_generator(rule, rng):
    with pytest.raises(
        TypeError, match=r"rng must be a seed \(a whole number from 0\) or a numpy Generator; got "
    ):
        RULES[rule](1, rng)


@pytest.mark.parametrize("rule", RULES)
def test_a_seed_is_recorded_and_a_generator_is_used_where_it_stands(rule):
    assert RULES[rule](1, np.int64(7)).params["seed"] == 7
    fresh, same = np.random.default_rng(7), np.random.default_rng(7)
    assert RULES[rule](1, fresh).kept.tolist() == RULES[rule](1, 7).kept.tolist()
    assert "seed" not in RULES[rule](1, same).params
    if rule != "keep_top":  # which draws only among ties
        assert fresh.bit_generator.state != np.random.default_rng(7).bit_generator.state
    assert generator(fresh)[0] is fresh


@pytest.mark.parametrize(
    "rule, options", [(keep_top, {}), (keep_beta, {"mean_prob": [0.1, 0.2, 0.3], "c_d": 4})]
)
def test_an_array_where_scores_are_expected_is_refused_with_the_way_to_wrap_it(rule, options):
    with pytest.raises(
        TypeError,
        match=rf"{rule.__name__} needs Scores; got ndarray; wrap it: Scores\(values, name=\.\.\.\)",
    ):
        rule(np.array([1.0, 2, 3]), 1, rng=0, **options)


@pytest.mark.parametrize(
    "mean_prob, message",
    [
        ([0.1, 0.2], r"mean_prob must be \(3,\), one per sample; got shape \(2,\)"),
        ([0.1, 1.2, 0.3], r"in \[0, 1\]; got 1\.2 at row 1"),
        ([0.1, 0.2, NAN], "got nan at row 2: pass dynamics.mean_prob"),
        ([-0.1, 0.2, 0.3], r"got -0\.1 at row 0"),
    ],
)
def test_mean_prob_must_be_probabilities(mean_prob, message):
    with pytest.raises(ValueError, match=message):
        keep_beta(scores(1, 2, 3), 1, mean_prob=mean_prob, c_d=4, rng=0)


def test_negative_scores_cannot_be_weights():
    with pytest.raises(
        ValueError,
        match=r"must not be negative; 'mine' has -0\.5: use a score that starts at 0, such as dual",
    ):
        keep_beta(scores(1, -0.5), 1, mean_prob=[0.1, 0.2], c_d=4, rng=0)


def test_a_set_of_nothing_keeps_nothing():
    assert all(
        len(selection.kept) == 0
        for selection in (
            keep_top(scores(), 0, rng=0),
            keep_random(0, 0, rng=0),
            keep_beta(scores(), 0, mean_prob=[], c_d=4, rng=0),
            keep_random(0, 0, rng=0, labels=[], per_class="balanced"),
            keep_above(scores(), 0),
        )
    )
