"""fast_cnn: a network of the speed-run family, which learns CIFAR in minutes and is large enough to
need hard images.

Frozen 2x2 filters that whiten the image's patches, then three stages of two 3x3 convolutions with
batch norm and GELU.

The family: Page, How to train your ResNet (2018); tysam, hlb-CIFAR10 (2023); Jordan, 94% on
CIFAR-10 in 3.29 Seconds on a Single GPU (2024, arXiv 2404.00498).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dpkit.data.image_set import ImageSet
from dpkit.nets.models import StagedNet

# looked at for whitening, evenly spread over the set: 4.8 million patches of CIFAR say what 48 do
_IMAGES = 5000
# added to the patches' variances (of normalised pixels), so that a direction without any is not
# blown up
_FLOOR = 5e-4


class FastCNN(StagedNet):
    """Stages: frozen whitening and GELU, then three that halve the image; the head reads a ninth of
    each channel's maximum.

    see_images sets the whitening; make_net calls it with the training images. Until then its
    filters are random.
    widths: channels of the three stages.
    differs from the family: images from 8x8 (pooling rounds up where fewer than 4 pixels are left),
    and the head has a bias.
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int]) -> None:
        # both signs of the 4 C directions of a 2x2 patch, as GELU passes only one
        filters = 8 * in_channels
        if filters > widths[0]:
            raise ValueError(
                f"whitening sees at most {widths[0] // 8} channels here (8 filters a channel, "
                f"before a stage of {widths[0]}); these images have {in_channels}: choose another "
                "network"
            )
        whitening: Any = nn.Conv2d(in_channels, filters, 2)
        whitening.weight.requires_grad_(False)
        nn.init.zeros_(whitening.bias)
        sides = (filters, *widths)
        stages = [
            nn.Sequential(whitening, nn.GELU()),
            *(_Stage(*pair) for pair in zip(sides, widths)),
        ]
        stages[-1] = nn.Sequential(stages[-1], nn.AdaptiveMaxPool2d(1), _Ninth())
        super().__init__(stages, nn.Linear(widths[-1], num_classes))

    def see_images(self, images: ImageSet) -> None:
        """Set the whitening from these training images (an ImageSet): the directions of their 2x2
        patches, at variance 1.

        At most 5,000 of them are looked at, evenly spread. ValueError if they are all of one
        colour.
        """
        n = len(images)
        rows = torch.arange(min(n, _IMAGES), device=images.device) * n // min(n, _IMAGES)
        whitening: Any = self.stages[0]
        whitening[0].weight.data.copy_(whitening_filters(images.clean(rows)))


def whitening_filters(x: torch.Tensor) -> torch.Tensor:
    """The filters (8 C, C, 2, 2) whose outputs over the 2x2 patches of x (B, C, H, W) have second
    moment 1, uncorrelated.

    First the 4 C directions, largest variance first, then the same with the other sign. The sign of
    each is such that its largest weight is positive: otherwise the solver, and so the processor,
    would decide the order of a network's inputs.
    ValueError if the patches do not vary.
    """
    channels = x.shape[1]
    second, count = torch.zeros(4 * channels, 4 * channels, dtype=torch.float64, device=x.device), 0
    for part in x.split(500):
        patches = F.unfold(part, 2).double()  # (b, 4 C, positions)
        second += (patches @ patches.mT).sum(0)
        count += len(part) * patches.shape[2]
    values, vectors = torch.linalg.eigh((second / count).cpu())
    if x.flatten(2).amax((0, 2)).equal(x.flatten(2).amin((0, 2))):
        raise ValueError(
            "whitening needs images that differ somewhere; all of these are of one colour: is the "
            "set read as it was meant?"
        )
    # eigh has the smallest first
    filters = (vectors / (values.clamp_min(0) + _FLOOR).sqrt()).T.flip(0)
    largest = filters.gather(1, filters.abs().argmax(1, keepdim=True))
    filters = (filters * largest.sign()).float().view(-1, channels, 2, 2)
    return torch.cat([filters, -filters])


class _Stage(nn.Module):
    """Convolution, halving, norm and GELU; then a second convolution, norm and GELU."""

    def __init__(self, inside, outside):
        super().__init__()
        self.first, self.first_norm = _conv(inside, outside), _norm(outside)
        self.second, self.second_norm = _conv(outside, outside), _norm(outside)

    def forward(self, x):
        x = self.first(x)
        x = F.max_pool2d(x, 2, ceil_mode=min(x.shape[2:]) < 4)
        x = F.gelu(self.first_norm(x))
        return F.gelu(self.second_norm(self.second(x)))


class _Ninth(nn.Module):
    """What the family scales its logits by: a network that starts unsure learns faster at the rates
    it is trained with.
    """

    def forward(self, x):
        return x / 9


def _conv(inside, outside):
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    if outside >= inside:
        # each input passes through at first: less to learn before it learns
        nn.init.dirac_(conv.weight.data[:inside])
    return conv


def _norm(width):
    # short trainings: running statistics must follow within a few steps
    norm = nn.BatchNorm2d(width, momentum=0.4)
    norm.weight.requires_grad_(False)  # the next convolution has the scale already
    return norm


def fast_cnn(in_channels: int, num_classes: int) -> FastCNN:
    """Three stages of 64, 128 and 128 channels; 0.57 M parameters, C = 10. Images from 8x8 pixels,
    of at most 8 channels.
    """
    return FastCNN(in_channels, num_classes, (64, 128, 128))


def fast_cnn_wide(in_channels: int, num_classes: int) -> FastCNN:
    """fast_cnn with stages of 64, 256 and 256 channels; 1.97 M parameters, C = 10."""
    return FastCNN(in_channels, num_classes, (64, 256, 256))


def fast_cnn_narrow(in_channels: int, num_classes: int) -> FastCNN:
    """fast_cnn with stages of 32, 64 and 64 channels; 0.15 M parameters, C = 10, fewer than
    small_cnn. At most 4 channels.
    """
    return FastCNN(in_channels, num_classes, (32, 64, 64))


_build: Any
for _build in (fast_cnn, fast_cnn_wide, fast_cnn_narrow):
    _build.smallest = 8  # pixels of an image's shorter side
    # settings of a Recipe that suit it better than the usual ones
    _build.recipe = {"lr": 0.2, "norm_bias_lr": 64.0}
