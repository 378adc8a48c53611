"""The verdict on an executed notebook: whether it ran whole, and if not, why, in sentences."""

from pathlib import Path
from typing import Any

from dpkit.reports.kernel import cell_names, code_cells
from dpkit.reports.result_checks import read_result


def tidied(path: Path, source: Path) -> Any:
    """The executed notebook without papermill's markers and without paths of this machine."""
    import nbformat

    notebook = nbformat.read(path if path.exists() else source, as_version=4)
    notebook.cells = [
        c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    for name in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(name, None)
    nbformat.write(notebook, path)
    return notebook


def judge(
    notebook: Any, raised: BaseException | None, watch: Any, part: Path, stem: str, parameters: dict
) -> tuple[dict | None, list[str]]:
    """Check the executed notebook and result.json. Returns (result or None, reasons)."""
    code = code_cells(notebook)
    names = [_cell_name(*name) for name in cell_names(notebook)]
    at = watch.current
    here = f" in {names[at]}" if at is not None else " before its first cell"
    reasons = _stopped(raised, watch, here)
    for i in code:
        cell, last = notebook.cells[i], i == code[-1]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if not errors and not reasons and cell.metadata.get("papermill", {}).get("exception"):
            reasons.append(f"{names[i]} failed without saying why")
        reasons += [_raised(error, names[i], last) for error in errors]
    if raised is not None and not reasons:
        reasons.append(f"the notebook could not be run{here}: {type(raised).__name__}: {raised}")
    if notebook.metadata.get("papermill", {}).get("exception") and not reasons:
        reasons.append("papermill noted an exception in the notebook")
    unrun = [i for i in code if notebook.cells[i].execution_count is None]
    if unrun:
        reasons.append(
            f"{len(unrun)} of {len(code)} code cells did not run, the first of them "
            f"{names[unrun[0]]}"
        )
    result, wrong = read_result(part, notebook=stem, parameters=parameters)
    if not reasons:  # a stopped notebook has no result; that needs no second sentence
        reasons += wrong
    return (None if wrong else result), reasons


def _cell_name(number, heading) -> str:
    return f"cell {number.replace('/', ' of ')}" + (f" ({heading!r})" if heading else "")


def _stopped(raised, watch, here) -> list[str]:
    """Why the whole run ended early, where the clock or the kernel's death is the reason."""
    if watch.past_limit:
        return [f"the notebook ran past its limit of {watch.limit:g} s{here}"]
    if raised is None or "Kernel died" not in str(raised):
        return []
    ended = watch.kernel.poll() if watch.kernel else None
    how = {
        None: "",
        0: " (it ended by itself: this cell or the one before called exit)",
        -9: " (signal 9: killed from outside, often because memory ran out)",
    }.get(ended, f" (exit code {ended})")
    return [f"the kernel died{here}{how}"]


def _raised(error, name, last) -> str:
    """The sentence for an error that a cell shows; `last`: of the notebook's last cell."""
    said = error.evalue.strip().partition("\n")[0]
    if error.ename == "SystemExit":
        where = "in" if last else "before"
        return f"the notebook stopped {where} its last cell: {name} called sys.exit({said})"
    return f"{name} raised {error.ename}" + (f": {said}" if said else "")
