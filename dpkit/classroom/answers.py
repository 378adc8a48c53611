"""The student's answers, as the test cells see them: values fetched from the worker, and functions
that call it.

A worker that hangs, dies or takes too much is ended and started anew, and the student's cells up to
there are run again without the one that did it, so that other answers keep their points.
"""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from dpkit.classroom import sandbox, wire
from dpkit.classroom.sandbox import Limits

SENDABLE = "plain number, a list, a numpy array or one of dpkit's records"
RESTARTS = 20  # of one submission; its time in all ends it sooner as a rule
SETUP = 60  # seconds that a setup cell may take at least
HANGS = 2  # calls of one function that may cost a worker, before it is not called any more
# a test may expect these; any other arrives as AnswerError
PASSED_ON = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    FloatingPointError,
    IndexError,
    KeyError,
    LookupError,
    MemoryError,
    NameError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
    ZeroDivisionError,
)


class AnswerError(Exception):
    """What the student's code did instead of answering, as a sentence to the student."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class NoWorker(Exception):
    """The process for student code does not start: a fault of this machine, and nobody's answer."""


class Lost(AnswerError):
    """The worker is gone; the sentence says what the student's code did."""


KINDS = {
    kind.__name__: type(kind.__name__, (AnswerError, kind), {"__str__": AnswerError.__str__})
    for kind in PASSED_ON
}


class Answers:
    """One student's worker and what was run in it.

    limits: sandbox.Limits.   trust: without a sandbox.   hidden: folders to keep out of sight.
    alone:  this process has no other children, and those whose parents are gone come to it
            (marker.adopt).
    """

    def __init__(
        self,
        limits: Limits,
        *,
        trust: bool = False,
        hidden: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self.limits, self.trust, self.hidden, self.alone = limits, trust, hidden, alone
        self.end = time.monotonic() + limits.total
        self._starts, self._number = 0, 0
        self._cells: list = []
        self._hangs: dict = {}
        self._process = self._watch = None

    def worker_pid(self) -> int | None:
        """The process in which the student's code runs; None if there is none now."""
        return None if self._process is None else self._process.pid

    def hung(self) -> bool:
        """Whether a function of the student's had to be ended."""
        return bool(self._hangs)

    # ---- cells and values

    def run(self, source: str, *, given: bool = False) -> tuple[list, dict | None]:
        """Run a cell. Returns (its outputs, what it raised or None). Raises Lost; the cell is then
        never run again.

        given: it is the assignment's own, with libraries to import, so it may take a minute.
        """
        reply, _ = self._ask(
            {"do": "run", "source": source}, "this cell", least=SETUP if given else 0
        )
        self._cells.append((source, given))
        return _plain_outputs(reply.get("outputs")), _plain_raised(reply.get("raised"))

    def fetch(self, names: Iterable[str]) -> dict:
        """name -> value or proxy, of those names that the student's code has set. Raises
        AnswerError if one cannot be sent.
        """
        reply, blobs = self._ask({"do": "fetch", "names": sorted(names)}, "reading your answers")
        values, trees, raised = {}, _mapping(reply, "values"), _plain_raised(reply.get("raised"))
        if raised:
            raise AnswerError(
                f"one of {', '.join(sorted(names))} is {raised['text']}; make it a {SENDABLE}"
            )
        for name in names:
            what = _mapping(reply, "refused").get(name)
            try:
                if name in trees:
                    values[name] = wire.decode(
                        trees[name], blobs, proxy=lambda tree, n=name: self._proxy(tree, n)
                    )
            except wire.Garbled:
                what = "something that is not what it says it is"
            if what is not None:
                raise AnswerError(f"your `{name}` is {str(what)[:200]}; make it a {SENDABLE}")
        return values

    def _proxy(self, tree, top=None):
        """A function that calls the student's. top: the name it is fetched by again after a
        restart; None for an inner one.
        """
        number, name, start = int(tree["callable"]), str(tree["name"])[:80], self._starts
        where = [number, start]

        def answer(*args, **kwargs):
            if self._hangs.get(name, 0) >= HANGS:
                raise Lost(
                    f"your {name} was not called any more, after it had to be ended {HANGS} times"
                )
            if where[1] != self._starts or self._process is None:
                self._refresh(where, top, name)
            return self._call(name, where[0], args, kwargs)

        answer.__name__ = answer.__qualname__ = name
        return answer

    def _refresh(self, where, top, name):
        self._ready()
        reply, _ = self._ask({"do": "fetch", "names": [top] if top else []}, "reading your answers")
        tree = _mapping(reply, "values").get(top)
        if not isinstance(tree, dict) or "callable" not in tree:
            raise Lost(f"your {name} was lost when your code had to be ended")
        where[:] = int(tree["callable"]), self._starts

    def _call(self, name, number, args, kwargs):
        sent = []
        try:
            tree = wire.encode((list(args), kwargs), sent)
        except wire.Unsendable as error:
            raise TypeError(
                f"{name} was called by the test with {error}, which cannot be sent to the "
                "student's process; pass plain values, arrays or dpkit's records"
            ) from None
        try:
            reply, blobs = self._ask(
                {"do": "call", "function": number, "arguments": tree}, f"your {name}", sent
            )
        except Lost:
            self._hangs[name] = self._hangs.get(name, 0) + 1
            raise
        raised = _plain_raised(reply.get("raised"))
        if raised and raised["unsendable"]:
            raise AnswerError(f"your {name} returned {raised['text']}; return a {SENDABLE}")
        if raised:
            told = f"your {name} raised {raised['kind']}" + (
                f": {raised['text']}" if raised["text"] else ""
            )
            kind = next((KINDS[base] for base in raised["bases"] if base in KINDS), AnswerError)
            error = kind(f"{told} ({raised['where']})" if raised["where"] else told)
            raise error from None
        if reply.get("changed"):
            raise AnswerError(
                f"your {name} changed its {str(reply['changed'][0])[:40]} in place; work on a "
                "copy, e.g. np.array(x) or list(x)"
            )
        try:
            value = wire.decode(reply["value"], blobs, proxy=self._proxy)
            random = [
                value for value in (*args, *kwargs.values()) if type(value).__name__ == "Generator"
            ]
            for ours, tree in zip(random, reply["generators"], strict=True):
                ours.bit_generator.state = wire.decode(tree, blobs).bit_generator.state
        except (wire.Garbled, LookupError, TypeError, ValueError):
            raise AnswerError(
                f"your {name} returned something that is not what it says it is"
            ) from None
        return value

    # ---- the process

    def _ask(self, request, who, blobs=(), *, least=0):
        """Send a request and wait for its reply. Raises Lost, in words about `who`, after the
        worker was ended.
        """
        self._ready()
        self._number += 1
        limit = max(0.0, min(max(self.limits.seconds, least), self.end - time.monotonic()))
        deadline = time.monotonic() + limit
        try:
            wire.send(
                self._process.stdin.fileno(),
                {**request, "id": self._number},
                blobs,
                deadline=deadline,
            )
            reply, blobs = wire.receive(self._process.stdout.fileno(), deadline=deadline)
            if reply.get("id") != self._number:
                raise wire.Garbled("a reply to no question")
            return reply, blobs
        except wire.Silence:
            self._lose(who, f"took longer than {limit:.0f} seconds and was ended")
        except wire.Unsendable as error:
            raise TypeError(f"the test passes {error}, more than can be sent") from None
        except (EOFError, OSError):
            self._lose(who, "ended the process that it runs in")
        except wire.Garbled:
            self._lose(who, "disturbed the process that it runs in, and was ended")

    def _lose(self, who, what):
        verdict = self._watch.verdict
        self.close()
        raise Lost(f"{who} {verdict} and was ended" if verdict else f"{who} {what}")

    def _ready(self):
        """A worker with the student's cells in it. One that ends it while they are run again is
        left out from now on.
        """
        while self._process is None:
            if time.monotonic() >= self.end:
                raise Lost("the time for the whole notebook was used up")
            if self._starts > RESTARTS:
                raise Lost(
                    f"your code had to be ended {RESTARTS + 1} times; it was not started again"
                )
            self._start()
            again, self._cells = self._cells, []
            for source, given in again:
                with suppress(Lost):
                    self.run(source, given=given)

    def _start(self):
        self._starts += 1
        seconds = int(self.limits.total) + 60
        words = ["-m", "dpkit.classroom.worker", str(self.limits.memory), str(seconds)]
        if self.trust:
            line, environment, folder = (
                [sys.executable, *words],
                _trusted_environment(),
                os.getcwd(),
            )
        else:
            line, environment, folder = (
                sandbox.command(words, self.hidden),
                sandbox.environment(),
                None,
            )
        self._process = subprocess.Popen(
            line,
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        os.set_blocking(self._process.stdin.fileno(), False)
        try:
            wire.receive(self._process.stdout.fileno(), deadline=time.monotonic() + 120)
        except (EOFError, OSError, wire.Silence, wire.Garbled):
            self._process.kill()
            said = self._process.stderr.read(10_000).decode(
                errors="replace"
            ).strip().splitlines() or ["nothing"]
            raise NoWorker(
                f"the process for student code did not start; it said: {said[-1]}"
            ) from None
        self._process.stderr.close()
        # in a sandbox nothing gets away from its first process; without one, what is left behind
        # comes to this one
        self._watch = sandbox.Watch(
            os.getpid() if self.trust and self.alone else self._process.pid, self.limits
        )

    def close(self) -> None:
        """End the worker and everything it started."""
        if self._process is not None:
            process, watch, self._process, self._watch = self._process, self._watch, None, None
            if watch is not None:
                watch.stop()
                sandbox.kill_below(watch.root)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):
                    pipe.close()


def _trusted_environment():
    ours = {
        name: value
        for name, value in sandbox.environment().items()
        if name.endswith("_THREADS") or name == "MPLBACKEND"
    }
    return {**os.environ, **ours}


# ---- what the worker says, taken with care -------------------------------------------------------


def _mapping(reply, name) -> dict:
    return reply[name] if isinstance(reply.get(name), dict) else {}


def _plain_raised(raised) -> dict | None:
    if not isinstance(raised, dict):
        return None
    kind, text, where = (
        str(raised.get(name, "")).encode(errors="replace").decode()
        for name in ("kind", "text", "where")
    )
    text, bases = " ".join(text.split()), raised.get("bases")
    bases = [base for base in bases if isinstance(base, str)] if isinstance(bases, list) else []
    return {
        "kind": kind[:60],
        "bases": bases,
        "text": text if len(text) <= 300 else text[:297] + "...",
        "where": where[:160],
        "unsendable": raised.get("unsendable") is True,
    }


def _plain_outputs(outputs) -> list:
    """Outputs as nbformat wants them, whatever came: text, errors and pictures, nothing else, and
    not too much.
    """
    kept: list[dict] = []
    room = 400_000
    for output in outputs if isinstance(outputs, list) else []:
        if not isinstance(output, dict) or room <= 0:
            continue
        kind, data = output.get("output_type"), output.get("data")
        if kind == "stream":
            text = _text(output.get("text"), room)
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            kept.append({"output_type": "stream", "name": name, "text": text})
            room -= len(text)
        elif kind == "error":
            trace = _text("".join(map(str, output.get("traceback") or [])), 10_000)
            kept.append(
                {
                    "output_type": "error",
                    "ename": _text(output.get("ename"), 60),
                    "evalue": _text(output.get("evalue"), 2000),
                    "traceback": [trace],
                }
            )
            room -= len(trace)
        elif kind in ("execute_result", "display_data") and isinstance(data, dict):
            shown = {"text/plain": _text(data.get("text/plain"), room)}
            room -= len(shown["text/plain"])
            for name in ("image/png", "image/jpeg"):
                # decoded and encoded again, it is base64 and nothing else
                with suppress(TypeError, ValueError):
                    if name in data and len(data[name]) <= 3_000_000 and len(kept) < 100:
                        shown[name] = base64.b64encode(base64.b64decode(data[name])).decode()
            more = {"execution_count": None} if kind == "execute_result" else {}
            kept.append({"output_type": kind, "data": shown, "metadata": {}, **more})
    return kept


def _text(text, length) -> str:
    return str(text if text is not None else "")[:length].encode(errors="replace").decode()
