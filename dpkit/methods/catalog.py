"""METHODS: every method by name. The table of contents; loads no torch, for help texts."""

from dataclasses import replace

from dpkit import scorers, selectors
from dpkit.methods.influence import influence_norm_scores, influence_selection
from dpkit.methods.method import Method
from dpkit.records.training_dynamics import MOST_PROBS
from dpkit.storage.lookup import find


def _too_many_probs(options, n, num_classes, prune_ratio):
    if n * num_classes <= MOST_PROBS:
        return None
    return (
        f"tdds compares all probabilities with those of the epoch before, and {n:,} samples of "
        f"{num_classes:,} classes have more than the {MOST_PROBS:,} that are held: choose another "
        "method, or record with Recorder(..., tdds=True) in a loop of your own"
    )


def _cutoff_above_ratio(options, n, num_classes, prune_ratio):
    cutoff = options.get("cutoff")
    if isinstance(cutoff, bool) or not isinstance(cutoff, (int, float)) or cutoff <= prune_ratio:
        return None
    return (
        f"cutoff must not be above the prune ratio: it removes the hardest {cutoff:g} of all "
        f"samples, and only {prune_ratio:g} of them may go"
    )


def _default_c_d(options):
    if "c_d" in options:
        return None
    return (
        "c_d = 4, the released script's value for CIFAR; the larger, the later easy samples come in"
    )


def _hardest_went_first(selection):
    if "published" not in selection.params:
        return None
    return (
        f"the hardest {100 * selection.params['cutoff']:.0f} % went first, CCS's cutoff for "
        f"{selection.params['published']}; where more labels are wrong, set a larger cutoff"
    )


_TOP = selectors.keep_top
_CUTOFFS = {"cifar100": {"cutoff": "cifar100"}}
_METHODS = [
    Method(None, None, selectors.keep_random, name="random"),
    Method("dynamics", scorers.dual, _TOP),
    Method(
        "dynamics",
        scorers.dual,
        selectors.keep_beta,
        ("mean_prob",),
        {"c_d": 4.0},
        advice=_default_c_d,
        name="dual+beta",
    ),
    Method("dynamics", scorers.dyn_unc, _TOP),
    Method("dynamics", scorers.forgetting, _TOP),
    Method("dynamics", scorers.aum, _TOP),
    Method("dynamics", scorers.tdds, _TOP, refuses=_too_many_probs),
    Method("snapshot", scorers.el2n, _TOP),
    Method("snapshot", scorers.grand, _TOP),
    Method("final", scorers.entropy, _TOP),
    Method("final", scorers.least_confidence, _TOP),
    Method("final", scorers.margin, _TOP),
    Method("final", scorers.moderate, _TOP),
    Method("exits", scorers.eeprune, _TOP, defaults={"protect_inf": True}),
    Method(
        "dynamics",
        scorers.aum,
        selectors.keep_ccs,
        defaults={"cutoff": "cifar10", "scale": "probability"},
        of_set=_CUTOFFS,
        refuses=_cutoff_above_ratio,
        remarks=_hardest_went_first,
        name="ccs",
    ),
    Method(
        "dynamics",
        scorers.forgetting,
        selectors.keep_d2,
        ("features", "difficulty"),
        # differs from paper, which searched a cutoff for each ratio (.4 at .9 in its example):
        # these are CCS's
        {"cutoff": "cifar10", "per_class": "proportional"},
        of_set=_CUTOFFS,
        counts=("neighbours",),
        refuses=_cutoff_above_ratio,
        remarks=_hardest_went_first,
        name="d2",
    ),
    Method("final", None, selectors.keep_herding, name="herding"),
    Method("final", None, selectors.keep_nearest_to_centre, name="nearest_to_centre"),
    Method("final", None, selectors.keep_kcenter, name="kcenter"),
    Method("final", influence_norm_scores, _TOP, name="influence_norm"),
    Method("final", None, influence_selection, selector_input="snapshot", name="influence"),
]
METHODS = {method.name: method for method in _METHODS}


def find_method(method: str | Method) -> Method:
    """The method of this name, or the method itself.

    ValueError for a name that is not in METHODS, and for a method of one's own under a name that
    is.
    """
    if isinstance(method, Method):
        known = METHODS.get(method.name)
        if known and (known.scorer, known.selector) != (method.scorer, method.selector):
            raise ValueError(
                "a method of one's own needs a name that METHODS does not have; got "
                f"{method.name!r}: Method(..., name=...)"
            )
        return method
    found = find(METHODS, method, "method")
    return found if found.name == method else replace(found, name=method)
