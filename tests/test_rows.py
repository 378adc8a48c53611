"""A row is the same after it was written and read, in a sweep's file and in a table's; what an
older dpkit wrote is read, and what a newer one wrote is left alone.
"""

import json
from dataclasses import replace

import pytest
from hand_rows import as_before_0_9, outcome, row

from dpkit import storage
from dpkit.experiments import publishing, results
from dpkit.experiments.row_files import SCHEMA, read_answer, read_table, write_answer, write_table
from dpkit.experiments.rows import Failure, Row
from dpkit.training.recipe import Recipe

WHOLE = Row(
    dataset="digits",
    num_samples=60,
    model="small_cnn",
    method="dual+beta",
    prune_ratio=0.5,
    keep=30,
    seed=1,
    accuracy=0.1 + 0.2,  # 0.30000000000000004, to the last digit
    record=Recipe(epochs=12, lr=0.05),
    retrain=Recipe(budget="steps", steps=6, batch_size=16, augment=None, schedule="linear"),
    options={"c_d": 5.5, "cutoff": "a b=c", "window": [1, 2]},
    settings={"c_d": 5.5, "per_class": None, "protect_inf": True},
    exits={"after": [0, 1], "weights": [1, 1.5, 2]},
    versions={"record": 2, "score": 1},
    code='mine, and "quoted"',
    best_accuracy=None,
    class_accuracy=(0.1 + 0.2, None, 1.0),
    costs={"retrain": {"seconds": 0.1 + 0.2, "peak_memory": 2**40}, "record": {"epochs": 0}},
    torch="2.10",
)
# a line of 0.8: numbers as CSV has them, the rest in words
WORDS = row("dual+beta", 0.5, 1, 0.75, "c_d=5.5 window=10") | {
    "record": "12 epochs batch_size=32 nesterov=False",
    "retrain": "6 steps augment=None schedule=linear",
    "budget": "6 steps",
    "exits": "after 0 1 weights 1 1.5 2",
    "settings": '{"c_d": 5.5, "convention": "paper", "per_class": null, "window": 10.0}',
    "versions": "record 2 score 1 select 1 retrain 1",
    "threads": "2.0",
    "best_accuracy": "",
    "test_loss": "0.5",
    "torch": "2.10",
}


def test_a_row_is_the_same_after_it_was_written_and_read(tmp_path):
    write_answer(tmp_path / "row.json", WHOLE, versions={}, trial={})
    assert read_answer(tmp_path / "row.json") == WHOLE
    rows = [WHOLE, replace(WHOLE, exits=None, options={}, best_accuracy=0.5, code="")]
    write_table(tmp_path / "rows.csv", rows)
    assert read_table(tmp_path / "rows.csv", SCHEMA, {}) == rows


def test_the_worst_class_is_the_lowest_that_has_test_images():
    assert WHOLE.worst_class_accuracy == 0.1 + 0.2
    assert WHOLE.flat()["class_accuracy"] == "[0.30000000000000004, null, 1.0]"
    nothing_known = replace(WHOLE, class_accuracy=None)  # a row from before 0.9
    assert nothing_known.worst_class_accuracy is None
    assert nothing_known.flat()["class_accuracy"] == ""


def test_a_failure_is_read_back_with_its_reason(tmp_path):
    for failure in (Failure("it diverged"), Failure("the disk was full", transient=True)):
        write_answer(tmp_path / "row.json", failure, versions={})
        assert read_answer(tmp_path / "row.json") == failure


def test_a_row_file_that_was_edited_is_no_row(tmp_path):
    write_answer(tmp_path / "row.json", WHOLE)
    said = json.loads((tmp_path / "row.json").read_text())
    said["row"]["accuracy"] /= 2
    (tmp_path / "row.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="row.json was changed since dpkit wrote it"):
        read_answer(tmp_path / "row.json")


def test_a_flat_row_is_in_words_but_for_the_options():
    flat = WHOLE.flat()
    assert flat["record"] == "12 epochs lr=0.05" and flat["budget"] == "6 steps"
    assert flat["retrain"] == "6 steps batch_size=16 augment=None schedule=linear"
    assert flat["exits"] == "after 0 1 weights 1 1.5 2"
    assert flat["versions"] == "record 2 score 1"
    assert json.loads(flat["options"]) == WHOLE.options
    assert json.loads(flat["settings"]) == WHOLE.settings
    assert "from_cache" not in flat and replace(WHOLE, from_cache=True).flat()["from_cache"]
    assert replace(WHOLE, exits=None).flat()["exits"] == ""


def test_costs_are_a_column_each_whatever_the_stages(tmp_path):
    rows = [
        replace(WHOLE, costs={"record": {"seconds": 1.5, "samples": None}}),
        replace(WHOLE, costs={"record": {"samples": 4}, "fine_tune": {"peak_memory": 7}}),
    ]
    flat = rows[1].flat()
    assert (flat["record_samples"], flat["fine_tune_peak_memory"]) == (4, 7)
    assert "costs" not in flat and flat["num_samples"] == 60
    write_table(tmp_path / "rows.csv", rows)
    one, other = read_table(tmp_path / "rows.csv", SCHEMA, {})
    assert one.costs["record"] == {"seconds": 1.5, "samples": None}
    assert other.costs["fine_tune"] == {"peak_memory": 7} and other.costs["record"]["samples"] == 4


def test_a_row_file_with_a_field_for_each_cost_is_still_read(tmp_path):
    write_answer(tmp_path / "row.json", WHOLE)
    said = storage.read_checked(tmp_path / "row.json")
    del said["row"]["costs"]
    said["row"] |= {"record_epochs": 0, "retrain_peak_memory": 2**40, "retrain_seconds": 0.1 + 0.2}
    (tmp_path / "row.json").write_text(json.dumps(said))
    assert read_answer(tmp_path / "row.json") == WHOLE


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"keep": 3.5}, "keep must be a whole number from 0; got 3.5"),
        ({"accuracy": "0.5"}, "accuracy must be a number; got '0.5'"),
        ({"options": "c_d=5.5"}, "options must be a table; got 'c_d=5.5'"),
        ({"record": "12 epochs"}, "record must be a Recipe; got '12 epochs'"),
        ({"mine": 1}, "a row has no 'mine'"),
        ({"costs": {"score": 1.5}}, "costs must be a table of tables of numbers, as in"),
    ],
)
def test_a_row_of_other_kinds_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Row(**vars(WHOLE) | wrong)


def test_words_of_an_older_dpkit_become_what_they_said(tmp_path):
    (tmp_path / "row.json").write_text(json.dumps({"kind": "Row", "row": WORDS}))
    found = read_answer(tmp_path / "row.json")
    assert found.record == Recipe(epochs=12, batch_size=32, nesterov=False)
    assert found.retrain == Recipe(budget="steps", steps=6, augment=None, schedule="linear")
    assert found.options == {"c_d": 5.5, "window": 10} and found.settings["convention"] == "paper"
    assert found.exits == {"after": [0, 1], "weights": [1, 1.5, 2]}
    assert found.versions == {"record": 2, "score": 1, "select": 1, "retrain": 1}
    assert (found.threads, found.best_accuracy, found.test_loss) == (2, None, 0.5)
    assert (found.torch, found.from_cache, found.record_model) == ("2.10", True, "")
    said = {name: value for name, value in found.flat().items() if name in WORDS}
    assert said == WORDS | {
        "options": '{"c_d": 5.5, "window": 10.0}',
        "threads": 2,
        "best_accuracy": None,
        "test_loss": 0.5,
    }


@pytest.fixture
def table(tmp_path):
    one = outcome(row("dual", 0.5, 0, 0.5))
    return publishing.publish(tmp_path / "table", [one], title="Mine", command="-")


def test_a_table_of_an_older_dpkit_is_read_and_written_anew(table):
    as_before_0_9(table, [{n: v for n, v in WORDS.items() if n not in ("settings", "from_cache")}])
    before = results.results_table(table)
    assert json.loads(before.settings[0])["convention"] == "paper"  # the usual one
    assert json.loads(before.settings[0])["c_d"] == 5.5
    publishing.rewrite(table)
    assert json.loads((table / "manifest.json").read_text())["schema"] == SCHEMA
    assert results.results_table(table).equals(before)


def test_what_a_newer_dpkit_wrote_is_named(table, tmp_path):
    (tmp_path / "row.json").write_text(json.dumps({"schema": SCHEMA + 1, "row": {"new": 1}}))
    failure = read_answer(tmp_path / "row.json")
    assert failure.newer and "row.json was written by a newer dpkit: update" in failure.reason
    manifest = json.loads((table / "manifest.json").read_text()) | {"schema": SCHEMA + 1}
    (table / "manifest.json").write_text(json.dumps(manifest))
    for read in (results.results_table, results.load_outcomes, publishing.rewrite):
        with pytest.raises(ValueError, match=r"rows.csv was written by a newer dpkit \(schema 3"):
            read(table)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"kind"',
        "[1]",
        '{"schema": "2"}',
        '{"schema": 2, "row": {"keep": 1}}',
        '{"schema": 2, "row": {"record": "30 epochs"}}',
        '{"schema": 1, "row": {"keep": 1}}',
    ],
)
def test_a_file_that_holds_no_row_is_named(tmp_path, text):
    (tmp_path / "row.json").write_text(text)
    with pytest.raises(ValueError, match="row.json holds no row as dpkit writes it"):
        read_answer(tmp_path / "row.json")
    (tmp_path / "rows.csv").write_text("method,options\ndual,c_d=5\n")
    with pytest.raises(ValueError, match="options must be JSON; got 'c_d=5'"):
        read_table(tmp_path / "rows.csv", SCHEMA, {})
    (tmp_path / "rows.csv").write_text("method,keep\ndual,1\n")
    with pytest.raises(ValueError, match="rows.csv holds no row as dpkit writes it"):
        read_table(tmp_path / "rows.csv", SCHEMA, {})
