"""Class folders: <folder>/<class>/<any depth>/<image>, in the order of ImageFolder.

So id i here is item i of `torchvision.datasets.ImageFolder(folder)`, or, where the folder holds
splits, of ImageFolder(folder/train).
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dpkit.data.folder_layout import fault_of, mixed_note
from dpkit.data.folder_splits import find_splits
from dpkit.data.folder_tree import ending, read_tree
from dpkit.data.image_files import IMAGE_FOLDERS, Listing, image_endings, read_images, read_pixels
from dpkit.data.imagenet_layouts import class_titles, folder_name
from dpkit.data.labels import alike
from dpkit.records.kept_list import check_paths
from dpkit.records.set_facts import shorten

__all__ = ["Listing", "list_folder", "read_images", "read_pixels"]


def list_folder(
    folder: str | Path,
    classes: Sequence[str] | None = None,
    like: Sequence[str] | None = None,
    split: str = "train",
) -> Listing:
    """Find the image files and their classes; no file is opened. ValueError says what lacks.

    classes: names of the class folders, where it is for the caller to say; all others are left out.
    like: names of the classes of another set, of which this one may lack some.
    split: of a folder of splits: the training one, or any by its folder's or its usual name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"expected a folder with one folder of images per class; there is no folder {folder}"
        )
    tree = read_tree(folder, image_endings())
    known = None if like is None else {folder_name(name) for name in like}
    certain = classes is not None or (known is not None and tree.root.inner.keys() <= known)
    splits = None if certain else find_splits(folder, tree.root)
    if splits is not None:
        listing = _of_splits(folder, tree, splits, split, like)
    elif split == "train" or like is not None:
        listing = _of_classes(folder, tree, classes, like, certain)
    else:
        raise ValueError(
            f'{folder} holds no splits, so it is read as split="train"; got {split!r}: load the '
            "folder of the other split like the training set, load(path, like=train)"
        )
    check_paths(listing.paths)
    counts = np.bincount(listing.labels, minlength=len(listing.class_names))
    single = [name for name, n in zip(listing.class_names, counts, strict=True) if n == 1]
    if single and like is None and listing.split == "train":
        warnings.warn(
            f"{len(single)} of {len(counts)} classes have a single image "
            f"({', '.join(single[:5])}): pruning it would leave the class empty, so add images or "
            "merge classes",
            stacklevel=2,
        )
    return listing


def _of_classes(folder, tree, classes, like, certain):
    """The listing of a folder whose folders are the classes."""
    root = tree.root
    chosen = _chosen(folder, root, classes)
    others = [name for name in root.folders if name not in chosen] if classes is not None else []
    if not root.inner and chosen:
        raise ValueError(_no_image(folder, tree, len(chosen)))
    _check_classes(folder, root, chosen, certain, few=like is not None)
    if not certain:
        _check_alike(folder, chosen)
    if like is not None:
        chosen = [name for name in chosen if name in root.inner]
    paths, labels = _files_of([root.folders[name] for name in chosen])
    notes = tree.notes(loose=root.files, others=others) + mixed_note(root)
    titles = class_titles(folder, chosen, like)
    return Listing(folder, paths, labels, titles, notes + _more_than_theirs(paths))


def _of_splits(folder, tree, splits, asked, like):
    """The listing of one split of a folder. Whichever it is, the classes are the training one's."""
    taken, train = splits.find(folder, asked), splits.train
    if taken is None and like is not None:  # to test on what was trained on would be no test
        raise ValueError(
            f"{folder} holds splits, and goes with a training set: say which one is meant, "
            f'split="test" or the like; or give the folder of one, {folder / train.path}'
        )
    names = list(train.folders)
    _check_classes(folder, train, names, certain=True, few=False)
    _check_alike(folder / train.path, names)
    branch = train if taken is None else taken.branch
    if taken is None:
        paths, labels = _files_of(train.folders.values())
    else:
        number = {name: label for label, name in enumerate(names)}
        paths = list(taken.classes)
        labels = np.array([number[taken.classes[path]] for path in paths], np.int64)
    flat = set(paths)
    loose = [
        path
        for above in (tree.root, branch)
        for path in (os.path.join(above.path, file) for file in above.files)
        if path not in flat
    ]
    left_out = tree.outside(splits.branches(but=branch))
    notes = splits.notes(taken) + left_out.notes(loose) + mixed_note(branch)
    return Listing(
        folder,
        paths,
        labels,
        class_titles(folder, names, like),
        notes + _more_than_theirs(paths),
        "train" if taken is None else taken.name,
    )


def _files_of(branches):
    """(paths (n,), labels (n,)) of all that lies in the class folders."""
    found = [
        (label, os.path.join(below.path, file))
        for label, branch in enumerate(branches)
        for below in sorted(branch.walk(), key=lambda below: below.path)
        for file in below.files
    ]
    return [path for _, path in found], np.array([label for label, _ in found], np.int64)


def _more_than_theirs(paths):
    """A sentence on files that are read and that ImageFolder does not take, or none."""
    more = [path for path in paths if not path.lower().endswith(IMAGE_FOLDERS)]
    if not more:
        return ()
    first = ", of a GIF its first frame," if any(ending(path) == ".gif" for path in more) else ""
    return (
        f"{len(more):,} files are read{first} that torchvision's ImageFolder leaves out "
        f"({shorten(more, 3)}): go by the paths, not by its ids",
    )


def _chosen(folder, root, classes):
    """Names of the class folders in order: all that there are, or those that the caller names."""
    if classes is None:
        return list(root.folders)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(
            f'classes must be a list of names, such as ["cats", "dogs"]; got {classes!r}'
        )
    missing = sorted(set(classes) - set(root.folders))
    if missing:
        raise ValueError(
            f"classes names {shorten(missing)}, and {folder} has no such folder; it has "
            f"{shorten(root.folders) or 'none'}"
        )
    return sorted(set(classes))


def _no_image(folder, tree, number):
    """That there is no image in `number` class folders, and what there is."""
    said = (
        f"{folder} holds no image: its {number} class folders have no file that ends in "
        f"{', '.join(image_endings())}"
    )
    if not tree.unread:
        return said
    return (
        said
        + f", but {len(tree.unread):,} that are not read ({shorten(tree.unread, 3)}): "
        + ("convert them to JPEG")
    )


def _check_alike(folder, names):
    """ValueError for class folders whose names look the same."""
    if pair := alike(names):
        raise ValueError(
            f"the class folders {pair[0]!r} and {pair[1]!r} in {folder} differ only in capital "
            "letters or in their Unicode form, so they seem to be one class: put their images "
            "into one; if they are two, name all classes, classes=[...] (--classes ...)"
        )


def _check_classes(folder, root, chosen, certain, few):
    """ValueError if these are no class folders.   certain: they are meant.   few: one is enough,
    and some may be empty.
    """
    if not chosen:
        raise ValueError(
            f"{folder} must hold one folder of images per class; it holds no folder"
            + (
                f", but {len(root.files)} images directly: sort them into folders"
                if root.files
                else " and no image"
            )
        )
    fault = None if certain else fault_of(folder, root)
    if fault:
        raise ValueError(fault)
    if few:
        return
    if len(chosen) == 1:
        raise ValueError(
            f"{folder} must hold at least two classes to tell apart; it holds one, {chosen[0]!r}: "
            "add the others as folders beside it"
        )
    empty = [name for name in chosen if name not in root.inner]
    if empty:
        raise ValueError(
            f"the class folder {folder / root.path / empty[0]} holds no image: remove it, or put "
            "its images there"
        )
