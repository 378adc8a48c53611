"""table.md and accuracy.png of a published table: its rows as a person reads them."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpkit import plots
from dpkit.experiments.comparisons import summary
from dpkit.experiments.tables import accuracy_table, kinds_of, label, labelled
from dpkit.methods.catalog import METHODS
from dpkit.methods.option_words import options_in_words
from dpkit.reports.result import count
from dpkit.storage.processors import join_words, kind_of


def write_page(
    part: Path, rows: Sequence[dict], title: str, command: str, notes: Sequence[str], tables: dict
) -> None:
    """Write both files into the folder `part`. rows: dicts as Row.flat gives them."""
    (part / "table.md").write_text(page_text(rows, title, command, notes, tables), encoding="utf-8")
    _draw(rows, title, part / "accuracy.png")


def page_text(
    rows: Sequence[dict], title: str, command: str, notes: Sequence[str], tables: dict
) -> str:
    """The text of table.md."""
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
            markdown(accuracy_table(some, seeds=len(seeds)))
        ]
    lines = summary(rows)
    if len(parts) > 1:
        lines["trained"] = lines["model"] + ", " + lines["retrain"]
    cells += _differences(lines[(lines["pairs"] > 0) | (lines["reason"] != "")])
    for name, table in tables.items():
        cells += [
            f"{name[:1].upper()}{name[1:]}:",
            markdown(
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
        cells.append(markdown([_difference(line) for line in given.itertuples()]))
    for kind, some in rest.groupby("processor", sort=False):
        methods = [
            f"{method} at {join_words(f'{100 * ratio:g}' for ratio in here['prune_ratio'])} %"
            for method, here in some.groupby("method", sort=False)
        ]
        ratios = join_words(f"{100 * ratio:g}" for ratio in some["prune_ratio"].unique())
        cells.append(
            f"No difference to random is given for {join_words(methods)}: there are no rows of "
            f"random at {ratios} %" + f"{f' from {kind}' if kind else ''}."
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


def markdown(table: Sequence[Mapping]) -> str:
    """Lines as a table in Markdown, with every column that one of them has."""
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
