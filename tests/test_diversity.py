"""D2, herding, nearest to the centre and k-centre: each against its definition, recomputed in full
with plain loops.
"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from dpkit.records import Scores
from dpkit.selectors import _neighbours, keep_d2, keep_herding, keep_kcenter, keep_nearest_to_centre
from dpkit.selectors._neighbours import nearest
from dpkit.selectors.herding import herding_picks

INF = np.inf


def scores(*values):
    return Scores(np.array(values, float), "mine")


def table(n, d=4, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


# ---- nearest neighbours --------------------------------------------------------------------------


def check_neighbours(features, k):
    """By the whole distance matrix in float64: the same distances, and indices that have them."""
    indices, distances = nearest(features, k)
    every = cdist(np.asarray(features, float), np.asarray(features, float))
    np.fill_diagonal(every, INF)
    close = {"rtol": 1e-9, "atol": 1e-12 * np.abs(features).max(initial=1)}
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], **close)
    np.testing.assert_allclose(np.take_along_axis(every, indices, axis=1), distances, **close)
    assert all(len(set(row)) == k for row in indices.tolist())


def repeated(calls, monkeypatch):
    """Counts the rows that are searched again."""
    again = _neighbours.search_again
    monkeypatch.setattr(
        _neighbours,
        "search_again",
        lambda x, rows, *out: (calls.append(len(rows)), again(x, rows, *out)),
    )


SETS = {
    "plain": table(300),
    "float32": table(300, dtype=np.float32),
    "wide": table(200, 700),
    "one column": table(150, 1),
    "a constant column": np.c_[table(100), np.full(100, 3.0)],
    "all the same": np.ones((80, 3)),
    "whole numbers": np.random.default_rng(0).integers(0, 3, (200, 4)),
    "pairs": np.repeat(table(60), 2, axis=0),
    "far from the origin": table(200) + 1e6,
    "an outlier": np.vstack([table(100), np.full((1, 4), 1e8)]),
    "huge": table(100) * 1e150,
    "tiny": table(100) * 1e-150,
    "half precision": table(100, dtype=np.float16),
    "two clusters": np.vstack([table(50) * 1e-4, table(50) * 1e-4 + 1]),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("block", [16, 2048])
def test_nearest_neighbours_are_those_of_the_whole_distance_matrix(name, block, monkeypatch):
    monkeypatch.setattr(_neighbours, "BLOCK", block)
    for k in (1, 5, len(SETS[name]) - 1):
        check_neighbours(SETS[name], k)


def test_what_float32_cannot_tell_apart_is_measured_again(monkeypatch):
    calls = []
    repeated(calls, monkeypatch)
    check_neighbours(table(400, 3), 5)
    assert sum(calls) == 0
    # all within a float32 of 1
    close = np.r_[0, 1 + 1e-9 * np.random.default_rng(0).permutation(100), 1e3][:, None]
    check_neighbours(close, 3)
    assert sum(calls) > 50


def test_neighbours_are_found_without_a_matrix_of_all_pairs():
    features = table(12_000, 8, dtype=np.float32)
    nearest(features[:100], 10)
    tracemalloc.start()
    nearest(features, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000  # 12,000 x 12,000 numbers in float32 are 576 MB


@pytest.mark.parametrize("rule", ["d2", "herding", "kcenter", "nearest_to_centre"])
def test_no_rule_makes_a_matrix_of_all_pairs(rule):
    n, given = 12_000, np.arange(12_000) % 3
    features = table(n, 8, dtype=np.float32)

    def choose(rows):
        if rule == "d2":
            keep_d2(Scores(np.arange(len(rows)), "mine"), len(rows) // 2, features=rows, rng=0)
        elif rule == "kcenter":
            keep_kcenter(rows, 100, rng=0)
        else:
            within = keep_herding if rule == "herding" else keep_nearest_to_centre
            within(rows, 600, labels=given[: len(rows)], rng=0)

    choose(features[:100] if rule == "d2" else features[:1200])
    tracemalloc.start()
    choose(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 12,000 x 12,000 numbers in float32 are 576 MB, those of a class 64 MB
    assert peak < 60_000_000


@pytest.mark.parametrize("k", [0, 5, 6, -1, 2.0, True, None])
def test_a_sample_has_n_minus_one_others(k):
    with pytest.raises(
        ValueError, match=rf"k must be 1\.\.4: each of the 5 samples has 4 others; got {k}"
    ):
        nearest(table(5), k)


def test_selectors_load_no_torch(python):
    assert python("import sys, dpkit.selectors; assert 'torch' not in sys.modules").returncode == 0


# ---- D2 ------------------------------------------------------------------------------------------


def d2_by_definition(s, features, keep, k, gamma, mode):
    """The whole distance matrix, the graph as a matrix of truth, and a loop over neighbours."""
    n = len(s)
    distance = cdist(features, features)
    joined = np.zeros((n, n), bool)
    for i in range(n):
        others = [j for j in np.argsort(distance[i], kind="stable") if j != i]
        joined[i, others[:k]] = joined[others[:k], i] = True
    v = np.empty(n)
    for i in range(n):
        received = sum(np.exp(-distance[i, j]) * s[j] for j in range(n) if joined[i, j])
        v[i] = s[i] + received if mode == "sum" else s[i] * received
    kept = []
    for _ in range(keep):
        p = max((i for i in range(n) if i not in kept), key=lambda i: v[i])
        kept.append(p)
        for j in np.flatnonzero(joined[p]):
            if j not in kept:
                v[j] -= np.exp(-gamma * distance[j, p]) * v[p]
    return sorted(kept)


@pytest.mark.parametrize("mode", ["sum", "product"])
@pytest.mark.parametrize(
    "n, k, gamma", [(40, 3, 0.1), (60, 5, 1.0), (30, 29, 0.1), (50, 5, 0.0), (8, 7, 0.1)]
)
def test_d2_is_its_definition(mode, n, k, gamma):
    s, features = np.random.default_rng(n).random(n) ** 3, table(n, 3)
    for keep in (1, n // 3, n - 1):
        kept = keep_d2(
            Scores(s, "mine"), keep, features=features, rng=0, neighbours=k, gamma=gamma, mode=mode
        ).kept
        assert kept.tolist() == d2_by_definition(s, features, keep, k, gamma, mode)


def test_d2_by_hand():
    # on a line at 0, ln 2 and ln 16: exp(-d) is 1/2 between the first two and 1/8 between the last
    # two, joined for k = 1
    line = np.log([[1.0], [2.0], [16.0]])
    judged = scores(6, 3.2, 3)
    # sum: v = 6 + 1.6, 3.2 + 3 + .375, 3 + .4 = 7.6, 6.575, 3.4; 0 is picked, 6.575 - 7.6 / 2 =
    # 2.775 < 3.4
    assert keep_d2(judged, 2, features=line, rng=0, neighbours=1, gamma=1).kept.tolist() == [0, 2]
    # product: 6 * 1.6, 3.2 * 3.375, 3 * .4 = 9.6, 10.8, 1.2; 1 is picked, 9.6 - 5.4 = 4.2 and 1.2 -
    # 1.35 = -.15
    assert keep_d2(
        judged, 2, features=line, rng=0, neighbours=1, gamma=1, mode="product"
    ).kept.tolist() == [0, 1]


def test_of_two_clusters_d2_takes_from_both_where_the_top_scores_are_in_one():
    features = np.vstack([table(20) * 0.01, table(20) * 0.01 + 5])
    judged = scores(*np.linspace(2, 1.9, 20), *np.linspace(1.1, 1, 20))
    kept = keep_d2(judged, 10, features=features, rng=0).kept
    assert np.sum(kept < 20) >= 3 and np.sum(kept >= 20) >= 3


def test_a_message_carries_the_value_as_it_now_stands():
    # a chain 0 - 1 - 2 and a pair far away, exp(-10) next to nothing; a message halves over a
    # distance of 10
    s, line = scores(5, 4, 1.2, 0.1, 0), np.array([[0.0], [10], [20], [1000], [1010]])
    # 5 is picked, 4 falls to 1.5 and is picked, 1.2 falls by half of 1.5 to .45, still above .1;
    # half of 4 would be too much
    assert keep_d2(
        s, 3, features=line, rng=0, neighbours=1, gamma=np.log(2) / 10
    ).kept.tolist() == [0, 1, 2]


def test_infinite_scores_count_as_the_largest_finite_one_left():
    features, values = table(30, 2), np.random.default_rng(0).random(30)
    values[[3, 8, 9]] = INF
    largest = np.where(values == INF, values[values < INF].max(), values)
    assert np.array_equal(
        keep_d2(Scores(values, "s"), 9, features=features, rng=0).kept,
        keep_d2(Scores(largest, "s"), 9, features=features, rng=0).kept,
    )
    assert not {3, 8, 9} & set(
        keep_d2(Scores(values, "s"), 9, features=features, rng=0, cutoff=0.1).kept
    )
    assert len(keep_d2(Scores(np.full(30, INF), "s"), 9, features=features, rng=0).kept) == 9


def test_scores_below_zero_are_raised_to_start_at_zero():
    features, values = table(30, 2), np.random.default_rng(0).normal(size=30)
    assert np.array_equal(
        keep_d2(Scores(values, "s"), 9, features=features, rng=0).kept,
        keep_d2(Scores(values - values.min(), "s"), 9, features=features, rng=0).kept,
    )


def test_d2_graph_is_built_on_what_the_cutoff_leaves():
    features, s = table(40, 2), np.random.default_rng(0).random(40)
    hard = np.random.default_rng(1).random(40)
    left = np.sort(np.argsort(hard)[:24])
    kept = keep_d2(
        Scores(s, "s"), 10, features=features, rng=0, cutoff=0.4, difficulty=Scores(hard, "hard")
    ).kept
    assert (
        kept.tolist() == left[d2_by_definition(s[left], features[left], 10, 5, 0.1, "sum")].tolist()
    )


def test_d2_class_by_class_is_d2_of_each_class():
    features, s, labels = table(40, 2), np.random.default_rng(0).random(40), np.arange(40) % 3
    kept = keep_d2(
        Scores(s, "s"), 12, features=features, rng=0, labels=labels, per_class="balanced"
    ).kept
    for c in range(3):
        rows = np.flatnonzero(labels == c)
        assert (
            kept[labels[kept] == c].tolist()
            == rows[d2_by_definition(s[rows], features[rows], 4, 5, 0.1, "sum")].tolist()
        )


def test_d2_s_params_hold_its_settings():
    assert keep_d2(
        scores(1, 2, 3), 1, features=table(3), rng=4, neighbours=2, cutoff=1 / 3
    ).params == {
        "seed": 4,
        "scores": "mine",
        "difficulty": "mine",
        "cutoff": 1 / 3,
        "per_class": None,
        "neighbours": 2,
        "gamma": 0.1,
        "mode": "sum",
    }


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mode": "max"}, 'mode must be "sum" or "product"; got \'max\''),
        ({"gamma": -1}, "gamma must be a number from 0"),
        ({"gamma": np.nan}, "gamma must be a number from 0 .*; got nan"),
        ({"neighbours": 0}, "neighbours must be a whole number"),
        ({"gamma": np.inf}, "gamma must be a number from 0 .*; got inf"),
        (
            {"neighbours": 3},
            "neighbours must be below 3, the set's size, as no sample is its own neighbour; got 3",
        ),
        ({"neighbours": 2.0}, "neighbours must be .*; got 2.0"),
        ({"neighbours": True}, "neighbours must be .*; got True"),
    ],
)
def test_settings_d2_cannot_use_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        keep_d2(scores(1, 2, 3), 1, features=table(3), rng=0, **settings)


def test_d2_cuts_off_class_by_class_under_quotas():
    # class 1 is the harder one: a cutoff over all would take it away whole
    hard = scores(*range(12))
    labels = np.repeat([0, 1], 6)
    kept = keep_d2(
        hard,
        6,
        features=table(12),
        rng=0,
        neighbours=2,
        cutoff=0.5,
        labels=labels,
        per_class="balanced",
    ).kept
    assert kept.tolist() == [0, 1, 2, 6, 7, 8]


# ---- herding -------------------------------------------------------------------------------------


def herded_by_definition(x, keep):
    mean, picked = x.mean(axis=0), []
    for _ in range(keep):
        away = {
            i: np.linalg.norm(x[[*picked, i]].mean(axis=0) - mean)
            for i in range(len(x))
            if i not in picked
        }
        picked.append(min(away, key=away.get))
    return picked


def test_herding_tells_apart_what_float32_cannot():
    x = np.random.default_rng(0).normal(size=(60, 4))
    x = np.concatenate([x, x + 1e-9 * np.random.default_rng(1).normal(size=x.shape)])  # near twins
    assert herding_picks(x, 30).tolist() == herded_by_definition(x, 30)


# few picks and many: both ways
@pytest.mark.parametrize("n, keep", [(40, 2), (40, 20), (200, 5), (200, 60), (7, 6), (1, 1)])
def test_herding_is_its_definition_pick_by_pick(n, keep):
    x = table(n) * [3, 1, 1, 0.1] + 50
    assert (
        herding_picks(x, keep).tolist() == herded_by_definition(x, keep)
        if keep < n
        else len(herding_picks(x, keep)) == n
    )
    if keep < n:
        assert keep_herding(x, keep, labels=None, rng=0, per_class=None).kept.tolist() == sorted(
            herded_by_definition(x, keep)
        )


def test_herding_picks_the_nearest_to_the_mean_where_deepcore_picks_the_farthest():
    line, labels = np.array([[0.0], [1], [2], [3], [14]]), np.zeros(5, int)  # their mean is 4
    # 3 is nearest; with it 2 has mean 2.5 and 14 has 8.5; then 1 has 2 and 14 has 6.33; then 0 has
    # 1.5 and 14 has 5
    for keep, picks in enumerate([[], [3], [2, 3], [1, 2, 3], [1, 2, 3, 4]]):
        assert keep_herding(line, keep, labels=labels, rng=0).kept.tolist() == picks


def test_moving_all_features_moves_no_pick():
    x, labels = table(100), np.arange(100) % 2
    assert np.array_equal(
        keep_herding(x, 20, labels=labels, rng=0).kept,
        keep_herding(x + 1000, 20, labels=labels, rng=0).kept,
    )


def test_herding_matches_the_mean_of_every_class():
    x, labels = table(300), np.repeat([0, 4, 9], [50, 100, 150])
    kept = keep_herding(x, 30, labels=labels, rng=0).kept
    assert np.bincount(labels[kept])[[0, 4, 9]].tolist() == [5, 10, 15]
    for c in (0, 4, 9):
        rows = np.flatnonzero(labels == c)
        assert kept[labels[kept] == c].tolist() == sorted(
            rows[herded_by_definition(x[rows], len(rows) // 10)]
        )


# ---- nearest to the centre -----------------------------------------------------------------------


def test_nearest_to_centre_by_hand():
    # means 4 and 23
    line, labels = (np.array([[0.0], [4], [5], [7], [20], [21], [22], [29]]), np.repeat([0, 1], 4))
    assert keep_nearest_to_centre(line, 4, labels=labels, rng=0).kept.tolist() == [1, 2, 5, 6]
    of_all = {"labels": labels, "per_class": None}  # distances 4, 0, 1, 3 and 3, 2, 1, 6
    assert keep_nearest_to_centre(line, 3, **of_all, rng=0).kept.tolist() == [1, 2, 6]
    tied = {tuple(keep_nearest_to_centre(line, 5, **of_all, rng=seed).kept) for seed in range(30)}
    assert tied == {(1, 2, 3, 5, 6), (1, 2, 4, 5, 6)}


def test_nearest_to_centre_is_not_herding():
    x, labels = table(100), np.zeros(100, int)
    away = np.linalg.norm(x - x.mean(axis=0), axis=1)
    kept = keep_nearest_to_centre(x, 10, labels=labels, rng=0).kept
    assert (
        kept.tolist()
        == sorted(np.argsort(away)[:10])
        != keep_herding(x, 10, labels=labels, rng=0).kept.tolist()
    )


# ---- k-centre ------------------------------------------------------------------------------------


def spread_by_definition(x, start, keep):
    distance, picked = cdist(x, x), [start]
    while len(picked) < keep:
        near = distance[:, picked].min(axis=1)
        picked.append(max((i for i in range(len(x)) if i not in picked), key=lambda i: near[i]))
    return sorted(picked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n, d", [(50, 2), (80, 200), (30, 1)])
def test_k_centre_is_its_definition(n, d, dtype):
    x = table(n, d, dtype=dtype) + 100
    for seed, keep in ((0, 1), (1, 2), (2, n // 2), (3, n - 1)):
        start = np.random.default_rng(seed).permutation(n)[0]
        assert keep_kcenter(x, keep, rng=seed).kept.tolist() == spread_by_definition(
            x.astype(float), start, keep
        )


def test_k_centre_by_hand():
    line = np.array([[0.0], [1], [5], [9], [10]])
    for seed in range(20):
        start = np.random.default_rng(seed).permutation(5)[0]
        expected = {0: {0, 2, 4}, 1: {1, 2, 4}, 3: {0, 2, 3}, 4: {0, 2, 4}}
        kept = set(keep_kcenter(line, 3, rng=seed).kept.tolist())
        assert kept == expected[start] if start != 2 else kept == {0, 2, 4}


def test_every_sample_may_be_the_start():
    starts = np.bincount(
        [keep_kcenter(table(10), 1, rng=seed).kept[0] for seed in range(1000)], minlength=10
    )
    assert stats.chisquare(starts).pvalue > 1e-3


@given(
    n=st.integers(1, 30), kinds=st.integers(1, 4), share=st.floats(0, 1), seed=st.integers(0, 99)
)
@settings(max_examples=100, deadline=None)
def test_copies_of_a_sample_are_kept_as_samples_of_their_own(n, kinds, share, seed):
    x = (np.arange(n) % kinds)[:, None] * np.array([[1.0, 1e4]])
    keep = round(share * n)
    kept = keep_kcenter(x, keep, rng=seed).kept
    # all kinds before any copy
    assert len(kept) == keep and len({i % kinds for i in kept}) == min(keep, kinds, n)


# ---- what holds for all four ---------------------------------------------------------------------

RULES = {
    "keep_d2": lambda x, keep, **o: keep_d2(Scores(np.ones(12), "mine"), keep, features=x, **o),
    "keep_herding": lambda x, keep, **o: keep_herding(
        x, keep, **{"labels": None, "per_class": None} | o
    ),
    "keep_nearest_to_centre": lambda x, keep, **o: keep_nearest_to_centre(
        x, keep, **{"labels": np.zeros(12), "per_class": None} | o
    ),
    "keep_kcenter": lambda x, keep, **o: keep_kcenter(x, keep, **o),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("per_class", [None, "balanced"])
def test_equal_samples_have_equal_chances_whatever_their_place(rule, per_class):
    labels, counts, rng = np.arange(12) // 4, np.zeros(12), np.random.default_rng(0)
    for _ in range(800):
        counts[
            RULES[rule](np.ones((12, 3)), 6, rng=rng, labels=labels, per_class=per_class).kept
        ] += 1
    # counts of draws without replacement vary by 1/4 of 800 each, and sum to a constant
    assert stats.chi2.sf(np.sum((counts - 400) ** 2) / 200 * 11 / 12, 11) > 1e-3


@pytest.mark.parametrize("rule", RULES)
def test_exactly_keep_stay_and_the_features_are_left_alone(rule):
    for x in (
        table(12),
        np.ones((12, 1)),
        np.c_[table(12), np.zeros(12)],
        table(12, dtype=np.float16),
        np.arange(24).reshape(12, 2),
    ):
        before = x.copy()
        for keep in (0, 1, 5, 11, 12):
            selection = RULES[rule](x, keep, rng=3)
            assert len(selection.kept) == keep and selection.params["seed"] == 3
            assert np.array_equal(selection.kept, RULES[rule](x, keep, rng=3).kept)
        assert np.array_equal(x, before)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "features, message",
    [
        (
            np.where(np.arange(36).reshape(12, 3) == 20, np.nan, 1.0),
            "features must be finite numbers; row 6 holds NaN or inf",
        ),
        (
            np.where(np.arange(36).reshape(12, 3) == 35, -INF, 1.0),
            "features must be finite numbers; row 11 holds",
        ),
        (np.ones(12), r"features must be \(.*, d\), a row per sample; got shape \(12,\)"),
        (np.ones((12, 3), bool), "features must be numbers; got bool: pass snapshot.features"),
        (None, "features must be .* got NoneType: pass snapshot.features"),
        (Scores(np.ones(12), "mine"), "features must be .* got Scores: pass snapshot.features"),
    ],
)
def test_features_that_are_none_are_refused_in_one_sentence(rule, features, message):
    with pytest.raises(ValueError, match=message):
        RULES[rule](features, 3, rng=0)


def test_features_of_another_set_are_refused():
    with pytest.raises(
        ValueError, match=r"features must be \(12, d\), a row per sample; got shape \(11, 4\)"
    ):
        RULES["keep_d2"](table(11), 3, rng=0)


def test_a_mask_or_an_array_is_not_taken_for_scores():
    with pytest.raises(TypeError, match="keep_d2 needs Scores; got ndarray; wrap it"):
        keep_d2(np.ones(12, bool), 3, features=table(12), rng=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("keep", [-1, 13, 0.5, True, None])
def test_keep_is_a_whole_number_within_the_set(rule, keep):
    with pytest.raises(ValueError, match="keep "):
        RULES[rule](table(12), keep, rng=0)
    with pytest.raises(TypeError, match="rng must be a seed"):
        RULES[rule](table(12), 3, rng=None)
