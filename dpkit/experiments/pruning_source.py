"""What `prune` chooses from: a set with its pixels, or its labels and a record made elsewhere."""

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpkit.data.dataset_objects import from_dataset, is_dataset
from dpkit.data.image_set import ImageSet
from dpkit.data.label_tables import Columns
from dpkit.data.loading import auto_device, load
from dpkit.data.named_sets import DATASETS, check_readable, is_folder, read_labels
from dpkit.experiments.given_record import read_record, rows_of
from dpkit.experiments.stages import Evidence
from dpkit.methods.method import Method
from dpkit.records import Scores, Selection
from dpkit.storage.long_work import duration


@dataclass(frozen=True, eq=False)
class Source:
    """What is pruned.

    labels : (n,), and class_names, by which they are numbered.
    ids, total : (n,), the samples' numbers in the original set, and how many that has.
    paths : of the original set's files, by number, where there are files.
    folder : where those paths begin, if that is known.
    images : if a training is recorded here; else
    evidence, origin : from elsewhere, of these n samples, and what the manifest says of it.
    """

    labels: np.ndarray
    class_names: list
    ids: np.ndarray
    total: int
    paths: list | None = None
    images: ImageSet | None = None
    evidence: Evidence | None = None
    origin: dict | None = None
    folder: str | None = None

    @property
    def candidates(self) -> np.ndarray:
        """Rows that can be kept: all, or those that the given record has."""
        dynamics = self.evidence.dynamics if self.evidence else None
        if self.images is not None or dynamics is None:
            return np.arange(len(self.labels))
        return np.flatnonzero(dynamics.trained())

    @property
    def candidates_evidence(self) -> Evidence | None:
        """The evidence of the candidates alone."""
        return rows_of(self.evidence, self.candidates)

    @property
    def is_whole(self) -> bool:
        """Whether these are all samples of the original set, in its order."""
        return np.array_equal(self.ids, np.arange(self.total))

    def in_the_set(
        self, scores: Scores | None, selection: Selection
    ) -> tuple[Scores | None, Selection]:
        """Scores and selection of the candidates as those of the original set: row i is sample
        i.
        """
        ids = self.ids[self.candidates]
        if np.array_equal(ids, np.arange(self.total)):
            return scores, selection
        if scores is not None:
            values = np.full(self.total, -np.inf)
            values[ids] = scores.values
            scores = Scores(values, scores.name, scores.params)
        kept = np.sort(ids[selection.kept])
        return scores, Selection(kept, self.total, selection.method, selection.params)


def loading_options(data: Any, **options: Any) -> dict:
    """The settings of loading that are given; ValueError for data that is no set, and for such
    settings with a set that is loaded.
    """
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    if is_dataset(data):
        known = ("size", "image_column", "label_column")
        if other := [name for name in given if name not in known]:
            raise ValueError(f"{' and '.join(other)} must be left out, as the set is an object")
        return given
    if not isinstance(data, (str, os.PathLike, ImageSet)):
        raise ValueError(
            f"data must be a name, a path or an ImageSet; got {type(data).__name__}: "
            "dpkit.data.from_arrays makes a set of arrays"
        )
    if given and isinstance(data, ImageSet):
        raise ValueError(
            f"{' and '.join(given)} must be left out, as the set {data.name} is loaded already: "
            "load it with that"
        )
    return given


def read_object(data: Any, loading: dict, say: Callable[[str], object]) -> tuple[Any, dict]:
    """(the data, the settings of loading that are left for it): a dataset object becomes the
    ImageSet that it makes.
    """
    if not is_dataset(data):
        return data, loading
    return from_dataset(data, **loading, device="cpu", on_progress=reading(say), say=None), {}


def image_source(
    data: Any,
    *,
    mirror: bool,
    device: str | torch.device,
    say: Callable[[str], object],
    loading: dict,
) -> Source:
    """A set that a network is to be watched on here, loaded, as `loading` says, unless it is an
    ImageSet.
    """
    if isinstance(data, ImageSet):
        say(data.describe())
        images = data.to(auto_device(device))
    else:
        images = load(data, device=device, on_progress=reading(say), say=say, **loading)
    if len(images.labels.unique()) < 2:
        raise ValueError(
            f"{data_name(data)} must hold at least two classes to tell apart; all {len(images)} "
            "labels are the same: nothing can be learned, so nothing can be scored"
        )
    images = replace(images, mirror=True) if mirror else images
    return replace(_source_of(images), images=images.standalone())


def label_source(
    data: Any,
    dynamics: str | Path | None,
    method: Method,
    say: Callable[[str], object],
    loading: dict,
) -> Source:
    """A set of which only the labels count: for a method that looks at nothing, or at a record from
    elsewhere, in the folder `dynamics`.
    """
    if loading.get("skip_broken"):  # which they are is known once they are read
        data = load(data, device="cpu", on_progress=reading(say), say=None, **loading)
    if isinstance(data, ImageSet):
        say(data.describe())
        numbers, source = None, _source_of(data)
    else:
        known = read_labels(data, loading.get("classes"), Columns.of(loading))
        say(known.describe(data))
        if dynamics is None and not method.reads:  # else a network has read them
            check_readable(
                data,
                known,
                max_pixels=loading.get("max_pixels"),
                on_progress=reading(say, "looked at the headers of"),
            )
        n, numbers = len(known.labels), known.numbers
        source = Source(
            known.labels, known.class_names, np.arange(n), n, known.paths, folder=known.folder
        )
    if dynamics is None:
        return source
    evidence, origin = read_record(dynamics, source, numbers, data_name(data), method)
    return replace(source, evidence=evidence, origin=origin)


def location_of(data: Any, source: Source, loading: dict) -> dict:
    """Where the set lies, for the manifest, so that what was chosen can be found again.

    source: what was named, None for arrays; split: of that.   folder: where paths begin, None
    where there are none or it is not known.   size: in pixels, that the images were resized to.
    max_pixels, skip_broken: if given.
    """
    named: str | Path | None = data
    split, size = "train", loading.get("size")
    if isinstance(data, ImageSet):
        named, split, loading = data.source, data.split, data.read_with
        height, width = data.images.shape[2:]
        size = height if height == width else None
    if named is not None and named not in DATASETS and (is_folder(named) or Path(named).is_file()):
        named = os.path.abspath(named)
    return {
        "source": None if named is None else str(named),
        "split": split,
        "folder": source.folder,
        "size": size,
    } | {name: loading[name] for name in ("max_pixels", "skip_broken") if name in loading}


def data_name(data: Any) -> str:
    """What the set is called in messages: as it was given."""
    return data.name if isinstance(data, ImageSet) else str(data)


def _source_of(images) -> Source:
    paths = images.paths
    if paths is not None and images.standalone() is not images:
        by_id = dict(zip(images.ids.tolist(), paths, strict=True))
        paths = [by_id.get(i, "") for i in range(images.total)]
    labels = images.labels.cpu().numpy()
    return Source(labels, images.class_names, images.ids, images.total, paths, folder=images.folder)


def reading(say: Callable[[str], object], done_is: str = "read") -> Callable[[int, int], None]:
    """on_progress for load: a line every five seconds, and the last one. The time left is told by
    the rate of the last ten seconds: the first files come late, as all are looked at before.
    """
    recent: deque = deque()

    def on_progress(done, total):
        now = time.monotonic()
        if not recent:
            recent.append((now, done))
        begun, done_then = recent[0]
        if done == total:
            say(f"{done_is} {done:,} of {total:,} images")
        elif now - recent[-1][0] >= 5:
            left = (now - begun) / max(done - done_then, 1) * (total - done)
            say(f"{done_is} {done:,} of {total:,} images, {duration(left)} left")
            recent.append((now, done))
            if len(recent) > 2:
                recent.popleft()

    return on_progress


# ---- a record made elsewhere ---------------------------------------------------------------------
