"""Ctrl-C, SIGTERM and SIGHUP end a command with one sentence, in time, whatever it is doing.

This loads next to nothing, as it stands before all other imports.
"""

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress

NOTHING_WRITTEN, GOES_ON = "nothing was written", "the same command goes on from here"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Listens for the signals. The first raises KeyboardInterrupt, so that the work ends in order;
    `seconds` later, or at the next signal, the process ends as it is, which loses nothing: all that
    dpkit writes is whole or absent. During an import the first ends it so: some libraries abort
    the process when they are interrupted there.

    A thread listens too, as Python itself hears of a signal only between two steps of the main
    thread, and as an interrupt may be lost in a library's import. From the first signal on nothing
    is printed but our sentence: what libraries say of an interrupt helps nobody.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.rest, self.seconds = NOTHING_WRITTEN, 1.2
        self._telling, self._told = threading.RLock(), False
        self._before: dict = {}

    def listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            self._stderr = os.dup(2)
        except OSError:  # closed
            self._stderr = os.open(os.devnull, os.O_WRONLY)
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()
        os.register_at_fork(after_in_child=self._leave_alone)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            # under nohup, or behind a shell's &, it shall be ignored
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)

    def end_or_let_go(self, code: int) -> None:
        """End the process if a signal came, so that no library tells of it; else listen no more.

        code: of the command, which is done: from now on a signal only hastens that end.
        """
        if self.signum is not None:
            self._end()
        for output in (sys.stdout, sys.stderr):  # what is done is shown, also if a signal comes now
            with suppress(OSError, ValueError, AttributeError):  # a closed one, or none
                output.flush()
        if self._before:
            for number in self._before:
                signal.signal(number, lambda *_: os._exit(code))
            signal.set_wakeup_fd(self._wakeup)
            self._before = {}
            os.close(self._writing)
            os.close(self._stderr)

    def code(self) -> int:
        """Tell the sentence; returns the exit code."""
        with self._telling:  # who comes second waits until it is told, and ends the process then
            told, self._told = self._told, True
            if not told:
                self._tell(f"dpkit: interrupted; {self.rest}\n")
        return 128 + (self.signum or signal.SIGINT)

    def _tell(self, sentence):
        if self.signum is None:
            sys.stderr.write(sentence)
            return
        try:
            os.write(self._stderr, sentence.encode())
        except OSError:  # the terminal is closed
            pass

    def _end(self):
        _end_children()
        if temporary := sys.modules.get("dpkit.storage.temporary"):
            temporary.remove_open()
            _end_children()  # a worker that was started in between, in the place of one just ended
        os._exit(self.code())

    def _interrupt(self, signum, frame):
        self.signum = self.signum or signum
        _silence()
        if _is_importing(frame):
            self._end()
        raise KeyboardInterrupt

    def _watch(self, reading):
        first = self._next(reading, None)
        if first is None:
            os.close(reading)
            return
        self.signum = first
        _silence()  # before the main thread does, if that is busy
        self._next(reading, self.seconds)
        self._end()

    def _next(self, reading, seconds):
        """The next signal; None if none came within the seconds, or we listen no longer."""
        until = None if seconds is None else time.monotonic() + seconds
        while select.select([reading], [], [], until and max(0, until - time.monotonic()))[0]:
            number = os.read(reading, 1)
            if not number or number[0] in SIGNALS:
                return number[0] if number else None
        return None

    def _leave_alone(self):
        """In a forked child: signals do what they do by default."""
        if self._before:
            signal.set_wakeup_fd(-1)
            for number in self._before:
                signal.signal(number, signal.SIG_DFL)


def _is_importing(frame):
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def leave_quietly() -> None:
    """End the process as a closed pipe ends others: who read our lines has left, as `head` does."""
    _silence()
    os._exit(128 + signal.SIGPIPE)


def _silence():
    null = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(null, output)
    os.close(null)


def _end_children():
    import psutil

    ended = []
    for child in psutil.Process().children(recursive=True):
        try:
            # Python's own helper removes what they leave in shared memory, and ends by itself
            if not any("resource_tracker" in word for word in child.cmdline()):
                child.kill()
                ended.append(child)
        except psutil.Error:
            pass
    psutil.wait_procs(ended, timeout=0.3)
