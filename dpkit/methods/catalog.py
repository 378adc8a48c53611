"""The table of contents: every method by name, what it reads, its scorer, its selector."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dpkit import scorers, selectors, storage
from dpkit.methods import by_influence
from dpkit.records import NO_LABEL, Scores, Selection, Snapshot, TrainingDynamics, require_kind
from dpkit.storage.identity import identity, is_own
from dpkit.storage.lookup import find


@dataclass(frozen=True)
class Method:
    """What a method looks at, how it scores, how it selects, and what else its selector reads from the evidence.

    evidence: what the scorer reads: "dynamics", "snapshot" (an early one), "final" (that of the network as recording left
              it) or "exits" (the same, of a network with early exits); None: the method looks at nothing. A selector without
              a scorer judges the final snapshot, or its features.
    extras:   names of what the selector takes besides the scores, a row of EXTRAS each.   options: settings of its own;
    of_set:   those of them that were published with other values for a set: {"cifar100": {"cutoff": "cifar100"}}.
    judges:   what a selector without a scorer is given of the evidence: its "features", or the "snapshot" itself.
    """

    evidence: str | None
    scorer: Callable | None
    selector: Callable
    extras: tuple = ()
    options: dict = field(default_factory=dict)
    of_set: dict = field(default_factory=dict)
    judges: str = "features"


# what a selector can take besides scores: whose it is, and how it is read
EXTRAS = {
    "mean_prob": ("dynamics", TrainingDynamics.mean_prob),
    "features": ("final", lambda snapshot: snapshot.features),
    "difficulty": ("dynamics", lambda dynamics: scorers.aum(dynamics, scale="probability")),
}
_CUTOFFS = {"cifar100": {"cutoff": "cifar100"}}
METHODS = {
    "random": Method(None, None, selectors.keep_random),
    "dual": Method("dynamics", scorers.dual, selectors.keep_top),
    "dual+beta": Method("dynamics", scorers.dual, selectors.keep_beta, ("mean_prob",), {"c_d": 4.0}),
    "dyn_unc": Method("dynamics", scorers.dyn_unc, selectors.keep_top),
    "forgetting": Method("dynamics", scorers.forgetting, selectors.keep_top),
    "aum": Method("dynamics", scorers.aum, selectors.keep_top),
    "tdds": Method("dynamics", scorers.tdds, selectors.keep_top),
    "el2n": Method("snapshot", scorers.el2n, selectors.keep_top),
    "grand": Method("snapshot", scorers.grand, selectors.keep_top),
    "entropy": Method("final", scorers.entropy, selectors.keep_top),
    "least_confidence": Method("final", scorers.least_confidence, selectors.keep_top),
    "margin": Method("final", scorers.margin, selectors.keep_top),
    "moderate": Method("final", scorers.moderate, selectors.keep_top),
    "eeprune": Method("exits", scorers.eeprune, selectors.keep_top, options={"protect_inf": True}),
    "ccs": Method("dynamics", scorers.aum, selectors.keep_ccs, (), {"cutoff": "cifar10", "scale": "probability"}, _CUTOFFS),
    "d2": Method("dynamics", scorers.forgetting, selectors.keep_d2, ("features", "difficulty"),
                 # differs from paper, which searched a cutoff for each ratio (.4 at .9 in its example): these are CCS's
                 {"cutoff": "cifar10", "per_class": "proportional"}, _CUTOFFS),
    "herding": Method("final", None, selectors.keep_herding),
    "nearest_to_centre": Method("final", None, selectors.keep_nearest_to_centre),
    "kcenter": Method("final", None, selectors.keep_kcenter),
    "influence_norm": Method("final", by_influence.lone_influence, selectors.keep_top),
    "influence": Method("final", None, by_influence.anneal_influence, judges="snapshot"),
}
def needs(method: str) -> set[str]:
    """What a method reads of a watched training: any of "dynamics", "snapshot", "final" and "exits"."""
    entry = find(METHODS, method, "method")
    return {kind for kind in (entry.evidence, *(EXTRAS[name][0] for name in entry.extras)) if kind}


def parts(method: str) -> set[str]:
    """Which parts of a record a method reads: its needs, where the exits are those of the final snapshot."""
    return {_PLACES.get(kind, kind) for kind in needs(method)}


def settings(method: str) -> tuple[tuple, tuple]:
    """Names of the settings a method's scorer and its selector take: (("window",), ("c_d", "convention"))."""
    entry = find(METHODS, method, "method")
    taken = {"rng", "labels", "difficulty", *entry.extras}
    return tuple(tuple(p.name for p in inspect.signature(step).parameters.values() if p.kind is p.KEYWORD_ONLY
                       and p.name not in taken) if step else () for step in (entry.scorer, entry.selector))


def defaults(method: str, dataset: str | None = None) -> dict:
    """A method's settings and what they are unless given, on that set: {"window": 10, "c_d": 4.0, "convention": "paper"}."""
    entry = find(METHODS, method, "method")
    found = {}
    for step, names in zip((entry.scorer, entry.selector), settings(method), strict=True):
        parameters = inspect.signature(step).parameters if names else {}
        found |= {name: parameters[name].default for name in names if parameters[name].default is not inspect.Parameter.empty}
    return found | entry.options | entry.of_set.get(dataset, {})


def codes(method: str, identify=identity) -> tuple[str | None, str]:
    """What the method's scorer and selector are, for keys of a cache: dpkit's by name, others by all that they do.

    identify: what tells it of a function; `identity` raises Unknown where it cannot be known.
    """
    entry = find(METHODS, method, "method")
    selector = identify(entry.selector)
    extras = {name: [EXTRAS[name][0], identify(EXTRAS[name][1])] for name in entry.extras}
    if is_own(selector) or any(is_own(code) for _, code in extras.values()):
        selector = f"{selector} {storage.key_hash([extras, entry.judges])}"
    return entry.scorer and identify(entry.scorer), selector


def worded(settings: dict) -> str:
    """Settings as a line of text, in the order of their names: "c_d=5.5 window=10"."""
    plain = {name: f"{value:g}" if type(value) in (int, float) else str(value) for name, value in settings.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(plain.items()))


def fitting(method: str, **some) -> dict:
    """Of these settings, those that the method's scorer or selector takes."""
    taken = {name for names in settings(method) for name in names}
    return {name: value for name, value in some.items() if name in taken}


def score(method: str, evidence, **options) -> Scores | None:
    """The method's Scores; None for methods without a score.

    evidence: what stages.record left, with its dynamics, snapshot and final; or the one of them that the method reads.
              What reads exits reads final, of a record made with exits.
    options:  settings of the method where they are not the usual ones; those of its selector are passed over.
    """
    entry, own = find(METHODS, method, "method"), routed(method, options)[0]
    return None if entry.scorer is None else entry.scorer(_part(evidence, entry.evidence), **(_own(method, 0) | own))


def select(method: str, scores: Scores | None, keep: int, *, evidence=None, num_samples: int | None = None, labels=None, rng,
           **options) -> Selection:
    """The method's Selection of exactly `keep` samples.

    evidence: what the scores were made of, for the selector's extras, as `score` takes it.
    num_samples: the set's size, needed if the method looks at nothing.   labels: (n,), for class quotas; where there is
    evidence, they are read from that.   options: as of `score`, e.g. c_d=5.5 for "dual+beta"; the scorer's are passed over.
    """
    entry, own = find(METHODS, method, "method"), routed(method, options)[1]
    parts = {name: _part(evidence, EXTRAS[name][0]) for name in entry.extras}
    lacking = [name for name, part in parts.items() if not isinstance(part, _KINDS[EXTRAS[name][0]])]
    if lacking:
        raise ValueError(f"{method} reads {', '.join(lacking)} from the evidence; got {type(evidence).__name__}: pass "
                         "evidence=, what stages.record left")
    if entry.evidence is None and num_samples is None:
        raise ValueError(f"{method} looks at nothing, so it needs num_samples=, the set's size; got none")
    extras = {name: EXTRAS[name][1](part) for name, part in parts.items()}
    seen = _part(evidence, entry.evidence) if entry.evidence else None
    labels = _one_set_of_labels(method, {"labels=": labels, **{kind: _labels_of(_part(evidence, kind))
                                                               for kind in sorted(needs(method))}})
    if "labels" in inspect.signature(entry.selector).parameters:
        extras["labels"] = labels
    judgement = num_samples if entry.evidence is None else scores
    if entry.evidence and entry.scorer is None:
        require_kind(seen, Snapshot, method)
        judgement = seen.features if entry.judges == "features" else seen
    return entry.selector(judgement, keep, rng=rng, **extras, **(_own(method, 1) | own))


def choose(method: str, evidence, keep: int, *, num_samples: int | None = None, labels=None, rng, **options) -> Selection:
    """score and select at once, with one set of options: the Selection of `keep` samples, from what stages.record left."""
    return select(method, score(method, evidence, **options), keep, evidence=evidence, num_samples=num_samples, labels=labels,
                  rng=rng, **options)


def routed(method: str, options: dict) -> tuple[dict, dict]:
    """(the scorer's, the selector's) of these settings; ValueError for one that the method does not take."""
    names = settings(method)
    unknown = sorted(set(options) - set(names[0]) - set(names[1]))
    if unknown:
        raise ValueError(f"{method} takes the settings {', '.join(names[0] + names[1]) or 'none'}; got {', '.join(unknown)}")
    return tuple({name: options[name] for name in group if name in options} for group in names)


def _labels_of(part):
    """A record's labels, NO_LABEL where a sample was not trained on: records of version 0.6 have 0 there; None: it has none."""
    if isinstance(part, TrainingDynamics):
        return np.where(part.trained(), part.labels, NO_LABEL)
    return getattr(part, "labels", None)


def _one_set_of_labels(method, told):
    """The labels that all who tell them agree on, each where it is told; None if nobody does."""
    told = {who: np.asarray(labels) for who, labels in told.items() if labels is not None}
    for who, labels in told.items():
        first, expected = next(iter(told.items()))
        same = labels.shape == expected.shape
        differ = (labels != expected) & (labels != NO_LABEL) & (expected != NO_LABEL) if same else np.ones(1, bool)
        if differ.any():
            rows = np.flatnonzero(differ) if same else ()
            where = f"in {len(rows)} of {len(labels)} rows (first: row {rows[0]})" if len(rows) else "in number"
            raise ValueError(f"{method} reads {' and '.join(told)} of the same samples, and the labels of {first} and {who} "
                             f"differ {where}: take all of them from one training")
    whole = next(iter(told.values()), None)
    for labels in told.values():
        whole = np.where(whole == NO_LABEL, labels, whole)
    return whole


_PLACES = {"exits": "final"}
_KINDS = {"dynamics": TrainingDynamics, "snapshot": Snapshot, "final": Snapshot}


def _part(evidence, kind):
    """The dynamics, the early or the final snapshot of what stages.record left; one record stands for itself."""
    if isinstance(evidence, (TrainingDynamics, Snapshot)):
        return evidence
    return getattr(evidence, _PLACES.get(kind, kind), None)


def _own(method, which):
    """The scorer's (0) or selector's (1) settings that the method itself names."""
    return {name: value for name, value in METHODS[method].options.items() if name in settings(method)[which]}
