"""A study's two parts of a set: what is trained on, and what no training sees."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dpkit.data.image_set import ImageSet
from dpkit.data.loading import load
from dpkit.data.named_sets import is_folder
from dpkit.data.splits import hold_out
from dpkit.experiments.given_sets import bring_sets
from dpkit.experiments.pruning_source import reading

LEAST_HELD_OUT = 20  # images: of fewer an accuracy moves by more than 5 points with each


@dataclass(frozen=True, eq=False)
class Parts:
    """What a study is made of.

    whole : the set that is to be pruned; row i is image i.
    train : what the sweep trains on: the set, or what is left of it.
    held_out : what it is tested on.
    own_test : whether that is a set of its own, so that train is the whole set.
    """

    whole: ImageSet
    train: ImageSet
    held_out: ImageSet
    own_test: bool

    def describe(self) -> str:
        """The parts in a sentence."""
        n, held_out = len(self.whole), len(self.held_out)
        if self.own_test:
            return f"trained on {n:,} images, tested on {held_out:,} of a test set of their own"
        return (
            f"held out: {held_out:,} of {n:,} images ({100 * held_out / n:.0f} %), drawn in every "
            f"class; trained on the other {len(self.train):,}"
        )


def from_anywhere(name: str, *, beside: str | None = None) -> str:
    """The name of a set, or of a split, as it is; a path such that it leads there from any folder.

    beside : the set, whose split of that name it may be.
    """
    if beside is not None and (Path(beside) / name).exists():
        return name
    return str(Path(name).resolve()) if is_folder(name) or Path(name).is_file() else name


# parameters of the notebook -> keywords of dpkit.load
LOADING = {name: name for name in "size classes skip_broken max_pixels".split()}
LOADING |= {name: name for name in "image_column label_column split_column".split()}
LOADING |= {"image_folder": "images"}


def loading_of(parameters: dict) -> dict:
    """What of the notebook's parameters says how dpkit.load reads the set, as its keywords."""
    given = {keyword: parameters[name] for name, keyword in LOADING.items()}
    return {keyword: value for keyword, value in given.items() if value}


def load_parts(
    data: str | Path,
    *,
    test: str | Path = "",
    fraction: float = 0.2,
    loading: dict | None = None,
    mirror: bool = False,
    num_samples: int = 0,
    seed: int = 0,
    device: str | torch.device = "auto",
    say: Callable[[str], object] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Parts:
    """The set, and what of it is held out.

    Parameters
    ----------
    data, loading : as dpkit.load takes it, and other keywords of that, such as {"size": 64}.
    test : a folder or file with test images of one's own, or the name of a split; "": the set's own
        test split where it has one with labels, else a fraction is held out.
    fraction : that is held out, in (0, 1).
    mirror : mirror images left-right at random while training.
    num_samples : only the first so many images (0: all).
    seed : of the draw.
    device : "auto" is a GPU if there is one, else the CPU.
    say : called with what the set is.
    on_progress : as dpkit.load takes it; default: lines to `say`.

    Raises
    ------
    ValueError for a set that no study can be made of; and what dpkit.load raises.
    """
    if seed < 0:
        raise ValueError(f"seed must be a whole number from 0; got {seed}")
    on_progress = on_progress or (reading(say) if say else None)
    whole = load(data, **loading or {}, device=device, on_progress=on_progress, say=say)
    whole = replace(whole, mirror=True) if mirror else whole
    whole = whole.first(num_samples) if num_samples else whole
    _check_whole(whole)
    held_out = _own_test(whole, str(test))
    if held_out is None:
        return _held_out_of(whole, fraction, seed)
    if len(held_out) < LEAST_HELD_OUT:
        raise ValueError(
            f"accuracies on {len(held_out)} test images say nothing: bring at least "
            f"{LEAST_HELD_OUT}, or leave them out, and images of the set are held out"
        )
    return Parts(whole, whole, held_out.to(whole.device), own_test=True)


def _own_test(whole, test) -> ImageSet | None:
    """The test set that is meant, or the set's own; None if it has none of use."""
    if test:
        return bring_sets(whole, test)[1]
    try:
        return bring_sets(whole)[1]
    except ValueError:  # what a split lacks stands in the notes of the set
        return None


def _check_whole(whole):
    if len(whole.labels.unique()) < 2:
        raise ValueError(
            f"{whole.name} must hold at least two classes to tell apart; all {len(whole):,} labels "
            "are the same: nothing can be learned"
        )


def _held_out_of(whole, fraction, seed) -> Parts:
    train, held_out = hold_out(whole, fraction, seed=seed)
    if len(held_out) < LEAST_HELD_OUT:
        raise ValueError(
            f"{whole.name} is too small to hold images out: of {len(whole):,} they would be "
            f"{len(held_out)}, and an accuracy on fewer than {LEAST_HELD_OUT} says nothing: bring "
            f"at least {int(np.ceil(LEAST_HELD_OUT / fraction)):,} images, or test images of their "
            "own (--test)"
        )
    return Parts(whole, train, held_out, own_test=False)
