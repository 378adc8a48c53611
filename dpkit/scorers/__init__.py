"""One score per file: a pure function of what was seen, higher = more worth keeping.

scorer(evidence, *, hyperparameters) -> Scores
"""

from dpkit.scorers.aum import aum
from dpkit.scorers.dual import dual
from dpkit.scorers.dyn_unc import dyn_unc
from dpkit.scorers.eeprune import eeprune
from dpkit.scorers.el2n import el2n
from dpkit.scorers.entropy import entropy
from dpkit.scorers.forgetting import forgetting
from dpkit.scorers.grand import grand
from dpkit.scorers.influence_norm import influence_norm
from dpkit.scorers.least_confidence import least_confidence
from dpkit.scorers.margin import margin
from dpkit.scorers.moderate import moderate
from dpkit.scorers.tdds import tdds

__all__ = [
    "aum",
    "dual",
    "dyn_unc",
    "eeprune",
    "el2n",
    "entropy",
    "forgetting",
    "grand",
    "influence_norm",
    "least_confidence",
    "margin",
    "moderate",
    "tdds",
]
