"""python -m benchmarks.held_out: settings of fast_cnn's recipe, compared on training images that
were held out.

Each variant changes the network's own recipe (its builder's) and sees as many images as the first.
A row is written to results/held-out-fast_cnn.json after each training; a later call goes on from
there. Test images are not read.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dpkit import evaluate, load, make_net, recipe_for, train
from dpkit.storage import write_json
from dpkit.storage.provenance import machine, processor, versions

# 4.4 passes over 45,000 images: long enough to tell recipes apart, short enough to try many
IMAGES_SEEN = 1560 * 128
HELD_OUT = 5000
SMOOTHED = {"label_smoothing": 0.1}
VARIANTS = {  # name: (network, what differs from its recipe)
    "the recipe": ("fast_cnn", {}),
    "weight decay 1e-3": ("fast_cnn", {"weight_decay": 1e-3}),
    "the family's own: 1,024, linear": (
        "fast_cnn",
        {
            "batch_size": 1024,
            "lr": 1.5,
            "momentum": 0.85,
            "weight_decay": 1.33e-3,
            "schedule": "linear",
            "warmup": 45,
            "label_smoothing": 0.2,
        },
    ),
    "batches of 512, lr 0.8": ("fast_cnn", {"batch_size": 512, "lr": 0.8}),
    "lr 0.4": ("fast_cnn", {"lr": 0.4}),
    "smoothing 0.2": ("fast_cnn", {"label_smoothing": 0.2}),
    "norm biases 16 times": ("fast_cnn", {"norm_bias_lr": 16.0}),
    "norm biases once": ("fast_cnn", {"norm_bias_lr": 1.0}),
    "no smoothing": ("fast_cnn", {"label_smoothing": 0.0}),
}


def held_out_accuracy(name, seed, images, kept, held):
    """A training on the kept part -> its row."""
    model, changes = VARIANTS[name]
    recipe = recipe_for(
        model, budget="steps", steps=IMAGES_SEEN // changes.get("batch_size", 128), **SMOOTHED
    )
    recipe = replace(recipe, **changes)
    part = images.subset(kept)
    net = make_net(model, part, seed=seed)
    begun = time.perf_counter()
    for _ in train(net, part, recipe, seed=seed, record=False):
        pass
    return {
        "variant": name,
        "network": model,
        "recipe": recipe.describe(),
        "seed": seed,
        "accuracy": evaluate(net, images.subset(held)).accuracy,
        "seconds": round(time.perf_counter() - begun),
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.held_out", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).parents[1] / "results" / "held-out-fast_cnn.json"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = load("cifar10")
    order = np.random.default_rng(0).permutation(len(images))
    held, kept = np.sort(order[:HELD_OUT]), np.sort(order[HELD_OUT:])
    rows = json.loads(arguments.to.read_text())["rows"] if arguments.to.exists() else []
    done = {(row["variant"], row["seed"], row["processor"]) for row in rows}
    for seed in arguments.seeds:
        for name in VARIANTS:
            if (name, seed, processor()) in done:
                continue
            rows.append(held_out_accuracy(name, seed, images, kept, held))
            print(rows[-1], flush=True)
            write_json(
                arguments.to,
                {
                    "command": "python -m benchmarks.held_out",
                    "machine": machine(),
                    "versions": versions(),
                    "images_seen": IMAGES_SEEN,
                    "held_out": HELD_OUT,
                    "rows": rows,
                },
            )


if __name__ == "__main__":
    main()
