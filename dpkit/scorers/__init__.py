"""One score per file. scorer(evidence, *, hyperparameters) -> Scores; pure, deterministic, higher = more worth keeping."""

from dpkit.scorers.aum import aum
from dpkit.scorers.dual import dual
from dpkit.scorers.dyn_unc import dyn_unc
from dpkit.scorers.el2n import el2n
from dpkit.scorers.forgetting import forgetting

__all__ = ["aum", "dual", "dyn_unc", "el2n", "forgetting"]
