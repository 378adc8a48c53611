"""One run of a notebook in a kernel of its own, under a clock, and ended cleanly by Ctrl-C, SIGTERM
or the time limit.

Nothing here judges the run; dpkit.reports does. POSIX only: a kernel is ended together with its
process group.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dpkit.reports.result import ENVIRONMENT

if TYPE_CHECKING:
    from nbformat import NotebookNode


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the run; the kernel is gone and nothing was written."""

    def __init__(self, signum: int) -> None:
        super().__init__("interrupted; nothing was written")
        self.signum = signum


class Watch:
    """What the cells, the clock and the signals of one run share: the kernel, where it is, and why
    it was stopped.
    """

    def __init__(self, limit: float, progress: Callable[[str], object]) -> None:
        self.limit, self.progress = limit, progress
        self.kernel: subprocess.Popen | None = None
        self.names: list[tuple[str, str]] = []  # of the notebook's cells
        self.current: int | None = None  # index of the cell that runs or ran last
        self.past_limit = False
        self.signum: int | None = None
        self._started = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def elapsed(self) -> str:
        return "{:02d}:{:02d}".format(*divmod(int(self.seconds()), 60))

    def attach(self, kernel: subprocess.Popen) -> None:
        self.kernel = kernel
        if self.past_limit or self.signum:  # the stop came while the kernel was starting
            self.kill()

    def expire(self) -> None:
        self.past_limit = True
        self.kill()

    def kill(self) -> None:
        """End the kernel and all processes it started; nbclient notices within a second."""
        if self.kernel is not None:
            with suppress(ProcessLookupError, PermissionError):
                # jupyter starts a kernel in a group of its own
                os.killpg(self.kernel.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left after the run, and wait until it is gone."""
        self.kill()
        if self.kernel is not None:
            with suppress(subprocess.TimeoutExpired):
                self.kernel.wait(timeout=10)

    def raise_if_interrupted(self) -> None:
        if self.signum:
            raise Interrupted(self.signum)

    # called by nbclient and papermill
    def on_start(self, notebook: NotebookNode) -> None:
        self.names = cell_names(notebook)

    def on_cell(self, cell: NotebookNode, cell_index: int) -> None:
        self.current = cell_index
        number, heading = self.names[cell_index]
        self.progress(f"[{number}] {self.elapsed()} {heading}".rstrip())

    def write(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self.progress(f"    {line[:200]}")

    def flush(self) -> None:
        pass


@contextmanager
def signals(watch: Watch) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP kill the kernel and end the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum, frame):
        watch.signum = watch.signum or signum
        watch.kill()
        raise Interrupted(watch.signum)

    before = {
        signum: signal.signal(signum, stop)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(signum) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler or signal.SIG_DFL)


def execute(
    notebook: Path, target: Path, given: dict, every: dict, watch: Watch, command: str
) -> Exception | None:
    """Run the cells with papermill, writing `target`. Returns what papermill raised, or None.

    given: the parameters to set; every: all of them, by name; command: what a reader types to
           repeat the run.
    The notebook's report goes to the folder of `target`.
    """
    watch.progress(f"{notebook.name}: starting a kernel")
    import papermill

    # its errors come back as sentences of ours
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    private = target.parent / ".kernel"
    private.mkdir()
    # figures go inline
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment[ENVIRONMENT] = json.dumps(
        {"folder": str(target.parent), "parameters": list(every), "command": command}
    )
    # threads that spin while they wait make a busy machine crawl
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment["IPYTHONDIR"] = str(private)  # no history, no start-up files of the user
    # it formats paths
    source, copy = (str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, target))
    clock = threading.Timer(watch.limit, watch.expire)
    clock.daemon = True
    clock.start()
    try:
        papermill.execute_notebook(
            source,
            copy,
            parameters=given,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=120,
            iopub_timeout=60,
            stdout_file=watch,
            on_notebook_start=watch.on_start,
            on_cell_execute=watch.on_cell,
            kernel_manager_class=_kernel_class(watch, notebook.parent, environment, private),
        )
    except OSError:
        watch.raise_if_interrupted()
        raise
    except Exception as error:
        # a failing cell, a dead kernel, an unreadable notebook: the verdict says which
        return error
    finally:
        clock.cancel()
        watch.end()
        shutil.rmtree(private, ignore_errors=True)
    return None


def _kernel_class(watch, folder, environment, private):
    """A kernel manager that starts this very Python, whatever is installed as python3."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    spec = KernelSpec(
        argv=[
            sys.executable,
            "-Xfrozen_modules=off",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=ERROR",
        ],
        display_name="Python 3 (ipykernel)",
        language="python",
    )

    class ReportKernelManager(AsyncKernelManager):
        kernel_spec = spec

        async def start_kernel(self, **options):
            self.connection_file = str(private / "connection.json")
            try:
                await super().start_kernel(**options, cwd=str(folder), env=environment)
            finally:
                if self.provisioner is not None and self.provisioner.process is not None:
                    watch.attach(self.provisioner.process)

    return ReportKernelManager


def code_cells(notebook: NotebookNode) -> list[int]:
    return [
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def cell_names(notebook: NotebookNode) -> list[tuple[str, str]]:
    """For each cell ("3/12", "## Retrain"): its place among the code cells, which is its In [ ]
    number, and heading.
    """
    number, heading, names, code = 0, "", [], code_cells(notebook)
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = re.findall(
                r"^#{1,6} .+", re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL), re.MULTILINE
            )
            heading = headings[-1].strip() if headings else heading
        number += i in code
        names.append((f"{number}/{len(code)}", heading))
    return names
