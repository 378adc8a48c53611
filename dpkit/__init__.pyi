from .data.image_set import DATASETS as DATASETS
from .data.image_set import ImageSet as ImageSet
from .data.image_set import load as load
from .data.toys import toy_images as toy_images
from .experiments.pruning import prune as prune
from .experiments.results import results_table as results_table
from .experiments.results import summary as summary
from .experiments.sweeps import sweep as sweep
from .experiments.trials import Trial as Trial
from .experiments.trials import run_trial as run_trial
from .influence.bounds import bound as bound
from .influence.bounds import predicted_shift as predicted_shift
from .influence.estimates import (
    influence_vectors as influence_vectors,
)
from .influence.estimates import (
    outer_influence as outer_influence,
)
from .influence.estimates import (
    plan_influence as plan_influence,
)
from .influence.last_layer import (
    fit_last_layer as fit_last_layer,
)
from .influence.last_layer import (
    with_last_layer as with_last_layer,
)
from .methods.by_influence import (
    anneal_influence as anneal_influence,
)
from .methods.by_influence import (
    lone_influence as lone_influence,
)
from .methods.catalog import METHODS as METHODS
from .nets.builders import MODELS as MODELS
from .nets.builders import make_net as make_net
from .nets.early_exits import (
    EarlyExitNet as EarlyExitNet,
)
from .nets.early_exits import (
    exit_loss as exit_loss,
)
from .nets.early_exits import (
    leave_early as leave_early,
)
from .records import (
    Scores as Scores,
)
from .records import (
    Selection as Selection,
)
from .records import (
    Snapshot as Snapshot,
)
from .records import (
    TrainingDynamics as TrainingDynamics,
)
from .records import (
    keep_count as keep_count,
)
from .records.agreement import rank_agreement as rank_agreement
from .records.kept_list import find_kept as find_kept
from .records.kept_list import read_kept as read_kept
from .records.vectors import OuterVectors as OuterVectors
from .scorers import (
    aum as aum,
)
from .scorers import (
    dual as dual,
)
from .scorers import (
    dyn_unc as dyn_unc,
)
from .scorers import (
    eeprune as eeprune,
)
from .scorers import (
    el2n as el2n,
)
from .scorers import (
    entropy as entropy,
)
from .scorers import (
    forgetting as forgetting,
)
from .scorers import (
    grand as grand,
)
from .scorers import (
    influence_norm as influence_norm,
)
from .scorers import (
    least_confidence as least_confidence,
)
from .scorers import (
    margin as margin,
)
from .scorers import (
    moderate as moderate,
)
from .scorers import (
    tdds as tdds,
)
from .selectors import (
    anneal as anneal,
)
from .selectors import (
    anneal_within as anneal_within,
)
from .selectors import (
    annealing as annealing,
)
from .selectors import (
    annealing_within as annealing_within,
)
from .selectors import (
    beta_parameters as beta_parameters,
)
from .selectors import (
    keep_above as keep_above,
)
from .selectors import (
    keep_beta as keep_beta,
)
from .selectors import (
    keep_ccs as keep_ccs,
)
from .selectors import (
    keep_d2 as keep_d2,
)
from .selectors import (
    keep_herding as keep_herding,
)
from .selectors import (
    keep_kcenter as keep_kcenter,
)
from .selectors import (
    keep_nearest_to_centre as keep_nearest_to_centre,
)
from .selectors import (
    keep_random as keep_random,
)
from .selectors import (
    keep_top as keep_top,
)
from .training.gradients import gradient_norms as gradient_norms
from .training.inference import evaluate as evaluate
from .training.inference import take_snapshot as take_snapshot
from .training.loop import train as train
from .training.recipe import Recipe as Recipe
from .training.recipe import recipe_for as recipe_for
from .training.recorder import Recorder as Recorder
from .training.recorder import indexed as indexed
