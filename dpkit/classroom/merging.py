"""The notebook that is marked: the source's cells in the source's order, with the student's answers
in their places.

So a test cell that a student changed, moved or deleted does no harm: the source's own is run. Cells
the student added stay behind the cell they followed.
"""

import json
import os
import re
import stat
from pathlib import Path

from dpkit.classroom.source import Cell

LARGEST = 10 * 2**20  # bytes of a submitted file


class Unusable(ValueError):
    """A file that cannot be marked; the sentence becomes the remark in its row."""


def read_submission(path: str | Path) -> tuple[list[dict], bytes]:
    """A student's cells as {"kind", "id", "key", "source"}, and the file's bytes, or Unusable."""
    path = Path(path)
    try:
        about = os.lstat(path)
        if not stat.S_ISREG(about.st_mode):
            raise Unusable(
                "not a file of its own but a link or something else; hand in the notebook itself"
            )
        if about.st_size > LARGEST:
            raise Unusable(
                f"{about.st_size / 2**20:.0f} MB large, more than {LARGEST // 2**20} MB; clear the "
                "outputs and save"
            )
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(f"the file cannot be read ({error.strerror})") from None
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Unusable(
            "the file is not JSON, so no whole notebook; save it again in JupyterLab"
        ) from None
    if (
        not isinstance(notebook, dict)
        or not isinstance(notebook.get("cells"), list)
        or notebook.get("nbformat") != 4
    ):
        raise Unusable("the file is not a notebook in format 4; open it in JupyterLab and save it")
    language = _language(notebook.get("metadata"))
    if language != "python":
        raise Unusable(
            f"the notebook's kernel is {language}, not Python; choose the Python kernel, run it "
            "and save"
        )
    try:
        return [_cell(cell) for cell in notebook["cells"]], data
    except (TypeError, AttributeError, KeyError, RecursionError):
        raise Unusable("the file is not a whole notebook; save it again in JupyterLab") from None


def _language(metadata) -> str:
    """The language of the kernel that the notebook names; Python if it names none."""
    metadata = metadata if isinstance(metadata, dict) else {}
    spec, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
    for place, name in ((spec, "language"), (info, "name")):
        if isinstance(place, dict) and isinstance(place.get(name), str) and place[name]:
            return re.sub(r"[^\w+# -]", "", place[name])[:20].lower()
    name = spec.get("name") if isinstance(spec, dict) else None
    name = name if isinstance(name, str) else "python"
    return "python" if name.lower().startswith("py") else re.sub(r"[^\w+# -]", "", name)[:20]


def _cell(cell) -> dict:
    source = cell["source"]
    source = source if isinstance(source, str) else "".join(source)
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    names = {
        "kind": cell["cell_type"],
        "id": cell.get("id"),
        "key": marks.get("grade_id") if isinstance(marks, dict) else None,
    }
    # a lone surrogate could not be written again
    return {name: value if isinstance(value, str) else None for name, value in names.items()} | {
        "source": source.encode(errors="replace").decode()
    }


def merge(cells: list[Cell], student: list[dict]) -> list[dict]:
    """The steps of the marking, in order: {"role", "name", "source", "shown", "kind", "points",
    "own", "there", "answered"}.

    role:     setup, student, test, written or text.
    name:     the source cell's; of an added cell, that of the one before it.
    shown:    what stands on the feedback page: for a test, its visible part.
    own:      whether the text is the student's.
    there:    whether the student's notebook has a cell of that name.
    answered: of an answer: whether the student changed what was handed out.
    """
    places = {cell.key: cell for cell in cells}
    own: dict[str, str | None] = {}
    added: dict[str | None, list] = {}
    behind = None
    for theirs in student:
        key = (
            theirs["key"]
            if theirs["key"] in places
            else theirs["id"]
            if theirs["id"] in places
            else None
        )
        # a copied cell has the same name
        if key is None or (key in own and places[key].role not in ("setup", "test")):
            added.setdefault(behind, []).append(theirs)
        else:
            own.setdefault(key, theirs["source"] if theirs["kind"] == places[key].kind else None)
            behind = key
    steps = [_added(theirs, None) for theirs in added.get(None, ())]
    for cell in cells:
        steps.append({**_step(cell, own.get(cell.key)), "there": cell.key in own})
        steps += [_added(theirs, cell.key) for theirs in added.get(cell.key, ())]
    return steps


def _step(cell, theirs) -> dict:
    step = {
        "name": cell.key,
        "kind": cell.kind,
        "points": cell.points,
        "source": cell.source,
        "shown": cell.handed,
        "own": False,
        "answered": True,
    }
    if cell.role in ("setup", "test"):
        return {**step, "role": cell.role}
    if cell.role == "plain" and cell.kind != "code":
        return {**step, "role": "text"}
    source = theirs if theirs is not None else cell.handed if cell.role == "plain" else ""
    answered = cell.role == "plain" or (
        bool(source.strip()) and _squeezed(source) != _squeezed(cell.handed)
    )
    return {
        **step,
        "role": "written" if cell.role == "written" else "student",
        "source": source,
        "shown": source,
        "own": cell.role != "plain" or source != cell.handed,
        "answered": answered,
    }


def _added(theirs, behind) -> dict:
    role = "student" if theirs["kind"] == "code" else "text"
    return {
        "role": role,
        "name": f"added behind {behind}" if behind else "added at the top",
        "kind": theirs["kind"],
        "points": 0.0,
        "source": theirs["source"],
        "shown": theirs["source"],
        "own": True,
        "there": True,
        "answered": True,
    }


def _squeezed(text) -> str:
    return "".join(text.split())
