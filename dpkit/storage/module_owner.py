"""Whose a module is: dpkit's, a library's, or one's own."""

import builtins
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_STDLIB = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]


def full_names(level: int, base: str, names: Iterable[str], space: dict) -> list[str]:
    """Names of modules that an import statement may load, without a library's own parts."""
    if level:
        base = importlib.util.resolve_name("." * level + base, space.get("__package__"))
    try:
        importlib.import_module(base)  # before that nobody knows whose it is
    except ImportError:
        return [base]
    if is_library(base):
        return [base]
    return [base, *(f"{base}.{name}" for name in names if name != "*")]


def top(module: str | None) -> str:
    return (module or "").partition(".")[0]


def is_ours(module: str | None, space: dict) -> bool:
    """Whether these are the globals of one of dpkit's modules: a name alone can be copied."""
    return top(module) == "dpkit" and vars(sys.modules.get(module or "", builtins)) is space


def is_library(module: str | None) -> bool:
    """Whether a module came with Python or was installed, and so changes with its version alone."""
    found = sys.modules.get(module or "")
    spec = getattr(found, "__spec__", None)
    file = getattr(found, "__file__", None) or (spec.origin if spec and spec.has_location else None)
    if file is None:
        return found is builtins or (spec is not None and spec.origin in ("built-in", "frozen"))
    path = Path(file).resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or any(
        path.is_relative_to(at) for at in _STDLIB
    )


def version(module: str | None) -> str:
    found = sys.modules.get(top(module))
    return "" if top(module) == "dpkit" else str(getattr(found, "__version__", ""))
