"""A published table can be read back, checked, and computed again from its own rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_rows import OUTCOMES, ROWS, N, outcome
from hand_rows import row as hand_row

from dpkit import storage
from dpkit.experiments import publishing, results
from dpkit.experiments.data_card import card_text
from dpkit.experiments.page import page_text
from dpkit.records import Scores
from dpkit.storage.processors import kind_of
from dpkit.training.recipe import Recipe

PUBLISHED = [
    path.parent
    for path in (Path(__file__).parents[1] / "results").glob("*/manifest.json")
    if json.loads(path.read_text())["kind"] == results.KIND
]


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
    other = outcome(hand_row("dual", 0.5, 0, 0.5))
    object.__setattr__(other, "scores", Scores(np.arange(N), "dual"))
    folder = publishing.publish(tmp_path / "t", [OUTCOMES[4], other], title="Mine", command="-")
    assert results.results_table(folder).scores.tolist() == [
        "scores/dual-seed0.npy",
        "scores/dual-seed0-2.npy",
    ]
    assert np.load(folder / "scores" / "dual-seed0-2.npy").tolist() == list(range(N))


def test_the_manifest_says_of_each_file_of_scores_what_made_it_and_no_name_is_read(published):
    said = json.loads((published / "manifest.json").read_text())
    assert said["scores"]["scores/dual-seed1.npy"] == {
        "score": "dual",
        "seed": 1,
        "settings": {},  # these rows do not tell theirs
        "unit": "in probability squared, 0..0.39",
        "methods": ["dual"],
        "network": "small_cnn",
        "record": {"epochs": 3},
        "record_epochs": None,
        "processor": [],
        "rows": [5],
    }
    assert said["scores"]["scores/dual-seed0.npy"]["methods"] == ["dual", "dual+beta"]
    (published / "scores" / "dual-seed1.npy").rename(published / "scores" / "7.npy")
    table = (published / "rows.csv").read_text().replace("dual-seed1", "7")
    (published / "rows.csv").write_text(table)
    for part in ("scores", "sha256"):
        said[part]["scores/7.npy"] = said[part].pop("scores/dual-seed1.npy")
    said["sha256"]["rows.csv"] = storage.file_hash(published / "rows.csv")
    storage.write_json(published / "manifest.json", said)
    scores = results.scores_of(published, 5)
    assert (scores.name, scores.params) == ("dual", {"seed": 1})


def test_scores_of_a_table_from_before_0_9_are_read_and_it_is_brought_up_to_date(published):
    said = json.loads((published / "manifest.json").read_text())
    as_new = said["scores"]
    del said["scores"], said["checksum"], said["sha256"]["DATA_CARD.md"]
    (published / "DATA_CARD.md").unlink()
    storage.write_json(published / "manifest.json", said)
    assert results.scores_of(published, 5).params == {"seed": 1}
    publishing.rewrite(published)
    assert json.loads((published / "manifest.json").read_text())["scores"] == as_new
    assert (published / "DATA_CARD.md").is_file()


def test_a_cost_that_is_not_known_is_no_text(tmp_path):
    some = [
        replace(one, row=replace(one.row, **more))
        for one, more in zip(
            OUTCOMES,
            (
                {"costs": {"record": {"peak_memory": None}}, "best_accuracy": None},
                {"costs": {"record": {"peak_memory": 5}}, "best_accuracy": 0.5, "threads": 1},
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
    outcome(
        hand_row(method, ratio, seed, accuracy + 0.01 * seed + 0.1 * (steps == 4))
        | {"retrain": Recipe(budget="steps", steps=steps)}
    )
    for steps in (3, 4)
    for method, ratio, accuracy in (("random", 0.0, 0.8), ("random", 0.5, 0.6), ("dual", 0.5, 0.7))
    for seed in (0, 1)
]


def test_a_table_of_several_recipes_or_networks_has_a_part_for_each_and_one_list_of_differences(
    tmp_path,
):
    assert list(publishing.configurations([one.row.flat() for one in SEVERAL])) == [
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
        one.row.flat() | {"retrain": f"{ratio}"}
        for ratio in (0.0, 0.5)
        for one in OUTCOMES
        if one.row.prune_ratio == ratio
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
        assert path.read_bytes() == data or path.name in ("manifest.json", "DATA_CARD.md")
    again = json.loads((published / "manifest.json").read_text())
    assert again["versions"]["dpkit"] == "0.1.0" and again["sha256"][
        "table.md"
    ] == storage.file_hash(published / "table.md")
    moved = {"sha256": None, "checksum": None}
    assert again | moved == manifest | moved


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


# ---- what lies in results/ -----------------------------------------------------------------------


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_committed_table_is_whole_and_follows_from_its_rows(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert all(
        storage.file_hash(folder / name) == sha256 for name, sha256 in manifest["sha256"].items()
    )
    rows = results.results_table(folder).to_dict("records")
    page = page_text(
        rows, manifest["title"], manifest["command"], manifest["notes"], manifest.get("tables", {})
    )
    assert (folder / "table.md").read_text() == page
    one_by_one = [one.row for one in results.load_outcomes(folder)]
    assert (folder / "DATA_CARD.md").read_text() == card_text(manifest, one_by_one)
    storage.check_checksum(manifest, folder / "manifest.json")
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
        trained = (row["model"], row["method"], row["prune_ratio"], kind_of(row))
        means.setdefault(trained, []).append(100 * row["accuracy"])
    for line in lines[lines.pairs > 0].itertuples():
        here, there = (
            np.mean(means[line.model, name, line.prune_ratio, line.processor])
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
