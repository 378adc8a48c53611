"""A sweep is its trials' rows, each stage run once, whoever else sweeps beside it; and what fails
is a row that says why.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import psutil
import pytest
import torch
import yaml
from local_workers import in_this_process

from dpkit import storage
from dpkit.cli import main
from dpkit.experiments import attendance, clusters, publishing, results, row_files, stages
from dpkit.experiments.pipeline import stage_versions
from dpkit.experiments.progress import Clock, Line, Progress
from dpkit.experiments.rows import Failure
from dpkit.experiments.sweep_worker import Done
from dpkit.experiments.sweeps import sweep
from dpkit.experiments.trials import Trial, run_trial
from dpkit.methods.catalog import METHODS
from dpkit.records import Scores
from dpkit.training.loop import Recipe

pytest.importorskip("distributed")
import dask
import stage_log
from distributed import Client

ROOT = Path(__file__).parents[1]
GRID = {
    "dataset": "digits",
    "num_samples": 60,
    "method": ["random", "dual", "el2n"],
    "prune_ratio": [0.2, 0.4],
    "record": {"epochs": 11, "batch_size": 30, "lr": 0.05},
    "retrain": {"epochs": 2, "batch_size": 30, "lr": 0.05},
}
RETRAIN = Recipe(epochs=2, batch_size=30, lr=0.05)
QUICK = [
    Trial("digits", "random", 0.5, seed, Recipe(epochs=1), 1, RETRAIN, num_samples=60)
    for seed in range(3)
]
DIED = "the worker that ran it died, again and again: out of memory, or killed"
MEASURED = {
    f"{stage}_{what}" for stage in stage_log.KINDS for what in ("seconds", "peak_memory")
} | {"from_cache"}


def silent(progress, last=False):
    pass


def kinds(names):
    """How many stages of each kind."""
    return {kind: sum(name.startswith(kind) for name in names) for kind in stage_log.KINDS}


def numbers(row):
    """A row without what another run measures differently."""
    return {
        name: value
        for name, value in dict(row).items()
        if name not in {*MEASURED, "failed", "threads"}
    }


def rows_of(table):
    return table.to_dict("records")


@pytest.fixture(scope="module")
def client():
    with in_this_process(2, 1) as client:
        yield client


@pytest.fixture
def place(tmp_path):
    return {
        "out": tmp_path / "out",
        "cache": tmp_path / "cache",
        "device": "cpu",
        "on_progress": silent,
    }


@pytest.fixture
def trainings(monkeypatch):
    """Kept rates of the trainings that were begun; trouble[lr] is what one with that rate
    raises.
    """
    train, begun, trouble = stages.train, [], {}

    def noted(net, images, recipe, **more):
        begun.append(recipe.lr)
        if recipe.lr in trouble:
            raise trouble[recipe.lr]
        yield from train(net, images, recipe, **more)

    monkeypatch.setattr(stages, "train", noted)
    return begun, trouble


# ---- each stage once -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the subset of digits")
def test_methods_and_ratios_share_their_stages_and_rows_are_those_of_single_trials(
    stages_watched, place, tmp_path
):
    client, watch = stages_watched
    table = sweep(GRID, client, **place)
    assert table.failed.tolist() == [""] * 6 and table.attrs["asked"] == 6
    assert kinds(watch.begun()) == {"record": 1, "score": 2, "select": 6, "retrain": 6}
    assert len(set(watch.begun())) == 15  # none of them twice
    assert len([name for name, epoch in watch.log("epoch") if name.startswith("record")]) == 11
    recipes = {"record": Recipe(**GRID["record"]), "retrain": RETRAIN}
    for row, (ratio, method) in zip(
        rows_of(table), [(r, m) for r in (0.2, 0.4) for m in GRID["method"]], strict=True
    ):
        trial = Trial("digits", method, ratio, 0, record_epochs=11, num_samples=60, **recipes)
        assert numbers(row) == numbers(run_trial(trial, cache=tmp_path / "alone", device="cpu"))
    assert not stage_log.unfinished(tmp_path)

    watch.forget()  # a second call: no training, not even a cluster
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "connected", lambda *a, **k: pytest.fail("a cluster was started"))
        again = sweep(GRID, **place)
    pandas.testing.assert_frame_equal(again, table)
    assert watch.begun() == []

    more = sweep(GRID | {"prune_ratio": [0.2, 0.4, 0.6], "seed": 0}, client, **place)
    assert kinds(watch.begun()) == {"record": 0, "score": 0, "select": 3, "retrain": 3}
    pandas.testing.assert_frame_equal(more[more.prune_ratio < 0.5], table)
    assert len(more) == 9


def test_the_kept_sets_and_scores_of_a_sweep_are_found_and_can_be_published(
    client, place, tmp_path
):
    table = sweep(GRID, client, **place)
    folder = publishing.publish(
        tmp_path / "table", results.load_outcomes(place["out"]), title="Mine", command="dpkit sweep"
    )
    published = results.results_table(folder)
    assert (
        published.accuracy.tolist() == table.accuracy.tolist()
        and published.method.tolist() == table.method.tolist()
    )
    for k, row in enumerate(rows_of(table)):
        kept = results.kept_set(place["out"], k)
        assert (len(kept.kept), kept.method) == (
            row["keep"],
            {"random": "random"}.get(row["method"], "top"),
        )
        assert np.array_equal(results.kept_set(folder, k).kept, kept.kept)
        scores = [results.scores_of(where, k) for where in (place["out"], folder)]
        if row["method"] == "random":
            assert scores == [None, None]
        else:
            assert np.array_equal(
                kept.kept, np.sort(np.argsort(scores[0].values, kind="stable")[-row["keep"] :])
            )
            assert np.allclose(scores[1].values, scores[0].values, rtol=1e-6)
    assert (
        results.kept_set(place["out"], 1).kept.tolist()
        != results.kept_set(place["out"], 2).kept.tolist()
    )
    with pytest.raises(ValueError, match=r"has the rows 0\.\.5; got 6"):
        results.kept_set(place["out"], 6)
    next(place["cache"].glob(rows_of(table)[0]["selection"])).rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="which is gone: run the sweep again"):
        results.kept_set(place["out"], 0)
    sweep(GRID, client, **place)
    assert np.array_equal(results.kept_set(place["out"], 0).kept, results.kept_set(folder, 0).kept)


def test_a_table_can_be_read_while_its_sweep_is_running(client, place):
    seen = []

    def watch(progress, last=False):
        table = results.results_table(place["out"])
        assert len(table) >= progress.done and table.attrs["asked"] == progress.total == 3
        seen.append(progress.done)

    sweep(QUICK, client, **place | {"on_progress": watch})
    assert seen == sorted(seen) and seen[-1] == 3


def test_a_sweep_that_stops_after_some_minutes_has_its_rows_and_goes_on(client, place, monkeypatch):
    begun, let_go, train = [], threading.Event(), stages.train

    def held(net, images, recipe, *, seed, **more):
        begun.append(seed)
        if len(begun) > 1:
            let_go.wait(60)
        return train(net, images, recipe, seed=seed, **more)

    monkeypatch.setattr(stages, "train", held)
    try:
        table = sweep(QUICK, client, minutes=0.03, **place)
        assert len(table) <= 1 and table.attrs["asked"] == 3
    finally:
        let_go.set()
    table = sweep(QUICK, client, **place)
    assert len(table) == 3 and sorted(begun) == sorted(set(begun))


def test_a_sweep_lies_in_the_cache_unless_it_is_told_where(client, tmp_path, monkeypatch):
    monkeypatch.setenv("DPKIT_CACHE", str(tmp_path / "mine"))
    sweep(QUICK[:1], client, device="cpu", on_progress=silent)
    [folder] = (tmp_path / "mine" / "sweeps").iterdir()
    assert len(results.results_table(folder)) == 1 and list(
        (tmp_path / "mine").glob("retrain-*.json")
    )


def test_two_sweeps_at_once_do_every_stage_once_and_a_third_into_one_of_their_folders_is_refused(
    tmp_path, wait_until, monkeypatch, capsys
):
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    (tmp_path / "stages").mkdir()
    watch = stage_log.Watch(tmp_path / "stages")
    watch.hold("record")  # until both are there
    environment = {
        **os.environ,
        **watch.environment,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }

    def words(out):
        return ["sweep", "grid.yaml", "--out", out, "--workers", "1", "--device", "cpu"]

    def start(out):
        return subprocess.Popen(
            [sys.executable, "-m", "dpkit", *words(out)],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    both = [start("out"), start("other")]
    wait_until(lambda: len(watch.log("worker")) == 2 and watch.inside("record"), seconds=240)
    monkeypatch.chdir(tmp_path)
    third = main(words("out"))
    refused = capsys.readouterr().err
    watch.let_go()
    told = [process.communicate(timeout=240) for process in both]
    assert third == 2 and len(refused.splitlines()) == 1
    assert f"out is being written by another run (process {both[0].pid} on" in refused
    assert [process.returncode for process in both] == [0, 0], told
    assert sorted(watch.begun()) == sorted(set(watch.begun()))
    assert kinds(watch.begun()) == {"record": 1, "score": 2, "select": 6, "retrain": 6}
    tables = [out[out.index("digits, 60 images") :].splitlines() for out, _ in told]
    assert tables[0][:-1] == tables[1][:-1] and tables[0][-1].startswith("6 rows in out")
    for out in ("out", "other"):
        assert len(results.results_table(tmp_path / out)) == 6
        assert not stage_log.unfinished(tmp_path / out, tmp_path / "cache")


# ---- what fails ----------------------------------------------------------------------------------


def test_a_cache_without_space_fails_a_trial_in_a_sentence_and_it_needs_no_retry(
    client, place, disk
):
    cache = disk("size=500k") / "cache"
    trial = replace(QUICK[0], method="el2n")
    with pytest.warns(UserWarning, match="free some first, or the run will stop"):
        [failed] = sweep([trial], client, **place | {"cache": cache}).failed
    assert failed.startswith(f"no space left on the disk of {cache}/record-")
    disk("remount", "size=20m")
    assert sweep([trial], client, **place | {"cache": cache}).failed.tolist() == [""]


def test_a_trial_that_diverges_is_a_row_that_says_why_and_is_tried_again_only_on_request(
    client, place, trainings
):
    begun, _ = trainings
    grid = GRID | {
        "method": "random",
        "prune_ratio": 0.5,
        "retrain": [{"epochs": 2, "lr": 0.05}, {"epochs": 2, "lr": 1e30}],
    }
    for retry in (False, False, True):
        table = sweep(grid, client, retry=retry, **place)
        good, failed = rows_of(table)
        assert good["failed"] == "" and good["accuracy"] > 0
        assert re.fullmatch(
            r"the loss became (nan|inf) in epoch \d: the training diverged; use a smaller lr "
            r"than 1e\+30",
            failed["failed"],
        )
        assert np.isnan(failed["accuracy"]) and (failed["keep"], failed["num_samples"]) == (30, 60)
        assert (failed["budget"], failed["retrain"]) == ("2 epochs", "2 epochs lr=1e+30")
    assert begun.count(0.05) == 1 and begun.count(1e30) == 2  # not in the second call
    # two recipes
    assert results.summary(table)[["seeds", "failed"]].values.tolist() == [[1, 0], [0, 1]]
    for read in (results.kept_set, results.scores_of):
        with pytest.raises(
            ValueError,
            match="row 1 of .* failed and has no scores and no kept set: the loss became",
        ):
            read(place["out"], 1)


@pytest.mark.parametrize(
    "trouble, reason, passing",
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device", True),
        (MemoryError(), "MemoryError: MemoryError", True),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to"),
            "the GPU's memory did not suffice: CUDA out of memory",
            True,
        ),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", False),
        (ValueError("a\nsentence"), "a sentence", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_that_may_pass_is_tried_again_by_the_same_call(
    client, place, trainings, trouble, reason, passing
):
    begun, troubles = trainings
    troubles[0.06] = trouble
    trials = [replace(QUICK[0], retrain=replace(RETRAIN, lr=lr)) for lr in (0.05, 0.06)]
    assert sweep(trials, client, **place).failed.tolist() == ["", reason]
    del troubles[0.06]
    assert sweep(trials, client, **place).failed.tolist() == ["", "" if passing else reason]
    assert (
        begun == [0.05, 0.06, 0.06][: 2 + passing]
        or sorted(begun) == [0.05, 0.06, 0.06][: 2 + passing]
    )
    assert sweep(trials, client, retry=True, **place).failed.tolist() == ["", ""]
    assert sorted(begun) == [0.05, 0.06, 0.06] and len(list((place["out"] / "rows").iterdir())) == 2


def test_a_recording_that_fails_fails_its_rows_and_no_others(client, place, trainings):
    begun, troubles = trainings
    grids = [
        GRID | {"record": GRID["record"] | {"lr": lr}, "method": ["dual", "el2n"]}
        for lr in (0.05, 0.07)
    ]
    troubles[0.07] = ArithmeticError("of the recording")
    table = sweep([*grids, GRID | {"method": "random"}], client, **place)
    assert table.failed.tolist() == [""] * 4 + ["ArithmeticError: of the recording"] * 4 + [""] * 2
    assert begun.count(0.07) == 1


def test_rows_of_an_older_stage_are_left_out_and_said_so_and_run_again(
    client, place, trainings, set_version
):
    begun, _ = trainings
    first = sweep(GRID | {"prune_ratio": 0.5}, client, **place)
    for stage, older in (("record", 2), ("retrain", 3)):
        set_version(stage, stage_versions()[stage] + 1)
        with pytest.warns(
            UserWarning,
            match=f"{older} of the 3 rows in .*out were made by an older version of a stage and "
            "are "
            "left out: run the sweep again",
        ):
            assert len(results.results_table(place["out"])) == 3 - older  # random needs no record
        begun.clear()
        with pytest.warns(
            UserWarning,
            match=f"{older} rows in .*out were made by an older version of a stage: they are left",
        ):
            again = sweep(GRID | {"prune_ratio": 0.5}, client, **place)
        assert [numbers(row) for row in rows_of(again)] == [
            numbers(row)
            for row in rows_of(
                first.assign(**{name: again[name] for name in ("scores", "selection", "versions")})
            )
        ]
        assert len(begun) == {"record": 1, "retrain": 3}[stage]


def test_rows_of_a_newer_or_older_dpkit_are_named_or_read_and_left_alone(client, place, trainings):
    begun, _ = trainings
    sweep(QUICK[:2], client, **place)
    newer, older = sorted((place["out"] / "rows").iterdir())
    said = storage.read_checked(newer) | {"schema": 1000, "row": {"unknown": 1}}
    storage.write_json(newer, storage.with_checksum(said))
    # the words of 0.8
    row = row_files.read_answer(older).flat() | {"options": "per_class=None", "class_accuracy": ""}
    older.write_text(json.dumps({**storage.read_checked(older), "schema": 1, "row": row}))
    before = newer.read_text(), older.read_text()
    begun.clear()
    for retry in (False, True):
        table = sweep(QUICK[:2], client, retry=retry, **place)
        reason = f"{newer} was written by a newer dpkit: update dpkit to read it"
        assert sorted(table.failed) == ["", reason]
        assert set(table.options) == {"{}", '{"per_class": null}'}
        assert (newer.read_text(), older.read_text()) == before and begun == []


def test_a_sweep_of_a_newer_dpkit_is_refused_and_left_alone(client, place):
    place["out"].mkdir(parents=True)
    file = place["out"] / "sweep.json"
    newer = {"kind": "Sweep", "schema": 2, "of": "another shape", "checksum": "of another kind"}
    storage.write_json(file, newer)
    for read in (
        lambda: sweep(QUICK[:1], client, **place),
        lambda: results.read_sweep(file.parent),
    ):
        with pytest.raises(storage.NewerFormat, match="newer dpkit .schema 2; .* update dpkit, or"):
            read()
    assert json.loads(file.read_text()) == newer and len(list(place["out"].iterdir())) == 1


# ---- who does it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resources", [{}, {"GPU": 1}], ids=["no GPU", "a GPU"])
def test_a_worker_with_two_threads_never_runs_two_trainings_at_once(place, monkeypatch, resources):
    now, most, train = [], [], stages.train

    def counted(*arguments, **more):
        now.append(1)
        most.append(len(now))
        try:
            time.sleep(0.05)  # another is given the time to come
            yield from train(*arguments, **more)
        finally:  # a recording stops at its last epoch
            now.pop()

    monkeypatch.setattr(stages, "train", counted)
    with in_this_process(1, 2, resources=resources) as client:
        dual = replace(QUICK[0], method="dual", record=Recipe(epochs=10), record_epochs=10)
        sweep([*QUICK, *(replace(dual, seed=seed) for seed in (7, 8))], client, **place)
    assert most == [1] * 7


def test_where_workers_declare_a_gpu_only_they_work(place):
    from distributed import Scheduler, SpecCluster, Worker, get_task_stream

    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    workers = {
        name: {"cls": Worker, "options": {**here, "nthreads": 1, "resources": resources}}
        for name, resources in (("without", {}), ("with", {"GPU": 1}))
    }
    with SpecCluster(
        workers=workers, scheduler={"cls": Scheduler, "options": {**here, "port": 0}}
    ) as cluster:
        with Client(cluster) as client:
            with get_task_stream(client) as stream:
                sweep(QUICK, client, **place)
            names = {at: about["name"] for at, about in client.scheduler_info()["workers"].items()}
    trained = [task for task in stream.data if task["key"].startswith(("record-", "retrain-"))]
    assert len(trained) == 3 and {names[task["worker"]] for task in trained} == {"with"}


def test_a_worker_that_sees_other_images_than_the_rows_are_named_for_makes_no_row(
    client, place, monkeypatch
):
    around, asked = stages.compute_environment, []

    def other(images, recipe, *device):
        asked.append(1)
        # three of each of two workers: to name the rows
        return around(images, recipe, *device) | ({} if len(asked) <= 6 else {"torch": "0.1"})

    monkeypatch.setattr(stages, "compute_environment", other)
    [row] = rows_of(sweep(QUICK[:1], client, **place))
    assert re.search(
        "differs from the one that was asked first .other around.: let all workers see the same",
        row["failed"],
    )
    monkeypatch.undo()
    assert sweep(QUICK[:1], client, **place).failed.tolist() == [""]


def test_a_trial_that_kills_its_workers_is_a_row_and_drags_nobody_along(stages_watched, place):
    client, watch = stages_watched
    watch.kill_at(0.06)
    trials = [QUICK[0], replace(QUICK[0], retrain=replace(RETRAIN, lr=0.06)), *QUICK[1:]]
    assert sweep(trials, client, **place).failed.tolist() == ["", DIED, "", ""]
    assert len(list((place["out"] / "rows").glob("*.failed.json"))) == 1
    (watch.folder / "deadly").unlink()
    # it may have been the machine: tried again
    assert sweep(trials, client, **place).failed.tolist() == [""] * 4
    assert stage_log.unfinished(place["out"], place["cache"]) == []


# ---- what is told --------------------------------------------------------------------------------


def test_progress_counts_what_is_done_what_failed_and_what_was_there_before(
    client, place, trainings
):
    trainings[1][0.06] = ValueError("no")
    told = []

    def watch(progress, last=False):
        told.append((replace(progress), last))

    trials = [*QUICK, replace(QUICK[0], retrain=replace(RETRAIN, lr=0.06))]
    sweep(trials[:2], client, **place)
    sweep(trials, client, **place | {"on_progress": watch})
    assert [last for _, last in told] == [False] * (len(told) - 1) + [True] and told[0][0].done >= 2
    done = [progress.done for progress, _ in told]
    assert done == sorted(done) and all(
        progress.total == 4 and 0 <= progress.running <= 2 for progress, _ in told
    )
    assert told[-1][0] == Progress(total=4, done=4, failed=1, running=0, seconds_left=0.0)
    told.clear()
    sweep(trials, **place | {"on_progress": watch})
    assert told == [(Progress(total=4, done=4, failed=1), True)]


def test_the_time_left_is_guessed_from_what_finished_not_from_failures():
    clock = Clock(records=2, rows=6)
    clock.record(Done(None, 40.0))
    clock.row(Failure("the loss became NaN"))
    assert clock.left(workers=1) is None  # no retraining has finished
    clock.row(Done(None, 10.0))
    clock.row(Failure("the loss became NaN"))
    assert clock.left(workers=1) == 40 + 3 * 10
    clock.record(Failure("the loss became NaN"))
    assert clock.left(workers=2) == 3 * 10 / 2


@pytest.mark.parametrize(
    "progress, words",
    [
        (Progress(10), "0/10 done, 0 running, 0 failed  time left: not known yet"),
        (Progress(10, 4, 1, 2, 59.6), "4/10 done, 2 running, 1 failed  time left: 1 min 00 s"),
        (Progress(10, 4, 1, 2, 3725), "4/10 done, 2 running, 1 failed  time left: 1 h 02 min"),
        (Progress(10, 4, 1, 2, 9), "4/10 done, 2 running, 1 failed  time left: 9 s"),
        (Progress(10, 10, 1), "10/10 done, 0 running, 1 failed"),
    ],
)
def test_progress_is_a_line(progress, words):
    assert str(progress) == words


def test_the_line_is_written_over_on_a_terminal_and_rarely_repeated_elsewhere(capsys, monkeypatch):
    line = Line()
    for done in range(3):
        line(Progress(2, done), last=done == 2)
    assert capsys.readouterr().out.splitlines() == [str(Progress(2, 0)), str(Progress(2, 2))]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    line = Line()
    for done in range(3):
        line(Progress(2, done), last=done == 2)
    written = capsys.readouterr().out
    assert (
        written.count("\n") == 1
        and written.endswith("\n")
        and written.split("\r")[1] == str(Progress(2, 0))
    )
    assert written.split("\r")[3].rstrip() == str(Progress(2, 2))
    # nothing of the longer line before it is left
    assert len(written.split("\r")[3]) > len(written.split("\r")[2]) - 1


# ---- a cluster's workers and scheduler -----------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(attendance, "PATIENCE", 0.1)
    monkeypatch.setattr(attendance, "ANSWER", 1.0)


def test_a_sweep_without_workers_says_so_and_what_it_waits_for_and_goes_on_when_one_comes(
    place, impatient
):
    told = []

    def come(progress, last=False):
        told.append(str(progress))
        if progress.waiting_for and len(told) == 1:
            client.cluster.scale(1)

    with in_this_process(0, 1) as client:
        table = sweep(QUICK[:1], client, **place | {"on_progress": come})
        address = client.scheduler.address
    assert table.failed.tolist() == [""]
    assert told[0] == f"0/1 done, waiting for a worker to join the scheduler at {address}"
    assert "waiting" not in told[-1]


def test_a_sweep_whose_minutes_are_over_before_a_worker_comes_is_partial(
    tmp_path, impatient, capsys
):
    with in_this_process(0, 1) as client:
        there = ("--scheduler", client.scheduler.address, "--out", str(tmp_path / "out"))
        assert command(tmp_path, GRID, "--minutes", "0.01", *there) == 3
    assert capsys.readouterr().err == (
        "dpkit: the minutes are over, and the sweep was still waiting for a worker to join; the "
        "same command goes on from here\n"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_scheduler_is_told_and_makes_no_row(place, impatient, workers):
    def lose(progress, last=False):
        if client.cluster.status.name == "running":
            client.cluster.close()

    with in_this_process(workers, 1) as client:
        with pytest.raises(attendance.Unavailable, match="is lost.*the same command goes on"):
            sweep(QUICK, client, **place | {"on_progress": lose})
    # what was finished is kept, and nothing counts as failed
    assert all('"failed"' not in file.read_text() for file in place["out"].glob("rows/*"))


def test_a_worker_that_does_not_answer_stops_nobody_and_is_not_waited_for_twice(
    place, impatient, monkeypatch
):
    from distributed import Status

    def pause(dask_worker):
        dask_worker.status = Status.paused

    monkeypatch.setattr(attendance, "LATE", 1.0)
    told = []
    on_progress = {"on_progress": lambda progress, last=False: told.append(str(progress))}
    # with a memory limit dask itself ends the pause
    with in_this_process(2, 1, memory_limit=0) as client:
        paused = client.cluster.workers[0].address
        client.run(pause, workers=[paused])
        trials = [QUICK[0], replace(QUICK[1], num_samples=61)]  # two sets, and it lacks for both
        begun = time.monotonic()
        assert sweep(trials, client, **place | on_progress).failed.tolist() == ["", ""]
        waited = time.monotonic() - begun
        table = sweep(trials, client, minutes=0, **place | on_progress)  # the other one answers
    assert any(line.endswith("waiting for the workers to look at the set digits") for line in told)
    assert 1.0 < waited and len(table) == 2
    assert told[-1].startswith("2/2 done, 0 running")


def test_where_no_worker_answers_the_minutes_are_heeded(place, impatient, monkeypatch):
    hung = threading.Event()
    monkeypatch.setattr(stages, "load_sets", lambda *arguments: hung.wait(20))
    clock, begun = time.monotonic, time.monotonic()
    monkeypatch.setattr(attendance.time, "monotonic", lambda: begun + 100 * (clock() - begun))
    with in_this_process(1, 1) as client:
        with pytest.raises(attendance.Unavailable, match="still waiting for the workers to look"):
            sweep(QUICK, client, minutes=0.01, **place)
        hung.set()


DRAWN = (i for i in range(99))
UNKNOWABLE = replace(
    METHODS["dual"],
    name="mine",
    scorer=lambda dynamics: Scores(dynamics.mean_prob() + next(DRAWN), "mine"),
)


@pytest.mark.parametrize(
    "grid",
    [GRID | {"prune_ratio": 2}, [replace(QUICK[0], method=UNKNOWABLE)]],
    ids=["grid", "code"],
)
def test_a_mistake_that_is_known_without_a_worker_waits_for_none(place, grid):
    with in_this_process(0, 1) as client, pytest.raises(ValueError, match="got 2|cannot be known"):
        sweep(grid, client, minutes=0.02, **place)


def test_workers_that_are_unlike_are_named_before_anything_is_trained(
    client, place, trainings, monkeypatch
):
    around, calls = stages.compute_environment, itertools.count(1)

    def other(images, recipe, *device):
        # three for each worker that is asked
        return around(images, recipe, *device) | ({} if next(calls) <= 3 else {"processor": "Z80"})

    monkeypatch.setattr(stages, "compute_environment", other)
    with pytest.raises(ValueError, match=r"the worker at tcp://\S+ differs: processor .*Z80"):
        sweep(QUICK, client, **place)
    assert trainings[0] == []


def test_a_worker_without_the_data_is_named(client, place, monkeypatch):
    load, calls = stages.load_sets, itertools.count(1)

    def missing(*arguments):
        if next(calls) == 2:
            raise FileNotFoundError("no digits.npz here")
        return load(*arguments)

    monkeypatch.setattr(stages, "load_sets", missing)
    with pytest.raises(ValueError, match=r"not by the worker at tcp://\S+: no digits.npz here"):
        sweep(QUICK, client, **place)


# ---- the command ---------------------------------------------------------------------------------


def command(folder, grid, *more):
    (folder / "grid.yaml").write_text(grid if isinstance(grid, str) else yaml.safe_dump(grid))
    return main(["sweep", str(folder / "grid.yaml"), "--device", "cpu", *more])


def test_the_command_prints_the_table_and_exits_by_what_happened(
    stages_watched, tmp_path, monkeypatch, capsys
):
    client, watch = stages_watched
    monkeypatch.chdir(tmp_path)
    there = ("--scheduler", client.scheduler.address)
    assert command(tmp_path, GRID | {"method": "random", "prune_ratio": [0, 0.5]}, *there) == 0
    told = capsys.readouterr()
    assert told.err == "" and "2/2 done, 0 running, 0 failed" in told.out
    head, *lines = told.out[told.out.index("digits,") :].splitlines()
    assert head == "digits, 60 images, small_cnn, retrained for 2 epochs; accuracy in %, last epoch"
    assert [line.split()[:2] for line in lines[:2]] == [
        ["pruned", "kept"],
        ["nothing", "60"],
    ] and "50 %" in lines[2]
    assert lines[-1] == "2 rows in sweeps/grid: dpkit.results_table('sweeps/grid') reads them"
    assert len(results.results_table("sweeps/grid")) == 2 and kinds(watch.begun())["retrain"] == 2

    diverges = GRID | {
        "method": "random",
        "prune_ratio": [0, 0.5],
        "retrain_at": {0.5: {"lr": 1e30}},
    }
    assert command(tmp_path, diverges, *there) == 1
    told = capsys.readouterr()
    careful, failed, go_on = told.err.splitlines()
    assert re.fullmatch(
        (
            "careful: 1 trials of an earlier grid in sweeps/grid are not in this one: their rows "
            "stay .*"
        ),
        careful,
    )
    assert re.fullmatch(r"dpkit: random, ratio 0\.5, seed 0 failed: the loss became .*", failed)
    assert go_on == (
        "dpkit: the same command with --retry runs those again that failed by themselves (1)"
    )
    assert "nothing    60" in told.out and "50 %" not in told.out
    begun = len(watch.begun())
    assert command(tmp_path, diverges, *there) == 1 and len(watch.begun()) == begun
    assert command(tmp_path, diverges, "--retry", *there) == 1 and len(watch.begun()) > begun
    assert client.status == "running"  # the scheduler is not ours to close
    capsys.readouterr()
    assert command(tmp_path, GRID, "--minutes", "0", *there) == 3
    told = capsys.readouterr()
    assert "partial: 0 of 6 trials; the same command goes on from here" in told.out
    assert re.fullmatch(
        r"careful: 2 trials of an earlier grid in sweeps/grid are not in this one: .*\n", told.err
    )


@pytest.mark.parametrize(
    "grid, more, told",
    [
        (
            GRID | {"seed": -1, "model": "vgg"},
            [],
            ["seed must be a whole number", "unknown model 'vgg'; there are small_cnn"],
        ),
        (
            GRID | {"metod": 1, "prune_ratio": [1, 2]},
            [],
            ["a grid has no 'metod'.*mean method", "got 1$", "got 2$"],
        ),
        (
            GRID | {"dataset": "digit", "prune_ratio": 0.5},
            [],
            ["the set digit cannot be used: unknown dataset"],
        ),
        (GRID | {"num_samples": 9999}, [], [r"first\(n\) needs 1\.\.1297"]),
        ("a: [", [], ["is not YAML"]),
        (
            GRID | {"prune_ratio": [0.999, 0.998]},
            [],
            ["prune_ratio 0.999 of digits's 60 images", "prune_ratio 0.998 of"],
        ),
        (GRID, ["--workers", "0"], ["workers and threads must be at least 1; got 0 and 1"]),
        (GRID, ["--threads", "-1"], ["must be at least 1; got None and -1"]),
        (GRID, ["--scheduler", "nonsense://x"], ["nonsense"]),
        (GRID, ["--out", "taken"], ["taken holds a scores; name another"]),
        (
            GRID,
            ["--out", "theirs"],
            ["theirs/sweep.json is not a sweep's of dpkit; name another folder"],
        ),
        (
            GRID,
            ["--out", "listed"],
            ["listed/sweep.json is not a sweep's of dpkit; name another folder"],
        ),
    ],
)
def test_the_command_refuses_with_every_mistake_and_exits_with_2(
    tmp_path, monkeypatch, capsys, grid, more, told
):
    monkeypatch.chdir(tmp_path)
    Scores(np.arange(3), "mine").save("taken")
    # another program's sweep
    for name, text in (("theirs", '{"angle": [0, 90]}'), ("listed", "[]")):
        Path(name).mkdir()
        Path(name, "sweep.json").write_text(text)
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    assert command(tmp_path, grid, *more) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(told) and all(
        re.search(f"^dpkit: .*{words}", line) for words, line in zip(told, lines)
    ), lines
    assert Scores.load("taken").num_samples == 3
    assert Path("theirs", "sweep.json").read_text() == '{"angle": [0, 90]}'


@pytest.mark.parametrize("ratio, code", [(0.5, 3), (2, 2)])
def test_a_scheduler_that_does_not_answer_is_no_fault_of_the_folder_and_hides_no_mistake(
    tmp_path, monkeypatch, capsys, ratio, code
):
    def down(address, timeout):
        raise OSError(f"Timed out trying to connect to {address} after {timeout} s")

    monkeypatch.setattr("distributed.Client", down)
    there = ("--scheduler", "tcp://127.0.0.1:1", "--out", str(tmp_path / "out"))
    assert command(tmp_path, GRID | {"prune_ratio": ratio}, *there) == code
    expected = {
        3: "no scheduler answers at tcp://127.0.0.1:1: start it, and the same command goes on\n",
        2: "got 2\n",
    }
    assert capsys.readouterr().err.endswith(expected[code])


def test_a_place_that_cannot_be_written_exits_with_2_and_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert command(tmp_path, GRID, "--out", str(tmp_path / "file" / "out")) == 2
    told = f"{tmp_path / 'file' / 'out'} cannot be made, as {tmp_path / 'file'} is no folder"
    assert capsys.readouterr().err == f"dpkit: {told}; name another folder\n"


def test_a_sweep_that_is_interrupted_exits_with_130_and_leaves_no_process(
    tmp_path, kernels, wait_until
):
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    (tmp_path / "stages").mkdir()
    watch, mark = stage_log.Watch(tmp_path / "stages"), f"DPKIT_TEST_MARK={tmp_path}"
    watch.hold("record")
    environment = {
        **os.environ,
        **watch.environment,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **dict([mark.split("=")]),
    }
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dpkit",
            "sweep",
            "grid.yaml",
            "--out",
            "out",
            "--device",
            "cpu",
            "--workers",
            "1",
        ],
        env=environment,
        cwd=tmp_path,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,  # heeded even if the tests run where it is not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: watch.inside("record"))
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to the workers, too
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (
        process.returncode == 130
        and err == "dpkit: interrupted; the same command goes on from here\n"
    ), err
    wait_until(lambda: not kernels(mark))
    assert list((tmp_path / "cache").glob("record-*-partial")) and not list(
        (tmp_path / "out").glob("rows/*")
    )


# ---- who can reach it ----------------------------------------------------------------------------


def listening(processes):
    """Addresses at which these processes listen for TCP."""
    return [
        connection.laddr.ip
        for process in processes
        for connection in psutil.Process(process).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_the_cluster_on_this_machine_can_be_reached_from_this_machine_only(watched_cluster):
    client, _ = watched_cluster
    workers = [
        info["pid"] for info in client.run(lambda dask_worker: {"pid": os.getpid()}).values()
    ]
    here, there = listening([os.getpid()]), listening(workers)
    assert set(here) | set(there) == {"127.0.0.1"}
    # scheduler, its dashboard and a nanny per worker are in this process; each worker has its own
    # and a page
    assert len(here) >= 2 + len(workers) and len(there) >= 2 * len(workers)
    assert all(
        re.search(r"//127\.0\.0\.1:", address)
        for address in [
            client.scheduler.address,
            client.dashboard_link,
            *client.scheduler_info(n_workers=-1)["workers"],
        ]
    )


def test_a_script_that_loads_torch_first_gets_the_threads_it_asks_for_and_keeps_its_environment(
    tmp_path,
):
    (tmp_path / "script.py").write_text("""
import os, torch
from dpkit.clusters import connected
if __name__ == "__main__":
    before = dict(os.environ)
    with connected(workers=1, threads=2) as client:
        print(*client.run(torch.get_num_threads).values())
    print(before == dict(os.environ))
""")
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "script.py"],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.stdout.split() == [str(min(2, os.cpu_count())), "True"], done.stderr


@pytest.mark.parametrize("own", [None, "123456"])
def test_workers_manage_memory_as_any_process_does_and_as_the_environment_says(monkeypatch, own):
    if own:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", own)
    else:
        monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    started = dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    # dask's 65536 would have every training step fetch its memory anew
    with started, clusters.connected(workers=1) as client:
        assert list(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == [own]


@pytest.mark.parametrize("more", [{"workers": 0}, {"threads": 0}, {"workers": -1}])
def test_a_cluster_of_nothing_is_refused(more):
    with pytest.raises(ValueError, match="workers and threads must be at least 1"):
        clusters.local_cluster(**more)


KILLED = """
import sys, threading, time
import psutil
from dpkit.experiments import clusters

if __name__ == "__main__":
    kills = []

    def kill():
        while len(kills) < int(sys.argv[1]):
            for each in psutil.Process().children():
                if "spawn_main" in str(each.cmdline()):
                    each.kill()
                    kills.append(each.pid)
            time.sleep(0.005)

    threading.Thread(target=kill, daemon=True).start()
    try:
        with clusters.connected(workers=1, device="cpu") as client:
            print(client.submit(pow, 2, 5).result())
    except ConnectionError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "kills, says", [(1, "32"), (3, "the workers on this machine ended while they started, 3 times")]
)
def test_a_worker_that_is_killed_while_it_starts_is_started_again(python, tmp_path, kills, says):
    (tmp_path / "script.py").write_text(KILLED)
    done = python("import runpy; runpy.run_path('script.py', run_name='__main__')", kills)
    assert done.stdout.startswith(says) and done.stderr == "", done


INTERRUPTED = """
import os, signal, threading, time
import psutil
from dpkit.experiments import clusters

if __name__ == "__main__":
    def interrupt():
        while not any("Nanny" in each.name for each in threading.enumerate()):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        clusters.local_cluster(workers=2, device="cpu")
    except KeyboardInterrupt as error:
        kept = error  # as a notebook keeps it
    time.sleep(1)
    me = psutil.Process()
    loops = [each.name for each in threading.enumerate() if each.name == "IO loop"]
    children = [each.pid for each in me.children() if "resource_tracker" not in str(each.cmdline())]
    print(loops, me.net_connections(), children)
"""


def test_a_cluster_that_is_interrupted_while_it_starts_leaves_nothing(python, tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)
    done = python("import runpy; runpy.run_path('script.py', run_name='__main__')")
    assert done.stdout == "[] [] []\n" and done.stderr == "", done
