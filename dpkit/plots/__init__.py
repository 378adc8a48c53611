"""Pictures of records: every function takes `ax`, draws on it and returns it.

One colour means one thing everywhere: blue is kept, pale orange is pruned, dark is hard. All pairs
stay apart for colour-blind readers (Okabe and Ito's palette, and viridis).
"""

from dpkit.plots._style import HARDNESS, KEPT, PRUNED, method_style, ratio_axis
from dpkit.plots.accuracy import accuracy_against_epochs, accuracy_against_ratio
from dpkit.plots.cost import accuracy_against_cost
from dpkit.plots.exits import pruned_in_plane, rule_by_threshold
from dpkit.plots.influence import (
    gap_against_bound,
    objective_against_proposals,
    predicted_against_measured,
)
from dpkit.plots.intervals import differences, lead_against_accuracy
from dpkit.plots.kept import beta_densities, kept_by_ease, plane, pruned_by_class
from dpkit.plots.moon import moon_evolution, moon_plot, trajectories
from dpkit.plots.pictures import image_grid
from dpkit.plots.theorem import crossings, two_points
from dpkit.plots.tolerance import losses

__all__ = [
    "HARDNESS",
    "KEPT",
    "PRUNED",
    "accuracy_against_cost",
    "accuracy_against_epochs",
    "accuracy_against_ratio",
    "beta_densities",
    "crossings",
    "differences",
    "gap_against_bound",
    "image_grid",
    "kept_by_ease",
    "lead_against_accuracy",
    "losses",
    "method_style",
    "moon_evolution",
    "moon_plot",
    "objective_against_proposals",
    "plane",
    "predicted_against_measured",
    "pruned_by_class",
    "pruned_in_plane",
    "ratio_axis",
    "rule_by_threshold",
    "trajectories",
    "two_points",
]
