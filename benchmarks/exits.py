"""Early exits: what they add to watching a training, and what leaving early saves, in seconds
beside operations.
"""

import time
from dataclasses import replace

import numpy as np
import torch

from benchmarks._compare import compare
from dpkit import Recipe, train
from dpkit.data.image_set import from_arrays
from dpkit.data.toys import toy_images
from dpkit.nets.builders import make_net
from dpkit.nets.early_exits import exit_flops, exit_loss, leave_early
from dpkit.nets.early_leaving import leaves_at, leaving_curve
from dpkit.training.inference import autocast, take_snapshot

BATCH = 256
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)  # that leave at the first exit


# ---- watching with exits -------------------------------------------------------------------------


def noise(n, device="cpu"):
    """Random images of CIFAR's shape and augmentation."""
    rng = np.random.default_rng(0)
    return from_arrays(
        rng.integers(0, 256, (n, 32, 32, 3), np.uint8),
        rng.integers(0, 10, n),
        shift=4,
        mirror=True,
        device=device,
        class_names=[str(c) for c in range(10)],
    )


def scoring(after, *, model="small_cnn", n=5120, repeats=7, device="cpu") -> dict:
    """Recorded epochs with exits and without, in turn; ratio: with / without. Wall clock, and the
    processor's own seconds.
    """
    torch.set_num_threads(2)
    images = noise(n, device)
    _same_network(images.first(512), model, after)
    recipe = Recipe(epochs=10 * repeats)
    plain = train(make_net(model, images, seed=0), images, recipe, seed=0)
    exits = train(
        make_net(model, images, seed=0, exits=after), images, recipe, seed=0, loss=exit_loss()
    )
    found = compare(lambda: next(plain), lambda: next(exits), repeats=repeats)
    begun = time.process_time()
    next(plain)
    between = time.process_time()
    next(exits)
    found["cpu_ratio"] = (time.process_time() - between) / (between - begun)
    return {"without_s": found.pop("ours_s"), "with_s": found.pop("plain_s"), **found, "threads": 2}


def _same_network(images, model, after):
    """Exits that weigh nothing change nothing: the epoch is that of the plain network. Else two
    networks would be compared.
    """
    recipe, seen = Recipe(epochs=1, precision="fp32", lr=0.01), []
    for own, loss in (((), {}), (after, {"loss": exit_loss((0,) * len(after) + (1,))})):
        net = make_net(model, images, seed=0, exits=own)
        report = next(train(net, images, recipe, seed=0, **loss))
        seen.append(
            (
                report,
                {
                    name: value
                    for name, value in net.state_dict().items()
                    if not name.startswith("heads.")
                },
            )
        )
    (one, weights), (other, theirs) = seen
    np.testing.assert_allclose(other.target_prob, one.target_prob, atol=1e-4)
    np.testing.assert_allclose(other.loss, one.loss, rtol=1e-4)
    assert weights.keys() == theirs.keys()
    for name, value in weights.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-4)


# ---- leaving early -------------------------------------------------------------------------------


def learnable(n):
    """Bars in noise, 32x32 in three channels, so that an exit is surer of some images than of
    others.
    """
    grey, _ = toy_images(n, size=32, device="cpu")
    return replace(
        grey, images=grey.images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    )


def leaving(after, *, model="small_cnn", n=2048, epochs=4, shares=SHARES, repeats=7):
    """Yield (title, line): at thresholds that let these shares leave at the first exit, against the
    pass through all stages.
    """
    torch.set_num_threads(2)
    images = learnable(n)
    net = make_net(model, images, seed=0, exits=after)
    for _ in train(
        net, images, Recipe(epochs=epochs, lr=0.02), seed=0, loss=exit_loss(), record=False
    ):
        pass
    net.eval()
    flops = exit_flops(net, tuple(images.images.shape[1:]))
    seen = take_snapshot(net, images, batch_size=BATCH, precision="fp32")
    _same_answers(net, images, seen)
    batches = [images.clean(slice(start, start + BATCH)) for start in range(0, n, BATCH)]
    # in the precision that is timed, which shifts the confidences
    looked = take_snapshot(net, images, batch_size=BATCH)
    for share in shares:
        threshold = cut(looked.probs[0], share)

        def ours(threshold=threshold):
            with autocast(images):
                return torch.cat([leave_early(net, x, threshold=threshold)[1] for x in batches])

        def plain():
            with torch.no_grad(), autocast(images):
                return [net(x) for x in batches]

        found = compare(ours, plain, repeats=repeats)
        left = np.bincount(ours().numpy(), minlength=len(flops)) / n
        (line,) = leaving_curve(looked, flops, [threshold])
        yield (
            (
                f"leaving early, {model}, exits after {', '.join(map(str, after))}, "
                f"{100 * share:g} % at the first"
            ),
            {
                "seconds_saved": 1 - 1 / found["ratio"],
                "flops_saved": float(1 - left @ flops / flops[-1]),
                **found,
                "left": " ".join(f"{part:.2f}" for part in left),
                "threshold": threshold,
                "accuracy": line["accuracy"],
                "batch": BATCH,
                "threads": 2,
            },
        )


def cut(probs, share) -> float:
    """The threshold above which this share of the samples is at an exit of these probabilities (n,
    C).
    """
    sure = np.sort(probs.max(axis=1).astype(float))
    stay = len(sure) - round(share * len(sure))
    return min(float(sure[stay - 1]) if stay else 0.0, 1 - 1e-9)


def _same_answers(net, images, seen):
    """leave_early lets go whom the snapshot says, with the same probabilities, but for those that
    are on the edge.
    """
    rows, answers = np.arange(len(images)), []
    for share in (0.3, 0.7):
        threshold = cut(seen.probs[0], share)
        parts = [
            leave_early(net, images.clean(slice(start, start + BATCH)), threshold=threshold)
            for start in range(0, len(images), BATCH)
        ]
        logits, where = (torch.cat(part) for part in zip(*parts, strict=True))
        edge = (np.abs(seen.probs[:-1].max(axis=-1) - threshold) < 1e-4).any(axis=0)
        expected = leaves_at(seen, threshold)
        assert edge.mean() < 0.1 and (where.numpy() == expected)[~edge].all()
        probs = seen.probs[expected, rows]
        np.testing.assert_allclose(logits.softmax(-1).numpy()[~edge], probs[~edge], atol=1e-3)
        answers.append(np.bincount(expected, minlength=len(seen.probs)))
    # some left and some did not: else nothing was compared
    assert all(counts[0] and counts[1:].any() for counts in answers)


def run():
    for after in ((1,), (0, 1, 2)):
        yield (
            (
                f"watched epoch, small CNN 32x32, exits after {', '.join(map(str, after))}, "
                "against none"
            ),
            scoring(after),
        )
    if torch.cuda.is_available():
        large = scoring((1, 2, 3), model="resnet18", n=25_600, device="cuda")
        yield "watched epoch, ResNet-18 on a GPU, exits after 1, 2, 3, against none", large
    yield from leaving((1,))
    yield from leaving((0, 1, 2))
    yield from leaving((1, 2), model="resnet18", n=512, epochs=2, repeats=3)
