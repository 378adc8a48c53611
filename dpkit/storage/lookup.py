"""A name looked up in a table, with a sentence for a name that is not there."""

import difflib
from typing import Any


def find(table: dict, name: str, what: str) -> Any:
    """table[name], or a ValueError that lists what exists."""
    if name not in table:
        near = difflib.get_close_matches(str(name), table, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(table)}{hint}")
    return table[name]
