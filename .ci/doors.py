"""make doors: what the files of scorers, selectors and checks export, and every network, is at its
door.

Writes the doors of the three, the names of scorers and selectors in dpkit/__init__.pyi, and the
networks of nets/catalog.py in dpkit/nets/__init__.pyi. tests/test_rooms.py says when that is due.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dpkit"
CHECKS = "teaching/checks"


def value_of(file: Path, name: str):
    """The literal that a module gives to a name; None if it gives none."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def exported(room: str) -> dict[str, str]:
    """{name: the file's stem}, by name: the functions in a file's __all__, or its public ones."""
    found = {}
    for path in (PACKAGE / room).glob("[!_]*.py"):
        if path.name == "expect.py":  # for assignments, asked for by its own name
            continue
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        chosen = value_of(path, "__all__") or [name for name in names if name[0] != "_"]
        found |= {name: path.stem for name in names if name in chosen}
    return dict(sorted(found.items()))


def networks() -> list[str]:
    return list(value_of(PACKAGE / "nets" / "catalog.py", "NETWORKS"))


def put(stub: Path, files: dict[str, str]) -> None:
    """Have a stub import these names, {name: file}."""
    lines = stub.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.rpartition(" as ")[2].strip() not in files]
    new = [f"from .{file} import {name} as {name}\n" for name, file in files.items()]
    stub.write_text("".join(new + kept), encoding="utf-8")


def write_door(room: str, files: dict[str, str]) -> None:
    door, module = PACKAGE / room / "__init__.py", f"dpkit/{room}".replace("/", ".")
    head = door.read_text(encoding="utf-8").partition("\nfrom ")[0]
    imports = "".join(f"from {module}.{file} import {name}\n" for name, file in files.items())
    door.write_text(f"{head}\n{imports}\n__all__ = {[*files]}\n", encoding="utf-8")


def write() -> None:
    for room in ("scorers", "selectors"):
        write_door(room, exported(room))
        put(PACKAGE / "__init__.pyi", dict.fromkeys(exported(room), room))
    write_door(CHECKS, {"Verdict": "_answer"} | exported(CHECKS))
    builders = exported("nets")
    put(PACKAGE / "nets" / "__init__.pyi", {name: builders[name] for name in networks()})


if __name__ == "__main__":
    write()
