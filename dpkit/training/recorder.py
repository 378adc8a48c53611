"""Recording training dynamics in anyone's training loop, with two lines; in one process or in
several of one training.
"""

import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from dpkit.records import NO_LABEL, TrainingDynamics, whole_labels
from dpkit.training.batches import DeferredChecks, as_logits, look_like_probabilities, whole_numbers
from dpkit.training.processes import processes
from dpkit.training.shards import Shard

_NO_LOGITS = (
    "logits must be what comes before the softmax; these are from 0 and every row sums to 1, as "
    "probabilities do: pass the network's output without softmax, or of probabilities p the "
    "logarithms, p.clamp_min(1e-12).log()"
)


class Recorder:
    """Collects target_prob, margin and correct of every sample, from the logits of a training.

        recorder = Recorder(n, epochs, labels=dataset.targets)
        for epoch in range(epochs):
            for index, (x, y) in loader:            # loader over indexed(dataset)
                logits = net(x)
                recorder.update(epoch, index, logits, y)
                ...
        dynamics = recorder.dynamics()

    Parameters
    ----------
    n : size of the original set.
    epochs : how many will be recorded.
    index : original ids to expect (default: all n).
    labels : (n,), the given label of every original sample, -1 where it is not known. A batch with
        another one is refused at once: its ids are not the dataset's own, or its labels were
        changed. Without, it is refused in the second epoch.
    moment : "train" or "eval", as in TrainingDynamics.
    tdds : also record the divergence that the TDDS score is made of. It compares all probabilities
        with those of the epoch before, so epochs must come in order, and the last logarithms, (n,
        classes) float32, are held on the logits' device.
    log_probs : those that another Recorder held after the epoch before this one's first (its
        .log_probs), to go on from.

    Raises
    ------
    ValueError for no samples or no epochs; update raises it for a batch that is wrong.

    Notes
    -----
    Memory: n * epochs of two float32 and a bool on the host, and one epoch's on the logits' device;
    without tdds never n * classes.

    Nothing waits for a GPU until an epoch is read: what is wrong with a batch is told while a later
    one is recorded, and at the latest then. A sample seen twice in an epoch, or never, is refused
    then. The rows of samples that are not expected are NaN, and have the label -1 unless labels=
    tells theirs.

    Under torch.distributed every process makes the same Recorder and updates it with its own shard.
    When an epoch closes (at the first update of the next, in epoch() or dynamics(): call them on
    every process) the shards are merged by id: every process then holds the whole record, and what
    one process was given wrong is refused on all.
    """

    def __init__(
        self,
        n: int,
        epochs: int,
        *,
        index: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        moment: str = "train",
        tdds: bool = False,
        log_probs: torch.Tensor | None = None,
    ) -> None:
        if n < 1 or epochs < 1:
            raise ValueError(
                f"Recorder needs at least one sample and one epoch; got n={n}, epochs={epochs}"
            )
        self.n, self.epochs, self.moment = n, epochs, moment
        self.expected = np.arange(n) if index is None else np.asarray(index, dtype=np.int64)
        # (epochs, n): an epoch is one contiguous row
        self._target_prob = np.full((epochs, n), np.nan, np.float32)
        self._margin = np.full((epochs, n), np.nan, np.float32)
        self._correct = np.zeros((epochs, n), bool)
        self._divergence = np.full((epochs, n), np.nan, np.float32) if tdds else None
        # (n, classes): as last seen; NaN before that. `train` hands them on from epoch to epoch
        self.log_probs = log_probs
        self._told = None
        if labels is not None:
            labels = labels.cpu() if isinstance(labels, torch.Tensor) else labels
            self._told = whole_labels(labels, n, least=NO_LABEL)
        # (n,): the label of every sample as far as it was told or seen
        self._given = torch.full((n,), NO_LABEL)
        if self._told is not None:
            self._given = torch.from_numpy(self._told.copy())
        self._classes, self._rows_checked = None, 0
        self._deferred = DeferredChecks()
        self._shard: Shard | None = None
        self._done: set[int] = set()

    def update(self, epoch: int, index: Any, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Record one batch.

        Parameters
        ----------
        epoch : from 0.
        index : (B,) original ids, whole numbers.
        logits : (B, C), before any softmax.
        labels : (B,) or (B, 1), the given ones, whole numbers.

        index and labels may be tensors, arrays or lists.
        """
        if not 0 <= epoch < self.epochs:
            raise ValueError(
                f"epoch must be 0..{self.epochs - 1} (this Recorder was made for {self.epochs}); "
                f"got {epoch}"
            )
        if epoch in self._done:
            raise ValueError(f"epoch {epoch} was already recorded; count epochs upwards from 0")
        fault, batch, device = None, None, self._given.device
        try:
            batch = self._checked(index, logits, labels)
            device = batch[1].device
        except ValueError as error:
            fault = processes(device).hold(error)
        if self._shard is None or epoch != self._shard.epoch:
            self._open(epoch, device)
        assert self._shard is not None
        try:
            if batch is not None:
                self._put(*batch)
        except ValueError as error:
            fault = processes(device).hold(error)
        self._shard.fault = self._shard.fault or fault

    def _open(self, epoch, device):
        self._close()
        if self._divergence is not None and epoch != len(self._done):
            raise ValueError(
                "tdds compares an epoch with the one before, so they are recorded in order; "
                f"got epoch {epoch} after {len(self._done)} epochs"
            )
        self._shard = Shard(epoch, self.n, device, tdds=self._divergence is not None)
        self._given = self._given.to(device)

    def _put(self, index, logits, labels):
        index, labels = self._judged(index, logits, labels)
        with torch.no_grad():
            values = per_sample_metrics(logits, labels)
            if self._divergence is not None:
                values += (self._moved(index, logits),)
            self._shard.put(index, values)
            self._given[index] = labels

    def _moved(self, index, logits):
        """(B,): how far the probabilities are from the same samples' last ones; replaces them."""
        # a class that is masked out has -inf
        now = logits.detach().float().log_softmax(1).clamp_min(-1e4)
        if self.log_probs is None:
            self.log_probs = torch.full((self.n, logits.shape[1]), torch.nan, device=logits.device)
        before, self.log_probs[index] = self.log_probs[index], now
        return (now.exp() * (now - before).abs()).sum(1)

    def _checked(self, index, logits, labels):
        """The three as tensors on the logits' device, or a ValueError about their kinds, shapes
        and, on a CPU, ids.
        """
        logits = as_logits(logits)
        index, labels = (
            whole_numbers(index, logits, "index"),
            whole_numbers(labels, logits, "labels"),
        )
        if (
            index.device.type == "cpu"
            and len(index)
            and not (0 <= int(index.min()) and int(index.max()) < self.n)
        ):
            raise ValueError(
                f"index must be original ids in 0..{self.n - 1}; got "
                f"{int(index.min())}..{int(index.max())}"
            )
        if self._classes not in (None, logits.shape[1]):
            raise ValueError(
                f"logits must have the same classes in every batch; got {logits.shape[1]}, and "
                f"{self._classes} before: record one training with one Recorder"
            )
        return (
            index.to(logits.device, non_blocking=True),
            logits,
            labels.to(logits.device, non_blocking=True),
        )

    def _judged(self, index, logits, labels):
        """(index, labels) within their ranges; refuses what is not the sample's, where it may be
        while a GPU goes on.
        """
        self._classes = logits.shape[1]
        with torch.no_grad():
            at, valid = index.clamp(0, self.n - 1), labels.clamp(0, self._classes - 1)
            known = self._given[at]
            wrong = (at != index) | (valid != labels) | ((known != labels) & (known != NO_LABEL))
            self._deferred.refuse_if(
                wrong.any(),
                lambda: self._why(*(value.cpu().numpy() for value in (index, labels, known))),
            )
            # so many rows will do: fewer may look like probabilities by chance
            if self._rows_checked < 8:
                alike = look_like_probabilities(logits)
                self._alike = self._alike & alike if self._rows_checked else alike
                self._rows_checked += len(logits)
                if self._rows_checked >= 8:
                    self._deferred.refuse_if(self._alike, lambda: _NO_LOGITS)
        self._deferred.settle()
        return at, valid

    def _why(self, index, labels, known):
        """What is wrong with a batch, in a sentence."""
        if len(out := index[(index < 0) | (index >= self.n)]):
            return f"index must be original ids in 0..{self.n - 1}; got {out.min()}..{out.max()}"
        if labels.min() < 0 or labels.max() >= self._classes:
            return (
                f"labels must be in 0..{self._classes - 1} (the logits have {self._classes} "
                f"classes); got {labels.min()}..{labels.max()}"
            )
        [rows] = np.nonzero((known != labels) & (known != NO_LABEL))
        i = index[rows[0]]
        where = (
            "in an earlier epoch"
            if self._told is None or self._told[i] == NO_LABEL
            else "in labels="
        )
        return (
            f"a sample's label must stay what it is: {len(rows)} of {len(labels)} in this batch "
            f"differ (first: id {i} is {known[rows[0]]} {where}, and {labels[rows[0]]} now): ids "
            "must be the dataset's own, not places in a shuffled order (use "
            "dpkit.indexed(dataset)), and labels the given ones, not mixed or changed on the way"
        )

    def dynamics(self) -> TrainingDynamics:
        """The record of all epochs.

        ValueError if an epoch is missing, or a sample was seen twice in one, or never.
        """
        self._close()
        missing = sorted(set(range(self.epochs)) - self._done)
        if missing:
            raise ValueError(
                f"expected {self.epochs} recorded epochs; {len(missing)} are missing (first: epoch "
                f"{missing[0]}): finish the training, or make the Recorder for fewer epochs"
            )
        divergence = None if self._divergence is None else self._divergence[1:].T
        return TrainingDynamics(
            self._target_prob.T,
            self._margin.T,
            self._correct.T,
            self._given.cpu().numpy(),
            self.moment,
            divergence=divergence,
        )

    def epoch(self, epoch: int, *, partial: bool = False) -> tuple:
        """(target_prob, margin, correct, divergence) of a finished epoch, (n,), by original id.

        divergence is from the epoch before to this one, NaN in the first; None without tdds.
        """
        if self._shard is not None and epoch == self._shard.epoch:
            self._close(partial)
        if epoch not in self._done:
            raise ValueError(
                f"epoch {epoch} was not recorded; recorded are {sorted(self._done) or 'none'}"
            )
        moved = None if self._divergence is None else self._divergence[epoch]
        return self._target_prob[epoch], self._margin[epoch], self._correct[epoch], moved

    def _close(self, partial=False):
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        group = processes(self._given.device)
        try:
            self._deferred.settle(wait=True)
        except ValueError as error:
            shard.fault = shard.fault or group.hold(error)
        if group.world_size > 1:
            self._given, self.log_probs = shard.merge(
                group, self._made(), self._given, self.log_probs
            )
        shard.check_whole(self.expected, partial, several=group.world_size > 1)
        hosts = [self._target_prob, self._margin, self._correct]
        if self._divergence is not None:
            hosts.append(self._divergence)
        for host, values in zip(hosts, shard.values, strict=True):
            host[shard.epoch] = values.cpu().numpy()
        self._done.add(shard.epoch)

    def _made(self):
        """How this Recorder was made, for comparison with those of other processes."""
        told = None if self._told is None else zlib.crc32(self._told.tobytes())
        expected = zlib.crc32(self.expected.tobytes())
        return self.n, self.epochs, expected, self._divergence is not None, told


def per_sample_metrics(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(target_prob, margin, correct), each (B,), float32, of logits (B, C) and labels (B,)."""
    logits = logits.detach().float()
    at = labels[:, None]
    given = logits.gather(1, at)
    others = logits.scatter(1, at, -torch.inf).amax(1)
    target_prob = torch.exp(given[:, 0] - logits.logsumexp(1)).clamp_(max=1)  # rounding can pass 1
    return target_prob, given[:, 0] - others, logits.argmax(1) == labels


class indexed(torch.utils.data.Dataset):
    """A dataset that yields (index, item): indexed(dataset)[i] == (i, dataset[i])."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> tuple[int, Any]:
        return i, self.dataset[i]
