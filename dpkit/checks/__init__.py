"""Feedback on a learner's function, in the cell where it was typed: `dpkit.checks.dual(my_dual)`.

Each check tries the function on small cases and says in a sentence what is wrong: which mistake it was, if it is a
known one, else the first number that differs and the input that shows it. It never raises for a wrong answer and takes
no marks; what it gives is true if the answer is right. The learner's function runs in the learner's own process.
"""

from dpkit.checks._answer import Verdict
from dpkit.checks.dual_score import dual, most_wanted

__all__ = ["Verdict", "dual", "most_wanted"]
