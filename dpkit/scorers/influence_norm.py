from dpkit.records import Scores
from dpkit.records.vectors import check_vectors, norms


def influence_norm(vectors) -> Scores:
    """How far the last layer moves when this sample alone goes: |S_i|_2 (the scalar baseline of
    Yang et al., ICLR 2023).

    vectors: (n, p), influence_vectors(snapshot, damping=...), or OuterVectors.
    Returns Scores (n,), higher = more worth keeping, in the unit of the parameters, in [0, inf).
    keep_top then prunes the samples of least influence, one by one: two large ones that cancel are
    both kept. `anneal` looks at the sum instead. ValueError for vectors that are not finite.
    Source: "Dataset Pruning: Reducing Training Data by Examining Generalization Influence".
    """
    return Scores(norms(check_vectors(vectors, "influence_norm")), "influence_norm")
