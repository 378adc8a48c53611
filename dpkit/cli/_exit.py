"""How a command ends: its exit code, and what it tells."""

import sys

PASSED, FAILED, REFUSED, PARTIAL = (
    0,
    1,
    2,
    3,
)  # exit codes; 128 + the signal's number after Ctrl-C or SIGTERM


def tell(code, *lines) -> int:
    for line in lines:
        print(f"dpkit: {line}", file=sys.stderr)
    return code


def missing_for_class(*packages) -> str | None:
    from importlib import import_module

    for package in packages:
        try:
            import_module(package)
        except ImportError as error:  # it is not there, or something that it needs is not
            extra = "classroom" if package in ("nbgrader", "latex2mathml") else "notebooks"
            why = (
                "is not installed"
                if getattr(error, "name", None) == package
                else f"cannot be imported ({error})"
            )
            return f"this command needs {package}, which {why}: pip install 'dpkit[{extra}]'"
    return None
