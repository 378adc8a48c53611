"""The process in which a student's cells run. It answers the marker until it is ended from outside.

    request                                       reply
    {"do": "run", "source": ...}                  {"outputs": [...], "raised": null or {...}}
    {"do": "fetch", "names": [...]}               {"values": {name: value}, "refused": {name: why}}
    {"do": "call", "function": ..., "arguments"}  {"value"} or {"raised"}, with "changed" and
                                                  "generators"

Nothing here is trusted by the marker: the student's code lives in this very process.
"""

import base64
import io
import os
import re
import resource
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any

from dpkit.classroom import wire

PICTURES = ("image/png", "image/jpeg")
LARGEST_OUTPUT = 200_000  # characters of text of one cell
LARGEST_PICTURE = 2_000_000  # characters of base64; all pictures of one cell together
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def main(memory: int, seconds: int) -> None:
    """Take the protocol's two pipes away from stdin and stdout, set the limits, and serve."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    _limit(memory, seconds)
    shell = _shell()
    functions: list = []
    mine = os.getpid()
    wire.send(replies, {"ready": True})
    os.dup2(null, 2)
    while True:
        try:
            request, blobs = wire.receive(requests)
        except EOFError:
            return
        out: list = []
        try:
            reply = DO[request["do"]](shell, functions, request, blobs, out)
        except wire.Unsendable as error:
            reply, out = _unsendable(error), []
        if os.getpid() != mine:  # a child that the student's code forked and did not end
            os._exit(0)
        try:
            wire.send(replies, {**reply, "id": request["id"]}, out)
        except wire.Unsendable as error:
            wire.send(replies, {**_unsendable(error), "id": request["id"]})


def _unsendable(error):
    return {"raised": {"kind": "TypeError", "text": str(error), "where": "", "unsendable": True}}


def _limit(memory, seconds):
    for kind, value in [
        ("DATA", memory),
        ("CORE", 0),
        ("FSIZE", 64 * 2**20),
        ("NOFILE", 256),
        ("CPU", seconds),
    ]:
        number = getattr(resource, f"RLIMIT_{kind}")
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
    os.nice(5)  # whoever watches comes first
    if sys.platform.startswith("linux"):
        import ctypes

        # PR_SET_PDEATHSIG, SIGKILL: not to outlive the marker, without a sandbox too
        ctypes.CDLL(None).prctl(1, 9)


# ---- running a cell ------------------------------------------------------------------------------


def _shell():
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, **more):
            self.shell.taken.show("display_data", data)

        def clear_output(self, wait=False):
            self.shell.taken.outputs.clear()

    class Hook(DisplayHook):
        def write_output_prompt(self):
            pass

        def write_format_data(self, format_dict, md_dict=None):
            self.shell.taken.show("execute_result", format_dict)

        def finish_displayhook(self):
            pass

    class Shell(InteractiveShell):
        displayhook_class, display_pub_class = Hook, Publisher

        def _showtraceback(self, etype, evalue, stb):
            self.taken.fail(etype, evalue, stb)

        def enable_gui(self, gui=None):  # %matplotlib inline ends with it, and IPython's own raises
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    shell = Shell.instance(config=config)
    shell.taken = Outputs()
    return shell


class Outputs:
    """What one cell showed, in order, cut where it is too much."""

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self._text, self._pictures = LARGEST_OUTPUT, LARGEST_PICTURE

    def write(self, name: str, text: str) -> None:
        if self._text <= 0 or not text:
            return
        piece, self._text = text[: self._text], self._text - len(text)
        if self._text <= 0:
            piece += f"\n... cut after {LARGEST_OUTPUT:,} characters\n"
        if self.outputs and self.outputs[-1].get("name") == name:
            self.outputs[-1]["text"].append(piece)
        else:
            self.outputs.append({"output_type": "stream", "name": name, "text": [piece]})

    def show(self, kind: str, data: dict) -> None:
        kept = {}
        for name in PICTURES:
            picture = data.get(name)
            picture = base64.b64encode(picture).decode() if isinstance(picture, bytes) else picture
            if isinstance(picture, str) and len(picture) <= self._pictures:
                kept[name] = picture
                self._pictures -= len(picture)
        text = str(data.get("text/plain", ""))
        if self._text > 0 and (text or kept):
            kept["text/plain"] = text[: self._text]
            self._text -= len(text)
            self.outputs.append({"output_type": kind, "data": kept})

    def fail(self, kind: type, value: BaseException, lines: Sequence[str]) -> None:
        text = ANSI.sub("", "\n".join(lines))[-10_000:]
        self.outputs.append(
            {
                "output_type": "error",
                "ename": kind.__name__,
                "evalue": _told(value),
                "traceback": [text],
            }
        )

    def finished(self) -> list[dict]:
        return [
            {**output, "text": "".join(output["text"])}
            if output["output_type"] == "stream"
            else output
            for output in self.outputs
        ]


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr of the cells."""

    def __init__(self, shell: Any, name: str) -> None:
        self.shell, self._name = shell, name

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.shell.taken.write(self._name, str(text))
        return len(text)


def _captured(shell, work):
    """Run `work()` while what is shown goes to a fresh shell.taken. Returns (result, outputs)."""
    shell.taken = taken = Outputs()
    before, sys.stdout, sys.stderr = (
        (sys.stdout, sys.stderr),
        Stream(shell, "stdout"),
        Stream(shell, "stderr"),
    )
    try:
        return work(), taken
    finally:
        sys.stdout, sys.stderr = before


def run(shell: Any, functions: list, request: dict, blobs: list, out: list) -> dict:
    result, taken = _captured(shell, lambda: shell.run_cell(request["source"], store_history=True))
    error = result.error_before_exec or result.error_in_exec
    return {"outputs": taken.finished(), "raised": _raised(error) if error else None}


# ---- answering -----------------------------------------------------------------------------------


def fetch(shell: Any, functions: list, request: dict, blobs: list, out: list) -> dict:
    values, refused = {}, {}
    for name in request["names"]:
        if name in shell.user_ns:
            mark = len(out)
            try:
                handle = partial(_handle, functions=functions, name=name)
                values[name] = wire.encode(shell.user_ns[name], out, handle=handle)
            except wire.Unsendable as error:
                del out[mark:]
                refused[name] = str(error)
    return {"values": values, "refused": refused}


def _handle(function, functions, name=None):
    functions.append(function)
    return {
        "callable": len(functions) - 1,
        "name": name or getattr(function, "__name__", type(function).__name__),
    }


def call(shell: Any, functions: list, request: dict, blobs: list, out: list) -> dict:
    """Call a function with copies of the marker's arguments; say which of them it changed."""
    args, kwargs = wire.decode(request["arguments"], blobs)
    function = functions[request["function"]]
    places = {
        **{f"argument {i + 1}": value for i, value in enumerate(args)},
        **{f"`{k}`": v for k, v in kwargs.items()},
    }
    before = {place: _bytes(value) for place, value in places.items()}
    random = [value for value in places.values() if _is_generator(value)]

    def work():
        try:
            return {
                "value": wire.encode(
                    function(*args, **kwargs), out, handle=lambda f: _handle(f, functions)
                )
            }
        except wire.Unsendable:
            raise
        except BaseException as error:
            return {"raised": _raised(error)}

    reply, _ = _captured(shell, work)
    if "raised" in reply:
        out.clear()
    changed = [
        place
        for place, value in places.items()
        if not _is_generator(value) and _bytes(value) != before[place]
    ]
    return {**reply, "changed": changed, "generators": [wire.encode(one, out) for one in random]}


def _is_generator(value):
    return type(value).__name__ == "Generator" and hasattr(value, "bit_generator")


def _bytes(value):
    blobs = []
    try:
        return repr(wire.encode(value, blobs)), blobs
    except wire.Unsendable as error:  # the student's function put something strange into a list
        return str(error), []


def _raised(error) -> dict:
    """The kind and text of an exception, and the line of the student's code where it came up."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if "ipython-input" in frame.filename or "/ipykernel_" in frame.filename:
            where = f"line {frame.lineno}: {frame.line}" if frame.line else f"line {frame.lineno}"
    return {
        "kind": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "text": _told(error),
        "where": where[:160],
    }


def _told(error) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # an exception whose own text fails
        return ""


DO = {"run": run, "fetch": fetch, "call": call}

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
