"""Training as a generator of epoch reports. The notebook's `for` is the callback; `break` stops."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dpkit.data.image_set import ImageSet
from dpkit.records import NO_LABEL
from dpkit.records.set_facts import check_classes, set_facts_of
from dpkit.storage.identity import Unknown, warn_once
from dpkit.training.checkpoint import Checkpoint, code_of, training_identity
from dpkit.training.inference import autocast, full_float32, limit_threads
from dpkit.training.processes import processes
from dpkit.training.recipe import Recipe
from dpkit.training.recorder import Recorder
from dpkit.training.seeds import epoch_draws, epoch_seed, seeded
from dpkit.training.sgd import SGD


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
    n, device, group = len(images), images.device, processes(images.device)
    code = _code_or_none(net, loss) if checkpoint is not None else None
    owner = {}
    if group.world_size > 1 or code is not None:
        owner = training_identity(net, images, recipe, seed) | ({"tdds": True} if tdds else {})
    group.check_alike(owner | {"tdds": tdds, "record": record, "checkpoint": code is not None})
    if n == 0:
        raise ValueError("train needs at least one sample; this set is empty: keep more")
    _fit_to(net, images)
    net.to(device).to(memory_format=torch.channels_last)
    loss = _checked(recipe, n, loss, record)
    group.check_batches(n // recipe.batches(n), recipe)
    if recipe.compile:
        loss = compiled(loss, device.type)
    passes = _Passes(net, images, recipe, seed, loss, group)
    saved = None
    if checkpoint is not None and code is not None:
        saved = Checkpoint(checkpoint, owner | code, device, group)
    start, log_probs = 0, None
    if saved:
        for fields in saved.reports(net, passes.optimizer):
            start += 1
            yield EpochReport(**fields)
        log_probs = saved.log_probs
    given = np.full(images.total, NO_LABEL)
    given[images.ids] = images.labels.cpu().numpy()
    seen: dict[str, Any] = {"index": images.ids, "labels": given, "tdds": tdds}
    for epoch in range(start, math.ceil(passes.horizon / passes.per_epoch)):
        with group.training():
            recorder = Recorder(images.total, 1, **seen, log_probs=log_probs) if record else None
            report = passes.report(epoch, recorder)
            log_probs = recorder.log_probs if recorder else None
            if saved:
                last = report.steps == passes.horizon
                saved.keep(report, net, passes.optimizer, log_probs, last=last)
        yield report


def _code_or_none(net, loss):
    """What the loss and the network do, or None, with a warning, where that cannot be known. Of
    several processes the first one's counts: a loss may read its rank.
    """
    try:
        return code_of(net, loss)
    except Unknown as error:
        warn_once(f"{error}: this training goes on from no checkpoint, and keeps none")


class _Passes:
    """The passes of one training over its set: what every epoch needs, and nothing that it leaves
    behind but the network's and the optimizer's state.
    """

    def __init__(self, net, images, recipe, seed, loss, group):
        self.net, self.images, self.recipe, self.seed = net, images, recipe, seed
        self.loss, self.group, self.device, n = loss, group, images.device, len(images)
        self.groups = _parameter_groups(net, recipe)
        self.optimizer = _optimizer(self.groups, recipe, self.device)
        self.horizon, self.per_epoch = recipe.total_steps(n), recipe.batches(n)
        # near-equal batches: a last batch of one or two samples would upset batch norm
        self.batches = torch.tensor_split(torch.arange(n), self.per_epoch)

    def report(self, epoch, recorder) -> EpochReport:
        """Train for one epoch, or for what the budget leaves of it."""
        begun, done = time.perf_counter(), epoch * self.per_epoch
        batches = self.batches[: self.horizon - done]
        self.net.train()
        # every draw of the epoch comes from (seed, epoch): prefixes and restarts give the same
        # numbers
        seed = epoch_seed(self.seed, epoch)
        # gradients are computed outside autocast
        with seeded(seed, self.device), limit_threads(self.images), full_float32():
            total, lr = self._steps(epoch, done, batches, recorder)
        self.group.share_buffers(self.net)
        mean_loss = float(self.group.sum(total)) / (int(batches[-1][-1]) + 1)
        if not math.isfinite(mean_loss):
            raise FloatingPointError(
                f"the loss became {mean_loss} in epoch {epoch}: the training diverged; use a "
                f"smaller lr than {self.recipe.lr}"
            )
        partial = len(batches) < self.per_epoch
        seen = recorder.epoch(0, partial=partial) if recorder else (None, None, None)
        seconds = time.perf_counter() - begun
        return EpochReport(epoch, mean_loss, lr, seconds, done + len(batches), *seen)

    def _steps(self, epoch, done, batches, recorder):
        """(the losses' sum over this process's samples, the last learning rate)."""
        images, group, optimizer = self.images, self.group, self.optimizer
        order, offsets, mirrored = epoch_draws(images, self.device)
        ids = torch.from_numpy(images.ids).to(self.device)
        total = torch.zeros((), device=self.device)
        step = group.step(self.loss, self.net)
        group.draw_own(self.seed, epoch)
        for k, batch in enumerate(batches):
            lr = self.recipe.rate(done + k, self.horizon)
            for parameters, (_, factor) in zip(optimizer.param_groups, self.groups):
                parameters["lr"] = lr * factor
            at = slice(int(batch[0]) + group.rank, int(batch[-1]) + 1, group.world_size)
            rows = order[at]
            if self.recipe.augment:
                x = images.augmented(rows, offsets[:, at], mirrored[at])
            else:
                x = images.clean(rows)
            y = images.labels[rows]
            optimizer.zero_grad(set_to_none=True)
            with autocast(images, self.recipe.precision):
                value, logits = step(x, y)
            if recorder:
                recorder.update(0, ids[rows], logits, y)
            # the shares of a batch may differ by a sample
            (value * (group.world_size * len(rows) / len(batch))).backward()
            group.check_reached(self.net)
            optimizer.step()
            total += value.detach() * len(rows)
        return total, lr


def _fit_to(net, images):
    """Refuse a set of other classes than the network's; what is trained on decides the
    normalisation that it knows.
    """
    known, facts = set_facts_of(net), images.facts
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


def _optimizer(groups, recipe, device):
    """SGD; weight decay, which torch multiplies by the rate, is the same for both groups."""
    return SGD(
        [{"params": some, "weight_decay": recipe.weight_decay / factor} for some, factor in groups],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=device.type in ("cpu", "cuda"),
    )


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
def compiled(loss: Callable, device: str) -> Callable:
    """The loss as torch.compile makes it for "cpu" or "cuda": one for all networks of a kind
    (weights are inputs), compiled once per batch size. `compiled.cache_clear()` forgets all.
    """
    # near-equal batches: two sizes a set
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(loss, mode="reduce-overhead" if device == "cuda" else None, dynamic=False)
