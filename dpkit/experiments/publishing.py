"""Measured tables as folders that others can check: rows, scores, kept sets and their making.

rows.csv       a line per training; its `kept` and `scores` say where the two below are
kept.npy       (rows, n/8 rounded up) uint8: line k holds the kept set of row k, a bit per
               sample (numpy.packbits)
scores/        <name>-seed<k>.npy, (n,) float32, higher = more worth keeping
table.md       accuracy in percent, mean ± standard deviation over the seeds, and differences
               to random
accuracy.png   the same as a picture
manifest.json  command, seeds, machine, versions, notes, and the SHA-256 of every file
"""

import ast
import csv
import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpkit import plots, storage
from dpkit.data.image_set import ImageSet
from dpkit.experiments import stages
from dpkit.experiments.results import (
    KIND,
    accuracy_table,
    kinds_of,
    label,
    labelled,
    load_outcomes,
    results_table,
    summary,
)
from dpkit.experiments.trials import Outcome, Trial, exits_text, own_code_of, settings_of
from dpkit.methods.catalog import METHODS
from dpkit.methods.method import options_in_words
from dpkit.nets.builders import model_name
from dpkit.reports.result import count
from dpkit.storage.processors import kind_of, listed
from dpkit.storage.provenance import machine, versions
from dpkit.training.loop import Recipe

SCHEMA = 1
# what made the rows that do not tell their stages' versions
_BEFORE = "record 1 score 1 select 1 retrain 1"


def publish(
    folder: str | Path,
    outcomes: Iterable[Outcome],
    *,
    title: str,
    command: str,
    notes: Iterable[str] = (),
    settings: dict | None = None,
    tables: dict | None = None,
    device: str = "cpu",
) -> Path:
    """Write outcomes as a folder that others can check, whole or not at all.

    An earlier one of this title is replaced.

    Parameters
    ----------
    folder : where.
    outcomes : of trials.outcome_of.
    title : of the table.
    command : what to type to make it again.
    notes : footnotes, printed under the table.
    settings : what else the rows depend on, for the manifest.
    tables : {title: lines (dicts)} of what else was measured on these trials, printed below the
        differences and kept in the manifest, so that every number that is quoted has a row.
    device : for the manifest's machine.

    Returns
    -------
    The folder's path.

    Raises
    ------
    FileExistsError if `folder` holds anything else: a table of another title, or a file that is not
    the table's.
    """
    folder = Path(folder)
    before = storage.read_manifest(folder)
    if before.get("kind") == KIND and before.get("title") != title:
        raise FileExistsError(
            f"{folder} holds the table {before.get('title')!r}, and this one is {title!r}; name "
            "another folder, or move that one away"
        )
    with storage.whole_folder(folder, kind=KIND) as part:
        rows, masks = [], []
        known: dict[str, str] = {}
        (part / "scores").mkdir()
        for k, outcome in enumerate(outcomes):
            masks.append(np.packbits(outcome.selection.mask()))
            # of no interest elsewhere
            row = {name: value for name, value in outcome.row.items() if name != "from_cache"}
            rows.append(row | {"kept": k, "scores": _write_scores(part, outcome, known)})
        np.save(part / "kept.npy", np.stack(masks), allow_pickle=False)
        with open(part / "rows.csv", "w", newline="", encoding="utf-8") as file:
            # an older result lacks some
            columns = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        # numpy's numbers become Python's
        tables = json.loads(json.dumps(tables or {}, default=storage.plain))
        _write_page(part, rows, title, command, notes, tables)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        storage.write_json(
            part / "manifest.json",
            {
                "kind": KIND,
                "schema": SCHEMA,
                "title": title,
                "command": command,
                "settings": settings or {},
                "seeds": sorted({row["seed"] for row in rows}),
                "notes": list(notes),
                "tables": tables,
                "machine": machine(device),
                "versions": versions(),
                "sha256": {
                    path.relative_to(part).as_posix(): storage.file_hash(path) for path in files
                },
            },
        )
    return folder


def rewrite(folder: str | Path) -> Path:
    """Write table.md and accuracy.png of a published table again from its own rows.

    For a table that an older dpkit wrote. Rows, scores, kept sets and what the manifest says of
    them stay; only the hashes of the two files change.

    Raises
    ------
    ValueError if the folder is no published table, or its rows are not the published ones.
    """
    folder = Path(folder)
    rows, manifest = results_table(folder).to_dict("records"), storage.read_manifest(folder)
    with storage.whole_folder(folder, kind=KIND) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        _write_page(
            part,
            rows,
            manifest["title"],
            manifest["command"],
            manifest["notes"],
            manifest.get("tables", {}),
        )
        manifest["sha256"] |= {
            name: storage.file_hash(part / name) for name in ("table.md", "accuracy.png")
        }
        storage.write_json(part / "manifest.json", manifest)
    return folder


def published(
    trials: Iterable[Trial],
    folders: Iterable[str | Path],
    images: ImageSet,
    test: ImageSet,
    *,
    other_kinds: bool = False,
) -> tuple[list[Outcome], list[Trial]]:
    """(outcomes of those trials that stand in published tables, the trials that are left to run).

    So that work finished on this kind of processor (or GPU) is not done again, whatever the
    precision and torch: its row says so. On another kind the same seed is nearly another seed, and
    all trials are left to run.
    other_kinds: also take rows of other kinds, or that do not tell theirs: the table is then a
                 mixed one, and says so.
    folders: of publish; one that is not there is passed over.
    images:  the ImageSet of the trials; a table that was made of other images, or by stages whose
             numbers have changed since, counts for nothing. A trial is a row's if all that the row
             depends on is the same; what a table does not say counts as different. Where two rows
             fit, the first counts.
    test:    the ImageSet that they are tested on; the first tables did not tell theirs.
    """
    found: dict = {}
    others: dict = {}
    here = stages.compute_environment(images, Recipe())["processor"]
    for folder in filter(lambda folder: (Path(folder) / "manifest.json").exists(), folders):
        said = storage.read_manifest(folder).get("settings", {})
        if (
            said.get("data") == images.fingerprint
            and said.get("test", test.fingerprint) == test.fingerprint
        ):
            for outcome in load_outcomes(folder):
                told = {
                    name: value for name, value in outcome.row.items() if value not in (None, "")
                }
                row = (
                    {"versions": _BEFORE, "options": "", "code": "", "record_model": ""}
                    | said
                    | told
                )
                if row["method"] in METHODS and stages.has_current_numbers(row["versions"]):
                    (found if kind_of(row) == here else others).setdefault(
                        _what_was_run(row), outcome
                    )
    found = others | found if other_kinds else found
    there, left = [], []
    for trial in trials:
        own = {
            "snapshot_epoch": trial.snapshot_epoch,
            "best_every": trial.best_every,
            "settings": settings_of(trial),
            "exits": exits_text(trial),
        }
        code = own_code_of(trial)
        what = _what_was_run(
            trial.plain()
            | {"record_model": model_name(trial.record_model)}
            | own
            | {
                "code": code,
                "num_samples": trial.num_samples or len(images),
                "record": trial.record.describe(),
                "retrain": trial.retrain.describe(),
            }
        )
        if what in found:
            told = {
                name: value for name, value in found[what].row.items() if value not in (None, "")
            }
            # what the row itself tells stays; an older one lacks some
            there.append(
                replace(found[what], row=found[what].row | {"versions": _BEFORE} | own | told)
            )
        else:
            left.append(trial)
    return there, left


def _what_was_run(row) -> tuple:
    method = METHODS.get(row["method"])
    needed = method.reads if method else frozenset(["dynamics", "snapshot", "final", "exits"])
    names = [
        "dataset",
        "num_samples",
        "model",
        "method",
        "prune_ratio",
        "seed",
        "retrain",
        "best_every",
        "code",
    ]
    names += ["record", "record_epochs", "record_model"] * bool(needed) + ["snapshot_epoch"] * (
        "snapshot" in needed
    )
    names += ["exits"] * ("exits" in needed)
    if "settings" in row:
        settings = json.loads(row["settings"])
    else:  # what was given, and the usual ones
        settings = (method.options if method else {}) | {
            name: _plain(value)
            for name, _, value in (word.partition("=") for word in row["options"].split())
        }
    return (*(row.get(name, f"{name} is not told") for name in names), *sorted(settings.items()))


def _plain(word):
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


# ---- the folder ----------------------------------------------------------------------------------


def _write_scores(part, outcome, known) -> str:
    """Write the scores once, whoever else selected by them; their path in the folder, or "" where
    there are none.
    """
    if outcome.scores is None:
        return ""
    values = outcome.scores.values.astype(np.float32)
    key = storage.key_hash([outcome.scores.name, outcome.row["seed"], values.tobytes().hex()])
    if key not in known:
        stem, taken = f"{outcome.scores.name}-seed{outcome.row['seed']}", set(known.values())
        names = [
            f"scores/{stem}{more}.npy"
            for more in ["", *(f"-{i}" for i in range(2, 2 + len(taken)))]
        ]
        known[key] = next(name for name in names if name not in taken)
        np.save(part / known[key], values, allow_pickle=False)
    return known[key]


def _write_page(part, rows, title, command, notes, tables):
    (part / "table.md").write_text(_page(rows, title, command, notes, tables), encoding="utf-8")
    _draw(rows, title, part / "accuracy.png")


def _page(rows, title, command, notes, tables) -> str:
    seeds = sorted({row["seed"] for row in rows})
    cells = [
        f"# {title}",
        f"`{command}`",
        *filter(None, [kinds_of(rows)]),
        "Test accuracy in percent after the last step, mean ± standard deviation over "
        f"{len(seeds)} seeds of recording, selection and retraining.",
    ]
    for name, some in (parts := configurations(rows)).items():
        cells += [f"Trained: {name}"] * (len(parts) > 1) + [
            _markdown(accuracy_table(some, seeds=len(seeds)))
        ]
    lines = summary(rows)
    if len(parts) > 1:
        lines["trained"] = lines["model"] + ", " + lines["retrain"]
    cells += _differences(lines[(lines["pairs"] > 0) | (lines["reason"] != "")])
    for name, table in tables.items():
        cells += [
            f"{name[:1].upper()}{name[1:]}:",
            _markdown(
                [
                    {
                        key: f"{value:.3g}" if isinstance(value, float) else value
                        for key, value in line.items()
                    }
                    for line in table
                ]
            ),
        ]
    varied = {row["method"] for row in rows if label(row) != row["method"]} & {
        label(row) for row in rows
    }
    usual = [
        f"`{method}` with no setting named has the usual "
        f"{options_in_words(METHODS[method].defaults)}."
        for method in sorted(varied)
        if method in METHODS and METHODS[method].defaults
    ]
    return "\n\n".join([*cells, *usual, *notes]) + "\n"


def configurations(rows: Sequence[Mapping]) -> dict[str, list]:
    """The rows by what was trained, {"fast_cnn, 3900 steps": rows}: by network, and by recipe where
    one seed has several.

    (Where the recipe differs only between ratios, as in a paper with smaller batches at higher
    ones, it is one.)
    """
    parts: dict[str, list] = {}
    for row in rows:
        parts.setdefault(row["model"], []).append(row)
    for model, some in list(parts.items()):
        cells = {(label(row), row["prune_ratio"], row["seed"], kind_of(row)) for row in some}
        if len(cells) < len(
            {
                (label(row), row["prune_ratio"], row["seed"], kind_of(row), row.get("retrain"))
                for row in some
            }
        ):
            del parts[model]
            for row in some:
                parts.setdefault(f"{model}, {row['retrain']}", []).append(row)
    return parts


def _differences(lines) -> list[str]:
    """The lines of results.summary with a difference, or a reason for none, as paragraphs."""
    given, rest, words = (
        lines[lines["pairs"] > 0],
        lines[lines["pairs"] == 0],
        "Difference to random, in points",
    )
    cells = [f"{words}:"] if len(given) else []
    if tests := given["p"].notna().sum():
        cells = [
            f"{words}: of the means over the seeds, with Welch's 95 % interval. What survives "
            f"Holm's correction over this table's {count(range(tests), 'interval')} is called "
            "ahead or behind; of the others these seeds cannot tell. Detectable: the least "
            "difference that an interval of such spreads tells from 0, before the correction."
        ]
    if len(given):
        cells.append(_markdown([_difference(line) for line in given.itertuples()]))
    for kind, some in rest.groupby("processor", sort=False):
        methods = [
            f"{method} at {listed([f'{100 * ratio:g}' for ratio in here['prune_ratio']])} %"
            for method, here in some.groupby("method", sort=False)
        ]
        ratios = listed([f"{100 * ratio:g}" for ratio in some["prune_ratio"].unique()])
        cells.append(
            f"No difference to random is given for {listed(methods)}: there are no rows of random "
            f"at {ratios} %" + f"{f' from {kind}' if kind else ''}."
        )
    return cells


def _difference(line) -> dict:
    # an error of NaN, unequal to itself: there is no interval
    gap = f"{line.difference:+.1f}" + (
        f" [{line.low:+.1f}, {line.high:+.1f}]" if line.error == line.error else ""
    )
    trained = {"trained": line.trained} if hasattr(line, "trained") else {}
    return trained | {
        "pruned": f"{100 * line.prune_ratio:g} %",
        "method": line.method,
        "minus random": gap,
        "after Holm": line.holm or line.reason,
        "detectable": f"{line.detectable:.1f}" if line.error == line.error else "",
    }


def _markdown(table) -> str:
    columns = list(dict.fromkeys(name for line in table for name in line))
    lines = [
        columns,
        ["---"] * len(columns),
        *([line.get(name, "") for name in columns] for line in table),
    ]
    return "\n".join(
        "| "
        + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line)
        + " |"
        for line in lines
    )


def _draw(rows, title, path):
    from matplotlib.figure import Figure

    parts = configurations(rows)
    many = (
        len({(row["method"], kind_of(row)) for row in labelled(rows) if row["prune_ratio"]})
        > plots.accuracy.MANY
    )
    columns = min(2, len(parts))
    lines = -(-len(parts) // columns)
    figure = Figure(figsize=((10 if many else 7.5) * columns, 4.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for ax, (name, some) in zip(axes, parts.items()):
        whole = [row for row in some if row["prune_ratio"] == 0]
        plots.accuracy_against_ratio(
            [row for row in labelled(some) if row["prune_ratio"]], ax=ax, whole=whole or None
        )
        # a longer line would be cut off
        ax.set_title(textwrap.fill(name if len(parts) > 1 else title, 80))
    for ax in axes[len(parts) :]:
        ax.remove()
    if len(parts) > 1:
        figure.suptitle(textwrap.fill(title, 80 * columns))
    figure.savefig(path, dpi=150, metadata={"Software": None})
