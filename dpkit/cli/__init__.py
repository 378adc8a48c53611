"""The command line.

dpkit lessons [--to DIR]
dpkit prune DATA --ratio 0.9 --out DIR
dpkit sweep GRID.yaml [--scheduler ADDRESS] [--out DIR]
dpkit report NOTEBOOK [--preset NAME] [-p NAME VALUE] ...
dpkit assignments [--out DIR]
dpkit grade SUBMISSIONS [--out DIR] [--student NAME] [--trust]
"""

from collections.abc import Sequence

from dpkit.cli._stop import Stop


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, 128 + the signal's number if it was stopped."""
    stop = Stop()
    try:
        stop.listen()
        code = _run(argv, stop)
    except BaseException as error:
        stop.signum = stop.signum or getattr(error, "signum", None)
        # in a library's import an interrupt may become another error
        if stop.signum is None and not isinstance(error, KeyboardInterrupt):
            stop.end_or_let_go(at_end=argv is None)
            raise
        code = None
    stop.end_or_let_go(at_end=argv is None)
    return stop.code() if code is None else code


def _run(argv, stop) -> int:
    import argparse

    import dpkit
    from dpkit.cli import assignments, grade, lessons, prune, report, sweep

    parser = argparse.ArgumentParser(
        prog="dpkit", description="Teaching and doing dataset pruning."
    )
    parser.add_argument("--version", action="version", version=f"dpkit {dpkit.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (lessons, prune, sweep, report, assignments, grade):
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    stop.rest = arguments.if_stopped
    stop.seconds = getattr(arguments, "seconds_to_stop", stop.seconds)
    return arguments.run(arguments)
