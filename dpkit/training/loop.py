"""Training as a generator of epoch reports. The notebook's `for` is the callback; `break` stops."""

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dpkit.data.image_set import ImageSet
from dpkit.records import NO_LABEL
from dpkit.records.set_facts import check_classes, made_for
from dpkit.storage.identity import Unknown, warn_once
from dpkit.training.checkpoint import Checkpoint as _Checkpoint
from dpkit.training.checkpoint import code_of, training_identity
from dpkit.training.inference import autocast, suited_threads
from dpkit.training.recipe import Recipe
from dpkit.training.recorder import (
    PROCESS_LOST,
    Recorder,
    explain_lost_process,
    gather_objects,
    rank_and_world_size,
    sum_over_processes,
)


@dataclass(frozen=True, eq=False)
class EpochReport:
    """One pass over the set, as `train` yields it.

    The arrays are (total,), by original id: NaN and False for samples that were not trained on.
    divergence is there with train(..., tdds=True), and NaN in the first epoch: it compares an epoch
    with the one before.

    loss:    mean training loss (nats).
    lr:      at the last step.
    seconds: of this epoch.
    steps:   batches so far.
    """

    epoch: int
    loss: float
    lr: float
    seconds: float
    steps: int
    target_prob: np.ndarray | None
    margin: np.ndarray | None
    correct: np.ndarray | None
    divergence: np.ndarray | None = None


def cross_entropy(
    net: nn.Module, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The usual loss, and the form that `loss` of train must have.

    (net, x, y) -> (loss, logits of the final exit).
    """
    logits = net(x)
    return F.cross_entropy(logits.float(), y), logits


def train(
    net: nn.Module,
    images: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    loss: Callable = cross_entropy,
    checkpoint: str | Path | None = None,
    record: bool = True,
    tdds: bool = False,
) -> Iterator[EpochReport]:
    """Train `net` in place; yield an EpochReport after every pass over `images`.

    Parameters
    ----------
    net : net(x) -> logits (B, C), as make_net makes it.
    images : the samples that are trained on, n of `images.total`.
    recipe : how; see Recipe.
    seed : decides order, augmentation and dropout; global random state is left alone. The same seed
        gives the same epochs, however many of them are run: to the last bit on a CPU, up to
        rounding on a GPU.
    loss : (net, x, y) -> (loss, logits); early exits pass their own.
    checkpoint : a folder. Finished epochs are kept there (every ten seconds at most, and at the
        end); a killed training called again yields those first and goes on to the same numbers. Let
        it run as far as before: after fewer epochs the network is still that of the last one kept.
    record : False leaves the reports' arrays None, for a training that nobody scores.
    tdds : also report the divergence that the TDDS score is made of; holds (total, classes) float32
        on the device.

    Yields
    ------
    EpochReport, one an epoch; its arrays are (total,), by original id.

    Raises
    ------
    FloatingPointError if the loss is not finite.
    ValueError for a checkpoint that is another's: of other images, settings, or code, that of
    `loss` and of the network's classes among it.
    ValueError for a set of other classes than make_net made the network for (net.made_for = None
    says that new ones are meant). A set normalised otherwise is what it knows from then on.

    Notes
    -----
    Under torchrun, once torch.distributed is initialised, its processes are one training: call this
    in each of them with the same arguments, the whole set too, and a `loss` that is a mean over its
    batch. Every batch is split among them; reports and network are the same everywhere, and process
    0 writes the checkpoint. Up to rounding the numbers are those of one process, but batch norm
    uses each share's own statistics (the running ones are process 0's) and dropout draws for each
    share. Let an error end its process: the others then say so, and do not wait for it.
    """
    n, device, (rank, world) = len(images), images.device, rank_and_world_size()
    owner, code = {}, {}
    if checkpoint is not None:
        try:
            # of several processes the first one's: a loss may read its rank
            code = code_of(net, loss)
        except Unknown as error:
            warn_once(f"{error}: this training goes on from no checkpoint, and keeps none")
            checkpoint = None
    if world > 1 or checkpoint is not None:
        owner = training_identity(net, images, recipe, seed) | ({"tdds": True} if tdds else {})
    if world > 1:
        _check_alike(
            owner | {"tdds": tdds, "record": record, "checkpoint": checkpoint is not None}, device
        )
    if n == 0:
        raise ValueError("train needs at least one sample; this set is empty: keep more")
    _fit_to(net, images)
    net.to(device).to(memory_format=torch.channels_last)
    horizon, per_epoch = recipe.total_steps(n), recipe.batches(n)
    loss = _checked(recipe, n, loss, record)
    if world > 1 and n // per_epoch < 2 * world:
        raise ValueError(
            f"{world} processes need batches of at least {2 * world} samples, 2 for each; the "
            f"smallest has {n // per_epoch}: use a larger batch_size, a larger set or fewer "
            "processes"
        )
    if world > 1 and recipe.compile:
        raise ValueError("compile=True is for one process; this training has several: leave it out")
    groups = _parameter_groups(net, recipe)
    optimizer = torch.optim.SGD(
        [{"params": some, "weight_decay": recipe.weight_decay / factor} for some, factor in groups],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=device.type in ("cpu", "cuda"),
    )
    saved = _Checkpoint(checkpoint, owner | code, device) if checkpoint is not None else None
    start, log_probs = 0, None
    given = np.full(images.total, NO_LABEL)
    given[images.ids] = images.labels.cpu().numpy()
    if saved:
        for fields in saved.reports(net, optimizer):
            start += 1
            yield EpochReport(**fields)
        log_probs = saved.log_probs
    for epoch in range(start, math.ceil(horizon / per_epoch)):
        with _among_peers(device):
            begun = time.perf_counter()
            net.train()
            done = epoch * per_epoch
            steps = min(per_epoch, horizon - done)
            recorder = (
                Recorder(
                    images.total, 1, index=images.ids, labels=given, tdds=tdds, log_probs=log_probs
                )
                if record
                else None
            )
            total = torch.zeros((), device=device)
            ids = torch.from_numpy(images.ids).to(device)
            # every draw of the epoch comes from (seed, epoch): prefixes and restarts give the same
            # numbers
            with seeded(_epoch_seed(seed, epoch), device), suited_threads(images):
                order, offsets, mirrored = _draws(images, n, device)
                step = partial(_compiled(loss, device.type) if recipe.compile else loss, net)
                if world > 1:
                    # anew in every epoch: it sums in another order once it has seen a step, and a
                    # restart has seen none
                    step = DistributedDataParallel(_Step(net, loss))
                    # dropout: each share draws its own
                    _reseed(_epoch_seed(seed, epoch, 1 + rank), device)
                # near-equal batches: a last batch of one or two samples would upset batch norm
                batches = torch.tensor_split(torch.arange(n), per_epoch)[:steps]
                for k, batch in enumerate(batches):
                    lr = recipe.rate(done + k, horizon)
                    for group, (_, factor) in zip(optimizer.param_groups, groups):
                        group["lr"] = lr * factor
                    at = slice(int(batch[0]) + rank, int(batch[-1]) + 1, world)
                    rows = order[at]
                    x = (
                        images.augmented(rows, offsets[:, at], mirrored[at])
                        if recipe.augment
                        else images.clean(rows)
                    )
                    y = images.labels[rows]
                    optimizer.zero_grad(set_to_none=True)
                    with autocast(images, recipe.precision):
                        value, logits = step(x, y)
                    if recorder:
                        recorder.update(0, ids[rows], logits, y)
                    # shares may differ by a sample
                    (value * (world * len(rows) / len(batch))).backward()
                    if world > 1:
                        _check_reached(net)
                    optimizer.step()
                    total += value.detach() * len(rows)
            if world > 1:
                total = _merged(net, total)
            mean_loss = float(total) / (int(batches[-1][-1]) + 1)
            if not math.isfinite(mean_loss):
                raise FloatingPointError(
                    f"the loss became {mean_loss} in epoch {epoch}: the training diverged; use a "
                    f"smaller lr than {recipe.lr}"
                )
            seen = recorder.epoch(0, partial=steps < per_epoch) if recorder else (None, None, None)
            log_probs = recorder.log_probs if recorder else None
            report = EpochReport(
                epoch, mean_loss, lr, time.perf_counter() - begun, done + steps, *seen
            )
            if saved:
                saved.keep(report, net, optimizer, log_probs, last=report.steps == horizon)
        yield report


def _fit_to(net, images):
    """Refuse a set of other classes than the network's; what is trained on decides the
    normalisation that it knows.
    """
    known, facts = made_for(net), images.facts
    if known is not None:
        check_classes(known, facts, "train")
        if (known.mean, known.std) != (facts.mean, facts.std):
            net.made_for = replace(known, mean=facts.mean, std=facts.std)


def _parameter_groups(net, recipe):
    """[(parameters, factor of the learning rate)]: one group, or the biases of normalisation layers
    in a second one.
    """
    if recipe.norm_bias_lr == 1:
        return [(list(net.parameters()), 1.0)]
    biases = [
        module.bias
        for module in net.modules()
        if isinstance(module, _NORMS) and module.bias is not None
    ]
    fast = {id(bias) for bias in biases}
    if not fast:
        raise ValueError(
            "norm_bias_lr is for networks with normalisation layers; this one has none with a "
            "bias: leave it out"
        )
    return [
        ([p for p in net.parameters() if id(p) not in fast], 1.0),
        (biases, recipe.norm_bias_lr),
    ]


_NORMS = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.GroupNorm, torch.nn.LayerNorm)


def _checked(recipe, n, loss, record):
    """The loss of this recipe, for n samples that it fits; warns of what one should know."""
    recipe.check_warmup(recipe.total_steps(n))
    if recipe.batch_size > n:
        warnings.warn(
            f"batch_size {recipe.batch_size:,} is larger than the set: every step takes all of "
            f"its {n:,} images; use a smaller one",
            stacklevel=3,
        )
    if not recipe.label_smoothing:
        return loss
    if loss is not cross_entropy:
        raise ValueError(
            "label_smoothing is for the usual loss; this training has a loss of its own: smooth "
            "the labels there, and leave label_smoothing out"
        )
    if record:
        warnings.warn(
            "this training is recorded, and label smoothing distorts the probabilities that "
            "scores are made of: record without it, and keep it for retraining (with record=False)",
            stacklevel=3,
        )
    return _smoothed(recipe.label_smoothing)


@cache
def _smoothed(smoothing):
    """The usual loss, of labels of which this share is spread over all classes."""

    def loss(net, x, y):
        logits = net(x)
        return F.cross_entropy(logits.float(), y, label_smoothing=smoothing), logits

    return loss


@cache
def _compiled(loss, device):
    """One compiled step for all networks of a kind (weights are inputs), once per batch size."""
    # near-equal batches: two sizes a set
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(loss, mode="reduce-overhead" if device == "cuda" else None, dynamic=False)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, random draws on the CPU and on `device` come from `seed`; then they go on as
    before.
    """
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        _reseed(seed, device)
        yield


def _reseed(seed, device):
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _epoch_seed(seed, epoch, *share):
    return int(np.random.SeedSequence([seed, epoch, *share]).generate_state(1)[0])


def _draws(images, n, device):
    """An epoch's order (n,), crop offsets (2, n) and mirroring (n,): drawn on the CPU, so every
    device sees the same.
    """
    order = torch.randperm(n)
    offsets = torch.randint(0, 2 * images.shift + 1, (2, n))
    mirrored = torch.rand(n) < 0.5
    return order.to(device), offsets.to(device), mirrored.to(device)


# ---- several processes ---------------------------------------------------------------------------


class _Step(torch.nn.Module):
    """loss(net, x, y) as a forward pass, so that its calls go by DistributedDataParallel."""

    def __init__(self, net, loss):
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, x, y):
        return self.loss(self.net, x, y)


def _check_alike(arguments, device):
    """ValueError in all processes if they were not given one training."""
    everyone = gather_objects(arguments, device)
    differing = [
        name for name in arguments if any(other[name] != everyone[0][name] for other in everyone)
    ]
    if differing:
        raise ValueError(
            "the processes of one training need the same arguments; they differ in "
            f"{', '.join(differing)}: give each the whole set, train splits every batch"
        )


def _check_reached(net):
    idle = [
        name for name, value in net.named_parameters() if value.requires_grad and value.grad is None
    ]
    if idle:  # then no gradient was summed over the processes
        raise ValueError(
            f"over several processes the loss must reach every parameter; {len(idle)} got no "
            f"gradient (first: {idle[0]}): use them, or freeze them with requires_grad_(False)"
        )


def _merged(net, total):
    """The summed loss of all processes; process 0's buffers become everyone's."""
    for buffer in net.buffers():
        torch.distributed.broadcast(buffer, 0)
    return sum_over_processes(total)


@contextmanager
def _among_peers(device):
    """Whoever ends while another process still trains leaves that one a sentence to say, not half
    an hour of waiting.
    """
    if rank_and_world_size()[1] == 1:
        yield
        return
    catch = (
        device.type == "cpu"
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    # torchrun ends the others within 0.1 s, often before they have noticed. On a GPU the wait would
    # hold this up
    if catch:
        signal.signal(signal.SIGTERM, _say_why)
    try:
        with explain_lost_process():
            yield
    except RuntimeError:
        catch = False  # torchrun may be faster than the traceback
        raise
    finally:
        if catch:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say_why(number, frame):
    why = f"ended by SIGTERM, which is how torchrun ends a training when {PROCESS_LOST}"
    os.write(2, f"dpkit: {why}\n".encode())
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
