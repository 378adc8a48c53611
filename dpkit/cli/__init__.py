"""The command line.

dpkit prune DATA --ratio 0.9 --out DIR
dpkit sweep GRID.yaml [--scheduler ADDRESS] [--out DIR]
dpkit report NOTEBOOK [--preset NAME] [-p NAME VALUE] ...
dpkit assignments [--out DIR]
dpkit grade SUBMISSIONS [--out DIR] [--student NAME] [--trust]
"""

import argparse

from dpkit.cli import assignments, grade, prune, report, sweep


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="dpkit", description="Teaching and doing dataset pruning."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (prune, sweep, report, assignments, grade):
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)
