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


def write_photographs(folder: Path, n: int, side: int = 200) -> None:
    """n JPEGs of about `side` pixels a side, smooth as photographs are, in class folders."""
    rng = np.random.default_rng(0)
    for k in range(n):
        width, height = rng.integers(4 * side // 5, 6 * side // 5 + 1, 2)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 6, (height, width, 3))
        place = folder / f"class{k % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        picture.save(place / f"{k:06d}.jpg", quality=85)


def ours(folder: Path, cache: Path) -> torch.Tensor:
    with mock.patch.dict(os.environ, DPKIT_CACHE=str(cache)):
        return load(folder, size=SIZE, device="cpu", say=None).images


def plain(folder: Path, to_tensor) -> torch.Tensor:
    """(n, 3, 64, 64), as a training reads them, batch by batch."""
    pictures = transforms.Compose([transforms.Resize((SIZE, SIZE)), to_tensor])
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, pictures), batch_size=128, num_workers=CORES
    )
    return torch.cat([x for x, _ in loader])


def measure(folder: Path, scratch: Path, to_tensor) -> dict:
    """Ours and the plain way in turn; each of ours decodes into a new cache."""
    caches = (scratch / f"{folder.name}-{type(to_tensor).__name__}-{k}" for k in range(99))
    theirs = plain(folder, transforms.PILToTensor())
    differences = (ours(folder, next(caches)).float() - theirs.float()).abs()
    # draft mode takes means of pixels where Resize takes weighted ones
    assert differences.mean() < 3, f"they differ by {differences.mean():.1f} of 255"
    found = compare(lambda: ours(folder, next(caches)), lambda: plain(folder, to_tensor), repeats=3)
    return found | {"files": len(theirs), "difference_of_255": float(differences.mean())}


def run():
    n = int(os.environ.get("DPKIT_BENCH_FILES", 20_000))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        small, large = scratch / "small", scratch / "large"
        write_photographs(small, n)
        write_photographs(large, n // 5, side=500)
        as_bytes, as_floats = transforms.PILToTensor(), transforms.ToTensor()
        yield f"{n:,} JPEGs of 200 pixels, ToTensor", measure(small, scratch, as_floats)
        yield f"{n:,} JPEGs of 200 pixels, PILToTensor", measure(small, scratch, as_bytes)
        yield f"{n // 5:,} JPEGs of 500 pixels, ToTensor", measure(large, scratch, as_floats)
        begun = time.perf_counter()
        ours(small, scratch / "small-ToTensor-0")
        yield f"{n:,} JPEGs, the second run", {"ours_s": time.perf_counter() - begun}
