"""ImageNet, TinyImageNet and Imagenette as they are downloaded: what their folders are called by
WordNet's ids (wnids), and where the labels of a flat validation folder are written.

TinyImageNet  words.txt; val/val_annotations.txt beside val/images/
ImageNet      LOC_synset_mapping.txt and LOC_val_solution.csv (Kaggle's), or the devkit's
              ILSVRC2012_validation_ground_truth.txt and meta.mat; val/*.JPEG
Imagenette    train/<wnid>, val/<wnid> and no words
"""

import csv
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from dpkit.data.folder_tree import Branch

_WNID = re.compile(r"n\d{8}")
_KAGGLE = Path("ILSVRC", "Data", "CLS-LOC")
_DEVKIT = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data", "")
LABELS_OF_VAL = (
    "of ImageNet's val put Kaggle's LOC_val_solution.csv, or the devkit's folder "
    "ILSVRC2012_devkit_t12, beside the splits"
)
_IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def is_imagenet(names: Collection[str]) -> bool:
    """Whether classes are called by wnids, as n01440764."""
    return bool(names) and all(_WNID.fullmatch(name) for name in names)


def kaggle_branch(root: Branch) -> Branch:
    """The folder of the splits in Kaggle's download, or the root itself."""
    branch = root
    for part in _KAGGLE.parts:
        if part not in branch.folders:
            return root
        branch = branch.folders[part]
    return branch


def folder_name(title: str) -> str:
    """What the folder of a class is called: n01440764 for "n01440764 tench"."""
    wnid, _, _ = title.partition(" ")
    return wnid if _WNID.fullmatch(wnid) else title


def class_titles(folder: Path, names: Iterable[str], like: Collection[str] | None) -> list:
    """ "n01440764 tench" for n01440764, where the words are known; else the names as they are.

    like: names of another set's classes; a wnid is called as it is there.
    """
    names = list(names)
    if not is_imagenet(names):
        return names
    if like is not None:
        titles = {folder_name(name): name for name in like}
        return [titles.get(name, name) for name in names]
    words = _words(folder, set(names)) or (_IMAGENETTE if set(names) <= set(_IMAGENETTE) else {})
    return [f"{name} {words[name]}" if name in words else name for name in names]


def _words(folder, names):
    """The first word for each wnid, of a file in the folder or above."""
    for place in _places(folder):
        for file, between in (("LOC_synset_mapping.txt", " "), ("words.txt", "\t")):
            if not (place / file).is_file():
                continue
            lines = (place / file).read_text(encoding="utf-8", errors="replace").splitlines()
            pairs = [line.partition(between) for line in lines]
            found = {wnid: words.split(",")[0].strip() for wnid, _, words in pairs}
            found = {wnid: word for wnid, word in found.items() if wnid in names and word}
            if found:
                return found
    return {}


def _places(folder) -> Iterator[Path]:
    """The folder and three above it: as many as lie above the splits in Kaggle's download."""
    folder = Path(os.path.abspath(folder))
    yield folder
    yield from list(folder.parents)[:3]


def flat_labels(folder: Path, split: Branch) -> dict[str, str]:
    """The wnid of each image of a split without class folders, by its path from the set's folder;
    empty if nothing tells.

    folder: the set's.   split: the folder val, whose images lie in it or in val/images.
    """
    wnids = _annotations(folder / split.path) or _solution(folder) or _ground_truth(folder)
    flat = [split, *split.folders.values()]
    files = ((branch.path, file) for branch in flat for file in branch.files)
    found = {os.path.join(place, file): _of_file(wnids, file) for place, file in files}
    return {path: wnid for path, wnid in found.items() if wnid}


def _of_file(wnids, file):
    """TinyImageNet's list names files, Kaggle's their stems, and the devkit's line k is file k."""
    stem = file.rpartition(".")[0]
    number = re.fullmatch(r"ILSVRC2012_val_(\d{8})", stem)
    return wnids.get(file) or wnids.get(stem) or (number and wnids.get(int(number[1])))


def _annotations(split):
    """{file: wnid} of TinyImageNet's val_annotations.txt: file, wnid, and a box, between tabs."""
    file = split / "val_annotations.txt"
    if not file.is_file():
        return {}
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def _solution(folder):
    """{stem: wnid} of LOC_val_solution.csv: ImageId, and the wnid before each box."""
    for place in _places(folder):
        if (place / "LOC_val_solution.csv").is_file():
            with open(place / "LOC_val_solution.csv", newline="") as file:
                rows = csv.DictReader(file)
                return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    return {}


def _ground_truth(folder):
    """{k: wnid} of the devkit: line k has the id of validation image k, which meta.mat turns into a
    wnid.
    """
    for data in (place / inner for place in _places(folder) for inner in _DEVKIT):
        file, meta = data / "ILSVRC2012_validation_ground_truth.txt", data / "meta.mat"
        if file.is_file() and meta.is_file():
            from scipy.io import loadmat

            synsets = loadmat(meta, squeeze_me=True)["synsets"]
            wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
            numbers = map(int, file.read_text().split())
            return {k: wnids[number] for k, number in enumerate(numbers, 1) if number in wnids}
    return {}
