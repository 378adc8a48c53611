"""What a Recorder is given, checked: each function returns tensors or says in one sentence what to
pass.
"""

import operator
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch


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


def whole_numbers(values: Any, logits: torch.Tensor, name: str) -> torch.Tensor:
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


def epoch_number(epoch: Any, *, planned: int | None, finished: int) -> int:
    """The epoch as an int; ValueError unless it is a whole number of one that is still to be
    recorded.

    planned: how many there will be, None: unknown.   finished: how many there are.
    """
    try:
        number = -1 if isinstance(epoch, bool) else operator.index(epoch)
    except TypeError:
        number = -1
    if number < 0 or (planned is not None and number >= planned):
        wanted = "a whole number from 0"
        if planned is not None:
            wanted = f"0..{planned - 1} (this Recorder was made for {planned})"
        more = "; for a training that may go on, make it with epochs=None"
        raise ValueError(f"epoch must be {wanted}; got {epoch}{more if number == planned else ''}")
    if number < finished:
        raise ValueError(f"epoch {number} was already recorded; count epochs upwards from 0")
    return number


def expected_ids(index: Any, n: int) -> np.ndarray:
    """The ids that a Recorder expects, as int64; ValueError unless they are row numbers of the
    set.
    """
    ids = np.asarray(index.cpu() if isinstance(index, torch.Tensor) else index)
    if ids.dtype == bool:
        raise ValueError(
            "index must be original ids; got a mask of bool: pass np.flatnonzero(mask)"
        )
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or not len(ids):
        raise ValueError(
            f"index must be (k,) original ids, whole numbers, at least one; got shape {ids.shape} "
            f"of {ids.dtype}"
        )
    if ids.min() < 0 or ids.max() >= n:
        raise ValueError(f"index must be original ids in 0..{n - 1}; got {ids.min()}..{ids.max()}")
    return ids.astype(np.int64)


class DeferredChecks:
    """Checks whose answer a GPU may still be at: nothing waits for it, and what turns out wrong
    is raised as soon as it is known.
    """

    def __init__(self) -> None:
        self._open: deque = deque()

    def refuse_if(self, wrong: torch.Tensor, why: Callable[[], str]) -> None:
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
            self.add(done.query, done.synchronize, answer, why)
        else:
            self.add(lambda: False, lambda: None, wrong, why)

    def add(
        self,
        ready: Callable[[], bool],
        wait: Callable[[], object],
        wrong: torch.Tensor,
        why: Callable[[], str],
    ) -> None:
        """A check: ready() says whether the answer `wrong` is there, wait() waits until it is,
        and why() says in a sentence what is wrong.
        """
        self._open.append((ready, wait, wrong, why))

    def settle(self, wait: bool = False) -> None:
        """Raise what is wrong with earlier batches, once the GPU is so far; `wait` for all."""
        while self._open and (wait or self._open[0][0]()):
            _, wait_for, wrong, why = self._open.popleft()
            wait_for()
            if wrong:
                self._open.clear()
                raise ValueError(why())
