"""Read a folder of JPEG files at 64x64, against torchvision's ImageFolder with Resize in a
DataLoader of two workers; and the second run, which reads the cache.

Both read the same files, which lie in the page cache after the first round: what is compared is
the work of two cores, not a disk. DPKIT_BENCH_FILES=2000 takes fewer files.
"""

import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks._compare import compare
from dpkit.data.loading import load

SIZE, CLASSES, CORES = 64, 10, 2


def write_photographs(folder: Path, n: int) -> None:
    """n JPEGs of about 200 pixels a side, smooth as photographs are, in class folders."""
    rng = np.random.default_rng(0)
    for k in range(n):
        width, height = rng.integers(160, 241, 2)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        fine = rng.normal(0, 6, (height, width, 3))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        place = folder / f"class{k % CLASSES}"
        place.mkdir(exist_ok=True)
        picture = Image.fromarray(np.clip(smooth + fine, 0, 255).astype(np.uint8))
        picture.save(place / f"{k:06d}.jpg", quality=85)


def ours(folder: Path, cache: Path) -> torch.Tensor:
    with mock.patch.dict(os.environ, DPKIT_CACHE=str(cache)):
        return load(folder, size=SIZE, device="cpu", say=None).images


def plain(folder: Path) -> torch.Tensor:
    """(n, 3, 64, 64) uint8, as a training reads them, batch by batch."""
    pictures = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.PILToTensor()])
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, pictures), batch_size=128, num_workers=CORES
    )
    return torch.cat([x for x, _ in loader])


def run():
    n = int(os.environ.get("DPKIT_BENCH_FILES", 20_000))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photographs")
        folder.mkdir()
        write_photographs(folder, n)
        difference = (ours(folder, Path(scratch, "agree")).float() - plain(folder).float()).abs()
        # draft mode takes means of pixels where Resize takes weighted ones
        assert difference.mean() < 3, f"they differ by {difference.mean():.1f} of 255"
        caches = (Path(scratch, f"cache{k}") for k in range(99))
        found = compare(lambda: ours(folder, next(caches)), lambda: plain(folder), repeats=3)
        found |= {"files": n, "difference_of_255": float(difference.mean())}
        yield f"{n:,} JPEGs to 64x64, 2 cores", found
        begun = time.perf_counter()
        ours(folder, Path(scratch, "agree"))
        yield f"{n:,} JPEGs, the second run", {"ours_s": time.perf_counter() - begun}
