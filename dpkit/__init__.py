"""dpkit: learn dataset pruning and do it. Names load on first use: `import dpkit` is quick."""

import sys
from typing import Any

from lazy_loader import attach_stub

from dpkit._moved import RENAMED, WHERE, Moved

_get, _dir, __all__ = attach_stub(__name__, __file__)
sys.meta_path.insert(0, Moved())


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    name = RENAMED.get(name, name)
    if name in __all__:
        return _get(name)
    from importlib import import_module

    try:
        # rooms, and modules under the names that they had before 0.9
        return import_module(f"dpkit.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"dpkit.{name}":
            raise
        raise AttributeError(f"dpkit has no {name!r}; it has: {', '.join(__all__)}") from None


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dpkit")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*__all__, *WHERE})  # the modules of before too: people's notebooks use them
