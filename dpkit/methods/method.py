"""Method: a way of pruning. What it reads, how it scores, how it selects, and all else that is
known of it alone.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dpkit import scorers, storage
from dpkit.methods._evidence import PART_OF_RECORD, labels_of, one_set_of_labels, part_of
from dpkit.records import Scores, Selection, Snapshot, TrainingDynamics, keep_count, require_kind
from dpkit.records.class_recall import class_recall, recall_in_words, recall_note
from dpkit.storage.identity import identity, is_own

KINDS = {
    "dynamics": TrainingDynamics,
    "snapshot": Snapshot,
    "final": Snapshot,
    "exits": Snapshot,
    "scores": Scores,
}
# what a selector can take besides scores: of which evidence, and how it is read
EXTRAS = {
    "mean_prob": ("dynamics", TrainingDynamics.mean_prob),
    "features": ("final", lambda snapshot: snapshot.features),
    "difficulty": ("dynamics", lambda dynamics: scorers.aum(dynamics, scale="probability")),
    "recall": ("dynamics", class_recall),  # for per_class="difficulty"
}


@dataclass(frozen=True, eq=False)
class Method:
    """One way of pruning. Accepted wherever the name of a method is.

    Parameters
    ----------
    evidence : what the scorer reads: "dynamics", "snapshot" (an early one), "final" (of the network
        as recording left it), "exits" (the same, of a network with early exits) or "scores" (made
        elsewhere; no training leaves them). None: the method looks at nothing. A selector without a
        scorer judges the final snapshot, or its features.
    scorer : scorer(evidence, *, ...) -> Scores; None for a method without scores.
    selector : selector(scores, keep, *, rng, ...) -> Selection of exactly `keep` samples.
    extras : names in EXTRAS of what the selector takes besides the scores.
    defaults : options that this method sets otherwise than its functions do: {"c_d": 4.0}.
    of_set : defaults that were published for a set: {"cifar100": {"cutoff": "cifar100"}}.
    counts : options that count samples, of which the set must have more: ("neighbours",).
    selector_input : what a selector without a scorer is given: the "features", or the "snapshot"
        itself.
    refuses : refuses(options, n, num_classes, prune_ratio) -> a sentence if it does not suit
        the method, else None.
    advice : advice(options) -> what a user should know of options that were left as usual, or None.
    remarks : remarks(selection) -> a sentence that a user should be told, or None.
    name : default: the scorer's name, or the selector's.
    """

    evidence: str | None
    scorer: Callable | None
    selector: Callable
    extras: tuple[str, ...] = ()
    defaults: dict = field(default_factory=dict)
    of_set: dict = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    selector_input: str = "features"
    refuses: Callable | None = None
    advice: Callable | None = None
    remarks: Callable | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.evidence is not None and self.evidence not in KINDS:
            known = ", ".join(KINDS)
            raise ValueError(f"a method's evidence is {known} or None; got {self.evidence!r}")
        unknown = [name for name in self.extras if name not in EXTRAS]
        if unknown:
            known = ", ".join(EXTRAS)
            raise ValueError(f"a method's extras are {known}; got {', '.join(map(str, unknown))}")
        for what, function in (("scorer", self.scorer), ("selector", self.selector)):
            if not callable(function) and (what == "selector" or function is not None):
                raise TypeError(f"a method's {what} must be a function; got {function!r}")
        if not self.name:
            function = self.scorer or self.selector
            name = getattr(function, "__name__", type(function).__name__)
            object.__setattr__(self, "name", name)

    def __repr__(self) -> str:
        return f"Method({self.name!r})"

    # ---- what it reads ----

    @property
    def reads(self) -> frozenset[str]:
        """Any of "dynamics", "snapshot", "final", "exits" and "scores"."""
        kinds = (self.evidence, *(EXTRAS[name][0] for name in self.extras))
        return frozenset(kind for kind in kinds if kind)

    @property
    def parts(self) -> frozenset[str]:
        """Which parts of a record it reads: "dynamics", "snapshot" and "final"."""
        return frozenset(PART_OF_RECORD.get(kind, kind) for kind in self.reads)

    def with_options(self, options: dict) -> "Method":
        """The method as it is with these options: per_class="difficulty" reads the dynamics too."""
        own = self.defaults | options
        wanted = isinstance(own.get("per_class"), str) and own["per_class"] == "difficulty"
        if not wanted or "recall" in self.extras or "per_class" not in self.option_names[1]:
            return self
        return replace(self, extras=(*self.extras, "recall"))

    @property
    def unit(self) -> str:
        """Unit and range of its scores, "in nats, >= 0", as the scorer's docstring says: what
        follows "Scores (n,)," in its Returns. Empty if it does not say it so.
        """
        _, _, returns = (inspect.getdoc(self.scorer) or "").partition("Returns\n-------\n")
        sentence = " ".join(returns.partition("\n\n")[0].split())
        start, _, told = sentence.partition("Scores (n,), ")
        return "" if start else told.partition(";")[0].rstrip(".")

    # ---- its options ----

    @property
    def option_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the scorer's options and of the selector's: (("window",), ("c_d",))."""
        given = {"rng", "labels", "difficulty", *self.extras}

        def names(function):
            parameters = inspect.signature(function).parameters.values() if function else ()
            return tuple(
                p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in given
            )

        return names(self.scorer), names(self.selector)

    @property
    def options(self) -> dict:
        """Every option that has a default, and that default: {"window": 10, "c_d": 4.0}."""
        found = {}
        for function, names in zip((self.scorer, self.selector), self.option_names, strict=True):
            parameters = inspect.signature(function).parameters if function else {}
            for name in names:
                if parameters[name].default is not inspect.Parameter.empty:
                    found[name] = parameters[name].default
        return found | self.defaults

    def options_for(self, dataset: str | None) -> dict:
        """The same, with what was published for that set."""
        return self.options | self.of_set.get(dataset, {})

    def supported_options(self, **some: Any) -> dict:
        """Of these options, those that the method takes."""
        taken = {name for names in self.option_names for name in names}
        return {name: value for name, value in some.items() if name in taken}

    def split_options(self, options: dict) -> tuple[dict, dict]:
        """(the scorer's, the selector's) of these options; ValueError for one it does not take."""
        names = self.option_names
        unknown = sorted(set(options) - set(names[0]) - set(names[1]))
        if unknown:
            taken = ", ".join(names[0] + names[1]) or "none"
            raise ValueError(f"{self.name} takes the settings {taken}; got {', '.join(unknown)}")
        own = self.defaults | options
        scorers, selectors = ({name: own[name] for name in group if name in own} for group in names)
        return scorers, selectors

    def check(self, options: dict, n: int, num_classes: int, prune_ratio: float = 0.5) -> None:
        """ValueError, before any training, if these options cannot choose from such a set."""
        self.split_options(options)
        keep_count(n, prune_ratio)
        for name, value in options.items():
            if isinstance(self.options.get(name), bool) and not isinstance(value, bool):
                raise ValueError(f"{self.name}'s {name} must be true or false; got {value!r}")
        for name in self.counts:
            count = options.get(name, 0)
            if isinstance(count, int) and count >= max(n, 2):
                raise ValueError(
                    f"{self.name}'s {name} must be below {n}, the set's size; got {count}"
                )
        reason = self.refuses and self.refuses(self.options | options, n, num_classes, prune_ratio)
        if reason:
            raise ValueError(reason)

    # ---- what it does ----

    def score(self, evidence: Any, **options: Any) -> Scores | None:
        """The method's Scores, one per sample; None for a method without scores.

        Parameters
        ----------
        evidence : what the record stage left, with its dynamics, snapshot and final; or the one of
            them that the method reads.
        options : those that are not as usual; the selector's are passed over.

        Raises
        ------
        TypeError if the scorer returns something else than Scores, ValueError for another length.
        """
        own = self.split_options(options)[0]
        if self.scorer is None:
            return None
        seen = part_of(evidence, self.evidence)
        scores = self.scorer(seen, **own)
        require_kind(scores, Scores, f"{self.name}'s scorer must return Scores, and")
        if hasattr(seen, "num_samples") and scores.num_samples != seen.num_samples:
            raise ValueError(
                f"{self.name}'s scorer must return a score for each of {seen.num_samples} samples; "
                f"got {scores.num_samples}"
            )
        return scores

    def select(
        self,
        scores: Scores | None,
        keep: int,
        *,
        evidence: Any = None,
        num_samples: int | None = None,
        labels: ArrayLike | None = None,
        rng: int | np.random.Generator,
        **options: Any,
    ) -> Selection:
        """The method's Selection of exactly `keep` samples.

        Parameters
        ----------
        scores : what `score` returned.
        keep : how many samples stay.
        evidence : what the scores were made of, for the selector's extras, as `score` takes it.
        num_samples : the set's size, needed if the method looks at nothing.
        labels : (n,), for class quotas; where there is evidence, they are read from that.
        rng : an int seed or a numpy Generator.
        options : as of `score`, e.g. c_d=5.5 for "dual+beta"; the scorer's are passed over.
        """
        if self.with_options(options) is not self:
            return self.with_options(options).select(
                scores,
                keep,
                evidence=evidence,
                num_samples=num_samples,
                labels=labels,
                rng=rng,
                **options,
            )
        own = self.split_options(options)[1]
        extras = self._extras(evidence)
        recall = extras.pop("recall", None)
        if recall is not None:
            own["per_class"] = recall
        if self.evidence is None and num_samples is None:
            raise ValueError(
                f"{self.name} looks at nothing, so it needs num_samples=, the set's size; got none"
            )
        told = {kind: labels_of(part_of(evidence, kind)) for kind in sorted(self.reads)}
        labels = one_set_of_labels(self.name, {"labels=": labels, **told})
        if "labels" in inspect.signature(self.selector).parameters:
            extras["labels"] = labels
        judgement = num_samples if self.evidence is None else scores
        if self.evidence and self.scorer is None:
            judgement = part_of(evidence, self.evidence)
            require_kind(judgement, Snapshot, self.name)
            judgement = judgement.features if self.selector_input == "features" else judgement
        selection = self.selector(judgement, keep, rng=rng, **extras, **own)
        require_kind(selection, Selection, f"{self.name}'s selector must return a Selection, and")
        if recall is None:
            return selection
        source = recall_in_words(part_of(evidence, "dynamics"))
        told = {"per_class": "difficulty", "recall": recall.tolist(), "recall_of": source}
        return replace(selection, params=selection.params | told)

    def choose(
        self,
        evidence: Any,
        keep: int,
        *,
        num_samples: int | None = None,
        labels: ArrayLike | None = None,
        rng: int | np.random.Generator,
        **options: Any,
    ) -> Selection:
        """score and select at once, with one set of options: the Selection of `keep` samples."""
        return self.select(
            self.score(evidence, **options),
            keep,
            evidence=evidence,
            num_samples=num_samples,
            labels=labels,
            rng=rng,
            **options,
        )

    def note(self, selection: Selection) -> str | None:
        """What a user should be told of this selection, in a sentence; None: nothing."""
        told = [self.remarks(selection) if self.remarks else None, recall_note(selection.params)]
        return "; ".join(sentence for sentence in told if sentence) or None

    def _extras(self, evidence: Any) -> dict:
        parts = {name: part_of(evidence, EXTRAS[name][0]) for name in self.extras}
        lacking = [n for n, part in parts.items() if not isinstance(part, KINDS[EXTRAS[n][0]])]
        if lacking:
            raise ValueError(
                f"{self.name} reads {', '.join(lacking)} from the evidence; got "
                f"{type(evidence).__name__}: pass evidence=, what stages.record left"
            )
        return {name: EXTRAS[name][1](part) for name, part in parts.items()}

    # ---- what it is ----

    def codes(self, identify: Callable[[Callable], str] = identity) -> tuple[str | None, str]:
        """What its scorer and selector are, for keys of a cache: dpkit's by name, others by all
        that they do.

        identify: what tells it of a function; `identity` raises Unknown where it cannot be known.
        """
        selector = identify(self.selector)
        extras = {name: [EXTRAS[name][0], identify(EXTRAS[name][1])] for name in self.extras}
        if is_own(selector) or any(is_own(code) for _, code in extras.values()):
            selector = f"{selector} {storage.key_hash([extras, self.selector_input])}"
        return self.scorer and identify(self.scorer), selector
