from .influence import influence_norm_scores as influence_norm_scores
from .influence import influence_selection as influence_selection
