"""What a stage of a trial cost."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class Cost:
    """seconds: of the clock.   epochs: passes over the images.   samples: images trained on,
    counted in every pass.

    peak_memory: bytes held at once, of the GPU's memory where there is one, else of the whole
                 process; None: not known.
    """

    seconds: float = 0.0
    epochs: int = 0
    samples: int = 0
    peak_memory: int | None = None


@contextmanager
def measured(device: torch.device | None = None) -> Iterator[Cost]:
    """Yield a Cost whose seconds and peak_memory are filled in when the block ends. device: of the
    work (None: the CPU).
    """
    cost, begun = Cost(), time.perf_counter()
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _forget_peak()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - begun
        cost.peak_memory = torch.cuda.max_memory_allocated(device) if on_gpu else _peak()


# not by psutil, which knows what is held now and no peak
def _forget_peak():
    try:
        # Linux: the peak starts anew at what is held now
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # elsewhere the peak is that of the process so far


def _peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
