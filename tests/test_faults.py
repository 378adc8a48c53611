"""Whoever is killed in whichever stage, the sweep goes on to the same table: nothing finished is
run again, nothing is left.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from local_workers import in_this_process

from dpkit import dual, keep_top, storage
from dpkit.cli import main
from dpkit.experiments import results, sweeps
from dpkit.experiments.grids import trials_of
from dpkit.experiments.trials import run_trial
from dpkit.methods.method import Method

pytest.importorskip("distributed")
import stage_log

ROOT = Path(__file__).parents[1]
GRID = {
    "dataset": "digits",
    "num_samples": 60,
    "method": ["dual", "random"],
    "prune_ratio": 0.5,
    "record": {"epochs": 10, "batch_size": 30, "lr": 0.05},
    "retrain": {"epochs": 3, "batch_size": 30, "lr": 0.05},
}
STAGES = 6  # a record, its scores, and a selection and a retraining of each method
MEASURED = {
    f"{stage}_{what}" for stage in stage_log.KINDS for what in ("seconds", "peak_memory")
} | {"from_cache", "failed"}


def silent(progress, last=False):
    pass


def numbers(row):
    return {name: value for name, value in dict(row).items() if name not in {*MEASURED, "threads"}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The rows of the grid's trials, each run by itself in this process."""
    cache = tmp_path_factory.mktemp("undisturbed")
    return [numbers(run_trial(trial, cache=cache, device="cpu")) for trial in trials_of(GRID)]


# ---- who is killed -------------------------------------------------------------------------------


class Place:
    """A sweep's folders and processes, which carry a mark."""

    def __init__(self, folder, watch):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.watch, self.mark = (
            folder,
            watch,
            f"sweep-{os.getpid()}-{folder.parent.name}-{folder.name}",
        )
        self.out, self.cache = folder / "out", folder / "cache"
        (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
        self.environment = {
            **os.environ,
            **watch.environment,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DPKIT_CACHE": str(self.cache),
            "DPKIT_TEST_MARK": self.mark,
        }

    def rows(self):
        return len(list(self.out.glob("rows/*.json")))


class Command:
    """`dpkit sweep` in a process of its own: killed, it is given again."""

    def __init__(self, place):
        self.place = place
        self.process = subprocess.Popen(
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
            env=place.environment,
            cwd=place.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def kill(self, worker):
        self.process.kill()
        self.process.communicate()

    def finish(self):
        told, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, told

    def end(self):
        self.process.kill()


class Kernel:
    """A notebook's kernel that runs a sweep: killed, the notebook is run again in another."""

    def __init__(self, place):
        from jupyter_client import KernelManager

        file = place.folder / f"kernel-{time.monotonic_ns()}.json"
        self.manager = KernelManager(kernel_name="python3", connection_file=str(file))
        self.manager.start_kernel(
            env=place.environment,
            cwd=str(place.folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.process, self.client = self.manager.provisioner.process, self.manager.client()
        try:
            self.client.start_channels()
            self.client.wait_for_ready(timeout=240)
            self.asked = self.client.execute(
                "import dpkit\nrows = dpkit.sweep('grid.yaml', out='out', workers=1, device='cpu')"
            )
        except BaseException:
            self.end()
            raise

    def kill(self, worker):
        self.process.kill()
        self.process.wait()

    def finish(self):
        while (answer := self.client.get_shell_msg(timeout=300))["parent_header"][
            "msg_id"
        ] != self.asked:
            pass
        assert answer["content"]["status"] == "ok", answer["content"]
        self.client.shutdown()
        self.process.wait(60)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.client.stop_channels()


class Workers:
    """A sweep on a cluster whose workers are killed: it goes on by itself."""

    goes_on = True

    def __init__(self, place, client):
        self.thread = threading.Thread(target=self.sweep, args=(place, client))
        self.thread.start()

    def sweep(self, place, client):
        self.rows = sweeps.sweep(
            GRID,
            client,
            out=place.out,
            cache=place.cache,
            device="cpu",
            on_progress=lambda *a, **k: None,
        )

    def kill(self, worker):
        os.kill(worker, signal.SIGKILL)

    def finish(self):
        self.thread.join(300)
        assert self.rows.failed.tolist() == ["", ""]

    def end(self):
        pass


# ---- what happens then ---------------------------------------------------------------------------


def disturbed(place, start, wait_until, kernels):
    """Kill once well inside a stage of each kind; what was found out, {} in parts, by the kill.

    start(kind) begins the sweep that is then killed in a stage of this kind, start(None) the last.
    """
    watch, kinds, runs, found = place.watch, stage_log.KINDS, [], []
    watch.hold(kinds[0])
    try:
        for kind, following in zip(kinds, [*kinds[1:], None], strict=True):
            if not runs or not hasattr(runs[-1], "goes_on"):
                runs.append(start(kind))
            wait_until(lambda kind=kind: watch.inside(kind), seconds=300)
            worker, inside = watch.inside(kind)
            done, begun = stage_log.finished(place.cache), len(watch.begun())
            with suppress(ProcessLookupError):
                runs[-1].kill(worker)
            if not hasattr(runs[-1], "goes_on"):
                wait_until(lambda: not kernels(place.mark), seconds=120)
            found.append({"kind": kind, "inside": inside, "done": done, "begun": begun})
            if following:
                watch.hold(following)
            watch.let_go(kind)
        if not hasattr(runs[-1], "goes_on"):
            runs.append(start(None))
        runs[-1].finish()
    finally:
        for run in runs:
            run.end()
    return found


def check(place, kills, undisturbed, kernels):
    """The claims of this file."""
    table, begun = results.results_table(place.out), place.watch.begun()
    assert table.failed.tolist() == ["", ""]
    assert [numbers(row) for row in table.to_dict("records")] == undisturbed
    for kill in kills:
        again = kill["done"] & set(begun[kill["begun"] :])
        assert not again, f"finished, and yet run again after the kill in {kill['kind']}: {again}"
    epochs = place.watch.log("epoch")
    assert len(epochs) == len(set(epochs)), "an epoch that was kept was trained again"
    assert stage_log.finished(place.cache) == set(begun) and len(set(begun)) == STAGES
    assert not stage_log.unfinished(place.out, place.cache)
    assert place.rows() == 2 and all(
        json.loads(file.read_text())["row"] for file in place.out.glob("rows/*")
    )
    assert not kernels(place.mark)


def test_a_sweep_that_is_killed_in_every_stage_is_given_again_and_goes_on(
    tmp_path, undisturbed, wait_until, kernels
):
    """Begun by a command, it goes on in notebooks, and again by the command."""
    pytest.importorskip("ipykernel")
    (tmp_path / "stages").mkdir()
    place = Place(tmp_path / "sweep", stage_log.Watch(tmp_path / "stages"))
    by = {"score": Kernel, "select": Kernel}
    kills = disturbed(place, lambda kind: by.get(kind, Command)(place), wait_until, kernels)
    check(place, kills, undisturbed, kernels)
    # a stage is begun once, and again if it was killed
    once_more = Counter(kill["inside"] for kill in kills)
    assert Counter(place.watch.begun()) == Counter(set(place.watch.begun())) + once_more
    assert [kill["inside"].partition("-")[0] for kill in kills] == list(stage_log.KINDS)


def test_a_sweep_whose_workers_are_killed_in_every_stage_goes_on_by_itself(
    stages_watched, tmp_path, undisturbed, wait_until, kernels
):
    client, watch = stages_watched
    place = Place(tmp_path, watch)
    kills = disturbed(place, lambda kind: Workers(place, client), wait_until, kernels)
    check(place, kills, undisturbed, kernels)
    once_more = Counter(kill["inside"] for kill in kills)
    assert Counter(watch.begun()) == Counter(set(watch.begun())) + once_more


def test_a_worker_that_lost_its_gpu_ends_and_the_other_trials_are_done(stages_watched, tmp_path):
    folder = str(tmp_path)

    def selector(scores, keep, *, rng):
        """As after a dead CUDA context, every later trial of the same process fails too."""
        dead = Path(folder) / str(os.getpid())
        if (scores.num_samples, keep) == (60, 54):
            dead.touch()
        if dead.exists():
            raise RuntimeError("CUDA error: device-side assert triggered")
        return keep_top(scores, keep, rng=rng)

    ratios = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    grid = GRID | {"prune_ratio": ratios, "retrain": {"budget": "steps", "steps": 1}}
    grid["method"] = Method("dynamics", dual, selector, name="mine")
    places = {"out": tmp_path / "out", "cache": tmp_path / "cache", "device": "cpu"}
    table = sweeps.sweep(grid, stages_watched[0], on_progress=silent, **places)
    failed = table[table.accuracy.isna()]
    assert failed.prune_ratio.tolist() == [0.1] and len(table) == 6
    assert failed.failed.item() == "the GPU failed: CUDA error: device-side assert triggered"


# ---- a full disk ---------------------------------------------------------------------------------


NO_SPACE = "free some, and the same command goes on: nothing that is finished is lost"
FULL = """
import json, sys
from pathlib import Path
from dask import config
from distributed import Client, LocalCluster
from dpkit import stages, sweeps
disk, cache = Path(sys.argv[1]), sys.argv[2]
trainings, train = [], stages.train
def counted(*arguments, **more):
    trainings.append(1)
    return train(*arguments, **more)
stages.train = counted
grid = {"dataset": "digits", "num_samples": 60, "method": "random", "prune_ratio": [0.2, 0.3, 0.4, 0.5], "record": {},
        "retrain": {"epochs": 1, "batch_size": 30}}
with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
                  dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
    def sweep():
        return sweeps.sweep(grid, client, out=disk / "out", cache=cache, device="cpu", on_progress=lambda *a, **k: None)
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28
        size = file.tell()
    with open(disk / "filler", "r+b") as file:
        file.truncate(size - 4 * 4096)  # a page is the least that a file takes: sweep.json, the folder's rows and little more
    try:
        sweep()
    except OSError as error:
        print(error.errno, error.strerror)
    rows = list((disk / "out" / "rows").glob("*"))
    print(len(rows) < 4, all("row" in json.loads(row.read_text()) for row in rows), not list((disk / "out").rglob(".*")))
    trained = len(trainings)
    (disk / "filler").unlink()
    table = sweep()
    print(len(table), not table.failed.any(), len(trainings))
"""  # noqa: E501


def test_a_disk_that_is_full_stops_the_sweep_and_costs_nothing_that_was_trained(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "full.py").write_text(FULL)

    def with_disk(command):
        """The command in a namespace of its own, where there is a disk of 256 kilobytes."""
        script = f"mount -t tmpfs -o size=256k none {tmp_path}/disk && exec {command}"
        return subprocess.run(
            ["unshare", "-Urm", "sh", "-c", script],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            timeout=300,
        )

    try:
        if with_disk("true").returncode:
            pytest.skip("no disk can be made here")
    except FileNotFoundError:
        pytest.skip("no unshare here")
    done = with_disk(f"{sys.executable} full.py {tmp_path}/disk {tmp_path}/cache")
    error, stopped, in_the_end = done.stdout.splitlines()
    assert error.startswith(f"28 no space left on the disk of {tmp_path}/disk/out/rows/"), done
    assert error.endswith(NO_SPACE)
    assert stopped == "True True True" and in_the_end == "4 True 4"


def test_a_row_that_cannot_be_written_is_told_in_one_sentence_and_the_same_command_goes_on(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID | {"method": "random"}))
    write = storage.write_json

    def full(path, value):
        if path.parent.name == "rows":
            raise OSError(28, "No space left on device")
        write(path, value)

    with in_this_process() as client:
        command = [
            "sweep",
            str(tmp_path / "grid.yaml"),
            "--out",
            str(tmp_path / "out"),
            "--device",
            "cpu",
            "--scheduler",
            client.scheduler.address,
        ]
        with monkeypatch.context() as disk:
            disk.setattr(storage, "write_json", full)
            assert main(command) == 1
        assert (
            capsys.readouterr().err
            == f"dpkit: no space left on the disk of {tmp_path}/out; {NO_SPACE}\n"
        )
        assert not (tmp_path / "out" / "rows").exists()
        monkeypatch.setattr(
            "dpkit.experiments.stages.train", lambda *a, **k: pytest.fail("a training was started")
        )
        assert main(command) == 0
