"""A published table can be read back, checked, and computed again from its own rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.stats import ttest_ind

import dpkit
from dpkit import storage
from dpkit.data.image_set import load
from dpkit.experiments import publishing, results, stages
from dpkit.experiments.trials import Outcome, Trial, own_code_of, settings_of
from dpkit.methods import catalog
from dpkit.methods.method import Method
from dpkit.nets import builders
from dpkit.records import Scores, Selection
from dpkit.storage.processors import kind_of
from dpkit.storage.provenance import processor
from dpkit.training.loop import Recipe

PUBLISHED = [
    path.parent
    for path in (Path(__file__).parents[1] / "results").glob("*/manifest.json")
    if json.loads(path.read_text())["kind"] == results.KIND
]
N = 11  # not a multiple of 8: the last byte of a packed set is not full


def row(method, ratio, seed, accuracy, options=""):
    return {
        "dataset": "mine",
        "num_samples": N,
        "model": "small_cnn",
        "method": method,
        "options": options,
        "prune_ratio": ratio,
        "keep": round(N * (1 - ratio)),
        "seed": seed,
        "accuracy": accuracy,
        "from_cache": True,
    }


def outcome(method, ratio, seed, accuracy, options=""):
    rng, found = (
        np.random.default_rng([seed, len(method)]),
        row(method, ratio, seed, accuracy, options),
    )
    scores = None if method == "random" else Scores(np.random.default_rng(seed).random(N), "dual")
    return Outcome(
        found, Selection(np.sort(rng.permutation(N)[: found["keep"]]), N, method), scores
    )


OUTCOMES = [
    outcome("random", 0.0, 0, 0.9),
    outcome("random", 0.0, 1, 0.8),
    outcome("random", 0.5, 0, 0.6),
    outcome("random", 0.5, 1, 0.7),
    outcome("dual", 0.5, 0, 0.5),
    outcome("dual", 0.5, 1, 0.64),
    outcome("dual+beta", 0.5, 0, 0.65, "c_d=5.5"),
    outcome("dual+beta", 0.5, 0, 0.66, "c_d=4"),
]
ROWS = [one.row for one in OUTCOMES]


@pytest.fixture
def published(tmp_path):
    return publishing.publish(
        tmp_path / "table",
        OUTCOMES,
        title="Mine",
        command="dpkit report mine.ipynb",
        notes=["A footnote."],
        settings={"retrain_steps": 3},
        tables={
            "lengths of sums": [{"method": "dual", "length": np.float64(0.123456), "seeds": 2}]
        },
    )


# ---- tables of rows ------------------------------------------------------------------------------


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


# ---- the folder ----------------------------------------------------------------------------------


def test_rows_and_kept_sets_are_read_back_as_they_were(published):
    table = results.results_table(published)
    assert table.accuracy.tolist() == [row["accuracy"] for row in ROWS]
    assert table.options.tolist() == [row["options"] for row in ROWS] and "from_cache" not in table
    for k, one in enumerate(OUTCOMES):
        read, scores = results.kept_set(published, k), results.scores_of(published, k)
        assert (scores is None) == (one.scores is None)
        if scores is not None:
            assert (
                np.array_equal(scores.values, one.scores.values.astype(np.float32))
                and scores.name == "dual"
            )
        assert read.kept.tolist() == one.selection.kept.tolist()
        assert (read.num_samples, read.method) == (N, one.selection.method)
    assert np.load(published / "kept.npy").shape == (8, 2)


def test_scores_are_float32_once_per_seed_and_found_from_the_row(published):
    table = results.results_table(published)
    assert sorted(path.name for path in (published / "scores").iterdir()) == [
        "dual-seed0.npy",
        "dual-seed1.npy",
    ]
    assert table.scores.tolist() == [""] * 4 + [f"scores/dual-seed{k}.npy" for k in (0, 1, 0, 0)]
    values = np.load(published / "scores" / "dual-seed1.npy")
    assert values.dtype == np.float32 and np.allclose(values, OUTCOMES[5].scores.values, rtol=1e-7)


def test_different_scores_of_one_name_and_seed_do_not_overwrite_each_other(tmp_path):
    other = outcome("dual", 0.5, 0, 0.5)
    object.__setattr__(other, "scores", Scores(np.arange(N), "dual"))
    folder = publishing.publish(tmp_path / "t", [OUTCOMES[4], other], title="Mine", command="-")
    assert results.results_table(folder).scores.tolist() == [
        "scores/dual-seed0.npy",
        "scores/dual-seed0-2.npy",
    ]
    assert np.load(folder / "scores" / "dual-seed0-2.npy").tolist() == list(range(N))


def test_a_cost_that_is_not_known_is_no_text(tmp_path):
    some = [
        Outcome(one.row | more, one.selection, one.scores)
        for one, more in zip(
            OUTCOMES,
            (
                {"record_peak_memory": None, "best_accuracy": None},
                {"record_peak_memory": 5, "best_accuracy": 0.5, "threads": 1},
            ),
        )
    ]
    table = results.results_table(
        publishing.publish(tmp_path / "t", some, title="Mine", command="-")
    )
    for name, value in (("record_peak_memory", 5), ("best_accuracy", 0.5), ("threads", 1)):
        assert np.isnan(table[name][0]) and table[name][1] == value


def test_the_manifest_says_how_it_was_made(published):
    manifest = json.loads((published / "manifest.json").read_text())
    assert manifest["command"] == "dpkit report mine.ipynb" and manifest["seeds"] == [0, 1]
    assert manifest["settings"] == {"retrain_steps": 3} and manifest["notes"] == ["A footnote."]
    assert {"python", "torch", "numpy"} <= set(manifest["versions"]) and manifest["machine"][
        "processor"
    ]
    files = {
        path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()
    }
    assert set(manifest["sha256"]) == files - {"manifest.json"}
    page = (published / "table.md").read_text()
    assert page.startswith("# Mine\n")
    assert page.endswith(
        "\n`dual+beta` with no setting named has the usual c_d=4.\n\nA footnote.\n"
    )
    assert "| 50 % | 6 | 65.0 ± 7.1 | 57.0 ± 9.9 | 65.0 (1 of 2) | 66.0 (1 of 2) |" in page
    assert (
        "| 50 % | dual | -8.0 [-49.0, +33.0] |  | 41.0 |" in page
        and "this table's 1 interval is called" in page
    )
    assert (
        "| 50 % | dual+beta, c_d=5.5 | +0.0 | one seed |  |" in page
        and "kinds of processor" not in page
    )
    assert (published / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_what_else_was_measured_stands_in_the_table_and_whole_in_its_manifest(published):
    assert (
        "Lengths of sums:\n\n| method | length | seeds |\n| --- | --- | --- |\n| dual | 0.123 | 2 |"
        in (published / "table.md").read_text()
    )
    assert json.loads((published / "manifest.json").read_text())["tables"] == {
        "lengths of sums": [{"method": "dual", "length": 0.123456, "seeds": 2}]
    }


SEVERAL = [
    outcome(method, ratio, seed, accuracy + 0.01 * seed + 0.1 * (retrain == "4 steps"))
    for retrain in ("3 steps", "4 steps")
    for method, ratio, accuracy in (("random", 0.0, 0.8), ("random", 0.5, 0.6), ("dual", 0.5, 0.7))
    for seed in (0, 1)
]
for k, one in enumerate(SEVERAL):
    one.row.update({"retrain": f"{3 + k // 6} steps", "budget": "steps"})


def test_a_table_of_several_recipes_or_networks_has_a_part_for_each_and_one_list_of_differences(
    tmp_path,
):
    assert list(publishing.configurations([one.row for one in SEVERAL])) == [
        "small_cnn, 3 steps",
        "small_cnn, 4 steps",
    ]
    page = (
        publishing.publish(tmp_path / "t", SEVERAL, title="Mine", command="-") / "table.md"
    ).read_text()
    parts = page.split("Trained: ")
    assert (
        parts[1].startswith("small_cnn, 3 steps\n")
        and "| 50 % | 6 | 60.5 ± 0.7 | 70.5 ± 0.7 |" in parts[1]
    )
    assert (
        parts[2].startswith("small_cnn, 4 steps\n")
        and "| 50 % | 6 | 70.5 ± 0.7 | 80.5 ± 0.7 |" in parts[2]
    )
    assert page.count("+10.0 [") == 2 and "this table's 2 intervals" in page
    found = results.summary([one.row for one in SEVERAL])
    assert found[found.pairs > 0].retrain.tolist() == ["3 steps", "4 steps"]


def test_a_recipe_that_differs_between_ratios_is_one_part():
    rows = [
        one.row | {"retrain": f"{ratio}"}
        for ratio in (0.0, 0.5)
        for one in OUTCOMES
        if one.row["prune_ratio"] == ratio
    ]
    assert list(publishing.configurations(rows)) == ["small_cnn"]
    two = [*rows, *({**row, "model": "resnet18"} for row in rows)]
    assert list(publishing.configurations(two)) == ["small_cnn", "resnet18"]


def test_a_table_of_an_older_dpkit_is_written_anew_from_its_rows_and_tells_the_same_of_them(
    published,
):
    as_new = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    manifest = json.loads((published / "manifest.json").read_text())
    (published / "table.md").write_text("as it once was")
    manifest["sha256"]["table.md"], manifest["versions"]["dpkit"] = (
        storage.file_hash(published / "table.md"),
        "0.1.0",
    )
    storage.write_json(published / "manifest.json", manifest)
    publishing.rewrite(published)
    for path, data in as_new.items():
        assert path.read_bytes() == data or path.name == "manifest.json"
    again = json.loads((published / "manifest.json").read_text())
    assert again["versions"]["dpkit"] == "0.1.0" and again["sha256"][
        "table.md"
    ] == storage.file_hash(published / "table.md")
    assert again | {"sha256": None} == manifest | {"sha256": None}


def test_a_table_whose_rows_were_changed_is_not_written_anew(published, tmp_path):
    (published / "rows.csv").write_text((published / "rows.csv").read_text().replace("0.9", "0.99"))
    before = (published / "table.md").read_text()
    with pytest.raises(ValueError, match="rows.csv is missing or was changed"):
        publishing.rewrite(published)
    assert (published / "table.md").read_text() == before
    with pytest.raises(ValueError, match="expected a published table"):
        publishing.rewrite(tmp_path / "none")


@pytest.mark.parametrize(
    "name, read",
    [("rows.csv", results.results_table), ("kept.npy", lambda f: results.kept_set(f, 0))],
)
def test_what_was_changed_since_is_refused(published, name, read):
    with open(published / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(
        ValueError, match=f"{name} is missing or was changed since it was published"
    ):
        read(published)


def test_a_table_replaces_a_table_and_nothing_else(published, tmp_path):
    publishing.publish(published, OUTCOMES[:3], title="Mine", command="-")
    assert len(results.results_table(published)) == 3
    Scores(np.arange(3), "dual").save(tmp_path / "scores")
    with pytest.raises(FileExistsError, match="holds something else than a table"):
        publishing.publish(tmp_path / "scores", OUTCOMES, title="Mine", command="-")
    assert Scores.load(tmp_path / "scores").values.tolist() == [0, 1, 2]


def test_a_table_of_another_title_or_with_notes_beside_it_is_not_replaced(published):
    before = (published / "rows.csv").read_bytes()
    with pytest.raises(
        FileExistsError,
        match="holds the table 'Mine', and this one is 'Yours'; name another folder",
    ):
        publishing.publish(published, OUTCOMES[:3], title="Yours", command="-")
    (published / "scores" / "README.md").write_text("what I think of them")
    with pytest.raises(
        FileExistsError, match="holds scores/README.md, which dpkit did not write there"
    ):
        publishing.publish(published, OUTCOMES[:3], title="Mine", command="-")
    assert (published / "rows.csv").read_bytes() == before and (
        published / "scores" / "README.md"
    ).exists()


def test_a_folder_that_is_no_table_and_a_row_that_is_not_there_are_refused(published, tmp_path):
    Scores(np.arange(3), "dual").save(tmp_path / "scores")
    for folder in (tmp_path / "scores", tmp_path / "none"):
        with pytest.raises(
            ValueError,
            match="expected a published table in .*none: give|expected a published table",
        ):
            results.results_table(folder)
    with pytest.raises(ValueError, match=r"has the rows 0\.\.7; got 8"):
        results.kept_set(published, 8)


# ---- what is published is not run again ----------------------------------------------------------


TRIAL = Trial(
    "digits", "dual", 0.5, 0, Recipe(epochs=12), 10, Recipe(budget="steps", steps=5), num_samples=N
)
EARLY = replace(TRIAL, method="el2n")


def here(images):
    """What a row says of the machine at hand."""
    return {"device": stages.device_name(images.device), "processor": processor()}


@pytest.fixture
def few():
    return load("digits", device="cpu").first(N)


@pytest.fixture
def held_out():
    return load("digits", split="test", device="cpu")


@pytest.fixture
def done(tmp_path, few):
    """A published table of two trials, one of which reads an early snapshot."""

    def finished(trial):
        own = {
            name: getattr(trial, name)
            for name in (
                "dataset",
                "num_samples",
                "model",
                "method",
                "prune_ratio",
                "seed",
                "record_epochs",
                "snapshot_epoch",
                "best_every",
            )
        }
        row = (
            own
            | here(few)
            | {
                "options": "",
                "keep": 6,
                "accuracy": 0.5,
                "record": trial.record.describe(),
                "retrain": trial.retrain.describe(),
                "settings": settings_of(trial),
                "versions": stages.versions_text(),
            }
        )
        return Outcome(row, Selection(np.arange(6), N, "top"), Scores(np.arange(N), trial.method))

    return publishing.publish(
        tmp_path / "done",
        [finished(TRIAL), finished(EARLY)],
        title="Mine",
        command="-",
        settings={"data": few.fingerprint},
    )


def test_a_table_that_was_tested_on_other_images_counts_for_nothing(done, few, held_out):
    there, _ = publishing.published([TRIAL], [done], few, held_out)
    for tested, count in ((held_out.fingerprint, 1), ("another", 0)):
        told = publishing.publish(
            done,
            there,
            title="Mine",
            command="-",
            settings={"data": few.fingerprint, "test": tested},
        )
        assert len(publishing.published([TRIAL], [told], few, held_out)[0]) == count


def test_a_published_trial_is_not_run_again(done, few, held_out):
    there, left = publishing.published(
        [EARLY, TRIAL], [done.with_name("none"), done], few, held_out
    )
    assert [one.row["method"] for one in there] == ["el2n", "dual"] and left == []
    assert there[1].selection.kept.tolist() == list(range(6)) and there[
        1
    ].scores.values.tolist() == list(range(N))
    again = publishing.publish(
        done, there, title="Mine", command="-", settings={"data": few.fingerprint}
    )
    assert publishing.published([TRIAL, EARLY], [again], few, held_out)[1] == []


@pytest.mark.parametrize(
    "told", [{"processor": "another"}, {"processor": ""}, {"device": "NVIDIA H200"}]
)
def test_rows_of_another_kind_of_processor_are_another_training_unless_asked_for(
    done, few, held_out, told
):
    own, _ = publishing.published([TRIAL, EARLY], [done], few, held_out)
    rows = [replace(one, row=one.row | told | {"accuracy": 0.25}) for one in own]
    other = publishing.publish(
        done.parent / "other", rows, title="Mine", command="-", settings={"data": few.fingerprint}
    )
    assert publishing.published([TRIAL, EARLY], [other], few, held_out) == ([], [TRIAL, EARLY])
    there, left = publishing.published([TRIAL, EARLY], [other], few, held_out, other_kinds=True)
    assert [one.row["accuracy"] for one in there] == [0.25, 0.25] and left == []
    there, _ = publishing.published([TRIAL, EARLY], [other, done], few, held_out, other_kinds=True)
    # where both are there, those of this kind, in any order
    assert [one.row["accuracy"] for one in there] == [0.5, 0.5]
    mixed = [there[0], *publishing.published([EARLY], [other], few, held_out, other_kinds=True)[0]]
    page = publishing.publish(done.parent / "mixed", mixed, title="Mine", command="-") / "table.md"
    assert "The rows are from 2 kinds of processor: " in page.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"prune_ratio": 0.6},
        {"seed": 1},
        {"method": "aum"},
        {"method": "random"},
        {"model": "resnet18"},
        {"num_samples": N - 1},
        {"record": Recipe(epochs=13)},
        {"record_epochs": 11},
        {"retrain": Recipe(budget="steps", steps=6)},
        {"best_every": 1},
        {"options": {"window": 9}},
        {"options": {"per_class": "balanced"}},
        {"record_model": "resnet18"},
        {"retrain": Recipe(budget="steps", steps=5, label_smoothing=0.1)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_trial_that_differs_from_the_published_one_is_run(done, few, held_out, changes):
    assert publishing.published([replace(TRIAL, **changes)], [done], few, held_out)[0] == []


def test_the_early_snapshot_counts_where_it_is_read(done, few, held_out):
    there, left = publishing.published(
        [replace(trial, snapshot_epoch=3) for trial in (TRIAL, EARLY)], [done], few, held_out
    )
    assert [one.row["method"] for one in there] == ["dual"] and [
        trial.method for trial in left
    ] == ["el2n"]


def test_exits_count_where_they_are_read(few, held_out, tmp_path):
    exits = replace(TRIAL, method="eeprune", exits=(0,))
    row = {
        name: getattr(exits, name)
        for name in (
            "dataset",
            "num_samples",
            "model",
            "method",
            "prune_ratio",
            "seed",
            "record_epochs",
            "snapshot_epoch",
            "best_every",
        )
    }
    row |= here(few) | {
        "options": "protect_inf=True",
        "keep": 6,
        "accuracy": 0.5,
        "record": exits.record.describe(),
        "exits": "after 0",
        "retrain": exits.retrain.describe(),
        "settings": settings_of(exits),
        "versions": stages.versions_text(),
    }
    table = publishing.publish(
        tmp_path / "t",
        [Outcome(row, Selection(np.arange(6), N, "top"), None)],
        title="Mine",
        command="-",
        settings={"data": few.fingerprint},
    )
    for trial, count in (
        (exits, 1),
        (replace(exits, exits=(1,)), 0),
        (replace(exits, exit_weights=(1, 2)), 0),
    ):
        assert len(publishing.published([trial], [table], few, held_out)[0]) == count


def test_a_row_keeps_the_versions_it_was_made_with(done, few, held_out):
    first = "record 1 score 1 select 1 retrain 1"
    told = publishing.published([TRIAL], [done], few, held_out)[0][0]
    silent = {name: value for name, value in told.row.items() if name != "versions"}
    for row in (told.row | {"versions": first}, silent):
        older = publishing.publish(
            done.parent / "older",
            [replace(told, row=row)],
            title="Mine",
            command="-",
            settings={"data": few.fingerprint},
        )
        assert publishing.published([TRIAL], [older], few, held_out)[0][0].row["versions"] == first


def test_a_table_of_other_images_or_older_numbers_counts_for_nothing(
    done, few, held_out, monkeypatch
):
    assert (
        publishing.published([TRIAL], [done], load("digits", device="cpu").first(N + 1), held_out)[
            0
        ]
        == []
    )
    monkeypatch.setitem(stages.VERSIONS, "select", 1000)
    assert publishing.published([TRIAL], [done], few, held_out)[0] == []


def test_a_setting_whose_usual_value_changed_since_is_another(done, few, held_out, monkeypatch):
    usual = Method.options.fget
    monkeypatch.setattr(Method, "options", property(lambda method: usual(method) | {"window": 9}))
    assert (
        publishing.published([replace(TRIAL, options={"window": 10})], [done], few, held_out)[1]
        == []
    )
    assert publishing.published([TRIAL], [done], few, held_out)[0] == []


def test_rows_from_before_they_told_their_settings_count_where_the_manifest_tells_the_rest(
    tmp_path, few, held_out
):
    row = {
        "dataset": "digits",
        "num_samples": N,
        "model": "small_cnn",
        "method": "dual",
        "options": "window=10",
        "prune_ratio": 0.5,
        "seed": 0,
        "record": "12 epochs",
        "record_epochs": 10,
        "retrain": "5 steps",
        "accuracy": 0.5,
        "keep": 6,
    } | here(few)
    old = [Outcome(row, Selection(np.arange(6), N, "top"), None)]
    for said, count in (({"best_every": 0}, 1), ({"best_every": 2}, 0), ({}, 0)):
        table = publishing.publish(
            tmp_path / "old",
            old,
            title="Mine",
            command="-",
            settings={"data": few.fingerprint} | said,
        )
        assert len(publishing.published([TRIAL], [table], few, held_out)[0]) == count


def test_a_published_row_of_an_edited_method_or_network_counts_for_nothing(
    few, held_out, tmp_path, monkeypatch
):
    def edit(name, sign, table=catalog.METHODS):
        def mine(dynamics):
            return Scores(sign * dynamics.mean_prob(), "mine")

        monkeypatch.setitem(
            table,
            name,
            mine if table is builders.MODELS else Method("dynamics", mine, dpkit.keep_top),
        )

    def there(trial, *tables):
        return len(publishing.published([trial], tables, few, held_out)[0])

    def publish(name, trial, **more):
        own = {
            name: getattr(trial, name)
            for name in (
                "dataset",
                "num_samples",
                "model",
                "method",
                "prune_ratio",
                "seed",
                "record_epochs",
                "snapshot_epoch",
                "best_every",
            )
        }
        row = (
            own
            | here(few)
            | {
                "options": "",
                "keep": 6,
                "accuracy": 0.5,
                "record": trial.record.describe(),
                "versions": stages.versions_text(),
                "retrain": trial.retrain.describe(),
                "settings": settings_of(trial),
            }
            | more
        )
        return publishing.publish(
            tmp_path / name,
            [Outcome(row, Selection(np.arange(6), N, "top"), None)],
            title="Mine",
            command="-",
            settings={"data": few.fingerprint},
        )

    edit("mine", 1)
    trial = replace(TRIAL, method="mine")
    silent, telling = publish("silent", trial), publish("telling", trial, code=own_code_of(trial))
    assert there(trial, silent) == 0 and there(trial, telling) == there(trial, silent, telling) == 1
    edit("mine", -1)
    assert there(trial, telling) == 0
    kits = publish("kits", TRIAL)
    assert there(TRIAL, kits) == 1
    edit("dual", 1)  # dpkit's own name, and not its function
    assert there(TRIAL, kits) == 0
    monkeypatch.undo()
    edit("small_cnn", 1, builders.MODELS)
    assert there(TRIAL, kits) == 0


# ---- what lies in results/ -----------------------------------------------------------------------


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_committed_table_is_whole_and_follows_from_its_rows(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert all(
        storage.file_hash(folder / name) == sha256 for name, sha256 in manifest["sha256"].items()
    )
    rows = results.results_table(folder).to_dict("records")
    page = publishing._page(
        rows, manifest["title"], manifest["command"], manifest["notes"], manifest.get("tables", {})
    )
    assert (folder / "table.md").read_text() == page
    assert manifest["seeds"] == sorted({row["seed"] for row in rows})
    for k, row in enumerate(rows):
        asked = round(row["num_samples"] * (1 - row["prune_ratio"]))
        assert len(results.kept_set(folder, k).kept) == row["keep"]
        # whom it may not prune stay
        assert row["keep"] == asked or (row["method"] == "eeprune" and row["keep"] > asked)
        assert kind_of(row)  # every row tells the kind of processor that it is from
        # the published scores give the published set, but for what float32 made equal
        if row["method"] == "dual":
            values = np.load(folder / row["scores"]).astype(float)
            kept = results.kept_set(folder, k)
            assert values[kept.kept].min() >= values[kept.pruned].max()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_committed_table_says_at_its_top_whether_it_is_of_several_kinds_and_compares_none_across(
    folder,
):
    rows = results.results_table(folder).to_dict("records")
    several = len({kind_of(row) for row in rows}) > 1
    top = (folder / "table.md").read_text().split("\n\n")[2]
    assert top.startswith("The rows are from") == several and top == (results.kinds_of(rows) or top)
    lines, means = results.summary(rows), {}
    for row in results.labelled(rows):
        means.setdefault((row["method"], row["prune_ratio"], kind_of(row)), []).append(
            100 * row["accuracy"]
        )
    for line in lines[lines.pairs > 0].itertuples():
        here, there = (
            np.mean(means[name, line.prune_ratio, line.processor])
            for name in (line.method, "random")
        )
        assert line.difference == pytest.approx(here - there)
    # what a table of several kinds cannot compare it says
    assert (lines.reason != "").any() == several


def test_the_same_training_in_two_committed_tables_is_from_one_kind_of_processor():
    found = {}
    for folder in PUBLISHED:
        for row in results.results_table(folder).to_dict("records"):
            told = (kind_of(row), row["accuracy"], row["test_loss"])
            assert (
                found.setdefault(
                    (row["method"], row["selection"], row["seed"], row["retrain_seconds"]), told
                )
                == told
            )
