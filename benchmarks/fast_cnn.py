"""A recorded training step against the machine's own matrix product: the share of its speed that
the training reaches.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._compare import compare
from dpkit import make_net, recipe_for, train
from dpkit.data.image_set import from_arrays
from dpkit.training.inference import autocast, resolve_precision


def flops_of_step(net, images, batch) -> int:
    """Floating-point operations of one forward and backward pass over a batch, as torch counts
    them.
    """
    with FlopCounterMode(display=False) as counted, autocast(images):
        F.cross_entropy(
            net(images.clean(slice(0, batch))).float(), images.labels[:batch]
        ).backward()
    net.zero_grad()
    return counted.get_total_flops()


def product_of(flops, dtype):
    """Matrix products (4096 x 1024) (1024 x 1024) of so many operations in all."""
    a, b = torch.randn(4096, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    times = max(1, round(flops / (2 * 4096 * 1024 * 1024)))

    def work():
        for _ in range(times):
            a @ b

    return work, times * 2 * 4096 * 1024 * 1024


def measure(model, images, *, threads, repeats=5):
    torch.set_num_threads(threads)
    recipe = recipe_for(model, epochs=200)
    net = make_net(model, images, seed=0)
    flops = flops_of_step(net, images, recipe.batch_size) * recipe.batches(len(images))
    precision = resolve_precision(images)
    work, done = product_of(flops, torch.bfloat16 if precision == "bf16" else torch.float32)
    epochs = train(net, images, recipe, seed=0)
    found = compare(lambda: next(epochs), work, repeats=repeats)
    ratios = {name: found[name] * flops / done for name in ("ratio", "ratio_min", "ratio_max")}
    return (
        found
        | ratios
        | {
            "gflops": flops / found["ours_s"] / 1e9,
            "product_gflops": done / found["plain_s"] / 1e9,
            "threads": threads,
            "precision": precision,
            "batch": recipe.batch_size,
        }
    )


def run():
    rng = np.random.default_rng(0)
    images = from_arrays(
        rng.integers(0, 256, (1_280, 32, 32, 3), np.uint8),
        np.arange(1_280) % 10,
        shift=4,
        mirror=True,
        device="cpu",
    )
    for model in ("small_cnn", "fast_cnn", "fast_cnn_wide"):
        for threads in (1, 2):
            found = measure(model, images, threads=threads)
            yield (
                f"recorded epoch, {model} 32x32, {threads} threads: share of a product's speed",
                found,
            )
