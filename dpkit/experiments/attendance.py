"""Who is there to work: a sweep on anyone's cluster says what it waits for, and never waits for a
scheduler that is lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 1.5  # seconds; a worker that is started again is back by then, or soon
ANSWER = 5.0  # seconds in which a scheduler answers, unless it is lost; it is asked twice
OWN_ANSWER = 300.0  # one in this very process is not lost, but may get no processor for long
LATE = 60.0  # seconds after the first worker's answer in which the others are waited for


class Unavailable(ConnectionError):
    """The cluster cannot go on with the sweep now; nothing is lost, the same sweep goes on."""


class Attendance:
    """Of the workers of a client's cluster.

    resources: what a worker must declare to count, as {"GPU": 1}, where some declare it.
    late: addresses of workers that did not answer while others did: paused, hung or at other work.
    tell: called about once a second, while there is nobody, with what is waited for; with "" when
          somebody came.
    until: of time.monotonic().
    answer: seconds in which the scheduler answers, unless it is lost; it is asked twice.
    """

    def __init__(
        self, client: Client, tell: Callable[[str], object], until: float, answer: float = ANSWER
    ) -> None:
        self.client, self.tell, self.until, self.answer = client, tell, until, answer
        self.address = client.scheduler.address
        self.resources: dict = {}
        self.late: set[str] = set()
        self._seen, self._told, self.is_lost = time.monotonic(), "", False

    def ask(self, method: str, **arguments: Any) -> Any:
        """The scheduler's answer; Unavailable if it gives none."""
        for _ in range(2):  # a process that was stopped for a while has its clocks run out at once
            if self.client.status in ("closing", "closed"):
                break
            try:
                asked = getattr(self.client.scheduler, method)
                return self.client.sync(asked, callback_timeout=self.answer, **arguments)
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
        return self._able(self._declared(), otherwise)

    def _declared(self):
        """{address: the resources it declares} of all workers that are there."""
        found = self.ask("identity", n_workers=-1)["workers"]
        return {address: worker.get("resources", {}) for address, worker in found.items()}

    def _able(self, declared, otherwise=""):
        able = [
            address for address, some in declared.items() if self.resources.keys() <= some.keys()
        ]
        if able:
            self._seen = time.monotonic()
        needed = " with ".join(["a worker", *self.resources])
        absent = time.monotonic() - self._seen > PATIENCE
        self._say(f"{needed} to join the scheduler at {self.address}" if absent else otherwise)
        return able

    def first_workers(self) -> list[str]:
        """As workers, once there are any; Unavailable if none came before `until`."""
        while True:
            declared = self._declared()
            if any("GPU" in some for some in declared.values()):
                self.resources = {"GPU": 1}
            if able := self._able(declared):
                return able
            self._check_time(self.until, "a worker to join")
            time.sleep(0.5)

    def answered(self, requests: dict[str, Future], what: str) -> dict[str, Future]:
        """Those of {worker: future} that are done, at least one unless all workers are gone.

        Meanwhile it is said what is waited for. Who has not answered LATE seconds after the first
        is left out and added to `late`: one worker that hangs does not stop the others.
        """
        begun, until = time.monotonic(), math.inf
        while True:
            done = {worker: future for worker, future in requests.items() if future.done()}
            if any(future.cancelled() for future in done.values()):
                raise self.lost()
            now = time.monotonic()
            if done:
                until = min(until, now + LATE)
            there = self.workers(what if now - begun > PATIENCE else "")
            missing = [worker for worker in requests if worker in there and worker not in done]
            if not missing or now > until:
                break
            if not done:  # whoever works is let finish that
                self._check_time(max(self.until, begun + 60), what)
            time.sleep(0.2 if now - begun > 0.2 else 0.02)
        self._say("")
        if missing:
            self.late.update(missing)
            self.client.cancel([requests[worker] for worker in missing], force=True)
        return done

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
