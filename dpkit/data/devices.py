"""Where images and networks go: the CPU, or a GPU that the installed torch can use."""

import os
import re

import torch

from dpkit.storage.identity import warn_once


def auto_device(device: str | torch.device = "auto") -> torch.device:
    """The requested device; "auto" is a GPU if there is one that torch can use, else the CPU.

    Under torchrun each process has a GPU of its own: "auto" is cuda:$LOCAL_RANK. A GPU that is
    there and cannot be used is named in a warning, once. ValueError for other kinds of device:
    nothing is tested there; and for a GPU that is not there, or cannot be used.
    """
    return _automatic() if device == "auto" else _named(device)


def _automatic():
    if not torch.cuda.is_available():
        if why := _unusable_driver():
            warn_once(f"{why}. Until then the CPU is used")
        return torch.device("cpu")
    local, found = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    if local and int(local) >= found:
        raise ValueError(
            f"process {local} of this machine has no GPU of its own, as torch finds {found}: start "
            'as many, or load with device="cpu"'
        )
    gpu = torch.device(f"cuda:{local}" if local else "cuda")
    if why := _without_kernels(gpu):
        warn_once(f"{why}. Until then the CPU is used")
        return torch.device("cpu")
    return gpu


def _named(device):
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f'device must be "auto", "cpu" or "cuda"; got {str(device)!r}')
    if found.type == "cpu":
        return found
    if not torch.cuda.is_available():
        why = _unusable_driver() or "torch finds no GPU"
        raise ValueError(f'device "auto" or "cpu" is needed here, as {why}; got {str(device)!r}')
    count = torch.cuda.device_count()
    if found.index is not None and found.index >= count:
        raise ValueError(
            f"device must be one of the GPUs that torch finds here, cuda:0 to cuda:{count - 1}, or "
            f'"cuda", "cpu" or "auto"; got {str(device)!r}'
        )
    if why := _without_kernels(found):
        raise ValueError(f"device {str(device)!r} cannot be used: {why}")
    return found


def _unusable_driver():
    """Why torch, made for GPUs, cannot use one that is there; None where there is none."""
    # the count is asked of the driver's management library, which works with any driver
    if not torch.cuda.device_count():
        return None
    return (
        f"a GPU is here, and torch {torch.__version__} cannot use it: most often its driver is "
        f"older than CUDA {torch.version.cuda} needs. Update the driver, or install a torch for "
        "an older CUDA"
    )


def _without_kernels(gpu):
    """Why this GPU runs no code of the installed torch; None where it does."""
    capability = torch.cuda.get_device_capability(gpu)
    built = torch.cuda.get_arch_list()
    if not built or any(_runs(architecture, capability) for architecture in built):
        return None
    return (
        f"the GPU {torch.cuda.get_device_name(gpu)} has compute capability "
        f"{capability[0]}.{capability[1]}, and torch {torch.__version__} is built for "
        f"{', '.join(built)}. Install a torch that is built for this GPU"
    )


def _runs(architecture, capability):
    """Whether code for it runs on a GPU of this capability: sm_86 on 8.6 and later 8.x, sm_90a on
    9.0 alone, compute_80, which the driver translates, on 8.0 and all later ones.
    """
    parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", architecture)
    if parts is None:  # another maker's
        return True
    kind, major, minor, only = parts.groups()
    made_for = int(major), int(minor)
    if only == "a":
        return capability == made_for
    if kind == "compute":
        return capability >= made_for
    return capability[0] == made_for[0] and capability >= made_for
