"""A process that has loaded what takes seconds to import; lessons' kernels are forked from it, and
so are Dask's workers, of these kernels too.

Their namespace, environment, folder and process group are their own, as in a fresh Python. That
dpkit works in one is claimed by the tests that start `dpkit` and python themselves.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from contextlib import contextmanager
from multiprocessing import forkserver

import pytest

FORKED = multiprocessing.get_context("forkserver")
LOADED = [
    "ipykernel.kernelapp",
    "distributed",
    "torch",
    "numba",
    "seaborn",
    "dpkit.experiments.sweeps",
]
INLINE = "module://matplotlib_inline.backend_inline"


def start_server():
    """Start the process, if this one has none yet."""
    FORKED.set_forkserver_preload(LOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", INLINE)  # matplotlib reads it as it is loaded
        forkserver.ensure_running()


@contextmanager
def workers(**environment):
    """Dask's workers, while this holds, are forked from the process, with this environment."""
    import dask

    start_server()
    with dask.config.set(_forked(environment)):
        yield


def _forked(environment):
    return {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.nanny.environ": environment,
    }


class Kernel:
    """Starts as jupyter_client starts a kernel, and is what it asks of a subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, command, *, env, cwd, **more):
        ready, own_group = FORKED.Pipe(duplex=False)
        self._process = FORKED.Process(
            target=_run,
            args=(command, env, cwd, own_group, forkserver._forkserver._forkserver_address),
        )
        self._process.start()
        self.pid = self._process.pid
        ready.recv()

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("a kernel", timeout)
        return self.poll()

    def send_signal(self, signum):
        os.kill(self.pid, signum)


def _run(command, env, cwd, own_group, address):
    import dask

    gc.freeze()  # what is loaded stays: nobody looks through it
    os.setsid()
    own_group.send(None)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    # its own workers are forked from the same process, and not from another one of each kernel's
    forkserver._forkserver._forkserver_address = address
    forkserver._forkserver.ensure_running = lambda: None
    dask.config.set(_forked(env))
    module, *options = command[command.index("-m") + 1 :]
    sys.argv = [module, *options]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
