"""Staged networks: a list of stages and a head, so that exits and features need no hooks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from dpkit.records.set_facts import SetFacts


class StagedNet(nn.Module):
    """Stages one after the other, global average pooling, a linear head.

    For x (B, channels, H, W), floating point:

        features(x)            (B, d), what the head reads
        forward(x)             (B, C), the logits
        exits(x)               [forward(x)]
        features_and_exits(x)  both, of one pass

    A network that needs its training images before it trains has see_images(images), which make_net
    calls.

    made_for: what make_net tells it of its set, whose classes and normalisation others must have;
              None: it takes any.
    """

    made_for: SetFacts | None = None
    stages: nn.ModuleList
    head: nn.Linear

    def __init__(self, stages: Iterable[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head

    def features(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return x.mean(dim=(2, 3))

    def features_and_exits(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        h = self.features(x).float()
        return h, [logits_in_float32(self.head, h)]

    def exits(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.features_and_exits(x)[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.exits(x)[-1]


def logits_in_float32(head: nn.Module, h: torch.Tensor) -> torch.Tensor:
    """The logits of a head, in float32 whatever the autocast: bfloat16 would quantise them."""
    with torch.autocast(h.device.type, enabled=False):
        return head(h.float())


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Every module of the net in eval mode inside, and as it was afterwards."""
    # a frozen part may be in eval mode by itself
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _conv(inside, outside, *, stride=1, pool=False):
    # pooling first: batch norm and ReLU, the slow part on a CPU, then touch a quarter of the pixels
    layers = [nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def small_cnn(in_channels: int, num_classes: int) -> StagedNet:
    """Four 3x3 convolutions (32-64-128-128 channels), the first three halving the image: minutes on
    two CPU cores.

    0.24 M parameters; images from 8x8 upwards.
    """
    widths = (in_channels, 32, 64, 128, 128)
    stages = [_conv(widths[k], widths[k + 1], pool=k < 3) for k in range(4)]
    return StagedNet(stages, nn.Linear(widths[-1], num_classes))


# pixels of an image's shorter side: it is halved three times
small_cnn.smallest = 8  # type: ignore[attr-defined]


class _Residual(nn.Module):
    """ReLU(body(x) + x), the short way by a 1x1 convolution where the shape changes."""

    def __init__(self, body, inside, outside, stride):
        super().__init__()
        self.body = body
        self.short = nn.Identity()
        if stride != 1 or inside != outside:
            self.short = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x))


def _basic(inside, width, stride):
    body = _conv(inside, width, stride=stride)
    body.extend([nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)])
    return _Residual(body, inside, width, stride)


def _bottleneck(inside, width, stride):
    body = nn.Sequential(
        nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
    # the stride is the 3x3's, as in torchvision: the paper's 1x1 of stride 2 would skip three
    # pixels of four
    body.extend(
        [
            *_conv(width, width, stride=stride),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        ]
    )
    return _Residual(body, inside, 4 * width, stride)


def _resnet(in_channels, num_classes, block, depths, times=1):
    stages, inside = [_conv(in_channels, 64)], 64
    for k, depth in enumerate(depths):
        blocks = []
        for i in range(depth):
            blocks.append(block(inside, 64 * 2**k, 2 if k and not i else 1))
            inside = 64 * 2**k * times
        stages.append(nn.Sequential(*blocks))
    return StagedNet(stages, nn.Linear(inside, num_classes))


def resnet18(in_channels: int, num_classes: int) -> StagedNet:
    """ResNet-18 with the CIFAR stem: one 3x3 convolution of stride 1, no pooling (He et al., 2016).
    11.2 M parameters.
    """
    return _resnet(in_channels, num_classes, _basic, (2, 2, 2, 2))


def resnet34(in_channels: int, num_classes: int) -> StagedNet:
    """ResNet-34 with the CIFAR stem, as resnet18. 21.3 M parameters; stages: the stem and four of
    3, 4, 6 and 3 blocks.
    """
    return _resnet(in_channels, num_classes, _basic, (3, 4, 6, 3))


def resnet50(in_channels: int, num_classes: int) -> StagedNet:
    """ResNet-50 with the CIFAR stem, bottleneck blocks. 23.5 M parameters; resnet34's stages."""
    return _resnet(in_channels, num_classes, _bottleneck, (3, 4, 6, 3), times=4)


def mobilenet_v3_small(in_channels: int, num_classes: int) -> StagedNet:
    """torchvision's MobileNetV3-Small for 32x32 images, in five stages (Howard et al., 2019). 1.5 M
    parameters, C = 10.

    differs from paper: the stem and the first block that halves have stride 1, or 32x32 images
    would end as one pixel.
    """
    from torchvision.models import mobilenet_v3_small as build

    return _mobilenet(build(num_classes=num_classes), in_channels, (2, 4, 7, 9, 13))


def mobilenet_v3_large(in_channels: int, num_classes: int) -> StagedNet:
    """MobileNetV3-Large, changed as mobilenet_v3_small. 4.2 M parameters, C = 10; six stages."""
    from torchvision.models import mobilenet_v3_large as build

    return _mobilenet(build(num_classes=num_classes), in_channels, (2, 4, 7, 11, 13, 17))


def _mobilenet(net, in_channels, ends):
    """torchvision's blocks as stages that end before these numbers; the classifier's first layer
    goes to the last stage.
    """
    blocks = list(net.features)
    stem = blocks[0][0]
    blocks[0][0] = nn.Conv2d(in_channels, stem.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(blocks[0][0].weight, mode="fan_out")
    strided = next(
        layer
        for block in blocks[1:]
        for layer in block.modules()
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
    )
    strided.stride = (1, 1)
    stages = [
        nn.Sequential(*blocks[start:end]) for start, end in zip((0, *ends), ends, strict=False)
    ]
    wide, activation, dropout, head = net.classifier
    stages[-1].extend([nn.AdaptiveAvgPool2d(1), _Pointwise(wide), activation, dropout])
    return StagedNet(stages, head)


class _Pointwise(nn.Module):
    """A linear layer over the channels of (B, channels, 1, 1)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return self.linear(x.flatten(1))[:, :, None, None]
