"""Recipe: how a network is trained, as plain settings; which of them belong into keys and files."""

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
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
    precision : "auto" | "fp32" | "bf16".
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

    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    budget: str = "epochs"
    steps: int | None = None
    augment: str | None = "own"
    precision: str = "auto"
    compile: bool = False
    schedule: str = "cosine"
    warmup: int = 0
    norm_bias_lr: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self):
        if self.budget not in ("epochs", "steps"):
            raise ValueError(f'budget must be "epochs" or "steps"; got {self.budget!r}')
        length = self.steps if self.budget == "steps" else self.epochs
        if not isinstance(length, int) or length < 1:
            raise ValueError(
                f"budget={self.budget!r} needs {self.budget}=, a whole number from 1; got "
                f"{length!r}"
            )
        if self.batch_size < 1 or not self.lr > 0:
            raise ValueError(
                f"batch_size must be at least 1 and lr above 0; got {self.batch_size} and {self.lr}"
            )
        if self.augment not in (None, "own"):
            raise ValueError(f'augment must be None or "own"; got {self.augment!r}')
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f'precision must be "auto", "fp32" or "bf16"; got {self.precision!r}')
        if self.schedule not in ("cosine", "linear"):
            raise ValueError(f'schedule must be "cosine" or "linear"; got {self.schedule!r}')
        if type(self.warmup) is not int or self.warmup < 0:
            raise ValueError(f"warmup must be a whole number of steps from 0; got {self.warmup!r}")
        if not 0 < self.norm_bias_lr < math.inf:
            raise ValueError(
                f"norm_bias_lr, a factor of lr, must be above 0; got {self.norm_bias_lr!r}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1); got {self.label_smoothing!r}")
        if self.budget == "steps":
            self.check_warmup(self.steps)

    def check_warmup(self, horizon: int) -> None:
        """ValueError for a schedule of so many steps that would end before the warm-up does."""
        if self.warmup >= horizon:
            raise ValueError(
                f"warmup must be shorter than the schedule, {horizon} steps here; got "
                f"{self.warmup}: warm up for fewer steps, or train longer"
            )

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

        Those that came after 0.7 only where they say something, so that keys stay.
        """
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _LATER or value != _LATER[name]
        }

    def settings(self) -> dict:
        """What the numbers depend on, for hashes: plain(), and `compile` only where it is on."""
        return {name: value for name, value in self.plain().items() if name != "compile" or value}

    def batches(self, n: int) -> int:
        """Batches in one pass over n samples."""
        return math.ceil(n / self.batch_size)

    def total_steps(self, n: int) -> int:
        """Batches in the whole schedule over n samples."""
        return self.steps if self.budget == "steps" else self.epochs * self.batches(n)

    def epochs_over(self, n: int) -> int:
        """Passes over n samples that the whole schedule begins."""
        return math.ceil(self.total_steps(n) / self.batches(n))

    def samples_seen(self, n: int) -> int:
        """Images trained on in the whole schedule over n samples, counted in every pass."""
        passes, steps = divmod(self.total_steps(n), self.batches(n))
        size, larger = divmod(
            n, self.batches(n)
        )  # the batches of a pass are near-equal, the larger ones first
        return passes * n + steps * size + min(steps, larger)

    @property
    def length(self) -> str:
        """The protocol in two words: "200 epochs" or "3900 steps"."""
        return f"{self.steps if self.budget == 'steps' else self.epochs} {self.budget}"

    def describe(self) -> str:
        """The length, and what else is not the default, in a line: "3900 steps batch_size=64"."""
        usual = Recipe()
        other = [
            f"{name}={value}"
            for name, value in asdict(self).items()
            if name not in ("epochs", "budget", "steps") and value != getattr(usual, name)
        ]
        return " ".join([self.length, *other])


def recipe_for(model, **settings) -> Recipe:
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
    from dpkit.nets.builders import find_builder, suited  # loads torch

    find_builder(model)
    return Recipe(**(suited(model) | settings))


_LATER = {"schedule": "cosine", "warmup": 0, "norm_bias_lr": 1.0, "label_smoothing": 0.0}
