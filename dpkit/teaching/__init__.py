"""For learners: feedback on exercises, explorers, the two-point theorem."""
