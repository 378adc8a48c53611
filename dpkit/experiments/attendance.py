"""Who is there to work: a sweep on anyone's cluster says what it waits for, and never waits for a
scheduler that is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dpkit.experiments.clusters import training_resources

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 2.0  # seconds; a worker that is started again is back by then, or soon
ANSWER = 5.0  # seconds in which a scheduler answers, unless it is lost; it is asked twice


class Unavailable(ConnectionError):
    """The cluster cannot go on with the sweep now; nothing is lost, the same sweep goes on."""


class Attendance:
    """Of the workers of a client's cluster.

    resources: what a worker must declare to count, as {"GPU": 1}, where some declare it.
    tell: called about once a second, while there is nobody, with what is waited for; with "" when
          somebody came.
    until: of time.monotonic().
    """

    def __init__(self, client: Client, tell: Callable[[str], object], until: float) -> None:
        self.client, self.tell, self.until = client, tell, until
        self.address = client.scheduler.address
        self.resources: dict = {}
        self._seen, self._told, self.is_lost = time.monotonic(), "", False

    def ask(self, method: str, **arguments: Any) -> Any:
        """The scheduler's answer; Unavailable if it gives none."""
        for _ in range(2):  # a process that was stopped for a while has its clocks run out at once
            if self.client.status in ("closing", "closed"):
                break
            try:
                asked = getattr(self.client.scheduler, method)
                return self.client.sync(asked, callback_timeout=ANSWER, **arguments)
            except OSError:
                pass
        raise self.lost()

    def lost(self) -> Unavailable:
        self.is_lost = True
        return Unavailable(
            f"the scheduler at {self.address} is lost; what was finished is kept: start a "
            "scheduler and workers, and the same command goes on from here"
        )

    def workers(self, otherwise: str = "") -> list[str]:
        """Addresses of those that are there and can train; if nobody is, says so in time.

        otherwise: what is waited for if somebody is there.
        """
        found = self.ask("identity", n_workers=-1)["workers"]
        able = [
            address
            for address, worker in found.items()
            if self.resources.keys() <= worker.get("resources", {}).keys()
        ]
        if able:
            self._seen = time.monotonic()
        needed = " with ".join(["a worker", *self.resources])
        absent = time.monotonic() - self._seen > PATIENCE
        self._say(f"{needed} to join the scheduler at {self.address}" if absent else otherwise)
        return able

    def first_workers(self) -> list[str]:
        """As workers, once there are any; Unavailable if none came before `until`."""
        while not self.workers():
            self._check_time(self.until, "a worker to join")
            time.sleep(0.5)
        self.resources = training_resources(self.client) or {}
        return self.workers()

    def result(self, future: Future, worker: str, what: str) -> Any:
        """What the worker answers; None if it is gone. Meanwhile it is said what is waited for."""
        begun = time.monotonic()
        while not future.done():
            late = time.monotonic() - begun > PATIENCE
            if worker not in self.workers(what if late else ""):
                return None
            self._check_time(max(self.until, begun + 60), what)  # whoever works is let finish that
            time.sleep(0.2)
        if future.cancelled():
            raise self.lost()
        return future.result()

    def _say(self, what):
        if what or self._told:
            self.tell(what)
        self._told = what

    def _check_time(self, until, what):
        if time.monotonic() > until:
            raise Unavailable(
                f"the minutes are over, and the sweep was still waiting for {what}; the same "
                "command goes on from here"
            )
