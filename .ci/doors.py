"""make doors: what the files of dpkit/scorers and dpkit/selectors define are names of dpkit.

Writes the doors of both rooms and these names in dpkit/__init__.pyi, from the public functions of
the rooms' public files. tests/test_rooms.py says when that is due.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dpkit"
ROOMS = ("scorers", "selectors")


def public_functions(room: str) -> dict[str, str]:
    """{name: the file's stem}, by name."""
    found = {}
    for path in (PACKAGE / room).glob("[!_]*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name] = path.stem
    return dict(sorted(found.items()))


def write() -> None:
    stub = PACKAGE / "__init__.pyi"
    lines = stub.read_text(encoding="utf-8").splitlines(keepends=True)
    for room in ROOMS:
        functions = public_functions(room)
        door = PACKAGE / room / "__init__.py"
        head = door.read_text(encoding="utf-8").partition("\nfrom ")[0]
        imports = [f"from dpkit.{room}.{file} import {name}\n" for name, file in functions.items()]
        door.write_text(f"{head}\n{''.join(imports)}\n__all__ = {[*functions]}\n", encoding="utf-8")
        lines = [line for line in lines if not line.startswith(f"from .{room} ")]
        lines[:0] = [f"from .{room} import {name} as {name}\n" for name in functions]
    stub.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write()
