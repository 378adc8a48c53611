"""Marks one submission, in a process of its own: tests run here, the student's cells in a worker.

    python -m dpkit.classroom.marker < job.json        the job is written by dpkit.classroom.grading

Writes one line of JSON for each code cell as it is done: {"step", "outputs", "failed", "broken"}.
So what was marked stays marked, should this process have to be ended.
"""

import ast
import builtins
import io
import json
import numbers
import os
import re
import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from dpkit.classroom.answers import AnswerError, Answers, Lost, NoWorker
from dpkit.classroom.sandbox import Limits

LONGEST = 20_000  # characters of what a test cell prints
ROOM = 10_000_000  # characters of all outputs of a submission, pictures included
LONGEST_MESSAGE = 3_000  # characters
HEADLINE = 200  # characters


def main() -> None:
    job = json.load(sys.stdin)
    # half a surrogate pair, which an answer may hold, could not be written in any table
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    # nothing that a test prints, not even from C, comes between the lines
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    limits = Limits(**job["limits"])
    adopt()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    room = 4 * limits.memory  # an answer can make a test large
    resource.setrlimit(
        resource.RLIMIT_DATA, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard)
    )
    answers = Answers(limits, trust=job["trust"], hidden=job["hidden"], alone=True)
    try:
        for done in mark(job["steps"], answers):
            print(json.dumps(done, ensure_ascii=False), file=lines, flush=True)
    finally:
        answers.close()


def adopt() -> None:
    """Let processes whose parent is gone come to this one, so that none gets away."""
    import ctypes

    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        # PR_SET_PDEATHSIG, SIGKILL: nor does this one outlive the command
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)


def mark(steps: Sequence[dict], answers: Answers) -> Iterator[dict]:
    """Run the code cells in order. Yields {"step": number, "outputs": [...], "failed": why or None,
    "broken": why or None}.

    steps: [{"role": "setup" | "student" | "test", "name", "source", "own"}, ...], as merged; other
           roles are passed over.
    failed: why a test gives no points, or what a student's cell did.  broken: the assignment's own
            fault; nothing follows.
    """
    namespace, troubles, room = {"__name__": "__main__", "__builtins__": builtins}, [], ROOM
    for number, step in enumerate(steps):
        outputs: list = []
        failed, broken = None, None
        if step["role"] in ("setup", "student"):
            if step["role"] == "setup":
                broken = _set_up(step, namespace)
            try:
                # a cell of ours that shows what a function gives would hang as the function did
                patient = step["role"] == "setup" or not (step["own"] or answers.hung())
                outputs, raised = answers.run(step["source"], given=patient)
                if raised:
                    failed = raised["kind"] + (f": {raised['text']}" if raised["text"] else "")
            except Lost as lost:
                failed = str(lost)
                outputs = [_error("Ended", failed, [failed])]
            troubles += [failed] if failed else []
            room -= len(json.dumps(outputs))
            if room < 0:
                outputs = [
                    {
                        "output_type": "stream",
                        "name": "stderr",
                        "text": "the notebook showed more than fits a page\n",
                    }
                ]
        elif step["role"] == "test":
            outputs, failed = _test(step, namespace, answers, troubles)
        else:
            continue
        yield {"step": number, "outputs": outputs, "failed": failed, "broken": broken}
        if broken:
            return


def _set_up(step, namespace) -> str | None:
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            exec(compile(step["source"], f"<{step['name']}>", "exec"), namespace)
    except BaseException as error:
        return f"the setup cell {step['name']} raised {type(error).__name__}: {error}"
    return None


# ---- a test cell ---------------------------------------------------------------------------------


def _test(step, namespace, answers, troubles):
    """Run a test cell; it fails by raising. Returns (outputs, why it failed or None)."""
    printed, value, wanted, file = io.StringIO(), None, set(), f"<{step['name']}>"
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(step["source"], file)
            last = (
                ast.Expression(tree.body.pop().value)
                if tree.body and isinstance(tree.body[-1], ast.Expr)
                else None
            )
            wanted = names_needed(step["source"], namespace)
            namespace.update(answers.fetch(wanted) if wanted else {})
            exec(compile(tree, file, "exec"), namespace)
            value = eval(compile(last, file, "eval"), namespace) if last else None
        failed, lines, kind = _odd_points(value, step["points"]), [], "ValueError"
    except NoWorker:
        raise
    except BaseException as error:
        failed, lines = explain(error, step["source"], file, troubles)
        kind = type(error).__name__
    finally:
        for name in wanted:  # the next test reads them anew: they may have changed
            namespace.pop(name, None)
    outputs = (
        [{"output_type": "stream", "name": "stdout", "text": printed.getvalue()[:LONGEST]}]
        if printed.getvalue()
        else []
    )
    if failed:
        outputs.append(_error(kind, failed, lines))
    elif value is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": None,
                "metadata": {},
                "data": {"text/plain": _shown(value)},
            }
        )
    return outputs, failed


def _shown(value) -> str:
    """A number as nbgrader reads partial credit: np.float64(0.5) would be taken for full points."""
    return repr(float(value)) if _is_number(value) else repr(value)[:200]


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _odd_points(value, most) -> str | None:
    """What is wrong with a number in a test's last line, which is its partial credit."""
    if _is_number(value) and not 0 <= value <= most:
        return f"the test gave {value:g} points, which is not in 0..{most:g}"
    return None


def names_needed(source: str, namespace: dict) -> set:
    """The names that a test cell reads and that neither it, nor a setup cell, nor Python itself
    defines: the student's.
    """
    import symtable

    read, bound = set(), set()
    waiting = [symtable.symtable(source, "test", "exec")]
    while waiting:
        table = waiting.pop()
        for symbol in table.get_symbols():
            top = table.get_type() == "module"
            if symbol.is_referenced() and (top or symbol.is_global()):
                read.add(symbol.get_name())
            if top and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
        waiting += table.get_children()
    return {name for name in read - bound if name not in namespace and not hasattr(builtins, name)}


def explain(error: BaseException, source: str, file: str, troubles: Sequence) -> tuple[str, list]:
    """(why the test failed in one line or more, what the student is shown). No line of a hidden
    test is in either.
    """
    text = str(error).strip()
    line: int | None = None
    trace = error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == file else line
        trace = trace.tb_next
    text = text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."
    lines = source.splitlines()
    seen, code = False, "a hidden test of this cell"
    if line is not None and not hidden_lines(lines)[line - 1]:
        seen, code = True, lines[line - 1].strip()
    if line is not None and not seen and isinstance(error, AssertionError):
        text = headline(text)  # below it, numpy.testing lists the values that were expected
    if isinstance(error, NameError) and not isinstance(error, AnswerError):
        text += (
            f"; your cells had trouble before: {troubles[0]}"
            if troubles
            else "; is it defined in your answer?"
        )
    if isinstance(error, AssertionError) and text:
        told = text
    elif isinstance(error, AssertionError):
        told = f"`{code}` does not hold" if seen else "a hidden test does not hold"
    elif isinstance(error, AnswerError):
        told = text
    else:
        told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return told, [f"line {line}: {code}" if seen else f"{code}:" if line else "", told]


def hidden_lines(lines: Sequence[str]) -> list[bool]:
    """For each line of a test cell, whether it belongs to a hidden test."""
    hidden, inside = [], False
    for line in lines:
        inside = inside or "BEGIN HIDDEN TESTS" in line
        hidden.append(inside)
        inside = inside and "END HIDDEN TESTS" not in line
    return hidden


def headline(message: str) -> str:
    """The sentence in a message that says what is wrong; numpy.testing's is its second line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    numpy = len(lines) > 1 and re.match(
        r"(Not equal to tolerance|Arrays are not|Items are not)", lines[0]
    )
    told = (
        lines[1]
        if numpy and not re.match(r"(Mismatched|\(shapes|x and y|ACTUAL)", lines[1])
        else lines[0]
    )
    return told if len(told) <= HEADLINE else told[: HEADLINE - 3] + "..."


def _error(kind, text, lines) -> dict:
    return {
        "output_type": "error",
        "ename": kind,
        "evalue": text,
        "traceback": ["\n".join(line for line in lines if line)],
    }


if __name__ == "__main__":
    sys.path[:] = [folder for folder in sys.path if folder and Path(folder) != Path.cwd()]
    main()
