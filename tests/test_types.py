"""Every public function of dpkit says what it takes and returns; `make lint` has mypy check it."""

import ast
from pathlib import Path

import pytest

import dpkit

PACKAGE = Path(dpkit.__file__).parent


def public_functions(body: list, name: str = ""):
    """(name, node) of the functions that others call, methods of public classes included."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{name}{node.name}.")
        if isinstance(node, ast.FunctionDef) and (node.name[0] != "_" or node.name[:2] == "__"):
            yield name + node.name, node


def unannotated(source: str) -> list[str]:
    """ "load(name)", "load -> ?": what has no type, parameter or result, in a module's text."""
    found = []
    for name, node in public_functions(ast.parse(source).body):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        for one in filter(None, every):
            if one.annotation is None and one.arg not in ("self", "cls"):
                found.append(f"{name}({one.arg})")
        if node.returns is None:
            found.append(f"{name} -> ?")
    return found


def test_what_has_no_type_is_seen():
    source = "class A:\n def f(self, a, *, b: int): pass\ndef _g(a): pass\ndef h() -> None: pass"
    assert unannotated(source) == ["A.f(a)", "A.f -> ?"]


@pytest.mark.parametrize("room", sorted({path.parent for path in PACKAGE.rglob("*.py")}))
def test_public_functions_have_types(room):
    found = {path.name: unannotated(path.read_text("utf-8")) for path in room.glob("*.py")}
    assert not {name: some for name, some in found.items() if some}
