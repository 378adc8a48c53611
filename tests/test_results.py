"""A published table can be read back, checked, and computed again from its own rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from dpkit import publishing, results, store
from dpkit.records import Scores, Selection
from dpkit.trials import Outcome

PUBLISHED = [path.parent for path in (Path(__file__).parents[1] / "results").glob("*/manifest.json")
             if json.loads(path.read_text())["kind"] == results.KIND]
N = 11  # not a multiple of 8: the last byte of a packed set is not full


def outcome(method, ratio, seed, accuracy, options=""):
    rng = np.random.default_rng([seed, len(method)])
    keep = round(N * (1 - ratio))
    row = {"dataset": "mine", "num_samples": N, "model": "small_cnn", "method": method, "options": options,
           "prune_ratio": ratio, "keep": keep, "seed": seed, "accuracy": accuracy, "from_cache": True}
    scores = None if method == "random" else Scores(np.random.default_rng(seed).random(N), "dual")
    return Outcome(row, Selection(np.sort(rng.permutation(N)[:keep]), N, method), scores)


OUTCOMES = [outcome("random", 0.0, 0, 0.9), outcome("random", 0.0, 1, 0.8), outcome("random", 0.5, 0, 0.6),
            outcome("random", 0.5, 1, 0.7), outcome("dual", 0.5, 0, 0.5), outcome("dual", 0.5, 1, 0.64),
            outcome("dual+beta", 0.5, 0, 0.65, "c_d=5.5"), outcome("dual+beta", 0.5, 0, 0.66, "c_d=4")]
ROWS = [one.row for one in OUTCOMES]


@pytest.fixture
def published(tmp_path):
    return publishing.publish(tmp_path / "table", OUTCOMES, title="Mine", command="dpkit report mine.ipynb",
                           notes=["A footnote."], settings={"retrain_steps": 3})


# ---- tables of rows --------------------------------------------------------------------------------------------


def test_accuracies_are_mean_and_standard_deviation_over_the_seeds_in_percent():
    nothing, half = results.accuracy_table(ROWS)
    assert nothing == {"pruned": "nothing", "kept": 11, "random": "85.0 ± 7.1"}  # sqrt(2 * 5^2 / (2 - 1)) = 7.07
    assert half == {"pruned": "50 %", "kept": 6, "random": "65.0 ± 7.1", "dual": "57.0 ± 9.9", "dual+beta, c_d=5.5": "65.0",
                    "dual+beta": "66.0"}


def test_differences_are_taken_within_a_seed():
    dual, other, usual = results.paired_differences(ROWS)
    assert (dual["pruned"], dual["method"], dual["seeds"]) == ("50 %", "dual", 2)
    assert dual["minus random"] == pytest.approx(-8)  # -10 and -6: spread sqrt(2 * 2^2) = 2.83, where unpaired is 12
    assert dual["spread"] == pytest.approx(2.828, abs=1e-3)
    assert (other["method"], other["minus random"], other["spread"]) == ("dual+beta, c_d=5.5", pytest.approx(5), None)
    assert usual["method"] == "dual+beta"
    assert [gap["minus dual"] for gap in results.paired_differences(ROWS, to="dual")] == pytest.approx([8, 15, 16])


def test_a_variant_of_a_method_is_named_by_what_is_unusual_about_it():
    assert results.label({"method": "dual+beta", "options": "c_d=4 window=10"}) == "dual+beta"
    assert results.label({"method": "dual+beta", "options": "c_d=5.5 window=8"}) == "dual+beta, c_d=5.5, window=8"


# ---- the folder ------------------------------------------------------------------------------------------------


def test_rows_and_kept_sets_are_read_back_as_they_were(published):
    table = results.results_table(published)
    assert table.accuracy.tolist() == [row["accuracy"] for row in ROWS]
    assert table.options.tolist() == [row["options"] for row in ROWS] and "from_cache" not in table
    for k, one in enumerate(OUTCOMES):
        read = results.kept_set(published, k)
        assert read.kept.tolist() == one.selection.kept.tolist()
        assert (read.num_samples, read.method) == (N, one.selection.method)
    assert np.load(published / "kept.npy").shape == (8, 2)


def test_scores_are_float32_once_per_seed_and_found_from_the_row(published):
    table = results.results_table(published)
    assert sorted(path.name for path in (published / "scores").iterdir()) == ["dual-seed0.npy", "dual-seed1.npy"]
    assert table.scores.tolist() == [""] * 4 + [f"scores/dual-seed{k}.npy" for k in (0, 1, 0, 0)]
    values = np.load(published / "scores" / "dual-seed1.npy")
    assert values.dtype == np.float32 and np.allclose(values, OUTCOMES[5].scores.values, rtol=1e-7)


def test_different_scores_of_one_name_and_seed_do_not_overwrite_each_other(tmp_path):
    other = outcome("dual", 0.5, 0, 0.5)
    object.__setattr__(other, "scores", Scores(np.arange(N), "dual"))
    folder = publishing.publish(tmp_path / "t", [OUTCOMES[4], other], title="Mine", command="-")
    assert results.results_table(folder).scores.tolist() == ["scores/dual-seed0.npy", "scores/dual-seed0-2.npy"]
    assert np.load(folder / "scores" / "dual-seed0-2.npy").tolist() == list(range(N))


def test_the_manifest_says_how_it_was_made(published):
    manifest = json.loads((published / "manifest.json").read_text())
    assert manifest["command"] == "dpkit report mine.ipynb" and manifest["seeds"] == [0, 1]
    assert manifest["settings"] == {"retrain_steps": 3} and manifest["notes"] == ["A footnote."]
    assert {"python", "torch", "numpy"} <= set(manifest["versions"]) and manifest["machine"]["processor"]
    files = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    assert set(manifest["sha256"]) == files - {"manifest.json"}
    page = (published / "table.md").read_text()
    assert page.startswith("# Mine\n")
    assert page.endswith("\n`dual+beta` with no setting named has the usual c_d=4.\n\nA footnote.\n")
    assert "| 50 % | 6 | 65.0 ± 7.1 | 57.0 ± 9.9 | 65.0 | 66.0 |" in page and "| 50 % | dual | -8.0 ± 2.8 |" in page
    assert (published / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name, read", [("rows.csv", results.results_table), ("kept.npy", lambda f: results.kept_set(f, 0))])
def test_what_was_changed_since_is_refused(published, name, read):
    with open(published / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(ValueError, match=f"{name} is missing or was changed since it was published"):
        read(published)


def test_a_table_replaces_a_table_and_nothing_else(published, tmp_path):
    publishing.publish(published, OUTCOMES[:3], title="Mine", command="-")
    assert len(results.results_table(published)) == 3
    Scores(np.arange(3), "dual").save(tmp_path / "scores")
    with pytest.raises(FileExistsError, match="holds something else than a table"):
        publishing.publish(tmp_path / "scores", OUTCOMES, title="Mine", command="-")
    assert Scores.load(tmp_path / "scores").values.tolist() == [0, 1, 2]


def test_a_folder_that_is_no_table_and_a_row_that_is_not_there_are_refused(published, tmp_path):
    Scores(np.arange(3), "dual").save(tmp_path / "scores")
    for folder in (tmp_path / "scores", tmp_path / "none"):
        with pytest.raises(ValueError, match="expected a published table in .*none: give|expected a published table"):
            results.results_table(folder)
    with pytest.raises(ValueError, match=r"has the rows 0\.\.7; got 8"):
        results.kept_set(published, 8)


# ---- what lies in results/ -------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_committed_table_is_whole_and_follows_from_its_rows(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert all(store.file_hash(folder / name) == sha256 for name, sha256 in manifest["sha256"].items())
    rows = results.results_table(folder).to_dict("records")
    page = publishing._page(rows, manifest["title"], manifest["command"], manifest["notes"])
    assert (folder / "table.md").read_text() == page
    assert manifest["seeds"] == sorted({row["seed"] for row in rows})
    for k, row in enumerate(rows):
        assert len(results.kept_set(folder, k).kept) == row["keep"] == round(row["num_samples"] * (1 - row["prune_ratio"]))
        if row["method"] == "dual":  # the published scores give the published set, but for what float32 made equal
            values = np.load(folder / row["scores"]).astype(float)
            kept = results.kept_set(folder, k)
            assert values[kept.kept].min() >= values[kept.pruned].max()
