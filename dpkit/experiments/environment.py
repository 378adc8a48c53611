"""What a result depends on besides its settings: the sets, the machine, functions of one's own."""

import os
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version

import torch

from dpkit.data.image_set import ImageSet
from dpkit.data.loading import auto_device, load
from dpkit.experiments.given_sets import bring_sets, must_be_loaded
from dpkit.methods.catalog import find_method
from dpkit.methods.method import Method
from dpkit.nets import builders
from dpkit.storage.identity import identity_or_new, is_own
from dpkit.storage.provenance import processor
from dpkit.training.inference import resolve_precision
from dpkit.training.recipe import Recipe


def load_sets(
    dataset: str | ImageSet,
    num_samples: int = 0,
    device: str | torch.device = "auto",
    test: ImageSet | str | float | None = None,
    size: int | None = None,
) -> tuple[ImageSet, ImageSet]:
    """(training images, test images) of a named set, or of one that is given with its test set.

    A subset counts as a set of its own, numbered from 0. num_samples: the first so many (0: all).
    test, size: as of a Trial. The last two asked for are kept in memory, but for sets of a path.
    """
    if must_be_loaded(dataset, test, size):
        dataset, test = bring_sets(dataset, test, size)
    folder = os.environ.get("DPKIT_DATA")
    return _load_sets(dataset, num_samples, auto_device(device), test, folder)


@lru_cache(maxsize=2)
def _load_sets(dataset, num_samples, device, test, _folder):
    if isinstance(dataset, str):
        images, test = (
            load(dataset, split=split, device=device, say=None) for split in ("train", "test")
        )
    else:
        images, test = dataset.to(device).standalone(), test.to(device)
    return (images.first(num_samples) if num_samples else images), test


def device_name(device: torch.device) -> str:
    """ "cpu", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def own_code(method: str | Method, *models: str | Callable | None) -> str:
    """What of a method's functions and of networks is not dpkit's, and what it does, in a line; ""
    if all are dpkit's.
    """
    found = list(find_method(method).codes(identity_or_new))
    found += [identity_or_new(builders.find_builder(model)) for model in models if model]
    return "; ".join(code for code in found if code and is_own(code))


def compute_environment(
    images: ImageSet, recipe: Recipe, device: torch.device | None = None
) -> dict:
    """What a training's numbers depend on besides data and settings: the kind of processor or GPU,
    precision, torch's version. device: where it will be (default: where the images are).

    On another kind of processor the same seed gives nearly another seed's numbers: it is another
    training.
    """
    device = device or images.device
    on_gpu, precision = device.type == "cuda", resolve_precision(images, recipe.precision, device)
    return {
        "device": device.type,
        "processor": device_name(device) if on_gpu else processor(),
        "precision": precision,
        "torch": version("torch"),
        # before 0.9 it was what torch took, on recent GPUs TF32
        **({"convolutions": "float32"} if on_gpu and precision == "fp32" else {}),
    }
