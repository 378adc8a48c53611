"""How far a sweep has come: counts, a guess at the time left, and a line that tells them."""

import math
import os
import sys
import time
from dataclasses import dataclass

from dpkit.experiments.rows import Failure
from dpkit.experiments.sweep_worker import Done
from dpkit.reports.result import ENVIRONMENT
from dpkit.storage.long_work import duration


@dataclass
class Progress:
    """Counts of trials: total = done (failed among them) + those to come; running now;
    seconds_left, None: not known yet; waiting_for: what is waited for, ""
    while work goes on.
    """

    total: int
    done: int = 0
    failed: int = 0
    running: int = 0
    seconds_left: float | None = None
    waiting_for: str = ""

    def __str__(self) -> str:
        if self.waiting_for:
            return f"{self.done}/{self.total} done, waiting for {self.waiting_for}"
        left = (
            ""
            if self.done == self.total
            else "  time left: "
            + ("not known yet" if self.seconds_left is None else duration(self.seconds_left))
        )
        return f"{self.done}/{self.total} done, {self.running} running, {self.failed} failed{left}"


class Line:
    """Progress as one line that is written over, on a terminal and in a notebook; elsewhere a line
    every half minute.

    A notebook that runs as a report writes it over every half minute: its page has the last, its
    terminal all of them.
    """

    def __init__(self) -> None:
        self.over = sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
        self.pause = 30 if not self.over or ENVIRONMENT in os.environ else 0
        self.told, self.width, self.waiting_for = -math.inf, 0, ""

    def __call__(self, progress: Progress, last: bool = False) -> None:
        news, self.waiting_for = progress.waiting_for != self.waiting_for, progress.waiting_for
        if not last and not news and time.monotonic() - self.told < self.pause:
            return
        text = str(progress)
        print(
            "\r" + text.ljust(self.width) if self.over else text,
            end="\n" if last or not self.over else "",
            flush=True,
        )
        self.told, self.width = time.monotonic(), len(text)


class Clock:
    """Guesses the time left from what this run's recordings and retrainings took."""

    def __init__(self, records: int, rows: int) -> None:
        self.records, self.rows = records, rows
        self.record_seconds: list[float] = []
        self.row_seconds: list[float] = []

    def record(self, answer: Done | Failure) -> None:
        """answer: Done or Failure, of a sweep's task. A failure says nothing about the others."""
        self.records -= 1
        if isinstance(answer, Done):
            self.record_seconds.append(answer.seconds)

    def row(self, answer: Done | Failure) -> None:
        """As record; what was found in the cache says nothing either."""
        self.rows -= 1
        if isinstance(answer, Done) and not (answer.row and answer.row.from_cache):
            self.row_seconds.append(answer.seconds)

    def left(self, workers: int) -> float | None:
        if (self.records and not self.record_seconds) or (self.rows and not self.row_seconds):
            return None
        mean = [
            sum(seconds) / max(1, len(seconds))
            for seconds in (self.record_seconds, self.row_seconds)
        ]
        return (self.records * mean[0] + self.rows * mean[1]) / workers
