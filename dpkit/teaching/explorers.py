"""Explorers: a slider over a plot, for JupyterLab. In an executed report a note replaces them.

Each draws with dpkit.plots, and in a lesson each stands after a static figure that says the same
without a kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from ipywidgets import FloatSlider, IntSlider, interactive
from numpy.typing import ArrayLike

from dpkit import plots
from dpkit.records import Snapshot, TrainingDynamics
from dpkit.reports.result import ENVIRONMENT
from dpkit.scorers import eeprune
from dpkit.selectors import beta_parameters, keep_above
from dpkit.teaching import two_point

if TYPE_CHECKING:
    from ipywidgets import Widget


def _explorer(draw, **sliders):
    # not while a report is made: a plot drawn inside a widget hangs nbclient now and then (its
    # issue 312)
    return (
        Markdown("*interactive in JupyterLab*")
        if os.environ.get(ENVIRONMENT)
        else interactive(draw, **sliders)
    )


def moon_explorer(dynamics: TrainingDynamics, *, rows: Iterable[int] = ()) -> Widget:
    """The moon plot as it grows: a slider over the epochs. rows: samples to ring and number."""

    def draw(epochs):
        _, ax = plt.subplots(figsize=(6, 4.5))
        plots.moon_plot(dynamics.first(epochs), ax=ax, rows=rows)
        ax.set_title(f"after {epochs} epochs")
        plt.show()

    return _explorer(
        draw, epochs=IntSlider(value=dynamics.num_epochs, min=2, max=dynamics.num_epochs)
    )


def window_explorer(dynamics: TrainingDynamics, row: int, *, window: int) -> Widget:
    """One sample's curve with a window that slides: its mean, its standard deviation, and what DUAL
    makes of them.
    """

    def draw(start):
        _, ax = plt.subplots(figsize=(7, 4))
        plots.trajectories(dynamics, [row], ax=ax)
        ax.axvspan(start - 0.5, start + window - 0.5, color=plots.KEPT, alpha=0.15)
        p = dynamics.target_prob[row, start - 1 : start - 1 + window].astype(np.float64)
        mean, std = p.mean(), p.std(ddof=1)
        ax.set_title(f"mean {mean:.3f},  std {std:.3f},  (1 - mean) · std = {(1 - mean) * std:.4f}")
        plt.show()

    return _explorer(
        draw,
        start=IntSlider(
            value=1, min=1, max=dynamics.num_epochs - window + 1, description="first epoch"
        ),
    )


def threshold_explorer(snapshot: Snapshot, *, exit: int = 0, threshold: float = 0.9) -> Widget:
    """EEPrune's threshold: what becomes of the samples, and how much of each class is pruned."""

    def draw(t):
        fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
        plots.rule_by_threshold(snapshot, ax=left, exit=exit, threshold=t)
        pruned = keep_above(eeprune(snapshot, exit=exit), 1 - t).pruned
        of_class, whole = (
            np.bincount(labels, minlength=snapshot.probs.shape[2])
            for labels in (snapshot.labels[pruned], snapshot.labels)
        )
        right.bar(np.arange(len(whole)), 100 * of_class / np.maximum(whole, 1), color=plots.PRUNED)
        right.set(xlabel="class", ylabel="pruned (% of the class)", ylim=(0, 100))
        n = snapshot.num_samples
        right.set_title(f"{len(pruned):,} of {n:,} pruned ({100 * len(pruned) / n:.1f} %)")
        fig.tight_layout()
        plt.show()

    return _explorer(
        draw, t=FloatSlider(value=threshold, min=0, max=0.99, step=0.01, description="threshold")
    )


def beta_explorer(*, mu_d: float, c_d: float) -> Widget:
    """The Beta density under the three numbers that decide it: ratio r, mu_D and c_D."""

    def draw(r, mu_d, c_d):
        _, ax = plt.subplots(figsize=(6, 4))
        plots.beta_densities({r: beta_parameters(r, mu_d, c_d)}, ax=ax)
        plt.show()

    return _explorer(
        draw,
        r=FloatSlider(value=0.9, min=0, max=0.99, step=0.01),
        mu_d=FloatSlider(value=mu_d, min=0.01, max=0.99, step=0.01, description="μ_D"),
        c_d=FloatSlider(value=c_d, min=0.5, max=12, step=0.5, description="c_D"),
    )


def two_point_explorer(
    x1: ArrayLike, x2: ArrayLike, *, learning_rate: float, window: int, steps: int
) -> Widget:
    """Two points of the plane while a linear model learns them: a slider over the step, one over
    the learning rate.

    Right: by how much x1 is ahead, by the standard deviation alone and by DUAL, in the window that
        starts at the step.
    """

    def draw(step, rate):
        descent = list(islice(two_point.descent(x1, x2, learning_rate=rate), steps + window))
        seen = two_point.window_statistics(np.array([each.error for each in descent]).T, window)
        times = two_point.crossing_times(
            x1, x2, learning_rate=rate, window=window, max_steps=steps + window - 1
        )
        fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=[1, 1.4])
        plots.two_points([x1, x2], descent[step].w, ax=left)
        left.set_title("p = {:.3f} and {:.3f}".format(*descent[step].target_prob))
        plots.crossings(
            {"dyn_unc": seen.std[0] / seen.std[1], "dual": seen.dual[0] / seen.dual[1]},
            ax=right,
            times=dict(zip(("dyn_unc", "dual"), times)),
            names={"dyn_unc": "standard deviation"},
        )
        right.axvline(step, color="black", linewidth=1)
        right.set_title(f"step {step}, learning rate {rate:g}")
        fig.tight_layout()
        plt.show()

    tenth = learning_rate / 10
    return _explorer(
        draw,
        step=IntSlider(value=0, min=0, max=steps),
        rate=FloatSlider(
            value=learning_rate, min=tenth, max=100 * tenth, step=tenth, readout_format=".2g"
        ),
    )
