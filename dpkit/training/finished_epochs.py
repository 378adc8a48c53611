"""The epochs of a record that are whole: as many as were planned, or as many as there will be."""

from collections.abc import Sequence

import numpy as np
import torch

NAMES = ("target_prob", "margin", "correct", "divergence")


class FinishedEpochs:
    """What was seen of every sample in each finished epoch.

    planned: how many there will be; None: nobody knows, and the arrays double when they are full.
    arrays: [target_prob, margin, correct] and with tdds the divergence, (at least `count`, n) each:
            an epoch is one contiguous row.
    count:  how many epochs are finished.
    """

    def __init__(self, n: int, planned: int | None, tdds: bool) -> None:
        self.n, self.tdds, self.count = n, tdds, 0
        self.arrays = self._room_for(planned or 8)

    def add(self, values: Sequence[torch.Tensor]) -> None:
        """The next epoch: (n,) each."""
        if self.count == len(self.arrays[0]):
            more = self._room_for(self.count)
            self.arrays = [np.concatenate(pair) for pair in zip(self.arrays, more, strict=True)]
        for array, row in zip(self.arrays, values, strict=True):
            array[self.count] = row.cpu().numpy()
        self.count += 1

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of the finished rows, by name."""
        return {
            name: torch.from_numpy(array[: self.count].copy())
            for name, array in zip(NAMES, self.arrays, strict=False)
        }

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Begin with what `state` returned. ValueError if it is not of so many samples."""
        rows = [state[name] for name in NAMES[: len(self.arrays)]]
        if {row.shape for row in rows} != {(len(rows[0]), self.n)}:
            raise ValueError(
                f"every array must be (epochs, {self.n}); got "
                f"{', '.join(str(tuple(row.shape)) for row in rows)}"
            )
        for values in zip(*rows, strict=True):
            self.add(values)

    def _room_for(self, epochs: int) -> list[np.ndarray]:
        kinds = (np.float32, np.float32, bool, np.float32)[: 4 if self.tdds else 3]
        return [np.empty((epochs, self.n), kind) for kind in kinds]
