"""Feedback on a learner's function, in the cell where it was typed: `dpkit.checks.dual(my_dual)`.

Each check tries the function on small cases and says in a sentence what is wrong: which mistake it was, if it is a
known one, else the first number that differs and the input that shows it. It never raises for a wrong answer and takes
no marks; what it gives is true if the answer is right. The learner's function runs in the learner's own process.
"""

from dpkit.checks._answer import Verdict
from dpkit.checks.baselines import area_under_margin, grand, tdds
from dpkit.checks.beta_sampling import gumbel_draw, reached_ratio, sampling_shares
from dpkit.checks.coverage_and_diversity import cover_radius, neighbour_graph, water_filling
from dpkit.checks.dual_score import dual, most_wanted
from dpkit.checks.early_exits import early_exit_score, flops_saved, leaving_exit, prune_surest
from dpkit.checks.influence_pruning import influence_of_one, swap_change, two_epsilons
from dpkit.checks.two_point_theorem import descent_step, ratio_limits, turning_times

__all__ = ["Verdict", "area_under_margin", "cover_radius", "descent_step", "dual", "early_exit_score", "flops_saved", "grand",
           "gumbel_draw", "influence_of_one", "leaving_exit", "most_wanted", "neighbour_graph", "prune_surest",
           "ratio_limits", "reached_ratio", "sampling_shares", "swap_change", "tdds", "turning_times", "two_epsilons",
           "water_filling"]
