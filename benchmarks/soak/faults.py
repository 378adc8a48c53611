"""What happens to a command: each fault is a function of the scenario, which begins the command,
disturbs it, and says what it expects of it until then.
"""

import os
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from benchmarks.soak.scenario import Scenario

PAGE = 4096  # the least that a file takes on a small disk


@dataclass(frozen=True)
class Fault:
    """disturb(scenario): what is done.   suits(command): whether it can happen to it.

    leaves_tmp : whether a process may leave what only it could have removed.
    mounts : whether it needs a small disk.
    """

    name: str
    disturb: Callable
    suits: Callable = lambda command: True
    leaves_tmp: bool = False
    mounts: bool = False


# ---- signals -------------------------------------------------------------------------------------


def stop(scenario: "Scenario", signum: int, group: bool = True, twice: bool = False) -> None:
    """A signal at a random moment, to the group as a terminal does, and perhaps another soon."""
    run, second = scenario.start(), scenario.draw.uniform(0.05, 1.0)
    scenario.wait_until_moment(run)
    age, late = run.age(), run.ended()
    run.signal(signum, group)
    if twice:
        scenario.wait(run, second)
        run.signal(signum, group)
    if signum == signal.SIGKILL:
        scenario.wait(run, 10)
        return
    seconds = scenario.command.seconds
    if not scenario.wait(run, seconds * scenario.patience):
        scenario.complain(f"it had not ended {seconds:g} s after {signal.Signals(signum).name}")
        scenario.wait_to_end(run)
    if not late and run.process.returncode:
        scenario.judge_stop(run, signum, young=age < 0.3)


def kill_worker(scenario: "Scenario") -> None:
    """A process that the command started is killed at a random moment."""
    run = scenario.start()
    scenario.wait_until_moment(run)
    while not run.ended():
        if kill_one_of(run.children(), scenario):
            break
        scenario.wait(run, 0.05)
    # a sweep goes on with another worker; a report has lost its kernel
    scenario.wait_to_end(run)
    scenario.judge(run, (0, 1) if scenario.command.name == "report" else (0,))


def kill_one_of(children: list[psutil.Process], scenario: "Scenario") -> bool:
    """Whether one could be killed: they may just have ended, and Python's helper is no worker."""
    with suppress(psutil.NoSuchProcess):
        named = {child: " ".join(child.cmdline()) for child in children}
        workers = [
            child for child in named if "multiprocessing.resource_tracker" not in named[child]
        ]
        if workers:
            child = scenario.draw.choice(sorted(workers, key=lambda child: child.pid))
            child.kill()
            scenario.note(f"killed {named[child][-100:]}")
            return True
    return False


# ---- disks and files -----------------------------------------------------------------------------


def fill(scenario: "Scenario", disk: str) -> None:
    """The cache, the results or the temporary folder lie on a disk that is too small."""
    folder = getattr(scenario.place, disk)
    needed = max(scenario.reference.bytes[disk], 16 * PAGE)
    size = max(PAGE, int(scenario.draw.uniform(0, 1) * needed) // PAGE * PAGE)
    scenario.note(f"a disk of {size} bytes, where {needed} are needed")
    scenario.place.mount(folder, size)
    run = scenario.start()
    scenario.wait_to_end(run)
    scenario.judge(run, (0, 1, 3), says="space" if run.process.returncode else "")
    scenario.place.make_room()


def damage(scenario: "Scenario") -> None:
    """A file of the cache or the sweep's folder is damaged, after the end or after a kill."""
    draw, place = scenario.draw, scenario.place
    run = scenario.start()
    if draw.random() < 0.5:
        scenario.wait_to_end(run)
    else:
        scenario.wait_until_moment(run)
        run.signal(signal.SIGKILL, group=True)
        scenario.wait(run, 10)
        place.left_running(20)
    if place.cluster:  # its workers write on, and end what they have begun
        scenario.new_cluster()
    ours = [place.cache] + ([place.out] if scenario.command.name.startswith("sweep") else [])
    file, how = _choose(ours, draw), draw.choice(sorted(DAMAGES))
    if not file:
        return
    if file.is_relative_to(place.cache) and draw.random() < 0.7:
        shutil.rmtree(place.out, ignore_errors=True)  # or nobody would read the cache
    if file.is_relative_to(place.cache):
        place.damaged = file.relative_to(place.cache).parts[0]
    size = file.stat().st_size
    DAMAGES[how](file, draw)
    scenario.note(f"{file.relative_to(place.folder)} ({size} bytes): {how}")


def _choose(folders: list[Path], draw: random.Random) -> Path | None:
    """One of the files there, but for locks, which hold nothing; None if there is none."""
    while True:
        with suppress(FileNotFoundError):  # what a process still removes: look again
            files = sorted(
                file
                for folder in folders
                for file in folder.rglob("*")
                if file.is_file() and ".locks" not in file.parts
            )
            return draw.choice(files) if files else None


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)


DAMAGES = {
    "truncated": lambda file, draw: os.truncate(file, draw.randrange(file.stat().st_size or 1)),
    "a bit flipped": _flip,
    "emptied": lambda file, draw: os.truncate(file, 0),
    "removed": lambda file, draw: file.unlink(),
}


# ---- others --------------------------------------------------------------------------------------


def two_at_once(scenario: "Scenario") -> None:
    """The same command is given twice; the second waits, or is refused in a sentence."""
    first = scenario.start()
    scenario.wait(first, scenario.draw.uniform(0, 1) * scenario.reference.seconds)
    second = scenario.start()
    for run in (first, second):
        scenario.wait_to_end(run)
        scenario.judge(run, (0, 1, 2))
    if first.process.returncode and second.process.returncode:
        scenario.complain("of two at once, neither came to its end")


def lose_worker(scenario: "Scenario") -> None:
    """A worker of the cluster dies for good: the other one does it all."""
    run = scenario.start()
    scenario.wait_until_moment(run)
    scenario.draw.choice(scenario.place.cluster.workers).signal(signal.SIGKILL, group=True)
    scenario.wait_to_end(run)
    scenario.judge(run, (0,))


def lose_scheduler(scenario: "Scenario") -> None:
    """The cluster's scheduler dies: the sweep ends soon, in parts, and goes on with another."""
    run = scenario.start()
    scenario.wait_until_moment(run)
    late = run.ended()
    scenario.place.cluster.scheduler.signal(signal.SIGKILL, group=True)
    # to connect takes the command 12 s, if it comes too late
    if not scenario.wait(run, 15 * scenario.patience):
        scenario.complain("it had not ended 15 s after the scheduler was lost")
        scenario.wait_to_end(run)
    if not late:
        scenario.judge(run, (0, 2, 3))
    scenario.new_cluster()


HAS_WORKERS = lambda command: command.workers  # noqa: E731
ON_A_CLUSTER = lambda command: command.name == "sweep on a cluster"  # noqa: E731
FAULTS = [
    Fault("SIGKILL", partial(stop, signum=signal.SIGKILL, group=False), leaves_tmp=True),
    Fault(
        "SIGKILL of the group", partial(stop, signum=signal.SIGKILL), HAS_WORKERS, leaves_tmp=True
    ),
    Fault("SIGKILL of a worker", kill_worker, HAS_WORKERS, leaves_tmp=True),
    Fault("Ctrl-C", partial(stop, signum=signal.SIGINT)),
    Fault("Ctrl-C twice", partial(stop, signum=signal.SIGINT, twice=True)),
    Fault("SIGTERM", partial(stop, signum=signal.SIGTERM, group=False)),
    Fault("SIGHUP", partial(stop, signum=signal.SIGHUP)),
    Fault("full disk, cache", partial(fill, disk="cache"), mounts=True),
    Fault("full disk, results", partial(fill, disk="results"), mounts=True),
    Fault("full disk, temporary folder", partial(fill, disk="tmp"), HAS_WORKERS, mounts=True),
    Fault("damaged file", damage, leaves_tmp=True),
    Fault("two at once", two_at_once),
    Fault("lost worker", lose_worker, ON_A_CLUSTER, leaves_tmp=True),
    Fault("lost scheduler", lose_scheduler, ON_A_CLUSTER, leaves_tmp=True),
]
