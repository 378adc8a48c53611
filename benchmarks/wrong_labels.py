"""python -m benchmarks.wrong_labels: how many wrong labels a K-fold record finds.

The first images of CIFAR-10 with the labels that people gave them (CIFAR-10N; what counts as wrong
is what differs from CIFAR-10's own). A row is written to results/wrong-labels-cifar10n.json after
each kind of labels; what was trained lies in the cache.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from dpkit import load, recipe_for
from dpkit.experiments.out_of_fold import out_of_fold, suspected_labels
from dpkit.storage import write_json
from dpkit.storage.provenance import machine, processor, versions

# share of wrong labels: about 9, 17 and 40 %
KINDS = ("aggre_label", "random_label1", "worse_label")


def found(kind, images, folds, epochs, seed):
    """The row of one kind of labels."""
    given = load("cifar10", labels=kind, say=None).first(len(images))
    wrong = (given.labels != images.labels).cpu().numpy()
    judged = out_of_fold(
        given, recipe=recipe_for("small_cnn", epochs=epochs), folds=folds, seed=seed
    )
    suspects = suspected_labels(judged)
    right, truth = wrong[suspects.rows], images.labels.cpu().numpy()
    taken_for = judged.probs[0].argmax(1)
    # every label in this order, for the size of the true set of wrong ones
    order = np.argsort(judged.probs[0][np.arange(len(wrong)), judged.labels], kind="stable")
    return {
        "labels": kind,
        "images": len(images),
        "folds": folds,
        "epochs": epochs,
        "seed": seed,
        "wrong": float(wrong.mean()),
        "suspected": len(suspects.rows) / len(wrong),
        "recall": float(right.sum() / wrong.sum()),
        "precision": float(right.mean()),
        "precision of the first 100": float(right[:100].mean()),
        "precision and recall of as many as are wrong": float(wrong[order[: wrong.sum()]].mean()),
        "right guesses among the wrong": float(
            (suspects.guesses == truth[suspects.rows])[right].mean()
        ),
        "accuracy of the networks": float((taken_for == truth).mean()),
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrong_labels", description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--to",
        type=Path,
        default=Path(__file__).parents[1] / "results" / "wrong-labels-cifar10n.json",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = load("cifar10", say=None).first(arguments.images)
    rows = []
    for kind in KINDS:
        for seed in arguments.seeds:
            rows.append(found(kind, images, arguments.folds, arguments.epochs, seed))
            print(rows[-1], flush=True)
            write_json(
                arguments.to,
                {
                    "command": "python -m benchmarks.wrong_labels",
                    "machine": machine(),
                    "versions": versions(),
                    "rows": rows,
                },
            )


if __name__ == "__main__":
    main()
