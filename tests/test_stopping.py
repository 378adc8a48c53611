"""Ctrl-C, SIGTERM and SIGHUP at any moment: one sentence, the exit code, nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dpkit import cli

ROOT = Path(__file__).parents[1]
PRUNE = ["prune", "digits", "--ratio", "0.5", "--out", "out", "--epochs", "10000"]
SWALLOWED = """
import sys, time
from dpkit.cli import main, prune
def run(arguments):  # as a library's import that loses the interrupt
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("careful: ignored", file=sys.stderr, flush=True)
    return 0
prune.run = run
sys.exit(main())
"""
TURNED = """
import os, signal, sys
from dpkit.cli import main, prune
def run(arguments):
    try:
        print("ready", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        raise ImportError("half loaded")
prune.run = run
sys.exit(main())
"""


ABORTED = """
import pathlib, sys
from dpkit.cli import main, prune
pathlib.Path("library.py").write_text('''
import os, signal
print("ready", flush=True)
try:
    signal.pause()
except BaseException:
    os.abort()  # as C++ does when it cannot hand an exception on
''')
def run(arguments):
    sys.path.insert(0, "")
    import library
prune.run = run
sys.exit(main())
"""


@pytest.fixture
def start(tmp_path):
    """start(*words): the process, in a session of its own, its signals as a terminal has them."""
    started = []

    def begin(*words, ignored=()):
        def as_in_a_terminal():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                handler = signal.SIG_IGN if number in ignored else signal.SIG_DFL
                signal.signal(number, handler)

        (tmp_path / "tmp").mkdir()
        process = subprocess.Popen(
            [sys.executable, *words],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "TMPDIR": str(tmp_path / "tmp"),
            },
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=as_in_a_terminal,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


# before that Python itself is still starting, and would say where it was
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8])
def test_during_the_imports_a_command_ends_with_one_sentence(start, seconds, tmp_path):
    code = "import sys; import dpkit.cli; print('ready', flush=True); sys.exit(dpkit.cli.main())"
    process = start("-c", code, *PRUNE)
    process.stdout.readline()
    time.sleep(0.05 + seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.count("\n") == 1 and told.startswith("dpkit: interrupted; "), told
    assert not list((tmp_path / "tmp").glob("dpkit-*"))


@pytest.mark.parametrize(
    "signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize(
    "way", [SWALLOWED, TURNED, ABORTED], ids=["swallowed", "turned into an error", "aborted"]
)
def test_an_interrupt_that_a_library_loses_ends_the_command_all_the_same(start, way, signum, code):
    process = start("-c", way, *PRUNE)
    process.stdout.readline()
    process.send_signal(signum)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told == "dpkit: interrupted; the same command goes on from here\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_all_is_done_changes_nothing(start, signum):
    end = f"code = main(); os.kill(os.getpid(), {int(signum)}); sys.exit(code)"
    process = start("-c", f"import os, sys; from dpkit.cli import main; {end}", "lessons")
    shown, told = process.communicate(timeout=30)
    assert process.returncode == 0 and "00_start_here" in shown and not told


@pytest.mark.parametrize("words", [["lessons"], ["--version"], ["prune"]])
def test_a_caller_in_this_process_keeps_its_handlers(words, capsys):
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    listening = threading.active_count()
    with suppress(SystemExit):  # argparse's
        cli.main(words)
    assert before == [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    end = time.monotonic() + 5
    while threading.active_count() > listening:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_interrupt_ends_it_at_once(start):
    # without the second it would end after an hour
    slow = SWALLOWED.replace(
        "prune.run = run",
        "add = prune.add_to\n"
        "def add_to(commands):\n"
        "    add(commands)\n"
        "    commands.choices['prune'].set_defaults(seconds_to_stop=3600, run=run)\n"
        "prune.add_to = add_to",
    )
    process = start("-c", slow, *PRUNE)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == "dpkit: interrupted; the same command goes on from here\n"


def test_what_nohup_ignores_stays_ignored(start):
    process = start("-c", SWALLOWED, *PRUNE, ignored=[signal.SIGHUP])
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_who_reads_the_lines_may_leave(start, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # so that each line meets the closed pipe
    process = start("-m", "dpkit", "lessons")
    process.stdout.close()
    process.stdout = None
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGPIPE and not told
