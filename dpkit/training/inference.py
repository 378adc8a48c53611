"""One clean pass over a set: accuracy, or a Snapshot of probabilities and features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from dpkit.data.image_set import ImageSet
from dpkit.nets.models import eval_mode
from dpkit.records import Snapshot
from dpkit.records.set_facts import set_facts_of
from dpkit.storage.provenance import processor


@dataclass(frozen=True)
class Evaluation:
    """How good a network is on a set, as `evaluate` returns it.

    accuracy:       in [0, 1], of the final exit.
    loss:           mean cross-entropy of the final exit, in nats.
    num_samples:    how many images.
    class_accuracy: (C,), the accuracy on each class's images; None for a class without any.
    class_names:    (C,), of these classes, in the network's order.
    """

    accuracy: float
    loss: float
    num_samples: int
    class_accuracy: tuple[float | None, ...] = ()
    class_names: tuple[str, ...] = ()


def evaluate(
    net: nn.Module, images: ImageSet, *, batch_size: int = 1024, precision: str = "auto"
) -> Evaluation:
    """Accuracy and loss on clean images, in eval mode; the network's mode is put back afterwards.

    Parameters
    ----------
    net : net(x) -> logits (B, C).
    images : the set, whole or a part. For a network of make_net it is taken with the classes, by
        name, and the normalisation of the training set.
    batch_size : images at a time.
    precision : "auto" | "fp32" | "bf16".

    Returns
    -------
    Evaluation: accuracy in [0, 1], mean loss in nats, number of samples, accuracy by class.

    Raises
    ------
    ValueError for a set with a class that the network does not know, or other channels.
    """
    images = images.aligned(set_facts_of(net), "evaluate")
    loss = 0.0
    right = torch.zeros(images.num_classes, dtype=torch.int64, device=images.device)
    for rows, logits in _passes(net, net, images, batch_size, precision):
        if rows.start == 0:
            _check_outputs(images, logits)
        labels = images.labels[rows]
        right += torch.bincount(labels[logits.argmax(1) == labels], minlength=len(right))
        loss += torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum").item()
    n, counts = len(images), torch.bincount(images.labels, minlength=len(right)).tolist()
    by_class = (hits / count if count else None for hits, count in zip(right.tolist(), counts))
    names = images.facts.class_names
    return Evaluation(int(right.sum()) / n, loss / n, n, tuple(by_class), names)


def take_snapshot(
    net: nn.Module, images: ImageSet, *, batch_size: int = 1024, precision: str = "auto"
) -> Snapshot:
    """Look once at every image, clean, in eval mode: probabilities of every exit, features, labels.

    Parameters
    ----------
    net : a staged network (it has features_and_exits(x)).
    images : row i of the snapshot is images.ids[i], so take snapshots of whole sets. For a network
        of make_net it is taken with the classes, by name, and the normalisation of the training
        set.
    batch_size : images at a time.
    precision : "auto" | "fp32" | "bf16".

    Returns
    -------
    Snapshot with probs (exits, n, C), features (n, d), labels (n,), the network's class numbers,
    and params["set_facts"]: the classes and normalisation that were used.

    Raises
    ------
    ValueError for a part of a set, and for a set that cannot go with the network, as for evaluate.
    """
    if len(images) != images.total:
        raise ValueError(
            f"take_snapshot needs the whole set, so that row i is sample i; got {len(images)} of "
            f"{images.total} samples: pass the set before .subset"
        )
    if not hasattr(net, "features_and_exits"):
        raise TypeError(
            "take_snapshot needs a staged network, with features_and_exits(x) -> (features, "
            "exits); got "
            f"{type(net).__name__}: list its stages in a dpkit.models.StagedNet"
        )
    images = images.aligned(set_facts_of(net), "take_snapshot")
    probs, features = [], []
    for _, (h, exits) in _passes(net, net.features_and_exits, images, batch_size, precision):
        probs.append(torch.stack(exits).float().softmax(-1).cpu().numpy())
        features.append(h.float().cpu().numpy())
    return Snapshot(
        np.concatenate(probs, axis=1),
        np.concatenate(features),
        images.labels.cpu().numpy(),
        {"set_facts": images.facts.params()},
    )


def _check_outputs(images, logits):
    """ValueError for labels beyond the network's outputs: torch would say it in its own words, or
    end the GPU's process.
    """
    highest, outputs = int(images.labels.max()), logits.shape[1]
    if highest >= outputs:
        raise ValueError(
            f"labels must be below {outputs}, the network's number of classes; {images.name} has "
            f"{highest}: make a network for this set, make_net(model, images, seed=0), or load the "
            "set's classes as in training, load(path, like=train)"
        )


def _passes(net, forward, images, batch_size, precision):
    """Yield (rows, forward(x)) by batch; the net's mode is restored, gradients off in computing."""
    with eval_mode(net):
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            with torch.no_grad(), autocast(images, precision):
                found = forward(images.clean(rows))
            yield rows, found


@contextmanager
def autocast(images: ImageSet, precision: str = "auto") -> Iterator[None]:
    """torch.autocast in bfloat16 if that is picked for these images, else float32 as it is named:
    see full_float32.
    """
    low = resolve_precision(images, precision) == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=low), full_float32():
        yield


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 inside, which torch takes for float32 convolutions on recent GPUs: it keeps 10 of
    float32's 23 bits, and so errs by up to 1e-3. (For products of matrices torch takes it only if
    told to.) Without effect on a CPU and on what is in bfloat16.
    """
    cudnn: Any = torch.backends.cudnn  # mypy does not see what it makes of itself
    kinds = cudnn.conv, cudnn.rnn
    before = [kind.fp32_precision for kind in kinds]
    # by torch's older name for both: it can be read only where it agrees with the newer ones
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = "tf32" in before
        for kind, value in zip(kinds, before, strict=True):
            if kind.fp32_precision != value:
                kind.fp32_precision = value


def resolve_precision(
    images: ImageSet, precision: str = "auto", device: torch.device | None = None
) -> str:
    """ "fp32" or "bf16": what "auto" means for these images on `device` (default: theirs).

    Recent GPUs, and CPUs that multiply bf16 faster than fp32, gain 2-3x from bf16; images below
    16x16 are all overhead and gain nothing.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f'precision must be "auto", "fp32" or "bf16"; got {precision!r}')
    if precision != "auto":
        return precision
    if _tiny(images):
        return "fp32"
    kind = (device or images.device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if kind == "cpu" and _cpu_gains_from_bf16() else "fp32"


def _cpu_gains_from_bf16():
    """Whether this CPU multiplies bf16 faster than fp32. AMD's AVX512-BF16 does; Intel's only with
    AMX beside it: without, as clouds may hide it, a step takes 1.5 times as long as in fp32.
    """
    with_amx = torch.cpu._is_amx_tile_supported()
    return torch.cpu._is_avx512_bf16_supported() and (with_amx or "Intel" not in processor())


@contextmanager
def limit_threads(images: ImageSet) -> Iterator[None]:
    """One thread for images below 16x16 on a CPU, where more would wait; put back afterwards."""
    before = torch.get_num_threads()
    if images.device.type == "cpu" and _tiny(images):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tiny(images):
    return min(images.images.shape[2:]) < 16
