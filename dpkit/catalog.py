"""The table of contents: every method, network and image set by name, and how it is made."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from dpkit import models, scorers, selectors
from dpkit.data import DATASETS, ImageSet
from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics


@dataclass(frozen=True)
class Method:
    """What a method looks at, how it scores, how it selects, and what else its selector reads from the evidence.

    evidence: None, "dynamics" or "snapshot".   extras: names of what the selector takes besides the scores:
    "mean_prob" (from dynamics), "features" (from a snapshot), "labels".   options: the selector's own settings.
    """

    evidence: str | None
    scorer: Callable | None
    selector: Callable
    extras: tuple = ()
    options: dict = field(default_factory=dict)


METHODS = {
    "random": Method(None, None, selectors.keep_random),
    "dual": Method("dynamics", scorers.dual, selectors.keep_top),
    "dual+beta": Method("dynamics", scorers.dual, selectors.keep_beta, ("mean_prob",), {"c_d": 4.0}),
    "dyn_unc": Method("dynamics", scorers.dyn_unc, selectors.keep_top),
    "forgetting": Method("dynamics", scorers.forgetting, selectors.keep_top),
    "aum": Method("dynamics", scorers.aum, selectors.keep_top),
    "el2n": Method("snapshot", scorers.el2n, selectors.keep_top),
}
MODELS = {"small_cnn": models.small_cnn, "resnet18": models.resnet18}

__all__ = ["DATASETS", "METHODS", "MODELS", "Method", "defaults", "find", "fitting", "make_net", "score", "select", "settings",
           "worded"]


def find(table: dict, name: str, what: str):
    """table[name], or a ValueError that lists what exists."""
    if name not in table:
        near = difflib.get_close_matches(str(name), table, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(table)}{hint}")
    return table[name]


def make_net(model: str, images: ImageSet, *, seed: int) -> torch.nn.Module:
    """A fresh network for these images, its weights decided by seed alone; global random state is left alone."""
    build = find(MODELS, model, "model")
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU: the same on every device
        torch.default_generator.manual_seed(seed)
        return build(images.in_channels, images.num_classes).to(images.device)


def settings(method: str) -> tuple[tuple, tuple]:
    """Names of the settings a method's scorer and its selector take: (("window",), ("c_d", "convention"))."""
    entry = find(METHODS, method, "method")
    taken = {"rng", "labels", "per_class", *entry.extras}  # quotas by class: no method of this table asks for them yet
    return tuple(tuple(p.name for p in inspect.signature(step).parameters.values() if p.kind is p.KEYWORD_ONLY
                       and p.name not in taken) if step else () for step in (entry.scorer, entry.selector))


def defaults(method: str) -> dict:
    """A method's settings and what they are unless given: {"window": 10, "c_d": 4.0, "convention": "paper"}."""
    entry = find(METHODS, method, "method")
    found = {}
    for step, names in zip((entry.scorer, entry.selector), settings(method), strict=True):
        parameters = inspect.signature(step).parameters if names else {}
        found |= {name: parameters[name].default for name in names if parameters[name].default is not inspect.Parameter.empty}
    return found | entry.options


def worded(settings: dict) -> str:
    """Settings as a line of text, in the order of their names: "c_d=5.5 window=10"."""
    plain = {name: f"{value:g}" if type(value) in (int, float) else str(value) for name, value in settings.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(plain.items()))


def fitting(method: str, **some) -> dict:
    """Of these settings, those that the method's scorer or selector takes."""
    taken = {name for names in settings(method) for name in names}
    return {name: value for name, value in some.items() if name in taken}


def score(method: str, evidence, **settings) -> Scores | None:
    """The method's Scores of this evidence (a TrainingDynamics, or one Snapshot); None for methods without a score."""
    scorer = find(METHODS, method, "method").scorer
    return None if scorer is None else scorer(evidence, **settings)


def select(method: str, scores: Scores | None, keep: int, *, evidence: TrainingDynamics | Snapshot | None = None,
           num_samples: int | None = None, rng, **options) -> Selection:
    """The method's Selection of exactly `keep` samples.

    evidence: what the scores were made of, for the selector's extras.   num_samples: needed if there are no scores.
    options:  override the method's own, e.g. c_d=5.5 for "dual+beta".
    """
    entry = find(METHODS, method, "method")
    lacking = [name for name in entry.extras if not hasattr(evidence, name)]
    if lacking:
        raise ValueError(f"{method} reads {', '.join(lacking)} from the evidence; got {type(evidence).__name__}: pass "
                         f"evidence=, the {entry.evidence} that were scored")
    if entry.scorer is None and num_samples is None:
        raise ValueError(f"{method} looks at nothing, so it needs num_samples=, the set's size; got none")
    extras = {name: getattr(evidence, name) for name in entry.extras}
    extras = {name: value() if callable(value) else value for name, value in extras.items()}
    judgement = num_samples if entry.scorer is None else scores
    return entry.selector(judgement, keep, rng=rng, **extras, **(entry.options | options))
