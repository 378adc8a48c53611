"""The command line.

    dpkit prune DATA --ratio 0.9 --out DIR
    dpkit sweep GRID.yaml [--scheduler ADDRESS] [--out DIR]
    dpkit report NOTEBOOK [--preset NAME] [-p NAME VALUE] ...
    dpkit assignments [--out DIR]
    dpkit grade SUBMISSIONS [--out DIR] [--student NAME] [--trust]
"""

import argparse
import signal
import sys

PASSED, FAILED, REFUSED, PARTIAL = 0, 1, 2, 3  # exit codes; 128 + the signal's number after Ctrl-C or SIGTERM


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="dpkit", description="Teaching and doing dataset pruning.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_prune(commands)
    _add_sweep(commands)
    _add_report(commands)
    _add_assignments(commands)
    _add_grade(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def _add_prune(commands) -> None:
    prune = commands.add_parser(
        "prune", help="choose which images of a set to keep",
        description="Watch a small network learn the set (once: the record is kept and used again), score every image, and "
                    "write kept.txt, scores, a picture and a manifest. Exit code 0 if it was done, 2 if it was refused. "
                    "Stopped at any moment, the same command goes on.")
    prune.add_argument("data", metavar="DATA", help="digits, fashion-mnist, cifar10, cifar100; an .npz with images and labels; "
                                                    "or a folder with one folder of images per class")
    prune.add_argument("--ratio", type=float, required=True, help="the fraction to REMOVE, from 0 up to 1")
    prune.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    prune.add_argument("--method", default="dual+beta", metavar="NAME",
                       help="random, dual, dual+beta (default), dyn_unc, forgetting, aum, tdds, el2n, grand, entropy, "
                            "least_confidence, margin, moderate, eeprune, ccs, d2, herding, nearest_to_centre, kcenter, "
                            "influence_norm or influence")
    prune.add_argument("--size", type=int, metavar="PIXELS", help="resize images to PIXELS x PIXELS; for files of mixed sizes")
    prune.add_argument("--classes", nargs="+", metavar="NAME", help="folders of DATA that are its classes, where dpkit cannot "
                                                                    "tell, or where others lie beside them (default: all)")
    prune.add_argument("--mirror", action="store_true", help="mirror images left-right while training; not for text or digits")
    prune.add_argument("--dynamics", metavar="FOLDER", help="prune from training dynamics recorded elsewhere; trains "
                                                               "nothing, so --size and the training's options play no part")
    prune.add_argument("--c-d", type=float, metavar="C", help="dual+beta: when easy images come in (default: 4)")
    prune.add_argument("--window", type=int, metavar="J", help="dual, dual+beta, dyn_unc, tdds: epochs in a window (10)")
    prune.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", type=_setting, dest="settings",
                       help="any other setting of the method, e.g. --set per_class=balanced, or for ccs --set cutoff=0.2")
    prune.add_argument("--epochs", type=int, default=30, metavar="T", help="epochs to watch (default: 30)")
    prune.add_argument("--model", default="small_cnn", metavar="NAME", help="network to watch: small_cnn (default), fast_cnn, "
                       "fast_cnn_narrow, fast_cnn_wide, resnet18, resnet34, resnet50, mobilenet_v3_small or mobilenet_v3_large")
    prune.add_argument("--exits", type=int, nargs="+", default=[1], metavar="STAGE",
                       help="eeprune: stages of the network after which it has an early exit, counted from 0 (default: 1)")
    prune.add_argument("--batch-size", type=int, metavar="N", help="images per step (default: what suits the network; 128)")
    prune.add_argument("--lr", type=float, metavar="RATE", help="learning rate at the start (default: what suits the network; "
                                                                "small_cnn 0.1)")
    prune.add_argument("--seed", type=int, default=0, metavar="N", help="of training and drawing (default: 0)")
    prune.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (default: auto)")
    prune.add_argument("--overwrite", action="store_true", help="replace another run in DIR")
    prune.set_defaults(run=_prune)


def _setting(text):
    """("cutoff", 0.2) of "cutoff=0.2"; what is no number, true, false or none is a word."""
    import ast

    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, e.g. cutoff=0.2; got {text!r}")
    plain = {"true": True, "false": False, "none": None}
    try:
        return name, plain[value.lower()] if value.lower() in plain else ast.literal_eval(value)
    except (TypeError, ValueError, SyntaxError):
        return name, value


def _prune(arguments) -> int:
    import errno
    import warnings

    from dpkit import store
    from dpkit.catalog import recipe_for
    from dpkit.pruning import prune

    def say(line):
        print(line, file=sys.stderr, flush=True)

    named = [("c_d", arguments.c_d), ("window", arguments.window)]
    given = [(name, value) for name, value in named if value is not None] + arguments.settings
    options = dict(given)
    if len(options) < len(given):
        return _say(REFUSED, f"every setting is named once; got {', '.join(name for name, _ in given)}")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *where, **more: say(f"careful: {message}")
            own = {"batch_size": arguments.batch_size, "lr": arguments.lr}
            recipe = recipe_for(arguments.model, epochs=arguments.epochs, **{k: v for k, v in own.items() if v is not None})
            done = prune(arguments.data, arguments.out, method=arguments.method, prune_ratio=arguments.ratio,
                         dynamics=arguments.dynamics, seed=arguments.seed, epochs=arguments.epochs, recipe=recipe,
                         model=arguments.model, size=arguments.size, mirror=arguments.mirror, exits=arguments.exits,
                         options=options, overwrite=arguments.overwrite, device=arguments.device, say=say,
                         classes=arguments.classes)
    except KeyboardInterrupt:
        return _say(128 + signal.SIGINT, "interrupted; the same command goes on from here")
    except (ValueError, FileExistsError, FileNotFoundError, NotADirectoryError, FloatingPointError) as error:
        return _say(REFUSED, str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _say(FAILED, f"no space left for {arguments.out} or the cache {store.cache_folder()}; free some, and the "
                                "same command goes on from here")
        return _say(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    print(f"{arguments.out}: {done['keep']:,} of {done['num_samples']:,} samples are kept")
    return PASSED


def _add_sweep(commands) -> None:
    sweep = commands.add_parser(
        "sweep", help="run a grid of trials: methods x ratios x seeds",
        description="Record, score, select and retrain for every trial of a grid, in parallel, and print the table. A stage "
                    "that was finished once is never run again: stopped at any moment, the same command goes on. Exit code 0 "
                    "if all trials are done, 1 if some failed, 2 if the grid was refused, 3 if some are still to come.")
    sweep.add_argument("grid", metavar="GRID.yaml", help="dataset, method, prune_ratio, seed, record, retrain; see the README")
    sweep.add_argument("--out", metavar="DIR", help="the sweep's folder (default: sweeps/<name of the grid>)")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask cluster, tcp://... or tls://... "
                                                              "(default: processes on this machine)")
    sweep.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: one per GPU or core)")
    sweep.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each of them (default: 1)")
    sweep.add_argument("--retry", action="store_true", help="also run those again that failed for a reason of their own, such "
                                                            "as a loss that became NaN")
    sweep.add_argument("--minutes", type=float, metavar="M", help="stop after so many; the same command goes on from there")
    sweep.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    sweep.set_defaults(run=_sweep)


def _sweep(arguments) -> int:
    import warnings
    from pathlib import Path

    try:
        import distributed

        from dpkit import grids, results, sweeps
    except ModuleNotFoundError as error:
        return _say(REFUSED, f"sweeps need {error.name}, which is not installed: pip install 'dpkit[scale]'")
    out = Path(arguments.out or Path("sweeps") / Path(arguments.grid).stem)
    client = None
    try:
        if arguments.scheduler:
            client = distributed.Client(arguments.scheduler, timeout=30)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *where, **more: print(f"careful: {message}", file=sys.stderr)
            rows = sweeps.sweep(arguments.grid, client, out=out, workers=arguments.workers, threads=arguments.threads,
                                device=arguments.device, retry=arguments.retry, minutes=arguments.minutes)
    except KeyboardInterrupt:
        return _say(128 + signal.SIGINT, "interrupted; the same command goes on from here")
    except grids.Refused as refused:
        return _say(REFUSED, *refused.mistakes)
    except (ValueError, FileExistsError, TimeoutError) as error:
        return _say(REFUSED, str(error))
    except OSError as error:
        return _say(FAILED, error.strerror or str(error))
    finally:
        if client:
            client.close()
    lost = rows[rows.failed != ""]
    for row in lost.itertuples():
        _say(FAILED, f"{row.method}, ratio {row.prune_ratio:g}, seed {row.seed} failed: {row.failed}")
    if len(lost) < len(rows):
        print(results.overview(rows))
    asked = rows.attrs["asked"]
    if len(rows) < asked:
        print(f"\npartial: {len(rows)} of {asked} trials; the same command goes on from here")
    print(f"\n{len(rows)} rows in {out}: dpkit.results_table({str(out)!r}) reads them")
    return FAILED if len(lost) else PARTIAL if len(rows) < asked else PASSED


def _add_report(commands) -> None:
    report = commands.add_parser(
        "report", help="run a notebook as a report and judge it",
        description="Run a notebook in a fresh kernel and write notebook.ipynb, report.html (readable offline), "
                    "result.json and figures/. Exit code 0 if it passed, 1 if it failed, 2 if it was refused.")
    report.add_argument("notebook", help="path of the notebook")
    report.add_argument("--preset", metavar="NAME", help="parameters from presets/NAME.yaml beside the notebook")
    report.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="one parameter, over the preset; a list is written as [0.3, 0.5]; may be repeated")
    report.add_argument("--out", metavar="FOLDER", help="folder to write (default: reports/<notebook>-<preset>)")
    report.add_argument("--timeout", type=float, default=3600, metavar="SECONDS",
                        help="wall-clock limit after which the kernel is killed (default: 3600)")
    report.set_defaults(run=_report)


def _report(arguments) -> int:
    from dpkit import reports

    given = {name: reports.Text(value) for name, value in arguments.parameters}
    try:
        verdict = reports.run_report(arguments.notebook, preset=arguments.preset, parameters=given, out=arguments.out,
                                     timeout=arguments.timeout)
    except reports.Refused as refused:
        return _say(REFUSED, *refused.mistakes)
    except reports.Interrupted as stop:
        return _say(128 + stop.signum, str(stop))
    except KeyboardInterrupt:
        return _say(128 + signal.SIGINT, "interrupted; nothing was written")
    except OSError as error:
        where = f" {error.filename}" if error.filename else " the report"
        return _say(FAILED, f"could not write{where}: {error.strerror or error}; free space or choose another --out")
    if not verdict.passed:
        print(verdict.headline(), *(f"  - {reason}" for reason in verdict.reasons),
              f"see {verdict.folder / 'report.html'}", sep="\n")
        return FAILED
    print(verdict.headline())
    tables = verdict.result["tables"]
    for name in ["accuracy"] if "accuracy" in tables else list(tables)[:1]:  # the result; the page has them all
        print(f"\n{name}", reports.text_table(tables[name]), sep="\n")
    print(f"\n{verdict.folder / 'report.html'}")
    return PASSED


def _add_assignments(commands) -> None:
    assignments = commands.add_parser(
        "assignments", help="make the students' copies of the assignments",
        description="From every source notebook write DIR/handout/<name>/<name>.ipynb, for the students, and "
                    "DIR/tutorials/<name>.ipynb, with solutions, for after the deadline. Exit code 0 if it was done, 2 if it "
                    "was refused.")
    assignments.add_argument("--out", default="classroom", metavar="DIR", help="folder to write (default: classroom)")
    assignments.add_argument("--source", default="notebooks/assignments", metavar="DIR",
                             help="folder of the source notebooks (default: notebooks/assignments)")
    assignments.set_defaults(run=_assignments)


def _assignments(arguments) -> int:
    from dpkit.report_parameters import Refused

    missing = _missing_for_class("nbgrader")
    if missing:
        return _say(REFUSED, missing)
    try:
        from dpkit.classroom import handouts

        stems = handouts.make_assignments(arguments.source, arguments.out)
    except Refused as refused:
        return _say(REFUSED, *refused.mistakes)
    except FileExistsError as error:
        return _say(REFUSED, str(error))
    except KeyboardInterrupt:
        return _say(128 + signal.SIGINT, "interrupted; nothing was written")
    except OSError as error:
        return _say(FAILED, f"could not write {error.filename or arguments.out}: {error.strerror or error}")
    for stem in stems:
        print(f"{arguments.out}/handout/{stem}/{stem}.ipynb")
    print(f"solutions, for after the deadline: {arguments.out}/tutorials")
    return PASSED


def _missing_for_class(*packages) -> str | None:
    from importlib import import_module

    for package in packages:
        try:
            import_module(package)
        except ImportError as error:  # it is not there, or something that it needs is not
            extra = "classroom" if package in ("nbgrader", "latex2mathml") else "notebooks"
            why = "is not installed" if getattr(error, "name", None) == package else f"cannot be imported ({error})"
            return f"this command needs {package}, which {why}: pip install 'dpkit[{extra}]'"
    return None


def _add_grade(commands) -> None:
    grade = commands.add_parser(
        "grade", help="grade what students handed in",
        description="Grade SUBMISSIONS/<student>/<assignment>.ipynb and write grades.csv, a feedback page for each, and "
                    "summary.html. Student code runs in a sandbox; the marks come from tests outside of it. What was graded "
                    "before and has not changed is not graded again. Points on written answers are read from DIR/written.csv, "
                    "with the columns of DIR/to_read.csv. Exit code 0 if it was done, 1 if some could not be graded through a "
                    "fault of the assignment or of this machine, 2 if it was refused.")
    grade.add_argument("submissions", metavar="SUBMISSIONS", help="folder with a folder for each student")
    grade.add_argument("--out", default="grades", metavar="DIR", help="folder to write (default: grades)")
    grade.add_argument("--source", default="notebooks/assignments", metavar="DIR",
                       help="folder of the source notebooks (default: notebooks/assignments)")
    grade.add_argument("--student", metavar="NAME", help="grade this student again, and nobody else")
    grade.add_argument("--assignment", metavar="NAME", help="grade only this assignment")
    grade.add_argument("--workers", type=int, default=1, metavar="N", help="submissions at a time (default: 1)")
    grade.add_argument("--seconds", type=float, default=20, metavar="S",
                       help="one cell or one call of a function may take so long (default: 20)")
    grade.add_argument("--total", type=float, default=600, metavar="S", help="one submission, with its tests (default: 600)")
    grade.add_argument("--memory", type=float, default=2, metavar="GB", help="of all a submission's processes (default: 2)")
    grade.add_argument("--trust", action="store_true", help="run the students' code without a sandbox, as yourself: it can "
                                                            "then read and write whatever you can")
    grade.set_defaults(run=_grade)


def _grade(arguments) -> int:
    from dpkit.report_parameters import Refused

    missing = _missing_for_class("nbgrader", "nbconvert", "latex2mathml", "IPython")
    if missing:
        return _say(REFUSED, missing)
    for name in ("seconds", "total", "memory", "workers"):
        if not 0 < getattr(arguments, name) < 10**6:
            return _say(REFUSED, f"--{name} must be a number above 0; got {getattr(arguments, name):g}")
    try:
        from dpkit.classroom import grading, sandbox

        limits = sandbox.Limits(arguments.seconds, arguments.total, int(arguments.memory * 2**30))
        rows = grading.grade(arguments.submissions, out=arguments.out, source=arguments.source, student=arguments.student,
                             assignment=arguments.assignment, workers=arguments.workers, trust=arguments.trust, limits=limits,
                             say=lambda line: print(line, file=sys.stderr, flush=True))
    except Refused as refused:
        return _say(REFUSED, *refused.mistakes)
    except KeyboardInterrupt:
        return _say(128 + signal.SIGINT, "interrupted; the same command goes on from here")
    except OSError as error:
        return _say(FAILED, f"could not write {error.filename or arguments.out}: {error.strerror or error}")
    print(f"{len(rows)} rows in {arguments.out}/grades.csv, pages in {arguments.out}/feedback, {arguments.out}/summary.html")
    return FAILED if any(row["unfinished"] for row in rows) else PASSED


def _say(code, *lines) -> int:
    for line in lines:
        print(f"dpkit: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
