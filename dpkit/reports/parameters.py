"""The parameters of a notebook: one tagged cell of literals, never executed; strict overrides.

A preset is a file presets/<name>.yaml beside the notebook's folder; it maps a notebook's stem to
its parameters. Everything here happens before a kernel starts, and all mistakes are told at once.
"""

import ast
import difflib
import json
import math
from pathlib import Path
from typing import Any

KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}


class Refused(ValueError):
    """A run that was refused before any kernel started; `mistakes` holds one sentence each."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Text(str):
    """A value as it was typed on the command line; the type of the notebook's default decides how
    it is read.
    """


def parameters_for(
    notebook: str | Path, preset: str | None = None, parameters: dict | None = None
) -> tuple[dict, dict]:
    """Read the notebook's defaults, then lay the preset and then `parameters` over them.

    Returns (all parameters as the notebook will see them, those that were given).
    Raises Refused with every mistake.
    """
    defaults = read_defaults(notebook)
    layers, given = [("", parameters or {})], {}
    mistakes: list[str] = []
    if preset is not None:
        try:
            layers.insert(0, (f"preset {preset!r}: ", read_preset(notebook, preset)))
        except Refused as refused:
            mistakes += refused.mistakes
    for origin, values in layers:
        for name, value in values.items():
            try:
                given[name] = _fit(name, value, defaults)
            except ValueError as error:
                mistakes.append(f"{origin}{error}")
    if mistakes:
        raise Refused(*mistakes)
    return {**defaults, **given}, given


# ---- the notebook's own cell ---------------------------------------------------------------------


def read_notebook(path: str | Path) -> dict:
    """The notebook as plain JSON, each cell's source as one string."""
    path = Path(path)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        old = notebook["nbformat"] < 4
        for cell in [] if old else notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            cell.setdefault("metadata", {})
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        there = sorted(p.name for p in path.parent.glob("*.ipynb"))
        raise Refused(
            f"there is no notebook {path}"
            + (
                f"; beside it are {', '.join(there)}"
                if there
                else "; give the path of a file that ends in .ipynb"
            )
        ) from None
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{path} is not a whole notebook; fetch or save it again") from None
    if old:
        raise Refused(
            f"{path} must be in notebook format 4; it is in format {notebook['nbformat']}: "
            "open it in JupyterLab and save it"
        )
    return notebook


def read_defaults(path: str | Path) -> dict:
    """Names and defaults in the notebook's one cell tagged `parameters`, read, never executed."""
    cells = [
        cell
        for cell in read_notebook(path)["cells"]
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(cells) != 1:
        raise Refused(
            f"{path} must have exactly one code cell tagged 'parameters'; it has {len(cells)}"
        )
    try:
        statements = ast.parse(cells[0]["source"]).body
    except SyntaxError as error:
        raise Refused(
            f"line {error.lineno} of the parameters cell of {path} is not Python: {error.msg}"
        ) from None
    defaults, mistakes = {}, []
    for statement in statements:
        line = ast.unparse(statement).partition("\n")[0]
        found = _assignment(statement)
        if found is None:
            mistakes.append(
                "the parameters cell may only hold lines like `name = literal`; it holds "
                f"`{line}`: move it to the next cell"
            )
            continue
        name, value = found
        if name in defaults or name.startswith("_"):
            mistakes.append(
                "each parameter is named once and without a leading underscore; the cell holds "
                f"`{line}`"
            )
        elif not is_flat(value):
            mistakes.append(
                f"a parameter must be text, a finite number, True, False or a list of those; "
                f"the cell holds `{line}`"
            )
        defaults[name] = value
    if mistakes:
        raise Refused(*mistakes)
    return defaults


def _assignment(statement):
    """(name, value) of a statement `name = literal`, or None for another one."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    try:
        return (target.id, ast.literal_eval(statement.value)) if type(target) is ast.Name else None
    except (ValueError, TypeError):
        return None


def is_flat(value: Any, lists: bool = True) -> bool:
    if type(value) is list and lists:
        return all(is_flat(item, lists=False) for item in value)
    return type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value))


# ---- presets -------------------------------------------------------------------------------------


def read_preset(notebook: str | Path, preset: str) -> dict:
    """What presets/<preset>.yaml says about this notebook; the folder lies beside the notebook or
    one level up.
    """
    import yaml

    notebook = Path(notebook).resolve()
    folders = [parent / "presets" for parent in notebook.parents[:2]]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    known = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if preset not in known:
        raise Refused(
            f"there is no preset {preset!r}; "
            + (
                f"those for {notebook.name} are {', '.join(known)}"
                if known
                else f"{folder} holds none"
            )
        )
    try:
        preset_of = yaml.safe_load(known[preset].read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Refused(f"preset {preset!r} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(preset_of, dict) or not all(
        isinstance(entry, dict | None) for entry in preset_of.values()
    ):
        raise Refused(f"preset {preset!r} must map each notebook's stem to a mapping of parameters")
    if notebook.stem not in preset_of:
        raise Refused(
            f"preset {preset!r} says nothing about {notebook.stem}; it has "
            f"{', '.join(map(str, preset_of))}"
        )
    return preset_of[notebook.stem] or {}


# ---- types ---------------------------------------------------------------------------------------


def _fit(name, value, defaults):
    """`value` with the type of the default called `name`; ValueError says what does not fit."""
    if name not in defaults:
        close = difflib.get_close_matches(str(name), defaults, n=1)
        raise ValueError(
            f"unknown parameter {name!r}; "
            + (f"did you mean {close[0]!r}? " if close else "")
            + f"The notebook has {', '.join(defaults) or 'none'}"
        )
    default = defaults[name]
    kind = type(default)
    read = _read(value, kind) if isinstance(value, Text) else value
    kinds = []
    if kind is list:
        kinds = list(dict.fromkeys(map(type, default))) or [str, bool, int, float]
    if kind is list and type(read) is list and all(_is_one_of(item, kinds) for item in read):
        return [_as_one_of(item, kinds) for item in read]
    if kind is not list and _is_one_of(read, [kind]):
        return _as_one_of(read, [kind])
    each = f" of {' or '.join(KINDS[k] for k in kinds)} each" if kinds and default else ""
    raise ValueError(
        f"parameter {name!r} must be {KINDS[kind]}{each}, like {default!r}; got "
        f"{_shown(value)}{_hint(value, kind)}"
    )


def _hint(value, kind) -> str:
    if kind is float and type(value) is str and type(_read(value, float)) is float:
        return f" (YAML reads {value} as text: write {float(value)})"
    return ""


def _is_one_of(value, kinds) -> bool:
    """Whether its type is exactly one of `kinds`; a whole number may stand for a finite float."""
    if type(value) is float and not math.isfinite(value):
        return False
    return type(value) in kinds or (type(value) is int and float in kinds)


def _as_one_of(value, kinds):
    return value if type(value) in kinds else float(value)


def _read(text, kind):
    """Text from the command line as `kind`, or the text itself where it cannot be read so."""
    import yaml

    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is list:
            try:
                return json.loads(text)  # first, because YAML reads 1e-3 as text
            except ValueError:
                return yaml.safe_load(text)
        return kind(text)
    except (KeyError, ValueError, yaml.YAMLError):
        return str(text)


def _shown(value) -> str:
    if isinstance(value, Text):
        return repr(str(value))
    return f"{value!r} ({KINDS.get(type(value), type(value).__name__)})"
