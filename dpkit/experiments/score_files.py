"""What the manifest of a published table says of each file of scores, so that nobody reads a name.

"scores/aum-seed0-2.npy": {
    "score": "aum", "seed": 0, "settings": {"scale": "probability"}, "unit": "in logits, ...",
    "methods": ["ccs"], "rows": [54, 57, 60], "network": "small_cnn", "record": {"epochs": 30},
    "record_epochs": 30, "processor": ["AMD EPYC"]}
"""

from collections.abc import Mapping, Sequence

from dpkit.experiments.rows import Row
from dpkit.methods.catalog import METHODS
from dpkit.methods.method import Method


def describe_scores(rows: Sequence[Row], names: Mapping[str, str]) -> dict[str, dict]:
    """{file: what it holds, and what it was made by} of all that rows name.

    names : {file: the name of its Scores}.

    rows are counted from 0, as in rows.csv. settings are the scorer's, unit is what its docstring
    says; both are empty for a method of one's own. record is what the recipe has that is not the
    usual, record_epochs how many epochs of it were watched. processor: where those rows are from.
    """
    using: dict[str, list[int]] = {}
    for k, row in enumerate(rows):
        if row.scores:
            using.setdefault(row.scores, []).append(k)
    return {
        file: {"score": names[file], **_made_by([rows[k] for k in some]), "rows": some}
        for file, some in using.items()
    }


def _made_by(rows: Sequence[Row]) -> dict:
    """What the rows that share a file say of how its scores were made."""
    first = rows[0]
    method = METHODS.get(first.method)
    settings = _scorer_settings(method, first) if method else {}
    found = {
        "seed": first.seed,
        "settings": settings,
        "unit": method.unit if method else "",
        "methods": list(dict.fromkeys(row.method for row in rows)),
        "network": first.record_model or first.model,
        "record": first.plain()["record"],
        "record_epochs": first.record_epochs,
        "processor": list(dict.fromkeys(row.processor for row in rows if row.processor)),
    }
    reads = method.reads if method else {"snapshot", "exits"}
    if first.snapshot_epoch and "snapshot" in reads:
        found["snapshot_epoch"] = first.snapshot_epoch
    if first.exits and "exits" in reads:
        found["exits"] = first.exits
    return found


def _scorer_settings(method: Method, row: Row) -> dict:
    return {name: row.settings[name] for name in method.option_names[0] if name in row.settings}
