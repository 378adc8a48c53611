"""The notebooks that come with dpkit: notebooks/ of a source tree, dpkit/notebooks in an installed
package.
"""

import difflib
from pathlib import Path

from dpkit.reports.parameters import Refused, read_notebook

# kind of notebook: the folder that it lies in, below folder()
KINDS = {"lessons": "", "reproductions": "reproductions", "assignments": "assignments"}
PARTS = (
    "*.ipynb",
    "reproductions/*.ipynb",
    "assignments/*.ipynb",
    "assignments/README.md",
    "presets/*.yaml",
)


def folder() -> Path:
    """Where they lie: the notebooks themselves, and presets/ beside them."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "notebooks"
    return inside if inside.is_dir() else package.parent / "notebooks"


def files() -> list[str]:
    """Every file that comes with dpkit, as a path below folder(): "00_start_here.ipynb"."""
    root = folder()
    found = [path for part in PARTS for path in sorted(root.glob(part))]
    return [path.relative_to(root).as_posix() for path in found]


def titles(kind: str) -> dict[str, str]:
    """name -> title of the notebooks of one kind: "00_start_here": "Start here: ..."."""
    return {path.stem: _title(path) for path in _notebooks_in(KINDS[kind])}


def find(notebook: str | Path) -> Path:
    """The path of a notebook: a file as it is, or one that comes with dpkit, by its name or by its
    place below folder(), as "influence" or "reproductions/influence".

    Raises Refused for a bare name that is neither.

    Examples
    --------
    >>> find("00_start_here").name
    '00_start_here.ipynb'
    """
    path = Path(notebook)
    if path.is_file():
        return path.resolve()
    below = f"{path.as_posix().removesuffix('.ipynb')}.ipynb"
    if below in files():
        return folder() / below
    if path.name != str(path):
        return path.resolve()
    own = {file.stem: file for place in KINDS.values() for file in _notebooks_in(place)}
    stem = path.name.removesuffix(".ipynb")
    if stem in own:
        return own[stem]
    if path.suffix == ".ipynb":  # a file was meant; who reads it says what lies beside it
        return path.resolve()
    close = difflib.get_close_matches(stem, own, n=1)
    raise Refused(
        f"there is no file {path} here and no notebook {stem!r} in dpkit; "
        + (f"did you mean {close[0]!r}? " if close else "")
        + f"it has {', '.join(own) or 'none'}"
    )


def _notebooks_in(place) -> list[Path]:
    return sorted((folder() / place).glob("*.ipynb"))


def _title(path) -> str:
    """The first heading of a notebook, without its #."""
    for cell in read_notebook(path)["cells"]:
        if cell["cell_type"] == "markdown":
            for line in cell["source"].splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
    return ""
