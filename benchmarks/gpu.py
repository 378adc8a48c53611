"""ResNet-18 on a set of CIFAR's size on one GPU: what recording costs, what compiling gains, where
the time goes.
"""

from itertools import islice
from statistics import median

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from dpkit import Recipe, make_net, train
from dpkit.data.image_set import from_arrays


def epochs(images, *, record, compile, batch_size, count=3):
    """Seconds of each of `count` epochs after a first one that warms up."""
    net = make_net("resnet18", images, seed=0)
    recipe = Recipe(epochs=200, batch_size=batch_size, compile=compile)
    return [
        report.seconds
        for report in islice(train(net, images, recipe, seed=0, record=record), count + 1)
    ][1:]


def run():
    if not torch.cuda.is_available():
        yield "ResNet-18 on a GPU", {"skipped": "no GPU here"}
        return
    rng = np.random.default_rng(0)
    images = from_arrays(
        rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8),
        rng.integers(0, 10, 50_000),
        shift=4,
        mirror=True,
        device="cuda",
    )
    for compile in (False, True):
        for batch_size in (128, 32):
            with_record, without = [], []
            for _ in range(2):  # in turn: a drifting clock slows both
                with_record += epochs(images, record=True, compile=compile, batch_size=batch_size)
                without += epochs(images, record=False, compile=compile, batch_size=batch_size)
            yield (
                f"epoch of 50,000, ResNet-18, batch {batch_size}{', compiled' if compile else ''}",
                {
                    "recorded_s": median(with_record),
                    "unrecorded_s": median(without),
                    "speed_kept": median(without) / median(with_record),
                },
            )
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        list(
            islice(
                train(
                    make_net("resnet18", images, seed=0),
                    images,
                    Recipe(budget="steps", steps=50),
                    seed=0,
                ),
                1,
            )
        )
    # a CPU op carries its kernels' time as well: counting both would count each kernel twice
    kernels = [each for each in seen.key_averages() if each.device_type == DeviceType.CUDA]
    events = sorted(kernels, key=lambda event: -event.self_device_time_total)
    whole = sum(event.self_device_time_total for event in events)
    for event in events[:8]:
        yield (
            f"profile: {event.key[:40]}",
            {"share_of_gpu_time": event.self_device_time_total / whole, "calls": event.count},
        )
