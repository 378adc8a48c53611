"""What a function's byte code reads by name."""

import dis
from collections.abc import Iterator
from types import CodeType


def names_read(code: CodeType) -> tuple[set, set]:
    """(names of globals, names that may be attributes) in code and functions made inside it."""
    found, attributes = set(), set(code.co_names)
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            found.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more = names_read(inner)
            found, attributes = found | more[0], attributes | more[1]
    return found, attributes


def imports_in(code: CodeType) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(level, module, names) of every `from ...module import names` inside code."""
    steps = list(dis.get_instructions(code))
    for k, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":  # what is on the stack was loaded just before
            yield steps[k - 2].argval, step.argval, steps[k - 1].argval or ()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from imports_in(inner)
