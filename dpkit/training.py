"""Training as a generator of epoch reports. The notebook's `for` is the callback; stopping early is `break`."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F

from dpkit import store
from dpkit.data import ImageSet
from dpkit.predict import autocast, picked_precision, picked_threads
from dpkit.recorder import Recorder


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with momentum on a cosine schedule. Defaults: the DUAL paper's on CIFAR (methods differ by set).

    epochs:  the schedule's horizon with budget="epochs". Running fewer of them is `islice(train(...), 30)`.
    budget:  "epochs" passes over the set, or "steps" batches whatever the set's size; the two rank methods differently.
    steps:   the horizon with budget="steps".
    augment: None | "own", the set's own shift and mirroring.   precision: "auto" | "fp32" | "bf16".
    """

    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    budget: str = "epochs"
    steps: int | None = None
    augment: str | None = "own"
    precision: str = "auto"

    def __post_init__(self):
        if self.budget not in ("epochs", "steps"):
            raise ValueError(f'budget must be "epochs" or "steps"; got {self.budget!r}')
        length = self.steps if self.budget == "steps" else self.epochs
        if not isinstance(length, int) or length < 1:
            raise ValueError(f"budget={self.budget!r} needs {self.budget}=, a whole number from 1; got {length!r}")
        if self.batch_size < 1 or not self.lr > 0:
            raise ValueError(f"batch_size must be at least 1 and lr above 0; got {self.batch_size} and {self.lr}")
        if self.augment not in (None, "own"):
            raise ValueError(f'augment must be None or "own"; got {self.augment!r}')
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f'precision must be "auto", "fp32" or "bf16"; got {self.precision!r}')

    def batches(self, n: int) -> int:
        """Batches in one pass over n samples."""
        return math.ceil(n / self.batch_size)

    def total_steps(self, n: int) -> int:
        """Batches in the whole schedule over n samples."""
        return self.steps if self.budget == "steps" else self.epochs * self.batches(n)

    def epochs_over(self, n: int) -> int:
        """Passes over n samples that the whole schedule begins."""
        return math.ceil(self.total_steps(n) / self.batches(n))

    def samples_seen(self, n: int) -> int:
        """Images trained on in the whole schedule over n samples, counted in every pass."""
        passes, steps = divmod(self.total_steps(n), self.batches(n))
        size, larger = divmod(n, self.batches(n))  # the batches of a pass are near-equal, the larger ones first
        return passes * n + steps * size + min(steps, larger)

    @property
    def length(self) -> str:
        """The protocol in two words: "200 epochs" or "3900 steps"."""
        return f"{self.steps if self.budget == 'steps' else self.epochs} {self.budget}"

    def worded(self) -> str:
        """The length, and what else is not the default, in a line: "3900 steps batch_size=64"."""
        usual = Recipe()
        other = [f"{name}={value}" for name, value in asdict(self).items()
                 if name not in ("epochs", "budget", "steps") and value != getattr(usual, name)]
        return " ".join([self.length, *other])


@dataclass(frozen=True, eq=False)
class EpochReport:
    """One pass over the set. The arrays are (total,), by original id: NaN and False for samples not trained on.

    loss: mean training loss (nats).   lr: at the last step.   seconds: of this epoch.   steps: batches so far.
    """

    epoch: int
    loss: float
    lr: float
    seconds: float
    steps: int
    target_prob: np.ndarray | None
    margin: np.ndarray | None
    correct: np.ndarray | None


def cross_entropy(net, x, y):
    """The usual loss; what `loss` of train must look like: (net, x, y) -> (loss, logits of the final exit)."""
    logits = net(x)
    return F.cross_entropy(logits.float(), y), logits


def train(net, images: ImageSet, recipe: Recipe, *, seed: int, loss=cross_entropy, checkpoint=None,
          record: bool = True) -> Iterator[EpochReport]:
    """Train `net` in place; yield an EpochReport after every pass over `images`.

    seed:       decides order, augmentation and dropout; global random state is left alone. The same seed gives the
                same epochs, however many of them are run: to the last bit on a CPU, up to rounding on a GPU.
    loss:       (net, x, y) -> (loss, logits); early exits pass their own.
    checkpoint: a folder. Finished epochs are kept there (every ten seconds at most, and at the end); a killed training
                called again yields those first and goes on to the same numbers. ValueError if it is another's.
                Let it run as far as before: after fewer epochs the network is still that of the last one kept.
    record:     False leaves the reports' arrays None, for a training that nobody scores.
    FloatingPointError if the loss is not finite.
    """
    n, device = len(images), images.device
    if n == 0:
        raise ValueError("train needs at least one sample; this set is empty: keep more")
    net.to(device, memory_format=torch.channels_last)
    horizon, per_epoch = recipe.total_steps(n), recipe.batches(n)
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov,
                                weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda"))
    saved = _Checkpoint(checkpoint, net, images, recipe, seed) if checkpoint is not None else None
    start = 0
    if saved:
        for report in saved.reports(net, optimizer):
            start += 1
            yield report
    for epoch in range(start, math.ceil(horizon / per_epoch)):
        begun = time.perf_counter()
        net.train()
        done = epoch * per_epoch
        steps = min(per_epoch, horizon - done)
        recorder = Recorder(images.total, 1, index=images.ids) if record else None
        total = torch.zeros((), device=device)
        ids = torch.from_numpy(images.ids).to(device)
        # every draw of the epoch comes from (seed, epoch): prefixes and restarts give the same numbers
        with seeded(_epoch_seed(seed, epoch), device), picked_threads(images):
            order, offsets, mirrored = _draws(images, n, device)
            # near-equal batches: a last batch of one or two samples would upset batch norm
            batches = torch.tensor_split(torch.arange(n), per_epoch)[:steps]
            for k, batch in enumerate(batches):
                lr = recipe.lr * 0.5 * (1 + math.cos(math.pi * (done + k) / horizon))
                for group in optimizer.param_groups:
                    group["lr"] = lr
                at = slice(int(batch[0]), int(batch[-1]) + 1)
                rows = order[at]
                x = images.augmented(rows, offsets[:, at], mirrored[at]) if recipe.augment else images.clean(rows)
                y = images.labels[rows]
                with autocast(images, recipe.precision):
                    value, logits = loss(net, x, y)
                if recorder:
                    recorder.update(0, ids[rows], logits, y)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                total += value.detach() * len(batch)
        mean_loss = float(total) / (int(batches[-1][-1]) + 1)
        if not math.isfinite(mean_loss):
            raise FloatingPointError(f"the loss became {mean_loss} in epoch {epoch}: the training diverged; use a smaller lr "
                                     f"than {recipe.lr}")
        seen = recorder.epoch(0, partial=steps < per_epoch) if recorder else (None, None, None)
        report = EpochReport(epoch, mean_loss, lr, time.perf_counter() - begun, done + steps, *seen)
        if saved:
            saved.keep(report, net, optimizer, last=report.steps == horizon)
        yield report


@contextmanager
def seeded(seed: int, device: torch.device):
    """Random draws on the CPU and on `device` come from `seed` inside, and go on as before afterwards."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _epoch_seed(seed, epoch):
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _draws(images, n, device):
    """An epoch's order (n,), crop offsets (2, n) and mirroring (n,): drawn on the CPU, so every device sees the same."""
    order = torch.randperm(n)
    offsets = torch.randint(0, 2 * images.shift + 1, (2, n))
    mirrored = torch.rand(n) < 0.5
    return order.to(device), offsets.to(device), mirrored.to(device)


class _Checkpoint:
    """A folder with one file per finished epoch and the newest state of network and optimizer."""

    def __init__(self, folder, net, images, recipe, seed, every=10.0):
        self.folder, self.every = Path(folder), every
        self.pending, self.written = [], time.monotonic()
        owner = {"recipe": asdict(recipe), "seed": seed, "set": images.name, "total": images.total,
                 "ids": store.key_hash(images.ids.tolist()), "labels": store.key_hash(images.labels.tolist()),
                 "net": store.key_hash({name: list(value.shape) for name, value in net.state_dict().items()}),
                 "precision": picked_precision(images, recipe.precision), "images": images.fingerprint,
                 "device": images.device.type}
        file = self.folder / "training.json"
        with _undamaged(file):
            differing = [name for name, value in json.loads(file.read_text()).items() if value != owner.get(name)] \
                if file.exists() else []
        if differing:
            raise ValueError(f"{self.folder} holds the checkpoint of another training (other {', '.join(differing)}): "
                             "name another folder or remove it")
        store.write_json(file, owner)

    def reports(self, net, optimizer):
        """Put the saved state into net and optimizer, and yield the finished epochs."""
        state = self.folder / "state.pt"
        if not state.exists():
            return
        with _undamaged(state):
            saved = torch.load(state, map_location="cpu", weights_only=True)
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
        for epoch in range(saved["epochs"]):
            with _undamaged(self._file(epoch)) as name, np.load(name, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
                report = EpochReport(**json.loads(str(arrays.pop("scalars"))), **arrays)
            yield report

    def keep(self, report, net, optimizer, last):
        """Remember an epoch; write what is pending if the last writing is `every` seconds ago."""
        self.pending.append(report)
        if not last and time.monotonic() - self.written < self.every:
            return
        for done in self.pending:
            fields = {f.name: getattr(done, f.name) for f in dataclass_fields(done)}
            arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
            with store.whole_file(self._file(done.epoch)) as file:
                np.savez(file, **arrays, scalars=json.dumps({k: v for k, v in fields.items() if k not in arrays}))
        with store.whole_file(self.folder / "state.pt") as file:  # last: it says how many epochs are whole
            torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epochs": report.epoch + 1}, file)
        self.pending, self.written = [], time.monotonic()

    def _file(self, epoch):
        return self.folder / f"epoch_{epoch:03d}.npz"


@contextmanager
def _undamaged(file):
    """Turn whatever reading `file` raises into one sentence."""
    try:
        yield file
    except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, UnpicklingError, BadZipFile) as error:
        raise ValueError(f"{file} is missing or damaged ({type(error).__name__}); remove the checkpoint {file.parent} and "
                         "train again") from error
