"""What lies in a folder of images, and whether its folders are classes: judged by the names inside,
before a file is opened.

Splits, years and sites, and copies of the whole set lie in folders as classes do. They show
themselves: by their names, or as their own folders repeat names that are found elsewhere.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dpkit.records.set_facts import shorten

_SYSTEM = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "lost+found",
    "system volume information",
}
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


@dataclass
class Branch:
    """One folder: path from the set's folder, image files' names, folders by name, all in order."""

    path: str
    files: list = field(default_factory=list)
    folders: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def inner(self) -> dict:
        """The folders that hold an image, at any depth."""
        return {
            name: branch for name, branch in self.folders.items() if branch.files or branch.inner
        }

    def walk(self) -> "Iterator[Branch]":
        yield self
        for branch in self.folders.values():
            yield from branch.walk()


@dataclass
class Walk:
    """The tree of a folder and what was left out of it: paths of hidden folders, of links back, of
    files that are no images.

    dropped: whether an image was left out that torchvision's ImageFolder would take.
    """

    root: Branch
    hidden: list = field(default_factory=list)
    links: list = field(default_factory=list)
    others: list = field(default_factory=list)
    dropped: bool = False

    def notes(self, loose: Sequence[str] = (), others: Sequence[str] = ()) -> tuple:
        """A sentence for each kind of thing that was left out, images outside the class folders and
        other folders too.
        """
        told = [
            (loose, "images outside the class folders"),
            (others, "folders that are not named as classes"),
            (self.hidden, "hidden files and folders, or a system's own"),
            (self.links, "links to what is in the set already"),
            (self.others, "files that are no images"),
        ]
        found = [
            f"left out: {len(paths):,} {what} ({shorten(paths, 3)})"
            for paths, what in told
            if paths
        ]
        if self.dropped or others:
            found.append(
                "so ids are not those of torchvision's ImageFolder, which takes them: go by the "
                "paths"
            )
        return tuple(found)


def read_tree(folder: str | Path, endings: tuple[str, ...]) -> Walk:
    """Everything in the folder, links followed as ImageFolder does, but not those into itself."""
    found = Walk(Branch(""))
    root = os.path.realpath(folder)
    _read(Path(folder), found.root, found, endings, root, {root})
    return found


def _read(folder, branch, found, endings, root, above):
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, is_image = os.path.join(branch.path, entry.name), entry.name.lower().endswith(endings)
        real = os.path.realpath(entry.path) if entry.is_symlink() else None
        if _hidden(entry.name):
            if entry.is_dir() or is_image:
                found.hidden.append(path)
                found.dropped |= is_image or any(
                    name.lower().endswith(endings)
                    for _, _, names in os.walk(entry.path)
                    for name in names
                )
        elif is_image and real and not os.path.exists(real):
            raise ValueError(
                f"{entry.path} is a link to a file that is not there: bring the file back, or "
                "remove the link"
            )
        elif real and (_holds_any(real, above) or _read_anyway(real, root)):
            if entry.is_dir() or is_image:
                found.links.append(path)
                found.dropped = True
        elif entry.is_dir():
            branch.folders[entry.name] = Branch(path)
            _read(
                Path(entry.path),
                branch.folders[entry.name],
                found,
                endings,
                root,
                above | ({real} if real else set()),
            )
        elif is_image:
            branch.files.append(entry.name)
        else:
            found.others.append(path)


def _hidden(name):
    return name.startswith(".") or name.lower() in _SYSTEM


def _holds_any(real, above):
    """Whether a folder on the way here lies at `real` or below: following the link never ends."""
    return any(os.path.commonpath([real, folder]) == real for folder in above)


def _read_anyway(real, root):
    """Whether what lies at `real` is in the set by itself: not in a hidden folder, where some keep
    what they link to.
    """
    inside = os.path.relpath(real, root).split(os.sep)
    return inside[0] != os.pardir and not any(_hidden(part) for part in inside)


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
            or _copy(folder, branch, tops)
            or _repeated(folder, branch, tops)
        )
    [only] = tops.values()
    if only.files or not only.inner:
        return None
    deeper = fault_of(folder, only)
    if deeper or len(only.inner) == 1:
        return deeper
    return (
        f"{Path(folder) / branch.path} holds one folder of images, {only.name}, and the classes "
        f"seem to lie in that ({shorten(only.inner)}): give {Path(folder) / only.path}"
    )


def mixed_note(branch: Branch) -> tuple:
    """A sentence if the class folders hold splits, which are then read as one set; else none."""
    inner = sorted({name for top in branch.inner.values() for name in top.inner if _split_of(name)})
    if not _several_splits(inner):
        return ()
    return (f"the class folders hold the splits {shorten(inner)}, which are read as one set",)


def _splits(folder, branch, tops):
    shared = set.intersection(*(_words(name) for name in tops)) if tops else set()
    kinds = {name: _split_of(name, shared if len(tops) > 1 else set()) for name in tops}
    known = {kind for kind in kinds.values() if kind}
    if not known:
        return None
    if len(known) == 1 and None in kinds.values() and not _one_split(tops, kinds):
        return None
    order = sorted(tops, key=lambda name: (kinds[name] != "train", not kinds[name]))
    return (
        f"{Path(folder) / branch.path} holds the splits {shorten(tops)}, not classes: "
        + (
            _give(folder, [tops[name] for name in order])
            or "sort the images of a split into one folder per class, and give that split's folder"
        )
        + _or_classes(branch, tops, "these")
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


def _split_of(name, shared=frozenset()):
    """ "train", "val" or "test" for the name of a split, "" for what lies beside one, else None.
    shared: words of all names.
    """
    rest = "".join(sorted(word for word in _words(name) - shared - _QUALIFIERS if len(word) > 1))
    rest = re.sub("(data)?(sets?|splits?|data)$", "", rest)  # trainset, testdata
    return _SPLITS.get(rest, "" if rest in _BESIDE else None)


def _several_splits(names):
    return len({_split_of(name) for name in names} - {None, ""}) > 1


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
    good = (branch for branch in branches if len(branch.inner) > 1 and not fault_of(folder, branch))
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
