from .estimates import influence_vectors as influence_vectors
from .estimates import outer_influence as outer_influence
from .generalization import bound as bound
from .generalization import predicted_shift as predicted_shift
from .last_layer import fit_last_layer as fit_last_layer
from .last_layer import with_last_layer as with_last_layer
from .plans import plan_influence as plan_influence
