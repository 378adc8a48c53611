"""Settings that are checked when they are made: dataclasses of pydantic, their mistakes in plain
sentences.

    @checked
    class Recipe:
        epochs: Annotated[int, Field(ge=1)] = 200

    Recipe(epochs=0)   # InvalidSettings: epochs must be a whole number from 1; got 0

All mistakes are named at once. Nothing is converted: True is no 1, "3" is no 3. What a field takes
is put into words from its type and limits, or is its `description`. A rule about several fields is
a field_validator of the last of them; those before it that are fine are in `info.data`.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import MISSING, field, fields
from functools import partial, wraps
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass


class Mistake(NamedTuple):
    """setting: its name.   missing: whether it is one that was not given at all."""

    setting: str
    sentence: str
    missing: bool = False


class InvalidSettings(ValueError):
    """Settings were refused. mistakes: all of them, each a Mistake; as a text, a line each."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes = list(dict.fromkeys(mistakes))

    def __str__(self) -> str:
        return "\n".join(mistake.sentence for mistake in self.mistakes)


def _as_given(value, check):
    check(value)
    return value


def known_to(find: Callable) -> AfterValidator:
    """For Annotated: a value that `find` accepts; its ValueError says why not."""
    return AfterValidator(lambda value: _as_given(value, find))


Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[float, WrapValidator(_as_given)]  # 1 is not made 1.0: keys and texts hold it


@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def checked(cls: type | None = None, /, **config: Any) -> Any:
    """Decorator: a frozen dataclass whose mistakes are InvalidSettings. config: of pydantic."""
    if cls is None:
        return partial(checked, **config)
    usual = {"strict": True, "extra": "forbid", "validate_default": True, "allow_inf_nan": False}
    made: Any = dataclass(frozen=True, config=cast(ConfigDict, usual | config))(cls)
    make, names = made.__init__, [each.name for each in fields(made)]

    @wraps(make)
    def __init__(self: Any, *args: Any, **settings: Any) -> None:
        try:
            make(self, *args, **settings)
        except ValidationError as refused:
            given = dict(zip(names, args, strict=False)) | settings
            raise InvalidSettings(_mistakes(made, given, refused)) from None

    made.__init__ = __init__
    return made


def _mistakes(cls, given, refused):
    return [_mistake(cls, given, error) for error in refused.errors(include_url=False)]


def _mistake(cls, given, error):
    what, known, kind = cls.__name__.lower(), cls.__pydantic_fields__, error["type"]
    name = error["loc"][0] if error["loc"] else ""
    if isinstance(name, int) and name < len(known):  # given by position
        name = [*known][name]
    value = given.get(name, error["input"])
    if kind == "missing":
        return Mistake(name, f"the {what} needs {name}; it is missing", missing=True)
    if kind == "value_error":
        return Mistake(name, str(error["ctx"]["error"]))
    if kind == "too_short":
        return Mistake(name, f"{name} must have at least one value; the list is empty")
    if kind == "unexpected_keyword_argument":
        return Mistake(name, unknown_names(f"a {what} has no", [name], known))
    if kind == "multiple_argument_values":
        return Mistake(name, f"{name} was given twice, by position and by name: give it once")
    if name not in known:
        return Mistake("", f"a {what} has the settings {', '.join(known)}; got one more: {value!r}")
    return Mistake(name, f"{name} must be {_expected(known[name])}; got {value!r}{_hint(value)}")


def _expected(info: Any) -> str:
    """What a field takes, in words: 'a whole number from 1', '"cosine" or "linear"'."""
    if info.description:
        return info.description
    kinds = get_args(info.annotation) or (info.annotation,)
    if get_origin(info.annotation) is Literal:
        *first, last = [f'"{kind}"' if isinstance(kind, str) else repr(kind) for kind in kinds]
        return f"{', '.join(first)} or {last}"
    words = {int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
    limits = [
        f" {word} {getattr(limit, name)}"
        for limit in info.metadata
        for name, word in (("ge", "from"), ("gt", "above"), ("lt", "and below"))
        if hasattr(limit, name)
    ]
    return words.get(kinds[0], str(kinds[0])) + "".join(limits)


def _hint(value: Any) -> str:
    text = isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+e[+-]?\d+", value)
    return ": write 1.0e-3, not 1e-3" if text else ""  # which YAML takes for text


def unknown_names(words: str, names: Iterable[str], known: Sequence[str]) -> str:
    """A sentence on names that do not exist: "a recipe has no 'epoch'; there are epochs, ..."."""
    near = [match for name in names for match in difflib.get_close_matches(name, known, n=1)]
    return (
        f"{words} {', '.join(map(repr, names))}; there are {', '.join(known) or 'none'}"
        f"{': did you mean ' * bool(near)}{' and '.join(near)}{'?' * bool(near)}"
    )


def non_defaults(settings: Any, always: Collection[str]) -> dict:
    """{field: value} for keys and files: the fields in `always`, and others where they differ from
    their default. So a field that is added later renames nothing that was made without it.
    """
    found = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.name in always or value != _default(each):
            found[each.name] = value
    return found


def _default(each):
    return each.default if each.default_factory is MISSING else each.default_factory()
