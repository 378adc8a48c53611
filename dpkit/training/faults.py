"""Errors of the machine, told apart from those of the work: memory that ran out, a GPU that is
lost.
"""

import errno

import torch

# of the C++ beneath torch, which raises RuntimeErrors
_NO_MEMORY = ("out of memory", "t allocate memory", "not enough memory", "ALLOC_FAILED")
_LOST = ("CUDA error", "STATUS_EXECUTION_FAILED", "STATUS_INTERNAL_ERROR")


def memory_ran_out(error: BaseException) -> bool:
    """Whether the GPU's memory, or the machine's, did not suffice. It says nothing about a file
    that was being read.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _says(error, _NO_MEMORY)


def gpu_is_lost(error: BaseException) -> bool:
    """Whether this process can use its GPU no more: after a failed device-side assert or an illegal
    access every later call fails too, whatever it is, until the process ends.
    """
    return _says(error, _LOST) and not memory_ran_out(error)


def _says(error, words):
    return isinstance(error, RuntimeError) and any(some in str(error) for some in words)
