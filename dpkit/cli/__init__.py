"""The command line.

dpkit lessons [--to DIR]
dpkit prune DATA --ratio 0.9 --out DIR
dpkit export PRUNED FORMAT [--to PLACE]
dpkit study DATA [--minutes M] [--out DIR]
dpkit sweep GRID.yaml [--scheduler ADDRESS] [--out DIR]
dpkit fetch [NAME] [--from PLACE] [--to DIR]
dpkit report NOTEBOOK [--preset NAME] [-p NAME VALUE] ...
dpkit assignments [--out DIR]
dpkit grade SUBMISSIONS [--out DIR] [--student NAME] [--trust]
"""

from collections.abc import Sequence

from dpkit.cli._stop import Stop, leave_quietly


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, 128 + the signal's number if it was stopped.

    argv: its words, for a caller whose process goes on; None: those of this process, which then is
          the command's own, and ends at a signal.
    """
    stop = Stop()
    try:
        if argv is None:
            stop.listen()
        code = _run(argv, stop)
    except BaseException as error:
        stop.signum = stop.signum or getattr(error, "signum", None)
        if argv is None and isinstance(error, BrokenPipeError) and stop.signum is None:
            leave_quietly()
        # in a library's import an interrupt may become another error
        if stop.signum is None and not isinstance(error, KeyboardInterrupt):
            stop.end_or_let_go(_code_of(error))
            raise
        code = None
    if argv is None:
        stop.end_or_let_go(code or 0)
    return stop.code() if code is None else code


def _code_of(error) -> int:
    """The exit code with which Python ends for an error that nobody takes."""
    told = error.code if isinstance(error, SystemExit) else 1
    return told if isinstance(told, int) else int(told is not None)


def _run(argv, stop) -> int:
    import argparse

    import dpkit
    from dpkit.cli import assignments, export, fetch, grade, lessons, prune, report, study, sweep

    parser = argparse.ArgumentParser(
        prog="dpkit", description="Teaching and doing dataset pruning."
    )
    parser.add_argument("--version", action="version", version=f"dpkit {dpkit.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (lessons, prune, study, export, sweep, fetch, report, assignments, grade):
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    stop.rest = arguments.if_stopped
    stop.seconds = getattr(arguments, "seconds_to_stop", stop.seconds)
    return arguments.run(arguments)
