"""dpkit: learn dataset pruning and do it. Public names load on first use, so `import dpkit` stays quick."""

from importlib import import_module

_PUBLIC = {
    "records": ["Scores", "Selection", "Snapshot", "TrainingDynamics", "keep_count"],
    "kept_list": ["find_kept", "read_kept"],
    "scorers": ["aum", "dual", "dyn_unc", "eeprune", "el2n", "entropy", "forgetting", "grand", "influence_norm",
                "least_confidence", "margin", "moderate", "tdds"],
    "selectors": ["anneal", "anneal_within", "annealing", "annealing_within", "beta_parameters", "keep_above",
                  "keep_beta", "keep_ccs", "keep_d2", "keep_herding", "keep_kcenter", "keep_nearest_to_centre", "keep_random",
                  "keep_top"],
    "agreement": ["rank_agreement"],
    "vectors": ["OuterVectors"],
    "influence": ["influence_vectors", "outer_influence", "plan_influence"],
    "last_layer": ["fit_last_layer", "with_last_layer"],
    "bounds": ["bound", "predicted_shift"],
    "by_influence": ["anneal_influence", "lone_influence"],
    "data": ["ImageSet", "load"],
    "toys": ["toy_images"],
    "exits": ["EarlyExitNet", "exit_loss", "leave_early"],
    "recorder": ["Recorder", "indexed"],
    "predict": ["evaluate", "take_snapshot"],
    "gradients": ["gradient_norms"],
    "recipe": ["Recipe"],
    "training": ["train"],
    "catalog": ["DATASETS", "METHODS", "MODELS", "make_net", "recipe_for"],
    "trials": ["Trial", "run_trial"],
    "results": ["results_table", "summary"],
    "pruning": ["prune"],
    "sweeps": ["sweep"],
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        try:
            return import_module(f"dpkit.{name}")  # modules too: dpkit.plots
        except ModuleNotFoundError as error:
            if error.name != f"dpkit.{name}":
                raise
            raise AttributeError(f"dpkit has no {name!r}; it has: {', '.join(__all__)}") from None
    value = getattr(import_module(f"dpkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
