"""A marker in a process of its own: started, given its time, and ended with the command."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dpkit.storage.temporary import temporary_folder

GRACE = 30  # seconds beyond the limit, after which a marker itself is ended


class Stopped(Exception):
    """The command is over: what is still at work stops."""


class Running:
    """The markers at work, so that none outlives the command."""

    def __init__(self) -> None:
        self.processes: set[subprocess.Popen] = set()
        self.over, self._lock = False, threading.Lock()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.over = True
            for process in self.processes:
                _kill(process)

    def start(self, *words: Any, **options: Any) -> subprocess.Popen:
        with self._lock:
            if self.over:
                raise Stopped
            process = subprocess.Popen(*words, **options)
            self.processes.add(process)
            return process


def _kill(process):
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def run_marker(steps: Sequence[dict], job: dict, running: Running) -> tuple[dict, str, bool]:
    """Mark in a process of its own.

    steps:   as merging.merge returns them.
    job:     {"limits", "trust", "hidden"}, for the marker.
    running: Running, which ends the process with the command.
    Returns (step -> what the marker said, a remark or "", whether that will stay so).
    """
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    total = job["limits"]["total"]
    with temporary_folder("dpkit-marking-") as folder, tempfile.TemporaryFile() as told:
        process = running.start(
            [sys.executable, "-m", "dpkit.classroom.marker"],
            cwd=folder,
            env=environment,
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(
                json.dumps({**job, "steps": steps}), timeout=total + GRACE
            )
            late = False
        except subprocess.TimeoutExpired:
            _kill(process)
            said, _ = process.communicate()
            late = True
        finally:
            _kill(process)
            running.processes.discard(process)
        told.seek(0)
        last = (
            told.read().decode(errors="replace").strip().splitlines()
            or [f"exit code {process.returncode}"]
        )[-1]
    results = {}
    for line in said.split("\n"):  # and not at what else may end a line, within a message
        with suppress(ValueError):  # the last line may be half a line
            done = json.loads(line)
            results[str(done["step"])] = done
    broken = next((done["broken"] for done in results.values() if done["broken"]), None)
    if broken:
        return results, f"the assignment itself is at fault: {broken}", False
    if late:
        return results, f"the grading was ended after {total:g} seconds", True
    if process.returncode:
        return results, f"the grading of this notebook ended early: {last}", False
    return results, "", True
