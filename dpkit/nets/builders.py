"""MODELS: every network by name, and a fresh one for a set of images."""

from collections.abc import Callable, Sequence

import torch

from dpkit import nets
from dpkit.data.image_set import ImageSet
from dpkit.nets.catalog import NETWORKS
from dpkit.nets.early_exits import EarlyExitNet
from dpkit.storage.lookup import find

# the builders stand at the door under their names
MODELS = {name: getattr(nets, name) for name in NETWORKS}


def find_builder(model: str | Callable) -> Callable:
    """The network builder of this name, or the builder itself.

        build(in_channels, num_classes) -> net

    A builder may have attributes: `smallest`, pixels of an image's shorter side, and `recipe`,
    settings of a Recipe that suit it. ValueError for a name that is not in MODELS, and for a
    builder of one's own under a name that is.
    """
    if not callable(model):
        return find(MODELS, model, "model")
    if MODELS.get(model_name(model), model) is not model:
        raise ValueError(
            "a network of one's own needs a name that MODELS does not have; got "
            f"{model_name(model)!r}: rename the function"
        )
    return model


def model_name(model: str | Callable) -> str:
    """What a network is called in rows and messages."""
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)


def make_net(
    model: str | Callable, images: ImageSet, *, seed: int, exits: Sequence[int] = ()
) -> torch.nn.Module:
    """A fresh network for these images, its weights decided by seed alone.

    Global random state is left alone. The network knows the set's classes and normalisation
    (net.made_for): evaluate and others take other sets with these.

    Parameters
    ----------
    model : a name in MODELS, or a builder of your own: build(in_channels, num_classes) -> net.
    images : those that it will train on; a network that looks at them first (fast_cnn's whitening)
        looks at these alone.
    seed : of the weights.
    exits : stages, counted from 0, after which it has an early exit; the rest of it has the weights
        that it has without.

    Returns
    -------
    A network on the device of the images; an EarlyExitNet if there are exits.

    Raises
    ------
    ValueError for an unknown name, and for images smaller than it can take.
    """
    build = find_builder(model)
    check_pixels(model, *images.images.shape[2:])
    # weights are drawn on the CPU: the same on every device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = build(images.in_channels, images.num_classes)
        if hasattr(net, "see_images"):
            net.see_images(images)
        net = (EarlyExitNet(net, exits) if exits else net).to(images.device)
    net.made_for = images.facts
    return net


def check_pixels(model: str | Callable, height: int, width: int) -> None:
    """ValueError if the network cannot take images so small."""
    least = getattr(find_builder(model), "smallest", 1)
    if min(height, width) < least:
        raise ValueError(
            f"{model_name(model)} needs images of at least {least}x{least} pixels; these are "
            f"{width}x{height}: have them resized with size={least} (--size {least})"
        )


def recipe_settings(model: str | Callable) -> dict:
    """The settings of a Recipe that suit a network, where they are not the usual ones.

    {} for a name that is none.
    """
    return dict(getattr(MODELS.get(model) if isinstance(model, str) else model, "recipe", {}))
