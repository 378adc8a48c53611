"""dpkit assignments: make the students' copies."""

import signal
from argparse import Namespace
from typing import Any

from dpkit.cli._exit import FAILED, PASSED, REFUSED, missing, tell


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
    assignments.add_argument(
        "--source",
        metavar="DIR",
        help="folder of the source notebooks (default: notebooks/assignments, or, where there is "
        "no such folder, those that come with dpkit)",
    )
    assignments.set_defaults(run=run)


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
    except FileExistsError as error:
        return tell(REFUSED, str(error))
    except KeyboardInterrupt:
        return tell(128 + signal.SIGINT, "interrupted; nothing was written")
    except OSError as error:
        return tell(
            FAILED, f"could not write {error.filename or arguments.out}: {error.strerror or error}"
        )
    for stem in stems:
        print(f"{arguments.out}/handout/{stem}/{stem}.ipynb")
    print(f"solutions, for after the deadline: {arguments.out}/tutorials")
    if arguments.source is None and source_folder() == own_folder():
        print("made from the assignments that come with dpkit")
    return PASSED
