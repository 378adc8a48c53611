"""Timing two ways of doing one thing in turn, so that a drifting machine slows both."""

import time
from statistics import median


def compare(ours, plain, *, repeats: int) -> dict:
    """Call ours and plain in turn (after one warm-up each); seconds as medians, and the ratio plain
    / ours pair by pair.
    """
    ours(), plain()
    pairs = [(_seconds(ours), _seconds(plain)) for _ in range(repeats)]
    ratios = [slow / fast for fast, slow in pairs]
    return {
        "ours_s": median(fast for fast, _ in pairs),
        "plain_s": median(slow for _, slow in pairs),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "repeats": repeats,
    }


def _seconds(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
