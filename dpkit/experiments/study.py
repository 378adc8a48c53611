"""A study of a set of one's own: which of its images can go, how many, and what that costs.

    load_parts ──▶ plan_of ──▶ sweep(trials_of) ──▶ tolerance.losses, best_choice

The story is told in notebooks/your_own_set.ipynb; `dpkit study` runs it.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dpkit import storage
from dpkit.data.named_sets import set_name
from dpkit.experiments.environment import compute_environment
from dpkit.experiments.pruning_source import reading
from dpkit.experiments.study_parts import Parts, from_anywhere, load_parts, loading_of
from dpkit.experiments.study_plan import Plan, Size, batch_size_for, measure_step, plan_study
from dpkit.experiments.sweeps import sweep
from dpkit.experiments.trials import Trial, run_trial
from dpkit.methods.catalog import find_method
from dpkit.nets import builders
from dpkit.records import Selection
from dpkit.storage.identity import identity_or_new
from dpkit.storage.long_work import duration
from dpkit.training.recipe import recipe_for

__all__ = [
    "Parts",
    "check_enough",
    "check_wishes",
    "classes_kept",
    "default_out",
    "from_anywhere",
    "load_parts",
    "loading_of",
    "plan_of",
    "prune_command",
    "reading",
    "run_trials",
    "say_plan",
    "shorter_trials",
    "trials_of",
]


def default_out(data: str | Path) -> Path:
    """Where the report of a study goes."""
    return Path("reports") / f"study-{set_name(data)}"


def plan_of(
    parts: Parts,
    *,
    minutes: float,
    methods: Sequence[str],
    ratios: Sequence[float],
    most: Size,
    model: str = "small_cnn",
    batch_size: int = 0,
    cache: str | Path | None = None,
) -> Plan:
    """The plan for these parts and so many minutes. It lies in the cache: a study that is called
    again has the same plan, and so finds what it has done, however busy the machine is by then.

    Parameters
    ----------
    minutes, methods, ratios, most : as plan_study takes them.
    model : that is watched and retrained.
    batch_size : 0: as suits the network and the set.

    Raises
    ------
    ValueError for methods or ratios that there are not, and for too few minutes.
    """
    check_wishes(minutes, methods, ratios)
    if batch_size < 0:
        raise ValueError(f"batch_size must be at least 1, or 0 for what suits; got {batch_size}")
    n, usual = len(parts.train), recipe_for(model).batch_size
    batch_size = batch_size or batch_size_for(n, usual)
    wishes = {"minutes": minutes, "methods": list(methods), "ratios": list(ratios)}
    asked = wishes | {"batch_size": batch_size, "most": asdict(most)}
    key = asked | {
        "train": parts.train.fingerprint,
        "held_out": parts.held_out.fingerprint,
        "model": identity_or_new(builders.find_builder(model)),
        "around": compute_environment(parts.whole, recipe_for(model)),
        "version": 1,
    }
    file = Path(cache or storage.cache_folder()) / f"study-{storage.key_hash(key)}.json"
    there = storage.read_or_set_aside(file, lambda: Plan.read(storage.read_checked(file)["plan"]))
    if there:
        return there
    builders.check_pixels(model, *parts.whole.images.shape[2:])
    plan = plan_study(
        step_seconds=measure_step(parts.train, model=model, batch_size=batch_size)
        if minutes
        else 0.0,
        num_train=n,
        num_held_out=len(parts.held_out),
        num_all=len(parts.whole),
        most=most,
        batch_size=batch_size,
        minutes=minutes,
        methods=methods,
        ratios=ratios,
    )
    storage.write_json(file, storage.with_checksum({"plan": asdict(plan)}))
    return plan


def check_wishes(minutes: float, methods: Sequence[str], ratios: Sequence[float]) -> None:
    """ValueError for minutes, methods or ratios that no study can have."""
    if not 0 <= minutes < float("inf"):
        raise ValueError(f"minutes must be a number from 0 (as many as it takes); got {minutes}")
    for method in methods:
        find_method(method)
    if not [name for name in methods if name != "random"]:
        raise ValueError("methods needs one besides random, which is only the baseline: add one")
    wrong = [f"{ratio:g}" for ratio in ratios if not 0 < ratio < 1]
    if wrong or not ratios or len({*ratios}) < len(ratios):
        raise ValueError(
            "ratios must be fractions between 0 and 1, each once; got "
            f"{', '.join(wrong or [f'{ratio:g}' for ratio in ratios]) or 'none'}"
        )


def say_plan(plan: Plan, say: Callable[[str], object]) -> None:
    """Tell the plan and its cost, a line each."""
    say(f"the plan: {plan.describe()}")
    if not plan.step_seconds:
        return
    for line in plan.costs():
        say(
            f"  {line['what']}: {line['trainings']:,}, {line['steps']:,} steps, about "
            f"{duration(line['seconds'])}"
        )
    say(
        f"a step takes {1000 * plan.step_seconds:.3g} ms here, and all of it about "
        f"{duration(plan.seconds)}; stopped, the same command goes on"
    )


def trials_of(parts: Parts, plan: Plan, *, model: str = "small_cnn", seed: int = 0) -> list[Trial]:
    """The trials of the sweep, seed by seed: what is cut off by the clock is the last seed.

    seed : the first of the plan's seeds.
    """
    retrain = recipe_for(model, budget="steps", steps=plan.steps, batch_size=plan.batch_size)
    record = recipe_for(model, epochs=plan.record_epochs, batch_size=plan.batch_size)
    cells = [("random", 0.0)]
    cells += [(method, ratio) for ratio in plan.ratios for method in plan.methods]
    return [
        Trial(
            parts.train,
            method,
            ratio,
            seed + k,
            record,
            plan.record_epochs,
            retrain,
            model=model,
            test=parts.held_out,
        )
        for k in range(plan.seeds)
        for method, ratio in cells
    ]


def shorter_trials(
    trials: Sequence[Trial], plan: Plan, method: str, prune_ratio: float
) -> list[Trial]:
    """Those of the trials with this method and ratio, trained for as many passes as everything is,
    not for as many steps: less is kept, so they are shorter.
    """
    return [
        replace(
            trial, retrain=replace(trial.retrain, budget="epochs", steps=None, epochs=plan.passes)
        )
        for trial in trials
        if (trial.method, trial.prune_ratio) == (method, prune_ratio)
    ]


def run_trials(
    trials: Sequence[Trial],
    *,
    workers: int = 0,
    device: str = "auto",
    minutes: float | None = None,
    say: Callable[[str], object] = print,
) -> tuple[list[dict], list[str]]:
    """(the rows of the trials that finished within so many minutes, why others failed).

    workers : processes that train at the same time, as sweep takes them (0: one per GPU or core);
        1: this very process.
    say : called with how far it is, in this process; a sweep has its own line.
    """
    if workers != 1:
        table = sweep(trials, workers=workers or None, device=device, minutes=minutes)
        good = table.failed == ""
        return table[good].to_dict("records"), list(dict.fromkeys(table.failed[~good]))
    rows, failed, told = [], [], time.monotonic()
    until, seconds = told + 60 * (np.inf if minutes is None else minutes), [0.0]
    for k, trial in enumerate(trials):
        begun = time.monotonic()
        left = float(np.mean(seconds)) * (len(trials) - k)
        if begun + seconds[-1] > until:
            break
        if begun - told > 30:
            told = begun
            say(f"{k}/{len(trials)} done, time left: {duration(left)}")
        try:
            rows.append(run_trial(trial, device=device))
        except FloatingPointError as error:  # this training diverged, and others need not
            failed.append(str(error))
        seconds = [one for one in seconds if one] + [time.monotonic() - begun]
    return rows, failed


def check_enough(rows: Sequence[dict], plan: Plan) -> None:
    """ValueError if the clock left too few rows for an interval."""
    seeds = {row["seed"] for row in rows if not row["prune_ratio"]}
    others = {row["seed"] for row in rows if row["prune_ratio"]}
    if min(len(seeds), len(others)) < min(2, plan.seeds):
        raise ValueError(
            f"the minutes ran out after {len(rows)} trainings, too few to compare: the same "
            "command goes on from here"
        )


def classes_kept(
    selections: dict[float, Selection], labels: np.ndarray, class_names: Sequence
) -> list[dict]:
    """What selections leave of the classes: a dict for each, of {prune_ratio: Selection}.

    labels : (n,).   class_names : in the order of the labels.
    """
    names = [str(name) for name in class_names]
    sizes, lines = np.bincount(labels, minlength=len(names)), []
    for ratio, selection in selections.items():
        left = np.bincount(labels[selection.kept], minlength=len(names))
        share = np.where(sizes > 0, left / np.maximum(sizes, 1), np.inf)
        gone = [names[c] for c in np.flatnonzero(share == 0)]
        more = f" and {len(gone) - 10} more" if len(gone) > 10 else ""
        lines.append(
            {
                "pruned": f"{100 * ratio:g} %",
                "classes lost": len(gone),
                "which": ", ".join(gone[:10]) + more,
                "least is kept of": names[share.argmin()],
                "kept of it (%)": 100 * float(share.min()),
            }
        )
    return lines


def prune_command(
    data: str | Path,
    *,
    method: str,
    prune_ratio: float,
    plan: Plan,
    model: str = "small_cnn",
    seed: int = 0,
    loading: dict | None = None,
    mirror: bool = False,
    out: str = "pruned",
) -> str:
    """The command that prunes as the study would, for a shell. loading : as in load_parts."""
    words = ["dpkit", "prune", str(data), "--ratio", f"{prune_ratio:g}", "--method", method]
    words += ["--epochs", str(plan.record_epochs), "--batch-size", str(plan.batch_size)]
    for name, value in (loading or {}).items():
        values = value if isinstance(value, (list, tuple)) else [value]
        words += [f"--{name.replace('_', '-')}", *([] if value is True else map(str, values))]
    words += ["--mirror"] if mirror else []
    words += ["--model", model] if model != "small_cnn" else []
    words += ["--seed", str(seed)] if seed else []
    return shlex.join([*words, "--out", out])
