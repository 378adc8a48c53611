import numpy as np

from dpkit.records import Scores, Snapshot, require_kind
from dpkit.scorers._snapshots import FEATURE_ROWS, require_features
from dpkit.storage.blocks import by_label, row_blocks


def moderate(snapshot: Snapshot, *, ranked: str = "together") -> Scores:
    """Nearness to the middle of the ranking by distance to the class's median (Moderate).

        d(x)  = || h(x) - median of h over x's class ||_2,   the median coordinate by coordinate
        score = - | (R - 1/2) / n - 1/2 |,   R in 1..n the rank by d, ties sharing their mean rank

    So keep_top keeps the samples in the middle, neither typical nor odd. Two samples equally far
    from the middle, one on each side, tie. (The released code returns the ids to REMOVE: those at
    both ends.)

    Parameters
    ----------
    snapshot : features (n, d) and labels (n,); a class may have one sample or none.
    ranked : "together", all samples in one ranking, as in the released code, or "by_class", a
        ranking in each class.

    Returns
    -------
    Scores (n,), in fractions of the ranking, -0.5..0; higher is more worth keeping.

    Raises
    ------
    ValueError if features are missing or not finite, or for another `ranked`.

    References
    ----------
    Xia et al., "Moderate Coreset: A Universal Method of Data Selection for Real-world
    Data-efficient Deep Learning", ICLR 2023.

    Examples
    --------
    >>> features = [[0], [1], [2], [4], [9]]                 # median 2; distances 2, 1, 0, 2, 7
    >>> snapshot = dpkit.Snapshot(np.ones((1, 5, 1)), features, labels=[0, 0, 0, 0, 0])
    >>> dpkit.moderate(snapshot).values.round(2)             # ranks 3.5, 2, 1, 3.5, 5
    array([-0.1, -0.2, -0.4, -0.1, -0.4])
    """
    from scipy.stats import rankdata  # a second of imports, for this score alone

    require_kind(snapshot, Snapshot, "moderate")
    if ranked not in ("together", "by_class"):
        raise ValueError(f'moderate\'s ranked must be "together" or "by_class"; got {ranked!r}')
    require_features(snapshot, "moderate")
    members = [rows for _, rows in by_label(snapshot.labels)]
    distance = _distances(snapshot, members)
    values = np.empty(len(distance))
    for rows in members if ranked == "by_class" else [np.arange(len(distance))]:
        # doubled ranks are whole numbers: the two sides of the middle tie exactly
        values[rows] = -np.abs(2 * rankdata(distance[rows]) - (len(rows) + 1)) / (
            2 * max(len(rows), 1)
        )
    return Scores(values, "moderate", {"ranked": ranked})


def _distances(snapshot, members):
    """(n,) float64: each sample's distance to its class's median feature."""
    distance = np.empty(snapshot.num_samples)
    for rows in members:
        median = np.median(snapshot.features[rows].astype(np.float64), axis=0)
        for part in row_blocks(len(rows), snapshot.features, size=FEATURE_ROWS):
            distance[rows[part]] = np.linalg.norm(snapshot.features[rows[part]] - median, axis=1)
    return distance
