"""What is compared is of one protocol: one set, test set, network and recipe."""

from collections.abc import Mapping, Sequence

from dpkit.methods.catalog import METHODS

PROTOCOL = ("dataset", "num_samples", "test", "model", "budget")


def check_one_protocol(rows: Sequence[Mapping], what: str, *, but: Sequence[str] = ()) -> None:
    """ValueError where rows are of several sets, test sets, networks or lengths of training, or of
    several recipes at one ratio: `what` would compare what is not comparable. but: not looked at.
    """
    names = [name for name in PROTOCOL if name not in but]
    _check_same(rows, names, f"{what} compares trainings of one set, network and budget")
    for ratio in {row["prune_ratio"] for row in rows}:
        here = [row for row in rows if row["prune_ratio"] == ratio]
        _check_same(here, ("retrain",), f"{what} compares trainings of one recipe at a ratio")


def check_one_cell(rows: Sequence[Mapping]) -> None:
    """ValueError where rows of one method and ratio, a seed each, are of several protocols, or
    chose from recordings of several recipes.
    """
    for row in rows[:1]:
        method = METHODS.get(row["method"].partition(",")[0])  # None: one of somebody's own
        chosen = row["prune_ratio"] and (method is None or method.reads)
        rule = (
            f"the seeds of {row['method']} at prune_ratio {row['prune_ratio']:g} share a set, a "
            "network and their recipes"
        )
        _check_same(rows, (*PROTOCOL, "retrain", *["record"] * bool(chosen)), rule)


def _check_same(rows, names, rule):
    found = {tuple(_told(row, name) for name in names) for row in rows}
    if len(found) > 1:
        words = sorted(", ".join(filter(None, one)) or "the usual one" for one in found)
        raise ValueError(f"{rule}; got rows of {' and '.join(words)}: pick one of them")


def _told(row, name) -> str:
    value = row.get(name)
    told = "" if value is None or value != value else str(value)  # not equal: NaN
    return f"tested on {told}" if name == "test" and told else told
