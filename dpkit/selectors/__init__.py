"""One rule per file. selector(judgement, keep, *, rng, hyperparameters) -> Selection of exactly `keep` samples."""

from dpkit.selectors.beta import beta_parameters, keep_beta
from dpkit.selectors.random import keep_random
from dpkit.selectors.top import keep_above, keep_top

__all__ = ["beta_parameters", "keep_above", "keep_beta", "keep_random", "keep_top"]
