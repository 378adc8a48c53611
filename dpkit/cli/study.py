"""dpkit study DATA: how many images of a set can go, which, and what that costs."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from dpkit.cli._exit import (
    FAILED,
    PASSED,
    REFUSED,
    add_loading,
    missing,
    out_of_memory,
    print_warnings,
    say,
    tell,
    unwritten,
)
from dpkit.cli._stop import GOES_ON

NOTEBOOK = "your_own_set"
UNLIMITED = 30 * 86400.0  # seconds


def add_to(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        help="find out how many images of a set can go, and what that costs",
        description="Hold a part of the set out, run a small sweep on the rest within the minutes "
        "given, say how much can go and with what certainty, look at the set itself (suspected "
        "labels, copies, classes that would be lost), and write it all as a report, with the "
        "pruning in its folder. Exit code 0 if it was done, 1 if it failed, 2 if it was refused. "
        "Stopped at any moment, the same command goes on.",
    )
    study.add_argument("data", metavar="DATA", help="as for dpkit prune")
    study.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="of the clock, for all of it (default: 20; 0: as many as it takes)",
    )
    study.add_argument(
        "--tolerance",
        type=float,
        metavar="POINTS",
        help="accuracy that may be lost, in points of a hundred (default: 1)",
    )
    study.add_argument(
        "--test",
        metavar="WHAT",
        help="folder or file of test images, or the name of a split (default: the test images of "
        "an .npz or a named set, else images are held out)",
    )
    study.add_argument(
        "--hold-out",
        type=float,
        dest="held_out",
        metavar="FRACTION",
        help="of each class that is held out (default: 0.2)",
    )
    add_loading(study)
    study.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="beside random, the most wanted first (default: dual+beta ccs dyn_unc)",
    )
    study.add_argument(
        "--ratios",
        nargs="+",
        type=float,
        metavar="R",
        help="fractions to REMOVE, the most wanted first (default: 0.3 0.5 0.1 0.7 0.2 0.9)",
    )
    study.add_argument("--model", metavar="NAME", help="as for dpkit prune (default: small_cnn)")
    study.add_argument("--batch-size", type=int, metavar="N", help="as for dpkit prune")
    study.add_argument("--seed", type=int, metavar="N", help="the first of the seeds (default: 0)")
    study.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one per GPU or core)"
    )
    study.add_argument("--device", metavar="NAME", help="auto, cpu or cuda (default: auto)")
    study.add_argument(
        "--out", metavar="FOLDER", help="folder to write (default: reports/study-<set>)"
    )
    study.set_defaults(run=run, if_stopped=GOES_ON)


def run(arguments: Namespace) -> int:
    lacking = missing("distributed", "yaml")
    if lacking:
        return tell(REFUSED, lacking)
    # threads that spin while they wait would make the measured step a slow one
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dpkit import reports, storage
    from dpkit.experiments import study
    from dpkit.reports import notebooks
    from dpkit.reports.parameters import parameters_for
    from dpkit.reports.run import check_out

    names = (
        "minutes tolerance test held_out size classes image_column label_column split_column "
        "skip_broken max_pixels mirror methods ratios model batch_size seed workers device"
    ).split()
    given = {name: getattr(arguments, name) for name in names} | {"image_folder": arguments.images}
    given = {name: value for name, value in given.items() if value not in (None, False)}
    given["data"] = study.from_anywhere(arguments.data)
    if "test" in given:
        given["test"] = study.from_anywhere(arguments.test, beside=arguments.data)
    if "image_folder" in given:
        given["image_folder"] = study.from_anywhere(arguments.images)
    out = Path(arguments.out or study.default_out(arguments.data))
    try:
        every, _ = parameters_for(notebooks.find(NOTEBOOK), parameters=given)
        check_out(out, NOTEBOOK)
        storage.check_apart(out, given["data"])
        with print_warnings():
            _plan(every)
        verdict = reports.run_report(
            NOTEBOOK,
            parameters=given,
            out=out,
            timeout=3600 + 180 * every["minutes"] if every["minutes"] else UNLIMITED,
        )
    except reports.Refused as refused:
        return tell(REFUSED, *refused.mistakes)
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        return tell(REFUSED, str(error))
    except OSError as error:
        return unwritten(error, out)
    except (RuntimeError, MemoryError) as error:
        return out_of_memory(error)
    if not verdict.passed or verdict.result is None:
        reasons = [f"  - {reason}" for reason in verdict.reasons]
        print(verdict.headline(), *reasons, f"see {verdict.folder / 'report.html'}", sep="\n")
        return FAILED
    tables = verdict.result["tables"]
    print(verdict.headline())
    for line in tables["answer"]:
        print(f"{line['question']}: {line['answer']}")
    print(f"\n{tables['command'][0]['command']}\n\n{verdict.folder / 'report.html'}")
    return PASSED


def _plan(every: dict) -> None:
    """Refuse here what the notebook would refuse after its start, and leave the plan for it."""
    from dpkit.experiments import study
    from dpkit.experiments.study_plan import Size

    minutes, methods, ratios = (every[name] for name in ("minutes", "methods", "ratios"))
    study.check_wishes(minutes, methods, ratios)
    parts = study.load_parts(
        every["data"],
        test=every["test"],
        fraction=every["held_out"],
        loading=study.loading_of(every),
        mirror=every["mirror"],
        seed=every["seed"],
        device=every["device"],
        on_progress=study.reading(say),
    )
    most = [every[name] for name in ("seeds", "passes", "record_epochs", "folds")]
    study.plan_of(
        parts,
        minutes=minutes,
        methods=methods,
        ratios=ratios,
        most=Size(most[0], len(ratios), len(methods), *most[1:]),
        model=every["model"],
        batch_size=every["batch_size"],
    )
