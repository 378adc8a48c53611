"""Feedback on a learner's function, in the cell where it was typed: `dpkit.checks.dual(my_dual)`.

Each check tries the function on small cases and says in a sentence what is wrong: which mistake it
was, if it is a known one, else the first number that differs and the input that shows it. It never
raises for a wrong answer and takes no marks; what it gives is true if the answer is right. The
learner's function runs in the learner's own process.
"""

from dpkit.teaching.checks._answer import Verdict
from dpkit.teaching.checks.baselines import area_under_margin, grand, tdds
from dpkit.teaching.checks.beta_sampling import gumbel_draw, reached_ratio, sampling_shares
from dpkit.teaching.checks.coverage_and_diversity import (
    cover_radius,
    neighbour_graph,
    water_filling,
)
from dpkit.teaching.checks.dual_score import dual, most_wanted, overlap
from dpkit.teaching.checks.early_exits import (
    early_exit_score,
    flops_saved,
    leaving_exit,
    prune_surest,
)
from dpkit.teaching.checks.influence_pruning import influence_of_one, swap_change, two_epsilons
from dpkit.teaching.checks.start_here import how_many_stay, moon_place, paired_difference
from dpkit.teaching.checks.training_dynamics import cosine_rate, right_for_good, three_numbers
from dpkit.teaching.checks.two_point_theorem import descent_step, ratio_limits, turning_times

__all__ = [
    "Verdict",
    "area_under_margin",
    "cosine_rate",
    "cover_radius",
    "descent_step",
    "dual",
    "early_exit_score",
    "flops_saved",
    "grand",
    "gumbel_draw",
    "how_many_stay",
    "influence_of_one",
    "leaving_exit",
    "moon_place",
    "most_wanted",
    "neighbour_graph",
    "overlap",
    "paired_difference",
    "prune_surest",
    "ratio_limits",
    "reached_ratio",
    "right_for_good",
    "sampling_shares",
    "swap_change",
    "tdds",
    "three_numbers",
    "turning_times",
    "two_epsilons",
    "water_filling",
]
