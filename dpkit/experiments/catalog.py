"""dpkit.catalog of before 0.9: its names and functions. New code: METHODS[name].choose(...)."""

from dpkit.data.loading import DATASETS
from dpkit.methods.catalog import METHODS, find_method
from dpkit.methods.method import EXTRAS, Method
from dpkit.nets.builders import MODELS, make_net
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


def score(method, evidence, **options):
    return find_method(method).score(evidence, **options)


def select(method, scores, keep, **more):
    return find_method(method).select(scores, keep, **more)


def choose(method, evidence, keep, **more):
    return find_method(method).choose(evidence, keep, **more)


def fitting(method, **some):
    return find_method(method).supported_options(**some)


def needs(method):
    return find_method(method).reads


def defaults(method, dataset=None):
    return find_method(method).options_for(dataset)
