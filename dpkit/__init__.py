"""dpkit: learn dataset pruning and do it. Names load on first use: `import dpkit` is quick."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # importlib.abc and typing take longer to load than all that is here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


@cache
def _names():
    """(get, names): of what the stub lists. Read late: the command line loads dpkit at once."""
    from lazy_loader import attach_stub

    get, _, names = attach_stub(__name__, __file__)
    return get, names


def __getattr__(name: str) -> object:
    get, names = _names()
    if name == "__version__":
        return _version()
    if name == "__all__":
        return names
    name = _RENAMED.get(name, name)
    if name in names:
        return get(name)
    try:
        # rooms, and modules under the names that they had before 0.9
        return import_module(f"dpkit.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"dpkit.{name}":
            raise
        raise AttributeError(f"dpkit has no {name!r}; it has: {', '.join(names)}") from None


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dpkit")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*_names()[1], *_MOVED})  # the modules of before too: people's notebooks use them


# ---- names of before 0.9, which people's notebooks use -------------------------------------------

_RENAMED = {"anneal_influence": "influence_selection", "lone_influence": "influence_norm_scores"}
_MOVED = {  # a module that lay loose in dpkit/: its place now
    "agreement": "records.agreement",
    "blocks": "storage.blocks",
    "bounds": "influence.generalization",
    "by_influence": "methods.influence",
    "bytecode": "storage._bytecode",
    "catalog": "experiments.catalog",
    "checkpoint": "training.checkpoint",
    "checks": "teaching.checks",
    "clusters": "experiments.clusters",
    "corrupt": "data.label_noise",
    "costs": "experiments.costs",
    "curvature": "influence.hessian",
    "exits": "nets.early_exits",
    "fast_cnn": "nets.fast",
    "folder_layout": "data.folder_layout",
    "gradients": "training.gradients",
    "grids": "experiments.grids",
    "identity": "storage.identity",
    "image_arrays": "data.arrays",
    "image_files": "data.named_sets",
    "image_folder": "data.class_folders",
    "kept_list": "records.kept_list",
    "kinds": "storage.processors",
    "last_layer": "influence.last_layer",
    "leaving": "nets.early_leaving",
    "made_for": "records.set_facts",
    "models": "nets.models",
    "predict": "training.inference",
    "progress": "experiments.progress",
    "pruning": "experiments.pruning",
    "publishing": "experiments.publishing",
    "recipe": "training.recipe",
    "recorder": "training.recorder",
    "refusals": "experiments.exit_checks",
    "report_kernel": "reports.kernel",
    "report_page": "reports.page",
    "report_parameters": "reports.parameters",
    "report_result": "reports.result",
    "results": "experiments.results",
    "solvers": "influence.solvers",
    "stages": "experiments.stages",
    "store": "storage.files",
    "sweeps": "experiments.sweeps",
    "toys": "data.toys",
    "trials": "experiments.trials",
    "two_point": "teaching.two_point",
    "vectors": "records.vectors",
    "welch": "experiments.welch",
    "widgets": "teaching.explorers",
}


class _Finder:
    """Finds `dpkit.checks` at `dpkit.teaching.checks`, and what lies in it too."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        head, _, tail = rest.partition(".")
        if package != "dpkit" or head not in _MOVED:
            return None
        loader = _Found(".".join(filter(None, ["dpkit", _MOVED[head], tail])))
        return ModuleSpec(name, loader)  # type: ignore[arg-type]


class _Found:
    def __init__(self, where):
        self.where = where

    def create_module(self, spec):
        module = import_module(self.where)
        self.spec = module.__spec__  # import replaces it by that of the old name
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec


sys.meta_path.insert(0, _Finder())
