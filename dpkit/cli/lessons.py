"""dpkit lessons [--to DIR]: list the notebooks that come with dpkit, or copy them."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from dpkit.cli._exit import PASSED, REFUSED, tell, unwritten
from dpkit.cli._stop import GOES_ON


def add_to(commands: Any) -> None:
    lessons = commands.add_parser(
        "lessons",
        help="list or copy the notebooks that come with dpkit",
        description="List the lessons, reproductions and assignments that come with dpkit; with "
        "--to, copy them "
        "and their presets to a folder. A file there that differs from dpkit's is never "
        "replaced. Exit code 0 if "
        "it was done, 1 if DIR could not be written, 2 if it was refused.",
    )
    lessons.add_argument(
        "--to",
        nargs="?",
        const="notebooks",
        metavar="DIR",
        help="folder to copy them to (default: notebooks)",
    )
    lessons.set_defaults(run=run, if_stopped=GOES_ON)


def run(arguments: Namespace) -> int:
    from dpkit import storage
    from dpkit.reports import Refused, notebooks

    if not notebooks.files():
        return tell(REFUSED, f"there are no notebooks in {notebooks.folder()}; install dpkit again")
    if arguments.to is None:
        _list(notebooks)
        return PASSED
    try:
        source, target = notebooks.folder(), Path(arguments.to)
        storage.check_folder(target)
        there = [name for name in notebooks.files() if (target / name).exists()]
        changed = [name for name in there if not _same(source / name, target / name)]
        if changed:
            return tell(
                REFUSED,
                f"{_few(changed)} in {target} {'differ' if len(changed) > 1 else 'differs'} from "
                "dpkit's; "
                "nothing was written: move your files away, or name another folder by --to",
            )
        missing = [name for name in notebooks.files() if name not in there]
        for name in missing:
            with storage.whole_file(target / name) as file:
                file.write((source / name).read_bytes())
            print(target / name)
    except Refused as refused:
        return tell(REFUSED, *refused.mistakes)
    except OSError as error:
        return unwritten(error, target)
    print(f"{len(missing)} files written, {len(there)} were there already")
    return PASSED


def _list(notebooks) -> None:
    for kind in notebooks.KINDS:
        print(kind)
        for name, title in notebooks.titles(kind).items():
            print(f"  {name:27}{title}")
        print()
    print("copy them:                dpkit lessons --to notebooks")
    print("run one, without a copy:  dpkit report 00_start_here --preset classroom")


def _same(file, other) -> bool:
    return other.is_file() and file.read_bytes() == other.read_bytes()


def _few(names) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
