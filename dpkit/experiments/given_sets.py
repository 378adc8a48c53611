"""The sets of a trial where they are no named ones: a folder, an .npz or a table by its path, and
what is tested on, a set, a path, a split or a part held out. All become two ImageSets.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpkit.data.dataset_objects import from_dataset, is_dataset
from dpkit.data.image_set import ImageSet
from dpkit.data.label_tables import is_table_file
from dpkit.data.loading import load, print_once
from dpkit.data.named_sets import is_folder
from dpkit.data.splits import hold_out

TEST = "an ImageSet, a path, the name of a split, or a fraction to hold out as in 0.2"


def as_given(value: Any, like: Any = None) -> Any:
    """A setting as trials hold it: paths as texts, dataset objects as the ImageSet they make.

    like: the training set, if it is known, of a test set.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, dict)) or not is_dataset(value):  # lists mean several
        return value
    return from_dataset(value, device="cpu", like=like if isinstance(like, ImageSet) else None)


def check_sets(dataset: Any, test: Any, size: int | None = None) -> None:
    """ValueError unless `test` is what `dataset` needs, as far as can be seen without reading a
    file.
    """
    if isinstance(test, (int, float)) and not 0 < test < 1:
        raise ValueError(f"test must be {TEST}; got {test!r}")
    if isinstance(dataset, str):
        if isinstance(test, ImageSet):
            raise ValueError(
                f"test goes with a set given as an ImageSet, and the name {dataset!r} brings its "
                f"own test set: leave test out, or give dataset=load({dataset!r})"
            )
        return
    if size is not None:
        raise ValueError(
            f"size must be left out, as the set {dataset.name} is loaded already: load it with that"
        )
    if test is None:
        raise ValueError(
            f"the set {dataset.name} is given as an ImageSet, and accuracy is measured on a test "
            "set: give one too, test=from_arrays(images, labels, like=dataset) or test=load(path, "
            "like=dataset), or a fraction to hold out, test=0.2"
        )
    for what, images in (("dataset", dataset), ("test", test)):
        if isinstance(images, ImageSet) and len(images) == 0:
            raise ValueError(f"{what} must hold at least one image; {images.name} holds none")
    if isinstance(test, ImageSet):
        _check_alike(dataset, test)


def _check_alike(dataset, test):
    test.aligned(dataset.facts, "test")
    if dataset.images.shape[2:] != test.images.shape[2:]:
        trained, tested = ("x".join(map(str, s.images.shape[:1:-1])) for s in (dataset, test))
        raise ValueError(
            f"test must have images as large as those of {dataset.name}, {trained} pixels; got "
            f"{tested}: load it with like=dataset"
        )


def must_be_loaded(dataset: Any, test: Any, size: int | None = None) -> bool:
    """Whether bring_sets is to be called before the sets can travel: all but ImageSets, and names
    that bring their own test set.
    """
    if size is not None or not isinstance(test, ImageSet | None):
        return True
    return isinstance(dataset, str) and (is_table_file(dataset) or is_folder(dataset))


def bring_sets(
    dataset: Any, test: Any = None, size: int | None = None
) -> tuple[ImageSet, ImageSet]:
    """(training images, test images), on the CPU; ValueError for what cannot be read, or is no set.

    test: None is the set's own split "test". Always with the training set's classes and
    normalisation.
    """
    images = load(dataset, size=size, device="cpu") if isinstance(dataset, str) else dataset
    if isinstance(test, ImageSet):
        return images, test
    if isinstance(test, float):
        images, held_out = hold_out(images, test)
        held_out = replace(held_out, name=f"{test:g} of {images.name}, held out")
        print_once(held_out.describe())
        return images, held_out
    if test is not None:
        found = _from_path_or_split(images, dataset, test)
    else:
        try:
            found = _split(images, _source_of(images, dataset), "test")
        except ValueError as error:
            raise ValueError(
                f"{images.name} brings no test set of its own ({error}): give test, {TEST}"
            ) from None
    _check_alike(images, found)
    return images, found


def _from_path_or_split(images, dataset, test) -> ImageSet:
    source = _source_of(images, dataset)
    path = Path(test)
    inside = Path(source) / test if source is not None else path
    if path.exists() and not path.is_absolute() and inside.exists() and not inside.samefile(path):
        raise ValueError(
            f"test {test!r} may be {inside} or {path.resolve()}: write one of these paths"
        )
    if path.exists() or "/" in test or os.sep in test:
        found = load(test, like=images, device="cpu")
        _check_apart(images, found)
        return found
    if source is None:
        raise ValueError(
            f"test must be {TEST}; got {test!r}, and there is no such path, nor has {images.name} "
            "splits"
        )
    return _split(images, source, test)


def _source_of(images, dataset):
    return dataset if isinstance(dataset, str) else images.source


def _split(images, source, split) -> ImageSet:
    """Another split of what the training set was read from, read as that was."""
    if source is None:
        raise ValueError("it is of arrays")
    found = load(source, split=split, like=images, device="cpu", **images.read_with)
    _check_apart(images, found)
    return replace(found, name=f"{split} of {images.name}")


def _check_apart(images, test):
    """ValueError if the network would be tested on nothing but what it was trained on."""
    seen, tested = ({hash(row.tobytes()) for row in _rows(some)} for some in (images, test))
    if tested <= seen:
        raise ValueError(
            f"all {len(test):,} images of {test.name} are training images of {images.name} as "
            "well, so nothing would be learned from a test on them: name others, or hold a part "
            "out, test=0.2"
        )


def _rows(images):
    return images.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
