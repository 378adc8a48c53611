import numpy as np

from dpkit.records import Scores, Snapshot
from dpkit.scorers._snapshots import exit_probs
from dpkit.storage.blocks import row_blocks


def eeprune(snapshot: Snapshot, *, exit: int = 0) -> Scores:
    """How unsure an early exit is, of what it gets right (EEPrune).

        EEPrune(x) = 1 - (the early exit's largest probability)   where both exits are right
                   = +inf                                         elsewhere

    A sample may go if the early exit is right, the final exit is right, and the early exit is surer
    than a threshold t. So keep_above(scores, 1 - t) is the literal rule, and
    keep_top(scores, keep, protect_inf=True) prunes the surest until `keep` are left, but never a
    sample that an exit got wrong: it may keep more than requested, and then says so. Mislabelled
    samples that neither exit has memorised are kept.

    Parameters
    ----------
    snapshot : of a network with exits (EarlyExitNet); probs (exits, n, C) and labels (n,) are read.
    exit : which early one, 0 the shallowest.

    Returns
    -------
    Scores (n,), in probability, 0..1 - 1/C, or +inf; higher is more worth keeping.

    Raises
    ------
    ValueError unless that exit is there and is not the final one.

    References
    ----------
    Görmez & Koyuncu, ACM TIST 17(1):25, 2026, doi 10.1145/3785502. It does not give where the exits
    are, how they are trained and how a ratio is reached: these are ours.

    Examples
    --------
    >>> early = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]         # right, right, wrong
    >>> final = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]         # all right
    >>> snapshot = dpkit.Snapshot([early, final], None, labels=[0, 0, 0])
    >>> dpkit.eeprune(snapshot).values.round(2)
    array([0.1, 0.4, inf])
    """
    early = exit_probs(snapshot, exit, "eeprune")
    exits = len(snapshot.probs)
    if exits == 1:
        raise ValueError(
            "eeprune needs a Snapshot with at least two exits; this one has one: wrap the net "
            "before training, EarlyExitNet(net, after=(1,))"
        )
    if exit % exits == exits - 1:
        raise ValueError(
            f"eeprune compares an early exit with the final one: exit must be 0..{exits - 2} here; "
            f"got {exit}"
        )
    values = np.empty(snapshot.num_samples)
    for rows in row_blocks(len(values), snapshot.probs):
        labels = snapshot.labels[rows]
        right = (early[rows].argmax(axis=1) == labels) & (
            snapshot.probs[-1, rows].argmax(axis=1) == labels
        )
        values[rows] = np.where(right, 1 - early[rows].max(axis=1).astype(np.float64), np.inf)
    return Scores(values, "eeprune", {"exit": exit % exits})
