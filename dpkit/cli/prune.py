"""dpkit prune DATA --ratio 0.9 --out DIR: choose which images of a set to keep."""

import argparse
from argparse import Namespace
from typing import Any

from dpkit.cli._exit import (
    PASSED,
    REFUSED,
    add_loading,
    out_of_memory,
    print_warnings,
    say,
    tell,
    unwritten,
)
from dpkit.cli._stop import GOES_ON
from dpkit.nets.catalog import NETWORKS


class _MethodNames(str):
    """A help text that is made when it is shown: METHODS takes seconds to load."""

    def __mod__(self, values):
        from dpkit.methods.catalog import METHODS

        return f"{', '.join(METHODS)} (default: dual+beta; with --scores, keep the highest)"


def add_to(commands: Any) -> None:
    prune = commands.add_parser(
        "prune",
        help="choose which images of a set to keep",
        description="Watch a small network learn the set (once: the record is kept and used "
        "again), score every image, and "
        "write kept.txt, scores, a picture and a manifest. Exit code 0 if it was done, 2 if it "
        "was refused. "
        "Stopped at any moment, the same command goes on.",
    )
    prune.add_argument(
        "data",
        metavar="DATA",
        help="digits, fashion-mnist, cifar10, cifar100; an .npz with images and labels; "
        "a folder with one folder of images per class, or with splits of such (train/, val/); or a "
        "table of labels beside its images, .csv, .tsv, .jsonl or .parquet",
    )
    prune.add_argument(
        "--ratio", type=float, required=True, help="the fraction to REMOVE, from 0 up to 1"
    )
    prune.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    prune.add_argument("--method", metavar="NAME", help=_MethodNames("%"))
    add_loading(prune)
    prune.add_argument(
        "--dynamics",
        metavar="FOLDER",
        help="prune from training dynamics recorded elsewhere; trains "
        "nothing, so --size (but for --skip-broken) and the training's options play no part",
    )
    prune.add_argument(
        "--scores",
        metavar="FILE",
        help="prune by scores made elsewhere, higher = more worth keeping: an .npy of a float per "
        "sample, or a .csv with the columns id or path, and score; trains nothing",
    )
    prune.add_argument(
        "--c-d", type=float, metavar="C", help="dual+beta: when easy images come in (default: 4)"
    )
    prune.add_argument(
        "--window",
        type=int,
        metavar="J",
        help="dual, dual+beta, dyn_unc, tdds: epochs in a window (10)",
    )
    prune.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_setting,
        dest="settings",
        help="any other setting of the method, e.g. --set per_class=balanced, or for ccs --set "
        "cutoff=0.2",
    )
    prune.add_argument(
        "--epochs", type=int, default=30, metavar="T", help="epochs to watch (default: 30)"
    )
    prune.add_argument(
        "--model",
        default="small_cnn",
        metavar="NAME",
        help="network to watch (default: small_cnn): "
        + "; ".join(f"{name}, {line}" for name, line in NETWORKS.items()),
    )
    prune.add_argument(
        "--exits",
        type=int,
        nargs="+",
        default=[1],
        metavar="STAGE",
        help="eeprune: stages of the network after which it has an early exit, counted from 0 "
        "(default: 1)",
    )
    prune.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="images per step (default: what suits the network; 128)",
    )
    prune.add_argument(
        "--lr",
        type=float,
        metavar="RATE",
        help="learning rate at the start (default: what suits the network; small_cnn 0.1)",
    )
    prune.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of training and drawing (default: 0)"
    )
    prune.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu or cuda (default: auto)"
    )
    prune.add_argument("--overwrite", action="store_true", help="replace another run in DIR")
    prune.set_defaults(run=run, if_stopped=GOES_ON)


def _setting(text):
    """("cutoff", 0.2) of "cutoff=0.2"; what is no number, true, false or none is a word."""
    import ast

    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, e.g. cutoff=0.2; got {text!r}")
    plain = {"true": True, "false": False, "none": None}
    try:
        return name, plain[value.lower()] if value.lower() in plain else ast.literal_eval(value)
    except (TypeError, ValueError, SyntaxError):
        return name, value


def run(arguments: Namespace) -> int:
    from dpkit.experiments.pruning import prune
    from dpkit.training.recipe import recipe_for

    named = [("c_d", arguments.c_d), ("window", arguments.window)]
    given = [(name, value) for name, value in named if value is not None] + arguments.settings
    options = dict(given)
    if len(options) < len(given):
        return tell(
            REFUSED, f"every setting is named once; got {', '.join(name for name, _ in given)}"
        )
    try:
        with print_warnings():
            own = {"batch_size": arguments.batch_size, "lr": arguments.lr}
            recipe = recipe_for(
                arguments.model,
                epochs=arguments.epochs,
                **{k: v for k, v in own.items() if v is not None},
            )
            done = prune(
                arguments.data,
                arguments.out,
                method=arguments.method,
                prune_ratio=arguments.ratio,
                dynamics=arguments.dynamics,
                scores=arguments.scores,
                seed=arguments.seed,
                epochs=arguments.epochs,
                recipe=recipe,
                model=arguments.model,
                size=arguments.size,
                mirror=arguments.mirror,
                exits=arguments.exits,
                options=options,
                overwrite=arguments.overwrite,
                device=arguments.device,
                say=say,
                classes=arguments.classes,
                max_pixels=arguments.max_pixels,
                skip_broken=arguments.skip_broken,
                image_column=arguments.image_column,
                label_column=arguments.label_column,
                split_column=arguments.split_column,
                images=arguments.images,
            )
    except (ValueError, FileNotFoundError, NotADirectoryError, FloatingPointError) as error:
        return tell(REFUSED, str(error))
    except OSError as error:
        return unwritten(error, arguments.out, begin="")
    except (RuntimeError, MemoryError) as error:
        return out_of_memory(error)
    print(f"{arguments.out}: {done['keep']:,} of {done['num_samples']:,} samples are kept")
    return PASSED
