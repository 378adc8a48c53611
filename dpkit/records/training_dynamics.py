"""TrainingDynamics: what was seen of every sample in every epoch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records._checks import NO_LABEL, check_moment, whole_labels
from dpkit.records._saved import Saved
from dpkit.storage.blocks import give_back, mean_over_epochs, row_blocks

# n * classes up to which the stages hold an epoch's probabilities for TDDS: 1 GiB
MOST_PROBS = 2**28


@dataclass(frozen=True, eq=False)
class TrainingDynamics(Saved):
    """What was seen of every sample in every epoch of one training.

    Parameters
    ----------
    target_prob : (n, T) float32 in [0, 1], the network's probability for the given label.
    margin : (n, T) float32, logit of the given label minus the largest other logit; None where it
        was not recorded.
    correct : (n, T) bool, whether the given label had the largest logit; None where it was not
        recorded.
    labels : (n,) int64, the given labels; NO_LABEL, -1, where a sample was not trained on and its
        label is not known.
    moment : "train" (seen in the training pass, before the batch's update) or "eval" (a clean pass
        afterwards).
    params : what else to keep with it.
    divergence : (n, T - 1) float32, or None where it was not recorded: how far all probabilities
        moved from epoch t to the next, sum_c |p_{t+1}(c) (log p_{t+1}(c) - log p_t(c))|, in nats,
        from 0. TDDS is made of it.

    Raises
    ------
    ValueError if shapes do not fit, probabilities or labels are out of range, or epochs are mixed.

    Notes
    -----
    A sample that was not trained on has target_prob, margin and divergence wholly NaN and correct
    False. Memory is laid out epoch by epoch, which is how records grow and what the windowed scores
    read fastest.

    Examples
    --------
    >>> p = np.array([[0.5, 0.7, 0.9], [0.1, 0.9, 0.1]])     # 2 samples, 3 epochs
    >>> d = dpkit.TrainingDynamics(p, margin=p - 0.5, correct=p > 0.5, labels=[0, 0])
    >>> d.num_samples, d.num_epochs
    (2, 3)
    >>> d.mean_prob().round(2), d.std_prob().round(2)
    (array([0.7 , 0.37]), array([0.2 , 0.46]))
    """

    target_prob: np.ndarray
    margin: np.ndarray | None
    correct: np.ndarray | None
    labels: np.ndarray
    moment: str = "train"
    params: dict = field(default_factory=dict)
    divergence: np.ndarray | None = None
    _arrays = ("target_prob", "margin", "correct", "labels", "divergence")
    _optional = ("margin", "correct", "divergence")
    _plain = ("moment",)

    def __post_init__(self) -> None:
        prob = np.asarray(self.target_prob)
        if prob.ndim != 2 or prob.shape[1] == 0:
            raise ValueError(
                "target_prob must be (samples, epochs) with at least one epoch; got shape "
                f"{prob.shape}"
            )
        prob = np.asfortranarray(prob, dtype=np.float32)
        margin, correct = self.margin, self.correct
        if margin is not None:
            margin = _shaped("margin", margin, prob.shape, np.float32)
        if correct is not None:
            correct = np.asarray(correct)
            if correct.dtype != bool:
                raise ValueError(f"correct must be an array of bool; got {correct.dtype}")
            correct = _shaped("correct", correct, prob.shape, bool)
        labels = whole_labels(self.labels, len(prob), least=NO_LABEL)
        lacking = np.flatnonzero((labels == NO_LABEL) & ~np.isnan(prob[:, 0]))
        if len(lacking):
            raise ValueError(
                f"labels must be in 0..; {len(lacking)} are not (first: -1 at row {lacking[0]}): "
                "only a sample that was not trained on may have -1, no label"
            )
        check_moment(self.moment)
        self._set(
            target_prob=prob,
            margin=margin,
            correct=correct,
            labels=labels,
            params=dict(self.params),
        )
        unseen = np.isnan(prob[:, 0])
        for t in range(prob.shape[1]):  # column by column: no (n, T) temporaries
            margins, answers = (a if a is None else a[:, t] for a in (margin, correct))
            _check_epoch(t, prob[:, t], margins, answers, unseen)
            give_back(prob, margin, correct)
        if self.divergence is not None:
            divergence = _shaped(
                "divergence",
                self.divergence,
                (len(prob), prob.shape[1] - 1),
                np.float32,
                like="a column between every two epochs, shape",
            )
            for t in range(divergence.shape[1]):
                _check_divergence(t, divergence[:, t], unseen)
                give_back(divergence)
            self._set(divergence=divergence)

    @property
    def num_samples(self) -> int:
        """n, the size of the set."""

        return self.target_prob.shape[0]

    @property
    def num_epochs(self) -> int:
        """T, the number of recorded epochs."""

        return self.target_prob.shape[1]

    def first(self, epochs: int) -> "TrainingDynamics":
        """The record as it stood after the first `epochs` epochs (1..T)."""
        if not 1 <= epochs <= self.num_epochs:
            raise ValueError(
                f"first(epochs) needs 1..{self.num_epochs} (the epochs recorded); got {epochs}"
            )
        return self._cut(
            lambda name, array: array[:, : epochs - 1 if name == "divergence" else epochs],
            *("target_prob", "margin", "correct", "divergence"),
        )

    def rows(self, rows: np.ndarray) -> "TrainingDynamics":
        """The record of these samples alone, in this order: (k,) row numbers."""
        return self._cut(lambda name, array: array[rows], *self._arrays)

    def _cut(self, part: Callable, *names: str) -> "TrainingDynamics":
        """The record with part(name, array) of those arrays that there are."""
        arrays = {name: getattr(self, name) for name in names}
        parts: Any = {name: a if a is None else part(name, a) for name, a in arrays.items()}
        return replace(self, **parts)

    def mean_prob(self) -> np.ndarray:
        """Mean of target_prob over the epochs: (n,) float64; NaN where it was not trained on."""
        return mean_over_epochs(self.target_prob)

    def std_prob(self) -> np.ndarray:
        """Standard deviation of target_prob over the epochs: (n,) float64, T - 1 in the divisor.

        It is the moon plot's x. ValueError for a record of one epoch.
        """
        if self.num_epochs < 2:
            raise ValueError(
                "a standard deviation needs at least 2 recorded epochs; this record has 1: record "
                "longer"
            )
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
                f"{what} needs every sample's dynamics; {len(missing)} of {self.num_samples} rows "
                f"are NaN (first: row {missing[0]}) because those samples were not trained on: "
                "record a training on the whole set"
            )

    def require(self, name: str, what: str) -> np.ndarray:
        """The array margin or correct; ValueError if it was not recorded. `what` names who is
        asking.
        """
        array = getattr(self, name)
        if array is None:
            raise ValueError(
                f"{what} needs {name}, and this record has none, as it was made of probabilities "
                "alone: choose what reads target_prob only, or record with a Recorder"
            )
        return array

    @classmethod
    def from_probs(
        cls,
        probs: ArrayLike,
        labels: ArrayLike,
        *,
        sample_axis: int | None = None,
        moment: str = "train",
        params: dict | None = None,
    ) -> "TrainingDynamics":
        """The record of a training of which only the probabilities of the given labels were saved.

        Parameters
        ----------
        probs : (n, T) or (T, n) floats in [0, 1]: the network's probability for each sample's given
            label in each epoch. Of cross-entropy losses pass np.exp(-losses). Samples that were not
            trained on are NaN in every epoch.
        labels : (n,), the given labels, in the set's order.
        sample_axis : 0 for (n, T), 1 for (T, n). Default: the axis that is as long as labels; it
            must be said where both are.
        moment, params : as of TrainingDynamics.

        Returns
        -------
        TrainingDynamics whose margin and correct are None: dual, dyn_unc, mean_prob and what else
        needs no more work; aum and forgetting refuse it.

        Raises
        ------
        ValueError if no axis, or either, is as long as labels, or values are no probabilities.

        Examples
        --------
        >>> saved = np.array([[0.5, 0.1], [0.7, 0.9], [0.9, 0.1]])     # 3 epochs of 2 samples
        >>> d = dpkit.TrainingDynamics.from_probs(saved, labels=[0, 1])
        >>> d.target_prob.shape, d.margin
        ((2, 3), None)
        """
        probs, n = np.asarray(probs), len(np.asarray(labels))
        if probs.ndim != 2 or probs.dtype.kind != "f":
            raise ValueError(
                "probs must be (samples, epochs) or (epochs, samples) floats, the probability of "
                f"each sample's given label; got shape {probs.shape} of {probs.dtype}"
                + (_PICK if probs.ndim == 3 else "")
            )
        if sample_axis not in (None, 0, 1) or isinstance(sample_axis, bool):
            raise ValueError(
                "sample_axis must be 0 for (samples, epochs) or 1 for (epochs, samples); got "
                f"{sample_axis!r}"
            )
        axes = [axis for axis in (0, 1) if probs.shape[axis] == n and sample_axis in (None, axis)]
        if len(axes) == 2:
            raise ValueError(
                f"probs of shape {probs.shape} may be (samples, epochs) or (epochs, samples): say "
                "which, sample_axis=0 or sample_axis=1"
            )
        if not axes:
            where = "an axis" if sample_axis is None else f"axis {sample_axis}"
            raise ValueError(
                f"{where} of probs must be as long as labels, {n}; got shape {probs.shape}: pass "
                "the labels of the same samples"
            )
        probs = probs if axes == [0] else probs.T
        return cls(probs, None, None, np.asarray(labels), moment, params or {})

    @classmethod
    def from_reports(
        cls, reports: Iterable, labels: ArrayLike, *, params: dict | None = None
    ) -> "TrainingDynamics":
        """Stack the epoch reports that `train` yields.

        Parameters
        ----------
        reports : of every epoch, in order.
        labels : (n,) given labels of the whole original set.
        params : what else to keep with it.

        Returns
        -------
        TrainingDynamics of moment "train".

        Raises
        ------
        ValueError if there is no report.
        """
        reports = list(reports)
        if not reports:
            raise ValueError(
                "from_reports needs at least one epoch report; got none: let `train` run an epoch"
            )
        columns = {
            name: np.stack([getattr(report, name) for report in reports]).T
            for name in ("target_prob", "margin", "correct")
        }
        if all(getattr(report, "divergence", None) is not None for report in reports):
            # before the first epoch there was nothing to move from
            moved = [report.divergence for report in reports[1:]]
            columns["divergence"] = (
                np.stack(moved).T
                if moved
                else np.empty((len(columns["target_prob"]), 0), np.float32)
            )
        return cls(**columns, labels=np.asarray(labels), moment="train", params=params or {})


_PICK = (
    "; of all classes' probabilities (samples, epochs, classes) pick it with "
    "np.take_along_axis(probs, labels[:, None, None], 2)[..., 0]"
)


def _shaped(name, array, shape, dtype, like="target_prob's shape"):
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"{name} must have {like} {shape}; got {array.shape}")
    return np.asfortranarray(array, dtype=dtype)


def _check_divergence(t, divergence, unseen):
    wrong = np.flatnonzero(np.isnan(divergence) != unseen)
    if not len(wrong):
        wrong = np.flatnonzero((divergence < 0) | np.isinf(divergence))
    if len(wrong):
        raise ValueError(
            "divergence must be a number from 0 for every sample that was trained on, NaN for any "
            f"other; got {divergence[wrong[0]]:.6g} at row {wrong[0]}, column {t}: pass what a "
            "Recorder with tdds=True gave"
        )


def _check_epoch(t, prob, margin, correct, unseen):
    mixed = not np.array_equal(np.isnan(prob), unseen)
    if margin is not None:
        mixed |= not np.array_equal(np.isnan(margin), unseen)
    if mixed or (correct is not None and correct[unseen].any()):
        raise ValueError(
            "a sample that was not trained on must be NaN in target_prob and margin and False in "
            f"correct in every epoch, any other in none; epoch {t} is mixed: pass whole epochs only"
        )
    low, high = np.nanmin(prob, initial=0.0), np.nanmax(prob, initial=0.0)
    if low < 0 or high > 1:
        row = int(np.flatnonzero((prob < 0) | (prob > 1))[0])
        raise ValueError(
            f"target_prob must be probabilities in [0, 1]; got {prob[row]:.6g} at row {row}, epoch "
            f"{t}: pass softmax outputs, not logits or losses"
        )
