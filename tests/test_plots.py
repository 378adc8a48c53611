"""Plots and explorers: what is drawn is what the records say. Claims about data and labels, not
about pixels.
"""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from scipy import stats

from dpkit import plots
from dpkit.methods import catalog
from dpkit.records import Selection, Snapshot, TrainingDynamics
from dpkit.scorers import eeprune
from dpkit.selectors import beta_parameters, keep_above
from dpkit.teaching import two_point

# four samples over three epochs: easy, hard, wavering, learned late
PROB = np.array([[0.9, 1.0, 0.8], [0.1, 0.1, 0.1], [0.0, 0.9, 0.3], [0.2, 0.5, 0.8]])
ROWS = [
    {"method": method, "prune_ratio": ratio, "seed": seed, "accuracy": accuracy + 0.01 * seed**2}
    for method, ratio, accuracy in (
        ("random", 0.5, 0.90),
        ("random", 0.9, 0.70),
        ("dual", 0.5, 0.92),
        ("dual", 0.9, 0.40),
    )
    for seed in range(3)
]

# a pass over the set is 100 images or 10 seconds; dual records five passes and retrains for ten, of
# what it kept or of all
BILLS = [
    row
    | {
        "record_samples": 500 * watched,
        "score_samples": 0,
        "select_samples": 0,
        "retrain_samples": 1000 * (1 - row["prune_ratio"]),
        "record_seconds": 50 * watched,
        "score_seconds": 2 * watched,
        "select_seconds": 1,
        "retrain_seconds": 100 * (1 - row["prune_ratio"]),
    }
    for row in [
        *ROWS,
        *(
            {"method": "random", "prune_ratio": 0, "seed": seed, "accuracy": 0.95}
            for seed in range(3)
        ),
    ]
    for watched in [row["method"] == "dual"]
]


@pytest.fixture
def dynamics():
    return TrainingDynamics(PROB, np.zeros_like(PROB), PROB > 0.5, np.arange(4))


@pytest.fixture
def ax():
    return plt.subplots()[1]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def half():
    return Selection(np.array([1, 2]), 4, "top")


@pytest.fixture
def exits():
    """Five samples of class 0 at two exits: sure and right, unsure and right, right early only,
    right late only, never.
    """
    first_of_two = np.array([[0.95, 0.6, 0.8, 0.3, 0.2], [0.9, 0.9, 0.4, 0.9, 0.1]])
    return Snapshot(
        np.stack([first_of_two, 1 - first_of_two], axis=-1), np.zeros((5, 1)), np.zeros(5, int)
    )


def dots(ax):
    """Positions of all scattered dots, in the order drawn."""
    return np.concatenate([collection.get_offsets() for collection in ax.collections])


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def legend_of(ax):
    """What a legend would say, where the caller draws it."""
    return ax.get_legend_handles_labels()[1]


LEADS = pandas.DataFrame(
    [
        ("a", "dual", 0.7, 1.0, 0.5, 1.5),
        ("b", "dual", 0.7, 2.0, np.nan, np.nan),
        ("b", "aum", 0.9, -1.0, -2.0, 0.0),
        ("c", "dual", 0.7, 9.0, 8.0, 10.0),
    ],
    columns=["model", "method", "prune_ratio", "difference", "low", "high"],
)
DRAWN = {
    "moon_plot": lambda ax, dynamics, half: plots.moon_plot(dynamics, ax=ax),
    "moon_plot of a selection": lambda ax, dynamics, half: plots.moon_plot(
        dynamics, ax=ax, selection=half
    ),
    "moon_plot of values": lambda ax, dynamics, half: plots.moon_plot(
        dynamics, ax=ax, values=np.arange(4), rows=[2]
    ),
    "moon_evolution": lambda ax, dynamics, half: plots.moon_evolution(dynamics, [3], axes=[ax])[0],
    "trajectories": lambda ax, dynamics, half: plots.trajectories(
        dynamics, [0, 2], ax=ax, window=2
    ),
    "beta_densities": lambda ax, dynamics, half: plots.beta_densities({0.5: (4.5, 10.5)}, ax=ax),
    "kept_by_ease": lambda ax, dynamics, half: plots.kept_by_ease(
        dynamics.mean_prob(), {"dual": half}, ax=ax
    ),
    "plane": lambda ax, dynamics, half: plots.plane(PROB[:, :2], half, ax=ax),
    "pruned_in_plane": lambda ax, dynamics, half: plots.pruned_in_plane(
        PROB[:, :2], half, ax=ax, classes=[0, 0, 1, 1]
    ),
    "rule_by_threshold": lambda ax, dynamics, half: plots.rule_by_threshold(
        Snapshot(np.full((2, 4, 2), 0.5), np.zeros((4, 1)), np.zeros(4, int)), ax=ax, threshold=0.9
    ),
    "accuracy_against_ratio": lambda ax, dynamics, half: plots.accuracy_against_ratio(ROWS, ax=ax),
    "accuracy_against_cost": lambda ax, dynamics, half: plots.accuracy_against_cost(BILLS, ax=ax),
    "lead_against_accuracy": lambda ax, dynamics, half: plots.lead_against_accuracy(
        LEADS, {"a": 80.0, "b": 90.0}, ax=ax
    ),
    "two_points": lambda ax, dynamics, half: plots.two_points(
        [[0.5, 0.5], [2, 1]], [0.1, 0.1], ax=ax
    ),
    "crossings": lambda ax, dynamics, half: plots.crossings(
        {"dual": [0.5, 0.9, 1.1]}, ax=ax, times={"dual": 2}
    ),
}


def test_a_lead_stands_at_what_its_learner_reaches_and_unknown_learners_are_left_out(ax):
    plots.lead_against_accuracy(LEADS, {"a": 80.0, "b": 90.0}, ax=ax)
    assert sorted(legend(ax)) == ["70 %, dual", "90 %, aum"]
    marks = {
        round(x): y
        for line in ax.lines
        for x, y in zip(line.get_xdata(), line.get_ydata())
        if line.get_marker() in "so"
    }
    assert marks[80] == 1.0 and set(marks) == {80, 90}


@pytest.mark.parametrize("name", DRAWN)
def test_each_plot_returns_its_ax_labels_both_axes_and_opens_no_figure(name, ax, dynamics, half):
    before = plt.get_fignums()
    assert DRAWN[name](ax, dynamics, half) is ax
    assert ax.get_xlabel() and ax.get_ylabel()
    assert plt.get_fignums() == before
    ax.figure.canvas.draw()  # nothing fails only when it is drawn


# ---- the moon ------------------------------------------------------------------------------------


def test_moon_plot_puts_std_to_the_right_and_mean_upwards(ax, dynamics):
    plots.moon_plot(dynamics, ax=ax)
    assert np.allclose(
        dots(ax), np.column_stack([PROB.std(axis=1, ddof=1), PROB.mean(axis=1)]), atol=1e-6
    )


def test_every_possible_sample_is_inside_the_moon_plots_frame(ax):
    # the largest deviation needs half 0 and half 1
    halves = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    longer = TrainingDynamics(
        np.repeat(halves, 5, axis=1), np.zeros((4, 10)), np.zeros((4, 10), bool), np.arange(4)
    )
    plots.moon_plot(longer, ax=ax)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert all(left <= x <= right and low <= y <= high for x, y in dots(ax))


def test_moon_plot_is_dark_where_samples_are_hard(ax, dynamics):
    plots.moon_plot(dynamics, ax=ax)
    (drawn,) = ax.collections
    assert np.allclose(drawn.get_array(), dynamics.mean_prob())
    brightness = drawn.get_cmap()([0.0, 0.5, 1.0])[:, :3].sum(axis=1)
    assert brightness[0] < brightness[1] < brightness[2]


def test_a_selection_is_coloured_and_counted(ax, dynamics, half):
    plots.moon_plot(dynamics, ax=ax, selection=half)
    pruned, kept = ax.collections
    assert legend(ax) == ["pruned (2)", "kept (2)"]
    assert (
        to_hex(kept.get_facecolor()[0]).upper() == plots.KEPT
        and to_hex(pruned.get_facecolor()[0]).upper() == plots.PRUNED
    )
    assert np.allclose(kept.get_offsets()[:, 1], dynamics.mean_prob()[half.kept])
    assert np.allclose(pruned.get_offsets()[:, 1], dynamics.mean_prob()[half.pruned])


def test_large_counts_have_a_thousands_comma(ax):
    prob = np.tile([0.2, 0.4], (2500, 1))
    many = TrainingDynamics(prob, np.zeros_like(prob), prob > 0.5, np.zeros(2500, int))
    plots.moon_plot(many, ax=ax, selection=Selection(np.arange(1200), 2500, "top"))
    assert legend(ax) == ["pruned (1,300)", "kept (1,200)"]


def test_the_highest_value_lies_on_top(ax, dynamics):
    plots.moon_plot(dynamics, ax=ax, values=np.array([0.3, 0.9, 0.1, 0.5]), label="my score")
    (drawn,) = ax.collections
    assert drawn.get_array().tolist() == [0.1, 0.3, 0.5, 0.9]
    assert np.allclose(drawn.get_offsets()[-1, 1], dynamics.mean_prob()[1])
    assert "my score" in [other.get_ylabel() for other in ax.figure.axes]


def test_ringed_samples_carry_their_row_number(ax, dynamics):
    plots.moon_plot(dynamics, ax=ax, rows=[2, 0])
    assert [text.get_text() for text in ax.texts] == ["2", "0"]
    assert np.allclose([text.xy[1] for text in ax.texts], dynamics.mean_prob()[[2, 0]])


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2, 1], [2, 1, 0]])
def test_of_two_ringed_neighbours_the_upper_ones_number_is_above(ax, rows):
    prob = np.array([[0.97, 0.99], [0.3, 0.9], [0.25, 0.85]])  # two lie close together
    some = TrainingDynamics(prob, np.zeros_like(prob), prob > 0.5, np.zeros(3, int))
    plots.moon_plot(some, ax=ax, rows=rows)
    shift = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert shift["1"] > 0 > shift["2"]


def test_moon_evolution_draws_the_record_as_it_stood(dynamics):
    _, axes = plt.subplots(1, 2)
    plots.moon_evolution(dynamics, [2, 3], axes=axes)
    assert np.allclose(dots(axes[0])[:, 1], PROB[:, :2].mean(axis=1), atol=1e-6)
    assert [ax.get_title() for ax in axes] == ["after 2 epochs", "after 3 epochs"]


def test_trajectories_start_at_epoch_one_and_are_named(ax, dynamics):
    plots.trajectories(dynamics, [2, 0], ax=ax, names=["wavering", "easy"])
    assert np.allclose([line.get_ydata() for line in ax.lines], PROB[[2, 0]], atol=1e-6)
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3] and legend(ax) == ["wavering", "easy"]


def test_the_hardest_trajectory_is_the_darkest(ax, dynamics):
    plots.trajectories(dynamics, [0, 1, 2], ax=ax)  # means 0.9, 0.1, 0.4
    easy, hard, between = [sum(matplotlib.colors.to_rgb(line.get_color())) for line in ax.lines]
    assert hard < between < easy


# ---- selections ----------------------------------------------------------------------------------


def test_beta_densities_are_scipys_and_named_by_ratio(ax):
    plots.beta_densities({0.9: (10.7, 4.3), 0.3: (5.3, 9.7)}, ax=ax)
    assert [text.split("  ")[0] for text in legend(ax)] == ["r = 0.3", "r = 0.9"]
    for line, pair in zip(ax.lines, [(5.3, 9.7), (10.7, 4.3)], strict=True):
        assert np.allclose(line.get_ydata(), stats.beta.pdf(line.get_xdata(), *pair))


def test_a_density_that_is_infinite_at_an_end_does_not_flatten_the_others(ax):
    parameters = {ratio: beta_parameters(ratio, 0.65, 4) for ratio in (0.5, 0.99)}
    assert parameters[0.99][1] < 1
    plots.beta_densities(parameters, ax=ax)
    assert ax.get_ylim()[1] < 10 * ax.lines[0].get_ydata().max()


def test_a_plane_shows_every_sample_once_where_it_lies_and_the_kept_on_top(ax, half):
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
    plots.plane(points, half, ax=ax, classes=[5, 5, 9, 9])
    drawn = {
        (*point, to_hex(each.get_facecolor()[0]))
        for each in ax.collections
        for point in each.get_offsets()
    }
    assert drawn == {
        (0.0, 0.0, plots.PRUNED.lower()),
        (1.0, 2.0, plots.KEPT.lower()),
        (3.0, 1.0, plots.KEPT.lower()),
        (2.0, 2.0, plots.PRUNED.lower()),
    }
    assert len(dots(ax)) == 4
    # drawn last
    assert [to_hex(each.get_facecolor()[0]) for each in ax.collections[-2:]] == [
        plots.KEPT.lower()
    ] * 2
    circle, triangle = (ax.collections[k].get_paths()[0] for k in (2, 3))
    assert len(circle) != len(triangle)  # one marker a class


def heights(ax):
    """{part: its share (%) at t} of a stack of areas, by their own vertices."""

    def at(area, t):
        points = area.get_paths()[0].vertices
        ys = points[np.isclose(points[:, 0], t), 1]
        return ys.max() - ys.min()

    return {area.get_label(): lambda t, area=area: at(area, t) for area in ax.collections}


def test_the_rules_areas_count_what_it_prunes_and_why_the_rest_is_kept(ax, exits):
    plots.rule_by_threshold(exits, ax=ax, threshold=0.7)
    # pruned, not sure, only the early exit right, the early exit wrong
    parts = list(heights(ax).values())
    for t in (0.5, 0.7, 0.9, 0.975):
        pruned = 100 * keep_above(eeprune(exits), 1 - t).prune_ratio
        assert np.allclose([part(t) for part in parts], [pruned, 40 - pruned, 20, 40])
    assert legend(ax)[0] == "pruned" and list(ax.lines[0].get_xdata()) == [0.7, 0.7]


def test_what_the_plane_shows_as_pruned_is_red_and_may_stand_alone(ax, half):
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
    plots.pruned_in_plane(points, half, ax=ax, classes=[5, 5, 9, 9])
    drawn = {
        (*point, to_hex(each.get_facecolor()[0]))
        for each in ax.collections
        for point in each.get_offsets()
    }
    blue, red = plots.KEPT.lower(), "#c1121f"
    assert drawn == {(1.0, 2.0, blue), (3.0, 1.0, blue), (0.0, 0.0, red), (2.0, 2.0, red)}
    assert legend_of(ax) == ["kept (2)", "pruned (2)"]
    for only, rows in (("kept", [1, 2]), ("pruned", [0, 3])):
        _, other = plt.subplots()
        plots.pruned_in_plane(points, half, ax=other, classes=[5, 5, 9, 9], only=only)
        assert sorted(map(tuple, dots(other))) == sorted(map(tuple, points[rows]))


def test_a_classifiers_boundary_runs_between_its_answers(ax, half):
    grid = np.arange(5.0)
    answer = np.tile([0, 0, 1, 1, 2], (5, 1))  # by column: between 1 and 2, and between 3 and 4
    answers = {"early": answer, "final": answer.T}
    plots.pruned_in_plane(
        np.zeros((4, 2)), half, ax=ax, classes=np.zeros(4), grid=grid, answers=answers
    )
    # after the dots: two lines a classifier
    early, final = (
        np.concatenate([path.vertices for each in some for path in each.get_paths()])
        for some in (ax.collections[2:4], ax.collections[4:6])
    )
    assert set(early[:, 0]) == {1.5, 3.5} == set(final[:, 1])
    assert (
        legend_of(ax)[-2:] == ["early", "final"]
        and ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    )


def test_kept_by_ease_counts_every_kept_sample_once(ax):
    mean = np.array([0.0, 0.04, 0.5, 0.51, 0.96, 1.0])  # both ends belong to a bin
    selections = {
        "random": Selection(np.array([0, 3, 5]), 6, "random"),
        "dual": Selection(np.array([1, 2]), 6, "top"),
    }
    plots.kept_by_ease(mean, selections, ax=ax, bins=10)
    whole = [patch.get_height() for patch in ax.patches if hasattr(patch, "get_height")]
    steps = {
        text: patch.get_data().values
        for text, patch in zip(
            legend(ax)[1:],
            [patch for patch in ax.patches if hasattr(patch, "get_data")],
            strict=True,
        )
    }
    assert sum(whole) == 6
    assert steps["random (3)"].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert steps["dual (2)"].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert legend(ax)[0] == "the whole set (6)"


def test_variants_of_a_method_have_its_colour_and_are_dashed(ax):
    kept = {
        name: Selection(np.array([0, 1]), 6, "top")
        for name in ("dual+beta", "dual+beta, c_d=5.5", "dual+beta, by fast_cnn")
    }
    plots.kept_by_ease(np.linspace(0, 1, 6), kept, ax=ax)
    lines = [patch for patch in ax.patches if hasattr(patch, "get_data")]
    assert len({line.get_edgecolor() for line in lines}) == 1
    assert [line.get_linestyle() for line in lines] == ["-", "--", ":"]
    assert (
        plots.method_style("dual+beta, c_d=5.5")["marker"]
        == plots.method_style("dual+beta")["marker"]
    )


def test_the_ease_axis_says_which_end_is_hard(ax, dynamics, half):
    plots.kept_by_ease(dynamics.mean_prob(), {"dual": half}, ax=ax)
    assert "hard → easy" in ax.get_xlabel() and ax.get_xlim() == (0, 1)


# ---- results -------------------------------------------------------------------------------------


def bars(ax):
    """{method: (means, half lengths of the bars)} as drawn."""
    found = {}
    for container in ax.containers:
        line, _, (segments,) = container.lines
        halves = [
            np.ptp(ends[:, 1]) / 2 if len(ends) else np.nan for ends in segments.get_segments()
        ]
        found[container.get_label()] = (line.get_ydata(), halves)
    return found


def test_accuracy_against_ratio_shows_numpys_mean_and_deviation(ax):
    plots.accuracy_against_ratio(ROWS, ax=ax)
    assert list(bars(ax)) == ["random", "dual"]
    for method, (mean, spread) in bars(ax).items():
        seeds = [
            [
                100 * row["accuracy"]
                for row in ROWS
                if (row["method"], row["prune_ratio"]) == (method, ratio)
            ]
            for ratio in (0.5, 0.9)
        ]
        assert np.allclose(mean, np.mean(seeds, axis=1)) and np.allclose(
            spread, np.std(seeds, axis=1, ddof=1)
        )
    assert [label.get_text() for label in ax.get_xticklabels()] == ["50 %", "90 %"]
    assert len(dots(ax)) >= len(ROWS)
    ends = [line.get_ydata() for line in ax.lines]  # of the bars, too
    assert ax.get_ylim()[0] < np.min(np.hstack(ends)) < np.max(np.hstack(ends)) < ax.get_ylim()[1]


def test_one_seed_has_a_mean_and_no_bar(ax, recwarn):
    plots.accuracy_against_ratio([row for row in ROWS if row["seed"] == 0], ax=ax)
    mean, spread = bars(ax)["dual"]
    assert np.allclose(mean, [92, 40]) and np.isnan(spread).all() and not recwarn.list


def test_a_method_may_lack_a_ratio_and_the_whole_sets_accuracy_is_a_line(ax):
    plots.accuracy_against_ratio(
        [row for row in ROWS if (row["method"], row["prune_ratio"]) != ("dual", 0.9)],
        ax=ax,
        whole=[0.97, 0.99],
    )
    assert [len(mean) for mean, _ in bars(ax).values()] == [2, 1]
    (line,) = [line for line in ax.lines if line.get_label() == "nothing pruned"]
    assert np.allclose(line.get_ydata(), 98)


@pytest.mark.parametrize(
    ("unit", "costs"),
    [
        ("samples", {"random": [500, 100], "dual": [1000, 600]}),
        ("seconds", {"random": [51, 11], "dual": [103, 63]}),
    ],
)
def test_accuracy_against_cost_adds_up_the_four_stages(ax, unit, costs):
    plots.accuracy_against_cost(BILLS, ax=ax, unit=unit)
    lines = {container.get_label(): container.lines[0] for container in ax.containers}
    for method, at in costs.items():
        mean = [
            100
            * np.mean(
                [
                    row["accuracy"]
                    for row in ROWS
                    if (row["method"], row["prune_ratio"]) == (method, ratio)
                ]
            )
            for ratio in (0.5, 0.9)
        ]
        assert np.allclose(lines[method].get_xydata(), np.column_stack([at, mean]))
        assert np.allclose(bars(ax)[method][1], 100 * np.std([0, 0.01, 0.04], ddof=1))
    assert ax.get_xscale() == "log" and unit[:3] in ax.get_xlabel().replace("images", "samples")


def test_training_on_everything_is_a_star_and_a_vertical_line(ax):
    plots.accuracy_against_cost(BILLS, ax=ax)
    (star,) = [
        container.lines[0]
        for container in ax.containers
        if container.get_label() == "nothing pruned"
    ]
    assert star.get_marker() == "*" and star.get_xydata().tolist() == [[1000, 95]]
    (line,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert list(line.get_xdata()) == [1000, 1000]
    assert sorted(legend(ax)) == ["dual", "nothing pruned", "random"]


def test_without_a_training_on_everything_there_is_no_star(ax):
    plots.accuracy_against_cost([row for row in BILLS if row["prune_ratio"]], ax=ax)
    assert sorted(legend(ax)) == ["dual", "random"] and not [
        line for line in ax.lines if line.get_linestyle() == ":"
    ]


# equal steps: every retraining costs the same; equal epochs
@pytest.mark.parametrize("bill", [1000, None])
def test_every_point_has_its_percentage_beside_it_and_no_two_overlap(ax, bill):
    rows = [
        row
        | {
            "method": method,
            "prune_ratio": ratio,
            "accuracy": row["accuracy"] + shift - ratio / 20,
            "retrain_samples": bill or 1000 * (1 - ratio),
        }
        for row in BILLS
        if (row["method"], row["prune_ratio"]) == ("dual", 0.5)
        for method, shift in (
            ("dual", 0),
            ("dual+beta", 0.001),
            ("dual+beta, c_d=5.5", -0.002),
            ("el2n", 0.01),
        )
        for ratio in (0.3, 0.5, 0.7, 0.8, 0.9)
    ]
    plots.accuracy_against_cost(rows, ax=ax)
    ax.figure.canvas.draw()
    assert sorted(text.get_text() for text in ax.texts) == sorted(
        ["30", "50", "70", "80", "90"] * 4
    )
    for text in ax.texts:  # its anchor is the point it speaks of
        ratio, colour = int(text.get_text()) / 100, to_hex(text.get_color())
        mine = [
            np.mean(
                [
                    [row["record_samples"] + row["retrain_samples"], 100 * row["accuracy"]]
                    for row in rows
                    if (row["method"], row["prune_ratio"]) == (method, ratio)
                ],
                axis=0,
            )
            for method in {row["method"] for row in rows}
            if to_hex(plots.method_style(method)["color"]) == colour
        ]
        assert any(np.allclose(text.xy, point) for point in mine)
    # without the lines that lead to some
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    points = np.concatenate(
        [
            line.get_transform().transform(line.get_xydata())
            for line in (container.lines[0] for container in ax.containers)
        ]
    )
    assert len(points) == 20 and not any(box.contains(*point) for box in boxes for point in points)


def test_methods_of_equal_cost_stand_side_by_side_at_their_true_cost(ax):
    equal = [
        row | {"record_samples": 500, "retrain_samples": 1000}
        for row in BILLS
        if row["prune_ratio"]
    ]
    plots.accuracy_against_cost(equal, ax=ax)
    one, other = [container.lines[0] for container in ax.containers]
    assert one.get_xdata().tolist() == other.get_xdata().tolist() == [1500, 1500]
    left, right = [line.get_transform().transform(line.get_xydata())[0, 0] for line in (one, other)]
    assert 5 < abs(left - right) < 20  # pixels


def test_a_bill_in_an_unknown_unit_is_refused(ax):
    with pytest.raises(ValueError, match="unit must be samples or seconds; got 'hours'"):
        plots.accuracy_against_cost(BILLS, ax=ax, unit="hours")


def test_no_two_methods_share_a_colour_or_a_marker():
    styles = [plots.method_style(method) for method in [*catalog.METHODS, "a method of my own"]]
    for part in ("color", "marker"):
        assert len({style[part] for style in styles}) == len(styles)


def test_every_method_has_a_style_of_its_own_and_variants_stay_dashed():
    for method in (*catalog.METHODS, "herding", "nearest_to_centre", "kcenter"):
        style = plots.method_style(method)
        assert style["color"] != plots.method_style("a method of my own")["color"]
        assert (
            plots.method_style(f"{method}, window=5")["linestyle"] == "--" != style.get("linestyle")
        )


@pytest.mark.parametrize(
    "seen",
    [  # Machado, Oliveira and Fernandes, 2009: no red cones, no green cones; linear RGB
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    ],
)
def test_colours_that_a_colour_blind_reader_confuses_have_different_lines(seen):
    def percept(style):
        return np.clip(np.asarray(seen) @ np.asarray(to_rgb(style["color"])) ** 2.2, 0, 1) ** (
            1 / 2.2
        )

    # grey is everybody's
    styles = {
        method: plots.method_style(method) for method in catalog.METHODS if method != "random"
    }
    for (a, one), (b, other) in itertools.combinations(styles.items(), 2):
        apart = np.linalg.norm(percept(one) - percept(other)) > 0.1
        assert apart or one.get("linestyle", "-") != other.get("linestyle", "-"), (a, b)


def test_accuracy_against_epochs_marks_where_less_went_than_was_asked(ax):
    rows = [
        row | {"record_epochs": 0, "num_samples": 10, "keep": 5}
        for row in ROWS
        if row["prune_ratio"] == 0.5
    ][:3]
    rows += [
        {
            "method": "eeprune",
            "prune_ratio": 0.5,
            "record_epochs": epochs,
            "accuracy": accuracy,
            "num_samples": 10,
            "keep": keep,
        }
        for epochs, keep in ((5, 5), (1, 8))
        for accuracy in (0.5, 0.7)
    ]
    plots.accuracy_against_epochs(rows, ax=ax)
    chance, curve = ax.lines[0], ax.lines[1]
    assert chance.get_ydata()[0] == pytest.approx(
        100 * np.mean([row["accuracy"] for row in rows[:3]])
    )
    assert curve.get_xdata().tolist() == [1, 5] and curve.get_ydata().tolist() == pytest.approx(
        [60, 60]
    )
    faces = [container.lines[0].get_markerfacecolor() for container in ax.containers]
    assert faces[0] == "white" and faces[1] == plots.method_style("eeprune")["color"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "5"]


def test_accuracy_against_epochs_shows_variants_open(ax):
    same = {"prune_ratio": 0.5, "num_samples": 10, "keep": 5, "accuracy": 0.5}
    names = ["dual", "dual, start of a longer schedule"]
    plots.accuracy_against_epochs(
        [same | {"method": name, "record_epochs": 30} for name in names], ax=ax
    )
    faces = [container.lines[0].get_markerfacecolor() for container in ax.containers]
    assert faces == [plots.method_style("dual")["color"], "white"]


def test_the_share_of_each_class_that_goes_is_counted_by_hand(ax):
    labels = np.array([0, 0, 0, 0, 1, 1])
    one, other = (
        Selection(np.array([0, 1, 2, 3, 4]), 6, "top"),
        Selection(np.array([2, 3, 4]), 6, "top"),
    )
    plots.pruned_by_class(
        {"both": [one, other], "other": other}, labels, ax=ax, class_names=["cat", "dog"]
    )
    # (0 + 2) / 2 of 4 cats, (1 + 1) / 2 of 2 dogs
    assert ax.images[0].get_array().tolist() == [[25, 50], [50, 50]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]
    assert sorted(text.get_text() for text in ax.texts) == ["25", "50", "50", "50"]


# ---- two points ----------------------------------------------------------------------------------


def test_the_boundary_is_square_to_w_and_the_probability_dark_where_it_is_low(ax):
    plots.two_points([[0.5, 0.5], [2, 1]], [3.0, 1.0], ax=ax)
    (boundary, _origin), (plane, points) = ax.lines, ax.collections
    assert boundary.get_xy1() == (0, 0) and np.dot(boundary.get_xy2(), [3, 1]) == 0
    prob = plane.get_array().reshape(200, 200)  # rows go up, columns to the right
    assert prob[0, 0] < 0.01 and prob[-1, -1] > 0.99 and plane.get_clim() == (0, 1)
    assert points.get_offsets().tolist() == [[0.5, 0.5], [2, 1]]
    assert [list(text.xy) for text in ax.texts] == [[0.5, 0.5], [2, 1]]


def test_before_the_first_step_there_is_no_boundary(ax):
    plots.two_points([[0.5, 0.5], [2, 1]], [0, 0], ax=ax)
    # the one line is the origin's cross
    assert len(ax.lines) == 1 and np.all(ax.collections[0].get_array() == 0.5)


def test_a_crossing_is_marked_where_it_was_found_and_only_there(ax):
    ratios = {"dyn_unc": [0.5, 0.7, 0.9], "dual": [0.5, 0.9, 1.2]}
    plots.crossings(
        ratios, ax=ax, times={"dyn_unc": None, "dual": 2}, names={"dyn_unc": "standard deviation"}
    )
    assert dots(ax).tolist() == [[2, 1.2]] and ax.get_yscale() == "log"
    assert legend(ax) == ["standard deviation: not reached", "dual: step 2"]
    assert {line.get_color() for line in ax.lines[1:]} == {
        plots.method_style(method)["color"] for method in ratios
    }


def test_a_crossing_beyond_what_is_drawn_is_only_named(ax):
    plots.crossings({"dual": [0.5, 0.9]}, ax=ax, times={"dual": 7})
    assert not ax.collections and legend(ax) == ["dual: step 7"]


def test_ratios_are_written_as_plain_numbers(ax):
    plots.crossings({"dual": [0.1, 0.5, 90.0]}, ax=ax)
    ax.figure.canvas.draw()
    assert {"0.1", "0.3", "1", "3", "10", "30"} <= {
        label.get_text() for label in ax.get_yticklabels()
    }
    assert legend(ax) == ["dual"]


# ---- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [0, 3])
def test_image_grid_puts_picture_k_in_its_place(ax, channels):
    shape = (5, 12, 24) + ((channels,) if channels else ())
    pictures = np.ones(shape, np.uint8) * np.arange(10, 60, 10, dtype=np.uint8).reshape(
        5, *[1] * (len(shape) - 1)
    )
    assert plots.image_grid(pictures, ax=ax, columns=3, names=list("abcde"), title="five") is ax
    sheet = np.asarray(ax.images[0].get_array())
    for k, text in enumerate(ax.texts):
        x, y = text.get_position()  # the name stands under the middle of its picture
        picture = sheet[int(y) - 2 - 12 : int(y) - 2, int(x) - 12 : int(x) + 12]
        assert text.get_text() == "abcde"[k] and np.all(picture == 10 * (k + 1))
    tops = [text.get_position()[1] for text in ax.texts]
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert ax.get_title(loc="left") == "five"


# ---- explorers -----------------------------------------------------------------------------------


@pytest.fixture
def explorers(dynamics, exits):
    pytest.importorskip("ipywidgets")
    from dpkit.teaching import explorers as widgets

    return {
        "moon": lambda: widgets.moon_explorer(dynamics, rows=[1]),
        "window": lambda: widgets.window_explorer(dynamics, 2, window=2),
        "threshold": lambda: widgets.threshold_explorer(exits, threshold=0.7),
        "beta": lambda: widgets.beta_explorer(mu_d=0.65, c_d=4.0),
        "two_point": lambda: widgets.two_point_explorer(
            (0.5, 0.5), (2, 1), learning_rate=0.1, window=4, steps=20
        ),
    }


@pytest.mark.parametrize("name", ["moon", "window", "threshold", "beta", "two_point"])
def test_an_explorer_draws_at_its_start_and_at_every_sliders_ends(name, explorers, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: plt.gcf().canvas.draw())
    explorer = explorers[name]()
    plt.close("all")  # it has drawn once by itself, where an error would only be logged
    start = {slider._kwarg: slider.value for slider in explorer.kwargs_widgets}
    for slider in explorer.kwargs_widgets:
        for value in (slider.value, slider.min, slider.max):
            explorer.f(**start | {slider._kwarg: value})
            assert len(plt.get_fignums()) == 1 and plt.gca().get_xlabel()
            plt.close("all")


def test_the_window_explorer_computes_one_window_of_dual(explorers, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    explorers["window"]().f(start=2)  # 0.9, 0.3: mean 0.6, std 0.4243
    assert plt.gca().get_title().endswith("(1 - mean) · std = 0.1697")


def test_the_threshold_explorer_counts_what_the_rule_prunes(explorers, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    draw = explorers["threshold"]().f
    for t, pruned in ((0, 2), (0.7, 1), (0.95, 0)):  # 0.95 is not above 0.95
        plt.close("all")
        draw(t=t)
        assert plt.gca().get_title() == f"{pruned} of 5 pruned ({20 * pruned:.1f} %)"


def test_the_two_point_explorer_marks_the_times_and_shows_the_step_asked_for(
    explorers, monkeypatch
):
    monkeypatch.setattr(plt, "show", lambda: None)
    draw = explorers["two_point"]().f
    plt.close("all")
    draw(step=3, rate=0.1)
    left, right = plt.gcf().axes
    times = two_point.crossing_times((0.5, 0.5), (2, 1), learning_rate=0.1, window=4)
    assert legend(right) == [
        f"{name}: step {time}" for name, time in zip(("standard deviation", "dual"), times)
    ]
    assert right.get_title() == "step 3, learning rate 0.1" and right.lines[-1].get_xdata() == [
        3,
        3,
    ]
    w = next(itertools.islice(two_point.descent((0.5, 0.5), (2, 1), learning_rate=0.1), 3, None)).w
    assert (
        left.get_title()
        == f"p = {1 / (1 + np.exp(-w @ [0.5, 0.5])):.3f} and {1 / (1 + np.exp(-w @ [2, 1])):.3f}"
    )


def test_in_a_report_a_sentence_stands_in_an_explorers_place(explorers, monkeypatch):
    from dpkit.reports.result import ENVIRONMENT

    monkeypatch.setenv(ENVIRONMENT, "{}")
    assert "JupyterLab" in explorers["beta"]().data


# ---- imports -------------------------------------------------------------------------------------


def test_plots_load_neither_torch_nor_a_drawing_backend(python):
    done = python(
        "import sys, dpkit.plots; print([m for m in ('torch', 'matplotlib.pyplot') if m in "
        "sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


# ---- differences to a reference ------------------------------------------------------------------


def lines_of(**differences):
    """What results.summary gives: {method: (difference, low, high)}; the reference itself has no
    pairs.
    """
    lines = [{"method": "random", "difference": np.nan, "low": np.nan, "high": np.nan, "pairs": 0}]
    return pandas.DataFrame(
        lines
        + [
            {"method": name, "difference": d, "low": low, "high": high, "pairs": 3}
            for name, (d, low, high) in differences.items()
        ]
    )


def test_differences_stand_in_order_with_their_intervals_and_the_reference_is_the_line_at_0(ax):
    plots.differences(
        lines_of(aum=(-2.0, -3.0, -1.0), ccs=(1.5, 1.0, 2.0), d2=(0.5, -1.0, 2.0)), ax=ax
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ccs", "d2", "aum"]
    bars = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert bars == [[0, 0], [1, 2], [-1, 2], [-3, -1]]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the largest is on top


def test_a_difference_that_may_be_nothing_is_open(ax):
    plots.differences(
        lines_of(ccs=(1.5, 1.0, 2.0), d2=(0.5, -1.0, 2.0), aum=(9.0, np.nan, np.nan)), ax=ax
    )
    points = {
        float(line.get_xdata()[0]): line.get_markerfacecolor()
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert points[1.5] == plots.method_style("ccs")["color"] and points[0.5] == "white"
    assert points[9.0] == "white"  # a single pair has no interval


def test_panels_of_several_ratios_share_their_lines(ax):
    plots.differences(lines_of(aum=(1.0, 0.5, 1.5)), ax=ax, order=["ccs", "aum"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ccs", "aum"]
    assert [line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 1] == [1]


def drawn_at(ax) -> np.ndarray:
    """Where the marks of the methods stand on the printed x axis, in points from their ratios."""
    found = []
    for line in [container.lines[0] for container in ax.containers]:
        assert list(line.get_xdata()) == [0.5, 0.9]  # the ratios themselves
        points = np.column_stack([line.get_xdata(), [0.5, 0.5]])
        beside = line.get_transform().transform(points) - ax.transData.transform(points)
        found.append(beside[:, 0] * 72 / ax.figure.dpi)
    return np.array(found)


@pytest.mark.parametrize("count", [1, 2, 18])
def test_many_methods_stay_beside_their_ratio(ax, count):
    rows = [
        {"method": f"m{k}", "prune_ratio": r, "accuracy": 0.5}
        for k in range(count)
        for r in (0.5, 0.9)
    ]
    plots.accuracy_against_ratio(rows, ax=ax)
    beside = drawn_at(ax)
    assert len(beside) == count and abs(beside).max() <= 5 and np.allclose(beside.sum(0), 0)
    assert len(np.unique(beside[:, 0].round(3))) == count  # none over another


def losses_of(*methods, ratios=(0.5, 0.9)):
    lines = [
        {"method": method, "prune_ratio": ratio, "loss": 1.0, "low": 0.5, "high": 1.5}
        for method in methods
        for ratio in ratios
    ]
    return pandas.DataFrame(lines)


def test_losses_stand_at_their_ratios_and_a_variant_of_a_method_is_drawn_too(ax):
    plots.losses(losses_of("random", "dual+beta", "dual+beta, c_d=5.5"), 2.0, ax=ax)
    assert abs(drawn_at(ax)).max() <= 5


@pytest.mark.parametrize("draw", ["accuracy", "losses", "the axis alone"])
def test_the_axis_of_ratios_is_to_scale(ax, draw):
    ratios = [0.3, 0.5, 0.9, 0.95]
    if draw == "accuracy":
        rows = [{"method": "dual", "prune_ratio": r, "accuracy": r, "seed": 0} for r in ratios]
        plots.accuracy_against_ratio(rows, ax=ax)
    elif draw == "losses":
        plots.losses(losses_of("random", ratios=ratios), 2.0, ax=ax)
    else:
        plots.ratio_axis(ratios, ax=ax)
    assert ax.get_xscale() == "linear" and ax.get_xticks().tolist() == ratios
    low, high = ax.get_xlim()
    assert low < 0.3 and high > 0.95
    # the last two lie close, and would print over each other
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["30 %", "50 %", "90 %", "\n95 %"]


def apart(one, other) -> float:
    """How far two colours are for the eye: their distance in CIELAB, near enough."""

    def lab(colour):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(np.array(matrix) @ linear / [0.9505, 1, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return float(np.linalg.norm(lab(one) - lab(other)))


def test_kept_has_the_colour_of_no_method():
    assert apart("white", "black") > 99 and apart(plots.KEPT, plots.KEPT) == 0
    for method in [*catalog.METHODS, "a method of my own"]:
        assert apart(plots.KEPT, plots.method_style(method)["color"]) > 25, method


@pytest.mark.parametrize(
    "draw",
    [plots.accuracy_against_ratio, plots.accuracy_against_epochs, plots.accuracy_against_cost],
)
def test_a_figure_of_a_table_says_what_to_pass_instead(draw, ax):
    with pytest.raises(TypeError, match=r"got a table: pass dpkit\.results\.labelled\(table\)"):
        draw(pandas.DataFrame(ROWS), ax=ax)
