from .gradients import gradient_norms as gradient_norms
from .inference import evaluate as evaluate
from .inference import take_snapshot as take_snapshot
from .loop import EpochReport as EpochReport
from .loop import train as train
from .recipe import Recipe as Recipe
from .recorder import Recorder as Recorder
from .recorder import indexed as indexed
