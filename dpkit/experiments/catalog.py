"""dpkit.catalog of before 0.9: its names and functions. New code: METHODS[name].choose(...)."""

from typing import Any

from dpkit.data.loading import DATASETS
from dpkit.methods.catalog import METHODS, find_method
from dpkit.methods.method import EXTRAS, Method
from dpkit.nets.builders import MODELS, make_net
from dpkit.records import Scores, Selection
from dpkit.training.recipe import recipe_for

__all__ = [
    "DATASETS",
    "EXTRAS",
    "METHODS",
    "MODELS",
    "Method",
    "choose",
    "defaults",
    "fitting",
    "make_net",
    "needs",
    "recipe_for",
    "score",
    "select",
]


def score(method: str | Method, evidence: Any, **options: Any) -> Scores | None:
    return find_method(method).score(evidence, **options)


def select(method: str | Method, scores: Scores | None, keep: int, **more: Any) -> Selection:
    return find_method(method).select(scores, keep, **more)


def choose(method: str | Method, evidence: Any, keep: int, **more: Any) -> Selection:
    return find_method(method).choose(evidence, keep, **more)


def fitting(method: str | Method, **some: Any) -> dict:
    return find_method(method).supported_options(**some)


def needs(method: str | Method) -> frozenset[str]:
    return find_method(method).reads


def defaults(method: str | Method, dataset: str | None = None) -> dict:
    return find_method(method).options_for(dataset)
