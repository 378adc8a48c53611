"""One recorded epoch of the small CNN on 28x28 images, two threads, against the usual loop that
records the same.
"""

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks._compare import compare
from benchmarks.data_path import PlainSet, image_set
from dpkit import Recipe, indexed, train
from dpkit.nets.models import small_cnn
from dpkit.training.inference import resolve_precision
from dpkit.training.seeds import epoch_draws, epoch_seed


def usual_epoch(net, dataset, n, *, lr=0.1, order=None):
    """fp32, NCHW, a DataLoader, and arrays filled batch by batch: target_prob, margin, correct."""
    sampler = order if order is not None else torch.randperm(n).tolist()
    loader = torch.utils.data.DataLoader(indexed(dataset), batch_size=128, sampler=sampler)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    target_prob, margin, correct = (
        np.zeros(n, np.float32),
        np.zeros(n, np.float32),
        np.zeros(n, bool),
    )
    net.train()
    for index, (x, y) in loader:
        logits = net(x)
        loss = F.cross_entropy(logits, y)
        with torch.no_grad():
            at = index.numpy()
            given = logits.gather(1, y[:, None])[:, 0]
            target_prob[at] = logits.softmax(1).gather(1, y[:, None])[:, 0].numpy()
            margin[at] = (given - logits.scatter(1, y[:, None], -torch.inf).amax(1)).numpy()
            correct[at] = (logits.argmax(1) == y).numpy()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return target_prob, margin, correct


def fresh():
    torch.manual_seed(0)
    return small_cnn(1, 10)


def measure(precision, *, n=12_800, repeats=5):
    torch.set_num_threads(2)
    pixels, labels, images = image_set(n, 28, 1, 2)
    dataset = PlainSet(pixels, labels, images)
    _agree()
    recipe = Recipe(epochs=30, precision=precision)
    epochs = train(fresh(), images, recipe, seed=0)  # one network, one epoch a call
    net = fresh()
    found = compare(lambda: next(epochs), lambda: usual_epoch(net, dataset, n), repeats=repeats)
    return found | {"threads": 2, "precision": resolve_precision(images, precision)}


def _agree(n=512):
    """Without augmentation and in our order, the usual loop records the same numbers."""
    pixels, labels, images = image_set(n, 28, 1, 0)
    seen = next(
        train(fresh(), images, Recipe(epochs=1, augment=None, precision="fp32", lr=1e-3), seed=0)
    )
    torch.manual_seed(epoch_seed(0, 0))
    order, _, _ = epoch_draws(images, images.device)
    dataset = PlainSet(pixels, labels, images)
    dataset.transform.transforms[:2] = []  # ToTensor and Normalize stay
    target_prob, margin, correct = usual_epoch(fresh(), dataset, n, lr=1e-3, order=order.tolist())
    np.testing.assert_allclose(seen.target_prob, target_prob, atol=1e-3)
    np.testing.assert_allclose(seen.margin, margin, atol=1e-2)
    assert (seen.correct == correct).mean() > 0.99


def run():
    yield "recorded epoch, small CNN 28x28, 2 threads, picked precision", measure("auto")
    yield "recorded epoch, small CNN 28x28, 2 threads, fp32", measure("fp32")
