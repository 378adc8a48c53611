"""What lies in a folder of images, and whether its folders are classes: judged by the names inside,
before a file is opened.

Splits, years and sites, and copies of the whole set lie in folders as classes do. They show
themselves: by their names, or as their own folders repeat names that are found elsewhere.
"""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from dpkit.data.folder_tree import Branch
from dpkit.records.set_facts import shorten

_SPLITS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "test": "test",
    "tst": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
    "heldout": "test",
}
# beside a split, one more
_BESIDE = {"extra", "preview", "unlabeled", "unlabelled", "unsup", "sample", "samples", "demo"}
_QUALIFIERS = {
    "set",
    "sets",
    "data",
    "dataset",
    "split",
    "part",
    "images",
    "image",
    "imgs",
    "img",
    "pictures",
    "photos",
}


# ---- are these the classes? ----------------------------------------------------------------------


def fault_of(folder: str | Path, branch: Branch) -> str | None:
    """One sentence on why the folders in this branch are not the classes, and what to give instead;
    None if they may be.

    folder: the set's, to which the paths of branches are added.
    """
    tops = branch.inner
    if len(tops) != 1:
        return (
            _splits(folder, branch, tops)
            or _folds(folder, branch, tops)
            or _copy(folder, branch, tops)
            or _repeated(folder, branch, tops)
        )
    [only] = tops.values()
    if only.files or not only.inner:
        return None
    deeper = None if split_training(folder, only) else fault_of(folder, only)
    if deeper or len(only.inner) == 1:
        return deeper
    what = "splits" if split_training(folder, only) else "classes seem to"
    return (
        f"{Path(folder) / branch.path} holds one folder of images, {only.name}, and the {what} "
        f"lie in that ({shorten(only.inner)}): give {Path(folder) / only.path}"
    )


def split_training(folder: str | Path, branch: Branch) -> Branch | None:
    """The folder of the training split, if the folders in this branch are nothing but splits, with
    one to train on and one to test on; else None.
    """
    tops, kinds = branch.inner, split_kinds(branch.inner)
    training = [tops[name] for name, kind in kinds.items() if kind == "train"]
    if len(training) != 1 or None in kinds.values() or not {"val", "test"} & set(kinds.values()):
        return None
    [train] = training
    return train if len(train.inner) > 1 and not fault_of(folder, train) else None


def mixed_note(branch: Branch) -> tuple:
    """A sentence if the class folders hold splits, which are then read as one set; else none."""
    inner = sorted(
        {name for top in branch.inner.values() for name in top.inner if split_kind(name)}
    )
    if not _several_splits(inner):
        return ()
    return (f"the class folders hold the splits {shorten(inner)}, which are read as one set",)


def _splits(folder, branch, tops):
    kinds = split_kinds(tops)
    known = {kind for kind in kinds.values() if kind}
    if not known:
        return None
    if len(known) == 1 and None in kinds.values() and not _one_split(tops, kinds):
        return None
    order = sorted(tops, key=lambda name: (kinds[name] != "train", not kinds[name]))
    splits = [name for name in tops if kinds[name] is not None]
    beside = [name for name in tops if kinds[name] is None]
    return (
        f"{Path(folder) / branch.path} holds the splits {shorten(splits)}"
        + (f" and beside them {shorten(beside)}" if beside else "")
        + ", not classes: "
        + (
            _give(folder, [tops[name] for name in order])
            or "sort the images of a split into one folder per class, and give that split's folder"
        )
        + _or_classes(branch, tops, "these")
    )


def _folds(folder, branch, tops):
    """Folds or sites that each hold splits of the same classes, or such a set beside something
    else. Classes whose own images lie in splits are none of it.
    """
    training = {name: split_training(folder, top) for name, top in tops.items()}
    sets = [name for name in tops if training[name]]
    counts = Counter(inner for name in sets for inner in training[name].inner)
    alone = len(sets) == 1 and not any(
        split_kind(inner) for name in tops if name not in sets for inner in tops[name].inner
    )
    if not sets or not (alone or max(counts.values()) > 1):
        return None
    places = [tops[name] for name in sets]
    return (
        f"{shorten([Path(folder) / place.path for place in places], 2)} "
        f"{'hold' if len(places) > 1 else 'holds'} splits ({shorten(places[0].inner)}), and one "
        f"set is read at a time: {_give(folder, places)}"
        + _or_classes(branch, tops, f"{shorten(tops, 3)} themselves")
    )


def _one_split(tops, kinds) -> bool:
    """Whether the only folder with a split's name is one. A class may well be called train: a split
    holds classes, and what lies beside it holds some of the same, or nothing.
    """
    ours = [tops[name] for name, kind in kinds.items() if kind]
    others = [tops[name] for name, kind in kinds.items() if kind is None]
    return all(len(top.inner) > 1 and not top.files for top in ours) and any(
        not top.inner or top.inner.keys() & ours[0].inner.keys() for top in others
    )


def split_kinds(names: Collection[str]) -> dict[str, str | None]:
    """For folders that lie in one: "train", "val" or "test" for the name of a split, "" for what
    lies beside one, else None.
    """
    shared = set.intersection(*(_words(name) for name in names)) if len(names) > 1 else set()
    return {name: split_kind(name, shared) for name in names}


def split_kind(name: str, shared: Collection[str] = frozenset()) -> str | None:
    """ "train", "val" or "test" for the name of a split, "" for what lies beside one, else None.
    shared: words of all names.
    """
    rest = "".join(
        sorted(word for word in _words(name) - set(shared) - _QUALIFIERS if len(word) > 1)
    )
    rest = re.sub("(data)?(sets?|splits?|data)$", "", rest)  # trainset, testdata
    return _SPLITS.get(rest, "" if rest in _BESIDE else None)


def _several_splits(names):
    return len({split_kind(name) for name in names} - {None, ""}) > 1


def _words(name):
    return set(re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower()))


def _copy(folder, outer, tops):
    """A folder below whose own folders have names of the classes: the set once more, or a part."""
    for top in tops.values():
        for branch in top.walk():
            names = branch.inner.keys()
            alone = (
                branch is top and not branch.files and names and names <= tops.keys() - {top.name}
            )
            if alone or (len(names) > 1 and names <= tops.keys()):
                classes = [name for name in tops if top.files or name != top.name]
                return (
                    f"{Path(folder) / branch.path} holds folders of the same names as "
                    f"{Path(folder) / outer.path} ({shorten(names)}), so their images would be "
                    "taken for another class: move it elsewhere"
                    + _or_classes(outer, classes, "just those")
                )
    return None


def _repeated(folder, branch, tops):
    """Years, sites or cameras that each hold folders of the same names: those are the classes."""
    groups = {name: _unwrapped(top) for name, top in tops.items() if top.inner and not top.files}
    counts = Counter(inner for group in groups.values() for inner in group.inner)
    repeated = [name for name, count in counts.items() if count > 1]
    if len(counts) < 2 or 2 * len(repeated) < len(counts) or _parts_of_classes(counts, groups):
        return None
    sharing = [group for group in groups.values() if group.inner.keys() & set(repeated)]
    one = _give(folder, sorted(sharing, key=lambda group: -len(group.inner)))
    return (
        f"{shorten([Path(folder) / group.path for group in sharing], 2)} hold folders of the "
        f"same names ({shorten(repeated)}), so those seem to be the classes: "
        f"{one + ', or ' if one else ''}put the images of all into one folder for each, as "
        f"{Path(folder) / branch.path / repeated[0]}"
        + _or_classes(branch, tops, f"{shorten(tops, 3)} themselves")
    )


def _unwrapped(branch):
    while len(branch.inner) == 1 and not branch.files and next(iter(branch.inner.values())).inner:
        [branch] = branch.inner.values()
    return branch


def _parts_of_classes(inner, outer):
    """Whether the inner names are splits, or differ only by numbers, as persons and days do."""
    if _several_splits(inner):
        return True
    stems, above = ({"".join(sorted(_words(name))) for name in names} for names in (inner, outer))
    return len(stems) == 1 and (len(above) > 1 or (above == {""} and stems != {""}))


def _give(folder, branches):
    """ "give one of them, photos/train": the first of the branches that can be given, or None."""
    good = (
        branch
        for branch in map(_unwrapped, branches)
        if split_training(folder, branch)
        or (len(branch.inner) > 1 and not fault_of(folder, branch))
    )
    return next((f"give one of them, {Path(folder) / branch.path}" for branch in good), None)


def _or_classes(branch, names, which):
    """The way out for those who mean these folders; "" where they would be too few, or lie deeper
    than those of the set.
    """
    names = list(names)
    if len(names) < 2 or branch.path:
        return ""
    more = len(names) > 3
    return (
        f"; if {which} are the classes, name them, "
        f"classes=[{', '.join(map(repr, names[:3]))}{', ...' * more}] (--classes "
        f"{' '.join(names[:3])}{' ...' * more})"
    )
