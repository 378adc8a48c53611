"""How much of a study fits into so many minutes: measured on this machine, and said before it
starts.

All costs are counted in steps of the network at hand, each a batch; one step is measured. Of the
SIZES a study may have, the plan is the largest that fits.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil

import numpy as np

from dpkit.data.image_set import ImageSet
from dpkit.methods.catalog import find_method
from dpkit.nets.builders import make_net
from dpkit.training.loop import train
from dpkit.training.recipe import Recipe, recipe_for

STARTING = 40.0  # seconds: of the notebook's kernel, of the workers, for figures and the page
SHARE = 0.85  # of the rest, that is planned for: steps are not all equally long
TEST = 1 / 3  # of a step: a batch that is only looked at
BATCHES = 20  # in a pass, at least: of a small set the batches are smaller


@dataclass(frozen=True)
class Size:
    """How much a study does.

    ratios, methods : how many of those that are wanted; methods, besides random.
    passes : of the training on everything; every training has as many steps.
    record_epochs : that a network is watched for, and that each network of a fold is trained for.
    folds : in which labels are judged.
    """

    seeds: int
    ratios: int
    methods: int
    passes: int
    record_epochs: int
    folds: int

    def at_most(self, most: "Size") -> "Size":
        """With no number above that of `most`."""
        return Size(*(min(a, b) for a, b in zip(asdict(self).values(), asdict(most).values())))


# the smallest first; two seeds would have intervals of ten spreads. More seeds come before more
# methods: they are what an interval is made of
SIZES = [
    Size(seeds=3, ratios=1, methods=1, passes=6, record_epochs=10, folds=2),
    Size(seeds=3, ratios=2, methods=1, passes=8, record_epochs=12, folds=2),
    Size(seeds=3, ratios=2, methods=1, passes=12, record_epochs=15, folds=2),
    Size(seeds=3, ratios=3, methods=1, passes=12, record_epochs=15, folds=3),
    Size(seeds=4, ratios=3, methods=1, passes=12, record_epochs=20, folds=3),
    Size(seeds=4, ratios=4, methods=1, passes=15, record_epochs=20, folds=3),
    Size(seeds=5, ratios=4, methods=1, passes=15, record_epochs=30, folds=3),
    Size(seeds=5, ratios=4, methods=2, passes=20, record_epochs=30, folds=3),
    Size(seeds=5, ratios=5, methods=3, passes=25, record_epochs=30, folds=5),
    Size(seeds=8, ratios=6, methods=3, passes=30, record_epochs=30, folds=5),
]


@dataclass(frozen=True)
class Plan:
    """What a study will do.

    methods : random first.
    ratios : fractions REMOVED, ascending.
    seeds, passes, record_epochs, folds : as in Size.
    batch_size : images in a step.
    num_train, num_held_out, num_all : images of the training part, of the held-out part, and of the
        set that is to be pruned.
    step_seconds : of one step, measured.
    """

    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: int
    passes: int
    record_epochs: int
    folds: int
    batch_size: int
    num_train: int
    num_held_out: int
    num_all: int
    step_seconds: float

    @classmethod
    def read(cls, found: dict) -> "Plan":
        """Of asdict(plan), as a JSON file holds it."""
        return cls(**found | {name: tuple(found[name]) for name in ("methods", "ratios")})

    @property
    def steps(self) -> int:
        """Of every training of the sweep, whatever its ratio."""
        return self.passes * self._batches(self.num_train)

    def costs(self) -> list[dict]:
        """What is done: a dict each with what, trainings, steps (of all of them) and
        seconds (None: not measured).
        """
        tested = self.seeds * TEST * self._batches(self.num_held_out)
        cells = len(self.ratios) * len(self.methods)
        record, whole = self._batches(self.num_train), self._batches(self.num_all)
        # its ratio is not known yet: the smallest is the dearest
        fewer = self.steps * (1 - min(self.ratios))
        watched = self.record_epochs * any(find_method(name).reads for name in self.methods)
        lines = [
            ("recordings of the training part", self.seeds, self.seeds * watched * record),
            ("trainings on everything", self.seeds, self.seeds * self.steps + tested),
            (
                "trainings on what is kept",
                cells * self.seeds,
                cells * (self.seeds * self.steps + tested),
            ),
            ("shorter trainings on what is kept", self.seeds, self.seeds * fewer + tested),
            ("recording of the whole set", 1, self.record_epochs * whole),
            (
                "trainings for suspected labels",
                self.folds,
                (self.folds - 1) * self.record_epochs * whole,
            ),
        ]
        measured = {} if self.step_seconds else {"seconds": None}
        return [
            {"what": what, "trainings": n, "steps": ceil(s), "seconds": s * self.step_seconds}
            | measured
            for what, n, s in lines
        ]

    @property
    def seconds(self) -> float:
        """Of the whole study, about."""
        return STARTING + self._seconds(self.costs())

    @property
    def seconds_after_sweep(self) -> float:
        """What is to be kept for all that comes after the sweep."""
        return STARTING / 2 + self._seconds(self.costs()[3:])

    @property
    def seconds_after_shorter(self) -> float:
        """What is to be kept for all that comes after the shorter trainings."""
        return STARTING / 2 + self._seconds(self.costs()[4:])

    def describe(self) -> str:
        """The plan in a sentence."""
        percent = ", ".join(f"{100 * ratio:g}" for ratio in self.ratios)
        return (
            f"{', '.join(self.methods)} at {percent} % pruned, {self.seeds} seeds, "
            f"{self.steps:,} steps a training ({self.passes} "
            f"pass{'' if self.passes == 1 else 'es'} over everything)"
        )

    def _seconds(self, lines):
        return sum(line["steps"] for line in lines) * self.step_seconds / SHARE

    def _batches(self, n):
        return ceil(n / self.batch_size)


def plan_study(
    minutes: float,
    *,
    step_seconds: float,
    num_train: int,
    num_held_out: int,
    num_all: int,
    batch_size: int,
    methods: Sequence[str],
    ratios: Sequence[float],
    most: Size,
) -> Plan:
    """The largest plan that fits into so many minutes.

    Parameters
    ----------
    minutes : of the clock; 0: as many as it takes.
    step_seconds : of a step, as measured.
    num_train, num_held_out, num_all, batch_size : as in Plan.
    methods, ratios : the wanted ones, the most wanted first; random is added if it is not there.
    most : bounds of what is done.

    Returns
    -------
    Plan.

    Raises
    ------
    ValueError if the smallest plan takes longer: it says how long.
    """
    others = [name for name in dict.fromkeys(methods) if name != "random"]
    plans = []
    for size in SIZES:
        size = size.at_most(most)
        plan = Plan(
            ("random", *others[: size.methods]),
            tuple(sorted(ratios[: size.ratios])),
            size.seeds,
            size.passes,
            size.record_epochs,
            size.folds,
            batch_size,
            num_train,
            num_held_out,
            num_all,
            step_seconds,
        )
        if not minutes or plan.seconds <= 60 * minutes:
            plans.append(plan)
        elif not plans:
            raise ValueError(
                f"{minutes:g} minutes are too few for a study of these {num_all:,} images: the "
                f"least ({plan.describe()}) takes {ceil(plan.seconds / 60)} minutes here. Give "
                f"--minutes {ceil(plan.seconds / 60)}, smaller images (--size) or fewer of them"
            )
    return plans[-1]


def batch_size_for(n: int, usual: int) -> int:
    """Images in a step for a training part of n: a power of two up to `usual`, such that a pass has
    at least BATCHES steps; 8 at least.

    Examples
    --------
    >>> batch_size_for(10_000, 128), batch_size_for(1_000, 128), batch_size_for(60, 128)
    (128, 32, 8)
    """
    size = 8
    while 2 * size <= usual and 2 * size * BATCHES <= n:
        size *= 2
    return size


def measure_step(images: ImageSet, *, model: str | Callable, batch_size: int) -> float:
    """Seconds of a training step on this machine: in the quickest of a few short passes.

    Another program may slow the others down; if it stays, the clock cuts the sweep off.
    """
    spread = np.linspace(0, len(images) - 1, min(3 * batch_size, len(images))).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few images are not of all classes
        some = images.subset(images.ids[spread]).standalone()
    recipe: Recipe = recipe_for(model, epochs=5, batch_size=min(batch_size, len(some)))
    net = make_net(model, some, seed=0)
    reports = list(train(net, some, recipe, seed=0))
    return min(report.seconds for report in reports) / recipe.batches(len(some))
