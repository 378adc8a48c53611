"""Staged networks: a list of stages and a head, so that exits and features need no hooks."""

import torch
import torch.nn.functional as F
from torch import nn


class StagedNet(nn.Module):
    """Stages one after the other, global average pooling, a linear head.

    features(x) (B, d) is what the head reads; forward(x) (B, C) the logits; exits(x) == [forward(x)];
    look(x) gives (features, exits) of one pass. x: (B, channels, H, W), floating point.
    """

    def __init__(self, stages, head: nn.Linear):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head

    def features(self, x):
        for stage in self.stages:
            x = stage(x)
        return x.mean(dim=(2, 3))

    def look(self, x):
        h = self.features(x)
        # float32 whatever the autocast: bfloat16 logits would quantise the recorded probabilities
        with torch.autocast(h.device.type, enabled=False):
            h = h.float()
            return h, [self.head(h)]

    def exits(self, x):
        return self.look(x)[1]

    def forward(self, x):
        return self.exits(x)[-1]


def _conv(inside, outside, *, stride=1, pool=False):
    # pooling first: batch norm and ReLU, the slow part on a CPU, then touch a quarter of the pixels
    layers = [nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def small_cnn(in_channels: int, num_classes: int) -> StagedNet:
    """Four 3x3 convolutions (32-64-128-128 channels), the first three halving the image: minutes on two CPU cores.

    0.24 M parameters; images from 8x8 upwards.
    """
    widths = (in_channels, 32, 64, 128, 128)
    stages = [_conv(widths[k], widths[k + 1], pool=k < 3) for k in range(4)]
    return StagedNet(stages, nn.Linear(widths[-1], num_classes))


class _BasicBlock(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.first = _conv(inside, outside, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside))
        self.short = nn.Identity()
        if stride != 1 or inside != outside:
            self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        return F.relu(self.second(self.first(x)) + self.short(x))


def resnet18(in_channels: int, num_classes: int) -> StagedNet:
    """ResNet-18 with the CIFAR stem: one 3x3 convolution of stride 1, no pooling (He et al., 2016). 11.2 M parameters."""
    stages, inside = [_conv(in_channels, 64)], 64
    for outside, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages.append(nn.Sequential(_BasicBlock(inside, outside, stride), _BasicBlock(outside, outside, 1)))
        inside = outside
    return StagedNet(stages, nn.Linear(512, num_classes))
