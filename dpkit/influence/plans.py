"""Which way to find influence vectors: what each needs of memory."""

import warnings
from dataclasses import dataclass

from dpkit.influence._ways import RIGHT_SIDES, ROWS_AT_ONCE
from dpkit.influence.hessian import shape_of
from dpkit.records import Snapshot, require_kind
from dpkit.storage.long_work import size_text


@dataclass(frozen=True)
class Plan:
    """Which way influence_vectors goes, and why: `print` it.

    method:     the way.
    parameters: C d + C.
    needed:     bytes, by way.
    memory:     bytes that were allowed.
    """

    method: str
    parameters: int
    needed: dict
    memory: float

    def __str__(self) -> str:
        needs = ", ".join(f"{name} {size_text(count)}" for name, count in self.needed.items())
        return (
            f"{self.method}: {self.parameters:,} parameters in {size_text(self.memory)} of "
            f"memory (needed: {needs})"
        )


def plan_influence(snapshot: Snapshot, *, memory: float = 8e9, rows: int | None = None) -> Plan:
    """Where influence_vectors(method="auto") goes.

    "exact" if that fits into `memory` bytes, else "kronecker" if that does. "cg" needs little
    memory but, for all samples, n times the time: it is for some `rows`, and never chosen by
    itself.

    Parameters
    ----------
    snapshot : of the network, with features (n, d).
    memory : bytes that may be used, the result among them.
    rows : how many samples the vectors are needed of; default all n.

    Returns
    -------
    Plan: the method, and the bytes that each way needs.
    """
    require_kind(snapshot, Snapshot, "influence")
    n, classes, width = shape_of(snapshot)
    count = classes * width
    block = 4 * 8 * min(ROWS_AT_ONCE, n) * count  # a few blocks of rows in float64
    result = 4 * (n if rows is None else rows) * count
    features = 8 * n * width
    needed = {
        "exact": 8 * (count**2 + classes * width**2) + block + result,
        "cg": features + 10 * 8 * RIGHT_SIDES * (count + n * classes // 8) + result,
        "kronecker": 16 * (classes**2 + width**2) + 12 * n * (classes + width) + result,
        "OuterVectors": 16 * (classes**2 + width**2) + 12 * n * (classes + width),
    }
    fits = [name for name in ("exact", "kronecker") if needed[name] <= memory]
    return Plan(fits[0] if fits else "none", count, needed, memory)


def seconds_needed(plan: Plan, n: int, rows: int, drawn: int) -> dict[str, float]:
    """About how long each way takes of n samples for `rows` vectors, measured on one core; lissa
    draws so many samples for each.
    """
    count = plan.parameters
    return {
        "exact": count**2 * ((n + 2 * rows) / 3e10 + count / 1e11),
        "cg": 1.5e-9 * rows * n * count,
        "lissa": 2.5e-10 * rows * drawn * count,
    }


def choose_method(plan: Plan, method: str) -> str:
    """The way to go: `method`, or the plan's for "auto", with a warning where that approximates.

    ValueError where it does not fit into the memory.
    """
    chosen = plan.method if method == "auto" else method
    if chosen == "none" or plan.needed.get(chosen, 0) > plan.memory:
        _refuse_memory(plan, method)
    if method == "auto" and chosen != "exact":
        warnings.warn(
            f'influence by the {chosen} approximation, as "exact" needs '
            f"{size_text(plan.needed['exact'])} and memory is {size_text(plan.memory)}: pass a "
            f'larger memory=, or method="{chosen}" if that is meant',
            stacklevel=3,
        )
    return chosen


def _refuse_memory(plan, method):
    fitting = [
        name for name, count in plan.needed.items() if count <= plan.memory and name != method
    ]
    words = {
        "OuterVectors": "outer_influence(snapshot, damping=...), which never writes the vectors "
        "out",
        "cg": 'method="cg", slow for many rows',
    }
    ways = " or ".join(words.get(name, f'method="{name}"') for name in fitting)
    needed = size_text(plan.needed["exact" if method == "auto" else method])
    raise ValueError(
        f"influence of {plan.parameters:,} parameters needs {needed} of memory and "
        f"{size_text(plan.memory)} was allowed: "
        f"{f'{ways} fits' if ways else 'pass fewer rows='}, or "
        "allow more with memory="
    )
