"""What a network was made for, so that a second set is measured by the training set's classes.

A network knows its classes by number and its pixels normalised. A second folder numbers the classes
that it happens to hold and is normalised by its own pixels: the same images then come in as others.
`ImageSet.aligned` gives it both from the training set, as `load(path, like=train)` does; a class
that the network does not know is refused.
"""

import warnings
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from dpkit.records import Snapshot

# plain arrays may differ in normalisation by so much of a standard deviation before that is warned
# of
_FAR = 0.1


@dataclass(frozen=True)
class SetFacts:
    """Of an image set: its name, what load read (None: arrays) and its split, class names in order,
    mean, std per channel.
    """

    name: str
    source: str | None
    split: str
    class_names: tuple
    mean: tuple
    std: tuple

    @classmethod
    def of(cls, images: Any) -> "SetFacts":
        return cls(
            images.name,
            images.source,
            images.split,
            tuple(map(str, images.class_names)),
            tuple(images.mean),
            tuple(images.std),
        )

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> "SetFacts | None":
        """Of the set that take_snapshot saw; None where that was not written down."""
        told = snapshot.params.get("set_facts")
        if not isinstance(told, dict) or not {field.name for field in fields(cls)} <= set(told):
            return None
        return cls(
            told["name"],
            told["source"],
            told["split"],
            *(tuple(told[name]) for name in ("class_names", "mean", "std")),
        )

    def params(self) -> dict:
        return asdict(self)


def set_facts_of(net: Any) -> SetFacts | None:
    """The set that make_net made this network for; None for all others.

    What wraps one as its `module` is looked into.
    """
    facts = getattr(net, "made_for", None)
    return facts if facts is not None else getattr(getattr(net, "module", None), "made_for", None)


def check_fits(expected: SetFacts | None, actual: SetFacts | None, what: str) -> None:
    """ValueError if a set that was looked at already has other classes, channels or another
    normalisation than the training set: it can no longer be aligned.

    expected, actual: of the training set and of the set; None where nothing is known, and nothing
                      refused.
    what:             the function that checks, for the message.
    Plain arrays are refused for other class names only; a normalisation far from the network's is
    warned of.
    """
    if expected is None or actual is None:
        return
    check_classes(expected, actual, what)
    if (actual.mean, actual.std) == (expected.mean, expected.std):
        return
    if actual.source is not None:
        raise ValueError(
            f"{what} got {actual.name} normalised by its own mean, {_digits(actual.mean)}, and "
            f"the network knows that of its training set, {_digits(expected.mean)}: "
            f"{_advice(actual)}"
        )
    if any(
        abs(m - m2) > _FAR * s2 or abs(s / s2 - 1) > _FAR
        for m, s, m2, s2 in zip(actual.mean, actual.std, expected.mean, expected.std, strict=True)
    ):
        warnings.warn(
            f"{what} got {actual.name} normalised by its own mean, {_digits(actual.mean)}, which "
            f"is far from that of the training set, {_digits(expected.mean)}: {_advice(actual)}",
            stacklevel=4,
        )


def check_classes(expected: SetFacts, actual: SetFacts, what: str) -> None:
    """ValueError if class k of the set is not the network's, or the channels are not."""
    for k, number in enumerate(class_numbers(expected, actual, what)):
        if number != k:
            raise ValueError(
                f"{what} got {actual.name}, whose class {k} is {actual.class_names[k]!r} where "
                f"the network's is {expected.class_names[k]!r}: {_advice(actual)}"
            )


def class_numbers(
    expected: SetFacts, actual: SetFacts, what: str, present: Collection[int] | None = None
) -> list[int]:
    """The network's number of each of the set's classes, by name.

    expected, actual: of the network and of the set.
    what:             the function that asks, for the message.
    present:          the classes with images; None: all. The others may be unknown, and are 0 then.
    ValueError for a class that the network does not know, and for other channels. Arrays without
    class names have the network's numbers.
    """
    if len(actual.mean) != len(expected.mean):
        raise ValueError(
            f"{what} got {actual.name} with images of {channels(len(actual.mean))}, and the "
            f"network was made for {channels(len(expected.mean))}: convert them"
        )
    unnamed = (
        actual.source is None
        and actual.class_names == _numbers(actual)
        and not any(name.isdigit() for name in expected.class_names)
    )
    names, known = actual.class_names, {name: k for k, name in enumerate(expected.class_names)}
    same_start = names == expected.class_names[: len(names)]
    if same_start or (unnamed and len(names) <= len(known)):
        return list(range(len(names)))
    present = range(len(names)) if present is None else sorted(present)
    lacking = [names[k] for k in present if names[k] not in known]
    if lacking:
        rest, several = len(lacking) < len(present), "class" if len(lacking) == 1 else "classes"
        raise ValueError(
            f"{what} got {actual.name}, which has the {several} {shorten(lacking)} that the "
            f"network was not made for (it knows {shorten(expected.class_names)}): "
            + (
                "leave those images out"
                if rest
                else "make a network for this set, make_net(model, images, seed=0), and train that"
            )
        )
    return [known.get(name, 0) for name in names]


def shorten(names: Collection, most: int = 8) -> str:
    """The names with commas; of many the first ones and how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (
        f" and {len(names) - most:,} more" if len(names) > most else ""
    )


def _advice(actual):
    split = "" if actual.split == "train" else f", split={actual.split!r}"
    names = "" if actual.class_names == _numbers(actual) else ", class_names=class_names"
    call = (
        f"load({actual.source!r}{split}, like=train)"
        if actual.source
        else f"from_arrays(images, labels{names}, like=train)"
    )
    return f"load it with the classes and normalisation of the training set, {call}"


def _numbers(facts):
    """The class names of arrays that were given none."""
    return tuple(map(str, range(len(facts.class_names))))


def channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _digits(values):
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
