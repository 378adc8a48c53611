from .catalog import METHODS as METHODS
from .catalog import find_method as find_method
from .influence import influence_norm_scores as influence_norm_scores
from .influence import influence_selection as influence_selection
from .method import Method as Method
