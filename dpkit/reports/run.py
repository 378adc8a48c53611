"""Run a notebook as a report, strictly: parameters are checked before, the verdict after; a report
is whole or absent.

papermill runs the cells, but papermill alone is no verdict: it exits 0 after sys.exit(0) in a cell,
marks cells that never ran as completed after a kernel died, and only warns at an unknown parameter.
`run_report` decides for itself.
"""

import json
import shlex
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dpkit.reports.kernel import Interrupted, Watch, execute, signals
from dpkit.reports.notebooks import find
from dpkit.reports.parameters import Refused, Text, parameters_for
from dpkit.reports.result import PRUNED, PUBLISHED, RESULT, Report, begin, count, text_table
from dpkit.reports.verdict import judge, tidied

__all__ = [
    "Interrupted",
    "Refused",
    "Report",
    "Text",
    "Verdict",
    "begin",
    "run_report",
    "text_table",
]

TIMEOUT = 3600  # seconds
# what a report needs besides dpkit itself: the module, and how pip calls its package
NEEDED = {
    "papermill": "papermill",
    "nbconvert": "nbconvert",
    "nbformat": "nbformat",
    "latex2mathml": "latex2mathml",
    "nh3": "nh3",
    "ipykernel": "ipykernel",
    "yaml": "pyyaml",
}
NOTEBOOK, PAGE, VERDICT = "notebook.ipynb", "report.html", "verdict.json"


@dataclass(frozen=True)
class Verdict:
    """passed, and if not, why; the folder that was written; result.json as a dict if whole."""

    passed: bool
    reasons: tuple[str, ...]
    folder: Path
    result: dict | None
    seconds: float

    def headline(self) -> str:
        if not self.passed or self.result is None:
            return f"FAILED after {self.seconds:.0f} s"
        return (
            f"PASSED in {self.seconds:.0f} s: {count(self.result['checks'], 'check')}, "
            f"{count(self.result['figures'], 'figure')}"
        )


def run_report(
    notebook: str | Path,
    *,
    preset: str | None = None,
    parameters: dict | None = None,
    out: str | Path | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[str], object] | None = None,
) -> Verdict:
    """Run `notebook` in a fresh kernel of this Python and judge it.

    notebook:   a path, or the name of a notebook that comes with dpkit, such as "00_start_here".
    preset:     the name of presets/<preset>.yaml beside the notebook or one level up.
    parameters: name -> value, over the preset. Text("...") values are read by the type of the
                notebook's default.
    out:        folder for notebook.ipynb, report.html, result.json and figures/;
                reports/<stem>-<preset> by default. An earlier report there of this notebook (that
                is, of its name) is replaced if this one passes, whatever its parameters were;
                another notebook's is refused. If it fails, <out>-failed is written instead.
    timeout:    seconds of wall-clock time after which the kernel is killed.
    progress:   called with each line of progress and each line that the notebook prints; default:
                to stderr.
    Raises Refused (before any kernel starts), FileExistsError (another run makes this report now),
    OSError (it cannot be written) or Interrupted.
    """
    from dpkit import storage

    _check_installed()
    notebook = find(notebook)
    every, given = parameters_for(notebook, preset, parameters)
    if not 0 < timeout < threading.TIMEOUT_MAX:
        raise Refused(f"timeout must be a positive number of seconds; got {timeout}")
    out = Path(out or Path("reports") / f"{notebook.stem}-{preset or 'default'}")
    before = check_out(out, notebook.stem)
    out = out.resolve()
    failed = _failed(out)

    watch = Watch(timeout, progress or (lambda line: print(line, file=sys.stderr, flush=True)))
    if before not in (None, every):
        watch.progress(_replacing(out, before, every))
    with storage.building_folder(out, replaces=RESULT) as part:
        with signals(watch):
            command = _command(notebook, preset, parameters, timeout)
            raised = execute(notebook, part / NOTEBOOK, given, every, watch, command)
            watch.raise_if_interrupted()
            watch.progress(f"[done] {watch.elapsed()} making the page")
            executed = tidied(part / NOTEBOOK, notebook)
            result, reasons = judge(executed, raised, watch, part, notebook.stem, every)
            reasons += _write_page(executed, notebook, part, watch, reasons, every, result)
            watch.raise_if_interrupted()
        passed, seconds = not reasons, round(watch.seconds(), 1)
        if passed:
            storage.swap_in(part, out)
        else:  # a good older report stays
            _keep_failed(part, failed, notebook.stem, every, reasons, seconds)
    if passed:
        shutil.rmtree(failed, ignore_errors=True)  # it told of an earlier run
    return Verdict(passed, tuple(reasons), out if passed else failed, result, seconds)


def check_out(out: str | Path, stem: str) -> dict | None:
    """Refuse, before anything is run, a place that is not free for the report of the notebook
    `stem`. Returns the parameters of its earlier report there; None if there is none.
    """
    from dpkit import storage

    try:
        storage.check_folder(out, replaced=True)
    except storage.UnusablePlace as unusable:
        raise Refused(str(unusable)) from None
    out = Path(out).resolve()
    _check_ours(_failed(out), VERDICT, stem)
    return _check_ours(out, RESULT, stem)


def _failed(out) -> Path:
    """Where a report that did not pass goes."""
    return out.with_name(out.name + "-failed")


def _check_installed():
    from importlib.util import find_spec

    missing = [package for module, package in NEEDED.items() if not find_spec(module)]
    if missing:
        raise Refused(
            f"reports need packages that are not installed here: pip install {' '.join(missing)}"
        )


def _replacing(out, before, every) -> str:
    """The note that a report with the parameters `before` will be replaced."""
    changed = ", ".join(
        f"{name} {value!r}" for name, value in before.items() if every.get(name) != value
    )
    return (
        f"[note] {out} holds this notebook's report with other parameters ({changed or 'fewer'}); "
        "it is replaced if this one passes"
    )


def _keep_failed(part, failed, stem, parameters, reasons, seconds):
    """Write the folder of a report that did not pass, with verdict.json and without result.json."""
    from dpkit import storage

    verdict = {
        "passed": False,
        "notebook": stem,
        "parameters": parameters,
        "reasons": reasons,
        "seconds": seconds,
    }
    with storage.whole_folder(failed, replaces=VERDICT) as kept:
        (part / RESULT).unlink(missing_ok=True)
        for path in part.iterdir():
            shutil.move(path, kept)
        storage.write_json(kept / VERDICT, verdict)


def _command(notebook, preset, parameters, timeout) -> str:
    """The command line of this run, without anything that names the machine."""
    with suppress(ValueError):
        notebook = notebook.relative_to(Path.cwd())
    words = ["dpkit", "report", str(notebook if not notebook.is_absolute() else notebook.name)]
    words += ["--preset", preset] if preset else []
    for name, value in (parameters or {}).items():
        words += ["-p", name, str(value)]
    words += ["--timeout", f"{timeout:g}"] if timeout != TIMEOUT else []
    return shlex.join(words)


def _check_ours(folder, mark, stem) -> dict | None:
    """Refuse to replace anything but a report of this notebook. Returns its parameters; None if
    there is none.
    """
    ours = {
        NOTEBOOK,
        PAGE,
        RESULT,
        VERDICT,
        PUBLISHED,
        PRUNED,
        "figures",
        ".ipynb_checkpoints",
        ".DS_Store",
    }
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        if not names:
            return None
        of, parameters = _notebook_of(folder / mark)
        if of is None or not names <= ours:
            odd = ", ".join(sorted(names - ours)[:3])
            why = f"it holds {odd}" if odd else f"no {mark} of ours in it"
            raise Refused(
                f"{folder} is not an earlier report of ours ({why}); choose another --out, or move "
                "it away"
            )
        if of != stem:
            raise Refused(
                f"{folder} holds the report of {of}, which that of {stem} would replace; choose "
                "another --out, or move it away"
            )
        return parameters
    if folder.exists():
        raise Refused(f"{folder} is a file; --out must name a folder")
    return None


def _notebook_of(file) -> tuple[str | None, dict]:
    """(the notebook that a result.json or verdict.json is of, its parameters); None if it is
    neither, or damaged.
    """
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return (
            (said["notebook"], dict(said["parameters"]))
            if isinstance(said["notebook"], str)
            else (None, {})
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None, {}


def _write_page(notebook, source, part, watch, reasons, parameters, result) -> list[str]:
    from dpkit.reports.page import page

    try:
        html = page(
            notebook,
            folder=source.parent,
            name=source.stem,
            reasons=reasons,
            parameters=parameters,
            result=result,
            seconds=watch.seconds(),
        )
    except OSError:
        raise
    except Exception as error:  # hours of computing are not thrown away for the page's sake
        return [f"report.html could not be made: {type(error).__name__}: {error}"]
    (part / PAGE).write_text(html, encoding="utf-8")
    return []
