"""Pictures of influence: what is drawn is what the numbers say."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dpkit import plots
from dpkit.selectors import annealing


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_every_pair_is_a_dot_and_equal_ones_lie_on_the_line(ax):
    assert plots.predicted_against_measured([[1.0, 2.0]], [[1.0, 4.0]], ax=ax) is ax
    assert ax.collections[0].get_offsets().tolist() == [[1, 1], [4, 2]]
    assert ax.lines[0].get_slope() == 1


def test_the_best_so_far_never_rises(ax):
    vectors = np.random.default_rng(0).standard_normal((40, 3))
    reports = list(annealing(vectors, 20, rng=0, steps=2000))
    assert plots.objective_against_proposals(reports, ax=ax) is ax
    now, best = (line.get_ydata() for line in ax.lines)
    assert np.all(np.diff(best) <= 0) and np.all(best <= np.array(now) + 1e-9)
    assert ax.lines[0].get_xdata()[-1] == 2000


def test_a_fall_of_the_test_loss_is_an_open_mark_at_its_length(ax):
    rows = [
        {"method": "random", "first_order": 0.1, "gap": 0.01},
        {"method": "random", "first_order": 0.2, "gap": -0.02},
    ]
    assert plots.gap_against_bound(rows, ax=ax) is ax
    rose, fell = ax.collections
    assert rose.get_offsets().tolist() == [[0.1, 0.01]] and fell.get_offsets().tolist() == [
        [0.2, 0.02]
    ]
    assert len(rose.get_facecolor()) == 1 and len(fell.get_facecolor()) == 0
