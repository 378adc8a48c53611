"""python -m benchmarks.soak --minutes 60 --seed 7 --out FOLDER

Every pair of a command and a fault comes once, in random order, then every pair again, until the
minutes are over. Scenario K of a seed is always the same: --only K repeats it.
"""

import argparse
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.soak.commands import COMMANDS, make_set
from benchmarks.soak.faults import FAULTS
from benchmarks.soak.place import SHARED_MEMORY, Place
from benchmarks.soak.scenario import Scenario, play, undisturbed
from dpkit.storage.files import whole_file
from dpkit.storage.provenance import machine, versions

# a name space of our own, in which disks can be mounted, and are gone with us
ASIDE, IS_ASIDE = ["unshare", "--user", "--map-root-user", "--mount"], "DPKIT_SOAK_ASIDE"


def main(argv=None) -> int:
    arguments = parse(argv)
    aside = os.environ.pop(IS_ASIDE, None)
    if aside is None and _can_mount():
        words = [sys.executable, "-m", "benchmarks.soak", *(sys.argv[1:] if argv is None else argv)]
        os.execvpe(ASIDE[0], [*ASIDE, *words], os.environ | {IS_ASIDE: "1"})
    soak = Soak(arguments, mounts=aside is not None)
    try:
        soak.storm()
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        print("\n" + soak.table())
        with whole_file(soak.out / "table.md") as file:
            file.write(soak.table().encode())
    return 1 if soak.failed.total() else 0


def parse(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="begin nothing after these (60)")
    parser.add_argument("--seed", type=int, help="of the scenarios (default: another every time)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="build/soak")
    parser.add_argument("--only", type=int, metavar="K", help="the scenario of this number alone")
    parser.add_argument("--command", default="", help="only commands with this in their name")
    parser.add_argument("--fault", default="", help="only faults with this in their name")
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="stopping may take so many times what is promised, on a busy machine (1)",
    )
    arguments = parser.parse_args(argv)
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(10**6)
    return arguments


def _can_mount() -> bool:
    try:
        where = [*ASIDE, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(where, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Soak:
    """The scenarios of a seed, and what came of them."""

    def __init__(self, arguments, mounts: bool) -> None:
        self.arguments, self.mounts, self.out = arguments, mounts, arguments.out.resolve()
        shutil.rmtree(self.out / "running", ignore_errors=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.data = self.out / "set.npz"
        make_set(self.data)
        if mounts:  # one of our own: what lies there in the end is ours
            subprocess.run(["mount", "-t", "tmpfs", "none", SHARED_MEMORY], check=True)
        self.pairs = [(c, f) for c in COMMANDS for f in FAULTS if f.suits(c)]
        self.references, self.times, self.failed = {}, Counter(), Counter()
        self.skipped = [f.name for f in FAULTS if f.mounts and not mounts]

    def pair(self, number: int):
        """(command, fault) of a scenario: every pair comes once in a round."""
        number, count = number - 1, len(self.pairs)
        order = random.Random(f"{self.arguments.seed} {number // count}").sample(self.pairs, count)
        return order[number % count]

    def storm(self) -> None:
        begun, number = time.monotonic(), self.arguments.only or 1
        print(f"seed {self.arguments.seed}, in {self.out}")
        if self.skipped:
            print(f"left out, as no disk can be mounted here: {', '.join(self.skipped)}")
        while time.monotonic() - begun < 60 * self.arguments.minutes:
            command, fault = self.pair(number)
            wanted = self.arguments.command in command.name and self.arguments.fault in fault.name
            if wanted and fault.name not in self.skipped:
                self.scenario(number, command, fault)
            if self.arguments.only:
                break
            number += 1

    def scenario(self, number, command, fault) -> None:
        seed = self.arguments.seed
        if command not in self.references:
            place = self.place(f"{COMMANDS.index(command)}-undisturbed")
            try:
                alone = Scenario(command, place, random.Random(0))
                self.references[command] = undisturbed(alone)
            finally:
                place.end()
                place.remove()
        place = self.place(str(number))
        scenario = Scenario(
            command,
            place,
            random.Random(f"{seed} scenario {number}"),
            self.arguments.patience,
            self.references[command],
        )
        begun = time.monotonic()
        try:
            play(scenario, fault)
        finally:
            place.end()
        pair, seconds = (command.name, fault.name), time.monotonic() - begun
        self.times[pair] += 1
        self.failed[pair] += bool(scenario.complaints)
        came = "NOT SURVIVED" if scenario.complaints else "survived"
        notes = f" ({'; '.join(scenario.notes)})" if scenario.notes else ""
        print(f"{number:4} {seconds:4.0f} s  {command.name}, {fault.name}{notes}: {came}")
        for complaint in scenario.complaints:
            print(f"          {complaint}")
        sys.stdout.flush()
        if scenario.complaints:
            about = {
                "command": command.name,
                "fault": fault.name,
                "notes": scenario.notes,
                "complaints": scenario.complaints,
                "load": os.getloadavg(),
                "again": f"python -m benchmarks.soak --seed {seed} --only {number}",
            }
            place.keep(self.out / "failed" / f"{seed}-{number}", about)
        place.remove()

    def place(self, name: str) -> Place:
        return Place(self.out / "running" / name, self.data, shm=self.mounts)

    def table(self) -> str:
        """Markdown: a row per command and fault, with the machine and the versions below."""
        lines = ["| command | fault | times | survived |", "|---|---|---:|---:|"]
        for command, fault in self.pairs:
            pair = (command.name, fault.name)
            if times := self.times[pair]:
                survived = times - self.failed[pair]
                lines.append(f"| {' | '.join(pair)} | {times} | {survived} |")
        total, failed = self.times.total(), self.failed.total()
        lines.append(f"| all | | {total} | {total - failed} |")
        about = {**machine("cpu"), **versions()}
        return (
            "\n".join(
                [
                    *lines,
                    "",
                    f"Seed {self.arguments.seed}; "
                    + ", ".join(f"{name} {value}" for name, value in about.items()),
                ]
            )
            + "\n"
        )


if __name__ == "__main__":
    sys.exit(main())
