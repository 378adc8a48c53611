"""Sweeps under watch: their workers write down what every stage does, and a stage waits where a
test wants to disturb it.

The workers load this file (as dask's preload) and talk to the test by a folder, $DPKIT_TEST_STAGES:
    log              a line each, as it happens: "worker up <process>", "begin <stage's name>
                     <process>" and "epoch <stage's name> <number>", when it is safe on the disk
    hold-<kind>      the next stage of that kind waits in the middle of its work until this is gone,
    ... inside-<kind>    ... and has "<process> <stage's name>" in here
    deadly           a learning rate: a training with it kills its worker
All else is dpkit's own, but for checkpoints, which are written after every epoch.
"""

import os
import signal
import time
from pathlib import Path

FOLDER = "DPKIT_TEST_STAGES"
KINDS = ("record", "score", "select", "retrain")


class Watch:
    """The test's end of the folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {FOLDER: str(folder), "DASK_DISTRIBUTED__WORKER__PRELOAD": __file__}

    def forget(self):
        for file in self.folder.iterdir():
            file.unlink()

    def log(self, word):
        """[(stage's name, number)] in the order in which they were written down."""
        text = (self.folder / "log").read_text() if (self.folder / "log").exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return [(name, int(number)) for found, name, number in lines if found == word]

    def begun(self):
        """Names of the stages in the order in which they were begun."""
        return [name for name, _ in self.log("begin")]

    def hold(self, kind):
        (self.folder / f"hold-{kind}").touch()

    def inside(self, kind):
        """(process, stage's name) of whoever waits inside such a stage; None: nobody yet."""
        file = self.folder / f"inside-{kind}"
        process, _, name = file.read_text().partition(" ") if file.exists() else ("", "", "")
        return (int(process), name) if name else None

    def let_go(self, kind="*"):
        for file in [*self.folder.glob(f"hold-{kind}"), *self.folder.glob(f"inside-{kind}")]:
            file.unlink()

    def kill_at(self, lr):
        (self.folder / "deadly").write_text(str(lr))


def finished(cache):
    """Names of the stages that a cache holds finished."""
    return {path.parent.name for path in cache.glob("*/manifest.json")} | {
        path.stem for path in cache.glob("retrain-*.json")
    }


def unfinished(*folders):
    """What a killed run could leave behind: hidden files and checkpoints."""
    found = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.name.startswith(".") or "-partial" in path.name
    ]
    return [path for path in found if path.name != ".locks"]


def dask_setup(worker):
    from dpkit.experiments import choosing, stages
    from dpkit.training import checkpoint

    folder = Path(os.environ[FOLDER])
    done_once, train, keep = stages.done_once, stages.train, checkpoint.Checkpoint.keep

    def note(*words):
        # one write a line: they never mix
        log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, (" ".join(map(str, words)) + "\n").encode())
        os.close(log)

    note("worker", "up", os.getpid())

    def pause(name):
        kind = name.partition("-")[0]
        while (folder / f"hold-{kind}").exists():
            (folder / f"inside-{kind}").write_text(f"{os.getpid()} {name}")
            time.sleep(0.02)

    def noted_once(stage, key, work, read):
        def noted(part):
            if key["stage"] == "record":  # its training says so
                return work(part)
            note("begin", stage.name, os.getpid())
            cost = work(part)
            pause(stage.name)  # all is written but the manifest
            return cost

        return done_once(stage, key, noted, read)

    def noted_train(net, images, recipe, *, checkpoint, **more):
        name = checkpoint.name.removesuffix("-partial")
        note("begin", name, os.getpid())
        if (folder / "deadly").exists() and float((folder / "deadly").read_text()) == recipe.lr:
            os.kill(os.getpid(), signal.SIGKILL)
        for report in train(net, images, recipe, checkpoint=checkpoint, **more):
            yield report
            pause(name)

    def noted_keep(self, report, *arguments, **more):
        keep(self, report, *arguments, **more)
        note("epoch", self.folder.name.removesuffix("-partial"), report.epoch)

    stages.done_once = choosing.done_once = noted_once
    stages.train, checkpoint.Checkpoint.keep = noted_train, noted_keep
    checkpoint.WRITE_EVERY = 0.0
