"""One rule per file: from a judgement to a Selection of exactly `keep` samples.

selector(judgement, keep, *, rng, hyperparameters) -> Selection
"""

from dpkit.selectors.anneal import anneal, annealing
from dpkit.selectors.anneal_per_class import anneal_within, annealing_within
from dpkit.selectors.beta import beta_parameters, keep_beta
from dpkit.selectors.ccs import keep_ccs
from dpkit.selectors.centre import keep_nearest_to_centre
from dpkit.selectors.d2 import keep_d2
from dpkit.selectors.herding import keep_herding
from dpkit.selectors.kcenter import keep_kcenter
from dpkit.selectors.random import keep_random
from dpkit.selectors.top import keep_above, keep_top

__all__ = [
    "anneal",
    "anneal_within",
    "annealing",
    "annealing_within",
    "beta_parameters",
    "keep_above",
    "keep_beta",
    "keep_ccs",
    "keep_d2",
    "keep_herding",
    "keep_kcenter",
    "keep_nearest_to_centre",
    "keep_random",
    "keep_top",
]
