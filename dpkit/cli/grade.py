"""dpkit grade SUBMISSIONS: grade what students handed in."""

from argparse import Namespace
from typing import Any

from dpkit.cli._exit import FAILED, PASSED, REFUSED, add_source, missing, say, tell, unwritten
from dpkit.cli._stop import GOES_ON


def add_to(commands: Any) -> None:
    grade = commands.add_parser(
        "grade",
        help="grade what students handed in",
        description="Grade SUBMISSIONS/<student>/<assignment>.ipynb and write grades.csv, a "
        "feedback page for each, and "
        "summary.html. Student code runs in a sandbox; the marks come from tests outside of it. "
        "What was graded before and has not changed is not graded again. Points on written "
        "answers are read from DIR/written.csv, with the columns of DIR/to_read.csv. Exit code 0 "
        "if it was done, 1 if some could not be graded through a fault of the assignment or of "
        "this machine, 2 if it was refused.",
    )
    grade.add_argument(
        "submissions", metavar="SUBMISSIONS", help="folder with a folder for each student"
    )
    grade.add_argument(
        "--out", default="grades", metavar="DIR", help="folder to write (default: grades)"
    )
    add_source(grade)
    grade.add_argument(
        "--student", metavar="NAME", help="grade this student again, and nobody else"
    )
    grade.add_argument("--assignment", metavar="NAME", help="grade only this assignment")
    grade.add_argument(
        "--workers", type=int, default=1, metavar="N", help="submissions at a time (default: 1)"
    )
    grade.add_argument(
        "--seconds",
        type=float,
        default=20,
        metavar="S",
        help="one cell or one call of a function may take so long (default: 20)",
    )
    grade.add_argument(
        "--total",
        type=float,
        default=600,
        metavar="S",
        help="one submission, with its tests (default: 600)",
    )
    grade.add_argument(
        "--memory",
        type=float,
        default=2,
        metavar="GB",
        help="of all a submission's processes (default: 2)",
    )
    grade.add_argument(
        "--trust",
        action="store_true",
        help="run the students' code without a sandbox, as yourself: it can "
        "then read and write whatever you can",
    )
    grade.set_defaults(run=run, if_stopped=GOES_ON)


def run(arguments: Namespace) -> int:
    from dpkit.reports.parameters import Refused

    lacking = missing("nbgrader", "nbconvert", "latex2mathml", "nh3", "IPython")
    if lacking:
        return tell(REFUSED, lacking)
    for name in ("seconds", "total", "memory", "workers"):
        if not 0 < getattr(arguments, name) < 10**6:
            return tell(
                REFUSED, f"--{name} must be a number above 0; got {getattr(arguments, name):g}"
            )
    try:
        from dpkit.classroom import grading, sandbox
        from dpkit.classroom.source import own_folder, source_folder

        if arguments.source is None and source_folder() == own_folder():
            say("graded by the assignments that come with dpkit")
        limits = sandbox.Limits(arguments.seconds, arguments.total, int(arguments.memory * 2**30))
        rows = grading.grade(
            arguments.submissions,
            out=arguments.out,
            source=arguments.source,
            student=arguments.student,
            assignment=arguments.assignment,
            workers=arguments.workers,
            trust=arguments.trust,
            limits=limits,
            say=say,
        )
    except Refused as refused:
        return tell(REFUSED, *refused.mistakes)
    except OSError as error:
        return unwritten(error, arguments.out)
    print(
        f"{len(rows)} rows in {arguments.out}/grades.csv, pages in {arguments.out}/feedback, "
        f"{arguments.out}/summary.html"
    )
    return FAILED if any(row["unfinished"] for row in rows) else PASSED
