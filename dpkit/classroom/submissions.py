"""A folder of submissions: <student>/<stem>.ipynb, or nbgrader's <student>/<stem>/<stem>.ipynb."""

import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dpkit.reports.parameters import Refused

DONE = ".graded"  # what a folder of grades keeps for itself


@dataclass(frozen=True)
class Submission:
    """refused: why it is not graded, or empty.   assignment: empty where a student handed in no
    notebook at all.
    """

    student: str
    assignment: str
    path: Path
    refused: str = ""


def find_submissions(folder: str | Path, known: Collection[str]) -> list[Submission]:
    """Every submission in `folder`, by student and assignment. known: the stems that there are.
    Grades are passed over.

    Raises Refused if there is no such folder, nothing in it, or what was handed out instead of what
    was handed in.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Refused(
            f"there is no folder {folder}; give the one that holds a folder for each student"
        )
    found = []
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith("."):
            theirs = _of_student(place)
            # earlier grades, and no student
            found += theirs if theirs[0].assignment or not (place / DONE).exists() else []
    if not any(one.assignment for one in found):
        loose = any(path.suffix == ".ipynb" for path in folder.iterdir())
        raise Refused(
            f"there is no submission in {folder}; expected {folder}/<student>/<assignment>.ipynb"
            + (", a folder for each student: the notebooks lie beside each other" if loose else "")
        )
    if {one.student for one in found} <= {*known}:
        raise Refused(
            f"the folders in {folder} have the names of assignments; expected "
            f"{folder}/<student>/<assignment>.ipynb"
        )
    return _judged(found, known, folder)


def loose_notebooks(folder: str | Path) -> list[str]:
    """A sentence for each notebook that lies in no student's folder."""
    return [
        f"{path.name} lies in no student's folder and was not graded"
        for path in sorted(Path(folder).glob("*.ipynb"))
    ]


def _of_student(place) -> list[Submission]:
    student = place.name.encode(errors="replace").decode()
    paths = [*place.glob("*.ipynb"), *place.glob("*/*.ipynb")]
    paths = sorted(
        path
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(place).parts)
    )
    return [
        Submission(student, path.stem.encode(errors="replace").decode(), path, _linked(path, place))
        for path in paths
    ] or [Submission(student, "", place, "no notebook was handed in")]


def _linked(path, place) -> str:
    """A link that came with a student's files could lead to another student's, or to solutions."""
    linked = path.parent != place and path.parent.is_symlink()
    return (
        "its folder is not one of its own but a link; hand in the notebook itself" if linked else ""
    )


def _judged(found, known, folder) -> list[Submission]:
    together: dict[tuple, list[Submission]] = {}
    for one in found:
        together.setdefault((_same(one.student), one.assignment), []).append(one)
    judged = []
    for several in together.values():
        first = several[0]
        refused = first.refused
        if len(several) > 1:
            names = " and ".join(
                os.fspath(one.path.relative_to(folder)).encode(errors="replace").decode()
                for one in several
            )
            refused = f"handed in {len(several)} times: {names}; keep one"
        elif first.assignment and first.assignment not in known:
            refused = f"no such assignment: {first.assignment}; there are {', '.join(known)}"
        judged.append(Submission(first.student, first.assignment, first.path, refused))
    return judged


def _same(name) -> str:
    """Names that differ only in case, or in how an accent is written, are one student's."""
    return unicodedata.normalize("NFC", name).casefold()
