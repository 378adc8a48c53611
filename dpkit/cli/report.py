"""dpkit report NOTEBOOK: run a notebook as a report and judge it."""

from argparse import Namespace
from typing import Any

from dpkit.cli._exit import FAILED, PASSED, REFUSED, tell, unwritten
from dpkit.cli._stop import NOTHING_WRITTEN


def add_to(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="run a notebook as a report and judge it",
        description="Run a notebook in a fresh kernel and write notebook.ipynb, report.html "
        "(readable offline), "
        "result.json and figures/. Exit code 0 if it passed, 1 if it failed, 2 if it was refused.",
    )
    report.add_argument(
        "notebook",
        metavar="NOTEBOOK",
        help="path of a notebook, or the name of one that comes with dpkit, such as 00_start_here "
        "(dpkit lessons lists them)",
    )
    report.add_argument(
        "--preset", metavar="NAME", help="parameters from presets/NAME.yaml beside the notebook"
    )
    report.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="one parameter, over the preset; a list is written as [0.3, 0.5]; may be repeated",
    )
    report.add_argument(
        "--out", metavar="FOLDER", help="folder to write (default: reports/<notebook>-<preset>)"
    )
    report.add_argument(
        "--timeout",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="wall-clock limit after which the kernel is killed (default: 3600)",
    )
    report.set_defaults(run=run, if_stopped=NOTHING_WRITTEN)


def run(arguments: Namespace) -> int:
    from dpkit import reports

    given = {name: reports.Text(value) for name, value in arguments.parameters}
    try:
        verdict = reports.run_report(
            arguments.notebook,
            preset=arguments.preset,
            parameters=given,
            out=arguments.out,
            timeout=arguments.timeout,
        )
    except reports.Refused as refused:
        return tell(REFUSED, *refused.mistakes)
    except OSError as error:
        return unwritten(error, arguments.out or "the report")
    if not verdict.passed or verdict.result is None:
        print(
            verdict.headline(),
            *(f"  - {reason}" for reason in verdict.reasons),
            f"see {verdict.folder / 'report.html'}",
            sep="\n",
        )
        return FAILED
    print(verdict.headline())
    tables = verdict.result["tables"]
    # the result; the page has them all
    for name in ["accuracy"] if "accuracy" in tables else list(tables)[:1]:
        print(f"\n{name}", reports.text_table(tables[name]), sep="\n")
    print(f"\n{verdict.folder / 'report.html'}")
    return PASSED
