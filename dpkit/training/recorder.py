"""Recording training dynamics in anyone's training loop, with two lines; in one process or in
several of one training.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from dpkit.records import NO_LABEL, TrainingDynamics, check_moment, whole_labels
from dpkit.training.batches import epoch_number, expected_ids
from dpkit.training.finished_epochs import FinishedEpochs
from dpkit.training.processes import processes
from dpkit.training.recorder_checks import BatchChecks
from dpkit.training.recorder_state import KIND, check_state
from dpkit.training.shards import Shard


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
    epochs : how many will be recorded; None: as many as there will be (a training that may stop
        early, or go on).
    index : original ids to expect (default: all n). The rows of the others are NaN.
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
    ValueError for no samples or epochs, and for an index, labels or a moment that are none; update
    raises it for a batch that is wrong.

    Notes
    -----
    Memory: n * epochs of two float32 and a bool on the host (up to twice that with epochs=None, and
    three times while the arrays grow), and one epoch's on the logits' device; without tdds never n
    * classes.

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
        epochs: int | None = None,
        *,
        index: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        moment: str = "train",
        tdds: bool = False,
        log_probs: torch.Tensor | None = None,
    ) -> None:
        if n < 1 or (epochs is not None and epochs < 1):
            raise ValueError(
                f"Recorder needs at least one sample and one epoch; got n={n}, epochs={epochs}"
            )
        check_moment(moment)
        self.n, self.epochs, self.moment, self.tdds = n, epochs, moment, tdds
        self.expected = np.arange(n) if index is None else expected_ids(index, n)
        self._finished = FinishedEpochs(n, epochs, tdds)
        # (n, classes): as last seen; NaN before that. `train` hands them on from epoch to epoch
        self.log_probs = log_probs
        told = None
        if labels is not None:
            labels = labels.cpu() if isinstance(labels, torch.Tensor) else labels
            told = whole_labels(labels, n, least=NO_LABEL)
        self._checks = BatchChecks(n, told)
        self._shard: Shard | None = None

    def update(self, epoch: int, index: Any, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Record one batch.

        Parameters
        ----------
        epoch : from 0, one after the other.
        index : (B,) original ids, whole numbers.
        logits : (B, C), before any softmax.
        labels : (B,) or (B, 1), the given ones, whole numbers.

        index and labels may be tensors, arrays or lists.
        """
        epoch = epoch_number(epoch, planned=self.epochs, finished=self._finished.count)
        fault, batch, device = None, None, self._checks.given.device
        try:
            batch = self._checks.read(index, logits, labels)
            device = batch[1].device
        except ValueError as error:
            fault = processes(device).hold(error)
        if self._shard is None or epoch != self._shard.epoch:
            self._open(epoch, device)
        assert self._shard is not None
        if self._checks.given.device != device:
            self._move_to(device)
        try:
            if batch is not None:
                self._put(*batch)
        except ValueError as error:
            fault = processes(device).hold(error)
        self._shard.fault = self._shard.fault or fault

    def _open(self, epoch, device):
        self._close()
        fault = None
        if epoch != self._finished.count:
            fault = processes(device).hold(
                ValueError(
                    "epochs are counted from 0, and they are recorded in order; got epoch "
                    f"{epoch} after {self._finished.count} epochs: a training that was stopped "
                    "goes on with Recorder.load_state_dict"
                )
            )
        self._shard = Shard(epoch, self.n, device, tdds=self.tdds)
        self._shard.fault = fault
        self._move_to(device)

    def _move_to(self, device):
        """A record goes on where the logits are, also one that was saved elsewhere."""
        self._checks.given = self._checks.given.to(device)
        if self.log_probs is not None:
            self.log_probs = self.log_probs.to(device)
        if self._shard is not None:
            self._shard.move_to(device)

    def _put(self, index, logits, labels):
        index, labels = self._checks.judge(index, logits, labels)
        with torch.no_grad():
            values = per_sample_metrics(logits, labels)
            if self.tdds:
                values += (self._moved(index, logits),)
            self._shard.put(index, values)
            self._checks.given[index] = labels

    def _moved(self, index, logits):
        """(B,): how far the probabilities are from the same samples' last ones; replaces them."""
        # a class that is masked out has -inf
        now = logits.detach().float().log_softmax(1).clamp_min(-1e4)
        if self.log_probs is None:
            self.log_probs = torch.full((self.n, logits.shape[1]), torch.nan, device=logits.device)
        before, self.log_probs[index] = self.log_probs[index], now
        return (now.exp() * (now - before).abs()).sum(1)

    def dynamics(self, epochs: int | None = None) -> TrainingDynamics:
        """The record of all epochs.

        Parameters
        ----------
        epochs : the record of only the first so many, e.g. of a training that stopped before its
            time. Default: all that the Recorder was made for, or with epochs=None all there are.

        Raises
        ------
        ValueError if an epoch is missing, or a sample was seen twice in one, or never.
        """
        count = self._finished.count
        if self._shard is not None and (epochs is None or self._shard.epoch < epochs):
            try:
                self._close()
            except ValueError as error:
                whole = f"; the {count} epochs before it are whole: dynamics(epochs={count})"
                raise ValueError(f"{error}{whole if count else ''}") from None
        count = self._finished.count
        wanted = self.epochs or max(count, 1) if epochs is None else epochs
        if wanted < 1:
            raise ValueError(f"dynamics(epochs) needs at least one; got {epochs}")
        if count < wanted:
            earlier = f", or take those there are with dynamics(epochs={count})" if count else ""
            raise ValueError(
                f"expected {wanted} recorded epochs; {wanted - count} are missing (first: epoch "
                f"{count}): finish the training{earlier}"
            )
        target_prob, margin, correct, *moved = (a[:wanted].T for a in self._finished.arrays)
        return TrainingDynamics(
            target_prob,
            margin,
            correct,
            self._checks.given.cpu().numpy(),
            self.moment,
            divergence=moved[0][:, 1:] if moved else None,
        )

    def state_dict(self) -> dict:
        """All that was recorded, the epoch under way too, for a training that goes on later.

        Tensors on the CPU and plain values, which torch.load reads with weights_only=True. Save it
        with the network and the optimizer, and give it to load_state_dict.

        Raises
        ------
        ValueError within an epoch of several processes: each has a part of it.
        """
        self._checks.settle()
        shard = self._shard
        if shard is not None and processes(self._checks.given.device).world_size > 1:
            raise ValueError(
                "of several processes each has a part of the epoch under way; close it before "
                f"state_dict(): call epoch({shard.epoch}) on every process when it is over"
            )
        return {
            "kind": KIND,
            "n": self.n,
            "moment": self.moment,
            "tdds": self.tdds,
            "index": torch.from_numpy(self.expected.copy()),
            "labels": self._checks.given.cpu().clone(),
            "classes": self._checks.classes,
            "log_probs": None if self.log_probs is None else self.log_probs.cpu().clone(),
            "epochs": self._finished.state(),
            "open": None if shard is None else shard.state(),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what state_dict returned; what was recorded here before is dropped.

        Raises
        ------
        ValueError, and nothing is changed, if it is none, or of a Recorder that was made otherwise
        (n, index, labels, moment, tdds), or has more epochs than this one was made for.
        """
        try:
            check_state(state, self, self._checks.told)
            finished = FinishedEpochs(self.n, self.epochs, self.tdds)
            finished.load(state["epochs"])
            shard = None
            if state["open"] is not None:
                if processes(self._checks.given.device).world_size > 1:
                    raise ValueError(
                        f"the record was saved within epoch {finished.count} by one process, and "
                        "this training has several: save it after epoch() has closed that"
                    )
                shard = Shard(finished.count, self.n, torch.device("cpu"), tdds=self.tdds)
                shard.load(state["open"])
            log_probs, classes = state["log_probs"], state["classes"]
            given = state["labels"].cpu()
        except KeyError as error:
            raise ValueError(f"the saved record is not whole: it lacks {error}") from None
        if self._checks.told is not None:
            told = torch.from_numpy(self._checks.told)
            given = torch.where(given == NO_LABEL, told, given)
        self._finished, self._shard = finished, shard
        self._checks.restart(given, classes)
        self.log_probs = None if log_probs is None else log_probs.cpu().clone()

    def epoch(self, epoch: int, *, partial: bool = False) -> tuple:
        """(target_prob, margin, correct, divergence) of a finished epoch, (n,), by original id.

        divergence is from the epoch before to this one, NaN in the first; None without tdds.
        """
        if self._shard is not None and epoch == self._shard.epoch:
            self._close(partial)
        count = self._finished.count
        if not 0 <= epoch < count:
            recorded = f"0..{count - 1}" if count else "none"
            raise ValueError(f"epoch {epoch} was not recorded; recorded are {recorded}")
        rows = [array[epoch] for array in self._finished.arrays]
        return *rows[:3], rows[3] if self.tdds else None

    def _close(self, partial=False):
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        group = processes(self._checks.given.device)
        try:
            self._checks.settle()
        except ValueError as error:
            shard.fault = shard.fault or group.hold(error)
        if group.world_size > 1:
            self._checks.given, self.log_probs = shard.merge(
                group, self._made(), self._checks.given, self.log_probs
            )
        shard.check_whole(self.expected, partial, several=group.world_size > 1)
        self._finished.add(shard.values)

    def _made(self):
        """How this Recorder was made, for comparison with those of other processes."""
        told = None if self._checks.told is None else zlib.crc32(self._checks.told.tobytes())
        expected = zlib.crc32(self.expected.tobytes())
        return self.n, self.epochs, expected, self.tdds, told


def per_sample_metrics(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(target_prob, margin, correct), each (B,), float32, of logits (B, C) and labels (B,)."""
    logits = logits.detach().float()
    at = labels[:, None]
    given = logits.gather(1, at)
    others = logits.scatter(1, at, -torch.inf).amax(1)
    total = logits.logsumexp(1)
    target_prob = torch.exp(given[:, 0] - total).clamp_(max=1)  # rounding can pass 1
    # where another class has +inf, as float16 makes of large numbers, it would be 0
    target_prob.masked_fill_(total == torch.inf, torch.nan)
    return target_prob, given[:, 0] - others, logits.argmax(1) == labels


class indexed(torch.utils.data.Dataset):
    """A dataset that yields (index, item): indexed(dataset)[i] == (i, dataset[i])."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> tuple[int, Any]:
        return i, self.dataset[i]
