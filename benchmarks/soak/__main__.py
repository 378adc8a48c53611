"""python -m benchmarks.soak --minutes 60 --seed 7 --out FOLDER

Every pair of a command and a fault comes once, in random order, then every pair again, until the
minutes are over. Scenario K of a seed is always the same: --only K repeats it.
"""

import argparse
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count
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
    for signum in (signal.SIGINT, signal.SIGTERM):  # also where a shell's background ignores them
        signal.signal(signum, signal.default_int_handler)
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
    parser.add_argument(
        "--command", default="", metavar="EXPRESSION", help="only commands whose name has this"
    )
    parser.add_argument(
        "--fault", default="", metavar="EXPRESSION", help="only faults whose name has this"
    )
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

    def pair(self, number: int):
        """(command, fault) of a scenario: every pair comes once in a round."""
        all_before, place = divmod(number - 1, len(self.pairs))
        draw = random.Random(f"{self.arguments.seed} round {all_before}")
        return draw.sample(self.pairs, len(self.pairs))[place]

    def wanted(self, number: int) -> bool:
        command, fault = self.pair(number)
        named = re.search(self.arguments.command, command.name) and re.search(
            self.arguments.fault, fault.name
        )
        return bool(named) and (self.mounts or not fault.mounts)

    def storm(self) -> None:
        print(f"seed {self.arguments.seed}, in {self.out}")
        if not self.mounts:
            left_out = [fault.name for fault in FAULTS if fault.mounts]
            print(f"left out, as no disk can be mounted here: {', '.join(left_out)}")
        numbers = [self.arguments.only] if self.arguments.only else count(1)
        until = time.monotonic() + 60 * self.arguments.minutes
        if not any(map(self.wanted, range(1, len(self.pairs) + 1))):
            sys.exit("no such command and fault; python -m benchmarks.soak --help")
        for number in filter(self.wanted, numbers):
            if time.monotonic() > until:
                break
            self.scenario(number)

    def scenario(self, number: int) -> None:
        """Play it, count it, print it, and keep its folder if it was not survived."""
        command, fault = self.pair(number)
        reference = self.reference(command)
        draw = random.Random(f"{self.arguments.seed} scenario {number}")
        place = self.place(str(number))
        scenario = Scenario(command, place, draw, self.arguments.patience, reference)
        begun = time.monotonic()
        try:
            play(scenario, fault)
        finally:
            place.end()
        seconds = time.monotonic() - begun
        pair, failed = (command.name, fault.name), bool(scenario.complaints)
        self.times[pair] += 1
        self.failed[pair] += failed
        lines = [
            f"{number:4} {seconds:4.0f} s  {'NOT SURVIVED' if failed else 'survived'}  "
            + ", ".join([*pair, *scenario.notes]),
            *(f"          {complaint}" for complaint in scenario.complaints),
        ]
        print(*lines, sep="\n", flush=True)
        if failed:
            again = f"python -m benchmarks.soak --seed {self.arguments.seed} --only {number}"
            about = "\n".join([*lines, f"load {os.getloadavg()}", again])
            place.keep(self.out / "failed" / f"{self.arguments.seed}-{number}", about)
        place.remove()

    def reference(self, command):
        """What the command comes to undisturbed: found once."""
        if command not in self.references:
            place = self.place(f"{COMMANDS.index(command)}-undisturbed")
            try:
                self.references[command] = undisturbed(Scenario(command, place, random.Random(0)))
            finally:
                place.end()
                place.remove()
        return self.references[command]

    def place(self, name: str) -> Place:
        return Place(self.out / "running" / name, self.data, shm=self.mounts)

    def table(self) -> str:
        """Markdown: a row per command and fault, with the machine and the versions below."""
        lines = ["| command | fault | times | survived |", "|---|---|---:|---:|"]
        for pair in sorted(self.times):
            survived = self.times[pair] - self.failed[pair]
            lines.append(f"| {' | '.join(pair)} | {self.times[pair]} | {survived} |")
        times, failed = self.times.total(), self.failed.total()
        about = ", ".join(f"{k} {v}" for k, v in {**machine("cpu"), **versions()}.items())
        lines += [f"| all | | {times} | {times - failed} |", ""]
        return "\n".join([*lines, f"Seed {self.arguments.seed}; {about}.", ""])


if __name__ == "__main__":
    sys.exit(main())
