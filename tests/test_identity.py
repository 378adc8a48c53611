"""An edited function is another to every cache, an unchanged one the same in every process, and
dpkit's keep their keys.
"""

import functools
import linecache
import sys
import textwrap
import types
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpkit import scorers, storage
from dpkit.experiments import choosing, exit_checks, stages, sweep_plan, sweep_worker, sweeps
from dpkit.experiments.parcels import pack
from dpkit.experiments.trials import Trial, exits_of
from dpkit.methods import catalog
from dpkit.methods import method as method_module
from dpkit.nets import builders, early_exits
from dpkit.nets.models import small_cnn
from dpkit.records import Scores, TrainingDynamics
from dpkit.storage.identity import Unknown, identity, identity_or_new, is_own
from dpkit.training.loop import Recipe


def cell(source, name="__main__", **known):
    """What a notebook's cell leaves: its names, with the source where inspect would look for it."""
    file = f"<cell {len(linecache.cache)}>"
    source = textwrap.dedent(source)
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    space = {"__name__": name, "np": np, "torch": torch, "functools": functools, **known}
    exec(compile(source, file, "exec"), space)
    return space


def of(source, **known):
    return identity(cell(source, **known)["mine"])


# ---- edited is another, unchanged is the same ----------------------------------------------------

EDITS = {
    "its body": ("def mine(d): return d + 1", "def mine(d): return d - 1"),
    "a number": ("def mine(d): return 0.5 * d", "def mine(d): return 0.25 * d"),
    "a number's kind": ("def mine(d): return d / 1", "def mine(d): return d / 1.0"),
    "a sign of zero": (
        "def mine(d): return np.arctan2(0.0, d)",
        "def mine(d): return np.arctan2(-0.0, d)",
    ),
    "a default": ("def mine(d, w=1): return d + w", "def mine(d, w=2): return d + w"),
    "a keyword's default": (
        "def mine(d, *, w=1): return d + w",
        "def mine(d, *, w=2): return d + w",
    ),
    "what an except catches": (
        """
        def mine(d):
            try: return d.a
            except AttributeError: return 0""",
        """
        def mine(d):
            try: return d.a
            except KeyError: return 0""",
    ),
    "how far a try goes": (
        """
        def mine(d):
            try: x = d()
            except ValueError: x = 1
            return int(x)""",
        """
        def mine(d):
            try:
                x = d()
                return int(x)
            except ValueError: x = 1
            return int(x)""",
    ),
    "a value of the notebook": (
        "scale = 1\ndef mine(d): return scale * d",
        "scale = 2\ndef mine(d): return scale * d",
    ),
    "an array of the notebook": (
        "w = np.ones(3)\ndef mine(d): return w @ d",
        "w = np.arange(3.)\ndef mine(d): return w @ d",
    ),
    "a tensor's place": (
        "w = torch.tensor([1, 2])\ndef mine(d): return w",
        "w = torch.tensor([2, 1])\ndef mine(d): return w",
    ),
    "an array's kind": (
        "w = np.zeros(2, 'f4')\ndef mine(d): return w",
        "w = np.zeros(2, 'i4')\ndef mine(d): return w",
    ),
    "a dict's value": (
        "o = {'a': [1, 2]}\ndef mine(d): return o",
        "o = {'a': [1, 3]}\ndef mine(d): return o",
    ),
    "a function that it calls": (
        "def f(d): return d\ndef mine(d): return f(d)",
        "def f(d): return -d\ndef mine(d): return f(d)",
    ),
    "one that that calls": (
        "def g(d): return d\ndef f(d): return g(d)\ndef mine(d): return f(d)",
        "def g(d): return -d\ndef f(d): return g(d)\ndef mine(d): return f(d)",
    ),
    "one inside it": (
        "def f(d): return d\ndef mine(d): return [f(x) for x in d]",
        "def f(d): return -d\ndef mine(d): return [f(x) for x in d]",
    ),
    "one that calls it back": (
        "def f(d): return mine(d) if d else 1\ndef mine(d): return f(d - 1)",
        "def f(d): return mine(d) if d else 2\ndef mine(d): return f(d - 1)",
    ),
    "a closure": (
        "def make(w): return lambda d: w * d\nmine = make(1)",
        "def make(w): return lambda d: w * d\nmine = make(2)",
    ),
    "a function in a closure": (
        "def make(f): return lambda d: f(d)\nmine = make(lambda d: d)",
        "def make(f): return lambda d: f(d)\nmine = make(lambda d: -d)",
    ),
    "a lambda beside another": (
        "fs = [lambda d: d, lambda d: -d]; mine = fs[0]",
        "fs = [lambda d: d, lambda d: -d]; mine = fs[1]",
    ),
    "partial's argument": (
        "def f(w, d): return w * d\nmine = functools.partial(f, 1)",
        "def f(w, d): return w * d\nmine = functools.partial(f, 2)",
    ),
    "partial's keyword": (
        "mine = functools.partial(np_dual, window=5)",
        "mine = functools.partial(np_dual, window=6)",
    ),
    "partial's function": (
        "mine = functools.partial(lambda d, w: d, w=1)",
        "mine = functools.partial(lambda d, w: -d, w=1)",
    ),
    "under a decorator": (
        """
        def twice(f):
            @functools.wraps(f)
            def g(*a): return 2 * f(*a)
            return g
        @twice
        def mine(d): return d""",
        """
        def twice(f):
            @functools.wraps(f)
            def g(*a): return 2 * f(*a)
            return g
        @twice
        def mine(d): return -d""",
    ),
    "a decorator": (
        "def by(f): return functools.wraps(f)(lambda d: f(d))\n@by\ndef mine(d): return d",
        "def by(f): return functools.wraps(f)(lambda d: -f(d))\n@by\ndef mine(d): return d",
    ),
    "under a library's decorator": (
        "@torch.no_grad()\ndef mine(d): return d",
        "@torch.no_grad()\ndef mine(d): return -d",
    ),
    "under lru_cache": (
        "@functools.lru_cache\ndef mine(d): return d",
        "@functools.lru_cache\ndef mine(d): return -d",
    ),
    "under numba": (
        "import numba\n@numba.njit\ndef f(d): return d\ndef mine(d): return f(d)",
        "import numba\n@numba.njit\ndef f(d): return -d\ndef mine(d): return f(d)",
    ),
    "numba's options": (
        "import numba\n@numba.njit\ndef f(d): return d\ndef mine(d): return f(d)",
        "import numba\n@numba.njit(fastmath=True)\ndef f(d): return d\ndef mine(d): return f(d)",
    ),
    "what an object holds": (
        "class C:\n  def __init__(s, w): s.w = w\n  def __call__(s, d): return s.w\nmine = C(1)",
        "class C:\n  def __init__(s, w): s.w = w\n  def __call__(s, d): return s.w\nmine = C(2)",
    ),
    "an object's method": (
        (
            "class C:\n  def __call__(self, d): return self.f(d)\n  def f(self, d): return d\nmine "
            "= C()"
        ),
        (
            "class C:\n  def __call__(self, d): return self.f(d)\n  def f(self, d): return "
            "-d\nmine = C()"
        ),
    ),
    "an object's property": (
        (
            "class C:\n  @property\n  def w(self): return 1\n  def __call__(s, d): return "
            "s.w\nmine = C()"
        ),
        (
            "class C:\n  @property\n  def w(self): return 2\n  def __call__(s, d): return "
            "s.w\nmine = C()"
        ),
    ),
    "a base's method": (
        (
            "class B:\n  def f(s, d): return d\nclass C(B):\n  def __call__(s, d): return "
            "super().f(d)\nmine = C()"
        ),
        (
            "class B:\n  def f(s, d): return 1\nclass C(B):\n  def __call__(s, d): return "
            "super().f(d)\nmine=C()"
        ),
    ),
    "a method's fixed argument": (
        (
            "class C:\n  def f(s, w, d): return w\n  __call__ = functools.partialmethod(f, "
            "1)\nmine = C()"
        ),
        (
            "class C:\n  def f(s, w, d): return w\n  __call__ = functools.partialmethod(f, "
            "2)\nmine = C()"
        ),
    ),
    "a slot": (
        (
            "class C:\n  __slots__ = ('w',)\n  def __call__(self, d): return self.w\nmine = C(); "
            "mine.w = 1"
        ),
        (
            "class C:\n  __slots__ = ('w',)\n  def __call__(self, d): return self.w\nmine = C(); "
            "mine.w = 2"
        ),
    ),
    "a bound method's object": (
        "class C:\n  w = 1\n  def f(self, d): return self.w\nmine = C().f",
        "class C:\n  w = 2\n  def f(self, d): return self.w\nmine = C().f",
    ),
    "a function's own attribute": (
        "def mine(d): return mine.w\nmine.w = 1",
        "def mine(d): return mine.w\nmine.w = 2",
    ),
    "a network's layer": (
        "class mine(torch.nn.Module):\n  def __init__(s, c, k):\n    super().__init__(); s.n = 8",
        "class mine(torch.nn.Module):\n  def __init__(s, c, k):\n    super().__init__(); s.n = 9",
    ),
    "a set of texts": (
        "def mine(d): return d in {'a', 'bb', 'ccc'}",
        "def mine(d): return d in {'a', 'bb', 'cccc'}",
    ),
    "a name that hides a builtin": (
        "def mine(d): return max(d)",
        "max = min\ndef mine(d): return max(d)",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_changes_what_a_function_does_changes_its_identity(what):
    before, after = (of(source, np_dual=scorers.dual) for source in EDITS[what])
    assert before != after and before == of(EDITS[what][0], np_dual=scorers.dual) and is_own(before)


@pytest.mark.parametrize(
    "before, after",
    [
        (
            "def mine(d): return d + 1",
            "\n\n# a comment\ndef mine(d):\n\n    return (d  # another\n            + 1)",
        ),
        ("w = 1\ndef mine(d): return w", "w = 1; other = 2\ndef mine(d): return w"),
        ("def mine(d: int) -> int: return d", "def mine(d): return d"),
        (
            "class C:\n  a = 1\n  b = 2\n  def __call__(self): return self.a\nmine = C()",
            "class C:\n  b = 2\n  a = 1\n  def __call__(self): return self.a\nmine = C()",
        ),
    ],
)
def test_what_changes_nothing_that_a_function_does_leaves_its_identity(before, after):
    assert of(before) == of(after)


def test_being_called_and_pickled_leaves_the_identity():
    space = cell("""
        import numba, re
        class C:
            def __init__(self): self.w = 2.0
            def __call__(self, d):
                for i in range(50): d = d + i * self.w + f(i)
                return d
        @numba.njit
        def f(i): return 2 * i
        pattern = re.compile("a")
        c = C()
        def mine(d): return pattern, c(d)""")
    before = identity(space["mine"])
    for _ in range(100):  # by now the interpreter has put quicker codes in place
        space["mine"](1.0)
    space["c"].__reduce_ex__(2)  # notes down the class's slots
    assert identity(space["mine"]) == before


def test_an_identity_is_the_same_in_another_process(python, tmp_path):
    own = textwrap.dedent("""
        import functools, torch
        from own_helpers import scale
        import own_helpers
        WORDS = {"one", "two", "three", "four"}
        class C:
            def __call__(self, d): return scale(d) + own_helpers.SHIFT, d in {"a", "bb", "ccc"}
        @torch.no_grad()
        def mine(d): return WORDS, C()(d), [x for x in d]
        """)
    helpers = "SHIFT = 1\ndef scale(d): return 2 * d\n"
    changed = [
        (own, helpers.replace("1", "2")),
        (own, helpers.replace("2", "3")),
        (own.replace("bb", "b"), helpers),
    ]
    folders = []
    for k, (source, more) in enumerate([(own, helpers), *changed, (own, helpers)]):
        folders.append(tmp_path / str(k))
        folders[k].mkdir()
        (folders[k] / "own.py").write_text(source)
        (folders[k] / "own_helpers.py").write_text(more)
    code = """import sys, dpkit.identity as d
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    import own
    assert own.__file__.startswith(folder)
    print(d.identity(own.mine))
    del sys.modules["own"], sys.modules["own_helpers"]
"""
    # hashes of texts differ in each process
    first, *others, moved = python(code, *folders).stdout.splitlines()
    again = python("import json, numpy, random\n" + code, folders[0]).stdout.splitlines()
    assert [first] == again == [moved] and first.startswith("mine ")
    assert len({first, *others}) == 4


def test_a_library_is_the_same_before_and_after_it_is_imported(python):
    code = """{}
from dpkit.identity import identity
def mine(d):
    from colorsys import rgb_to_hsv
    return rgb_to_hsv(d, d, d)
print(identity(mine))"""
    assert python(code.format("")).stdout == python(code.format("import colorsys")).stdout != ""


@pytest.mark.parametrize(
    "source",
    [
        "import helpers\ndef mine(d): return helpers.f(d)",
        "import helpers as h\ndef mine(d): return [h.f(x) for x in d]",
        "from helpers import f\ndef mine(d): return f(d)",
        "def mine(d):\n  import helpers\n  return helpers.f(d)",
        "def mine(d):\n  from helpers import f\n  return f(d)",
        (
            "import helpers\ndef other(d): return helpers.unused\ndef mine(d): return other(d), "
            "helpers.f(d)"
        ),
    ],
)
def test_a_module_of_ones_own_is_followed_as_far_as_it_is_read(source, monkeypatch):
    def identity_with(**parts):
        helpers = types.ModuleType("helpers")
        vars(helpers).update(
            cell("def f(d): return 1\ndef g(d): return 2\nunused = 3", name="helpers") | parts
        )
        monkeypatch.setitem(sys.modules, "helpers", helpers)
        return of(source)

    assert identity_with() == identity_with(g=None) != identity_with(f=lambda d: 5)


# ---- whose a function is -------------------------------------------------------------------------


def test_dpkits_own_are_known_by_name_and_what_looks_like_them_is_not():
    assert (
        identity(scorers.dual) == "dual"
        and identity(small_cnn) == "small_cnn"
        and not is_own("dual")
    )

    @functools.wraps(scorers.dual)
    def wrapped(dynamics, **more):
        return scorers.dual(dynamics, **more)

    spoofed = cell("def dual(d): return 1", name="dpkit.scorers.dual")["dual"]
    for function in (wrapped, spoofed, functools.partial(scorers.dual, window=5)):
        assert identity(function).startswith("dual ") and is_own(identity(function))
    losses = {identity(early_exits.exit_loss(weights)) for weights in (None, (1, 2), (2, 1))}
    assert len(losses) == 3 and not any(map(is_own, losses))


def test_a_changed_default_of_dpkits_counts_for_who_calls_it(monkeypatch):
    source = "import dpkit\ndef mine(d): return dpkit.dual(d)"
    before = of(source), of("def mine(d): return f(d)", f=scorers.dual)
    monkeypatch.setattr(scorers.dual, "__kwdefaults__", {"window": 5})
    assert all(
        one != other
        for one, other in zip(before, (of(source), of("def mine(d): return f(d)", f=scorers.dual)))
    )


@pytest.mark.parametrize(
    "function, why",
    [
        (len, "compiled"),
        (np.exp, "compiled"),
        (np.mean, "compiled"),
        (torch.relu, "compiled"),
        ("def mine(d): return eval('d')", "it calls eval"),
        ("def mine(d): return globals()['f'](d)", "it calls globals"),
        ("g = (i for i in (1, 2))\ndef mine(d): return next(g)", "it reads a generator"),
        (
            "import threading\nlock = threading.Lock()\ndef mine(d):\n  with lock: return d",
            "it reads a lock",
        ),
        (
            "def make(f): return lambda d: f.read()\nmine = make(open('/dev/null'))",
            "it reads a TextIOWrapper",
        ),
        (
            (
                "class C:\n  def __call__(self, d): return d\n  def __reduce_ex__(self, p): raise "
                "RuntimeError('no')\nmine = C()"
            ),
            "no",
        ),
        ("f = np.frompyfunc(lambda x: x, 1, 1)\ndef mine(d): return f(d)", "it reads the ufunc"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_known_is_said_to_be(function, why):
    with pytest.raises(Unknown, match=f"what .* does cannot be known: .*{why}"):
        identity(cell(function)["mine"] if isinstance(function, str) else function)


def test_what_cannot_be_known_is_never_found_again_and_is_warned_of_once():
    unsure = cell("g = (i for i in (1, 2))\ndef mine_once(d): return next(g)")["mine_once"]
    with pytest.warns(
        UserWarning,
        match="mine_once does cannot be known: .*: nothing that is computed by it is taken from",
    ):
        first = identity_or_new(unsure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert identity_or_new(unsure) != first


# ---- the keys of the stages and sweeps -----------------------------------------------------------

AROUND = {"device": "cpu", "processor": "one", "precision": "fp32", "torch": "2"}
CELL = Trial("digits", "dual", 0.5, 3, Recipe(epochs=12, lr=0.05), 11, Recipe(epochs=2))
# names of the record, score and selection, of a sweep's row and of its record, from before others'
# functions were told apart
KEYS = {
    ("random", "resnet18"): [
        "record-09732ff1e42cd6a7e57d",
        None,
        "select-fce2344aa67ccb1c6042",
        "211e3c3c69175d262bcd",
        None,
    ],
    ("dual+beta", "small_cnn"): [
        "record-da93859a0e531eade970",
        "score-c768223f573340593079",
        "select-c31e1389915af2f9f84a",
        "f39ea9ca4eb0c0bad708",
        "8aac051e83beae2ea092",
    ],
    ("d2", "resnet50"): [
        "record-ce98096fd23f8c546d9c",
        "score-f75ae921f7a86bab30e3",
        "select-dad3852432e6e6988a46",
        "ead61e925551ba51b1e3",
        "364e3f90f802efc605fa",
    ],
    ("eeprune", "small_cnn"): [
        "record-6fc8d21e179b020eed44",
        "score-c3278612402f094d65cf",
        "select-65ac0ae5dc12fb1c2f3e",
        "d224ea85ce589f32e823",
        "7a799ebce25062954434",
    ],
    ("influence", "small_cnn"): [
        "record-da93859a0e531eade970",
        None,
        "select-75e779fa30b62ae4df39",
        "0edc585795da83c8c4a0",
        "8aac051e83beae2ea092",
    ],
    ("el2n", "mobilenet_v3_small"): [
        "record-c52aa3eaf1f59245911f",
        "score-9c891a4168d6a33fd50b",
        "select-b6658a3c1711a827e59b",
        "970aaf525ed07f6dc581",
        "03a203c6de9bfef9aa99",
    ],
}


@pytest.fixture
def names(monkeypatch, set_version):
    """names(trial): what its record, score and selection, its row in a sweep and the record of that
    are called.
    """

    class Named(Exception):
        pass

    def stop(folder, key, work, read):
        raise Named(folder.name)

    def name_of(stage, *arguments, **more):
        try:
            return stage(*arguments, **more)[2]
        except Named as named:
            return named.args[0]

    for module in (stages, choosing):
        monkeypatch.setattr(module, "done_once", stop)
    monkeypatch.setattr(stages, "compute_environment", lambda images, recipe: AROUND)
    for stage, version in {"record": 2, "score": 1, "select": 1, "retrain": 1}.items():
        set_version(stage, version)

    def names(trial):
        evidence = SimpleNamespace(folder=Path("record-of-it"), name="record-of-it")
        images, exits = (
            SimpleNamespace(fingerprint="pixels"),
            {"exits": (1,)} if exits_of(trial) else {},
        )
        record = stages.record_location(
            images, model=trial.model, recipe=trial.record, epochs=11, seed=3, cache="c", **exits
        )[1].name
        score = name_of(stages.score, trial.method, evidence, options={}, cache="c")
        select = name_of(
            stages.select,
            trial.method,
            evidence,
            5,
            labels=np.arange(10),
            seed=3,
            options={},
            cache="c",
            scored=(None, None, Path("score-of-it")),
        )
        row = sweep_plan.cell_of(
            trial, {"n": 10, "images": "pixels", "test": "test", "around": {"auto": AROUND}}
        )
        return [record, score, select, row.name, row.record]

    return names


@pytest.mark.parametrize("method, model", KEYS)
def test_what_dpkits_own_functions_computed_is_still_found(names, method, model):
    assert names(replace(CELL, method=method, model=model)) == KEYS[method, model]


def test_a_retraining_of_dpkits_own_network_is_still_found(names, tmp_path):
    images, test = (SimpleNamespace(fingerprint=name, facts=None) for name in ("pixels", "test"))
    test.aligned = lambda facts, what: test
    storage.write_json(tmp_path / "retrain-d72c42f0b9ed2ad2d966.json", {"row": {"accuracy": 0.5}})
    row = stages.retrain(
        images,
        test,
        SimpleNamespace(kept=np.arange(5)),
        model="small_cnn",
        recipe=CELL.retrain,
        seed=3,
        cache=tmp_path,
    )
    assert row["accuracy"] == 0.5 and row["from_cache"]


SCORER = "def mine(dynamics, *, window=10): return {0} * dynamics.mean_prob()"
SELECTOR = "def mine(scores, keep, *, rng): return {0}"
BUILD = "def mine(channels, classes): return {0}"


@pytest.mark.parametrize(
    "what, differ",
    [
        ("scorer", [1, 3]),
        ("selector", [2, 3]),
        ("model", [0, 3, 4]),
        ("extra", [2, 3]),
        ("judges", [2, 3]),
    ],
)
def test_an_edited_part_of_a_trial_changes_the_keys_of_its_stages(names, monkeypatch, what, differ):
    usual = catalog.METHODS["dual"]

    def trial_of(version):
        if what == "model":
            monkeypatch.setitem(builders.MODELS, "mine", cell(BUILD.format(version))["mine"])
            return names(replace(CELL, model="mine"))
        judges = ("features", "snapshot")[version] if what == "judges" else "features"
        changes = {"selector_input": judges}
        if what in ("scorer", "selector", "judges"):
            part = "scorer" if what == "scorer" else "selector"
            changes[part] = cell(
                (SCORER if what == "scorer" else SELECTOR).format(version * (what != "judges"))
            )["mine"]
        if what == "extra":
            monkeypatch.setitem(
                method_module.EXTRAS,
                "mean_prob",
                ("dynamics", cell(f"def mine(d): return {version}")["mine"]),
            )
            changes["extras"] = ("mean_prob",)
        monkeypatch.setitem(catalog.METHODS, "mine", replace(usual, **changes))
        trial = object.__new__(Trial)  # as a worker has it: not checked again
        for name, value in {**vars(CELL), "method": "mine"}.items():
            object.__setattr__(trial, name, value)
        return names(trial)

    one, again, other = trial_of(0), trial_of(0), trial_of(1)
    assert one == again and [k for k in range(5) if one[k] != other[k]] == differ


def test_a_network_of_dpkits_under_anothers_name_is_itself(names, monkeypatch):
    monkeypatch.setitem(builders.MODELS, "small_cnn", builders.MODELS["resnet18"])
    assert (
        names(CELL)[0]
        == names(replace(CELL, model="resnet18"))[0]
        != KEYS["dual+beta", "small_cnn"][0]
    )


def test_the_stages_of_an_edited_network_are_counted_anew(monkeypatch):
    def with_stages(n):
        monkeypatch.setitem(builders.MODELS, "mine", lambda c, k: SimpleNamespace(stages=range(n)))
        exit_checks.check_exits(catalog.METHODS["eeprune"], "mine", (2,), ())

    with_stages(4)
    with pytest.raises(ValueError):
        with_stages(2)


def test_a_worker_with_another_method_makes_no_row(names, monkeypatch, tmp_path, digits):
    monkeypatch.setattr(stages, "load_sets", lambda *arguments: (digits, digits))
    here = {"images": digits.fingerprint, "test": digits.fingerprint, "around": AROUND}
    monkeypatch.setitem(
        catalog.METHODS, "mine", replace(catalog.METHODS["dual"], scorer=scorers.dyn_unc)
    )
    trial = replace(CELL, method="mine")
    here["functions"] = sweep_worker.functions_of(trial)

    def edited():
        monkeypatch.setitem(
            catalog.METHODS,
            "mine",
            replace(catalog.METHODS["dual"], scorer=cell(SCORER.format(2))["mine"]),
        )

    edited()
    for stage in ("record", "score", "select", "retrain"):
        found = sweep_worker.run_stage(stage, pack(trial), None, str(tmp_path), "cpu", here)
        assert (
            "has another mine or small_cnn than the process that asked" in found.reason
            and found.transient
        )


def test_a_sweep_of_what_cannot_be_known_is_refused_before_any_training(monkeypatch, tmp_path):
    space = cell(
        "def mine(dynamics): return Scores(dynamics.mean_prob() + next(g), 'mine')",
        Scores=Scores,
        g=(i for i in range(99)),
    )
    monkeypatch.setitem(
        catalog.METHODS, "mine", replace(catalog.METHODS["dual"], scorer=space["mine"])
    )
    with pytest.raises(ValueError, match="what mine does cannot be known: it reads a generator"):
        sweeps.sweep(
            [replace(CELL, method="mine", num_samples=60)],
            out=tmp_path / "out",
            cache=tmp_path,
            device="cpu",
        )
    assert not (tmp_path / "out").exists()


# ---- what a user sees ----------------------------------------------------------------------------


def record(n=40, epochs=12):
    prob = np.random.default_rng(0).random((n, epochs))
    return TrainingDynamics(prob, prob, prob > 0.5, np.arange(n) % 2)


def chosen(monkeypatch, tmp_path, scorer):
    monkeypatch.setitem(catalog.METHODS, "mine", replace(catalog.METHODS["dual"], scorer=scorer))
    evidence = stages.Evidence(record(), None, None, tmp_path / "record-1")  # as if it lay there
    found = stages.select(
        "mine", evidence, 10, labels=np.arange(40) % 2, seed=0, options={}, cache=tmp_path
    )
    return found[0].kept.tolist()


def test_a_method_that_was_edited_in_a_notebook_chooses_anew(monkeypatch, tmp_path):
    source = "def mine(dynamics): return Scores({} * dynamics.mean_prob(), 'mine')"
    easy, hard, again = (
        chosen(monkeypatch, tmp_path, cell(source.format(sign), Scores=Scores)["mine"])
        for sign in (1, -1, 1)
    )
    ease = record().mean_prob()
    assert easy == again == sorted(np.argsort(ease)[-10:]) and hard == sorted(np.argsort(ease)[:10])
    assert len(list(tmp_path.glob("score-*"))) == 2


def test_a_method_that_cannot_be_known_is_computed_anew_every_time(monkeypatch, tmp_path):
    space = cell(
        "def mine(dynamics): return Scores(next(signs) * dynamics.mean_prob(), 'mine')",
        Scores=Scores,
        signs=(sign for sign in (1, -1)),
    )
    with pytest.warns(UserWarning, match="nothing that is computed by it is taken from the cache"):
        easy = chosen(monkeypatch, tmp_path, space["mine"])
    assert not set(easy) & set(chosen(monkeypatch, tmp_path, space["mine"]))
