"""What a notebook leaves for its report: figures, tables, checks and, at its end, result.json.

    from dpkit import reports
    report = reports.begin("00_start_here", globals())       # right after the parameters cell
    report.figure(fig, "moon_plot")
    report.table("accuracy", rows)
    report.check("dual by hand equals the library", bool(...))
    report.finish(seeds=[0, 1, 2], device="cpu")             # the last cell

The same cells work when the notebook is run by hand in JupyterLab; result.json then goes to a fresh
folder.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpkit.storage.provenance import machine, versions

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


SCHEMA = 1
RESULT, PUBLISHED, PRUNED = "result.json", "published", "pruned"
# set by the driver: JSON with the folder to write to and the names of the parameters
ENVIRONMENT = "DPKIT_REPORT"
FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "notebook": str,
    "parameters": dict,
    "seeds": list,
    "versions": dict,
    "device": str,
    "machine": dict,
    "seconds": (int, float),
    "figures": list,
    "tables": dict,
    "checks": dict,
}


def begin(notebook: str, namespace: dict) -> Report:
    """Start the record of one run, and note the parameters as they stand now.

    notebook:  the notebook's stem, "00_start_here".
    namespace: globals() of the notebook.
    """
    # where a warning came from is a path of this machine, and no help to a reader
    warnings.formatwarning = lambda message, category, *where, **line: (
        f"{category.__name__}: {message}\n"
    )
    driven = json.loads(os.environ.get(ENVIRONMENT, "null"))
    if driven:
        folder, names, command = Path(driven["folder"]), driven["parameters"], driven["command"]
    else:
        folder = Path(tempfile.mkdtemp(prefix=f"dpkit-{notebook}-"))
        names, command = _parameter_names(notebook, namespace), f"{notebook}.ipynb, run by hand"
    missing = [name for name in names if name not in namespace]
    if missing:
        raise ValueError(
            f"the parameters cell must run before reports.begin; {', '.join(missing)} is not set "
            "yet"
        )
    return Report(
        notebook, {name: namespace[name] for name in names}, folder, bool(driven), command
    )


def _parameter_names(notebook, namespace) -> list:
    """Names in the parameters cell of the notebook in this folder; without the file, all flat
    public values so far.
    """
    from dpkit.reports.parameters import Refused, is_flat, read_defaults

    try:
        return list(read_defaults(f"{notebook}.ipynb"))
    except Refused:
        return [
            name for name, value in namespace.items() if not name.startswith("_") and is_flat(value)
        ]


class Report:
    """The growing record of one run. Made by begin().

    folder: where it goes.
    published, pruned: folders in it, for a table to publish and for what `prune` writes.
    command: what to type to repeat the run.
    """

    def __init__(
        self, notebook: str, parameters: dict, folder: Path, driven: bool, command: str = ""
    ) -> None:
        self.notebook, self.parameters, self.folder, self.command = (
            notebook,
            parameters,
            folder,
            command,
        )
        self.published, self.pruned = folder / PUBLISHED, folder / PRUNED
        self._driven, self._started = driven, time.monotonic()
        self._figures: dict[str, str] = {}
        self._tables: dict[str, list] = {}
        self._checks: dict[str, bool] = {}

    def figure(self, fig: Figure, name: str) -> None:
        """Save a figure as figures/<name>.png, show that picture here once, and close it."""
        from dpkit.storage.files import file_hash, whole_file

        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"a figure's name may hold letters, digits, _ and -; got {name!r}")
        path = self.folder / "figures" / f"{name}.png"
        with whole_file(path) as file:  # no Software entry: the same figure gives the same bytes
            fig.savefig(
                file, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None}
            )
        self._figures[f"figures/{name}.png"] = file_hash(path)
        if "matplotlib.pyplot" in sys.modules:  # or the notebook would show it a second time
            sys.modules["matplotlib.pyplot"].close(fig)
        if "IPython" in sys.modules:
            from IPython.display import Image, display

            data = path.read_bytes()
            # from the PNG header; shown at 100 dots per inch, sharp
            width = int.from_bytes(data[16:20], "big")
            display(Image(data=data, width=width * 2 // 3, alt=name.replace("_", " ")))

    def table(self, name: str, rows: Any) -> None:
        """Record a table: a list of flat dicts, or a DataFrame. NaN and infinities become null."""
        rows = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
        if not rows:
            raise ValueError(f"table {name!r} must have at least one row; got none")
        self._tables[name] = [
            {
                str(key): _scalar(value, f"table {name!r}, column {key!r}")
                for key, value in row.items()
            }
            for row in rows
        ]

    def check(self, name: str, passed: Any) -> None:
        """Record whether `name` holds; AssertionError if not, so that the lesson stops here."""
        passed = passed.item() if hasattr(passed, "item") else passed
        if not isinstance(passed, bool):
            raise TypeError(
                f"check {name!r} needs True or False; got {type(passed).__name__}: write bool(...) "
                "or =="
            )
        self._checks[name] = passed
        if not passed:
            raise AssertionError(name)

    def finish(self, *, seeds: Iterable[int], device: str | torch.device) -> str:
        """Write result.json, whole or not at all. Returns a summary: let it be the last line."""
        from dpkit.storage.files import write_json

        write_json(
            self.folder / RESULT,
            {
                "schema": SCHEMA,
                "notebook": self.notebook,
                "parameters": self.parameters,
                "seeds": [_scalar(seed, "seeds") for seed in seeds],
                "versions": versions(),
                "device": str(device),
                "machine": machine(str(device)),
                "seconds": round(time.monotonic() - self._started, 3),
                "figures": [
                    {"file": file, "sha256": sha256} for file, sha256 in self._figures.items()
                ],
                "tables": self._tables,
                "checks": self._checks,
            },
        )
        where = "" if self._driven else f"; written to {self.folder / RESULT}"
        return _Line(
            f"{count(self._checks, 'check')} passed, {count(self._figures, 'figure')}, "
            f"{count(self._tables, 'table')}{where}"
        )


class _Line(str):
    """Text that a notebook shows without quotes."""

    __repr__ = str.__str__


def count(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _scalar(value, where):
    """A plain JSON scalar; numpy's and torch's become Python's, NaN and infinities become None."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(
        f"{where} must hold numbers, text, True, False or None; got {type(value).__name__}"
    )


def text_table(rows: Any, limit: int = 40) -> str:
    """Rows as an aligned text table, floats with four significant digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column)) for column in columns] for row in rows[:limit]]
    widths = [max(map(len, column)) for column in zip(columns, *cells)]
    right = [
        all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns
    ]
    lines = [
        "  ".join(
            text.rjust(width) if r else text.ljust(width)
            for text, width, r in zip(line, widths, right)
        )
        for line in [columns, *cells]
    ]
    more = [f"... and {len(rows) - limit} more rows"] if len(rows) > limit else []
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:], *more])


def _text(value) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
