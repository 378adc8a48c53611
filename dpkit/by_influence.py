"""The two ways of pruning by influence, from a snapshot: each sample by itself, or all that go together."""

from dpkit.influence import influence_vectors, outer_influence, plan_influence
from dpkit.records import Scores, Selection, Snapshot
from dpkit.scorers.influence_norm import influence_norm
from dpkit.selectors.anneal import anneal


def lone_influence(snapshot: Snapshot, *, damping: float = 5e-4, route: str = "auto") -> Scores:
    """influence_norm of the snapshot's influence vectors: the scalar baseline, which keeps the samples of most influence.

    damping: 5e-4 is the weight decay of Recipe.   route: influence_vectors' method; "auto" takes the Kronecker product,
    and says so, where the exact Hessian would not fit into 8 GB.
    """
    return influence_norm(_vectors(snapshot, damping, route))


def anneal_influence(snapshot: Snapshot, keep: int, *, rng, labels=None, per_class: str | None = None, damping: float = 5e-4,
                     route: str = "auto", steps: int | None = None, hottest: float = 1.0, coldest: float = 1e-4) -> Selection:
    """anneal the snapshot's influence vectors: optimisation-based pruning (Eq. 4; Yang et al., ICLR 2023).

    damping, route: as for lone_influence.   The rest as for anneal; labels (n,) are read only with per_class.
    """
    return anneal(_vectors(snapshot, damping, route), keep, rng=rng, labels=labels, per_class=per_class, steps=steps,
                  hottest=hottest, coldest=coldest)


def _vectors(snapshot, damping, route):
    # never written out where they need not be: of a hundred classes they would take most of the memory
    if route == "kronecker" or (route == "auto" and plan_influence(snapshot).method == "none"):
        return outer_influence(snapshot, damping=damping)
    return influence_vectors(snapshot, damping=damping, method=route)
