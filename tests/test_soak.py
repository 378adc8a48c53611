"""The soak sees what it is there to see, and dpkit survives a scenario of it."""

import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed")
from benchmarks.soak.commands import Command, make_set
from benchmarks.soak.faults import FAULTS, kill_one_of
from benchmarks.soak.place import Place
from benchmarks.soak.scenario import Reference, Scenario, play

ROOT = Path(__file__).parents[1]
CTRL_C = next(fault for fault in FAULTS if fault.name == "Ctrl-C")
# a command whose first run lasts until it is disturbed
SCRIPT = """
import os, signal, subprocess, sys, time
from pathlib import Path
stage, out = Path("cache/record-1/manifest.json"), Path("results/out/number")
def stop(*_):
    {stop}
signal.signal(signal.SIGINT, stop)
again = stage.exists()
if not again or {twice}:
    stage.parent.mkdir(exist_ok=True)
    stage.with_name("part").write_text("done")
    os.replace(stage.with_name("part"), stage)
{more}
time.sleep(0 if again else 30)
out.parent.mkdir(exist_ok=True)
out.write_text({number})
"""
GOOD = {
    "stop": "sys.exit(print('dpkit: interrupted', file=sys.stderr) or 130)",
    "twice": "False",
    "more": "",
    "number": "'7'",
}


class Late(random.Random):
    """Every moment is the latest."""

    def uniform(self, a, b):
        return b


def complaints_about(folder, **bad):
    (folder / "script.py").write_text(SCRIPT.format(**GOOD | bad))
    make_set(folder / "set.npz")
    place = Place(folder / "place", folder / "set.npz", shm=False)
    command = Command(
        "a script",
        lambda place: [sys.executable, str(folder / "script.py")],
        lambda place: (place.out / "number").read_text(),
        seconds=2.0,
    )
    scenario = Scenario(command, place, Late(0), reference=Reference("7", 0.7, {}))
    try:
        play(scenario, CTRL_C)
    finally:
        place.end()
    return scenario.complaints


def test_a_soak_has_no_complaint_about_a_command_that_goes_on(tmp_path):
    assert complaints_about(tmp_path) == []


def test_a_soak_complains_about_what_is_lost_done_twice_or_left(tmp_path):
    more = """
Path("tmp/file").touch()
Path("cache/.record-2.building-1").touch()
again or subprocess.Popen(["sleep", "20"], process_group=0)
"""
    assert complaints_about(
        tmp_path, number="'7' if not again else '8'", twice="True", more=more
    ) == [
        "left running: sleep 20",
        "left: tmp/file",
        "done twice: record-1",
        "left: cache/.record-2.building-1",
        "left: tmp/file",
        "the result is another than undisturbed",
    ]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"stop": "raise KeyboardInterrupt"}, "run1.txt: a traceback"),
        ({"stop": "sys.exit('dpkit: failed')"}, "run1.txt: exit code 1: dpkit: failed"),
        ({"stop": "sys.exit(130)"}, "run1.txt: not one sentence at the end: []"),
        ({"stop": "time.sleep(2.5); sys.exit(130)"}, "it had not ended 2 s after SIGINT"),
        ({"more": "again and sys.exit('no')"}, "run2.txt: exit code 1: no"),
    ],
)
def test_a_soak_complains_about_a_command_that_ends_badly(tmp_path, bad, complaint):
    assert any(line.startswith(complaint) for line in complaints_about(tmp_path, **bad))


def test_a_scenario_is_survived_and_counted(tmp_path):
    from benchmarks.soak.__main__ import Soak, parse

    wanted, out = ("run_trial", "SIGKILL"), tmp_path / "out"
    soak = Soak(parse(["--seed", "1", "--out", str(out)]), mounts=False)
    names = [(c.name, f.name) for c, f in map(soak.pair, range(1, len(soak.pairs) + 1))]
    assert len(set(names)) == len(soak.pairs) == len(names)
    only = str(names.index(wanted) + 1)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--seed", "1", "--only", only, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| run_trial | SIGKILL | 1 | 1 |" in (out / "table.md").read_text()


def test_a_soak_kills_a_worker_and_neither_a_helper_nor_what_has_ended(tmp_path):
    scenario = Scenario(None, None, random.Random(0))
    ended = subprocess.Popen(["true"])
    gone = psutil.Process(ended.pid)
    ended.wait()
    helper = "import time; time.sleep(20)  # from multiprocessing.resource_tracker import main"
    helper = subprocess.Popen([sys.executable, "-c", helper])
    worker = subprocess.Popen(["sleep", "20"])
    try:
        them = [psutil.Process(each.pid) for each in (helper, worker)]
        assert not kill_one_of([gone], scenario) and not kill_one_of(them[:1], scenario)
        assert kill_one_of(them, scenario) and scenario.notes == ["killed sleep 20"]
        assert worker.wait(10) and helper.poll() is None
    finally:
        helper.kill()
        worker.kill()
