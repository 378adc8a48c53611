"""The tree of a folder of images: what is in it, and what is left out of it, before a file is
opened.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
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
# photographs and drawings that Pillow does not open by itself, or that have no pixels of 8 bits
_UNREAD_PICTURES = {
    *(".heic", ".heif", ".jxl", ".svg", ".psd", ".ai", ".eps", ".pdf", ".exr", ".hdr"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"),
    *(".dcm", ".nii", ".ico", ".tga", ".mp4", ".mov", ".avi"),
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
    """The tree of a folder and the paths of what was left out of it: hidden folders, links back,
    files that are no images.

    dropped: hidden folders and links with an image that torchvision's ImageFolder would take.
    """

    root: Branch
    hidden: list = field(default_factory=list)
    links: list = field(default_factory=list)
    others: list = field(default_factory=list)
    dropped: list = field(default_factory=list)

    def outside(self, branches: Sequence[Branch]) -> "Walk":
        """The same without what was left out in these branches."""
        tops = tuple(os.path.join(branch.path, "") for branch in branches)
        kinds = (self.hidden, self.links, self.others, self.dropped)
        return Walk(
            self.root, *([path for path in kind if not path.startswith(tops)] for kind in kinds)
        )

    def notes(self, loose: Sequence[str] = (), others: Sequence[str] = ()) -> tuple:
        """A sentence for each kind of thing that was left out, images outside the class folders and
        other folders too.
        """
        unread = self.unread
        plain = [path for path in self.others if ending(path) not in _UNREAD_PICTURES]
        kinds = ", ".join(f"{n:,} {end}" for end, n in Counter(map(ending, unread)).most_common())
        told = [
            (loose, "images outside the class folders", ""),
            (others, "folders that are not named as classes", ""),
            (self.hidden, "hidden files and folders, or a system's own", ""),
            (self.links, "links to what is in the set already", ""),
            (unread, f"pictures of kinds that are not read, {kinds}", ": convert them to JPEG"),
            (plain, "files that are no images", ""),
        ]
        found = [
            f"left out: {len(paths):,} {what} ({shorten(paths, 3)}){advice}"
            for paths, what, advice in told
            if paths
        ]
        if self.dropped or others:
            found.append(
                "so ids are not those of torchvision's ImageFolder, which takes them: go by the "
                "paths"
            )
        return tuple(found)

    @property
    def unread(self) -> list:
        """Paths of pictures of kinds that are not read."""
        return [path for path in self.others if ending(path) in _UNREAD_PICTURES]


def ending(path: str) -> str:
    """ ".jpg" of "cats/A.JPG"."""
    return os.path.splitext(path)[1].lower()


def read_tree(folder: str | Path, endings: tuple[str, ...]) -> Walk:
    """Everything in the folder, links followed as ImageFolder does, but not those into itself."""
    found = Walk(Branch(""))
    root = os.path.realpath(folder)
    # many links point into few folders
    real_folder = cache(os.path.realpath)
    _read(Path(folder), found.root, found, endings, root, {root}, real_folder)
    return found


def _real(entry, real_folder):
    """Where a link leads to, in the end."""
    place, name = os.path.split(os.path.join(os.path.dirname(entry.path), os.readlink(entry.path)))
    target = os.path.join(real_folder(place), name)
    last = name in ("", os.curdir, os.pardir) or os.path.islink(target)
    return os.path.realpath(entry.path) if last else target


def _read(folder, branch, found, endings, root, above, real_folder):
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        is_image = entry.name.lower().endswith(endings)
        if is_image and not _hidden(entry.name) and entry.is_file(follow_symlinks=False):
            branch.files.append(entry.name)
            continue
        path = os.path.join(branch.path, entry.name)
        real = _real(entry, real_folder) if entry.is_symlink() else None
        if _hidden(entry.name):
            if entry.is_dir() or is_image:
                found.hidden.append(path)
                if is_image or _holds_image(entry.path, endings):
                    found.dropped.append(path)
        elif is_image and real and not os.path.exists(real):
            raise ValueError(
                f"{entry.path} is a link to a file that is not there: bring the file back, or "
                "remove the link"
            )
        elif real and (_holds_any(real, above) or _read_anyway(real, root)):
            if entry.is_dir() or is_image:
                found.links.append(path)
                found.dropped.append(path)
        elif entry.is_dir():
            branch.folders[entry.name] = Branch(path)
            _read(
                Path(entry.path),
                branch.folders[entry.name],
                found,
                endings,
                root,
                above | ({real} if real else set()),
                real_folder,
            )
        elif is_image:
            branch.files.append(entry.name)
        else:
            found.others.append(path)


def _holds_image(folder, endings):
    return any(name.lower().endswith(endings) for _, _, names in os.walk(folder) for name in names)


def _hidden(name):
    return name.startswith(".") or name.lower() in _SYSTEM


def _holds_any(real, above):
    """Whether a folder on the way here lies at `real` or below: following the link never ends."""
    return any(folder == real or folder.startswith(os.path.join(real, "")) for folder in above)


def _read_anyway(real, root):
    """Whether what lies at `real` is in the set by itself: not in a hidden folder, where some keep
    what they link to.
    """
    top = os.path.join(root, "")
    return real.startswith(top) and not any(map(_hidden, real[len(top) :].split(os.sep)))
