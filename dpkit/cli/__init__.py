"""The command line.

dpkit lessons [--to DIR]
dpkit prune DATA --ratio 0.9 --out DIR
dpkit sweep GRID.yaml [--scheduler ADDRESS] [--out DIR]
dpkit report NOTEBOOK [--preset NAME] [-p NAME VALUE] ...
dpkit assignments [--out DIR]
dpkit grade SUBMISSIONS [--out DIR] [--student NAME] [--trust]
"""

import argparse
from collections.abc import Sequence

import dpkit
from dpkit.cli import assignments, grade, lessons, prune, report, sweep


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dpkit", description="Teaching and doing dataset pruning."
    )
    parser.add_argument("--version", action="version", version=f"dpkit {dpkit.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (lessons, prune, sweep, report, assignments, grade):
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)
