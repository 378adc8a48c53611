"""PublishedTable: what a row of a published table kept, by its method, ratio and seed."""

from __future__ import annotations

import json
import math
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpkit.experiments.results import kept_set, results_table, scores_of
from dpkit.experiments.tables import labelled
from dpkit.records import Scores, Selection

if TYPE_CHECKING:
    from pandas import DataFrame


class PublishedTable:
    """A published table: its rows, the sets that they kept and the scores that chose those.

    Every file is checked against the manifest's SHA-256 when it is read.

    Parameters
    ----------
    folder : a folder of results/, or what `dpkit fetch` or publishing.publish wrote.

    Raises
    ------
    ValueError if the folder is no published table, or a file in it is not the published one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._rows = results_table(self.folder)
        self._lines = [
            json.loads(line["settings"]) | line | {"label": named["method"]}
            for line, named in zip(self._rows.to_dict("records"), labelled(self._rows), strict=True)
        ]

    def __repr__(self) -> str:
        return f"PublishedTable({str(self.folder)!r}), {len(self._lines)} rows"

    @property
    def rows(self) -> DataFrame:
        """The trainings, one a row, as dpkit.results_table gives them."""
        return self._rows.copy()

    def kept(self, *, method: str, prune_ratio: float, seed: int, **settings: Any) -> Selection:
        """The samples that a row was trained on. Its params say the settings and the row's number.

        Parameters
        ----------
        method : the row's method, or its name in table.md: "dual+beta, c_d=5.5".
        prune_ratio : the fraction removed, in [0, 1).
        seed : of recording, selection and retraining.
        settings : what else tells rows apart: columns of `rows` (model="fast_cnn") and the method's
            settings (c_d=5.5). Where several rows fit, the one that table.md calls by this name
            alone is meant: the usual settings, the longest recording.

        Raises
        ------
        ValueError if no row fits, listing what there is, or if several rows do that kept other
        samples, naming what tells them apart.

        Examples
        --------
        >>> table = dpkit.PublishedTable("results/dual-cifar10-small_cnn")
        >>> len(table.kept(method="dual", prune_ratio=0.9, seed=0).kept)
        5000
        """
        wanted = {"method": method, "prune_ratio": prune_ratio, "seed": seed} | settings
        found = {k: kept_set(self.folder, k) for k in self._fitting(wanted)}
        return found[self._only({k: one.kept.tobytes() for k, one in found.items()}, wanted)]

    def scores(self, *, method: str, seed: int, **settings: Any) -> Scores:
        """The scores by which a method chose; higher is more worth keeping.

        Parameters
        ----------
        method, seed, settings : as of `kept`.

        Raises
        ------
        ValueError as `kept`, and for a method without scores.
        """
        wanted = {"method": method, "seed": seed} | settings
        files = {k: file for k in self._fitting(wanted) if (file := self._lines[k]["scores"])}
        found = scores_of(self.folder, self._only(files, wanted)) if files else None
        if found is None:
            having = _distinct(line["label"] for line in self._lines if line["scores"])
            raise ValueError(
                f"{self.folder} has no scores of {_words(wanted)}; it has "
                + (f"those of {', '.join(having)}" if having else "none")
            )
        return found

    def _fitting(self, wanted) -> list[int]:
        """The numbers of the rows that fit; ValueError where there is none."""
        self._check_names(wanted)
        rows = list(range(len(self._lines)))
        told: dict[str, Any] = {}
        for name, value in wanted.items():
            fitting = [k for k in rows if self._fits(k, name, value)]
            if not fitting:
                column = "label" if name == "method" else name
                there = _distinct(self._lines[k].get(column) for k in rows)
                raise ValueError(
                    f"{self.folder} has no row of {_words(told | {name: value})}; "
                    f"{f'of {_words(told)} ' if told else ''}it has {name} "
                    f"{', '.join(map(str, there))}"
                )
            rows, told = fitting, told | {name: value}
        return rows

    def _fits(self, k, name, value) -> bool:
        line = self._lines[k]
        if name == "method":
            return value in (line["method"], line["label"])
        return name in line and _equal(line[name], value)

    def _check_names(self, wanted) -> None:
        known = _distinct(name for line in self._lines for name in line if name != "label")
        for name in wanted:
            if name not in known:
                raise ValueError(
                    f"rows of {self.folder} have no {name!r}; they can be told apart by "
                    f"{', '.join(map(str, known))}"
                )

    def _only(self, found: dict[int, Any], wanted) -> int:
        """A row of those in `found`, {row: what it has}, if they have the same; else of those that
        table.md calls by the method's name alone.
        """
        plain = [k for k in found if self._lines[k]["label"] == wanted["method"]]
        for rows in (list(found), plain):
            if len({found[k] for k in rows}) == 1:
                return rows[0]
        lines = [self._lines[k] for k in plain or found]
        names = [
            name for name in lines[0] if name in (*_TELLING, *json.loads(lines[0]["settings"]))
        ]
        values = {name: _distinct(line.get(name) for line in lines) for name in names}
        raise ValueError(
            f"{len(lines)} rows of {self.folder} fit {_words(wanted)}, and they differ; name one: "
            + "; ".join(
                f"{name}={' or '.join(map(repr, some))}"
                for name, some in values.items()
                if len(some) > 1
            )
        )


# columns that say what a training was, not what came of it
_TELLING = (
    *("method", "prune_ratio", "seed", "dataset", "num_samples", "model", "record_model"),
    *("record", "record_epochs", "snapshot_epoch", "exits", "retrain", "test", "processor"),
)


def _equal(here, value) -> bool:
    numbers = [one for one in (here, value) if isinstance(one, Real) and not isinstance(one, bool)]
    if len(numbers) == 2:
        return math.isclose(here, value)
    if isinstance(value, (tuple, np.generic, np.ndarray)):  # as JSON holds it
        value = np.asarray(value).tolist()
    return type(here) is type(value) and here == value


def _distinct(values) -> list:
    """Each once, in order; not what is not told."""
    told = [value for value in values if value is not None and value == value]
    return [value for k, value in enumerate(told) if value not in told[:k]]


def _words(wanted) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in wanted.items())
