"""dpkit sweep GRID.yaml: run a grid of trials."""

import logging
from argparse import Namespace
from contextlib import suppress
from typing import Any

from dpkit.cli._exit import (
    FAILED,
    PARTIAL,
    PASSED,
    REFUSED,
    missing,
    print_warnings,
    tell,
    unwritten,
)
from dpkit.cli._stop import GOES_ON


def add_to(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="run a grid of trials: methods x ratios x seeds",
        description="Record, score, select and retrain for every trial of a grid, in parallel, "
        "and print the table. A stage "
        "that was finished once is never run again: stopped at any moment, the same command goes "
        "on. Exit code 0 if all trials are done, 1 if some failed, 2 if the grid was refused, 3 "
        "if some are still to come.",
    )
    sweep.add_argument(
        "grid",
        metavar="GRID.yaml",
        help="dataset, method, prune_ratio, seed, record, retrain; see docs/sweep.md",
    )
    sweep.add_argument(
        "--out", metavar="DIR", help="the sweep's folder (default: sweeps/<name of the grid>)"
    )
    sweep.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a running Dask cluster, tcp://... or tls://... "
        "(default: processes on this machine)",
    )
    sweep.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes on this machine (default: one per GPU or core)",
    )
    sweep.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of each of them (default: 1)"
    )
    sweep.add_argument(
        "--retry",
        action="store_true",
        help="also run those again that failed for a reason of their own, such "
        "as a loss that became NaN",
    )
    sweep.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="stop after so many; the same command goes on from there",
    )
    sweep.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    sweep.set_defaults(run=run, if_stopped=GOES_ON, seconds_to_stop=4)


def run(arguments: Namespace) -> int:
    import warnings
    from pathlib import Path

    lacking = missing("distributed", "yaml")
    if lacking:
        return tell(REFUSED, lacking)
    from dpkit.experiments import attendance, grids, results, sweeps, tables

    out = Path(arguments.out or Path("sweeps") / Path(arguments.grid).stem)
    client = None
    try:
        if arguments.scheduler:
            grids.trials_of(arguments.grid)  # its mistakes are told whoever answers
            client = _connect(arguments.scheduler)
        with print_warnings():
            warnings.simplefilter("ignore", sweeps.FailedTrials)  # said below
            rows = sweeps.sweep(
                arguments.grid,
                client,
                out=out,
                workers=arguments.workers,
                threads=arguments.threads,
                device=arguments.device,
                retry=arguments.retry,
                minutes=arguments.minutes,
            )
    except attendance.Unavailable as error:
        return tell(PARTIAL, str(error))
    except grids.InvalidGrid as refused:
        return tell(REFUSED, *refused.mistakes)
    except (ValueError, TimeoutError) as error:
        return tell(REFUSED, str(error))
    except OSError as error:
        return unwritten(error, out)
    finally:
        if client:
            with suppress(OSError):
                client.close(timeout=2)
    tell(FAILED, *tables.describe_failures(rows, "the same command", "--retry"))
    lost = rows[rows.failed != ""]
    if len(lost) < len(rows):
        print(results.overview(rows))
    asked = rows.attrs["asked"]
    if len(rows) < asked:
        print(f"\npartial: {len(rows)} of {asked} trials; the same command goes on from here")
    print(f"\n{len(rows)} rows in {out}: dpkit.results_table({str(out)!r}) reads them")
    return FAILED if len(lost) else PARTIAL if len(rows) < asked else PASSED


def _connect(address):
    """A client of the scheduler there; Unavailable if none answers."""
    import distributed

    from dpkit.experiments.attendance import Unavailable

    for name in ("distributed", "distributed.client"):  # we tell of a lost scheduler
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return distributed.Client(address, timeout=12)
    except OSError:
        raise Unavailable(
            f"no scheduler answers at {address}: start it, and the same command goes on"
        ) from None
