"""Work that may take minutes or gigabytes: what it needs is said before it starts, how far it is
while it runs.

    work = LongWork("d2 of 500,000 samples", seconds=180, memory=2.1e9)    # says so: it is long
    for block in blocks:
        ...
        work.add(seconds_of(block))        # and now and then "d2 of ...: 40%, 1 min 48 s left"

Short work says nothing. `heard_by` decides who hears it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LONG = 60.0  # seconds, from which on work says how long it will be
LARGE = 1e9  # bytes, from which on it says what it holds
PAUSE = 30.0  # seconds between two lines


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_LISTENER: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=_print)


@contextmanager
def heard_by(say: Callable[[str], object] | None) -> Iterator[None]:
    """Long work inside speaks to `say` (None: to nobody) instead of printing to stderr."""
    before = _LISTENER.set(say)
    try:
        yield
    finally:
        _LISTENER.reset(before)


class LongWork:
    """One piece of work, and how far it is.

    Parameters
    ----------
    what : the work, for its lines.
    seconds : estimated, of all of it. The lines after the first go by the clock: an estimate that
        is wrong by a factor is wrong in the first line only.
    memory : estimated bytes that it takes on top of its arguments.
    """

    def __init__(self, what: str, *, seconds: float, memory: float = 0.0) -> None:
        self.what, self.total, self.done = what, seconds, 0.0
        self.begun = self.told = time.monotonic()
        if seconds >= LONG or memory >= LARGE:
            held = f" and {size_text(memory)} of memory" if memory else ""
            self._say(f"about {duration(seconds)}{held}; Ctrl-C stops it")

    def add(self, seconds: float) -> None:
        """So much of the estimated seconds is done. Says how far it is, once in a while."""
        self.done += seconds
        now = time.monotonic()
        if now - self.told < PAUSE or not self.done:
            return
        self.told, share = now, min(self.done / self.total, 1)
        whole = (now - self.begun) / share
        if whole >= LONG:
            self._say(f"{share:.0%}, {duration(whole - (now - self.begun))} left")

    def _say(self, text: str) -> None:
        if say := _LISTENER.get():
            say(f"{self.what}: {text}")


def duration(seconds: float) -> str:
    """ "1 h 05 min", "2 min 10 s" or "40 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min"
        if hours
        else f"{minutes} min {seconds:02} s"
        if minutes
        else f"{seconds} s"
    )


def size_text(count: float) -> str:
    """ "8.0 GB" or "4.2 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
