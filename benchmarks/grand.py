"""GraNd in closed form against gradients that are formed, and of the whole network against a loop
over samples.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks._compare import compare
from dpkit import Snapshot, gradient_norms, grand
from dpkit.data.image_set import from_arrays
from dpkit.data.toys import toy_images
from dpkit.nets.builders import make_net


def looked_at(n=50_000, width=512, classes=10):
    """A head, the features it reads, labels, and the Snapshot of it."""
    rng = np.random.default_rng(0)
    head = torch.nn.Linear(width, classes)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.normal(0, 0.05, (classes, width))))
        head.bias.zero_()
    h, labels = rng.random((n, width), np.float32), rng.integers(0, classes, n)
    with torch.no_grad():
        probs = head(torch.from_numpy(h)).softmax(1)
    return (
        head,
        torch.from_numpy(h),
        torch.from_numpy(labels),
        Snapshot(probs[None].numpy(), h, labels),
    )


def products(p, h, y, batch_size=256):
    """The usual way: every sample's C x d gradient formed, then measured, a batch at a time. (n,)
    float32.
    """
    found = []
    for rows in torch.arange(len(y)).split(batch_size):
        error = p[rows] - F.one_hot(y[rows], p.shape[1])
        whole = torch.cat([error, (error[:, :, None] * h[rows][:, None]).flatten(1)], 1)
        found.append(whole.norm(dim=1))
    return torch.cat(found)


def loop(net, x, y):
    """One backward pass per sample. (B,)."""
    parameters, found = list(net.parameters()), []
    for i in range(len(x)):
        gradients = torch.autograd.grad(
            F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]), parameters
        )
        found.append(torch.stack([g.norm() for g in gradients]).norm())
    return torch.stack(found)


def against_products(repeats=7):
    _, h, y, snapshot = looked_at()
    p = torch.from_numpy(snapshot.probs[-1].copy())
    np.testing.assert_allclose(grand(snapshot).values, products(p, h, y).numpy(), rtol=1e-4)
    return compare(lambda: grand(snapshot), lambda: products(p, h, y), repeats=repeats)


def against_autograd(subset=2000, repeats=7):
    """Per sample: the loop is timed on `subset` samples only, and both are divided by the samples
    they scored.
    """
    head, h, y, snapshot = looked_at()
    np.testing.assert_allclose(
        grand(snapshot).values[:subset], loop(head, h[:subset], y[:subset]).numpy(), rtol=1e-4
    )
    found = compare(
        lambda: grand(snapshot), lambda: loop(head, h[:subset], y[:subset]), repeats=repeats
    )
    scale = len(y) / subset
    return {
        "ours_us_per_sample": 1e6 * found["ours_s"] / len(y),
        "plain_us_per_sample": 1e6 * found["plain_s"] / subset,
        "ratio": found["ratio"] * scale,
        "ratio_min": found["ratio_min"] * scale,
        "ratio_max": found["ratio_max"] * scale,
        "plain_samples": subset,
        "repeats": repeats,
    }


def whole_network(images, repeats=5):
    """Wall clock as everywhere, and the processor's own seconds, which other processes on the
    machine disturb less.
    """
    net = make_net("small_cnn", images, seed=0).eval()
    x, y = images.clean(slice(None)), images.labels
    np.testing.assert_allclose(
        gradient_norms(net, images).values, loop(net, x, y).numpy(), rtol=1e-3
    )
    found = compare(lambda: gradient_norms(net, images), lambda: loop(net, x, y), repeats=repeats)
    begun = time.process_time()
    gradient_norms(net, images)
    between = time.process_time()
    loop(net, x, y)
    return found | {"cpu_ratio": (time.process_time() - between) / (between - begun)}


def run():
    yield "GraNd, last layer, 50,000 x 512, against formed gradients", against_products()
    yield "GraNd, last layer, against autograd sample by sample", against_autograd()
    yield "GraNd, whole small_cnn, 12x12", whole_network(toy_images(512, size=12, device="cpu")[0])
    pixels = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3)).astype(np.uint8)
    images = from_arrays(pixels, np.arange(256) % 10, device="cpu")
    yield "GraNd, whole small_cnn, 32x32", whole_network(images)
