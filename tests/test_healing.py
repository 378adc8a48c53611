"""What dpkit made and cannot read any more is set aside and made again; what a user gave is never
touched.
"""

import errno
import itertools
import json
import shutil
import warnings
from dataclasses import replace

import pytest
from local_workers import in_this_process

from dpkit import storage
from dpkit.data.image_set import load
from dpkit.experiments import results, stages, sweep_worker
from dpkit.experiments.pruning import prune
from dpkit.experiments.sweeps import FailedTrials, sweep
from dpkit.experiments.trials import Trial, run_trial
from dpkit.storage import SetAside
from dpkit.training import checkpoint
from dpkit.training.loop import Recipe

TRIAL = Trial(
    "digits",
    "dual",
    0.2,
    seed=0,
    record=Recipe(epochs=2, batch_size=20, lr=0.05),
    record_epochs=2,
    options={"window": 2},
    retrain=Recipe(epochs=1, batch_size=20, lr=0.05),
    num_samples=60,
)


# ---- damages -------------------------------------------------------------------------------------


def truncated(place):
    place.write_bytes(place.read_bytes()[:-9])


def emptied(place):
    if place.is_dir():
        shutil.rmtree(place)
        place.mkdir()
    else:
        place.write_bytes(b"")


def missing(place):
    place.unlink()


def not_json(place):
    place.write_text("{ a half")


def other_json(place):
    place.write_text("[1, null]")


def lacking(place):
    place.write_text("{}")


def not_text(place):
    place.write_bytes(b"\xff\xfe\x00")


def a_folder(place):
    place.unlink()
    place.mkdir()


def a_file(place):
    shutil.rmtree(place)
    place.write_text("a file")


def a_link_to_nothing(place):
    shutil.rmtree(place)
    place.symlink_to("nowhere")


def another_stages(place):
    said = storage.read_checked(place)
    storage.write_json(place, storage.with_checksum(said | {"key": {"stage": "another"}}))


def of_an_older_schema(place):
    said = storage.read_checked(place)
    storage.write_json(place, storage.with_checksum(said | {"schema": 0}))


def a_byte_flipped(place):
    """One of a number, where the file is JSON: it stays JSON."""
    data = bytearray(place.read_bytes())
    at = len(data) - 3
    if place.suffix == ".json":
        at = next(k for k in reversed(range(len(data))) if chr(data[k]) in "12345678")
    data[at] ^= 1
    place.write_bytes(bytes(data))


ANY_FILE = (truncated, emptied, missing, a_folder, a_byte_flipped)
JSON_FILE = (*ANY_FILE, not_json, other_json, lacking, not_text)
FOLDER = (emptied, a_file, a_link_to_nothing)
DAMAGES = {
    "record": FOLDER,
    "record/manifest.json": (*JSON_FILE, another_stages),
    "record/dynamics": FOLDER,
    "record/dynamics/target_prob.npy": ANY_FILE,
    "record/dynamics/manifest.json": (*JSON_FILE, of_an_older_schema),
    "score": FOLDER,
    "score/manifest.json": (*JSON_FILE, another_stages),
    "score/scores/values.npy": ANY_FILE,
    "score/scores/manifest.json": (*JSON_FILE, of_an_older_schema),
    "select": FOLDER,
    "select/manifest.json": (*JSON_FILE, another_stages),
    "select/selection/kept.npy": ANY_FILE,
    "select/selection/manifest.json": (*JSON_FILE, of_an_older_schema),
    "retrain": (*JSON_FILE, another_stages),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cache with TRIAL done, its row, and {stage: its name there}."""
    cache = tmp_path_factory.mktemp("finished") / "cache"
    row = run_trial(TRIAL, cache=cache, device="cpu")
    return cache, row, {path.name.split("-")[0]: path.name for path in cache.glob("*-*")}


@pytest.fixture
def copied(finished, tmp_path):
    """copied(): a new copy of that cache."""
    count = itertools.count()
    return lambda: shutil.copytree(finished[0], tmp_path / f"cache-{next(count)}")


def same(row, other):
    """Whether they are the same trial's rows, but for what was measured."""
    names = ("accuracy", "test_loss", "keep", "selection", "scores", "record_epochs")
    return [row[name] for name in names] == [other[name] for name in names]


def asides(folder):
    return [path.name for path in folder.rglob("*-damaged-*")]


@pytest.mark.parametrize("place", DAMAGES)
def test_a_damaged_stage_is_set_aside_named_once_and_made_again(place, finished, copied):
    _, row, names = finished
    stage, _, rest = place.partition("/")
    for damage in DAMAGES[place]:
        cache = copied()
        damage(cache / names[stage] / rest if rest else cache / names[stage])
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert same(run_trial(TRIAL, cache=cache, device="cpu"), row), damage
        told = [str(each.message) for each in warned if each.category is SetAside]
        gone = damage is missing and place == "retrain"  # nothing is left to be set aside
        assert len(told) == len(asides(cache)) == (not gone), (damage, told)
        if told:
            name = names[stage].removesuffix(".json")
            assert told[0].startswith(f"{cache / names[stage]} is damaged and is made again")
            assert asides(cache)[0].startswith(f"{name}-damaged-") and asides(cache)[0] in told[0]
        again = run_trial(TRIAL, cache=cache, device="cpu")
        assert again["from_cache"] and len(asides(cache)) == len(told)


def test_what_may_pass_is_no_damage(copied, monkeypatch):
    cache = copied()

    for error in (OSError(errno.EMFILE, "Too many open files"), PermissionError(13, "Not yours")):
        with monkeypatch.context() as patch:
            patch.setattr(storage, "read_checked", raising(error))
            with pytest.raises(OSError, match=error.strerror):
                run_trial(TRIAL, cache=cache, device="cpu")
    assert not asides(cache)


def test_what_a_newer_dpkit_wrote_is_named_and_left_alone(finished, copied):
    cache, names = copied(), finished[2]
    manifest = cache / names["score"] / "scores" / "manifest.json"
    said = storage.read_checked(manifest) | {"schema": 99}
    storage.write_json(manifest, storage.with_checksum(said))
    with pytest.raises(storage.NewerFormat, match="it has schema 99: use the dpkit version that"):
        run_trial(TRIAL, cache=cache, device="cpu")
    assert not asides(cache)


# ---- checkpoints ---------------------------------------------------------------------------------


class Killed(BaseException):
    pass


# the last epoch of the record, when its snapshot is there too
@pytest.mark.parametrize("last", [("record", 1), ("retrain", 0)], ids=["record", "retrain"])
def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_anew(
    last, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0.0)
    trial = replace(TRIAL, retrain=Recipe(epochs=2, batch_size=20, lr=0.05), best_every=1)
    whole = run_trial(trial, cache=tmp_path / "whole", device="cpu")

    def kill(at, report):
        if (at, report.epoch) == last:
            raise Killed

    with pytest.raises(Killed):
        run_trial(trial, cache=tmp_path / "killed", device="cpu", on_epoch=kill)
    [left] = (tmp_path / "killed").glob("*-partial")
    files = [file.relative_to(left) for file in left.rglob("*") if file.is_file()]
    # in final.json is what a look has cost: half a number is a number
    files = [file for file in files if file.name != "final.json"]
    assert len(files) >= 4
    for k, (file, damage) in enumerate(itertools.product(files, (truncated, a_byte_flipped))):
        cache = shutil.copytree(tmp_path / "killed", tmp_path / f"{k}")
        damage(cache / left.name / file)
        with pytest.warns(SetAside, match="-partial is damaged and is made again") as told:
            row = run_trial(trial, cache=cache, device="cpu")
        assert not any("remove the checkpoint" in str(each.message) for each in told)
        assert same(row, whole) and row["best_accuracy"] == whole["best_accuracy"]
        assert len(asides(cache)) == 1 and len(list(cache.glob("*-partial"))) == 0


# ---- prune, and what the user gave ---------------------------------------------------------------


def test_prune_heals_its_cache_and_says_so(tmp_path):
    images, cache = load("digits").first(60), tmp_path / "cache"

    def pruned(out, say=None):
        return prune(
            images, tmp_path / out, prune_ratio=0.5, epochs=2, options={"window": 2}, device="cpu",
            cache=cache, say=say,
        )  # fmt: skip

    first = pruned("first")
    [record] = cache.glob("record-*")
    truncated(record / "dynamics" / "margin.npy")
    said = []
    with pytest.warns(SetAside, match="margin.npy is missing, truncated or altered"):
        again = pruned("again", said.append)
    assert "found the record of an earlier run: no training needed" not in said
    assert any(line.startswith("epoch 2/2") for line in said) and again["keep"] == first["keep"]
    kept = [(tmp_path / out / "kept.txt").read_text() for out in ("first", "again")]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("damage", [*JSON_FILE, of_an_older_schema])
def test_a_record_that_a_user_gave_is_refused_by_its_path_and_never_touched(
    damage, finished, tmp_path
):
    cache, _, names = finished
    given = shutil.copytree(cache / names["record"] / "dynamics", tmp_path / "given")
    damage(given / ("target_prob.npy" if damage in ANY_FILE else "manifest.json"))
    before = {path: path.is_file() and path.read_bytes() for path in given.rglob("*")}
    with pytest.raises((ValueError, FileNotFoundError), match=str(given)):
        prune("digits", tmp_path / "out", prune_ratio=0.5, dynamics=given, cache=tmp_path / "c")
    assert {path: path.is_file() and path.read_bytes() for path in given.rglob("*")} == before
    assert not (tmp_path / "out").exists() and not asides(tmp_path)


# ---- sweeps --------------------------------------------------------------------------------------

TRIALS = [TRIAL, replace(TRIAL, prune_ratio=0.4), replace(TRIAL, method="random", options={})]


def accuracy_edited(place):
    said = json.loads(place.read_text())
    said["row"]["accuracy"] = 0.99
    place.write_text(json.dumps(said))


def trials_forgotten(place):
    storage.write_json(place, storage.with_checksum({"kind": "Sweep", "schema": 1}))


@pytest.fixture(scope="module")
def client():
    with in_this_process() as client:
        yield client


@pytest.fixture(scope="module")
def swept(client, tmp_path_factory):
    """(folder of a finished sweep, what sweeps it again, its accuracies)."""
    place = tmp_path_factory.mktemp("swept")

    def again(**more):
        return sweep(
            TRIALS, client, out=place / "out", cache=place / "cache", device="cpu",
            on_progress=lambda *told, **more: None, **more,
        )  # fmt: skip

    return place / "out", again, again().accuracy.tolist()


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))


@pytest.mark.parametrize(
    "damage", [*(each for each in JSON_FILE if each is not missing), accuracy_edited]
)
def test_a_damaged_row_hides_no_other_and_the_same_sweep_makes_it_anew(damage, swept, no_training):
    out, again, accuracies = swept
    file = sorted((out / "rows").glob("*.json"))[0]
    damage(file)
    table = results.results_table(out)
    assert sorted(table.failed != "") == [False, False, True]
    assert "run the sweep again, which makes it anew" in max(table.failed)
    assert len(results.load_outcomes(out)) == 2
    with pytest.warns(SetAside, match=str(file)):
        assert again().accuracy.tolist() == accuracies
    for aside in (out / "rows").glob("*-damaged-*"):
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@pytest.mark.parametrize("damage", [*ANY_FILE, not_json, not_text, trials_forgotten])
def test_a_damaged_sweep_json_is_made_anew_from_the_grid(damage, swept, no_training):
    out, again, accuracies = swept
    damage(out / "sweep.json")
    if damage is missing:
        assert again().accuracy.tolist() == accuracies
        return
    with pytest.raises(ValueError, match="sweep.json is damaged; run the sweep again"):
        results.results_table(out)
    with pytest.warns(SetAside, match=r"sweep.json is damaged and is made again"):
        assert again().accuracy.tolist() == accuracies


def test_a_file_where_the_rows_should_lie_is_set_aside(swept, no_training):
    out, again, accuracies = swept
    a_file(out / "rows")
    with pytest.warns(SetAside, match="rows is damaged"):
        assert again().accuracy.tolist() == accuracies


@pytest.mark.parametrize("part", ["selection/kept.npy", "scores/values.npy"])
def test_a_row_whose_selection_or_scores_are_damaged_is_made_anew(part, swept, no_training):
    out, again, accuracies = swept
    row = results.results_table(out).iloc[0]
    kind = part.split("/")[0]
    truncated(out.parent / "cache" / row[kind] / part)
    read = results.kept_set if kind == "selection" else results.scores_of
    with pytest.raises(ValueError, match=f"{row[kind]}, which is damaged: run the sweep again"):
        read(out, 0)
    with pytest.warns(SetAside, match=f"{row[kind]} is damaged") as warned:
        assert again().accuracy.tolist() == accuracies
    assert sum(each.category is SetAside for each in warned) == 1  # though two trials share it
    assert read(out, 0)


@pytest.mark.parametrize("damage", [truncated, a_byte_flipped, missing])
def test_a_sweep_says_once_that_a_stage_of_many_rows_was_set_aside(damage, swept):
    out, again, accuracies = swept
    [record] = (out.parent / "cache").glob("record-*")
    damage(record / "dynamics" / "target_prob.npy")
    shutil.rmtree(out / "rows")
    for stage in (out.parent / "cache").glob("score-*"):
        shutil.rmtree(stage)
    with pytest.warns(SetAside, match=f"{record.name} is damaged") as warned:
        assert again().accuracy.tolist() == accuracies
    assert sum(each.category is SetAside for each in warned) == 1
    shutil.rmtree(next((out.parent / "cache").glob("record-*-damaged-*")))


# ---- failures ------------------------------------------------------------------------------------


def raising(error):
    def fail(*arguments, **more):
        raise error

    return fail


@pytest.mark.parametrize(
    "error, permanent",
    [
        (FloatingPointError("the loss became nan"), True),
        (ValueError("window must be 2..2"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ImportError("libcudart.so: cannot open shared object file"), False),
        (TimeoutError("the scheduler did not answer"), False),
        (EOFError("Ran out of input"), False),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid start byte"), False),
        (json.JSONDecodeError("Expecting value", "", 0), False),
        (storage.NewerFormat("schema 99"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_faults_of_the_trial_itself_are_permanent(error, permanent):
    assert sweep_worker.failure(error).transient is not permanent


def test_the_end_of_a_sweep_says_what_failed_why_and_how_to_go_on(client, tmp_path, monkeypatch):
    train, troubles = (
        stages.train,
        {0.06: RuntimeError("a library failed"), 0.07: ValueError("refused")},
    )

    def troubled(net, images, recipe, **more):
        if recipe.lr in troubles:
            raise troubles[recipe.lr]
        yield from train(net, images, recipe, **more)

    monkeypatch.setattr(stages, "train", troubled)
    trials = [
        replace(TRIALS[2], retrain=replace(TRIAL.retrain, lr=lr), seed=seed)
        for lr in (0.05, 0.06, 0.07)
        for seed in (0, 1)
    ]

    def swept(**more):
        return sweep(
            trials, client, out=tmp_path / "out", cache=tmp_path / "cache", device="cpu",
            on_progress=lambda *told, **more: None, **more,
        )  # fmt: skip

    with pytest.warns(FailedTrials) as warned:
        swept()
    assert [str(each.message) for each in warned if each.category is FailedTrials] == [
        "random, ratio 0.2, seed 0 and 1 more failed: RuntimeError: a library failed\n"
        "random, ratio 0.2, seed 0 and 1 more failed: refused\n"
        "the same call runs those again that failed for a passing reason (2)\n"
        "the same call with retry=True runs those again that failed by themselves (2)"
    ]
    troubles.clear()
    assert swept().failed.tolist() == ["", "", "", "", "refused", "refused"]
    assert not any(swept(retry=True).failed)


def test_a_set_that_a_worker_cannot_read_fails_no_row_for_good(client, tmp_path, monkeypatch):
    """A file that the user repairs later."""
    trial, load_sets, told = TRIALS[2], stages.load_sets, []

    def torn(*arguments):
        told.append(1)
        if len(told) > 1:  # the first one names the row
            raise ValueError("digits.npz is no .npz file")
        return load_sets(*arguments)

    where = {"out": tmp_path / "out", "cache": tmp_path / "cache", "device": "cpu"}
    quiet = {"on_progress": lambda *told, **more: None}
    monkeypatch.setattr(stages, "load_sets", torn)
    with pytest.warns(FailedTrials, match="the set digits cannot be used: digits.npz is no .npz"):
        sweep([trial], client, **where, **quiet)
    monkeypatch.undo()
    assert sweep([trial], client, **where, **quiet).failed.tolist() == [""]
