"""Choosing by scores that were made elsewhere: a method's rule without its own score."""

from dataclasses import replace

from dpkit import selectors
from dpkit.methods.catalog import METHODS, find_method
from dpkit.methods.method import Method
from dpkit.records import Scores, require_kind


def as_given(scores: Scores) -> Scores:
    """The scores themselves."""
    require_kind(scores, Scores, "a choice by given scores")
    return scores


def by_given_scores(method: str | Method | None = None) -> Method:
    """The rule by which this method selects, over Scores that are given.

    Parameters
    ----------
    method : one whose rule is more than to keep the highest, and reads nothing but scores, such as
        "ccs". None: the highest are kept.

    Returns
    -------
    Method that reads "scores", called "top" or "ccs rule".

    Raises
    ------
    ValueError for a method whose rule reads more, or that keeps the highest of its own scores.
    """
    if method is None:
        return Method("scores", as_given, selectors.keep_top, name="top")
    method = find_method(method)
    if not _chooses_by_scores(method):
        able = [name for name, known in METHODS.items() if _chooses_by_scores(known)]
        reason = "reads more than scores, or none"
        if method.scorer and not method.extras:
            reason = "is to keep the highest of its own scores"
        raise ValueError(
            f"{method.name} cannot choose by scores made elsewhere: its rule {reason}. Leave the "
            f"method out, and the highest of yours are kept; other rules are {', '.join(able)}"
        )
    own = method.option_names[1]
    defaults = {name: value for name, value in method.defaults.items() if name in own}
    name = f"{method.name} rule"
    return replace(method, evidence="scores", scorer=as_given, defaults=defaults, name=name)


def _chooses_by_scores(method):
    return bool(method.scorer) and not method.extras and method.selector is not selectors.keep_top
