"""Image sets given as objects: each travels to the workers once, as a folder of the cache.

<cache>/set-<hash of the fingerprint>/   pixels, labels and ids as .npy files with their SHA-256
Tasks hold where that is, and what else is known of the set; workers map the files into memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from dpkit import storage
from dpkit.data.image_set import ImageSet

KIND, SCHEMA = "ImageSet", 1


def check_unchanged(images: ImageSet) -> None:
    """ValueError for a set whose arrays were changed since its fingerprint was taken."""
    if replace(images).fingerprint != images.fingerprint:
        raise ValueError(
            f"the set {images.name} was changed in place after it was first used, and what was "
            "computed from it is another set's: make a new one, dataclasses.replace(images)"
        )


@dataclass(frozen=True)
class StoredSet:
    """An ImageSet as it is sent: where its arrays lie, and the rest of it, pickled."""

    folder: Path
    rest: bytes

    def load(self) -> ImageSet:
        """The set, read and held against its hashes once per process; OSError if it is not
        whole.
        """
        return _loaded(self)


def store(sets: Iterable[ImageSet], cache: str | Path) -> dict[ImageSet, StoredSet]:
    """Write each set into the cache, unless it lies there whole; how each is sent.

    ValueError for a set whose arrays were changed since its fingerprint was taken.
    """
    return {images: _stored(images, Path(cache).resolve()) for images in dict.fromkeys(sets)}


def _stored(images, cache):
    import cloudpickle

    check_unchanged(images)
    folder = cache / f"set-{storage.key_hash(images.fingerprint)}"
    with storage.locked(folder):
        if not storage.read_or_set_aside(
            folder, lambda: storage.load_arrays(folder, kind=KIND, schema=SCHEMA)
        ):
            arrays = {
                "images": images.images.permute(0, 2, 3, 1).contiguous().cpu().numpy(),
                "labels": images.labels.cpu().numpy(),
                "ids": images.ids,
            }
            about = {"name": images.name, "fingerprint": images.fingerprint}
            storage.save_arrays(folder, kind=KIND, schema=SCHEMA, arrays=arrays, params=about)
    rest = replace(images, images=None, labels=None, ids=None, paths=None)
    return StoredSet(folder, cloudpickle.dumps(rest))


@lru_cache(maxsize=4)
def _loaded(stored):
    import cloudpickle

    try:
        storage.load_arrays(stored.folder, kind=KIND, schema=SCHEMA)
    except ValueError as damaged:  # the next sweep writes it again
        raise OSError(str(damaged)) from None
    # mapped anew so that torch may have them: writing to them reaches no file
    pixels, labels, ids = (
        np.load(stored.folder / f"{name}.npy", mmap_mode="c")
        for name in ("images", "labels", "ids")
    )
    return replace(
        cloudpickle.loads(stored.rest),  # made by `store` in the process that asked
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        labels=torch.from_numpy(labels),
        ids=np.array(ids),
    )
