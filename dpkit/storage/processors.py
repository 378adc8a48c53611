"""Which kind of processor a row is from. Spreads and differences stay within one kind.

The same seed on another kind of processor is nearly another seed: DUAL's scores have a rank
correlation of .953 across two processors and of .934 across two seeds, and on one kind they are the
same to 4e-8.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


def kind_of(row: Mapping) -> str:
    """The kind of processor, or the GPU, that a row (a dict) was trained on; "" if not told."""
    device, processor = (
        value if isinstance(value := row.get(name), str) else "" for name in ("device", "processor")
    )
    # as stages.compute_environment says of the machine at hand
    return processor if device in ("", "cpu", "mps") else device


def marks(rows: Iterable[Mapping]) -> dict:
    """{kind: what marks its rows in tables and figures}: nothing for the kind of most rows, then "
    (a)", " (b)", ...

    rows: dicts; those that failed have no kind and do not count.
    """
    counts = Counter(kind_of(row) for row in rows if not row.get("failed"))
    return {
        kind: f" ({chr(ord('a') + place - 1)})" if place else ""
        for place, (kind, _) in enumerate(counts.most_common())
    }


def kind_text(kind: str) -> str:
    return kind or "a processor that the rows do not tell"


def sentence(rows: Sequence[Mapping]) -> str:
    """Which rows are from which kind of processor, for the top of a table; "" if all from one.

    rows: dicts with method (as results.labelled names it), prune_ratio and seed, and device and
          processor where they tell.
    """
    rows, found = [row for row in rows if not row.get("failed")], marks(rows)
    if len(found) < 2:
        return ""
    usual, *others = found
    parts = [
        f"{_listed(rows, kind)}, marked{found[kind]}, from {kind_text(kind)}" for kind in others
    ]
    return (
        f"The rows are from {len(found)} kinds of processor: {'; '.join(parts)}; all others from "
        f"{kind_text(usual)}. A spread and a difference are given within one kind only."
    )


def _listed(rows: Sequence[Mapping], kind: str) -> str:
    """ "random at 0, 30 and 50 %, dual at 30 % (seed 2)": seeds where others are of other kinds."""
    ratios: dict[str, dict] = {}
    for row in sorted(rows, key=lambda row: row["prune_ratio"]):
        here, all_of = ratios.setdefault(row["method"], {}).setdefault(
            row["prune_ratio"], (set(), set())
        )
        all_of.add((kind_of(row), row["seed"]))
        if kind_of(row) == kind:
            here.add(row["seed"])
    methods = []
    for method in dict.fromkeys(row["method"] for row in rows):
        texts = [
            f"{100 * ratio:g}"
            + (f" (seed {join_words(sorted(here))})" if len(here) < len(all_of) else "")
            for ratio, (here, all_of) in ratios[method].items()
            if here
        ]
        if texts:
            methods.append(f"{method} at {join_words(texts)} %")
    return ", ".join(methods)


def join_words(things: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = map(str, things)
    return f"{', '.join(first)} and {last}" if first else last
