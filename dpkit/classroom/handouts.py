"""What is given out: the students' copy of each assignment, by nbgrader, and the tutorial with its
solutions for afterwards.
"""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dpkit import storage
from dpkit.classroom.source import find_sources, read_source, role_of, source_folder, unlinked
from dpkit.reports.parameters import Refused, read_notebook
from dpkit.storage.temporary import temporary_folder

if TYPE_CHECKING:
    from nbformat import NotebookNode


KIND, MANIFEST = "Handout", "manifest.json"


def make_assignments(source: str | Path | None = None, out: str | Path = "classroom") -> list[str]:
    """Write <out>/handout/<stem>/<stem>.ipynb and <out>/tutorials/<stem>.ipynb.

    `source` holds the source notebooks: by default notebooks/assignments here, else those that come
    with dpkit. Whole or not at all; an earlier handout of these assignments is replaced, anything
    else in `out` is refused. Returns the stems.
    Raises Refused with every mistake in the sources, FileExistsError, OSError.
    """
    import nbformat

    storage.check_folder(out, replaced=True)
    sources = find_sources(source_folder(source))
    mistakes: list[str] = []
    for path in sources.values():
        try:
            read_source(path)
        except Refused as refused:
            mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)
    _check_ours(out, sources)
    with storage.whole_folder(out, replaces=MANIFEST, kind=KIND) as part:
        for stem, student in student_copies(sources).items():
            (part / "handout" / stem).mkdir(parents=True)
            nbformat.write(student, part / "handout" / stem / f"{stem}.ipynb")
            (part / "tutorials").mkdir(exist_ok=True)
            nbformat.write(tutorial(sources[stem]), part / "tutorials" / f"{stem}.ipynb")
        files = sorted(path for path in part.rglob("*") if path.is_file())
        storage.write_json(
            part / MANIFEST,
            {
                "kind": KIND,
                "schema": 1,
                "sha256": {
                    path.relative_to(part).as_posix(): storage.file_hash(path) for path in files
                },
            },
        )
    return list(sources)


def _check_ours(out, stems) -> None:
    """Refuse to replace a folder in which there is anything that we did not write just so, or the
    handout of others.
    """
    out = Path(out)
    if not (out / MANIFEST).is_file():
        return  # whole_folder says what is wrong with it, if anything is
    try:
        known = json.loads((out / MANIFEST).read_text())["sha256"]
    except (ValueError, KeyError, TypeError, OSError):
        raise FileExistsError(
            f"{out / MANIFEST} cannot be read, so it cannot be told whether {out} is ours alone; "
            "move the folder away or name another --out"
        ) from None
    others = sorted({Path(name).stem for name in known} - {*stems})
    if others:
        raise FileExistsError(
            f"{out} holds the handout of {', '.join(others)}, which is not among these sources and "
            "would be lost; name another --out, or move it away"
        )
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name != MANIFEST and ".ipynb_checkpoints" not in path.parts:
            if name not in known or storage.file_hash(path) != known[name]:
                raise FileExistsError(
                    f"{out / name} was added or changed since dpkit wrote the folder; move it "
                    "away, delete it, or name another --out"
                )


def tutorial(path: str | Path) -> NotebookNode:
    """The source without hidden tests and the teacher's cells: solutions and visible tests stay."""
    from nbgrader.preprocessors import ClearHiddenTests

    notebook = _without_teacher(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # there the marks of a solution would be headings
            cell.source = "\n".join(
                line
                for line in cell.source.split("\n")
                if "BEGIN SOLUTION" not in line and "END SOLUTION" not in line
            )
    return ClearHiddenTests().preprocess(notebook, {})[0]


def _without_teacher(path):
    import nbformat

    notebook = nbformat.from_dict(read_notebook(path))
    notebook.cells = [cell for cell in notebook.cells if role_of(cell) != "teacher"]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = unlinked(cell.source)
    return notebook


def student_copies(sources: dict[str, Path]) -> dict:
    """stem -> the notebook for students, as nbgrader's generate_assignment makes it in a course
    folder of its own.
    """
    import nbformat
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    copies = {}
    with temporary_folder("dpkit-course-") as course:
        for stem, path in sources.items():
            folder = Path(course, "source", stem)
            folder.mkdir(parents=True)
            nbformat.write(_without_teacher(path), folder / f"{stem}.ipynb")
            config = Config(
                CourseDirectory={"root": str(course), "assignment_id": stem},
                SaveCells={"enabled": False},
                # its database is for grading, which is ours
                GenerateAssignment={"no_database": True},
            )
            nbgrader = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
            told = _run_quietly(nbgrader)
            if told:
                raise Refused(f"nbgrader could not make the students' copy of {path}: {told}")
            copies[stem] = nbformat.read(
                Path(course, "release", stem, f"{stem}.ipynb"), as_version=4
            )
    return copies


def _run_quietly(nbgrader) -> str | None:
    """Run a converter of nbgrader's; what went wrong in its words, or None."""
    from nbgrader.converters import NbGraderException

    log = io.StringIO()
    nbgrader.log = logging.Logger("dpkit.nbgrader", logging.ERROR)
    nbgrader.log.addHandler(logging.StreamHandler(log))
    try:
        nbgrader.start()
    except (NbGraderException, SystemExit, ValueError, RuntimeError) as error:
        lines = [
            line
            for line in log.getvalue().splitlines()
            if re.match(r"\w*(Error|Exception): ", line)
        ]
        return lines[-1] if lines else str(error)
    return None
