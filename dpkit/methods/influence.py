"""The two ways of pruning by influence, from a snapshot: sample by sample, or all together."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from dpkit.influence.estimates import influence_vectors, outer_influence
from dpkit.influence.plans import plan_influence
from dpkit.records import Scores, Selection, Snapshot
from dpkit.scorers.influence_norm import influence_norm
from dpkit.selectors.anneal import anneal


def influence_norm_scores(
    snapshot: Snapshot,
    *,
    damping: float = 5e-4,
    of: str = "sum",
    route: str = "auto",
    memory: float = 8e9,
) -> Scores:
    """influence_norm of the snapshot's influence vectors: samples of most influence score highest.

    Parameters
    ----------
    snapshot : features (n, d), labels (n,) and the final exit's probs.
    damping : > 0, in the unit of the Hessian; 5e-4 is the weight decay of Recipe.
    of : the convention, "mean" or "sum"; "sum", as the baseline is Koh & Liang's |I_param|.
    route : influence_vectors' method; "auto" takes the Kronecker product, and says so, where the
        exact Hessian would not fit into `memory`.
    memory : in bytes.

    Returns
    -------
    Scores (n,), in the unit of the parameters, >= 0; higher is more worth keeping.

    Raises
    ------
    ValueError for damping not above 0, or a snapshot without features.

    References
    ----------
    The scalar baseline of Yang et al., ICLR 2023.
    """
    return influence_norm(_vectors(snapshot, damping, of, route, memory))


def influence_selection(
    snapshot: Snapshot,
    keep: int,
    *,
    rng: int | np.random.Generator,
    labels: ArrayLike | None = None,
    per_class: str | ArrayLike | None = None,
    damping: float = 5e-4,
    of: str = "mean",
    route: str = "auto",
    memory: float = 8e9,
    steps: int | None = None,
    hottest: float = 1.0,
    coldest: float = 1e-4,
) -> Selection:
    """anneal the snapshot's influence vectors: optimisation-based pruning (Eq. 4).

    Parameters
    ----------
    snapshot : features (n, d), labels (n,) and the final exit's probs.
    keep : how many stay, 0..n.
    rng : seed or numpy Generator.
    labels, per_class : as for anneal; labels (n,) are read only with per_class.
    damping, route, memory : as for influence_norm_scores.
    of : "mean", the refit that the paper defines and every retraining is, or "sum"
        (dpkit.influence).
    steps, hottest, coldest : as for anneal.

    Returns
    -------
    Selection of exactly `keep` samples.

    Raises
    ------
    ValueError as influence_vectors and anneal do.

    References
    ----------
    Yang et al., ICLR 2023.
    """
    return anneal(
        _vectors(snapshot, damping, of, route, memory),
        keep,
        rng=rng,
        labels=labels,
        per_class=per_class,
        steps=steps,
        hottest=hottest,
        coldest=coldest,
    )


def _vectors(snapshot, damping, of, route, memory):
    plan = plan_influence(snapshot, memory=memory)
    if route == "kronecker" or (route == "auto" and plan.method != "exact"):
        if route == "auto":
            warnings.warn(
                "influence by the Kronecker approximation, as the exact Hessian needs "
                f"{plan.needed['exact'] / 1e9:.1f} GB and memory is {memory / 1e9:.1f} GB: set "
                "memory, or "
                'route="kronecker" if that is meant',
                stacklevel=3,
            )
        # never written out: of a hundred classes they would fill the memory
        return outer_influence(snapshot, damping=damping, of=of)
    return influence_vectors(snapshot, damping=damping, of=of, method=route, memory=memory)
