"""make doors: a score in a file of dpkit/scorers is imported by its room and by dpkit.

Writes dpkit/scorers/__init__.py from the files of the room, and the names of scorers and selectors
in dpkit/__init__.pyi from their doors. tests/test_rooms.py says when that is due.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dpkit"


def scorers() -> list[str]:
    """One score per file, of the file's name."""
    return sorted(path.stem for path in (PACKAGE / "scorers").glob("[!_]*.py"))


def listed(door: Path) -> list[str]:
    """The names in a door's __all__."""
    lines = ast.parse(door.read_text(encoding="utf-8")).body
    return next(ast.literal_eval(one.value) for one in lines if isinstance(one, ast.Assign))


def write() -> None:
    door, stub = PACKAGE / "scorers" / "__init__.py", PACKAGE / "__init__.pyi"
    head = door.read_text(encoding="utf-8").partition("\nfrom ")[0]
    imports = "".join(f"from dpkit.scorers.{name} import {name}\n" for name in scorers())
    door.write_text(f"{head}\n{imports}\n__all__ = {scorers()!r}\n", encoding="utf-8")
    rooms = {room: listed(PACKAGE / room / "__init__.py") for room in ("scorers", "selectors")}
    lines = stub.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith(("from .scorers ", "from .selectors "))]
    for room, names in rooms.items():
        lines[:0] = [f"from .{room} import {name} as {name}" for name in names]
    stub.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
