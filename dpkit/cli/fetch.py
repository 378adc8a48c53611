"""dpkit fetch [NAME] [--from PLACE] [--to DIR]: a published table, whole and checked."""

from argparse import Namespace
from typing import Any

from dpkit.cli._exit import FAILED, PASSED, REFUSED, say, tell, unwritten
from dpkit.cli._stop import NOTHING_WRITTEN


def add_to(commands: Any) -> None:
    fetch = commands.add_parser(
        "fetch",
        help="get a published table: kept ids, scores, accuracies",
        description="Copy a published table from a folder or an address, every file checked "
        "against its SHA-256, and print where the copy is. It holds the kept ids of every row, as "
        "text and as .npy, the scores, and DATA_CARD.md, which says what is what. Without NAME, "
        "list the tables that are there. Exit code 0 if it was done, 1 if the address could not be "
        "reached or the copy not be written, 2 if it was refused. Nothing is written then.",
    )
    fetch.add_argument("name", nargs="?", metavar="NAME", help="of the table")
    fetch.add_argument(
        "--from",
        dest="source",
        metavar="PLACE",
        help="folder, or address (https://...), in which tables lie (default: the copy that is "
        "there already, else $DPKIT_TABLES)",
    )
    fetch.add_argument(
        "--to",
        metavar="DIR",
        help="write the copy to DIR/NAME (default: in the folder of image sets, where dpkit.fetch "
        "finds it)",
    )
    fetch.set_defaults(run=run, if_stopped=NOTHING_WRITTEN)


def run(arguments: Namespace) -> int:
    from dpkit.experiments.fetching import fetch, tables_at

    try:
        if arguments.name is None:
            for name, title in tables_at(arguments.source).items():
                print(f"{name:32}{title}")
        else:
            print(fetch(arguments.name, arguments.source, arguments.to, say=say).folder)
    except ValueError as error:
        return tell(REFUSED, str(error))
    except ConnectionError as error:
        return tell(FAILED, str(error))
    except OSError as error:
        return unwritten(error, arguments.to or "the copy", begin="")
    return PASSED
