"""What a function is, for the key of a cache: a short text that changes whenever what the function
does may have changed.

    function of dpkit itself     its name: what it does changes only with the version of a stage
    function of one's own        its name and a hash of its byte code and of all that this reads:
                                 constants, defaults, values of closures, the plain values,
                                 functions, classes and objects that it finds by name, and so on
    what a library brings        its name and the library's version; what one's own code gave it is
                                 followed
    anything else                cannot be known: Unknown. What was made by it must not be taken
                                 from a cache

Byte code, not source: comments and blank lines do not count, two lambdas on a line differ, and a
notebook's cells have it too. It is the same in every process of one version of Python.
"""

import builtins
import copyreg
import functools
import hashlib
import importlib
import importlib.util
import pickle
import struct
import sys
import uuid
import warnings
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from dpkit.storage._bytecode import imports_in, names_read
from dpkit.storage.module_owner import full_names, is_library, is_ours, top, version

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))
# functions of dpkit under the names by which older caches and tables know them
_CALLED_BEFORE = {
    "influence_norm_scores": "lone_influence",
    "influence_selection": "anneal_influence",
}
_HIDDEN = {"eval", "exec", "globals", "__import__"}  # what they reach stands in no byte code
_HEAP_TYPE = 1 << 9  # flag of a class that a `class` statement made, or may have made
_C_PARTS = (
    type(dict.get),
    type(object.__init__),
    type(float.real),
    type(FunctionType.__globals__),
    type(str.maketrans),
)


class Unknown(ValueError):
    """What a function does cannot be known from here; the text says why."""


def identity(function: Callable) -> str:
    """The function's name, and if it is not dpkit's own, a hash of everything that it does; Unknown
    if that cannot be known.
    """
    ours = type(function) is FunctionType and is_ours(
        function.__globals__.get("__name__"), function.__globals__
    )
    if ours and not function.__closure__:
        return _CALLED_BEFORE.get(function.__name__, function.__name__)
    inner: Any = function
    while isinstance(inner, (functools.partial, MethodType, functools._lru_cache_wrapper)):
        if isinstance(inner, functools.partial):
            inner = inner.func
        else:
            inner = getattr(inner, "__func__", None) or getattr(inner, "__wrapped__", None)
    name = getattr(inner, "__name__", type(inner).__name__)
    walk = _Walk(top(getattr(inner, "__module__", None) or type(inner).__module__))
    try:
        if isinstance(inner, BuiltinFunctionType) or (
            not isinstance(inner, (FunctionType, type)) and isinstance(_parts(inner), str)
        ):
            raise Unknown("it is compiled, and its code cannot be read")
        walk.see(function)
    except Exception as error:  # whatever it reads that cannot be taken apart
        why = (
            error
            if isinstance(error, Unknown)
            else f"what it reads cannot be followed, {type(error).__name__}: {error}"
        )
        raise Unknown(f"what {name} does cannot be known: {why}") from error
    return f"{'dpkit.' * ours}{name} {walk.digest.hexdigest()[:20]}"


def is_own(name: str) -> bool:
    """Whether an identity is of something else than a function of dpkit."""
    return " " in name and not name.startswith("dpkit.")


def identity_or_new(function: Callable) -> str:
    """The function's identity; where Unknown, words that are no other's, and a warning, once."""
    try:
        return identity(function)
    except Unknown as error:
        warn_once(f"{error}: nothing that is computed by it is taken from the cache")
        return f"unknown {uuid.uuid4().hex}"


@functools.cache
def warn_once(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def own_classes(net: Any) -> list[str]:
    """Identities, sorted, of the classes in a network that are not dpkit's or a library's."""
    kinds = {type(part) for part in net.modules()}
    return sorted(
        identity(kind)
        for kind in kinds
        if not (top(kind.__module__) == "dpkit" or is_library(kind.__module__))
    )


class _Walk:
    """Feeds a hash with a value and all that it reads. `home`: the library whose own code is
    followed as one's own is.
    """

    def __init__(self, home):
        self.home, self.digest = home, hashlib.sha256()
        # id -> (number, value): what was visited, and what is being taken apart. Kept alive
        # here, or an id would come again
        self.visited, self.unfinished, self.reachable = {}, {}, set()

    def say(self, *words):
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            self.digest.update(struct.pack("<q", len(word)) + word)

    def see(self, value):
        if isinstance(value, _ATOMS) and type(value) in _ATOMS:
            return self.say(type(value).__name__, repr(value))
        look = _LOOKS.get(type(value))
        if look is None:
            look = (
                _Walk.kind
                if isinstance(value, type)
                else _Walk.array
                if isinstance(value, np.ndarray)
                else _Walk.object
            )
        look(self, value)

    def again(self, value: Any, table: dict) -> bool:
        """Whether a value was visited before, which is then all that is said of it: what refers to
        itself comes to an end.
        """
        if id(value) in table:
            self.say("met", table[id(value)][0])
            return True
        table[id(value)] = (len(table), value)
        return False

    # ---- code ----

    def function(self, function):
        if self.again(function, self.visited):
            return
        space = function.__globals__
        module = space.get("__name__")
        if is_ours(module, space) or (self.foreign(module) and vars(sys.modules[module]) is space):
            self.say("function of", module, function.__qualname__, version(module))
            if is_ours(module, space):
                self.see([function.__defaults__, function.__kwdefaults__])
        else:
            self.say("function")
            self.code(function.__code__)
            self.see([function.__defaults__, function.__kwdefaults__])
            self.names(function.__code__, space, function.__builtins__)
        for cell in function.__closure__ or ():
            self.see(cell)
        self.attributes(vars(function))

    def code(self, code):
        self.say(
            "code",
            code.co_code,
            code.co_flags,
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            getattr(code, "co_exceptiontable", b""),
            *code.co_names,
            "",
            *code.co_varnames,
            "",
            *code.co_freevars,
            "",
            *code.co_cellvars,
        )
        for constant in code.co_consts:
            self.code(constant) if isinstance(constant, CodeType) else self.see(constant)

    def names(self, code, space, known):
        """The values of the names that code reads: of its module, of the builtins, and of the
        modules among them.
        """
        found, attributes = names_read(code)
        for name in sorted(found):
            if name in space:
                self.say("global", name)
                self.reached(space[name], attributes)
            elif name in _HIDDEN:
                raise Unknown(f"it calls {name}, and what that reaches cannot be seen")
            elif name not in known or known[name] is not getattr(builtins, name, None):
                self.say("nothing is named", name)
        for name in sorted(
            {
                full
                for level, base, some in imports_in(code)
                for full in full_names(level, base, some, space)
            }
        ):
            try:
                self.reached(importlib.import_module(name), attributes)
            except ImportError:
                self.say("nothing to import", name)

    def reached(self, value, attributes):
        """A value; of a module what code may read of it."""
        if not isinstance(value, ModuleType):
            return self.see(value)
        self.say("module", value.__name__, version(value.__name__))
        if top(value.__name__) == "dpkit" or not self.foreign(value.__name__):
            for name in sorted(attributes):
                if (value, name) not in self.reachable and hasattr(value, name):
                    self.reachable.add((value, name))
                    self.say("attribute", name)
                    self.reached(getattr(value, name), attributes)

    def foreign(self, module: str | None) -> bool:
        return is_library(module) and top(module) != self.home

    def built_in(self, function):
        owner = function.__self__
        if owner is None or isinstance(owner, ModuleType):
            module = function.__module__ or getattr(owner, "__name__", "")
            if not is_library(module):
                raise Unknown(
                    f"it calls {function.__qualname__} of {module}, which is compiled: its code "
                    "cannot be read"
                )
            return self.say("built in", module, function.__qualname__, version(module))
        self.say("method", function.__name__)
        self.see(owner)

    def method(self, method):
        self.say("method")
        self.see(method.__func__)
        self.see(method.__self__)

    def cell(self, cell):
        try:
            value = cell.cell_contents
        except ValueError:
            return self.say("empty")
        self.see(value)

    def wrapped(self, value):
        """What a class body or a decorator holds: the functions inside."""
        self.say(type(value).__name__)
        for name in ("__func__", "fget", "fset", "fdel", "func", "args", "keywords"):
            self.see(getattr(value, name, None))

    def kind(self, kind):
        """A class: by its name if it is a library's, else by its bases and its members."""
        if self.again(kind, self.visited):
            return
        module, name = kind.__module__, kind.__qualname__
        found = functools.reduce(
            lambda space, part: getattr(space, part, None), name.split("."), sys.modules.get(module)
        )
        if (
            found is kind and (top(module) == "dpkit" or self.foreign(module))
        ) or not kind.__flags__ & _HEAP_TYPE:
            return self.say("class of", module, name, version(module))
        self.say("class", kind.__name__)
        self.see([*kind.__bases__, type(kind)])
        for name, value in sorted(vars(kind).items()):
            # what pickle notes, and such
            passing = name.startswith("__") and not isinstance(value, (FunctionType, *_WRAPPED))
            if not passing and name != "_abc_impl":
                self.say("part", name)
                self.see(value)

    # ---- values ----

    def sequence(self, values):
        if self.again(values, self.unfinished):
            return
        self.say(type(values).__name__, len(values))
        for value in values:
            self.see(value)
        self.unfinished.pop(id(values))

    def mapping(self, values):
        if self.again(values, self.unfinished):
            return
        self.say("mapping", len(values))
        for item in values.items():
            self.see(item)
        self.unfinished.pop(id(values))

    def attributes(self, values):
        for name in sorted(values, key=str):
            self.say("attribute", name)
            self.see(values[name])

    def unordered(self, values):
        """Sets come in another order in every process."""
        parts = []
        for value in values:
            part = _Walk(self.home)
            part.see(value)
            parts.append(part.digest.digest())
        self.say(type(values).__name__, *sorted(parts))

    def array(self, array):
        if array.dtype.hasobject:
            self.say("array", array.shape)
            return self.see(array.ravel().tolist())
        self.say("array", array.dtype.descr, array.shape, np.ascontiguousarray(array).tobytes())

    def tensor(self, tensor):
        import torch

        if tensor.layout is not torch.strided or tensor.device.type == "meta":
            raise Unknown(f"it reads a tensor that is {tensor.layout} on {tensor.device}")
        whole = tensor.detach().cpu().contiguous().reshape(-1)
        self.say(
            "tensor",
            tensor.dtype,
            tuple(tensor.shape),
            tensor.device,
            whole.view(torch.uint8).numpy().tobytes(),
        )

    def object(self, value):
        """Any other object as pickle would take it apart: its class, and what it holds."""
        if _is_tensor(value):
            return self.tensor(value)
        if isinstance(value, _C_PARTS):
            return self.say(type(value).__name__, value.__name__)
        if isinstance(value, functools._lru_cache_wrapper):
            return self.see(value.__wrapped__)
        if type(value).__module__.startswith("numba.") and isinstance(
            getattr(value, "py_func", None), FunctionType
        ):
            return self.see([value.py_func, value.targetoptions])
        if self.again(value, self.unfinished):
            return
        try:
            parts = _parts(value)
        except Exception as error:
            raise Unknown(
                f"it reads a {type(value).__name__}, which cannot be compared ({error})"
            ) from None
        if isinstance(parts, str):  # the name under which its module holds it
            module = pickle.whichmodule(value, parts)
            if getattr(sys.modules.get(module), parts, None) is not value or not is_library(module):
                raise Unknown(
                    f"it reads the {type(value).__name__} {parts}, which cannot be compared"
                )
            self.say("named", module, parts, version(module))
        else:
            self.say("object")
            self.see([list(part) if hasattr(part, "__next__") else part for part in parts])
        self.unfinished.pop(id(value))


_WRAPPED = (staticmethod, classmethod, property, functools.cached_property, functools.partialmethod)
_LOOKS = {
    FunctionType: _Walk.function,
    MethodType: _Walk.method,
    BuiltinFunctionType: _Walk.built_in,
    CellType: _Walk.cell,
    CodeType: _Walk.code,
    tuple: _Walk.sequence,
    list: _Walk.sequence,
    dict: _Walk.mapping,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    ModuleType: lambda walk, module: walk.reached(module, ()),
    **dict.fromkeys(_WRAPPED, _Walk.wrapped),
}


def _parts(value):
    """(how to make it, of what, its state, ...) as for pickle; or its name in a module."""
    reduce = copyreg.dispatch_table.get(type(value))
    return reduce(value) if reduce else value.__reduce_ex__(4)


def _is_tensor(value: Any) -> bool:
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)
