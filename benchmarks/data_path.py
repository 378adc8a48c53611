"""Crop, flip and normalise a whole epoch on one thread, against torchvision's transforms in a
DataLoader.
"""

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from benchmarks._compare import compare
from dpkit.data.image_set import from_arrays
from dpkit.training.seeds import epoch_draws


class PlainSet(torch.utils.data.Dataset):
    """What a torchvision dataset does for one image: a PIL picture through the usual transforms."""

    def __init__(self, pixels, labels, images):
        self.pixels, self.labels = pixels, labels
        size = pixels.shape[1]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=images.shift),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(images.mean, images.std),
            ]
        )

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.pixels[i])), int(self.labels[i])


def image_set(n, size, channels, shift):
    rng = np.random.default_rng(0)
    pixels = rng.integers(
        0, 256, (n, size, size) + ((channels,) if channels > 1 else ()), dtype=np.uint8
    )
    labels = rng.integers(0, 10, n)
    return (
        pixels,
        labels,
        from_arrays(
            pixels,
            labels,
            shift=shift,
            mirror=True,
            device="cpu",
            class_names=[str(c) for c in range(10)],
        ),
    )


def measure(size, channels, shift, *, n=12_800, repeats=7) -> dict:
    torch.set_num_threads(1)
    pixels, labels, images = image_set(n, size, channels, shift)
    loader = torch.utils.data.DataLoader(
        PlainSet(pixels, labels, images), batch_size=128, shuffle=True
    )

    def ours():
        order, offsets, mirrored = epoch_draws(images, images.device)
        for start in range(0, n, 128):
            at = slice(start, start + 128)
            images.augmented(order[at], offsets[:, at], mirrored[at]), images.labels[order[at]]

    def plain():
        for _x, _y in loader:
            pass

    _agree(pixels, images)
    return compare(ours, plain, repeats=repeats) | {"threads": 1}


def _agree(pixels, images):
    """The same draws give torchvision's picture."""
    rows, offsets = torch.arange(16), torch.randint(0, 2 * images.shift + 1, (2, 16))
    mirrored = torch.rand(16) < 0.5
    ours = images.augmented(rows, offsets, mirrored)
    for i in range(16):
        x = functional.pad(functional.to_tensor(pixels[i]), images.shift)
        x = functional.crop(x, int(offsets[0, i]), int(offsets[1, i]), *pixels.shape[1:3])
        x = functional.normalize(functional.hflip(x) if mirrored[i] else x, images.mean, images.std)
        torch.testing.assert_close(ours[i], x, rtol=1e-4, atol=1e-4)


def run():
    yield "data path, 28x28 grey, 1 thread", measure(28, 1, 2)
    yield "data path, 32x32 colour, 1 thread", measure(32, 3, 4)
