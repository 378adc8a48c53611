"""dpkit assignments: make the students' copies."""

from argparse import Namespace
from typing import Any

from dpkit.cli._exit import PASSED, REFUSED, add_source, missing, tell, unwritten
from dpkit.cli._stop import NOTHING_WRITTEN


def add_to(commands: Any) -> None:
    assignments = commands.add_parser(
        "assignments",
        help="make the students' copies of the assignments",
        description="From every source notebook write DIR/handout/<name>/<name>.ipynb, for the "
        "students, and "
        "DIR/tutorials/<name>.ipynb, with solutions, for after the deadline. Exit code 0 if it "
        "was done, 2 if it was refused.",
    )
    assignments.add_argument(
        "--out", default="classroom", metavar="DIR", help="folder to write (default: classroom)"
    )
    add_source(assignments)
    assignments.set_defaults(run=run, if_stopped=NOTHING_WRITTEN)


def run(arguments: Namespace) -> int:
    from dpkit.reports.parameters import Refused

    lacking = missing("nbgrader")
    if lacking:
        return tell(REFUSED, lacking)
    try:
        from dpkit.classroom import handouts
        from dpkit.classroom.source import own_folder, source_folder

        stems = handouts.make_assignments(arguments.source, arguments.out)
    except Refused as refused:
        return tell(REFUSED, *refused.mistakes)
    except OSError as error:
        return unwritten(error, arguments.out)
    for stem in stems:
        print(f"{arguments.out}/handout/{stem}/{stem}.ipynb")
    print(f"solutions, for after the deadline: {arguments.out}/tutorials")
    if arguments.source is None and source_folder() == own_folder():
        print("made from the assignments that come with dpkit")
    return PASSED
