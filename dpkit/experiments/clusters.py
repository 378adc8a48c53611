"""Dask clusters for sweeps: one that only this machine can reach, or anyone's client."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

import torch

from dpkit.data.devices import auto_device
from dpkit.experiments.attendance import Unavailable
from dpkit.storage.temporary import temporary_folder

if TYPE_CHECKING:
    from distributed import Client, SpecCluster


# on a busy machine a worker may still be starting after dask's 15 seconds, and a scheduler not have
# answered after its 30
PATIENT = {
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    "distributed.comm.timeouts.connect": "5 minutes",
    "distributed.comm.timeouts.tcp": "5 minutes",
}
STARTS = 3  # times that a cluster is started whose workers are killed while they start


@contextmanager
def connected(
    client: Client | None = None,
    *,
    workers: int | None = None,
    threads: int = 1,
    device: str = "auto",
) -> Iterator[Client]:
    """Yield a distributed.Client: the one given, or of a local cluster that ends with the block."""
    if client is not None:
        yield client
        return
    import dask
    from distributed import Client

    with (
        # dask leaves its workers' settings in ours, where every later process would find them
        _environment({}),
        temporary_folder("dpkit-workers-") as folder,
        dask.config.set(PATIENT | {"temporary-directory": str(folder)}),
        _closing(local_cluster(workers=workers, threads=threads, device=device)) as cluster,
    ):
        try:
            with Client(cluster) as own:
                yield own
        finally:
            # else their trainings are waited for, and a second each for Python to tidy up
            _end_workers(cluster.workers.values())


@contextmanager
def _closing(cluster):
    """A worker that does not end in time on a busy machine is no reason to fail, and hides none."""
    try:
        yield cluster
    finally:
        nannies = list(cluster.workers.values())
        try:
            cluster.close()
        except TimeoutError:
            _end_workers(nannies)


def local_cluster(
    *, workers: int | None = None, threads: int = 1, device: str = "auto"
) -> SpecCluster:
    """A cluster of processes on this machine, on 127.0.0.1 alone; close it, or use a `with`.

    workers: processes; default one per GPU, else one per `threads` cores. More than GPUs share
             them.
    threads: torch's threads in each. Small networks gain more from two processes than from two
             threads.
    Whoever is logged in on this machine can reach 127.0.0.1 too: on a shared one, use a cluster
    with TLS.

    Unavailable if the workers are killed while they start, and again.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler
    from distributed.deploy.spec import SpecCluster

    if threads < 1 or (workers is not None and workers < 1):
        raise ValueError(f"workers and threads must be at least 1; got {workers} and {threads}")
    gpus = _gpus(device)
    workers = workers or len(gpus) or max(1, CPU_COUNT // threads)
    # spinning threads make training many times slower on a busy machine
    env = {
        name: str(threads)
        for name in (
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "NUMBA_NUM_THREADS",
        )
    }
    env["OMP_WAIT_POLICY"] = "PASSIVE"
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    quiet = logging.CRITICAL  # a sweep tells of failures itself
    specs: dict = {}
    nannies: list = []

    def nanny(*address, **options):
        nannies.append(Nanny(*address, **options))
        return nannies[-1]

    for k in range(workers):
        on = {"CUDA_VISIBLE_DEVICES": gpus[k % len(gpus)]} if gpus else {}
        # no memory limit: dask's counts the images, and ends a worker that holds many of them
        specs[k] = {
            "cls": nanny,
            "options": {
                **here,
                "nthreads": 1,
                "memory_limit": 0,
                "env": env | on,
                "silence_logs": quiet,
                "resources": {"GPU": 1} if gpus else {},
            },
        }
    # a script that loads torch first has its threads counted before `env`
    early = "distributed.nanny.pre-spawn-environ"
    # dask's own makes glibc return freed memory at once; every training step then asks for its
    # pages anew: 1.5 times the time
    theirs = {
        name: value
        for name, value in dask.config.get(early).items()
        if name != "MALLOC_TRIM_THRESHOLD_"
    }
    early_env = env | {"DASK_LOGGING__DISTRIBUTED": "critical"}
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0}}
    for _ in range(STARTS):
        cluster = SpecCluster.__new__(SpecCluster)
        try:
            with dask.config.set({early: theirs | early_env}), _undisturbed_loop() as loop:
                SpecCluster.__init__(
                    cluster, loop=loop, workers=specs, scheduler=scheduler, silence_logs=quiet
                )
            return cluster
        except RuntimeError as error:  # dask's, of a worker that died
            _abandon(cluster, nannies)
            nannies.clear()
            why = error
        except BaseException:
            _abandon(cluster, nannies)
            raise
    raise Unavailable(
        f"the workers on this machine ended while they started, {STARTS} times ({why}): if memory "
        "ran out, start fewer (workers); the same command goes on from here"
    )


@contextmanager
def _undisturbed_loop():
    """A running loop whose processes hear no Ctrl-C: a terminal sends it to them too, and each
    would print where it was. They end with us.
    """
    from distributed.utils import LoopRunner

    # Python's helper tidies up shared memory behind processes, and would warn that there was some
    quiet = {"PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker"}
    # of itself it hears no SIGINT and no SIGTERM, but would end when a terminal is closed
    with _environment(quiet), _blocked(signal.SIGHUP):
        resource_tracker.ensure_running()
    runner = LoopRunner()
    with _blocked(signal.SIGINT):
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()  # it runs on while a cluster uses it


@contextmanager
def _blocked(signum):
    """What is started inside, threads and processes, inherits that this signal is blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes):
    """The environment with these changes; afterwards it is as before, whatever was changed."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _end_workers(nannies):
    """End the workers' processes now: what they have finished is in the cache."""
    for nanny in nannies:
        nanny.auto_restart = False
        with suppress(ProcessLookupError, TypeError):  # it has ended, or was not started yet
            os.kill(nanny.pid, signal.SIGKILL)


def _abandon(cluster, nannies):
    """End a cluster that was interrupted while it started: its loop, where the scheduler listens
    and nannies start processes, and then those processes.
    """
    cluster.shutdown_on_close = False  # else dask tries to close at exit what is half open
    if runner := getattr(cluster, "_loop_runner", None):
        for server in filter(None, (cluster.scheduler, *nannies)):
            for listening in filter(None, (server, getattr(server, "http_server", None))):
                cluster.loop.add_callback(listening.stop)
        cluster.loop.add_callback(_hang_up, cluster.loop)
        runner.stop()
    until = time.monotonic() + 5  # a thread of dask's may be starting one just now
    while time.monotonic() < until and any(_is_starting(nanny) for nanny in nannies):
        time.sleep(0.02)
    _end_workers(nannies)


def _hang_up(loop):
    """Close its sockets, which would stay half open for as long as anyone holds the cluster."""
    for descriptor, (socket, _) in list(loop.handlers.items()):
        loop.remove_handler(descriptor)
        loop.close_fd(socket)


def _is_starting(nanny):
    process = nanny.process and nanny.process.process
    return process is not None and process.pid is None


def _gpus(device):
    """The GPUs that workers get, each named as in CUDA_VISIBLE_DEVICES: the one of "cuda:1", else
    all of ours.
    """
    device = auto_device(device)
    if device.type == "cpu":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")  # if somebody said which are ours
    count = torch.cuda.device_count()
    gpus = named.split(",")[:count] if named else [str(k) for k in range(count)]
    return gpus if device.index is None else [gpus[device.index]]


def worker_device(device: str) -> str:
    """What `device` is to a worker of a local cluster: it sees one GPU, its own, as "cuda"."""
    return "cuda" if str(device).startswith("cuda") else device
