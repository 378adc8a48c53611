"""What must be true of the batches that a Recorder is given: logits, and ids and labels that stay a
sample's own.
"""

from typing import Any

import numpy as np
import torch

from dpkit.records import NO_LABEL
from dpkit.training.batches import DeferredChecks, as_logits, look_like_probabilities, whole_numbers

_NO_LOGITS = (
    "logits must be what comes before the softmax; these are from 0 and every row sums to 1, as "
    "probabilities do: pass the network's output without softmax, or of probabilities p the "
    "logarithms, p.clamp_min(1e-12).log()"
)


class BatchChecks:
    """Holds the batches of one record to one set of ids, labels and classes.

    n: size of the original set. told: (n,), the labels it was made with, NO_LABEL where unknown;
    None: without.
    """

    def __init__(self, n: int, told: np.ndarray | None) -> None:
        self.n, self.told = n, told
        # (n,): the label of every sample as far as it was told or seen
        self.given = torch.full((n,), NO_LABEL) if told is None else torch.from_numpy(told.copy())
        self.classes: int | None = None
        self._rows_checked, self._deferred = 0, DeferredChecks()
        self._alike: torch.Tensor | None = None  # whether the rows so far look like probabilities

    def settle(self) -> None:
        """Tell what is wrong with the batches before, where a GPU has yet to say so."""
        self._deferred.settle(wait=True)

    def restart(self, given: torch.Tensor, classes: int | None) -> None:
        """Go on from a saved record: its labels and its number of classes."""
        self.given, self.classes = given.clone(), classes
        self._rows_checked, self._deferred, self._alike = 0, DeferredChecks(), None

    def read(
        self, index: Any, logits: Any, labels: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
        if self.classes not in (None, logits.shape[1]):
            raise ValueError(
                f"logits must have the same classes in every batch; got {logits.shape[1]}, and "
                f"{self.classes} before: record one training with one Recorder"
            )
        return (
            index.to(logits.device, non_blocking=True),
            logits,
            labels.to(logits.device, non_blocking=True),
        )

    def judge(
        self, index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(index, labels) within their ranges; refuses what is not the sample's, where it may be
        while a GPU goes on.
        """
        self.classes = logits.shape[1]
        with torch.no_grad():
            at, valid = index.clamp(0, self.n - 1), labels.clamp(0, self.classes - 1)
            known = self.given[at]
            wrong = (at != index) | (valid != labels) | ((known != labels) & (known != NO_LABEL))
            self._deferred.refuse_if(
                wrong.any(),
                lambda: self._why(*(value.cpu().numpy() for value in (index, labels, known))),
            )
            # so many rows will do: fewer may look like probabilities by chance
            if self._rows_checked < 8:
                alike = look_like_probabilities(logits)
                self._alike = alike if self._alike is None else self._alike & alike
                self._rows_checked += len(logits)
                if self._rows_checked >= 8:
                    self._deferred.refuse_if(self._alike, lambda: _NO_LOGITS)
        self._deferred.settle()
        return at, valid

    def _why(self, index, labels, known):
        """What is wrong with a batch, in a sentence."""
        if len(out := index[(index < 0) | (index >= self.n)]):
            return f"index must be original ids in 0..{self.n - 1}; got {out.min()}..{out.max()}"
        if labels.min() < 0 or labels.max() >= self.classes:
            return (
                f"labels must be in 0..{self.classes - 1} (the logits have {self.classes} "
                f"classes); got {labels.min()}..{labels.max()}"
            )
        [rows] = np.nonzero((known != labels) & (known != NO_LABEL))
        i = index[rows[0]]
        where = (
            "in an earlier epoch" if self.told is None or self.told[i] == NO_LABEL else "in labels="
        )
        return (
            f"a sample's label must stay what it is: {len(rows)} of {len(labels)} in this batch "
            f"differ (first: id {i} is {known[rows[0]]} {where}, and {labels[rows[0]]} now): ids "
            "must be the dataset's own, not places in a shuffled order (use "
            "dpkit.indexed(dataset)), and labels the given ones, not mixed or changed on the way"
        )
