"""Predictors that a network should beat: means, averages by condition, and linear regressions.

All are fitted on the training trials, and what is left to choose is chosen on
the validation trials by Poisson deviance over all units. Rates are counts per
bin, arrays (trials, bins, units). With slow levels, a unit's rates follow its
level in the training trials around a trial.
"""

from napari_mtm.masking.tasks import SCORES
from napari_mtm.scoring.baselines.baseline import Baseline, forward_bins
from napari_mtm.scoring.baselines.condition_psth import ConditionPsth
from napari_mtm.scoring.baselines.constant import MeanRate, SlowRate
from napari_mtm.scoring.baselines.reduced_rank import ReducedRank
from napari_mtm.scoring.baselines.ridge_ar import RidgeAr
from napari_mtm.scoring.baselines.shrinkage import Shrinkage

BASELINES: tuple[type[Baseline], ...] = (
    MeanRate,
    SlowRate,
    ConditionPsth,
    Shrinkage,
    RidgeAr,
    ReducedRank,
)

__all__ = [
    "BASELINES",
    "SCORES",
    "Baseline",
    "ConditionPsth",
    "MeanRate",
    "ReducedRank",
    "RidgeAr",
    "Shrinkage",
    "SlowRate",
    "forward_bins",
]
