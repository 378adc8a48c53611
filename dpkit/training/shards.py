"""What one process saw of an epoch, and how the shards of several processes become one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dpkit.training.processes import explain_lost_process


class Shard:
    """One epoch as far as it was seen, by this process or, once merged, by all.

    epoch:  which.
    values: [target_prob, margin, correct] and with tdds the divergence, (n,) each on the device of
            the logits; NaN and False for samples that were not seen.
    seen:   (n,), how often.
    fault:  what is wrong with a batch, for all processes to be told once the epoch closes.
    """

    def __init__(self, epoch: int, n: int, device: torch.device, tdds: bool) -> None:
        self.epoch = epoch
        self.fault: str | None = None
        floats = [torch.full((n,), torch.nan, device=device) for _ in range(3 if tdds else 2)]
        self.values = [*floats[:2], torch.zeros(n, dtype=torch.bool, device=device), *floats[2:]]
        self.seen = torch.zeros(n, dtype=torch.int32, device=device)

    def put(self, index: torch.Tensor, values: Sequence[torch.Tensor]) -> None:
        """A batch: `values` of the samples `index`, (B,) each."""
        for whole, part in zip(self.values, values, strict=True):
            whole[index] = part
        self.seen.index_add_(0, index, torch.ones_like(index, dtype=torch.int32))

    def move_to(self, device: torch.device) -> None:
        """Hold everything there."""
        self.values = [value.to(device) for value in self.values]
        self.seen = self.seen.to(device)

    def state(self) -> dict[str, Any]:
        """Copies on the CPU, for `load`."""
        return {
            "seen": self.seen.cpu().clone(),
            "values": [value.cpu().clone() for value in self.values],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned. ValueError if it is not of so many samples."""
        values = [state["seen"], *state["values"]]
        if [v.shape for v in values] != [self.seen.shape] * (1 + len(self.values)):
            raise ValueError(
                f"the saved epoch must have {len(self.seen)} samples; got "
                f"{', '.join(str(tuple(value.shape)) for value in values)}"
            )
        self.seen, *self.values = (value.cpu().clone() for value in values)

    def merge(
        self, group: Any, made: Any, labels_here: torch.Tensor, log_probs: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Make it what all processes saw together, and return (labels, log_probs) of all of them.

        Every sample has one shard, so sums are exact. `made` says how this process's Recorder was
        made; ValueError on all if they differ, or one was given something wrong.
        """
        mine = self.seen > 0
        with explain_lost_process(
            f"; if none failed, one never closed epoch {self.epoch}: call epoch() or dynamics() on "
            "every process"
        ):
            self._check_alike(group.gather(((*made, self.epoch), self.fault)))
            # the others' samples are NaN here
            floats = [torch.where(mine, value, 0) for value in self.values[:2] + self.values[3:]]
            whole = [self.seen, torch.where(mine, labels_here, 0).int(), self.values[2].int()]
            floats = group.sum(torch.stack(floats))
            self.seen, labels, correct = group.sum(torch.stack(whole))
            if log_probs is not None:  # in the next epoch another process may have the sample
                probs = group.sum(torch.where(mine[:, None], log_probs, 0))
                log_probs = torch.where((self.seen > 0)[:, None], probs, log_probs)
        floats = [value.masked_fill(self.seen == 0, torch.nan) for value in floats]
        self.values = [*floats[:2], correct > 0, *floats[2:]]
        return torch.where(self.seen > 0, labels.long(), labels_here), log_probs

    def _check_alike(self, answers):
        for rank, (made, fault) in enumerate(answers):
            if fault:
                raise ValueError(
                    f"{fault} (in process {rank} of {len(answers)}, epoch {self.epoch})"
                )
            if made != answers[0][0]:
                raise ValueError(
                    "every process must make the same Recorder (the whole set's n, epochs, "
                    f"index, labels, tdds) and record every epoch; process {rank} differs from "
                    f"process 0 in epoch {self.epoch}"
                )

    def check_whole(self, expected: torch.Tensor, partial: bool, several: bool) -> None:
        """ValueError unless every sample of `expected` was seen once and no other, with numbers for
        logits; `partial` for an epoch that a budget cuts short. `several`: processes, for advice.
        """
        seen = self.seen.cpu().numpy()
        wanted = np.zeros(len(seen), np.int32)
        wanted[expected] = 1
        wrong, what = seen > wanted, "more often than expected"
        if not (wrong.any() or partial):
            wrong, what = seen < wanted, "never"
        if wrong.any():
            shared = (
                "; over several processes DistributedSampler pads with repeated samples: let "
                "process r take order[r::world]"
            )
            raise ValueError(
                f"every expected sample must be seen once per epoch; in epoch {self.epoch} "
                f"{wrong.sum()} were seen {what} (first: id {np.flatnonzero(wrong)[0]}): "
                "sample without replacement and with drop_last=False, and pass index=ids if part "
                "of the set is trained on, by a loader over Subset(indexed(dataset), ids)"
                f"{shared if several else ''}"
            )
        lost = (self.seen > 0) & (self.values[0].isnan() | self.values[1].isnan())
        if lost.any():
            raise ValueError(
                f"{int(lost.sum())} samples got logits that are not numbers in epoch {self.epoch} "
                f"(first: id {int(lost.nonzero()[0, 0])}): the training diverged, or float16 "
                "overflowed; use a smaller learning rate, or bfloat16"
            )
