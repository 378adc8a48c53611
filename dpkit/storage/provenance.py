"""What numbers were made with: versions of packages, the kind of processor, threads."""

import os
import platform
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "dpkit",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "pandas",
    "matplotlib",
)
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx")  # widest first


def versions() -> dict:
    """Installed versions of Python and the packages that numbers depend on; none of them is
    imported for it.
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a source tree, or an optional package
            pass
    return versions


@cache
def processor() -> str:
    """The kind of processor: its model and its widest vector instructions, "AMD EPYC, avx512_bf16".

    The same seed on two kinds is nearly another seed (DUAL's scores: rank correlation .953, two
    seeds .934); on one kind it is the same to rounding. Model names alone do not tell kinds apart:
    cloud machines hide instructions of one model.
    """
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        told = ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", told, re.MULTILINE)
    model = named[1] if named else platform.processor() or platform.machine()
    known = flags[1].split() if flags else ()
    widest = next((name for name in INSTRUCTIONS if name in known), "")
    return f"{model}, {widest}" if widest else model


def machine(device: str = "cpu") -> dict:
    """Processor kind and threads in use; what a reader needs to judge seconds, and nothing that
    names the machine.
    """
    torch = sys.modules.get("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {
        "processor": processor(),
        "threads": torch.get_num_threads() if torch else cores,
        "system": platform.system(),
    }
    if torch and device.startswith("cuda"):
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine
