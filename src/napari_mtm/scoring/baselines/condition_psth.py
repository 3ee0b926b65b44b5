"""Averages over trials of a kind."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.tasks import Score
from napari_mtm.metrics import conditions
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.slow import SlowLevels
from napari_mtm.scoring.baselines.baseline import Floats, Hidden, Rates, Trials, mean_rates
from napari_mtm.scoring.baselines.in_time import filtered, gaussian
from napari_mtm.scoring.baselines.levels import levels_of, rate_levels

_SD = (1.0, 2.0, 4.0, 8.0, 16.0)
_SHRINKAGE = (4.0, 16.0, 64.0, 1e9)
_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class ConditionPsth:
    """Each unit's average over the training trials of the same block, choice and reward.

    Averages of few trials are drawn towards the average over all of them, and
    all are smoothed in time. Where units have slow levels, counts are averaged
    relative to these, and rates are averages times levels.

    Attributes
    ----------
    overall
        The average over all training trials, (bins, units).
    averages
        One per condition, (conditions, bins, units).
    labels
        Condition of every trial of the session; those that no training trial
        has get `overall`.
    levels
        Slow levels, or None.

    """

    name: ClassVar[str] = "psth"
    overall: Floats
    averages: Floats
    labels: npt.NDArray[np.intp]
    levels: SlowLevels | None

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> "ConditionPsth":
        """Average, choosing shrinkage and smoothing on the validation trials."""
        progress(0.0, "averages by condition")
        levels = levels_of(session, split, slow_levels)
        labels = conditions(session.trials)
        sums, weight = _sums(session, split.train, labels, levels)
        overall = sums.sum(axis=0) / weight.sum(axis=0)
        floor = _FLOOR * mean_rates(session, split.train)
        shown, shown_weight = _sums(session, split.validation, labels, levels)
        best = np.inf
        for sd in _SD:
            # Averaging and smoothing can be exchanged, so that what is smoothed is smoothed once.
            kernel = gaussian(session.n_bins, sd)
            smooth, smooth_sums = filtered(overall[None], kernel), filtered(sums, kernel)
            for shrinkage in _SHRINKAGE:
                own = (smooth_sums + shrinkage * smooth) / (weight + shrinkage)
                averages = np.maximum(own, floor)
                deviance = float((averages * shown_weight - shown * np.log(averages)).sum())
                if deviance < best:
                    best, chosen = deviance, (np.maximum(smooth[0], floor), averages)
        progress(1.0, "averages by condition")
        return cls(*chosen, labels, levels)

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Look up the averages, whatever the test."""
        del score
        averages = self.averages[self.labels[trials]].astype(np.float32)
        return np.asarray(averages * rate_levels(self.levels, trials), dtype=np.float32)

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Look up the averages, whatever is hidden."""
        del hidden
        return self.rates("co-smoothing", trials)


def _sums(
    session: Session, trials: Trials, labels: npt.NDArray[np.intp], levels: SlowLevels | None
) -> tuple[Floats, Floats]:
    """Add up the counts of some trials by condition, and the levels that they were counted at.

    Return (conditions, bins, units) and (conditions, 1, units).
    """
    counts, of = session.counts[trials], labels[trials]
    level = np.broadcast_to(rate_levels(levels, trials), (len(trials), 1, session.n_units))
    kinds = range(int(labels.max()) + 1)
    sums = [counts[of == kind].sum(axis=0, dtype=np.float64) for kind in kinds]
    weight = [level[of == kind].sum(axis=0, dtype=np.float64) for kind in kinds]
    return np.stack(sums), np.stack(weight)
