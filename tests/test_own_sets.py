"""An image set of one's own is accepted wherever the name of one is: in trials, grids, sweeps and
prune.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import dpkit
from dpkit import Recipe, Trial, run_trial, storage
from dpkit.data import from_arrays, load
from dpkit.experiments import clusters, grids, results, stages, stored_sets, trials
from dpkit.experiments.grids import InvalidGrid
from dpkit.experiments.parcels import pack, unpack
from dpkit.experiments.row_files import write_answer
from dpkit.experiments.rows import Failure

MEASURED = ("seconds", "peak_memory", "from_cache", "threads", "failed")
FIELDS = dpkit.ImageSet.__dataclass_fields__
RECIPES = {
    "record": Recipe(epochs=12, batch_size=32),
    "record_epochs": 10,
    "retrain": Recipe(budget="steps", steps=4, batch_size=16),
}
GRID = {
    "method": ["dual", "random"],
    "prune_ratio": 0.5,
    "record": {"epochs": 12, "batch_size": 32},
    "record_epochs": 10,
    "retrain": {"budget": "steps", "steps": 4, "batch_size": 16},
}


def made(n, seed=0, name="stripes", **more):
    """Images of 8x8 whose brighter half is their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 120, (n, 8, 8), dtype=np.uint8)
    pixels[labels == 0, :4] += 60
    pixels[labels == 1, 4:] += 60
    return from_arrays(pixels, labels, name=name, device="cpu", **more)


@pytest.fixture(scope="module")
def sets():
    images = made(60)
    return {"dataset": images, "test": made(20, seed=1, like=images)}


def trial(sets, **more):
    return Trial(**{"method": "dual", "prune_ratio": 0.5, "seed": 0} | RECIPES | sets | more)


def numbers(row):
    return {name: value for name, value in row.items() if not name.endswith(MEASURED)}


def swept(grid, tmp_path, **more):
    rows = dpkit.sweep(
        grid,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        device="cpu",
        on_progress=lambda *a, **k: None,
        **more,
    )
    assert rows["failed"].eq("").all(), rows["failed"].tolist()
    return rows.to_dict("records")


# ---- the same numbers ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the subset of digits")
def test_a_named_set_given_as_an_object_has_the_same_numbers_and_finds_the_same_stages(tmp_path):
    named = {"dataset": "digits", "num_samples": 60}
    images = load("digits", device="cpu", say=None)
    given = {
        "dataset": images,
        "test": load("digits", split="test", device="cpu", say=None),
        "num_samples": 60,
    }
    rows = [run_trial(trial(some), cache=tmp_path, device="cpu") for some in (named, given)]
    told = [row.pop("fingerprint") for row in rows]
    assert rows[1]["from_cache"] and told == ["", images.fingerprint]
    assert [row.pop("test") for row in rows] == ["", "digits"]
    assert numbers(rows[1]) == numbers(rows[0])


def test_a_subset_is_a_set_of_its_own(tmp_path, sets):
    part = sets["dataset"].subset(np.arange(10, 50))
    assert part.standalone().ids.tolist() == list(range(40))
    assert sets["dataset"].standalone() is sets["dataset"]
    row = run_trial(trial(sets | {"dataset": part}), cache=tmp_path, device="cpu")
    assert (row["num_samples"], row["keep"]) == (40, 20)
    images = sets["dataset"]
    same = from_arrays(
        images.images[10:50].permute(0, 2, 3, 1).numpy(),
        images.labels[10:50].numpy(),
        name="stripes",
        mean=images.mean,
        std=images.std,
        device="cpu",
    )
    other = run_trial(trial(sets | {"dataset": same}), cache=tmp_path, device="cpu")
    assert other["from_cache"] and other["accuracy"] == row["accuracy"]
    assert other["fingerprint"] == same.fingerprint != row["fingerprint"] == part.fingerprint


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    with clusters.connected(workers=1, device="cpu") as client:
        yield client


def test_a_sweep_on_workers_has_the_rows_of_single_trials(tmp_path, sets, cluster):
    rows = swept(GRID | sets, tmp_path, client=cluster)
    for row, method in zip(rows, GRID["method"], strict=True):
        alone = run_trial(trial(sets, method=method), cache=tmp_path / "alone", device="cpu")
        # pandas gives the whole column floats where one row has none
        assert str(numbers(row)) == str(numbers(alone))
        assert row["dataset"] == "stripes"
        assert row["fingerprint"] == sets["dataset"].fingerprint
    # to train, a process needs no compiler, which takes longer to load than all else but torch
    assert list(cluster.run(lambda: "torch._dynamo" in sys.modules).values()) == [False]


def test_a_failed_row_of_a_sweep_tells_the_fingerprint_of_its_set(tmp_path, sets):
    named = trial({"dataset": "digits"})
    cells = [
        one.plain() | {"name": name, "versions": {}, "num_samples": 60, "keep": 30}
        for name, one in (("a", trial(sets)), ("b", named))
    ]
    (tmp_path / "rows").mkdir()
    said = {"kind": "Sweep", "cache": tmp_path, "trials": cells}
    storage.write_json(tmp_path / results.SWEEP, said)
    for name in ("a", "b"):
        write_answer(results.row_file(tmp_path, name), Failure("it diverged"))
    table = results.results_table(tmp_path)
    assert table.fingerprint.tolist() == [sets["dataset"].fingerprint, ""]


def test_a_sweep_that_was_stopped_goes_on_with_a_set_that_is_made_anew(tmp_path, sets, monkeypatch):
    swept(GRID | sets, tmp_path, workers=1)
    monkeypatch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster started"))
    images = made(60)
    again = {"dataset": images, "test": made(20, seed=1, like=images)}
    assert [row["accuracy"] for row in swept(GRID | again, tmp_path)]


def test_a_set_of_a_class_typed_in_a_cell_reaches_the_workers(tmp_path, sets, cluster):
    cell = """
from dpkit.data.image_set import ImageSet
class Mine(ImageSet):
    pass
"""
    space = {"__name__": "__main__"}
    exec(cell, space)
    mine = space["Mine"](**{name: getattr(sets["dataset"], name) for name in FIELDS})
    (row,) = swept(GRID | sets | {"dataset": mine, "method": "random"}, tmp_path, client=cluster)
    assert row["fingerprint"] == mine.fingerprint


# ---- prune ---------------------------------------------------------------------------------------


def pruned(data, tmp_path, name="pruned", **more):
    settings = {"method": "dual", "prune_ratio": 0.5, "epochs": 10, "recipe": RECIPES["record"]}
    settings |= {"cache": tmp_path / "cache", "device": "cpu", "say": lambda line: None}
    return dpkit.prune(data, tmp_path / name, **settings | more)


def test_prune_takes_it_and_keeps_what_a_trial_keeps(tmp_path, sets, monkeypatch):
    outcome = trials.outcome_of(trial(sets), cache=tmp_path / "cache", device="cpu")
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    done = pruned(sets["dataset"], tmp_path)
    assert dpkit.read_kept(tmp_path / "pruned")[0].tolist() == outcome.selection.kept.tolist()
    assert done["set"] == "stripes" and done["request"]["data"] == sets["dataset"].fingerprint
    again = []
    pruned(sets["dataset"], tmp_path, say=again.append)
    assert again[-1].endswith("holds this very run; nothing to do")


@pytest.fixture(scope="module")
def part(sets):
    """Every second pair of the set, the last one first."""
    return sets["dataset"].subset(np.arange(60)[::-1][np.arange(60) % 4 < 2])


def test_prune_of_a_subset_keeps_the_numbers_of_the_whole_set(tmp_path, sets, part):
    part = replace(part, paths=[f"{i}.png" for i in part.ids])
    done = pruned(part, tmp_path)
    kept, paths = dpkit.read_kept(tmp_path / "pruned")
    outcome = trials.outcome_of(trial(sets | {"dataset": part}), cache=tmp_path / "cache")
    assert kept.tolist() == sorted(part.ids[outcome.selection.kept].tolist())
    assert paths == [f"{i}.png" for i in kept]
    assert (done["keep"], done["num_samples"], done["no_record"]) == (15, 60, 30)
    scores = dpkit.Scores.load(tmp_path / "pruned" / "scores").values
    assert np.flatnonzero(np.isfinite(scores)).tolist() == sorted(part.ids.tolist())
    assert scores[part.ids].tolist() == outcome.scores.values.tolist()


@pytest.mark.parametrize("method", ["random", "dual"])
def test_the_same_images_under_other_numbers_are_another_run(tmp_path, part, method):
    pruned(part, tmp_path, method=method)
    with pytest.raises(FileExistsError, match="holds another run"):
        pruned(replace(part, ids=part.ids[::-1].copy()), tmp_path, method=method)


def test_prune_of_a_subset_reads_the_record_of_the_whole_set(tmp_path, sets, part):
    given = sets["dataset"].labels.numpy()
    prob = np.random.default_rng(0).random((60, 10))
    prob[part.ids[0]] = np.nan  # held out from that training
    dynamics = dpkit.TrainingDynamics(prob, prob - 0.5, prob > 0.5, given)
    dynamics.save(tmp_path / "record")
    done = pruned(part, tmp_path, dynamics=tmp_path / "record")
    rows = np.sort(part.ids[1:])
    scores = dpkit.dual(
        dpkit.TrainingDynamics(*(a[rows] for a in (prob, prob - 0.5, prob > 0.5, given)))
    ).values
    expected = np.sort(rows[np.argsort(-scores)[: done["keep"]]])
    assert done["keep"] == 14 and done["no_record"] == 31
    assert dpkit.read_kept(tmp_path / "pruned")[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        (np.zeros((4, 8, 8)), {}, "data must be a name, a path or an ImageSet; got ndarray"),
        (made(8), {"size": 4}, "size must be left out, as the set stripes is loaded"),
        (made(8), {"size": 9, "classes": ["a"]}, "size and classes must be left out"),
        (replace(made(8), labels=torch.zeros(8).long()), {}, "stripes must hold at least two"),
        (made(8), {"prune_ratio": 0.99}, "prune_ratio 0.99 would keep none of 8 samples"),
    ],
)
def test_prune_refuses_what_is_wrong(tmp_path, data, more, message):
    with pytest.raises(ValueError, match=message):
        pruned(data, tmp_path, **more)
    assert not (tmp_path / "pruned").exists()


def test_the_folder_of_a_sets_files_is_not_written_into(tmp_path, sets):
    (tmp_path / "photos").mkdir()
    images = replace(sets["dataset"], source=str(tmp_path / "photos"))
    with pytest.raises(FileExistsError, match="must lie apart"):
        pruned(images, tmp_path, "photos/out")


# ---- how it travels ------------------------------------------------------------------------------


def test_a_task_holds_no_pixels_and_the_worker_maps_the_file(tmp_path):
    images = made(20_000)
    some = trial({"dataset": images, "test": made(20, seed=1, like=images)})
    found = stored_sets.store([images, some.test], tmp_path)
    parcel = pack(some, found)
    assert len(pack(some)) > images.images.numel() > 20 * len(parcel)
    with unpack(parcel) as there:
        assert there.dataset is not images and there.dataset.fingerprint == images.fingerprint
        assert there.plain() == some.plain()
        with unpack(parcel) as again:
            assert again.dataset is there.dataset  # read once per process
        clean = torch.arange(5)
        assert torch.equal(there.dataset.clean(clean), images.clean(clean))
        there.dataset.images[0] = 0  # reaches no file
    stored_sets._loaded.cache_clear()
    assert found[images].load().fingerprint == images.fingerprint


def test_a_damaged_file_is_worth_another_try_and_the_next_sweep_writes_it_anew(tmp_path, sets):
    images = sets["dataset"]
    found = stored_sets.store([images], tmp_path)[images]
    file = found.folder / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    stored_sets._loaded.cache_clear()
    with pytest.raises(OSError, match="missing, truncated or altered"):
        found.load()
    assert stored_sets.store([images], tmp_path)[images].load().fingerprint == images.fingerprint


def test_a_set_that_was_changed_in_place_is_refused(tmp_path):
    images = made(20)
    assert images.fingerprint
    images.labels[0] = 1
    with pytest.raises(ValueError, match="stripes was changed in place after it was first used"):
        stored_sets.store([images], tmp_path)


@pytest.mark.parametrize("which", ["dataset", "test"])
def test_a_trial_of_a_set_that_was_changed_in_place_is_refused(which, tmp_path):
    images = made(20)
    own = {"dataset": images, "test": made(20, seed=1, like=images)}
    done = trial(own, method="random")
    dpkit.run_trial(done, cache=tmp_path)
    own[which].images[0] += 1
    with pytest.raises(ValueError, match="stripes was changed in place"):
        dpkit.run_trial(done, cache=tmp_path)


# ---- never mixed up ------------------------------------------------------------------------------


def test_two_sets_of_one_name_are_two_trials_and_no_one_grid(sets):
    other = made(60, seed=5)
    first, second = trial(sets), trial({"dataset": other, "test": made(20, seed=1, like=other)})
    assert first.plain() != second.plain() and first.plain()["dataset"] == "stripes"
    with pytest.raises(InvalidGrid, match="two sets are named 'stripes': give each a name"):
        grids.trials_of([first, second])
    renamed = trial({"dataset": replace(other, name="more"), "test": second.test})
    assert len(grids.trials_of([first, renamed])) == 2


def test_an_object_under_the_name_of_a_named_set_is_not_that(sets):
    named = trial({"dataset": "digits"})
    given = trial({"dataset": replace(sets["dataset"], name="digits"), "test": sets["test"]})
    with pytest.raises(InvalidGrid, match="two sets are named 'digits'"):
        grids.trials_of([named, given])


def test_a_named_trial_says_what_it_said_before(sets):
    assert not {"test", "fingerprint"} & set(trial({"dataset": "digits"}).plain())


# ---- refused before anything starts --------------------------------------------------------------

WRONG = [
    ({"test": None}, "stripes is given as an ImageSet, and accuracy .* give one too, test="),
    ({"dataset": "digits"}, "the name 'digits' brings its own test set: leave test out"),
    (
        {"dataset": np.zeros((4, 8, 8))},
        "dataset must be a name, a path, an ImageSet or a .*; got array",
    ),
    (
        {"dataset": [("a", 1)]},
        "dataset must be a name, a path, an ImageSet or a dataset object; got",
    ),
    ({"test": "nowhere"}, "got 'nowhere', and there is no such path, nor has stripes splits"),
    ({"test": ["a", "b"]}, r"test must be an ImageSet, a path, .* as in 0.2; got \['a', 'b'\]"),
    ({"test": 1.5}, "test must be an ImageSet, a path, .* as in 0.2; got 1.5"),
    ({"test": True}, "test must be an ImageSet, a path, .* as in 0.2; got True"),
    ({"size": 8}, "size must be left out, as the set stripes is loaded already"),
    ({"size": [8, 9]}, "size must be one whole number; got a list"),
    (
        {"dataset": replace(made(4), images=torch.zeros(0, 1, 8, 8))},
        "dataset must hold at least one image; stripes holds none",
    ),
    ({"test": made(20, class_names=["a", "b"])}, "test got stripes, which has the classes a, b"),
    ({"num_samples": 61}, r"the set stripes cannot be used: first\(n\) needs 1..60"),
    ({"prune_ratio": 0.999}, "0.999 of stripes's 60 images leaves none to train on"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_is_refused_before_a_cluster_starts(
    sets, tmp_path, monkeypatch, change, message
):
    monkeypatch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster started"))
    with pytest.raises(InvalidGrid, match=message):
        dpkit.sweep(
            GRID | sets | change, out=tmp_path / "out", cache=tmp_path / "cache", device="cpu"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:test got unnamed normalised by its own mean")
def test_a_test_set_of_another_size_is_refused(sets):
    large = from_arrays(np.zeros((4, 9, 8), np.uint8), np.arange(4) % 2, device="cpu")
    with pytest.raises(ValueError, match="as large as those of stripes, 8x8 pixels; got 8x9"):
        trial(sets | {"test": replace(large, mean=(0.4,), std=(0.2,))})


def test_load_sets_moves_and_counts_a_given_set(sets):
    images, test = stages.load_sets(sets["dataset"], 30, "cpu", sets["test"])
    assert len(images) == images.total == 30 and test.fingerprint == sets["test"].fingerprint
