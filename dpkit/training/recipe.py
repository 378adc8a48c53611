"""Recipe: how a network is trained, as plain settings; which of them belong into keys and files."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from dpkit.storage.validation import Number, Positive, checked, non_defaults


@checked
class Recipe:
    """How to train: SGD with momentum on a schedule. Defaults: the DUAL paper's on CIFAR.

    Methods differ by set.

    Parameters
    ----------
    epochs : the schedule's horizon with budget="epochs". Running fewer of them is
        `islice(train(...), 30)`.
    batch_size : samples in a step.
    lr, momentum, nesterov, weight_decay : of SGD; lr is the highest rate of the schedule.
    budget : "epochs", passes over the set, or "steps", batches whatever the set's size; the two
        rank methods differently.
    steps : the horizon with budget="steps".
    augment : None | "own", the set's own shift and mirroring.
    precision : "auto" | "fp32" | "bf16"; "fp32" is never TF32.
    compile : torch.compile the step; on a GPU as CUDA graphs too. It takes a minute before the
        first step of a process, which pays over hours of training on a GPU, not on a CPU, and needs
        a C++ compiler. The numbers change by rounding.
    schedule : "cosine" | "linear", from lr to 0.
    warmup : steps before it, in which the rate rises evenly to lr.
    norm_bias_lr : times lr for the biases of normalisation layers (the weight decay that they feel
        is as without).
    label_smoothing : share of each label that is spread over all classes, in [0, 1). For
        retraining: it distorts the probabilities that a recording is made of.

    Raises
    ------
    ValueError for a setting that is out of its range.
    """

    epochs: Positive = 200
    batch_size: Positive = 128
    lr: Annotated[Number, Field(gt=0)] = 0.1
    momentum: Annotated[Number, Field(ge=0)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[Number, Field(ge=0)] = 5e-4
    budget: Literal["epochs", "steps"] = "epochs"
    steps: Annotated[int | None, Field(ge=1)] = None
    augment: Literal[None, "own"] = "own"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup: Annotated[int, Field(ge=0, description="a whole number of steps from 0")] = 0
    norm_bias_lr: Annotated[Number, Field(gt=0, description="a factor of lr above 0")] = 1.0
    label_smoothing: Annotated[Number, Field(ge=0, lt=1, description="a number in [0, 1)")] = 0.0

    @field_validator("nesterov")
    @classmethod
    def _has_momentum(cls, nesterov, info):
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError(
                "nesterov needs a momentum above 0; got 0: with none, say nesterov: false"
            )
        return nesterov

    @field_validator("steps")
    @classmethod
    def _suits_budget(cls, steps, info):
        budget = info.data.get("budget")
        if budget == "steps" and steps is None:
            raise ValueError("budget='steps' needs steps=, a whole number from 1; got None")
        if budget == "epochs" and steps is not None:
            raise ValueError("steps are given, but the budget is epochs: add budget: steps")
        return steps

    @field_validator("warmup")
    @classmethod
    def _ends_in_time(cls, warmup, info):
        if info.data.get("steps"):
            _check_warmup(warmup, info.data["steps"])
        return warmup

    def check_warmup(self, horizon: int) -> None:
        """ValueError for a schedule of so many steps that would end before the warm-up does."""
        _check_warmup(self.warmup, horizon)

    def rate(self, step: int, horizon: int) -> float:
        """The learning rate of a step (from 0) of `horizon`."""
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        step, horizon = step - self.warmup, horizon - self.warmup
        return (
            self.lr * 0.5 * (1 + math.cos(math.pi * step / horizon))
            if self.schedule == "cosine"
            else self.lr * (1 - step / horizon)
        )

    def plain(self) -> dict:
        """All settings, for keys and files.

        Those that came after 0.7 only where they differ from the default, so that keys stay.
        """
        return non_defaults(self, always=_FIRST)

    def settings(self) -> dict:
        """What the numbers depend on, for hashes: plain(), and `compile` only where it is on."""
        return {name: value for name, value in self.plain().items() if name != "compile" or value}

    def batches(self, n: int) -> int:
        """Batches in one pass over n samples."""
        return math.ceil(n / self.batch_size)

    def total_steps(self, n: int) -> int:
        """Batches in the whole schedule over n samples."""
        if self.budget == "steps" and self.steps is not None:
            return self.steps
        return self.epochs * self.batches(n)

    def epochs_over(self, n: int) -> int:
        """Passes over n samples that the whole schedule begins."""
        return math.ceil(self.total_steps(n) / self.batches(n))

    def samples_seen(self, n: int) -> int:
        """Images trained on in the whole schedule over n samples, counted in every pass."""
        passes, steps = divmod(self.total_steps(n), self.batches(n))
        # the batches of a pass are near-equal, the larger ones first
        size, larger = divmod(n, self.batches(n))
        return passes * n + steps * size + min(steps, larger)

    @property
    def length(self) -> str:
        """The protocol in two words: "200 epochs" or "3900 steps"."""
        return f"{self.steps if self.budget == 'steps' else self.epochs} {self.budget}"

    def describe(self) -> str:
        """The length, and what else is not the default, in a line: "3900 steps batch_size=64"."""
        other = non_defaults(self, always=()).items()
        other = [f"{name}={value}" for name, value in other if name not in _LENGTH]
        return " ".join([self.length, *other])


def recipe_for(model: str | Callable, **settings: Any) -> Recipe:
    """A Recipe of these settings, the others as they suit the network.

    Parameters
    ----------
    model : a name in MODELS, or a builder of your own.
    settings : fields of Recipe: recipe_for("fast_cnn", epochs=30).

    Returns
    -------
    Recipe.

    Raises
    ------
    ValueError for an unknown name, or a setting that is out of its range.
    """
    from dpkit.nets.builders import find_builder, recipe_settings  # loads torch

    find_builder(model)
    return Recipe(**(recipe_settings(model) | settings))


def _check_warmup(warmup, horizon):
    if warmup >= horizon:
        raise ValueError(
            f"warmup must be shorter than the schedule, {horizon} steps here; got {warmup}: warm "
            "up for fewer steps, or train longer"
        )


_LENGTH = ("epochs", "budget", "steps")
# settings of 0.7, which are in every key
_FIRST = (
    "epochs batch_size lr momentum nesterov weight_decay budget steps augment precision compile"
).split()
