"""Rows of several kinds of processor: which is which, told in marks and a sentence; nothing is
averaged across them.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
from hand_rows import as_row

from dpkit import plots
from dpkit.experiments import publishing, results
from dpkit.experiments.trials import Outcome
from dpkit.records import Selection
from dpkit.storage import processors

XEON, EPYC, GPU = "Xeon, avx512f", "EPYC, avx2", "NVIDIA H200"


def row(method, ratio, seed, accuracy, processor=EPYC, **more):
    return {
        "dataset": "mine",
        "num_samples": 10,
        "model": "small_cnn",
        "method": method,
        "options": "",
        "prune_ratio": ratio,
        "keep": round(10 * (1 - ratio)),
        "seed": seed,
        "accuracy": accuracy,
        "budget": "3 steps",
        "device": "cpu",
        "processor": processor,
    } | more


def cell(method, ratio, accuracies, processor=EPYC, **more):
    return [
        row(method, ratio, seed, accuracy, processor, **more)
        for seed, accuracy in enumerate(accuracies)
    ]


MIXED = [
    *cell("random", 0.0, [0.8, 0.9], XEON),
    *cell("random", 0.5, [0.6, 0.7], XEON),
    *cell("dual", 0.5, [0.5, 0.6], XEON),
    *cell("aum", 0.5, [0.5, 0.6]),
    *cell("el2n", 0.5, [0.5, 0.7]),
    *cell("ccs", 0.5, [0.6, 0.7]),
    *cell("random", 0.7, [0.5, 0.6]),
    *cell("aum", 0.7, [0.4, 0.6]),
]


def test_a_rows_kind_is_its_gpu_or_its_processor():
    assert processors.kind_of({"device": "cpu", "processor": EPYC}) == EPYC
    assert (
        processors.kind_of({"device": GPU, "processor": XEON})
        == processors.kind_of({"device": GPU, "processor": EPYC})
        == GPU
    )
    assert (
        processors.kind_of({"device": "mps", "processor": "M1"})
        == processors.kind_of({"processor": "M1"})
        == "M1"
    )
    for silent in ({}, {"device": "cpu"}, {"device": None, "processor": np.nan}, {"processor": ""}):
        assert processors.kind_of(silent) == ""


def test_the_machine_at_hand_is_named_as_its_rows_are():
    from dpkit.data.image_set import load
    from dpkit.experiments import stages
    from dpkit.storage.provenance import processor
    from dpkit.training.loop import Recipe

    images = load("digits", device="cpu").first(9)
    told = {"device": stages.device_name(images.device), "processor": processor()}
    assert (
        processors.kind_of(told) == stages.compute_environment(images, Recipe())["processor"] != ""
    )


def test_the_commonest_kind_has_no_mark_and_failed_rows_have_no_kind():
    failed = row("aum", 0.5, 2, None) | {
        "failed": "it diverged",
        "processor": np.nan,
        "device": np.nan,
    }
    assert processors.marks([*MIXED, failed]) == {EPYC: "", XEON: " (a)"}
    assert processors.marks([*MIXED, *cell("tdds", 0.5, [0.1], "")]) == {
        EPYC: "",
        XEON: " (a)",
        "": " (b)",
    }
    assert processors.marks([failed]) == {}


def test_one_sentence_says_which_rows_are_from_which_kind():
    assert results.kinds_of(MIXED) == (
        "The rows are from 2 kinds of processor: random at 0 and 50 %, dual at 50 %, marked (a), "
        f"from {XEON}; all others from {EPYC}. A spread and a difference are given within one kind "
        "only."
    )
    some = [
        *MIXED,
        row("aum", 0.5, 2, 0.9, XEON),
        row("aum", 0.5, 3, 0.9, XEON),
        row("moderate", 0.5, 0, 0.5, ""),
    ]
    assert "aum at 50 (seed 2 and 3) %, marked (a)" in results.kinds_of(some)
    assert (
        "moderate at 50 %, marked (b), from a processor that the rows do not tell"
        in results.kinds_of(some)
    )


@pytest.mark.parametrize("processor", [EPYC, "", None])
def test_rows_of_one_kind_or_that_all_do_not_tell_it_need_no_sentence(processor):
    rows = [one | {"processor": processor} for one in MIXED]
    assert results.kinds_of(rows) == "" and "(a)" not in str(results.accuracy_table(rows))
    assert set(results.summary(rows).reason) == {""} and results.kinds_of([]) == ""


def test_a_cell_of_an_accuracy_table_is_of_one_kind():
    nothing, half, _ = results.accuracy_table(MIXED)
    assert (nothing["random"], half["dual"], half["aum"]) == (
        "85.0 ± 7.1 (a)",
        "55.0 ± 7.1 (a)",
        "55.0 ± 7.1",
    )
    both = [*MIXED, *cell("aum", 0.5, [0.9, 0.9], XEON)]  # the same seeds, on the other kind
    assert results.accuracy_table(both)[1]["aum"] == "55.0 ± 7.1, 90.0 ± 0.0 (a)"
    assert (
        results.accuracy_table([*MIXED, row("aum", 0.5, 2, 0.9, XEON)])[1]["aum"]
        == "55.0 ± 7.1 (2 of 3), 90.0 (a)"
    )


def test_no_difference_is_taken_across_kinds():
    table = results.summary(MIXED).set_index(["prune_ratio", "method"])
    assert table.difference[0.5, "dual"] == pytest.approx(-10) and table.pairs[0.5, "dual"] == 2
    for method in ("aum", "el2n", "ccs"):
        line = table.loc[0.5, method]
        assert np.isnan([line.difference, line.low, line.p]).all() and (line.pairs, line.holm) == (
            0,
            "",
        )
        assert line.reason == "no row of random from this kind of processor"
    assert table.difference[0.7, "aum"] == pytest.approx(-5) and table.processor[0.7, "aum"] == EPYC
    within = results.summary(MIXED, to="ccs").set_index(["prune_ratio", "method"])
    assert within.difference[0.5, "aum"] == pytest.approx(-10) and within.reason[
        0.5, "dual"
    ].endswith("this kind of processor")


def test_a_method_with_rows_of_two_kinds_has_a_line_for_each():
    rows = [*MIXED, *cell("random", 0.5, [0.1, 0.2])]
    table = results.summary(rows).query("prune_ratio == 0.5").set_index(["method", "processor"])
    assert table.accuracy["random", XEON] == pytest.approx(65) and table.accuracy[
        "random", EPYC
    ] == pytest.approx(15)
    assert table.difference["aum", EPYC] == pytest.approx(40) and table.difference[
        "dual", XEON
    ] == pytest.approx(-10)


def test_gpus_of_different_names_are_kinds_whatever_the_host():
    rows = [
        *cell("random", 0.5, [0.1, 0.2], device=GPU),
        *cell("dual", 0.5, [0.2, 0.4], XEON, device=GPU),
    ]
    assert results.summary(rows).set_index("method").difference["dual"] == pytest.approx(15)
    other = [*rows[:2], *cell("dual", 0.5, [0.2, 0.4], device="NVIDIA A100")]
    assert np.isnan(results.summary(other).difference).all()


def test_failed_trials_of_a_sweep_are_counted_once_though_their_rows_tell_no_kind():
    rows = [
        *MIXED,
        *cell("aum", 0.5, [0.9], XEON),
        row("aum", 0.5, 4, None) | {"failed": "no", "processor": np.nan},
    ]
    rows.append(row("tdds", 0.5, 0, None) | {"failed": "no", "processor": np.nan})
    table = results.summary(pandas.DataFrame([{"failed": ""} | one for one in rows]))
    assert table.failed.sum() == 2 and table.failed[table.method == "tdds"].tolist() == [1]
    assert len(table[(table.method == "aum") & (table.prune_ratio == 0.5)]) == 2


def test_seconds_of_several_kinds_are_not_compared():
    spent = {
        f"{stage}_{unit}": 3
        for stage in ("record", "score", "select", "retrain")
        for unit in ("samples", "seconds")
    }
    rows = [
        row("random", 0.0, 0, 0.9, XEON) | spent | {"retrain_samples": 10, "retrain_seconds": 10},
        row("aum", 0.5, 0, 0.8) | spent,
        row("aum", 0.5, 0, 0.8, XEON) | spent,
    ]
    here, there = sorted(results.cost_table(rows), key=lambda line: line["method"])
    marked, plain = (there, here) if here["method"] == "aum" else (here, there)
    assert (plain["method"], marked["method"]) == ("aum", "aum (a)")
    # 9 / (10 - 3) in images: the same on any processor
    assert plain["break_even"] == marked["break_even"] == 2
    assert (
        np.isnan(marked["whole_seconds"])
        and marked["break_even_seconds"] is None
        and plain["break_even_seconds"] == 2
    )


def test_the_text_of_a_sweep_says_it_above_its_table():
    text = results.overview(pandas.DataFrame([{"failed": ""} | one for one in MIXED]))
    assert text.splitlines()[1] == results.kinds_of(MIXED)
    assert "kinds of processor" not in results.overview(
        pandas.DataFrame([{"failed": ""} | one for one in MIXED[:6]])
    )


def test_a_published_page_says_it_at_its_top_and_what_is_missing(tmp_path):
    outcomes = [
        Outcome(as_row(one), Selection(np.arange(one["keep"]), 10, "top"), None) for one in MIXED
    ]
    folder = publishing.publish(
        tmp_path / "t", outcomes, title="Mine", command="dpkit report mine.ipynb"
    )
    page = (folder / "table.md").read_text()
    assert page.startswith(f"# Mine\n\n`dpkit report mine.ipynb`\n\n{results.kinds_of(MIXED)}\n\n")
    assert (
        "No difference to random is given for aum at 50 %, el2n at 50 % and ccs at 50 %: there "
        f"are no rows of random at 50 % from {EPYC}."
    ) in page
    assert (
        "| 50 % | dual | -10.0 [" in page
        and "| 50 % | aum |" not in page
        and "| 70 % | aum | -5.0 [" in page
    )


# ---- figures -------------------------------------------------------------------------------------


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def texts(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()], legend.get_title().get_text()


def test_a_figure_marks_kinds_and_averages_none_together(ax):
    whole, pruned = MIXED[:2], [*MIXED[2:], *cell("aum", 0.5, [0.9, 0.9], XEON)]
    plots.accuracy_against_ratio(pruned, ax=ax, whole=whole)
    names, title = texts(ax)
    assert {"random (a)", "random", "dual (a)", "aum", "aum (a)", "nothing pruned (a)"} <= set(
        names
    )
    assert title == f"(a) {XEON}"
    means = {bars.get_label(): bars.lines[0].get_ydata().tolist() for bars in ax.containers}
    assert means["aum"] == pytest.approx([55, 50]) and means["aum (a)"] == pytest.approx([90])


def test_a_figure_of_one_kind_has_no_marks(ax):
    # accuracies alone tell no kind
    plots.accuracy_against_ratio(MIXED[6:], ax=ax, whole=[0.8, 0.9])
    names, title = texts(ax)
    assert title == "" and sorted(names) == ["aum", "ccs", "el2n", "nothing pruned", "random"]


def test_epochs_and_costs_are_drawn_for_each_kind(ax):
    spent = {f"{stage}_samples": 3 for stage in ("record", "score", "select", "retrain")} | {
        "record_epochs": 5
    }
    rows = [one | spent for one in [*MIXED, *cell("aum", 0.5, [0.9, 0.9], XEON)]]
    plots.accuracy_against_epochs([one for one in rows if one["prune_ratio"]], ax=ax)
    assert {"aum, 50 %", "aum, 50 % (a)"} <= set(texts(ax)[0]) and texts(ax)[1] == f"(a) {XEON}"
    figure, other = plt.subplots()
    plots.accuracy_against_cost(rows, ax=other)
    assert {"aum", "aum (a)", "nothing pruned (a)"} <= set(texts(other)[0])
    plt.close(figure)


def test_differences_of_one_method_on_two_kinds_do_not_hide_each_other(ax):
    lines = [
        {
            "method": "aum",
            "difference": d,
            "low": d - 1,
            "high": d + 1,
            "pairs": 3,
            "holm": mark,
            "processor": kind,
        }
        for d, mark, kind in ((2.0, "ahead", EPYC), (3.0, "", XEON))
    ]
    plots.differences(pandas.DataFrame(lines), ax=ax)
    points = {
        line.get_xdata()[0]: (line.get_ydata()[0], line.get_markerfacecolor())
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert points[3.0][0] != points[2.0][0] and [
        label.get_text() for label in ax.get_yticklabels()
    ] == ["aum"]
    # its interval leaves 0 out, and does not survive Holm's correction
    assert points[3.0][1] == "white" != points[2.0][1]
