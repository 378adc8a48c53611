"""One scenario: the command, its fault, the same command again, and what is to be said of it."""

import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak.commands import Command
from benchmarks.soak.faults import Fault
from benchmarks.soak.place import Cluster, Place, Run

LIBRARY_WARNINGS = ("Warning:", "resource_tracker", "leaked", "Exception ignored", "Fatal Python")


@dataclass(frozen=True)
class Reference:
    """The command undisturbed: what it came to, how long it took, how large its folders became."""

    result: Any
    seconds: float
    bytes: dict


@dataclass
class Scenario:
    """patience : by how much longer than promised a command may take to stop (a busy machine)."""

    command: Command
    place: Place
    draw: random.Random
    patience: float = 1.0
    reference: Reference | None = None
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def complain(self, sentence: str) -> None:
        self.complaints.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    # ---- runs ------------------------------------------------------------------------------------

    def new_cluster(self) -> None:
        if self.place.cluster:
            self.place.cluster.end()
        self.place.cluster = Cluster(self.place)

    def start(self) -> Run:
        return self.place.start(self.command.words(self.place))

    def wait(self, run: Run, seconds: float) -> bool:
        """Watch the cache until the run ends, or for so many seconds; whether it has ended."""
        until = time.monotonic() + seconds
        while not (ended := run.ended()) and time.monotonic() < until:
            self.place.look()
            time.sleep(0.02)
        self.place.look()
        return ended

    def wait_until_moment(self, run: Run) -> None:
        moment = self.draw.uniform(0, 1.05) * self.reference.seconds
        self.note(f"after {moment:.2f} s")
        self.wait(run, moment)

    def wait_to_end(self, run: Run) -> None:
        longest = 60 + 10 * (self.reference.seconds if self.reference else 6)
        if not self.wait(run, longest):
            self.complain(f"{run.file.name}: it did not end in {longest:.0f} s")
            run.signal(9, group=True)
            self.place.left_running(0)
            run.process.wait()

    # ---- judging ---------------------------------------------------------------------------------

    def judge(self, run: Run, codes: tuple[int, ...], says: str = "") -> None:
        """The exit code is one of these, there is no traceback, and it says why where it failed."""
        code, lines = run.process.returncode, run.lines()
        if code not in codes:
            self.complain(f"{run.file.name}: exit code {code}: {lines[-1] if lines else 'silent'}")
        if not self.command.speaks:
            return
        if any(line.startswith("Traceback") for line in lines):
            self.complain(f"{run.file.name}: a traceback, {lines[-1]}")
        if says and says not in "\n".join([*lines, run.printed()]):
            self.complain(f"{run.file.name}: no word of {says!r}: {lines[-1:]}")

    def judge_stop(self, run: Run, signum: int, young: bool) -> None:
        """Stopped by a signal: the right code, one sentence, the last one, and nothing left.

        young : Python itself may still have been starting.
        """
        killed = young or not self.command.speaks
        self.judge(run, (128 + signum, *([-signum, 1] if killed else [])))
        lines = run.lines()
        if self.command.speaks and run.process.returncode > 0:
            told = [line for line in lines if line.startswith("dpkit: ")]
            if len(told) != 1 or lines[-1] != told[0]:
                self.complain(f"{run.file.name}: not one sentence at the end: {lines[-3:]}")
            for line in lines:
                if any(word in line for word in LIBRARY_WARNINGS):
                    self.complain(f"{run.file.name}: a library speaks: {line}")
        for left in self.place.left_running(1.0 if run.process.returncode > 0 else 15.0):
            self.complain(f"left running: {left}")
        if run.process.returncode > 0:  # Python's helper has emptied the shared memory by now
            self.complaints += [f"left: {file}" for file in self.place.left_in_tmp()]
            self.complaints += [f"left: {file}" for file in self.place.left_in_shm()]

    def judge_end(self, fault: Fault | None) -> None:
        """The command was given again: it came to what it must, did nothing twice, left nothing."""
        place = self.place
        for left in place.left_running(15):
            self.complain(f"left running: {left}")
        place.look()
        self.complaints += [f"done twice: {stage}" for stage in sorted(place.twice)]
        self.complaints += [f"left: {file}" for file in place.unfinished()]
        if place.cluster:
            place.cluster.end()
        if not (fault and fault.leaves_tmp):
            self.complaints += [f"left: {file}" for file in place.left_in_tmp()]
            self.complaints += [f"left: {file}" for file in place.left_in_shm()]
        if not self.reference:
            return
        try:
            result = self.command.result(place)
        except (OSError, ValueError, LookupError, TypeError) as error:
            self.complain(f"the result cannot be read: {error!r}")
            return
        if result != self.reference.result:
            self.complain("the result is another than undisturbed")
            (place.folder / "expected.txt").write_text(f"{self.reference.result}\n")
            (place.folder / "result.txt").write_text(f"{result}\n")


def undisturbed(scenario: Scenario) -> Reference:
    """The command by itself; the soak ends if even that fails."""
    place = scenario.place
    if scenario.command.name == "sweep on a cluster":
        scenario.new_cluster()
    run = scenario.start()
    scenario.wait_to_end(run)
    seconds = run.age()
    scenario.judge(run, (0,))
    scenario.judge_end(None)
    if scenario.complaints:
        sys.exit(f"{scenario.command.name} fails undisturbed: {'; '.join(scenario.complaints)}")
    size = {name: _size(getattr(place, name)) for name in ("cache", "results", "tmp")}
    return Reference(scenario.command.result(place), seconds, size)


def _size(folder: Path) -> int:
    return sum(4096 + file.stat().st_size for file in folder.rglob("*"))


def play(scenario: Scenario, fault: Fault) -> None:
    """Disturb the command, give it again, and note what was not survived."""
    if scenario.command.name == "sweep on a cluster":
        scenario.new_cluster()
    fault.disturb(scenario)
    run = scenario.start()
    scenario.wait_to_end(run)
    scenario.judge(run, (0,))
    scenario.judge_end(fault)
