"""What a Recorder saved, before another goes on from it: whether it is of the same set and kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dpkit.records import NO_LABEL

KIND = "dpkit Recorder 1"  # the number is raised when the form changes


def check_state(state: Any, recorder: Any, told: np.ndarray | None) -> None:
    """ValueError unless `state` is what the state_dict of a Recorder like this one returned.

    told: (n,), the labels that this one was made with, NO_LABEL where unknown; None: without.
    """
    if not isinstance(state, Mapping) or state.get("kind") != KIND:
        got = "another dict" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise ValueError(f"state must be what Recorder.state_dict() returned; got {got}")
    own = {"n": recorder.n, "moment": recorder.moment, "tdds": recorder.tdds}
    differ = [f"{name}={state[name]}" for name in own if state[name] != own[name]]
    if not np.array_equal(state["index"].cpu().numpy(), recorder.expected):
        differ.append("other ids in index")
    if differ:
        raise ValueError(
            f"the saved record is of a Recorder with {', '.join(differ)}; make this one alike"
        )
    if told is not None:
        there = state["labels"].cpu().numpy()
        rows = np.flatnonzero((there != told) & (there != NO_LABEL) & (told != NO_LABEL))
        if len(rows):
            raise ValueError(
                f"the saved record has other labels than labels= in {len(rows)} of {len(told)} "
                f"rows (first: id {rows[0]}, {there[rows[0]]} there and {told[rows[0]]} here): it "
                "is of another set"
            )
    count = len(state["epochs"]["correct"]) + (state["open"] is not None)
    if recorder.epochs is not None and count > recorder.epochs:
        raise ValueError(
            f"the saved record has {count} epochs, and this Recorder was made for "
            f"{recorder.epochs}: make it with epochs=None"
        )
