"""What the rows of results/ give for the words of a claim (see claims.py, which reads pages)."""

import json
import re
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from dpkit.experiments import results
from dpkit.storage.processors import kind_of

RESULTS = Path(__file__).parents[1] / "results"


class NoRow(ValueError):
    """A claim names what is not in results/, or the row gives another number."""


@cache
def rows_of(folder: str) -> list[dict]:
    """The rows of a published table or of a report's result.json, variants of a method apart."""
    path = RESULTS / folder
    if (path / "manifest.json").is_file():
        return results.labelled(results.results_table(path))
    if (path / "result.json").is_file():
        return json.loads((path / "result.json").read_text(encoding="utf-8"))["tables"]["rows"]
    there = sorted(one.name for one in RESULTS.iterdir() if one.name != "README.md")
    raise NoRow(f"there is no table results/{folder}; there are {', '.join(there)}")


def cell(folder: str, words: str, ratio=None, network=None) -> list[dict]:
    """The rows of `METHOD at 50 % with NETWORK`; ratio and network are for words without them."""
    method, in_words, with_words = re.fullmatch(
        r"(.+?)(?: at ([\d.]+) %)?(?: with (\w+))?", words
    ).groups()
    ratio, network = float(in_words) / 100 if in_words else ratio, with_words or network
    rows, methods = rows_of(folder), method.split(" or ")
    here = [row for row in rows if row["method"] in methods and row["prune_ratio"] == ratio]
    here = [row for row in here if network in (None, row["model"])]
    if not here:
        there = {f"{row['method']} at {100 * row['prune_ratio']:g} %": None for row in rows}
        raise NoRow(f"no row of it in results/{folder}; there are {', '.join(there)}")
    if len({(row["model"], kind_of(row)) for row in here}) > 1:
        raise NoRow(f"its rows in results/{folder} are of several networks or kinds of processor")
    return here


def percent(rows) -> list[float]:
    return [100 * row["accuracy"] for row in rows]


@cache
def verdicts(folder: str, reference: str) -> dict:
    table = results.summary(results.results_table(RESULTS / folder), to=reference)
    lines = table[table.pairs > 0].itertuples()
    return {(one.method, one.prune_ratio, one.model): one.holm for one in lines}


def difference(folder: str, left: str, right: str) -> tuple[list[float], str | None]:
    """([difference, low, high], the verdict; None: the two are of different ratios)."""
    here = cell(folder, left)
    ratio, network = here[0]["prune_ratio"], here[0]["model"]
    there = cell(folder, right, ratio, network)
    if kind_of(here[0]) != kind_of(there[0]):
        raise NoRow(f"its rows in results/{folder} are of two kinds of processor")
    one, other = percent(here), percent(there)
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    verdict = verdict_of(folder, here[0], there[0])
    return [np.mean(one) - np.mean(other), *interval], verdict


def detectable(folder: str, left: str, right: str) -> list[float]:
    (_, low, high), _ = difference(folder, left, right)
    return [(high - low) / 2]


def verdict_of(folder: str, one: dict, other: dict) -> str | None:
    """After Holm's correction over the table's differences to `other`; to random pruning where it
    is one of the two. None: they are not of one ratio."""
    if one["prune_ratio"] != other["prune_ratio"]:
        return None
    turned = one["method"] == "random"
    here, to = (other, one) if turned else (one, other)
    told = verdicts(folder, to["method"])
    found = told.get((here["method"], here["prune_ratio"], here["model"]))
    return {"ahead": "behind", "behind": "ahead"}.get(found, found) if turned else found


def against(folder: str, words: str, other: str) -> tuple[list[float], str | None]:
    """(the accuracy, the verdict of its difference)."""
    return accuracy(folder, words), difference(folder, words, other)[1]


def in_column(folder: str, words: str) -> list[float]:
    """`COLUMN of ROW` in a JSON file, or in the manifest's further tables; of a ratio its range as
    well."""
    path = RESULTS / folder
    if path.suffix == ".json" and path.is_file():
        lines = json.loads(path.read_text(encoding="utf-8"))["rows"]
        there = {str(line.get("benchmark") or line.get("labels")): line for line in lines}
    else:
        rows_of(folder)
        tables = json.loads((path / "manifest.json").read_text(encoding="utf-8")).get("tables", {})
        lines = [line for table in tables.values() for line in table]
        there = {f"{line['method']} at {line['pruned']}": line for line in lines}
    for name, row in there.items():
        column = words.removesuffix(f" of {name}")
        if column in row:
            ends = ("ratio_min", "ratio_max") if column.startswith("ratio") else ()
            return [row[one] for one in (column, *ends) if one in row]
    raise NoRow(f"no such column of a row in results/{folder}; its rows are {'; '.join(there)}")


def rank_correlation(folder: str, *, same_seed: bool) -> list[float]:
    """Of DUAL's scores, mean: of one seed across two kinds of processor, or of two seeds on one."""
    names = {
        (kind_of(row), row["seed"]): row["scores"]
        for row in rows_of(folder)
        if row["method"] == "dual"
    }
    scores = {at: np.load(RESULTS / folder / name) for at, name in names.items()}
    pairs = combinations(scores, 2)
    wanted = [
        (one, other)
        for one, other in pairs
        if (one[1] == other[1]) == same_seed and (one[0] != other[0]) == same_seed
    ]
    return [np.mean([stats.spearmanr(scores[one], scores[other])[0] for one, other in wanted])]


def correlation_over_seeds(folders: str) -> list[float]:
    """How the accuracies of a method and of random pruning go together over the seeds: mean and
    standard error over all cells (method, ratio, recipe and processor), and how many they are."""
    cells: dict[tuple, dict] = {}
    for row in (row for folder in folders.split(", ") for row in rows_of(folder)):
        if row["prune_ratio"]:
            at = (row["model"], row["retrain"], kind_of(row), row["prune_ratio"])
            cells.setdefault(at, {}).setdefault(row["method"], {})[row["seed"]] = row["accuracy"]
    found = [
        np.corrcoef(
            [seeds[seed] for seed in sorted(seeds)], [drawn[seed] for seed in sorted(seeds)]
        )
        for methods in cells.values()
        if (drawn := methods.pop("random", None))
        for seeds in methods.values()
    ]
    each = [matrix[0, 1] for matrix in found]
    return [np.mean(each), np.std(each, ddof=1) / len(each) ** 0.5, len(each)]


def margin_kept(folder: str, words: str) -> list[float]:
    """The mean margin of probabilities, over the recording, of what a method keeps; the mean over
    the seeds. CCS reads it, with the hard ones high."""
    margins = {row["seed"]: row["scores"] for row in rows_of(folder) if row["method"] == "ccs"}
    kept = [
        (margins[row["seed"]], results.kept_set(RESULTS / folder, row["kept"]).kept)
        for row in cell(folder, words)
    ]
    return [-np.mean([np.load(RESULTS / folder / name)[ids].mean() for name, ids in kept])]


def pruned(folder: str, words: str) -> list[float]:
    return [100 * (1 - np.mean([row["keep"] / row["num_samples"] for row in cell(folder, words)]))]


def kept(folder: str, words: str) -> list[float]:
    return [np.mean([row["keep"] for row in cell(folder, words)])]


def accuracy(folder: str, words: str) -> list[float]:
    found = percent(cell(folder, words))
    return [np.mean(found), np.std(found, ddof=1)] if len(found) > 1 else found


WHAT = (  # in this order: the first that fits
    (r"rank correlation of one seed across kinds", lambda at: rank_correlation(at, same_seed=True)),
    (r"rank correlation of two seeds", lambda at: rank_correlation(at, same_seed=False)),
    (r"correlation over the seeds with random", correlation_over_seeds),
    (r"detectable between (.+?) minus (.+)", detectable),
    (r"mean margin kept by (.+)", margin_kept),
    (r"pruned by (.+)", pruned),
    (r"kept by (.+)", kept),
    (r"(.+?) minus (.+)", difference),
    (r"(.+?) against (.+)", against),
    (r"inverse of (.+)", lambda *at: [1 / one for one in in_column(*at)]),
    (r"(.+ of .+)", in_column),
    (r"(.+)", accuracy),
)


def measured(folder: str, what: str) -> tuple[list[float], str | None]:
    """(the numbers that the rows give for these words, the verdict where there is one)."""
    if folder.endswith(".json"):
        return in_column(folder, what), None
    for words, function in WHAT:
        if match := re.fullmatch(words, what):
            found = function(folder, *match.groups())
            return found if isinstance(found, tuple) else (found, None)
    raise NoRow("expected VALUES = WHAT, as in 83.4 ± 0.2 = dual at 50 %")
