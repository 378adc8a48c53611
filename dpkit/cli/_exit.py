"""What commands share: how they end, what they say on the way, and an option of two of them."""

import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# exit codes; after a signal it is 128 + its number
PASSED, FAILED, REFUSED, PARTIAL = 0, 1, 2, 3


def tell(code: int, *lines: str) -> int:
    """The exit code; lines are printed to stderr, as dpkit's."""
    for line in lines:
        say(f"dpkit: {line}")
    return code


def unwritten(error: OSError, where: Any, begin: str = "could not write ") -> int:
    """The exit code where results could not be written to the error's file, or to `where`.

    begin: of the sentence for what is neither a place refused nor a passing fault of the disk.
    """
    from dpkit import storage

    if isinstance(error, (FileExistsError, storage.UnusablePlace)):
        return tell(REFUSED, str(error))
    if not isinstance(error, storage.DiskFault):  # which names its place
        error = storage.disk_fault(error, error.filename or where) or error
    if isinstance(error, storage.DiskFault):
        return tell(FAILED, error.strerror)
    return tell(FAILED, f"{begin}{error.filename or where}: {error.strerror or error}")


def out_of_memory(error: Exception) -> int:
    """The exit code where the memory did not suffice; another error is raised again."""
    from dpkit.training.faults import memory_ran_out

    if not memory_ran_out(error):
        raise error
    return tell(
        FAILED,
        f"the memory did not suffice ({str(error).split('. ')[0]}): take smaller images (--size), "
        "fewer at a time (--batch-size) or another device (--device cpu)",
    )


def say(line: object) -> None:
    """Print to stderr at once: what a command says on its way."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def print_warnings() -> Iterator[None]:
    """Warnings within are said in a line, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where, **more: say(f"careful: {message}")
        yield


def add_loading(parser: ArgumentParser) -> None:
    """The options of the commands that read a set of images: how it is read."""
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="resize images to PIXELS x PIXELS; for files of mixed sizes",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="folders of DATA that are its classes, where dpkit cannot "
        "tell, or where others lie beside them (default: all)",
    )
    for option, what in {
        "--image-column": "of a table, the column with the files (default: guessed, and said)",
        "--label-column": "of a table, the column with the classes",
        "--split-column": "of a table, the column with the splits, of which the training split is "
        "pruned",
    }.items():
        parser.add_argument(option, metavar="NAME", help=what)
    parser.add_argument(
        "--images", metavar="FOLDER", help="of a table, where its images lie (default: beside it)"
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave out image files that cannot be read, and say which; ids then count the others",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="the most pixels that an image file may have (default: 178,956,970, Pillow's limit)",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="mirror images left-right while training; not for text or digits",
    )


def add_source(parser: ArgumentParser) -> None:
    """The option --source of the commands for assignments."""
    parser.add_argument(
        "--source",
        metavar="DIR",
        help="folder of the source notebooks (default: notebooks/assignments, or, where there is "
        "no such folder, those that come with dpkit)",
    )


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
