"""Values between two processes that do not trust each other: JSON and raw numbers, never pickle.

A message is a dict. Its values may be None, bool, numbers, text, lists, tuples, sets and dicts of
those, numpy arrays and scalars, torch tensors, numpy Generators (by the state of their bit
generator) and dpkit's records; each arrives as a copy. On the wire:  b"dpk1", length of the JSON (4
bytes), length of the rest (8 bytes), the JSON, the arrays' bytes in a row.
"""

import json
import math
import os
import re
import select
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

HEAD = struct.Struct(">4sIQ")
MARK = b"dpk1"
LARGEST = 256 * 2**20  # bytes of arrays in one message
LONGEST = 16 * 2**20  # bytes of JSON: each becomes many in memory
DEEPEST = 40  # lists within lists
DTYPE = re.compile(r"[<>|=](?:[biufcSU]\d+|[mM]8(?:\[\w+\])?)")
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
RECORDS = {
    "TrainingDynamics": (
        "target_prob",
        "margin",
        "correct",
        "labels",
        "moment",
        "params",
        "divergence",
    ),
    "Snapshot": ("probs", "features", "labels", "params"),
    "Scores": ("values", "name", "params"),
    "Selection": ("kept", "num_samples", "method", "params"),
}


class Unsendable(TypeError):
    """A value of a kind that does not cross; the message names it."""


class Garbled(ValueError):
    """What came is no message of ours."""


class Silence(Exception):
    """No whole message came, or none was taken, before the deadline."""


# ---- values --------------------------------------------------------------------------------------


def encode(value: Any, blobs: list, *, handle: Callable | None = None, depth: int = 0) -> Any:
    """`value` as JSON; the bytes of arrays are appended to `blobs`.

    handle: what a function becomes: called with it, returns JSON. Without, functions are refused.
    Raises Unsendable for every other kind of thing.
    """
    if depth > DEEPEST:
        raise Unsendable(f"a value nested more than {DEEPEST} deep")

    def inner(part):
        return encode(part, blobs, handle=handle, depth=depth + 1)

    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.generic):  # before numbers: np.float64 is a float, too
        return {"scalar": _blob(np.asarray(value), blobs)}
    if isinstance(value, (int, float, complex)):
        return _number(value)
    if isinstance(value, (list, range, tuple, set, frozenset, dict)):
        return _container(value, inner)
    if isinstance(value, np.ndarray):
        return {"array": _blob(np.asarray(value), blobs)}
    if isinstance(value, np.random.Generator):
        return {"generator": inner(value.bit_generator.state)}
    kind = type(value).__name__
    if type(value).__module__.startswith("dpkit.records.") and kind in RECORDS:
        return {
            "record": kind,
            "fields": {name: inner(getattr(value, name)) for name in RECORDS[kind]},
        }
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return {"tensor": _blob(_array_of(value), blobs)}
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy"):
        return inner(value.to_numpy())
    if handle is not None and callable(value) and not isinstance(value, type):
        return handle(value)
    raise Unsendable(f"a {kind}")


def _number(value):
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, float):
        return float(value)
    if value.bit_length() > 4096:
        raise Unsendable("a whole number of more than 4096 bits")
    return int(value)


def _container(value, inner):
    if isinstance(value, dict):
        return {"dict": [[inner(key), inner(part)] for key, part in value.items()]}
    kinds = {"list": (list, range), "tuple": tuple, "set": (set, frozenset)}
    [kind] = [kind for kind, types in kinds.items() if isinstance(value, types)]
    return {kind: [inner(part) for part in value]}


def _array_of(tensor):
    try:
        return tensor.detach().cpu().numpy()
    except TypeError:
        raise Unsendable(f"a tensor of {tensor.dtype}") from None


def _blob(array, blobs):
    if array.dtype.kind not in "biufcSUmM":
        raise Unsendable(f"an array of {array.dtype}")
    blobs.append(array.tobytes())
    return [len(blobs) - 1, array.dtype.str, list(array.shape)]


def decode(tree: Any, blobs: list, *, proxy: Callable | None = None) -> Any:
    """What encode made of a value, as a new value. proxy: called with a function's JSON, returns
    what stands for it.

    Raises Garbled for anything that encode does not write: the sender may be anybody.
    """
    try:
        return _decode(tree, blobs, proxy, 0)
    except Garbled:
        raise
    except Exception as error:
        raise Garbled(f"{type(error).__name__}: {error}") from None


def _decode(tree, blobs, proxy, depth):
    if depth > DEEPEST + 2:
        raise Garbled("nested too deep")

    def inner(part):
        return _decode(part, blobs, proxy, depth + 1)

    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    (kind, part), *more = tree.items()
    if kind == "record":
        from dpkit import records

        return getattr(records, {name: name for name in RECORDS}[part])(
            **{name: inner(tree["fields"][name]) for name in RECORDS[part]}
        )
    if kind == "callable" and proxy is not None:
        return proxy(tree)
    if more:
        raise Garbled("a value of two kinds")
    if kind == "dict":
        return {inner(key): inner(value) for key, value in part}
    if kind in ("list", "tuple", "set"):
        return {"list": list, "tuple": tuple, "set": set}[kind](inner(item) for item in part)
    if kind == "complex":
        return complex(*part)
    if kind in ("array", "scalar", "tensor"):
        array = _array(*part, blobs)
        if kind == "tensor":
            import torch

            return torch.from_numpy(array)
        return array[()] if kind == "scalar" else array
    if kind == "generator":
        return generator(inner(part))
    raise Garbled(f"a value of kind {kind!r}")


def _array(number, dtype, shape, blobs):
    if (
        not DTYPE.fullmatch(dtype)
        or not all(type(size) is int and 0 <= size < 2**40 for size in shape)
        or len(shape) > 32
    ):
        raise Garbled("an array of an odd type or shape")
    blob, dtype = blobs[number], np.dtype(dtype)
    if dtype.itemsize * math.prod(shape) != len(blob):
        raise Garbled("an array of another length than its shape says")
    array = np.empty(shape, dtype)
    if blob:
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(blob, np.uint8)
    return array


def generator(state: Any) -> np.random.Generator:
    """A numpy Generator in this state of its bit generator."""
    if state["bit_generator"] not in GENERATORS:
        raise Garbled("a random generator of an unknown kind")
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)


# ---- messages ------------------------------------------------------------------------------------


def send(fd: int, message: dict, blobs: Sequence = (), *, deadline: float = math.inf) -> None:
    """Write a message whose values are JSON already.

    fd: non-blocking if there is a deadline, in time.monotonic() seconds.
    """
    text = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode()
    rest = sum(map(len, blobs))
    if len(text) > LONGEST:
        raise Unsendable(f"lists of more than {LONGEST // 2**20} MB, where an array would do")
    if rest > LARGEST:
        raise Unsendable(f"arrays of more than {LARGEST // 2**20} MB")
    for piece in (HEAD.pack(MARK, len(text), rest), text, *blobs):
        view = memoryview(piece)
        while view:
            if not select.select([], [fd], [], _left(deadline))[1]:
                raise Silence
            view = view[os.write(fd, view[: 2**20]) :]


def receive(fd: int, *, deadline: float = math.inf) -> tuple[dict, list]:
    """Read one message. Returns (message, blobs).

    Raises Silence at the deadline, EOFError at the end, Garbled.
    """
    mark, length, rest = HEAD.unpack(_exactly(fd, HEAD.size, deadline))
    if mark != MARK or length > LONGEST or rest > LARGEST:
        raise Garbled("no message of ours")
    try:
        message = json.loads(_exactly(fd, length, deadline))
        sizes = message.pop("blobs")
        if sum(sizes) != rest or not all(type(size) is int and size >= 0 for size in sizes):
            raise Garbled("lengths that do not add up")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Garbled(str(error)) from None
    whole, blobs, start = memoryview(_exactly(fd, rest, deadline)), [], 0
    for size in sizes:
        blobs.append(whole[start : start + size])
        start += size
    return message, blobs


def _exactly(fd, length, deadline) -> bytearray:
    data = bytearray()
    while len(data) < length:
        if not select.select([fd], [], [], _left(deadline))[0]:
            raise Silence
        piece = os.read(fd, min(length - len(data), 2**20))
        if not piece:
            raise EOFError
        data += piece
    return data


def _left(deadline):
    return None if deadline == math.inf else max(0.0, deadline - time.monotonic())
