"""Finished epochs on disk, so that a killed training goes on where it was."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from dpkit import storage
from dpkit.data.image_set import ImageSet
from dpkit.storage.identity import identity, is_own, own_classes
from dpkit.training.faults import gpu_is_lost, memory_ran_out
from dpkit.training.inference import resolve_precision
from dpkit.training.processes import ProcessGroup, SingleProcess
from dpkit.training.recipe import Recipe

if TYPE_CHECKING:
    from dpkit.training.loop import EpochReport


def code_of(net: nn.Module, loss: Callable) -> dict:
    """What the loss and the network do, for the owner too; Unknown where that cannot be known."""
    own = own_classes(net)
    return {"loss": identity(loss)} | ({"code": own} if own else {})


def training_identity(net: nn.Module, images: ImageSet, recipe: Recipe, seed: int) -> dict:
    """Everything that the numbers of a training depend on but the code, short enough to compare."""
    return {
        "recipe": recipe.settings(),
        "seed": seed,
        "set": images.name,
        "total": images.total,
        "ids": storage.key_hash(images.ids.tolist()),
        "labels": storage.key_hash(images.labels.tolist()),
        "net": storage.key_hash(
            {name: list(value.shape) for name, value in net.state_dict().items()}
        ),
        "precision": resolve_precision(images, recipe.precision),
        "images": images.fingerprint,
        "device": images.device.type,
    }


WRITE_EVERY = 10.0  # seconds between two writings, at least; 0 writes every epoch


class UnusableCheckpoint(ValueError):
    """Damaged, or of another training: from there this one cannot go on.

    fault : what is wrong with it.   cure : what to do, for whom nobody makes it again.
    """

    def __init__(self, fault: str, cure: str) -> None:
        super().__init__(fault, cure)

    def __str__(self) -> str:
        return "; ".join(self.args)


class Checkpoint:
    """A folder with one file per finished epoch and the newest state of network and optimizer.

    Of several processes (`group`) the first one writes and all of them read; all call the same
    methods, at the same points.
    """

    def __init__(
        self,
        folder: str | Path,
        owner: dict,
        device: torch.device,
        group: SingleProcess | ProcessGroup,
    ) -> None:
        self.folder, self.device, self.group = Path(folder), device, group
        self.pending: list[EpochReport] = []
        self.written, self.log_probs = time.monotonic(), None
        world = group.world_size
        with group.raise_on_all():
            if group.rank == 0:
                self._claim(owner | ({"world_size": world} if world > 1 else {}))

    def _claim(self, owner):
        file = self.folder / "training.json"
        with undamaged(file):
            found = json.loads(storage.read_again(file.read_text)) if file.exists() else owner
            if not is_own(owner["loss"]):  # the checkpoints of version 0.6 do not tell theirs
                found.setdefault("loss", owner["loss"])
            names = {**found, **owner}.keys() - {"world_size"}
            differing = sorted(name for name in names if found.get(name) != owner.get(name))
        if differing:
            raise UnusableCheckpoint(
                f"{self.folder} holds the checkpoint of another training (other "
                f"{', '.join(differing)})",
                "name another folder or remove it",
            )
        before = found.get("world_size", 1)
        if before != self.group.world_size:
            raise ValueError(
                f"{self.folder} holds the checkpoint of a training by {before} processes, and this "
                f"one has {self.group.world_size}, which gives other numbers: start {before}, "
                "name another "
                "folder or remove it"
            )
        storage.write_json(file, owner)

    def reports(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[dict]:
        """Put the saved state into net and optimizer, and yield the finished epochs, each as a dict
        of its fields.

        log_probs is then what the Recorder held after the last of them (None without tdds).
        """
        with self.group.raise_on_all():
            epochs = self._restore(net, optimizer)
        seen = self.group.gather(epochs)
        if len(set(seen)) > 1:
            raise ValueError(
                f"the processes see different checkpoints in {self.folder} ({seen} epochs): name a "
                "folder that all of them share"
            )
        for epoch in range(epochs):
            with (
                self.group.raise_on_all(),
                undamaged(self._file(epoch)) as name,
                np.load(io.BytesIO(storage.read_again(name.read_bytes))) as file,
            ):
                arrays = {name: file[name] for name in file.files}
                report = json.loads(str(arrays.pop("scalars"))) | arrays
            yield report

    def _restore(self, net, optimizer):
        state = self.folder / "state.pt"
        if not state.exists():
            return 0
        with undamaged(state):
            saved = torch.load(_checked(state), map_location="cpu", weights_only=True)
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
            self.log_probs = (
                None if saved.get("log_probs") is None else saved["log_probs"].to(self.device)
            )
            return saved["epochs"]

    def keep(
        self,
        report: "EpochReport",
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        log_probs: torch.Tensor | None,
        last: bool,
    ) -> None:
        """Remember an epoch; write what is pending if the last writing is WRITE_EVERY seconds
        ago."""
        with self.group.raise_on_all():
            if self.group.rank == 0:
                self.pending.append(report)
                if last or time.monotonic() - self.written >= WRITE_EVERY:
                    self._write(net, optimizer, log_probs)

    def _write(self, net, optimizer, log_probs):
        for done in self.pending:
            fields = {f.name: getattr(done, f.name) for f in dataclass_fields(done)}
            arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
            with storage.whole_file(self._file(done.epoch)) as file:
                np.savez(
                    file,
                    **arrays,
                    scalars=json.dumps({k: v for k, v in fields.items() if k not in arrays}),
                )
        buffer = io.BytesIO()
        state = {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs": done.epoch + 1,
            "log_probs": log_probs,
        }
        torch.save(state, buffer)
        # last: it says how many epochs are whole
        with storage.whole_file(self.folder / "state.pt") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
        self.pending, self.written = [], time.monotonic()

    def _file(self, epoch):
        return self.folder / f"epoch_{epoch:03d}.npz"


def _checked(state):
    """What torch saved, with its SHA-256 behind it: torch itself notices no changed weight."""
    data = storage.read_again(state.read_bytes)
    # one from before 0.9 has none, and ends as zip files do
    whole = data[-22:-18] == b"PK\x05\x06" or hashlib.sha256(data[:-32]).digest() == data[-32:]
    if not whole:
        raise ValueError("its SHA-256 is another")
    return io.BytesIO(data)


@contextmanager
def undamaged(file: Path) -> Iterator[Path]:
    """Turn an error in reading `file`, a part of a checkpoint, that speaks of the file into
    UnusableCheckpoint; what the machine lacks or forbids stays as it is.
    """
    try:
        yield file
    except Exception as error:
        # torch raises RuntimeErrors, of its archives and of networks that they do not fit
        of_the_file = storage.is_damage(error) or isinstance(error, RuntimeError)
        if not of_the_file or memory_ran_out(error) or gpu_is_lost(error):
            raise
        raise UnusableCheckpoint(
            f"{file} is missing or damaged ({type(error).__name__})",
            f"remove the checkpoint {file.parent} and train again",
        ) from error
