"""A folder of splits: what to train on, what there is to test on, and what has no labels.

<folder>/train/<class>/..., <folder>/val/<class>/... A split is offered if its images are of the
training split's classes: in folders of those names, or by a list of labels (imagenet_layouts).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from dpkit.data.folder_layout import split_kind, split_kinds, split_training
from dpkit.data.folder_tree import Branch
from dpkit.data.imagenet_layouts import LABELS_OF_VAL, flat_labels, is_imagenet, kaggle_branch
from dpkit.records.set_facts import shorten


@dataclass(frozen=True)
class Split:
    """One split: its folder, its kind ("val", "test" or ""), the name to load it by, and the class
    of each image by its path.

    lacks: what keeps it, or some of it, from being of use; "" if nothing does.
    """

    branch: Branch
    kind: str
    name: str
    classes: dict
    lacks: str = ""


@dataclass(frozen=True)
class Splits:
    """The training split's folder, and the other splits."""

    train: Branch
    others: list

    def branches(self, *, but: Branch) -> list:
        """The folders of all splits but one."""
        all_ = [self.train, *(split.branch for split in self.others)]
        return [branch for branch in all_ if branch is not but]

    def find(self, folder: Path, asked: str) -> Split | None:
        """The split that is called so, by its folder's name or by its usual one; None for the
        training split. ValueError if there is none, or none with labels.
        """
        if asked in ("train", self.train.name):
            return None
        named = [split for split in self.others if asked == split.branch.name] or [
            split for split in self.others if asked == split.name
        ]
        kind = split_kind(asked)
        if not named and kind == "train":
            return None
        alike = [split for split in self.others if kind and split.kind == kind]
        named = named or alike
        if len(named) != 1:
            names = [self.train.name, *(split.branch.name for split in self.others)]
            several = f", and {shorten([s.branch.name for s in alike])} could be it" * bool(alike)
            raise ValueError(
                f"split must be one of those of {folder}, {shorten(names)}; got {asked!r}{several}"
            )
        [split] = named
        if not split.classes:
            raise ValueError(
                f"the split {split.branch.name} of {folder} {split.lacks}, so nothing can be "
                "tested on it: sort its images into the folders of the training split's classes"
                + f"; or {LABELS_OF_VAL}"
                * (split.kind == "val" and is_imagenet(self.train.inner))
            )
        return split

    def notes(self, taken: Split | None) -> tuple:
        """Which split was taken, and what there is besides it."""
        offered = [
            f'split="{split.name}" ({split.branch.path}, {len(split.classes):,} images)'
            for split in self.others
            if split.classes and split is not taken
        ]
        if taken is None:
            here = f"the training split, {self.train.path}"
        else:
            here = f"the split {taken.branch.path}"
            offered.append(f'split="train" ({self.train.path})')
        told = [f"this is {here}" + f"; there are also {', '.join(offered)}" * bool(offered)]
        for split in self.others:
            if split.lacks and (taken is None or split is taken):
                told.append(f"{split.branch.path} {split.lacks}")
        return tuple(told)


def find_splits(folder: Path, root: Branch) -> Splits | None:
    """The splits of a folder; None if it has none, or if one cannot tell what to train on."""
    base = kaggle_branch(root)
    train = split_training(folder, base)
    if train is None:
        return None
    kinds, others = split_kinds(base.inner), []
    for name, branch in base.inner.items():
        if branch is not train:
            kind = kinds[name] or ""
            alone = kind and list(kinds.values()).count(kind) == 1
            called = kind if alone else name
            others.append(Split(branch, kind, called, *_labelled(folder, branch, train)))
    return Splits(train, others)


def _unwrapped(branch, known):
    """The folder of the classes, where it lies in one more, as val/images/<class>."""
    while len(branch.inner) == 1 and not branch.files and not branch.inner.keys() <= known.keys():
        [only] = branch.inner.values()
        if not only.inner:
            break
        branch = only
    return branch


def _labelled(folder, split, train):
    """({path: class} of the images in a split, what it lacks)."""
    known, inner = train.inner, _unwrapped(split, train.inner).inner
    if inner and inner.keys() <= known.keys():
        classes = {
            os.path.join(below.path, file): name
            for name, branch in inner.items()
            for below in sorted(branch.walk(), key=lambda below: below.path)
            for file in below.files
        }
        return classes, ""
    listed = flat_labels(folder, split) if is_imagenet(known) else {}
    if listed:
        classes = {path: listed[path] for path in sorted(listed) if listed[path] in known}
        lost = sum(len(branch.files) for branch in split.walk()) - len(classes)
        of_others = len(listed) - len(classes)
        lacks = f"has {lost:,} images more, {of_others:,} of other classes and "
        return classes, (lacks + f"{lost - of_others:,} without a label") * bool(lost)
    flat = sum(len(branch.files) for branch in (split, *inner.values()) if not branch.inner)
    lacking = sorted(inner.keys() - known.keys())
    if split.files or (len(inner) == 1 and flat):
        return {}, f"has {flat + len(split.files) * bool(split.inner):,} images without labels"
    return {}, f"has folders that are no classes of {train.name} ({shorten(lacking, 3)})"
