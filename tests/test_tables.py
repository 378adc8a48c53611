"""Tables and comparisons of rows: means, spreads, intervals and costs, worked out by hand."""

import numpy as np
import pandas
import pytest
from hand_rows import ROWS, row
from scipy.stats import ttest_ind

from dpkit.experiments import results
from dpkit.experiments.tolerance import losses


def test_accuracies_are_mean_and_standard_deviation_over_the_seeds_in_percent():
    nothing, half = results.accuracy_table(ROWS)
    # sqrt(2 * 5^2 / (2 - 1)) = 7.07
    assert nothing == {"pruned": "nothing", "kept": 11, "random": "85.0 ± 7.1"}
    assert half == {
        "pruned": "50 %",
        "kept": 6,
        "random": "65.0 ± 7.1",
        "dual": "57.0 ± 9.9",
        "dual+beta, c_d=5.5": "65.0",
        "dual+beta": "66.0",
    }


def test_a_cell_with_fewer_seeds_than_were_asked_for_says_so():
    rows = [
        row(method, ratio, seed, 0.5 + seed / 10)
        for method, ratio, seeds in (
            ("random", 0.0, 3),
            ("random", 0.5, 3),
            ("dual", 0.5, 2),
            ("random", 0.7, 1),
        )
        for seed in range(seeds)
    ]
    nothing, half, most = results.accuracy_table(
        [*rows, row("aum", 0.5, 0, 0.1) | {"failed": "it diverged"}]
    )
    assert nothing == {"pruned": "nothing", "kept": 11, "random": "60.0 ± 10.0"}
    assert half == {
        "pruned": "50 %",
        "kept": 6,
        "random": "60.0 ± 10.0",
        "dual": "55.0 ± 7.1 (2 of 3)",
    }
    # one seed has no spread, and shows it
    assert most == {"pruned": "70 %", "kept": 3, "random": "50.0", "dual": ""}
    assert results.accuracy_table(rows, seeds=4)[2]["random"] == "50.0 (1 of 4)"
    assert results.accuracy_table(rows, seeds=4)[0]["random"] == "60.0 ± 10.0 (3 of 4)"


def test_accuracies_of_several_recipes_are_not_averaged_as_if_they_were_seeds():
    rows = [*ROWS, row("dual", 0.5, 0, 0.9)]
    for table in (results.accuracy_table, results.summary):
        with pytest.raises(
            ValueError,
            match="dual at prune_ratio 0.5 has more than one accuracy of seed 0: give rows",
        ):
            table(rows)
    # the same row twice is one
    assert len(results.summary([*ROWS, ROWS[4]])) == len(results.summary(ROWS))


def of(method, ratio, **more) -> list[dict]:
    """Three seeds of a method, as rows tell them, with other columns."""
    told = {"record": "3 epochs", "retrain": "3 steps", "budget": "3 steps", "test": ""}
    return [row(method, ratio, seed, 0.5 + seed / 100) | told | more for seed in range(3)]


OTHERS = {
    "dataset": "theirs",
    "num_samples": 20,
    "test": "their test images",
    "model": "resnet18",
    "budget": "9 steps",
    "retrain": "3 steps lr=0.5",
}


@pytest.mark.parametrize("name", OTHERS)
def test_trainings_of_several_protocols_are_not_compared(name):
    other = {name: OTHERS[name]} | ({"retrain": "9 steps"} if name == "budget" else {})
    for rows in (  # between two methods, and between the seeds of one
        [*of("random", 0.5), *of("dual", 0.5, **other)],
        [*of("random", 0.5), *of("dual", 0.5)[:1], *of("dual", 0.5, **other)[1:]],
    ):
        with pytest.raises(ValueError, match=f"accuracy_table compares .*{OTHERS[name]}.*pick one"):
            results.accuracy_table(rows)
        with pytest.raises(ValueError, match=f"losses compares .*{OTHERS[name]}.*pick one"):
            losses([*of("random", 0.0), *rows])
        lines = results.summary(rows)
        # a difference is of the trainings that are alike, and only of them
        assert lines[lines.method == "dual"].pairs.max() <= 1
        assert set(lines[(lines.method == "dual") & (lines.pairs == 0)].reason) == {
            "no row of random"
        }


def test_seeds_that_chose_from_recordings_of_several_recipes_are_not_averaged():
    faster = {"record": "3 epochs lr=0.5"}
    mixed = [*of("dual", 0.5)[:1], *of("dual", 0.5, **faster)[1:]]
    for table in (results.accuracy_table, results.summary):
        with pytest.raises(ValueError, match="seeds of dual at prune_ratio 0.5 share a set, a net"):
            table([*of("random", 0.5), *mixed])
    # a method may have a recording of its own; random pruning reads none
    drawn = [*of("random", 0.5)[:1], *of("random", 0.5, **faster)[1:]]
    assert results.summary([*drawn, *of("dual", 0.5, **faster)]).pairs.tolist() == [0, 3]


def test_losses_are_within_one_kind_of_processor():
    here = {"device": "cpu", "processor": "AMD EPYC, avx2"}
    rows = [*of("random", 0.0, **here), *of("dual", 0.5, **here | {"processor": "Apple M2"})]
    with pytest.raises(ValueError, match="losses are within one kind of processor. The rows are"):
        losses(rows)
    assert losses([*rows[:3], *of("dual", 0.5, **here)]).loss.tolist() == [0]


def test_recipes_may_differ_between_ratios():
    rows = [*of("random", 0.0), *of("random", 0.9, retrain="3 steps batch_size=32")]
    assert [line["pruned"] for line in results.accuracy_table(rows)] == ["nothing", "90 %"]


def test_recordings_of_several_lengths_are_kept_apart():
    rows = [row("random", 0.5, 0, 0.5) | {"record_epochs": 0}]
    rows += [
        row("eeprune", 0.5, 0, 0.5 + epochs / 100) | {"record_epochs": epochs}
        for epochs in (10, 1, 5)
    ]
    rows.append(row("eeprune", 0.5, 1, None) | {"record_epochs": 1, "failed": "it diverged"})
    for given in (rows, pandas.DataFrame([{"failed": ""} | one for one in rows])):
        (half,) = results.accuracy_table(given, seeds=1)
        assert half == {
            "pruned": "50 %",
            "kept": 6,
            "random": "50.0",
            "eeprune": "60.0",
            "eeprune, T=1": "51.0",
            "eeprune, T=5": "55.0",
        }
        table = results.summary(given).set_index("method")
        assert (
            table.difference["eeprune, T=5"] == pytest.approx(5)
            and table.failed["eeprune, T=1"] == 1
        )


def test_recordings_of_several_schedules_are_kept_apart():
    watched = [(10, "10 epochs"), (30, "30 epochs"), (30, "200 epochs"), (200, "200 epochs")]
    rows = [
        row("dual", 0.5, seed, (50 + k) / 100) | {"record_epochs": count, "record": record}
        for k, (count, record) in enumerate(watched)
        for seed in (0, 1)
    ]
    (half,) = results.accuracy_table(rows)
    assert {name: half[name] for name in half if "dual" in name} == {
        "dual, T=10": "50.0 ± 0.0",
        "dual, T=30 of 30 epochs": "51.0 ± 0.0",
        "dual, T=30 of 200 epochs": "52.0 ± 0.0",
        "dual": "53.0 ± 0.0",
    }
    # two schedules of one length say it too; a single one needs no name
    assert [one["method"] for one in results.labelled(rows[2:6:2])] == [
        "dual, T=30 of 30 epochs",
        "dual, T=30 of 200 epochs",
    ]
    assert results.labelled(rows[4:6])[0]["method"] == "dual"


def test_a_cell_that_could_not_prune_what_was_asked_says_what_it_did():
    rows = [row("random", 0.5, seed, 0.5) for seed in (0, 1)]
    # 6 and 9 of 11 are kept
    rows += [row("eeprune", 0.5, 0, 0.6), row("eeprune", 0.5, 1, 0.6) | {"keep": 9}]
    (half,) = results.accuracy_table(rows)
    assert half["eeprune"] == "60.0 ± 0.0 (pruned 32 %)" and half["random"] == "50.0 ± 0.0"


def test_a_summarys_interval_is_that_of_welchs_test_whatever_the_seeds_order():
    rng = np.random.default_rng(0)
    here, there = rng.random(4), rng.random(5)
    rows = [row("random", 0.5, seed, there[seed]) for seed in (3, 1, 4, 0, 2)]
    rows += [row("dual", 0.5, seed, here[seed]) for seed in range(4)]
    for confidence in (0.95, 0.8):
        random, dual = results.summary(rows, confidence=confidence).itertuples()
        expected = ttest_ind(100 * here, 100 * there, equal_var=False)
        assert (dual.low, dual.high) == pytest.approx(
            tuple(expected.confidence_interval(confidence))
        )
        assert dual.p == pytest.approx(expected.pvalue)
    assert (dual.difference, dual.pairs, dual.seeds) == (
        pytest.approx(100 * (here.mean() - there.mean())),
        4,
        4,
    )
    assert dual.error == pytest.approx(100 * np.sqrt(here.var(ddof=1) / 4 + there.var(ddof=1) / 5))
    assert (dual.accuracy, dual.spread) == (
        pytest.approx(100 * here.mean()),
        pytest.approx(100 * here.std(ddof=1)),
    )
    # not to itself
    assert random.pairs == 0 and np.isnan([random.difference, random.low, random.high]).all()
    assert (random.reason, dual.reason) == ("", "")


def test_differences_are_of_means_and_need_two_seeds_on_both_sides_for_an_interval():
    table = results.summary(ROWS).set_index("method")
    dual, other = table.loc["dual"], table.loc["dual+beta, c_d=5.5"]
    # variances 50 and 98, each over 2 seeds: error sqrt(74) = 8.60
    assert dual.difference == pytest.approx(-8)
    assert dual.error == pytest.approx(8.602, abs=1e-3)
    # 65 and the mean of 60 and 70
    assert (other.difference, other.pairs, other.reason) == (pytest.approx(0), 1, "one seed")
    assert np.isnan([other.error, other.low, other.detectable, other.p]).all() and other.holm == ""
    to_dual = results.summary(ROWS, to="dual").set_index("method")
    assert (
        to_dual.loc["dual+beta"].difference == pytest.approx(9) and to_dual.loc["dual"].pairs == 0
    )


def test_seeds_that_are_missing_and_trials_that_failed_are_counted():
    rows = [row("random", 0.5, seed, 0.5) for seed in (0, 1, 2)] + [
        row("dual", 0.5, seed, 0.6) for seed in (1, 2, 3, 5)
    ]
    rows += [
        row("dual", 0.5, 4, None) | {"failed": "it diverged"},
        row("aum", 0.5, 0, None) | {"failed": "it diverged"},
    ]
    for given in (rows, pandas.DataFrame([{"failed": ""} | one for one in rows])):
        table = results.summary(given).set_index("method")
        assert table[["seeds", "pairs", "failed"]].loc["dual"].tolist() == [4, 3, 1]
        assert table[["seeds", "pairs", "failed"]].loc["aum"].tolist() == [0, 0, 1]
        assert np.isnan(table.accuracy["aum"]) and table.difference["dual"] == pytest.approx(10)
        assert (table.reason["dual"], table.holm["dual"], table.reason["aum"]) == (
            "no spread",
            "",
            "",
        )


def test_without_a_reference_a_summary_says_why_there_is_no_difference():
    (line,) = results.summary([row("dual", 0.5, 0, 0.5)]).itertuples()
    assert (line.pairs, line.reason) == (0, "no row of random") and np.isnan(line.difference)
    (dual, _) = results.summary(
        [row("dual", 0.5, 0, 0.5), row("random", 0.5, 0, None) | {"failed": "no"}]
    ).itertuples()
    assert dual.reason == "no row of random"
    assert len(results.summary([])) == 0


def test_only_what_survives_holms_correction_over_the_table_is_ahead_or_behind():
    # spreads of 0.5: errors sqrt(2 * 0.25 / 3) = 0.41
    gaps = {"dual": 10, "aum": -10, "el2n": 1.4, "ccs": 0.1}
    around = (-0.005, 0, 0.005)
    rows = [row("random", 0.5, seed, 0.6 + d) for seed, d in enumerate(around)]
    rows += [
        row(name, 0.5, seed, 0.6 + gap / 100 + d)
        for name, gap in gaps.items()
        for seed, d in enumerate(around)
    ]
    table = results.summary(rows).set_index("method")
    assert table.holm.to_dict() == {
        "random": "",
        "dual": "ahead",
        "aum": "behind",
        "el2n": "",
        "ccs": "",
    }
    # t 1.4 / 0.408 = 3.43, p .027, times the 2 that are left: .053; alone it would be ahead
    assert table.low["el2n"] > 0
    assert results.summary(rows[:3] + rows[9:12]).holm.tolist() == ["", "ahead"]


def test_two_sets_of_one_name_are_not_averaged_together():
    two = [
        row("random", 0.5, seed, accuracy) | {"fingerprint": fingerprint}
        for seed, accuracy, fingerprint in ((0, 0.9, "aaaaaaaaaa"), (1, 0.1, "bbbbbbbbbb"))
    ]
    found = results.summary(two)
    assert found.accuracy.tolist() == [90, 10]
    assert found.dataset.tolist() == ["mine (aaaaaaaa)", "mine (bbbbbbbb)"]
    pages = results.overview(pandas.DataFrame([one | {"budget": "", "failed": ""} for one in two]))
    assert pages.count("; accuracy in %") == 2
    one = results.summary([one | {"fingerprint": "aaaaaaaaaa"} for one in two])
    assert one.accuracy.tolist() == [50] and one.dataset.tolist() == ["mine"]


def test_a_failed_trial_tells_no_fingerprint_and_stops_no_table():
    good = [
        row("random", 0.5, seed, 0.9) | {"failed": "", "fingerprint": fingerprint}
        for seed, fingerprint in ((0, "aaaaaaaaaa"), (1, "bbbbbbbbbb"))
    ]
    failed = row("random", 0.5, 2, None) | {"failed": "it diverged"}
    for rows in ([failed], [good[0], failed], [*good, failed]):
        table = pandas.DataFrame(rows)  # the fingerprint of the failed one is NaN
        assert results.summary(table).failed.sum() == 1
        assert len(results.labelled(table)) == len(rows) - 1
        assert results.label(table.to_dict("records")[-1]) == "random"


def test_a_published_table_and_a_sweep_are_joined_without_loss():
    published = pandas.DataFrame([row("random", 0.5, 0, 0.9)])
    swept = pandas.DataFrame([row("random", 0.5, 1, 0.7) | {"failed": ""}])
    assert results.summary(pandas.concat([published, swept])).accuracy.tolist() == [80]


def test_a_summary_has_a_line_per_set_network_budget_and_ratio():
    kinds = [
        {"dataset": "digits"},
        {"model": "resnet18"},
        {"budget": "9 steps"},
        {"prune_ratio": 0.7},
        {"num_samples": 10},
        {},
    ]
    rows = [
        row(method, 0.5, 0, accuracy) | {"budget": "2 epochs"} | kind
        for accuracy, kind in enumerate(kinds)
        for method in ("random", "dual")
    ]
    table = results.summary(rows)
    assert len(table) == 2 * len(kinds) and set(table.pairs[table.method == "dual"]) == {1}
    assert table.prune_ratio.tolist()[:2] == [0.5, 0.5] and set(table.seeds) == {1}


@pytest.mark.parametrize(
    "best, mean", [([0.6, 0.7], 65), ([0.6, None], 60), ([None, None], np.nan)]
)
def test_the_best_epochs_are_averaged_where_they_were_looked_for(best, mean):
    rows = [
        row("random", 0.5, seed, 0.5) | {"best_accuracy": value} for seed, value in enumerate(best)
    ]
    failed = {**row("random", 0.5, 2, None), "failed": "it diverged"}
    for given in (rows, pandas.DataFrame([{"failed": ""} | one for one in (*rows, failed)])):
        assert results.summary(given).best_accuracy[0] == pytest.approx(mean, nan_ok=True)


def test_a_cost_table_says_after_how_many_retrainings_pruning_has_paid():
    def costed(method, ratio, seed, before, retrain):
        spent = {
            f"{stage}_{unit}": 0
            for stage in ("record", "score", "select")
            for unit in ("samples", "seconds")
        }
        spent |= {
            "record_samples": before,
            "record_seconds": before / 100,
            "score_seconds": 1,
            "select_seconds": 2,
        }
        return (
            row(method, ratio, seed, 0.5)
            | spent
            | {"retrain_samples": retrain, "retrain_seconds": retrain / 100}
        )

    rows = [costed("random", 0.0, seed, 0, 2000) for seed in (0, 1)]
    rows += [
        costed("dual", ratio, seed, 900, retrain)
        for ratio, retrain in ((0.3, 1400), (0.5, 1000), (0.9, 200))
        for seed in (0, 1)
    ] + [costed("random", 0.5, 0, 0, 1000)]
    dual3, dual5, random5, dual9 = results.cost_table(rows)
    assert (dual3["pruned"], dual3["method"]) == ("30 %", "dual")
    assert (dual3["before"], dual3["each"], dual3["whole"]) == (900, 1400, 2000)
    # 900 / 600, / 1000, / 1800
    assert (dual3["break_even"], dual5["break_even"], dual9["break_even"]) == (2, 1, 1)
    assert dual3["share"] == 45 and random5["break_even"] == 0  # nothing came first
    # 9 + 1 + 2; 12 / 6
    assert (dual3["before_seconds"], dual3["each_seconds"], dual3["break_even_seconds"]) == (
        12,
        14,
        2,
    )
    same = [
        costed("random", 0.0, 0, 0, 2000),
        costed("dual", 0.5, 0, 900, 1999),
        costed("dual", 0.9, 0, 900, 2001),
    ]
    # the budget is steps
    assert [line["break_even"] for line in results.cost_table(same)] == [None, None]
    assert (
        np.isnan(results.cost_table(same[1:])[0]["whole"])
        and results.cost_table(same[1:])[0]["break_even"] is None
    )


def test_a_choice_of_another_network_is_named_by_it():
    row = {"method": "dual", "dataset": "digits", "options": ""}
    assert results.label(row | {"record_model": "small_cnn"}) == "dual, by small_cnn"
    assert (
        results.label(row | {"record_model": ""})
        == results.label(row | {"record_model": np.nan})
        == "dual"
    )


def test_a_variant_of_a_method_is_named_by_what_is_unusual_about_it():
    assert results.label({"method": "dual+beta", "options": "c_d=4 window=10"}) == "dual+beta"
    assert (
        results.label({"method": "dual+beta", "options": "c_d=5.5 window=8"})
        == "dual+beta, c_d=5.5, window=8"
    )


def test_an_overview_of_a_published_table():
    more = {"num_samples": 11, "budget": "5 steps"}
    rows = [row("random", 0.5, seed, 0.5) | more for seed in (0, 1)]
    table = pandas.DataFrame(rows)
    assert "failed" not in table
    assert "50.0 ± 0.0" in results.overview(table)
