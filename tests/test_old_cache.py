"""What 0.8 left in a cache is found: tests/data/cache-0.8.zip, five trials of digits that it
ran.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dpkit import Recipe, Trial, run_trial
from dpkit.experiments import choosing, stages
from dpkit.experiments.row_files import read_answer

ARCHIVE = Path(__file__).parent / "data" / "cache-0.8.zip"
# what it was told of the machine, as a processor is part of a record's name
AROUND = {"device": "cpu", "processor": "a committed one", "precision": "fp32", "torch": "2.x"}
CELL = Trial(
    dataset="digits",
    method="dual",
    prune_ratio=0.5,
    seed=0,
    record=Recipe(epochs=12, batch_size=32),
    record_epochs=10,
    retrain=Recipe(budget="steps", steps=6, batch_size=16),
    num_samples=60,
)
TRIALS = [
    CELL,
    replace(CELL, method="d2", options={"neighbours": 3, "cutoff": 0.1}),
    replace(CELL, method="eeprune", exits=(0,)),
    replace(CELL, method="random", prune_ratio=0.2),
    replace(CELL, method="influence_norm"),
]


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folder with the cache and rows.json; whatever would be computed anew fails."""
    shutil.unpack_archive(ARCHIVE, tmp_path)
    monkeypatch.setattr(stages, "compute_environment", lambda images, recipe: AROUND)
    for module, name in ((stages, "train"), (stages, "measured"), (choosing, "measured")):
        # which every stage that runs calls
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("a stage was run again"))
    return tmp_path


@pytest.mark.parametrize("k", range(len(TRIALS)), ids=[trial.method for trial in TRIALS])
def test_every_stage_of_an_older_cache_is_found_and_its_row_is_the_same(old, k):
    expected = json.loads((old / "rows.json").read_text())[k]
    file = old / "row.json"  # as a sweep of 0.8 wrote it
    file.write_text(json.dumps({"kind": "Row", "versions": {}, "trial": {}, "row": expected}))
    found = run_trial(TRIALS[k], cache=old / "cache", device="cpu")
    assert found["from_cache"]
    assert {**found, "from_cache": False} == read_answer(file).flat()
    assert {**found, "from_cache": False, "options": expected["options"]} == expected | {
        "code": "",
        "record_model": "",
        "fingerprint": "",
        "test": "",
        "class_accuracy": "",
        "worst_class_accuracy": None,
    }


def test_another_setting_is_not_found(old):
    with pytest.raises(pytest.fail.Exception, match="a stage was run again"):
        run_trial(replace(CELL, seed=1), cache=old / "cache", device="cpu")


def test_one_trial_reads_and_checks_each_record_once(old, monkeypatch):
    from dpkit.experiments import cache
    from dpkit.storage import files

    cache._loaded.cache_clear()
    hashed = []
    file_hash = files.file_hash
    monkeypatch.setattr(files, "file_hash", lambda path: hashed.append(path) or file_hash(path))
    run_trial(TRIALS[1], cache=old / "cache", device="cpu")  # d2: dynamics, final, scores, kept
    assert len(hashed) == len(set(hashed)) > 5
    before = len(hashed)
    run_trial(replace(TRIALS[1]), cache=old / "cache", device="cpu")
    assert len(hashed) == before
