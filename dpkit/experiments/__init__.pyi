from .pruning import prune as prune
from .publishing import publish as publish
from .results import results_table as results_table
from .results import summary as summary
from .sweeps import sweep as sweep
from .trials import Trial as Trial
from .trials import run_trial as run_trial
