"""dpkit export PRUNED FORMAT [--to PLACE]: take out what dpkit prune chose."""

from argparse import Namespace, RawDescriptionHelpFormatter
from typing import Any

from dpkit.cli._exit import PASSED, REFUSED, say, tell, unwritten
from dpkit.cli._stop import NOTHING_WRITTEN


class _Formats(str):
    """A text that is made when it is shown: the table takes a while to load."""

    def __mod__(self, values):
        from dpkit.experiments.export_formats import FORMATS

        width = max(map(len, FORMATS))
        return "formats:\n" + "\n".join(
            f"  {name:{width}}  {form.about}" for name, form in FORMATS.items()
        )


def add_to(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="take out what prune chose: links, copies, lists, arrays",
        description="Write the samples that dpkit prune kept, or removed, in the form that a "
        "training needs.\nExit code 0 if it was done, 2 if it was refused. Nothing is written "
        "then.",
        epilog=_Formats("%(prog)s"),
        formatter_class=RawDescriptionHelpFormatter,
    )
    export.add_argument("pruned", metavar="PRUNED", help="the folder that dpkit prune wrote")
    export.add_argument("format", metavar="FORMAT", help="one of those below")
    export.add_argument(
        "--to",
        metavar="PLACE",
        help="folder or file to write; of a file its folder will do (default: beside PRUNED)",
    )
    export.add_argument(
        "--which", default="kept", metavar="WHICH", help="kept, removed or all (default: kept)"
    )
    export.add_argument(
        "--links",
        metavar="KIND",
        help="of folder and huggingface: links (to absolute paths; the default), relative-links, "
        "hard-links or copies",
    )
    export.add_argument(
        "--copy",
        dest="links",
        action="store_const",
        const="copies",
        help="the same as --links copies",
    )
    export.add_argument(
        "--relative", action="store_true", help="in lists: paths from the set's folder on"
    )
    export.add_argument(
        "--data", metavar="PLACE", help="where the images lie now, if they were moved"
    )
    export.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="of npz: resize to PIXELS x PIXELS (default: as they were pruned)",
    )
    export.add_argument("--overwrite", action="store_true", help="replace what lies there")
    export.set_defaults(run=run, if_stopped=NOTHING_WRITTEN)


def run(arguments: Namespace) -> int:
    from dpkit.experiments.exporting import export

    options = vars(arguments).copy()
    for name in ("run", "if_stopped"):
        del options[name]
    try:
        print(export(**options, say=say))
    except ValueError as error:
        return tell(REFUSED, str(error))
    except OSError as error:
        return unwritten(error, arguments.to or arguments.pruned, begin="")
    return PASSED
