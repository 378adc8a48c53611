"""A study of one's own set: its parts, its plan, what its rows say about a tolerance, and the
command.
"""

import shlex

import numpy as np
import pytest
from hand_rows import row
from PIL import Image

import dpkit
from dpkit import cli, plots, reports
from dpkit.data import from_arrays
from dpkit.experiments import study
from dpkit.experiments.study_plan import SIZES, Size, plan_study
from dpkit.experiments.tolerance import (
    best_choice,
    class_losses,
    in_words,
    largest_ratios,
    losses,
    seeds_needed,
)

WISHES = {"methods": ["dual+beta", "ccs"], "ratios": [0.5, 0.3, 0.9], "most": SIZES[-1]}
COUNTS = {"num_train": 800, "num_held_out": 200, "num_all": 1000, "batch_size": 32}


def planned(minutes, step_seconds=0.01, **more):
    return plan_study(minutes, step_seconds=step_seconds, **COUNTS | WISHES | more)


def made(counts=(60, 60), name="mine"):
    """Images of 8x8, so many of each class, whose brighter part is their class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = rng.integers(0, 120, (len(labels), 8, 8), dtype=np.uint8)
    for k, label in enumerate(labels):
        pixels[k, 2 * label : 2 * label + 2] += 100
    return from_arrays(pixels, labels, name=name, device="cpu")


def saved(folder, counts=(60, 60), **more):
    images = made(counts)
    pixels = images.images.permute(0, 2, 3, 1).numpy()
    np.savez(folder / "mine.npz", images=pixels, labels=images.labels.numpy(), **more)
    return folder / "mine.npz"


# ---- the parts -----------------------------------------------------------------------------------


def test_a_set_without_test_images_has_a_part_held_out_that_no_training_sees(tmp_path):
    parts = study.load_parts(saved(tmp_path), fraction=0.25, device="cpu")
    assert not parts.own_test and (len(parts.train), len(parts.held_out)) == (90, 30)
    assert {*parts.train.ids}.isdisjoint(parts.held_out.ids)
    assert "held out: 30 of 120 images (25 %)" in parts.describe()


def test_test_images_of_ones_own_take_the_place_of_the_held_out_part(tmp_path):
    parts = study.load_parts("digits", device="cpu", num_samples=100)
    assert parts.own_test and parts.train is parts.whole and len(parts.held_out) == 500
    other = made((30, 30)).images.permute(0, 2, 3, 1).numpy()
    tested = {"test_images": other, "test_labels": np.repeat([0, 1], 30)}
    file = saved(tmp_path)
    np.savez(tmp_path / "other.npz", images=other, labels=tested["test_labels"])
    given = study.load_parts(file, test=tmp_path / "other.npz", device="cpu")
    assert given.own_test and len(given.held_out) == 60
    assert given.held_out.mean == given.whole.mean  # normalised as the training set is


def test_a_folder_of_splits_is_tested_on_its_test_split_or_on_the_one_that_is_named(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in (("train", 30), ("test", 11), ("val", 12)):
        for name in ("ash", "birch"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for k in range(n):
                pixels = rng.integers(0, 255, (8, 8), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / split / name / f"{k}.png")
    parts = study.load_parts(tmp_path / "set", device="cpu")
    assert parts.own_test and (len(parts.train), len(parts.held_out)) == (60, 22)
    named = study.load_parts(tmp_path / "set", test="val", device="cpu")
    assert len(named.held_out) == 24 and named.held_out.mean == named.whole.mean
    alone = study.load_parts(tmp_path / "set" / "train", fraction=0.5, device="cpu")
    assert not alone.own_test and len(alone.held_out) == 30


def test_a_path_leads_there_from_the_notebooks_folder_and_a_name_stays(tmp_path, monkeypatch):
    file = saved(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert study.from_anywhere("mine.npz") == str(file)
    assert study.from_anywhere("photos") == str(tmp_path / "photos")
    assert study.from_anywhere("digits") == "digits"  # the set of that name comes first
    assert study.from_anywhere("val") == "val"
    (tmp_path / "photos" / "val").mkdir()
    (tmp_path / "val").mkdir()
    assert study.from_anywhere("val", beside="photos") == "val"  # which of the two is asked later
    assert study.from_anywhere("val", beside="mine.npz") == str(tmp_path / "val")


def test_a_folder_called_test_elsewhere_is_not_the_sets_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, n in (("photos", 50), ("test", 20)):
        for k in range(2 * n):
            folder = tmp_path / place / ("ash", "birch")[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), k + 100 * (place == "test")).save(folder / f"{k}.png")
    assert not study.load_parts("photos", device="cpu").own_test
    assert study.load_parts("photos", test="test", device="cpu").own_test


@pytest.mark.parametrize(
    ("counts", "how", "sentence"),
    [
        ((60,), {}, "at least two classes"),
        ((60, 1), {}, "every class needs at least two images; .* has one of 1"),
        ((20, 20), {}, "too small to hold images out: of 40 they would be 8.* bring at least 100"),
        ((60, 60), {"fraction": 0.0}, "fraction must be"),
        ((60, 60), {"seed": -1}, "seed must be"),
        ((60, 60), {"test": "val"}, "split"),
    ],
)
def test_a_set_that_no_study_can_be_made_of_is_refused_in_a_sentence(
    tmp_path, counts, how, sentence
):
    with pytest.raises(ValueError, match=sentence):
        study.load_parts(saved(tmp_path, counts), device="cpu", **how)


# ---- the plan ------------------------------------------------------------------------------------


def test_more_minutes_buy_a_larger_study_that_keeps_to_them():
    plans = [planned(minutes) for minutes in (3, 10, 60, 10_000)]
    assert all(plan.seconds <= 60 * minutes for plan, minutes in zip(plans, (3, 10, 60, 10_000)))
    cost = [sum(line["steps"] for line in plan.costs()) for plan in plans]
    assert cost == sorted(cost) and cost[0] < cost[-1]
    assert planned(0) == planned(10_000)


def test_costs_are_counted_by_hand():
    plan = planned(0, step_seconds=0.5, most=Size(3, 2, 1, 4, 10, 2))
    assert plan.methods == ("random", "dual+beta") and plan.ratios == (0.3, 0.5)
    assert plan.steps == 4 * 25  # 800 images in batches of 32
    tested = 3 * 7 / 3  # three times seven batches, at a third of a step each
    steps = {line["what"]: line["steps"] for line in plan.costs()}
    assert steps == {
        "recordings of the training part": 3 * 10 * 25,
        "trainings on everything": 3 * 100 + tested,
        "trainings on what is kept": 4 * (3 * 100 + tested),
        "shorter trainings on what is kept": 3 * 70 + tested,
        "recording of the whole set": 10 * 32,
        "trainings for suspected labels": 10 * 32,
    }
    assert all(line["seconds"] == pytest.approx(line["steps"] / 2) for line in plan.costs())


def test_too_few_minutes_are_refused_and_the_least_is_said():
    with pytest.raises(ValueError, match=r"too few .* Give --minutes (\d+)") as refused:
        planned(0.5, step_seconds=0.1)
    least = int(str(refused.value).split("--minutes ")[1].split(",")[0])
    assert planned(least, step_seconds=0.1).seeds == 3


def test_the_plan_stays_when_the_study_is_called_again(tmp_path, monkeypatch):
    parts = study.load_parts(saved(tmp_path), device="cpu")
    how = WISHES | {"minutes": 60.0, "cache": tmp_path / "cache"}
    plan = study.plan_of(parts, **how)
    assert plan.step_seconds > 0 and plan.batch_size == 8
    monkeypatch.setattr(study, "measure_step", lambda *a, **k: pytest.fail("measured again"))
    assert study.plan_of(parts, **how) == plan
    (file,) = (tmp_path / "cache").glob("study-*.json")
    file.write_text(file.read_text()[:-9])  # damaged: made again
    monkeypatch.setattr(study, "measure_step", lambda *a, **k: 1e-9)
    with pytest.warns(dpkit.storage.SetAside):
        assert study.plan_of(parts, **how).step_seconds == 1e-9


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"minutes": -1.0}, "minutes must be"),
        ({"methods": ["duel"]}, "duel"),
        ({"methods": ["random"]}, "one besides random"),
        ({"ratios": [0.3, 1.0]}, "ratios must be .* got 1"),
        ({"ratios": []}, "got none"),
        ({"ratios": [0.3, 0.3]}, "each once"),
    ],
)
def test_wishes_that_no_study_can_have_are_refused(wishes, sentence):
    with pytest.raises(ValueError, match=sentence):
        study.check_wishes(**{"minutes": 1.0, "methods": ["ccs"], "ratios": [0.3]} | wishes)


def test_every_training_of_the_sweep_has_as_many_steps_and_the_shorter_ones_fewer(tmp_path):
    parts = study.load_parts(saved(tmp_path), device="cpu")
    plan = planned(0, num_train=96, batch_size=8, most=Size(2, 2, 1, 3, 10, 2))
    trials = study.trials_of(parts, plan, seed=5)
    assert [trial.seed for trial in trials] == [5] * 5 + [6] * 5  # what is cut off is the last
    assert {trial.retrain.total_steps(96) for trial in trials} == {36}
    assert {(t.method, t.prune_ratio) for t in trials} == {("random", 0.0)} | {
        (method, ratio) for method in ("random", "dual+beta") for ratio in (0.3, 0.5)
    }
    fewer = study.shorter_trials(trials, plan, "random", 0.5)
    assert [(t.seed, t.retrain.total_steps(48)) for t in fewer] == [(5, 18), (6, 18)]


def test_a_study_that_the_clock_cut_off_says_to_go_on():
    plan = planned(0)
    rows = [row("random", 0.0, 0, 0.9), row("random", 0.3, 0, 0.9)]
    with pytest.raises(ValueError, match="after 2 trainings.*the same command goes on"):
        study.check_enough(rows, plan)
    study.check_enough(rows + [row("random", ratio, 1, 0.9) for ratio in (0.0, 0.3)], plan)


# ---- how much can go -----------------------------------------------------------------------------


def cells(**accuracies):
    """Rows of three seeds: whole=(...), and a method's by ratio, as dual_30=(...)."""
    found = []
    for name, values in accuracies.items():
        method, _, ratio = name.partition("_")
        at = ("random", 0.0) if method == "whole" else (method, int(ratio) / 100)
        found += [row(*at, seed, value / 100) for seed, value in enumerate(values)]
    return found


ROWS = cells(
    whole=(80, 81, 82),
    random_30=(77, 78, 79),  # loses 3, the interval is 3 ± 2.776 * sqrt(2/3)
    dual_30=(81, 81.1, 81.2),
    dual_50=(79, 80.5, 82),
    dual_70=(60, 61, 62),
)


def test_a_loss_is_everything_minus_what_is_kept_with_welchs_interval():
    line = losses(ROWS).set_index(["method", "prune_ratio"]).loc[("random", 0.3)]
    assert line.loss == pytest.approx(3) and line.seeds == 3 and line.spread == pytest.approx(1)
    assert (line.high - line.low) / 2 == pytest.approx(2.776 * np.sqrt(2 / 3), abs=1e-3)
    with pytest.raises(ValueError, match="no row has prune_ratio 0"):
        losses(cells(dual_30=(1, 2, 3)))


def test_a_ratio_is_shown_only_where_its_interval_and_those_before_it_end_below_the_tolerance():
    found = {one.method: one for one in largest_ratios(losses(ROWS), 3.0)}
    assert (found["dual"].shown, found["dual"].by_mean, found["dual"].too_much) == (0.3, 0.5, 0.7)
    assert (found["random"].shown, found["random"].by_mean) == (0.0, 0.0)  # it loses just as much
    assert best_choice(losses(ROWS), 3.0) == ("dual", 0.3, True)
    # a larger ratio that happens to do well does not make good for a smaller one that does not
    luck = cells(whole=(80, 81, 82), dual_30=(60, 61, 62), dual_50=(81, 81, 81.1))
    assert best_choice(losses(luck), 3.0) is None
    luck = cells(whole=(80, 81, 82), dual_30=(75, 80, 85), dual_50=(81, 81, 81.1))
    assert best_choice(losses(luck), 3.0) == ("dual", 0.5, False)
    assert "that of a smaller ratio does not" in in_words(losses(luck), 3.0)[1]


def test_what_the_means_alone_say_is_called_so_and_the_seeds_it_takes_are_said():
    table = losses(ROWS)
    assert best_choice(table, 1.0) == ("dual", 0.5, False)
    first, second, third = in_words(table, 1.0)
    assert "50 % may go by dual" in first and "the mean loss of 3 seeds is 0.5 points" in first
    need = seeds_needed(0.5, np.sqrt((1 + 1.5**2) / 2), 1.0)
    assert f"about {need} seeds would" in second and need > 3
    assert "70 % by dual is shown to lose more" in third
    shown = in_words(table, 3.0)[0]
    assert "30 % can go by dual" in shown and "the whole interval lies below 3" in shown
    (none,) = in_words(losses(cells(whole=(80, 81, 82), dual_30=(70, 71, 72))), 1.0)
    assert "at a tolerance of 1 point nothing can go" in none and "10.0 points" in none


def test_one_seed_has_no_interval_and_shows_nothing():
    table = losses(cells(whole=(80,), dual_30=(80,)))
    assert best_choice(table, 1.0) == ("dual", 0.3, False)
    assert "not shown: one seed" in in_words(table, 1.0)[1]


def test_the_worst_class_and_the_classes_that_lose_most():
    told = [
        one | {"class_accuracy": text, "worst_class_accuracy": worst}
        for one, text, worst in zip(
            cells(whole=(80, 80), dual_30=(70, 70)),
            ["[0.9, 0.7, null]", "[0.8, 0.8, null]", "[0.9, 0.5, null]", "[0.7, 0.7, null]"],
            [0.7, 0.8, 0.5, 0.7],
        )
    ]
    (line,) = losses(told).itertuples()
    assert line.worst_class == pytest.approx(60) and line.worst_class_loss == pytest.approx(15)
    first, second = class_losses(told, "dual", 0.3, ["ash", "birch", "cedar"])
    assert (first["class"], first["loss"]) == ("birch", pytest.approx(15))
    assert (second["class"], second["loss"]) == ("ash", pytest.approx(5))


def test_the_figure_of_losses_fills_what_is_shown():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ax = plots.losses(losses(ROWS), 3.0, ax=plt.subplots()[1])
    full = [
        line
        for line in ax.lines
        if line.get_marker() in ("o", "s") and line.get_markerfacecolor() != "white"
    ]
    drawn = [y for line in full for y in line.get_ydata()]
    assert drawn == [pytest.approx(-0.1)]  # dual at 30 %
    plt.close("all")


# ---- classes, and the command --------------------------------------------------------------------


def test_classes_that_would_be_lost_are_named():
    labels = np.array([0, 0, 1, 1, 2])
    kept = {0.4: dpkit.Selection([0, 1, 2], 5, "dual"), 0.2: dpkit.Selection([0, 1, 2, 4], 5, "x")}
    first, second = study.classes_kept(kept, labels, ["ash", "birch", "cedar"])
    assert (first["classes lost"], first["which"]) == (1, "cedar")
    assert (second["least is kept of"], second["kept of it (%)"]) == ("birch", 50)


def test_the_command_at_the_end_is_one_that_dpkit_takes(monkeypatch):
    seen = {}
    monkeypatch.setattr("dpkit.cli.prune.run", lambda arguments: seen.update(vars(arguments)) or 0)
    command = study.prune_command(
        "my photos",
        method="ccs",
        prune_ratio=0.3,
        plan=planned(0),
        seed=2,
        mirror=True,
        loading={"size": 32, "classes": ["ash", "big birch"], "skip_broken": True},
    )
    words = shlex.split(command)
    assert words[0] == "dpkit" and cli.main(words[1:]) == 0
    assert (seen["data"], seen["ratio"], seen["method"], seen["size"]) == (
        "my photos",
        0.3,
        "ccs",
        32,
    )
    assert (seen["epochs"], seen["batch_size"], seen["seed"]) == (30, 32, 2)
    assert seen["mirror"] and seen["skip_broken"] and seen["classes"] == ["ash", "big birch"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--minutes", "0.0001"], "minutes are too few"),
        (["--minutes", "-1"], "minutes must be"),
        (["--methods", "duel"], "duel"),
        (["--hold-out", "0.01"], "too small to hold images out"),
        (["--out", "taken"], "holds the report of 00_start_here"),
        (["--out", "in/there"], "must lie apart"),
    ],
)
def test_the_command_refuses_before_a_kernel_starts(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reports, "run_report", lambda *a, **k: pytest.fail("it started"))
    (tmp_path / "taken").mkdir()
    earlier = {"notebook": "00_start_here", "parameters": {}}
    dpkit.storage.write_json(tmp_path / "taken" / "result.json", earlier)
    for name in ("ash", "birch"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for k in range(55):
            Image.new("L", (8, 8), k).save(tmp_path / "in" / name / f"{k}.png")
    assert cli.main(["study", "in", "--device", "cpu", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_the_command_runs_the_notebook_on_the_set_and_tells_its_answers(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    file, given = saved(tmp_path), {}
    tables = {
        "answer": [{"question": "how much can go", "answer": "30 % can go"}],
        "command": [{"command": "dpkit prune mine.npz"}],
    }

    def run_report(notebook, **how):
        given.update(how)
        return reports.Verdict(
            True, (), tmp_path, {"tables": tables, "checks": {}, "figures": []}, 1.0
        )

    monkeypatch.setattr(reports, "run_report", run_report)
    words = ["--minutes", "60", "--tolerance", "2", "--ratios", "0.3", "0.7", "--device", "cpu"]
    assert cli.main(["study", "mine.npz", *words]) == 0
    assert given["parameters"] == {
        "data": str(file),
        "minutes": 60.0,
        "tolerance": 2.0,
        "ratios": [0.3, 0.7],
        "device": "cpu",
    }
    assert given["timeout"] > 3600 and str(given["out"]) == "reports/study-mine"
    assert "how much can go: 30 % can go" in capsys.readouterr().out


def test_a_report_with_a_pruning_in_it_is_replaced_by_the_next(tmp_path):
    from dpkit.reports.run import check_out

    out = tmp_path / "report"
    (out / "pruned").mkdir(parents=True)
    dpkit.storage.write_json(out / "result.json", {"notebook": "mine", "parameters": {"seed": 1}})
    assert check_out(out, "mine") == {"seed": 1}
    with pytest.raises(reports.Refused, match="holds the report of mine"):
        check_out(out, "other")
