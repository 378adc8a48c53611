"""Where image sets come from: one .npz each, scikit-learn's digits, and torchvision's downloads
packed into the same form.

The format is told in dpkit.data; folders of image files are read in dpkit.image_folder. Nothing
here knows of tensors or devices.
"""

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import numpy as np
from numpy.lib import format as formats

from dpkit import storage
from dpkit.data.arrays import check_shape, describe_set
from dpkit.data.class_folders import list_folder
from dpkit.data.image_files import check_headers
from dpkit.data.label_tables import Columns, is_table_file, list_table, table_of
from dpkit.data.labels import keys_in, numbered, plain_labels

# name -> (augmentation: shift in pixels, mirror left-right?; class names where the download has
# none)
DATASETS = {
    "digits": (1, False, [str(d) for d in range(10)]),
    "fashion-mnist": (2, True, None),
    "cifar10": (4, True, None),
    "cifar100": (4, True, None),
}
_TORCHVISION = {"fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def set_name(name: str | Path) -> str:
    """What a set is called in rows and files: a path's last part, without .npz, and of a table also
    its folder; an ImageSet's name, or the type of another object.
    """
    if not isinstance(name, (str, os.PathLike)):
        return getattr(name, "name", type(name).__name__)
    if is_table_file(name):
        return "/".join(Path(name).resolve().parts[-2:])
    return name if name in DATASETS else Path(name).resolve().name.removesuffix(".npz")


def is_folder(name: str | Path, folder: str | Path | None = None) -> bool:
    """Whether a folder of images is meant: it exists, and is no bare name in the data folder."""
    known = name in DATASETS or (
        Path(name).name == str(name) and (storage.data_folder(folder) / f"{name}.npz").is_file()
    )
    return not known and Path(name).is_dir()


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of a training set before a pixel is read.

    labels (n,) int64, paths or None, class_names, notes; numbers: what the file calls the classes,
    where it has other numbers; folder, the absolute one where paths begin.
    """

    labels: np.ndarray
    paths: list | None
    class_names: list
    notes: tuple = ()
    numbers: np.ndarray | None = None
    folder: str | None = None

    def describe(self, name: str | Path) -> str:
        return describe_set(set_name(name), self.labels, self.class_names, notes=self.notes)


def check_table(name: str | Path, classes: Sequence[str] | None, columns: Columns) -> Path | None:
    """The table of labels that is meant, or None; ValueError for settings that belong to another
    kind of set.
    """
    table = table_of(name) if classes is None or not Path(name).is_dir() else None
    if table and name not in DATASETS:
        if classes is not None:
            raise ValueError(
                f"classes names the class folders of a folder of images, and {name} is a table: "
                "leave classes out"
            )
        return table
    if given := columns.given():
        raise ValueError(
            f"{' and '.join(given)} must be left out: they go with a table of labels, and {name} "
            "is none"
        )
    return None


def read_labels(
    name: str | Path, classes: Sequence[str] | None = None, columns: Columns | None = None
) -> Labels:
    """Labels and class names of a training set as `load` would give them, reading no pixel."""
    columns = columns or Columns()
    if table := check_table(name, classes, columns):
        return _labels_of(list_table(table, columns=columns))
    if is_folder(name):
        return _labels_of(list_folder(name, classes))
    if classes is not None:
        raise ValueError(
            f"classes names the class folders of a folder of images, and {name} is none: leave "
            "classes out"
        )
    given, known = training_labels(name)
    given = plain_labels(given, len(given) if np.ndim(given) else 1, "train_")
    labels, names, notes = numbered(given, known, "train_labels")
    keys = keys_in(given, known)
    return Labels(
        labels.astype(np.int64),
        None,
        names,
        notes,
        keys if notes and keys.dtype.kind in "iu" else None,
    )


def _labels_of(listing):
    return Labels(
        listing.labels,
        listing.paths,
        listing.class_names,
        listing.notes,
        folder=os.path.abspath(listing.folder),
    )


def check_readable(
    name: str | Path,
    known: Labels,
    *,
    max_pixels: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> None:
    """ValueError for images that `load` would refuse, as far as the headers of the files, or of the
    arrays in an .npz, tell it. No pixel is read.

    name, known: of a training set, and what read_labels returned of it.   max_pixels, on_progress:
    as for load.
    """
    if known.folder is not None:
        paths = known.paths or []
        check_headers(known.folder, paths, max_pixels=max_pixels, on_progress=on_progress)
    elif name != "digits":
        path = Path(name) if str(name).endswith(".npz") else _find(name, None)
        n = len(known.labels)
        for shape, dtype in _training_images(path):
            check_shape(shape, dtype, n, "train_")
            plain_labels(known.labels, shape[0], "train_")


def _training_images(path):
    """[(shape, dtype)] of the training images in an .npz, without reading them; [] for none."""
    with zipfile.ZipFile(path) as file:
        there = [f"{name}.npy" for name in ("train_images", "images")]
        there = [name for name in there if name in file.namelist()]
        if not there:
            return []
        with file.open(there[0]) as array:
            first = formats.read_magic(array) == (1, 0)
            header = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
            shape, _, dtype = header(array)
    return [(shape, dtype)]


def arrays_of(
    name: str | Path, folder: str | Path | None = None, only: Sequence[str] | None = None
) -> dict:
    """The arrays of a set by their names in the .npz: bundled, an .npz by its path or in the data
    folder, or downloaded.

    only: names of those to read; default: all there are.
    """
    if name == "digits":
        return _digits()
    if str(name).endswith(".npz"):
        if not Path(name).exists():
            raise ValueError(f"there is no file {name}: name an .npz that exists")
        return _read(Path(name), only)
    return _read(_find(name, folder), only)


def images_and_labels(
    arrays: dict[str, np.ndarray], split: str, source: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of a split as they lie in the file; else ValueError lists its arrays."""
    names = [f"{split}_images", f"{split}_labels"]
    if split == "train" and not any(name in arrays for name in names):
        names = ["images", "labels"] if "images" in arrays or "labels" in arrays else names
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(
            f"the {split} split of {source} needs the arrays {names[0]} and {names[1]}; it holds "
            f"{', '.join(sorted(arrays)) or 'none'}: write them with np.savez"
        )
    return arrays[names[0]], arrays[names[1]]


def training_labels(name: str | Path) -> tuple[np.ndarray, list | None]:
    """(the training labels of a set, its class names or None); reads no other array of a file."""
    arrays = arrays_of(name, only=("train_labels", "labels", "class_names"))
    if not arrays.keys() - {"class_names"}:
        raise ValueError(
            f"{name} must hold train_labels, or labels; it holds neither: write them with np.savez"
        )
    found = arrays["train_labels"] if "train_labels" in arrays else arrays["labels"]
    return found, named_classes(arrays, name)


def named_classes(arrays: dict[str, np.ndarray], name: str | Path) -> list | None:
    """The names of a set's classes, from the file or, for digits, known here; None where only
    numbers tell them apart.
    """
    if "class_names" in arrays:
        return [str(given) for given in arrays["class_names"]]
    return DATASETS[name][2] if name in DATASETS else None


def other_labels(
    arrays: dict[str, np.ndarray], kind: str, name: str | Path, split: str
) -> np.ndarray:
    """The labels human_labels_<kind> of the training split; ValueError lists the kinds."""
    kinds = sorted(k.removeprefix("human_labels_") for k in arrays if k.startswith("human_labels_"))
    if kind not in kinds or split != "train":
        raise ValueError(
            'labels must be "given"'
            + "".join(f" or {k!r}" for k in kinds)
            + f" for the training split of {name}; got {kind!r} for the {split} split"
        )
    return arrays[f"human_labels_{kind}"]


def _digits():
    """scikit-learn's 1,797 handwritten digits, 8x8. The last 500 are the test set.

    Read from its file: to import scikit-learn takes a second, in every process of a sweep.
    """
    package = Path(find_spec("sklearn").origin).parent
    table = np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    return {
        "train_images": images[:-500],
        "train_labels": labels[:-500],
        "test_images": images[-500:],
        "test_labels": labels[-500:],
    }


def _find(name, folder):
    folder = storage.data_folder(folder)
    path = folder / f"{name}.npz"
    if not path.exists():
        if name not in _TORCHVISION:
            if Path(name).name != str(name):  # it was meant as a path
                raise ValueError(
                    f"there is no folder {name}: name a folder of class folders, an .npz, or one "
                    f"of {', '.join(DATASETS)}"
                )
            own = sorted(p.stem for p in folder.glob("*.npz") if p.stem not in DATASETS)
            raise ValueError(
                f"unknown dataset {name!r}; there are {', '.join(DATASETS)}"
                + (f", and of your own {', '.join(own)}" if own else "")
                + f"; an own set is {path}"
            )
        _download(name, path)
    return path


def _download(name, path):
    from torchvision import datasets

    raw = path.parent / f"{name}-download"
    arrays = {}
    for split in ("train", "test"):
        try:
            found = getattr(datasets, _TORCHVISION[name])(
                root=raw, train=split == "train", download=True
            )
        except URLError as error:
            raise ConnectionError(
                f"could not download {name} ({error.reason}): try again with a network, or bring "
                f"{path} from elsewhere"
            ) from error
        arrays[f"{split}_images"] = np.asarray(found.data)
        arrays[f"{split}_labels"] = np.asarray(found.targets, dtype=np.int64)
    with storage.whole_file(path) as file:
        np.savez(file, **arrays, class_names=np.array(found.classes))
    shutil.rmtree(raw)


def _read(path: Path, only: Sequence[str] | None) -> dict:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array; write it with np.savez")
        with file:
            arrays = {key: file[key] for key in file.files if only is None or key in only}
    except PermissionError:
        raise  # it may well be whole
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole .npz of plain arrays ({error}); remove it and load again, or "
            "make it again"
        ) from None
    return arrays
