"""One scenario's folders, its processes, and the watch over both."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.soak import commands, preload

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")


class Place:
    """Folders that every run of a scenario is given, and the processes that run there.

    cache, results and tmp may each become a small disk. The command's result lies in results/out.
    shm : whether /dev/shm is our own, so that what lies there is ours.
    """

    def __init__(self, folder: Path, data: Path, shm: bool) -> None:
        self.folder, self.data, self.shm = folder, data, shm
        self.cache, self.results, self.tmp = folder / "cache", folder / "results", folder / "tmp"
        self.out = self.results / "out"
        for each in (self.cache, self.results, self.tmp):
            each.mkdir(parents=True)
        commands.write_inputs(folder, data)
        self.mark = f"{os.getpid()}-{folder.name}"
        self.cluster: Cluster | None = None
        self.mounted: list[Path] = []
        self.runs = 0
        self.stages: dict[str, tuple] = {}  # of the cache, as each was when it was finished
        self.twice: set[str] = set()
        self.damaged = ""  # a stage that may be done a second time

    def environment(self) -> dict:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DPKIT_CACHE": str(self.cache),
            "TMPDIR": str(self.tmp),
            # caches of libraries, which stay
            "TORCHINDUCTOR_CACHE_DIR": str(self.data.parent / "inductor"),
            "DPKIT_SOAK": self.mark,
            "DASK_DISTRIBUTED__WORKER__PRELOAD": preload.__file__,
        }

    # ---- processes -------------------------------------------------------------------------------

    def start(self, words: list[str]) -> "Run":
        self.runs += 1
        return Run(words, self.folder, f"run{self.runs}", self.environment())

    def processes(self) -> list[psutil.Process]:
        """Those that were started here, by what they have in their environment."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get("DPKIT_SOAK") == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left_running(self, seconds: float) -> list[str]:
        """Command lines of processes that are not gone after so many seconds; they are killed."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.1)
        lines = []
        for process in left:
            with suppress(psutil.Error):
                lines.append(" ".join(process.cmdline())[-120:])
                process.kill()
        return lines

    # ---- files -----------------------------------------------------------------------------------

    def look(self) -> None:
        """Note the finished stages, and those that were finished a second time."""
        for file in [*self.cache.glob("*/manifest.json"), *self.cache.glob("retrain-*.json")]:
            stage = file.relative_to(self.cache).parts[0]
            with suppress(FileNotFoundError):
                now = (file.stat().st_ino, file.stat().st_mtime_ns)
                again = self.stages.setdefault(stage, now) != now
                if again and stage != self.damaged and not stage.startswith("."):
                    self.twice.add(stage)

    def unfinished(self) -> list[str]:
        """What a run leaves only if it did not tidy up: hidden files and checkpoints."""
        return [
            str(file.relative_to(self.folder))
            for folder in (self.cache, self.results)
            for file in folder.rglob("*")
            if (file.name.startswith(".") and file.name != ".locks")
            or file.name.endswith("-partial")
        ]

    def left_in_tmp(self) -> list[str]:
        """Files, but for the locks of a folder that Dask keeps for the next time."""
        files = (f for f in self.tmp.rglob("*") if not f.is_dir() and f.suffix != ".lock")
        return [str(file.relative_to(self.folder)) for file in files]

    def left_in_shm(self) -> list[str]:
        return [str(file) for file in SHARED_MEMORY.iterdir()] if self.shm else []

    def mount(self, folder: Path, size: int) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
        self.mounted.append(folder)

    def make_room(self) -> None:
        for folder in self.mounted:
            subprocess.run(["mount", "-o", "remount,size=512m", folder], check=True)

    # ---- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        if self.cluster:
            self.cluster.end()
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for file in self.left_in_shm():
            Path(file).unlink(missing_ok=True)

    def keep(self, folder: Path, about: str) -> None:
        """Copy all of it, also from small disks, for a look, with what there is to say about it."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, symlinks=True)
        (folder / "scenario.txt").write_text(about + "\n")

    def remove(self) -> None:
        for folder in self.mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(self.folder)


class Run:
    """A command under way, in a process group of its own."""

    def __init__(self, words: list[str], folder: Path, name: str, environment: dict) -> None:
        self.file = folder / f"{name}.txt"
        with open(folder / f"{name}.out.txt", "wb") as out, open(self.file, "wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_heed_signals,
            )
        self.begun = time.monotonic()

    def age(self) -> float:
        return time.monotonic() - self.begun

    def ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, signum: int, group: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, signum)

    def children(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def printed(self) -> str:
        """What it said on stdout."""
        return self.file.with_suffix(".out.txt").read_text(errors="replace")

    def lines(self) -> list[str]:
        """What it said on stderr."""
        text = self.file.read_text(errors="replace").replace("\r", "\n")
        return [line for line in text.splitlines() if line.strip()]


class Cluster:
    """A Dask scheduler and two workers, each a process of its own, on this machine alone."""

    def __init__(self, place: Place) -> None:
        self.file = place.folder / f"scheduler{place.runs}.json"
        one = ["--scheduler-file", self.file, "--no-dashboard"]
        here = ["--host", "127.0.0.1"]
        worker = ["dask_worker", *one, *here, "--nthreads", 1, "--no-nanny", "--death-timeout", 20]
        # their own mark and folder: what a command leaves is looked for while they run
        own = {"DPKIT_SOAK": f"{place.mark}-cluster", "TMPDIR": str(place.folder)}
        environment = place.environment() | own

        def start(name, *words):
            line = [sys.executable, "-m", f"distributed.cli.{words[0]}", *map(str, words[1:])]
            return Run(line, place.folder, f"{self.file.stem}-{name}", environment)

        self.scheduler = start("scheduler", "dask_scheduler", *one, *here, "--port", 0)
        self.workers = [start(f"worker{k}", *worker) for k in (1, 2)]

    def address(self) -> str:
        """Of the scheduler, once it and both workers are up."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(FileNotFoundError, ValueError):
                return json.loads(self.file.read_text())["address"]
            time.sleep(0.05)
        raise TimeoutError("the soak's own cluster did not start within 60 s")

    def end(self) -> None:
        for run in [*self.workers, self.scheduler]:
            run.signal(signal.SIGKILL, group=True)
            run.process.wait()


def _heed_signals():
    """A shell's background jobs ignore some of them."""
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_DFL)
