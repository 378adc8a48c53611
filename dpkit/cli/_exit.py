"""How a command ends: its exit code, and what it tells."""

import sys

# exit codes; 128 + the signal's number after Ctrl-C or SIGTERM
PASSED, FAILED, REFUSED, PARTIAL = (0, 1, 2, 3)


def tell(code: int, *lines: str) -> int:
    for line in lines:
        print(f"dpkit: {line}", file=sys.stderr)
    return code


PIP_NAMES = {"IPython": "ipython", "yaml": "pyyaml"}  # where it is not that of the module


def missing(*modules: str) -> str | None:
    """Which of these modules a command lacks, and how to install them, in one sentence; None if
    all are there.
    """
    from importlib import import_module

    absent, broken = [], []
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:  # it is not there, or something that it needs is not
            absent.append(PIP_NAMES.get(module, module))
            if getattr(error, "name", None) != module:
                broken.append(f"{module} cannot be imported: {error}")
    if not absent:
        return None
    why = f" ({'; '.join(broken)})" if broken else ""
    return (
        f"this command needs packages that are not installed here{why}: pip install "
        f"{' '.join(absent)}"
    )
