"""No test reaches the network or a user's own folders: data and caches lie in the test's own
folder.
"""

import gc
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
SHARE_A_CLUSTER = ("test_faults", "test_sweeps")
# they take longest, or wait longest: begun first, they are not waited for in the end
FIRST = (
    *("test_faults", "test_sweeps", "test_notebooks", "test_grading", "test_distributed"),
    *("test_soak", "test_pruning", "test_hostile_submissions", "test_grade_command"),
)
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes on two cores: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# nbformat would load it, in 1.4 s, to check addresses of a kind that no notebook has
sys.modules.setdefault("rfc3987_syntax", None)
gc.disable()  # until all tests are collected: none of it is garbage, and all is looked through


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    def place(item):
        file = Path(item.nodeid.split("::")[0]).stem
        return FIRST.index(file) if file in FIRST else len(FIRST)

    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What shares a cluster, or what a file made once, is run by one of pytest-xdist's processes,
    in the order of collection.

    By name, as the groups of `--dist loadgroup` are lost with pytest 9.2 (pytest-xdist 3.8).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = Path(nodeid.split("::")[0]).stem
            if "test_lesson_passes_in_smoke[0" in nodeid:  # half of the longest file: 00 to 08
                return "numbered lessons"
            return "cluster" if file in SHARE_A_CLUSTER else file

    config.option.loadscopereorder = False  # by number of tests, whatever they take
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("DPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DPKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise RuntimeError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def disk(tmp_path):
    """disk(size, *options): a folder with a disk of its own, so large."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder],
                capture_output=True,
            )
        except FileNotFoundError:
            pytest.skip("no mount here")
        if done.returncode:
            pytest.skip("no disk can be mounted here: it takes root")
        return folder

    yield mount
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def python(tmp_path):
    """Run code in a fresh Python that knows dpkit; returns the finished process."""

    def run(code, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def wait_until():
    """wait_until(condition): until it holds; the test fails if it does not within a minute."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"waited {seconds} s in vain")
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def watched_cluster(tmp_path_factory):
    """(client, Watch) of a local cluster of two workers whose stages are watched. It takes seconds
    to start: share it.
    """
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    import stage_log
    import warm_kernels

    from dpkit.experiments.clusters import PATIENT, local_cluster

    watch = stage_log.Watch(tmp_path_factory.mktemp("stages"))
    # two deaths will do to give a task up
    settings = {
        "distributed.worker.preload": [stage_log.__file__],
        "distributed.scheduler.allowed-failures": 1,
    }
    with warm_kernels.workers(**{stage_log.FOLDER: str(watch.folder)}):
        # no longer: workers in this very process would put the stand-ins here
        with dask.config.set(settings):
            cluster = local_cluster(workers=2)
        with dask.config.set(PATIENT), cluster, distributed.Client(cluster) as client:
            yield client, watch


@pytest.fixture
def stages_watched(watched_cluster):
    """The same, with an empty log and nothing held."""
    watched_cluster[1].forget()
    # of those that an earlier test killed; or say so, and not wait forever
    watched_cluster[0].wait_for_workers(2, timeout=180)
    yield watched_cluster
    watched_cluster[1].let_go()


@pytest.fixture(scope="session")
def digits():
    """The first 200 handwritten digits."""
    from dpkit.data.image_set import load

    return load("digits", device="cpu").first(200)


@pytest.fixture
def steps_taken():
    """Counts optimizer steps."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    count = []
    handle = register_optimizer_step_post_hook(lambda *arguments: count.append(1))
    yield lambda: len(count)
    handle.remove()


@pytest.fixture
def every_epoch(monkeypatch):
    """Checkpoints are written after every epoch, not every ten seconds."""
    from dpkit.training import checkpoint

    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0.0)


@pytest.fixture(scope="session")
def kernels():
    """kernels(mark): processes whose environment holds `mark`, which are the kernels of one
    test.
    """

    def running(mark):
        return [
            process.pid
            for process in psutil.process_iter(["environ", "status"])
            if mark in "\n".join(map("=".join, (process.info["environ"] or {}).items()))
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    return running


@pytest.fixture
def set_version(monkeypatch):
    """set_version("select", 1000): a stage of a trial has another version."""
    from dpkit.experiments.pipeline import STAGES

    by_name = {stage.name: stage for stage, _ in STAGES}
    return lambda name, version: monkeypatch.setattr(by_name[name], "version", version)
