"""Recording training dynamics in anyone's training loop, with two lines; in one process or in
several of one training.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from dpkit.records import NO_LABEL, TrainingDynamics, whole_labels

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
        told = (
            np.full(n, NO_LABEL)
            if labels is None
            else whole_labels(_on_host(labels), n, least=NO_LABEL)
        )
        self._told = None if labels is None else told
        # (n,): the label of every sample as far as it was told or seen
        self._given = torch.from_numpy(told.copy())
        self._classes, self._looked_at = None, 0
        # what is not known to be right yet, as a GPU is still at it
        self._questions: deque = deque()
        self._epoch: int | None = None
        self._done: set[int] = set()
        self._fault: str | None = None

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
        fault, device = None, self._given.device
        try:
            index, logits, labels = self._checked(index, logits, labels)
            device = logits.device
        except ValueError as error:
            if rank_and_world_size()[1] == 1:
                raise
            # told to all processes when the epoch closes: if this one stopped here, they would wait
            fault = str(error)
        if epoch != self._epoch:
            self._close()
            if self._divergence is not None and epoch != len(self._done):
                raise ValueError(
                    "tdds compares an epoch with the one before, so they are recorded in order; "
                    f"got epoch {epoch} after {len(self._done)} epochs"
                )
            self._open(epoch, device)
        try:
            if fault is None:
                index, labels = self._judged(index, logits, labels)
        except ValueError as error:
            if rank_and_world_size()[1] == 1:
                raise
            fault = str(error)
        if fault:
            self._fault = self._fault or fault
            return
        with torch.no_grad():
            target_prob, margin, correct = per_sample_metrics(logits, labels)
            self._now[0][index] = target_prob
            self._now[1][index] = margin
            self._now[2][index] = correct
            if self._divergence is not None:
                self._now[3][index] = self._moved(index, logits)
            self._seen.index_add_(0, index, torch.ones_like(index, dtype=torch.int32))
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
        index, labels = _whole(index, logits, "index"), _whole(labels, logits, "labels")
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
            self._refuse_if(
                wrong.any(),
                lambda: self._why(*(value.cpu().numpy() for value in (index, labels, known))),
            )
            # so many rows will do: fewer may look like probabilities by chance
            if self._looked_at < 8:
                alike = look_like_probabilities(logits)
                self._alike = self._alike & alike if self._looked_at else alike
                self._looked_at += len(logits)
                if self._looked_at >= 8:
                    self._refuse_if(self._alike, lambda: _NO_LOGITS)
        self._answers()
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

    def _refuse_if(self, wrong, why):
        """ValueError(why()) if `wrong`, a bool on the device: now on a CPU, else once the answer is
        there without waiting.
        """
        if wrong.device.type == "cpu":
            if wrong:
                raise ValueError(why())
        elif wrong.device.type == "cuda":
            answer = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(
                wrong, non_blocking=True
            )
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(wrong.device))
            self._questions.append((done.query, done.synchronize, answer, why))
        else:
            self._questions.append((lambda: False, lambda: None, wrong, why))

    def _answers(self, wait=False):
        """Raise what is wrong with earlier batches, once the GPU is so far; `wait` for all."""
        while self._questions and (wait or self._questions[0][0]()):
            _, finish, answer, why = self._questions.popleft()
            finish()
            if answer:
                self._questions.clear()
                raise ValueError(why())

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
        if epoch == self._epoch:
            self._close(partial)
        if epoch not in self._done:
            raise ValueError(
                f"epoch {epoch} was not recorded; recorded are {sorted(self._done) or 'none'}"
            )
        moved = None if self._divergence is None else self._divergence[epoch]
        return self._target_prob[epoch], self._margin[epoch], self._correct[epoch], moved

    def _open(self, epoch, device):
        self._epoch = epoch
        floats = [torch.full((self.n,), torch.nan, device=device) for _ in range(2)]
        self._now = [*floats, torch.zeros(self.n, dtype=torch.bool, device=device)]
        if self._divergence is not None:
            self._now.append(torch.full((self.n,), torch.nan, device=device))
        self._seen = torch.zeros(self.n, dtype=torch.int32, device=device)
        self._given = self._given.to(device)
        self._fault = None

    def _merge(self, epoch):
        """Make what each process saw of the epoch what all of them saw; every sample has one shard,
        so sums are exact.
        """
        device, mine = self._seen.device, self._seen > 0
        with explain_lost_process(
            f"; if none failed, one never closed epoch {epoch}: call epoch() or dynamics() on "
            "every process"
        ):
            made = (
                self.n,
                self.epochs,
                zlib.crc32(self.expected.tobytes()),
                epoch,
                self._divergence is not None,
                None if self._told is None else zlib.crc32(self._told.tobytes()),
            )
            told = gather_objects((made, self._fault), device)
            for rank, (other, fault) in enumerate(told):
                if fault:
                    raise ValueError(f"{fault} (in process {rank} of {len(told)}, epoch {epoch})")
                if other != told[0][0]:
                    raise ValueError(
                        "every process must make the same Recorder (the whole set's n, epochs, "
                        f"index, labels, tdds) and record every epoch; process {rank} differs from "
                        f"process 0 in epoch {epoch}"
                    )
            # the others' samples are NaN here
            floats = torch.stack(
                [torch.where(mine, value, 0) for value in (*self._now[:2], *self._now[3:])]
            )
            whole = torch.stack(
                [self._seen, torch.where(mine, self._given, 0).int(), self._now[2].int()]
            )
            floats, (self._seen, given, correct) = (
                sum_over_processes(floats),
                sum_over_processes(whole),
            )
            if self.log_probs is not None:  # in the next epoch another process may have the sample
                probs = sum_over_processes(torch.where(mine[:, None], self.log_probs, 0))
                self.log_probs = torch.where((self._seen > 0)[:, None], probs, self.log_probs)
        self._given = torch.where(self._seen > 0, given.long(), self._given)
        floats = [value.masked_fill(self._seen == 0, torch.nan) for value in floats]
        self._now = [*floats[:2], correct > 0, *floats[2:]]

    def _close(self, partial=False):
        if self._epoch is None:
            return
        epoch, self._epoch = self._epoch, None
        world = rank_and_world_size()[1]
        try:
            self._answers(wait=True)
        except ValueError as error:
            if world == 1:
                raise
            self._fault = self._fault or str(error)
        if world > 1:
            self._merge(epoch)
        seen = self._seen.cpu().numpy()
        wanted = np.zeros(self.n, np.int32)
        wanted[self.expected] = 1
        for wrong, what in ((seen > wanted, "more often than expected"), (seen < wanted, "never")):
            if wrong.any() and not (partial and what == "never"):
                shared = (
                    "; over several processes DistributedSampler pads with repeated samples: let "
                    "process r take order[r::world]"
                    if world > 1
                    else ""
                )
                raise ValueError(
                    f"every expected sample must be seen once per epoch; in epoch {epoch} "
                    f"{wrong.sum()} were seen {what} (first: id {np.flatnonzero(wrong)[0]}): "
                    "sample without replacement and with drop_last=False, and pass index= if part "
                    f"of the set is trained on{shared}"
                )
        lost = (self._seen > 0) & (self._now[0].isnan() | self._now[1].isnan())
        if lost.any():
            raise ValueError(
                f"{int(lost.sum())} samples got logits that are not numbers in epoch {epoch} "
                f"(first: id {int(lost.nonzero()[0, 0])}): the training diverged; use a smaller "
                "learning rate"
            )
        hosts = [
            self._target_prob,
            self._margin,
            self._correct,
            *([] if self._divergence is None else [self._divergence]),
        ]
        for host, device in zip(hosts, self._now, strict=True):
            host[epoch] = device.cpu().numpy()
        self._done.add(epoch)


def as_logits(logits: Any) -> torch.Tensor:
    """logits as a (B, C) tensor of floats, or one sentence that says what to pass."""
    wanted = "logits must be one tensor (B, C), a row of class logits per sample"
    if hasattr(logits, "logits"):
        raise ValueError(
            f"{wanted}; got {type(logits).__name__}, which holds them: pass output.logits"
        )
    if isinstance(logits, (tuple, list)):
        raise ValueError(
            f"{wanted}; got a {type(logits).__name__} of {len(logits)}, as networks with several "
            "outputs return: pass the one that classifies, e.g. output[0]"
        )
    if isinstance(logits, Mapping):
        raise ValueError(
            f"{wanted}; got a {type(logits).__name__} with "
            f"{', '.join(map(repr, logits)) or 'nothing'}: pass the entry that holds them"
        )
    if isinstance(logits, np.ndarray):
        logits = torch.from_numpy(np.array(logits, dtype=logits.dtype.newbyteorder("=")))
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"{wanted}; got {type(logits).__name__}: pass what the network returns")
    shape = tuple(logits.shape)
    advice = {
        0: "pass the whole batch's",
        1: "of one output z per sample pass torch.stack([0 * z, z], 1)",
        3: "a Recorder keeps one answer per sample: pool over the sequence first, e.g. "
        "logits.mean(1)",
        4: "a Recorder keeps one answer per sample, not one per pixel: pool first, e.g. "
        "logits.mean((2, 3))",
    }
    if logits.ndim != 2:
        raise ValueError(
            f"{wanted}; got shape {shape}: "
            f"{advice.get(logits.ndim, 'pool the other dimensions first')}"
        )
    if shape[1] < 2:
        raise ValueError(
            f"{wanted}, with at least two classes; got shape {shape}: of one output z per sample "
            "pass torch.cat([0 * z, z], 1)"
        )
    if not logits.is_floating_point():
        raise ValueError(
            f"{wanted}, in floating point; got {logits.dtype}: pass the network's output, not its "
            "answers"
        )
    return logits


def look_like_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Whether every row is from 0 and sums to 1 within rounding, as a bool on the device."""
    wide = logits.detach().float()
    near = 1e-3 if logits.dtype in (torch.float32, torch.float64) else 2e-2
    return ((wide >= 0).all(1) & ((wide.sum(1) - 1).abs() < near)).all()


def _on_host(values):
    return values.cpu() if isinstance(values, torch.Tensor) else values


def _whole(values, logits, name):
    """One whole number per row of logits, as int64; labels may be a column."""
    wanted = f"{name} must be ({len(logits)},) whole numbers, one per row of logits"
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        values = np.array(
            values, dtype=np.int64 if name == "labels" or values.dtype != np.uint8 else np.uint8
        )
    try:
        values = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{wanted}; got a {type(values).__name__} that holds something else: pass the "
            "dataset's own row numbers, as dpkit.indexed(dataset) yields them, and class numbers"
        ) from None
    if name == "labels" and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if name == "labels" and values.shape == logits.shape:
        what = (
            "soft labels, such as mixup and label smoothing make"
            if values.is_floating_point()
            else "one-hot labels"
        )
        raise ValueError(
            f"{wanted}, the given ones; got {values.dtype} of shape {tuple(values.shape)}, {what}: "
            "pass the labels that the dataset gives, and of one-hot labels labels.argmax(1)"
        )
    # a mask, or ids that were cut off at 255
    no_ids = values.dtype == torch.uint8 and name == "index"
    if (
        values.dtype == torch.bool
        or no_ids
        or values.is_floating_point()
        or values.shape != logits.shape[:1]
    ):
        raise ValueError(f"{wanted}; got {values.dtype} of shape {tuple(values.shape)}")
    return values.long()


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


# ---- several processes of one training -----------------------------------------------------------


def rank_and_world_size() -> tuple[int, int]:
    """(this process's rank, number of processes) under torch.distributed; (0, 1) without, and then
    nothing is exchanged.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def gather_objects(value: Any, device: torch.device) -> list:
    """Every process's `value` (plain Python), by rank."""
    found = [None] * rank_and_world_size()[1]
    # nccl: by way of the current GPU
    with (
        explain_lost_process(),
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
    ):
        torch.distributed.all_gather_object(found, value)
    return found


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of every process's `tensor`, the same bits on each: with nccl alone by way of the
    GPU, else of the CPU.
    """
    carried = tensor.clone() if torch.distributed.get_backend() == "nccl" else tensor.cpu().clone()
    with explain_lost_process():
        torch.distributed.all_reduce(carried)
    return carried.to(tensor.device)


@contextmanager
def raise_on_all(device: torch.device) -> Iterator[None]:
    """What one process raises inside is raised on all of them, and nobody leaves before all have
    come to the end.

    Inside, nothing may wait for another process. Does nothing if there is one.
    """
    if rank_and_world_size()[1] == 1:
        yield
        return
    mine = None
    try:
        yield
    except Exception as error:
        mine = error
    told = gather_objects(
        mine and (isinstance(mine, ValueError), str(mine) or type(mine).__name__), device
    )
    if mine:
        raise mine
    for refused, sentence in filter(None, told):
        raise (ValueError if refused else RuntimeError)(sentence)


PROCESS_LOST = (
    "another process of this training ended (rank unknown; its own message says why): start the "
    "same command again, it goes on from the checkpoint if it has one"
)


@contextmanager
def explain_lost_process(hint: str = "") -> Iterator[None]:
    """Say in one sentence what torch raises inside when another process has ended."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)
        if not lost and not (hint and str(error) == PROCESS_LOST):
            raise
        raise RuntimeError(PROCESS_LOST + hint) from (error if lost else error.__cause__)
