"""TrainingDynamics: what was seen of every sample in every epoch."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dpkit.records._checks import NO_LABEL, whole_labels
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
    margin : (n, T) float32, logit of the given label minus the largest other logit.
    correct : (n, T) bool, whether the given label had the largest logit.
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
    margin: np.ndarray
    correct: np.ndarray
    labels: np.ndarray
    moment: str = "train"
    params: dict = field(default_factory=dict)
    divergence: np.ndarray | None = None
    _arrays = ("target_prob", "margin", "correct", "labels", "divergence")
    _optional = ("divergence",)
    _plain = ("moment",)

    def __post_init__(self) -> None:
        prob = np.asarray(self.target_prob)
        if prob.ndim != 2 or prob.shape[1] == 0:
            raise ValueError(
                "target_prob must be (samples, epochs) with at least one epoch; got shape "
                f"{prob.shape}"
            )
        prob = np.asfortranarray(prob, dtype=np.float32)
        margin = _shaped("margin", self.margin, prob.shape, np.float32)
        correct = np.asarray(self.correct)
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
        if self.moment not in ("train", "eval"):
            raise ValueError(f'moment must be "train" or "eval"; got {self.moment!r}')
        self._set(
            target_prob=prob,
            margin=margin,
            correct=correct,
            labels=labels,
            params=dict(self.params),
        )
        unseen = np.isnan(prob[:, 0])
        for t in range(prob.shape[1]):  # column by column: no (n, T) temporaries
            _check_epoch(t, prob[:, t], margin[:, t], correct[:, t], unseen)
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
        return TrainingDynamics(
            self.target_prob[:, :epochs],
            self.margin[:, :epochs],
            self.correct[:, :epochs],
            self.labels,
            self.moment,
            self.params,
            None if self.divergence is None else self.divergence[:, : epochs - 1],
        )

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
    if (
        not np.array_equal(np.isnan(prob), unseen)
        or not np.array_equal(np.isnan(margin), unseen)
        or correct[unseen].any()
    ):
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
