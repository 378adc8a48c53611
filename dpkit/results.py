"""Measured tables as folders that others can check: rows, scores, kept sets, and how they were made.

    rows.csv       a line per training; its `kept` and `scores` say where the two below are
    kept.npy       (rows, n/8 rounded up) uint8: line k holds the kept set of row k, a bit per sample (numpy.packbits)
    scores/        <name>-seed<k>.npy, (n,) float32, higher = more worth keeping
    table.md       accuracy in percent, mean ± standard deviation over the seeds, and differences to random
    accuracy.png   the same as a picture
    manifest.json  command, seeds, machine, versions, notes, and the SHA-256 of every file
"""

import csv
from pathlib import Path

import numpy as np

from dpkit import catalog, plots, store
from dpkit.records import Selection
from dpkit.report_result import machine, versions

KIND, SCHEMA = "Table", 1


def publish(folder, outcomes, *, title: str, command: str, notes=(), settings=None, device="cpu") -> Path:
    """Write the outcomes (of trials.outcome_of) as a folder, whole or not at all; an earlier table there is replaced.

    command:  what to type to make it again.   settings: what else the rows depend on, for the manifest.
    notes:    footnotes, printed under the table.
    """
    folder = Path(folder)
    with store.whole_folder(folder, kind=KIND) as part:
        rows, masks, known = [], [], {}
        (part / "scores").mkdir()
        for k, outcome in enumerate(outcomes):
            masks.append(np.packbits(outcome.selection.mask()))
            row = {name: value for name, value in outcome.row.items() if name != "from_cache"}  # of no interest elsewhere
            rows.append(row | {"kept": k, "scores": _write_scores(part, outcome, known)})
        np.save(part / "kept.npy", np.stack(masks), allow_pickle=False)
        with open(part / "rows.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        (part / "table.md").write_text(_page(rows, title, command, notes), encoding="utf-8")
        _draw(rows, title, part / "accuracy.png")
        files = sorted(path for path in part.rglob("*") if path.is_file())
        store.write_json(part / "manifest.json", {
            "kind": KIND, "schema": SCHEMA, "title": title, "command": command, "settings": settings or {},
            "seeds": sorted({row["seed"] for row in rows}), "notes": list(notes), "machine": machine(device),
            "versions": versions(), "sha256": {path.relative_to(part).as_posix(): store.file_hash(path) for path in files}})
    return folder


def results_table(folder):
    """The rows of a published table as a DataFrame, one training a row; ValueError if the file is not the published one."""
    import pandas

    return pandas.read_csv(_checked(folder, "rows.csv"), keep_default_na=False)


def kept_set(folder, k: int) -> Selection:
    """The Selection that row k of a published table was trained on."""
    rows, packed = results_table(folder), np.load(_checked(folder, "kept.npy"), allow_pickle=False)
    if not 0 <= k < len(packed):
        raise ValueError(f"{folder} has the rows 0..{len(packed) - 1}; got {k}")
    row = rows.iloc[k]
    mask = np.unpackbits(packed[k], count=int(row["num_samples"]))
    return Selection(np.flatnonzero(mask), int(row["num_samples"]), str(row["method"]), {"seed": int(row["seed"])})


# ---- tables of rows --------------------------------------------------------------------------------------------


def label(row) -> str:
    """The method's name, with its settings where they are not the usual ones: "dual+beta, c_d=5.5"."""
    usual = catalog.worded(catalog.defaults(row["method"])).split()
    return ", ".join([row["method"], *(word for word in row["options"].split() if word not in usual)])


def labelled(rows) -> list[dict]:
    """The rows with label(row) as their method, so that tables and figures keep variants of a method apart."""
    return [dict(row) | {"method": label(row)} for row in rows]


def accuracy_table(rows) -> list[dict]:
    """A line per prune ratio, a column per method: test accuracy in percent, "mean ± standard deviation" over the seeds.

    rows: as run_trial returns them. Rows with prune_ratio 0 are the line "nothing", whatever their method.
    """
    rows = labelled(rows)
    methods = list(dict.fromkeys(row["method"] for row in rows if row["prune_ratio"] > 0))
    table = []
    for ratio in sorted({row["prune_ratio"] for row in rows}):
        here = [row for row in rows if row["prune_ratio"] == ratio]
        line = {"pruned": f"{100 * ratio:g} %" if ratio else "nothing", "kept": here[0]["keep"]}
        for method in methods if ratio else methods[:1]:
            found = [100 * row["accuracy"] for row in here if row["method"] == method or not ratio]
            line[method] = _mean_and_spread(found) if found else ""
        table.append(line)
    return table


def paired_differences(rows, *, to="random") -> list[dict]:
    """Per prune ratio and method: accuracy minus `to`'s of the same seed, in points: mean, standard deviation, seeds.

    The same seed on both sides takes the luck of the retraining's first weights out of the difference.
    """
    rows = labelled(rows)
    accuracy = {(row["prune_ratio"], row["method"], row["seed"]): 100 * row["accuracy"] for row in rows}
    table = []
    for ratio in sorted({row["prune_ratio"] for row in rows} - {0}):
        for method in dict.fromkeys(row["method"] for row in rows):
            gaps = [value - accuracy[r, to, seed] for (r, m, seed), value in accuracy.items()
                    if r == ratio and m == method != to and (r, to, seed) in accuracy]
            if gaps:
                table.append({"pruned": f"{100 * ratio:g} %", "method": method, f"minus {to}": float(np.mean(gaps)),
                              "spread": float(np.std(gaps, ddof=1)) if len(gaps) > 1 else None, "seeds": len(gaps)})
    return table


def _mean_and_spread(values):
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


# ---- the folder ------------------------------------------------------------------------------------------------


def _write_scores(part, outcome, known) -> str:
    """Write the scores once, whoever else selected by them; their path in the folder, or "" where there are none."""
    if outcome.scores is None:
        return ""
    values = outcome.scores.values.astype(np.float32)
    key = store.key_hash([outcome.scores.name, outcome.row["seed"], values.tobytes().hex()])
    if key not in known:
        stem, taken = f"{outcome.scores.name}-seed{outcome.row['seed']}", set(known.values())
        names = [f"scores/{stem}{more}.npy" for more in ["", *(f"-{i}" for i in range(2, 2 + len(taken)))]]
        known[key] = next(name for name in names if name not in taken)
        np.save(part / known[key], values, allow_pickle=False)
    return known[key]


def _page(rows, title, command, notes) -> str:
    seeds = sorted({row["seed"] for row in rows})
    cells = [f"# {title}", f"`{command}`", f"Test accuracy in percent after the last step, mean ± standard deviation over "
             f"{len(seeds)} seeds of recording, selection and retraining.", _markdown(accuracy_table(rows))]
    gaps = [{"pruned": gap["pruned"], "method": gap["method"],
             "minus random": f"{gap['minus random']:+.1f}" + ("" if gap["spread"] is None else f" ± {gap['spread']:.1f}")}
            for gap in paired_differences(rows)]
    if gaps:
        cells += ["Paired difference to random, in points, the same seed on both sides:", _markdown(gaps)]
    varied = {row["method"] for row in rows if label(row) != row["method"]} & {label(row) for row in rows}
    usual = [f"`{method}` with no setting named has the usual {catalog.worded(catalog.METHODS[method].options)}."
             for method in sorted(varied)]
    return "\n\n".join([*cells, *usual, *notes]) + "\n"


def _markdown(table) -> str:
    columns = list(dict.fromkeys(name for line in table for name in line))
    lines = [columns, ["---"] * len(columns), *([line.get(name, "") for name in columns] for line in table)]
    return "\n".join("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line) + " |"
                     for line in lines)


def _draw(rows, title, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    pruned = [row for row in labelled(rows) if row["prune_ratio"] > 0]
    whole = [row["accuracy"] for row in rows if row["prune_ratio"] == 0]
    ax = plots.accuracy_against_ratio(pruned, ax=figure.subplots(), whole=whole or None)
    ax.set_title(title)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _checked(folder, name) -> Path:
    """The path of a file of a published table, if it is the one that was published."""
    folder = Path(folder)
    manifest = store.read_manifest(folder)
    kind, sha256 = manifest.get("kind"), manifest.get("sha256", {}).get(name)
    if kind != KIND:
        raise ValueError(f"expected a published table in {folder}, with a manifest.json that names {name}; there is none: give "
                         "the folder that publish wrote")
    if not (folder / name).is_file() or store.file_hash(folder / name) != sha256:
        raise ValueError(f"{folder / name} is missing or was changed since it was published; fetch a whole copy")
    return folder / name
