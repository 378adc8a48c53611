"""CCS and the cutoff it shares with D2: strata and budgets from the definition, quotas that classes
can and cannot meet.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dpkit.records import Scores
from dpkit.selectors import (
    keep_beta,
    keep_ccs,
    keep_d2,
    keep_herding,
    keep_kcenter,
    keep_nearest_to_centre,
    keep_top,
)
from dpkit.selectors._cutoff import clip_infinite, published_cutoff

INF = np.inf


def scores(*values):
    return Scores(np.array(values, float), "mine")


def budgets_by_definition(sizes, keep):
    """Fill the smallest stratum first; each gets no more than an equal share of what is left."""
    budgets = {}
    for filled, k in enumerate(sorted(range(len(sizes)), key=lambda k: sizes[k])):
        budgets[k] = min(sizes[k], (keep - sum(budgets.values())) // (len(sizes) - filled))
    return [budgets[k] for k in range(len(sizes))]


# ---- strata and budgets --------------------------------------------------------------------------


def test_strata_and_budgets_by_hand():
    # width 2 from 0 to 8: strata {0, 1}, {2}, {4, 5, 5.5}, {6, 7, 8}; keep 7: the one of the
    # second, then 6 over three
    values = [0, 1, 2, 4, 5, 5.5, 6, 7, 8]
    for seed in range(30):
        kept = keep_ccs(scores(*values), 7, cutoff=0, strata=4, rng=seed).kept
        assert [np.isin(kept, rows).sum() for rows in ([0, 1], [2], [3, 4, 5], [6, 7, 8])] == [
            2,
            1,
            2,
            2,
        ]


@given(
    values=st.lists(st.integers(0, 20), min_size=1, max_size=60),
    share=st.floats(0, 1),
    strata=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_every_stratum_gives_its_budget(values, share, strata, seed):
    values = np.array(values)
    keep = round(share * len(values))
    kept = keep_ccs(Scores(values, "mine"), keep, cutoff=0, strata=strata, rng=seed).kept
    width = (values.max() - values.min()) or 1
    # whole numbers: exact
    stratum = np.minimum((values - values.min()) * strata // width, strata - 1)
    sizes, given_ = (
        np.bincount(rows, minlength=strata).tolist() for rows in (stratum, stratum[kept])
    )
    assert len(kept) == keep
    assert sorted(zip(sizes, given_, strict=True)) == sorted(
        zip(sizes, budgets_by_definition(sizes, keep), strict=True)
    )


def test_samples_of_a_stratum_have_equal_chances_and_so_have_strata_of_a_size():
    counts = np.zeros(9)
    for seed in range(2000):  # three strata of three; 4 kept: one of them gives two
        counts[
            keep_ccs(scores(0, 1, 2, 10, 11, 12, 20, 21, 22), 4, cutoff=0, strata=3, rng=seed).kept
        ] += 1
    assert counts.sum() == 8000 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("shift", [0, -100, 1e9])
def test_the_highest_score_does_not_fall_out_of_the_last_stratum(shift):
    """Released code ends its last stratum at max * 1.0001: a highest score of 0 or below is in
    none.
    """
    values = np.array([0.0, 1, 2, 3]) + shift - 3
    assert keep_ccs(scores(*values), 4, cutoff=0, strata=3, rng=0).kept.tolist() == [0, 1, 2, 3]
    kept = [
        keep_ccs(scores(*values), 3, cutoff=0, strata=3, rng=seed).kept.tolist()
        for seed in range(40)
    ]
    assert {tuple(rows) for rows in kept} == {(0, 1, 2), (0, 1, 3)}  # strata {0}, {1}, {2, 3}


@pytest.mark.parametrize(
    "values", [[5.0] * 12, [0.0] * 12, [-1e308] * 12, [5e-324] * 6 + [0.0] * 6]
)
def test_equal_scores_are_one_stratum(values):
    counts = np.zeros(12)
    for seed in range(600):
        counts[keep_ccs(scores(*values), 4, cutoff=0, rng=seed).kept] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_range_too_wide_for_a_float_is_split_all_the_same():
    kept = keep_ccs(scores(-1.7e308, -1.6e308, 1.7e308, 1.6e308), 2, cutoff=0, strata=2, rng=0).kept
    assert [np.isin(kept, rows).sum() for rows in ([0, 1], [2, 3])] == [1, 1]


def test_infinite_scores_go_by_the_cutoff_first_and_then_count_as_the_ends():
    values = [INF, 0, 1, INF, 9, 10, -INF, INF]
    assert keep_ccs(scores(*values), 5, cutoff=3 / 8, rng=0).kept.tolist() == [1, 2, 4, 5, 6]
    for seed in range(20):  # strata {0, 1, -inf} and {9, 10, inf, inf, inf}
        kept = keep_ccs(scores(*values), 6, cutoff=0, strata=2, rng=seed).kept
        assert np.isin(kept, [1, 2, 6]).sum() == 3
    assert clip_infinite(np.array([INF, 2, -INF, 1])).tolist() == [2, 2, 1, 1]
    assert clip_infinite(np.array([INF, -INF])).tolist() == [1, 0]


# ---- the cutoff ----------------------------------------------------------------------------------


def test_the_hardest_go_first_and_difficulty_may_be_another_score():
    judged = scores(*range(10))
    assert keep_ccs(judged, 7, cutoff=0.3, rng=0).kept.tolist() == list(range(7))
    selection = keep_ccs(
        judged, 7, cutoff=0.3, difficulty=Scores(-np.arange(10.0), "easy first"), rng=0
    )
    assert selection.kept.tolist() == list(range(3, 10))
    assert selection.params == {
        "seed": 0,
        "scores": "mine",
        "difficulty": "easy first",
        "cutoff": 0.3,
        "strata": 50,
        "per_class": None,
    }


@pytest.mark.parametrize(
    "rule",
    [keep_ccs, lambda *a, **o: keep_d2(*a, features=np.arange(12.0)[:, None], **o)],
    ids=["ccs", "d2"],
)
def test_samples_tied_at_the_cutoff_are_drawn(rule):
    kept = [
        tuple(rule(scores(*[0] * 4 + [7] * 8), 8, cutoff=1 / 3, rng=seed).kept)
        for seed in range(40)
    ]
    assert all(rows[:4] == (0, 1, 2, 3) for rows in kept) and len(set(kept)) > 20


@pytest.mark.parametrize(
    "rule",
    [keep_ccs, lambda *a, **o: keep_d2(*a, features=np.arange(10.0)[:, None], **o)],
    ids=["ccs", "d2"],
)
@pytest.mark.parametrize(
    "cutoff, message",
    [
        (
            0.4,
            r"cutoff must not be above the prune ratio, 0\.3; got 0\.4, which leaves 6 of 10 "
            r"samples where 7 are to be kept",
        ),
        (1, r"in \[0, 1\); got 1"),
        (-0.1, "got -0.1"),
        (np.nan, "got nan"),
        (True, "got True"),
        (None, "got None"),
        ("cifar", "a fraction in .* or one of 'cifar10', 'cifar100', 'imagenet'; got 'cifar'"),
    ],
)
def test_a_cutoff_that_cannot_be_is_refused_in_one_sentence(rule, cutoff, message):
    with pytest.raises(ValueError, match=message) as caught:
        rule(scores(*range(10)), 7, cutoff=cutoff, rng=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, ratio, expected",
    [
        ("cifar10", 0.9, 0.3),
        ("cifar10", 0.85, 0.2),
        ("cifar10", 0.2, 0),
        ("cifar10", 0, 0),
        ("imagenet", 0.8, 0.2),
        ("imagenet", 0.9, 0.3),
        ("imagenet", 0.99, 0.3),
        ("cifar100", 0.15, 0.05),
        ("cifar100", 1, 0.5),
    ],
)
def test_published_cutoffs_are_linear_between_the_published_ratios(name, ratio, expected):
    assert published_cutoff(name, ratio) == pytest.approx(expected)
    assert published_cutoff(name, ratio) <= ratio


def test_a_named_cutoff_follows_the_achieved_ratio_and_is_recorded():
    params = keep_ccs(scores(*range(100)), 10, cutoff="cifar10", rng=0).params
    assert params["published"] == "cifar10" and params["cutoff"] == pytest.approx(0.3)
    for keep in range(101):
        for name in ("cifar10", "cifar100", "imagenet"):
            assert len(keep_ccs(scores(*range(100)), keep, cutoff=name, rng=0).kept) == keep


# ---- class by class ------------------------------------------------------------------------------


def test_every_class_has_its_own_quota_not_the_last_ones():
    """Released code's class-balanced branch gives every class the last class's quota."""
    labels = np.array([0] * 60 + [3] * 30 + [7] * 10)
    for cutoff in (0, 0.4):
        kept = keep_ccs(
            Scores(np.random.default_rng(0).random(100), "mine"),
            20,
            cutoff=cutoff,
            rng=0,
            labels=labels,
            per_class="proportional",
        ).kept
        assert np.bincount(labels[kept])[[0, 3, 7]].tolist() == [12, 6, 2]


def test_cutoff_strata_and_budgets_are_each_class_s_own():
    values = np.array([0, 1, 2, 3, 100, 101, 102, 103.0])
    labels = np.repeat([0, 1], 4)
    for seed in range(20):
        kept = keep_ccs(
            scores(*values), 4, cutoff=0.25, strata=2, rng=seed, labels=labels, per_class="balanced"
        ).kept
        assert not {3, 7} & set(kept)  # the hardest of each class, though 4..6 are harder than 3
        assert {0, 4} < set(kept) and len(kept) == 4  # strata {0}, {1, 2} and {100}, {101, 102}


@pytest.mark.filterwarnings("ignore:class .* has")  # where a class lost one more than its share
@pytest.mark.parametrize("per_class", ["balanced", "proportional"])
def test_a_cutoff_at_the_prune_ratio_works_class_by_class_though_shares_are_rounded(per_class):
    for seed in range(10):
        assert (
            len(
                keep_ccs(
                    scores(*range(33)),
                    16,
                    cutoff=17 / 33,
                    rng=seed,
                    labels=np.arange(33) // 3,
                    per_class=per_class,
                ).kept
            )
            == 16
        )


def classes_short(rule):
    """Class 0 has 2 of 24 samples, class 5 has 6 and class 9 has 16; class numbers between them are
    empty.
    """
    labels = np.repeat([0, 5, 9], [2, 6, 16])
    return labels, lambda **options: rule(labels=labels, rng=0, **options)


FEATURES = np.random.default_rng(0).normal(size=(24, 3))
BY_CLASS = {
    "keep_top": lambda **o: keep_top(scores(*range(24)), 12, **o),
    "keep_beta": lambda **o: keep_beta(
        scores(*range(24)), 12, mean_prob=np.full(24, 0.5), c_d=4, **o
    ),
    "keep_ccs": lambda **o: keep_ccs(scores(*range(24)), 12, cutoff=0, **o),
    "keep_d2": lambda **o: keep_d2(scores(*range(24)), 12, features=FEATURES, **o),
    "keep_herding": lambda **o: keep_herding(FEATURES, 12, **o),
    "keep_nearest_to_centre": lambda **o: keep_nearest_to_centre(FEATURES, 12, **o),
    "keep_kcenter": lambda **o: keep_kcenter(FEATURES, 12, **o),
}


@pytest.mark.parametrize("rule", BY_CLASS)
def test_a_class_smaller_than_its_quota_is_named_and_the_total_stays_exact(rule):
    labels, select = classes_short(BY_CLASS[rule])
    with pytest.warns(
        UserWarning,
        match="class 0 has 2 samples to keep where its quota is 4: all 2 stay and other classes "
        "fill the 2 places",
    ):
        selection = select(per_class="balanced")
    assert np.bincount(labels[selection.kept])[[0, 5, 9]].tolist() == [2, 5, 5]
    assert selection.params["short"] == {"0": 2} and selection.params["per_class"] == "balanced"


@pytest.mark.parametrize("rule", BY_CLASS)
def test_quotas_that_can_be_met_are_met_without_a_word(rule, recwarn):
    labels, select = classes_short(BY_CLASS[rule])
    selection = select(per_class="proportional")
    assert np.bincount(labels[selection.kept])[[0, 5, 9]].tolist() == [1, 3, 8]
    assert "short" not in selection.params and not recwarn.list


def test_what_a_cutoff_leaves_short_in_one_class_others_give():
    # 5 of 10 go, 2.5 of each class, and 5 stay, 2.5 of each; where rng rounds both up in one class,
    # it has 2 for a quota of 3
    labels, judged, short = np.repeat([0, 1], 5), scores(*range(10)), 0
    for seed in range(20):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            selection = keep_ccs(
                judged, 5, cutoff=0.5, rng=seed, labels=labels, per_class="proportional"
            )
        assert sorted(np.bincount(labels[selection.kept]).tolist()) == [2, 3]
        assert ("short" in selection.params) == bool(caught)
        if caught:
            named = next(iter(selection.params["short"]))
            assert f"class {named} has 2 samples to keep where its quota is 3" in str(
                caught[0].message
            )
            assert caught[0].filename == __file__  # the caller's own line
            short += 1
    assert 0 < short < 20


@pytest.mark.parametrize("rule", BY_CLASS)
def test_labels_must_be_one_per_sample(rule):
    with pytest.raises(
        ValueError, match=r"labels must be \(24,\), one per sample; got shape \(3,\)"
    ):
        BY_CLASS[rule](labels=[0, 1, 2], per_class="balanced", rng=0)
    with pytest.raises(
        ValueError,
        match="per_class='balanced' needs labels=, one whole number per sample; got none",
    ):
        BY_CLASS[rule](labels=None, per_class="balanced", rng=0)
    with pytest.raises(
        ValueError, match=r"per_class must be None, .* or the recall of each class; got \'equal\'"
    ):
        BY_CLASS[rule](labels=np.zeros(24, int), per_class="equal", rng=0)


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strata", [0, -1, 2.5, True, None])
def test_strata_is_a_count(strata):
    with pytest.raises(ValueError, match="strata is a count and must be a whole number from 1"):
        keep_ccs(scores(1, 2), 1, cutoff=0, rng=0, strata=strata)


def test_a_mask_or_an_array_is_not_taken_for_scores_or_difficulty():
    with pytest.raises(TypeError, match="keep_ccs needs Scores; got ndarray; wrap it"):
        keep_ccs(np.array([True, False]), 1, cutoff=0, rng=0)
    with pytest.raises(TypeError, match="difficulty needs Scores; got ndarray; wrap it"):
        keep_ccs(scores(1, 2), 1, cutoff=0, rng=0, difficulty=np.array([1.0, 2]))
    with pytest.raises(
        ValueError, match="difficulty must judge the 2 samples of 'mine'; 'mine' judges 3"
    ):
        keep_ccs(scores(1, 2), 1, cutoff=0, rng=0, difficulty=scores(1, 2, 3))
