import numpy as np

from dpkit.records import Scores
from dpkit.records.vectors import OuterVectors, check_vectors, norms


def influence_norm(vectors: np.ndarray | OuterVectors) -> Scores:
    """How far the last layer moves when this sample alone goes: the length of its influence vector.

        score(x_i) = |S_i|_2

    keep_top then prunes the samples of least influence, one by one: two large ones that cancel are
    both kept. `anneal` looks at the sum instead.

    Parameters
    ----------
    vectors : (n, p), influence_vectors(snapshot, damping=...), or OuterVectors.

    Returns
    -------
    Scores (n,), in the unit of the parameters, >= 0; higher is more worth keeping.

    Raises
    ------
    ValueError for vectors that are not finite.

    References
    ----------
    The scalar baseline of Yang et al., "Dataset Pruning: Reducing Training Data by Examining
    Generalization Influence", ICLR 2023.

    Examples
    --------
    >>> dpkit.influence_norm(np.array([[3.0, 4.0], [0.0, 1.0]])).values
    array([5., 1.])
    """
    return Scores(norms(check_vectors(vectors, "influence_norm")), "influence_norm")
