"""The records everything else is a function of: what was seen, what it is worth, and what is kept.

Row i is original sample i, in every array of every record, forever. Records are frozen, checked when they are made,
and hold read-only numpy arrays; scorers, selectors and plots see nothing else. `.save(folder)` writes one .npy per
array and a manifest with checksums; `Type.load(folder)` memory-maps them, and what reads them goes by `row_blocks`,
so what was seen epoch by epoch may be larger than memory.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dpkit import store
from dpkit.blocks import give_back, mean_over_epochs, row_blocks

NO_LABEL = -1  # of a sample that was not trained on, where nobody told its label


def keep_count(n: int, prune_ratio: float) -> int:
    """How many of n samples stay when the fraction `prune_ratio` is removed: round(n * (1 - prune_ratio)).

    The only place where a ratio becomes a count. ValueError unless prune_ratio is in [0, 1).
    """
    if not 0 <= prune_ratio < 1:  # also refuses NaN
        raise ValueError(f"prune_ratio is the fraction removed and must be in [0, 1); got {prune_ratio}")
    return round(n * (1 - prune_ratio))


class _Saved:
    """save and load for the records below: every field that is an array becomes a .npy, the rest goes into params."""

    _schema: ClassVar[int] = 1
    _arrays: ClassVar[tuple[str, ...]]
    _plain: ClassVar[tuple[str, ...]] = ()
    _optional: ClassVar[tuple[str, ...]] = ()

    def save(self, folder):
        """Write the record into `folder`, whole or not at all; replaces an earlier record there. Returns the folder."""
        params = {**self.params, **{f"_{name}": getattr(self, name) for name in self._plain}}
        arrays = {name: getattr(self, name) for name in self._arrays}
        return store.save_arrays(folder, kind=type(self).__name__, schema=self._schema, arrays=arrays, params=params)

    @classmethod
    def load(cls, folder):
        """Read a record that `save` wrote. ValueError if a file is missing, truncated or altered."""
        arrays, params = store.load_arrays(folder, kind=cls.__name__, schema=cls._schema)
        lacking = [name for name in cls._arrays if name not in arrays and name not in cls._optional]
        lacking += [name for name in cls._plain if f"_{name}" not in params]
        if lacking:
            raise ValueError(f"{folder}/manifest.json is damaged (it lacks {', '.join(lacking)}); make the record again or "
                             "fetch a whole copy")
        plain = {name: params.pop(f"_{name}") for name in cls._plain}
        return cls(**{name: arrays.get(name) for name in cls._arrays}, **plain, params=params)

    def _set(self, **values):
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class TrainingDynamics(_Saved):
    """What was seen of every sample in every epoch of one training.

    target_prob: (n, T) float32 in [0, 1], the network's probability for the given label.
    margin:      (n, T) float32, logit of the given label minus the largest other logit.
    correct:     (n, T) bool, whether the given label had the largest logit.
    labels:      (n,) int64, the given labels; NO_LABEL, -1, where a sample was not trained on and its label is not known.
    moment:      "train" (seen in the training pass, before the batch's update) or "eval" (a clean pass afterwards).
    divergence:  (n, T - 1) float32, or None where it was not recorded: how far all probabilities moved from epoch t to the
                 next, sum_c |p_{t+1}(c) (log p_{t+1}(c) - log p_t(c))|, in nats, from 0. TDDS is made of it.

    A sample that was not trained on has target_prob, margin and divergence wholly NaN and correct False.
    Memory is laid out epoch by epoch, which is how records grow and what the windowed scores read fastest.
    """

    target_prob: np.ndarray
    margin: np.ndarray
    correct: np.ndarray
    labels: np.ndarray
    moment: str = "train"
    params: dict = field(default_factory=dict)
    divergence: np.ndarray | None = None
    _arrays = ("target_prob", "margin", "correct", "labels", "divergence")
    _optional = ("divergence",)
    _plain = ("moment",)

    def __post_init__(self):
        prob = np.asarray(self.target_prob)
        if prob.ndim != 2 or prob.shape[1] == 0:
            raise ValueError(f"target_prob must be (samples, epochs) with at least one epoch; got shape {prob.shape}")
        prob = np.asfortranarray(prob, dtype=np.float32)
        margin = _shaped("margin", self.margin, prob.shape, np.float32)
        correct = np.asarray(self.correct)
        if correct.dtype != bool:
            raise ValueError(f"correct must be an array of bool; got {correct.dtype}")
        correct = _shaped("correct", correct, prob.shape, bool)
        labels = whole_labels(self.labels, len(prob), least=NO_LABEL)
        lacking = np.flatnonzero((labels == NO_LABEL) & ~np.isnan(prob[:, 0]))
        if len(lacking):
            raise ValueError(f"labels must be in 0..; {len(lacking)} are not (first: -1 at row {lacking[0]}): only a sample "
                             "that was not trained on may have -1, no label")
        if self.moment not in ("train", "eval"):
            raise ValueError(f'moment must be "train" or "eval"; got {self.moment!r}')
        self._set(target_prob=prob, margin=margin, correct=correct, labels=labels, params=dict(self.params))
        unseen = np.isnan(prob[:, 0])
        for t in range(prob.shape[1]):  # column by column: no (n, T) temporaries
            _check_epoch(t, prob[:, t], margin[:, t], correct[:, t], unseen)
            give_back(prob, margin, correct)
        if self.divergence is not None:
            divergence = _shaped("divergence", self.divergence, (len(prob), prob.shape[1] - 1), np.float32,
                                 like="a column between every two epochs, shape")
            for t in range(divergence.shape[1]):
                _check_divergence(t, divergence[:, t], unseen)
                give_back(divergence)
            self._set(divergence=divergence)

    @property
    def num_samples(self) -> int:
        return self.target_prob.shape[0]

    @property
    def num_epochs(self) -> int:
        return self.target_prob.shape[1]

    def first(self, epochs: int) -> "TrainingDynamics":
        """The record as it stood after the first `epochs` epochs (1..T)."""
        if not 1 <= epochs <= self.num_epochs:
            raise ValueError(f"first(epochs) needs 1..{self.num_epochs} (the epochs recorded); got {epochs}")
        return TrainingDynamics(self.target_prob[:, :epochs], self.margin[:, :epochs], self.correct[:, :epochs],
                                self.labels, self.moment, self.params,
                                None if self.divergence is None else self.divergence[:, : epochs - 1])

    def mean_prob(self) -> np.ndarray:
        """(n,) float64: each sample's target_prob averaged over the epochs; NaN where it was not trained on."""
        return mean_over_epochs(self.target_prob)

    def std_prob(self) -> np.ndarray:
        """(n,) float64: the standard deviation of target_prob over the epochs, T - 1 in the divisor (the moon plot's x)."""
        if self.num_epochs < 2:
            raise ValueError("a standard deviation needs at least 2 recorded epochs; this record has 1: record longer")
        variance, mean = np.zeros(self.num_samples), self.mean_prob()
        for rows in row_blocks(self.num_samples, self.target_prob):
            for t in range(self.num_epochs):
                variance[rows] += (self.target_prob[rows, t] - mean[rows]) ** 2
        return np.sqrt(variance / (self.num_epochs - 1))

    def trained(self) -> np.ndarray:
        """(n,) bool: True where the sample was trained on, False where its rows are NaN."""
        return ~np.isnan(self.target_prob[:, 0])

    def require_trained(self, what: str) -> None:
        """Raise ValueError if some samples were never trained on; `what` names who is asking."""
        missing = np.flatnonzero(~self.trained())
        if len(missing):
            raise ValueError(
                f"{what} needs every sample's dynamics; {len(missing)} of {self.num_samples} rows are NaN (first: row "
                f"{missing[0]}) because those samples were not trained on: record a training on the whole set"
            )

    @classmethod
    def from_reports(cls, reports, labels, *, params=None) -> "TrainingDynamics":
        """Stack the epoch reports that `train` yields. labels: (n,) given labels of the whole original set."""
        reports = list(reports)
        if not reports:
            raise ValueError("from_reports needs at least one epoch report; got none: let `train` run an epoch")
        columns = {name: np.stack([getattr(report, name) for report in reports]).T
                   for name in ("target_prob", "margin", "correct")}
        if all(getattr(report, "divergence", None) is not None for report in reports):
            moved = [report.divergence for report in reports[1:]]  # before the first epoch there was nothing to move from
            columns["divergence"] = np.stack(moved).T if moved else np.empty((len(columns["target_prob"]), 0), np.float32)
        return cls(**columns, labels=np.asarray(labels), moment="train", params=params or {})


@dataclass(frozen=True, eq=False)
class Snapshot(_Saved):
    """One network looked at once: eval mode, clean images.

    probs:    (exits, n, C) float32, class probabilities of every exit, shallow to final.
    features: (n, d) float32, what the final linear layer reads; None if it was not kept.
    labels:   (n,) int64 in 0..C-1.
    """

    probs: np.ndarray
    features: np.ndarray | None
    labels: np.ndarray
    params: dict = field(default_factory=dict)
    _arrays = ("probs", "features", "labels")
    _optional = ("features",)

    def __post_init__(self):
        probs = np.asarray(self.probs)
        if probs.ndim != 3:
            raise ValueError(f"probs must be (exits, samples, classes); got shape {probs.shape}; "
                             "for a network with one exit pass probs[None]")
        probs = np.ascontiguousarray(probs, dtype=np.float32)
        exits, n, classes = probs.shape
        labels = whole_labels(self.labels, n, classes)
        for rows in row_blocks(n, probs):
            total = probs[:, rows].sum(axis=-1, dtype=np.float64)
            low, high = probs[:, rows].min(initial=0), probs[:, rows].max(initial=0)
            if not (low >= 0 and high <= 1 and np.all(np.abs(total - 1) < 1e-3)):
                raise ValueError("probs must be probabilities: in [0, 1] and summing to 1 over the classes; got values in "
                                 f"[{low:.3g}, {high:.3g}] with sums in [{total.min():.3g}, {total.max():.3g}]: softmax first")
        features = self.features
        if features is not None:
            features = np.asarray(features)
            if features.ndim != 2 or len(features) != n:
                raise ValueError(f"features must be ({n}, d), a row per sample; got shape {features.shape}")
            features = np.ascontiguousarray(features, dtype=np.float32)
        self._set(probs=probs, features=features, labels=labels, params=dict(self.params))

    @property
    def num_samples(self) -> int:
        return self.probs.shape[1]

    @property
    def num_classes(self) -> int:
        return self.probs.shape[2]


@dataclass(frozen=True, eq=False)
class Scores(_Saved):
    """What each sample is worth: values (n,) float64, higher = more worth keeping; +inf ranks first; NaN is refused."""

    values: np.ndarray
    name: str
    params: dict = field(default_factory=dict)
    _arrays = ("values",)
    _plain = ("name",)

    def __post_init__(self):
        values = np.ascontiguousarray(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"scores must be (samples,), one number each; got shape {values.shape}")
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            raise ValueError(f"scores of {self.name!r} must be numbers; {len(missing)} of {len(values)} are NaN "
                             f"(first: row {missing[0]}): score only samples that were trained on")
        self._set(values=values, params=dict(self.params))

    @property
    def num_samples(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Selection(_Saved):
    """Which samples stay. kept: (k,) int64, unique, ascending, in 0..num_samples-1: always the KEPT ones."""

    kept: np.ndarray
    num_samples: int
    method: str
    params: dict = field(default_factory=dict)
    _arrays = ("kept",)
    _plain = ("num_samples", "method")

    def __post_init__(self):
        kept = np.asarray(self.kept)
        if kept.dtype == bool:
            raise ValueError("kept must be row numbers; got a mask of bool: pass np.flatnonzero(mask)")
        if kept.ndim != 1 or (kept.size and kept.dtype.kind not in "iu"):
            raise ValueError(f"kept must be (k,) whole row numbers; got shape {kept.shape} of {kept.dtype}")
        kept = kept.astype(np.int64)
        if kept.size and (kept[0] < 0 or kept[-1] >= self.num_samples or np.any(np.diff(kept) <= 0)):
            raise ValueError(f"kept must be unique, ascending row numbers in 0..{self.num_samples - 1}; got numbers in "
                             f"{kept.min()}..{kept.max()}: pass np.unique(kept)")
        self._set(kept=kept, params=dict(self.params))

    @property
    def pruned(self) -> np.ndarray:
        """(m,) int64: the rows that go, ascending."""
        return np.flatnonzero(~self.mask())

    def mask(self) -> np.ndarray:
        """(n,) bool: True where the sample is kept."""
        mask = np.zeros(self.num_samples, bool)
        mask[self.kept] = True
        return mask

    @property
    def prune_ratio(self) -> float:
        """The fraction removed, as achieved."""
        return 1 - len(self.kept) / self.num_samples if self.num_samples else 0.0


# ---- checks shared by the records ------------------------------------------------------------------------------


def require_kind(value, kind: type, what: str) -> None:
    """Raise TypeError unless `value` is a record of this kind: scores, orders and index sets are never mixed up."""
    if not isinstance(value, kind):
        hint = "; wrap it: Scores(values, name=...), higher = more worth keeping" if kind is Scores else ""
        raise TypeError(f"{what} needs {kind.__name__}; got {type(value).__name__}{hint}")


def _shaped(name, array, shape, dtype, like="target_prob's shape"):
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"{name} must have {like} {shape}; got {array.shape}")
    return np.asfortranarray(array, dtype=dtype)


def whole_labels(labels, n: int, classes: int | None = None, least: int = 0) -> np.ndarray:
    """labels as (n,) int64 from `least`, to classes - 1 if that is given; ValueError unless they are n whole numbers."""
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels must be ({n},), one per sample; got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        wrong = np.flatnonzero(labels != np.floor(labels)) if labels.dtype.kind == "f" else np.arange(1)
        if len(wrong):
            raise ValueError(f"labels must be whole numbers; got {labels.dtype} with {labels[wrong[0]]!r} at row {wrong[0]}")
    labels = labels.astype(np.int64)
    top = np.iinfo(np.int64).max if classes is None else classes - 1
    wrong = np.flatnonzero((labels < least) | (labels > top))
    if len(wrong):
        upper = "" if classes is None else str(top)
        raise ValueError(f"labels must be in {least}..{upper}; {len(wrong)} are not (first: {labels[wrong[0]]} at row "
                         f"{wrong[0]})")
    return labels


def _check_divergence(t, divergence, unseen):
    wrong = np.flatnonzero(np.isnan(divergence) != unseen)
    if not len(wrong):
        wrong = np.flatnonzero((divergence < 0) | np.isinf(divergence))
    if len(wrong):
        raise ValueError("divergence must be a number from 0 for every sample that was trained on, NaN for any other; got "
                         f"{divergence[wrong[0]]:.6g} at row {wrong[0]}, column {t}: pass what a Recorder with tdds=True gave")


def _check_epoch(t, prob, margin, correct, unseen):
    if not np.array_equal(np.isnan(prob), unseen) or not np.array_equal(np.isnan(margin), unseen) or correct[unseen].any():
        raise ValueError(f"a sample that was not trained on must be NaN in target_prob and margin and False in correct in "
                         f"every epoch, any other in none; epoch {t} is mixed: pass whole epochs only")
    low, high = np.nanmin(prob, initial=0.0), np.nanmax(prob, initial=0.0)
    if low < 0 or high > 1:
        row = int(np.flatnonzero((prob < 0) | (prob > 1))[0])
        raise ValueError(f"target_prob must be probabilities in [0, 1]; got {prob[row]:.6g} at row {row}, epoch {t}: "
                         "pass softmax outputs, not logits or losses")
