"""Images that a set and its held-out part hold more than once, and which of these pairs matter."""

from dataclasses import dataclass

import numpy as np

from dpkit.data.duplicates import exact_groups, near_pairs, pixel_hashes, thumbnails
from dpkit.data.image_set import ImageSet

MOST = 60_000  # images that are compared each with each: half a minute on one core


@dataclass(frozen=True, eq=False)
class Copies:
    """Pairs of images that are copies of one another.

    Rows are those of the set, and from its length on those of a test set of its own.

    exact : (m, 2) rows of images that are the same to the pixel, the first of them in each pair.
    near : (m, 2) of others that are nearly the same, the nearest first; None: not looked for.
    held_out : (n,) bool, which rows are held out.
    labels : (n,) of the rows.
    """

    exact: np.ndarray
    near: np.ndarray | None
    held_out: np.ndarray
    labels: np.ndarray

    def table(self) -> list[dict]:
        """How many pairs there are of each kind: a dict each, with what, pairs, one held out (how
        many have one image on either side) and two labels (of which one is wrong).
        """
        lines = []
        for what, pairs in (("the same to the pixel", self.exact), ("nearly the same", self.near)):
            if pairs is not None:
                across, unlike = (
                    int((each[pairs[:, 0]] != each[pairs[:, 1]]).sum())
                    for each in (self.held_out, self.labels)
                )
                lines.append(
                    {
                        "what": what,
                        "pairs": len(pairs),
                        "one held out": across,
                        "two labels": unlike,
                    }
                )
        return lines


def find_copies(
    whole: ImageSet, held_out: ImageSet, *, own_test: bool, least: float = 0.95, most: int = MOST
) -> Copies:
    """Copies in a set, and between what is trained on and what is held out.

    Parameters
    ----------
    whole, held_out, own_test : as in dpkit.experiments.study.Parts.
    least : correlation of the thumbnails from which on a pair is near, in (0, 1].
    most : images, above which near copies are not looked for.
    """
    sets = [whole, held_out] if own_test else [whole]
    hashes = np.concatenate([pixel_hashes(images) for images in sets])
    apart = np.zeros(len(hashes), bool)
    apart[len(whole) :] = True
    if not own_test:
        apart[held_out.ids] = True
    groups = exact_groups(hashes)
    exact = [(group[0], row) for group in groups for row in group[1:]]
    near = None
    if len(hashes) <= most:
        views = [
            np.concatenate([thumbnails(images, mirrored=way) for images in sets])
            for way in (False, True)
        ]
        pairs, _ = near_pairs(*views, least=least)
        near = pairs[hashes[pairs[:, 0]] != hashes[pairs[:, 1]]]
    labels = np.concatenate([images.labels.cpu().numpy() for images in sets])
    return Copies(np.array(exact, int).reshape(-1, 2), near, apart, labels)
