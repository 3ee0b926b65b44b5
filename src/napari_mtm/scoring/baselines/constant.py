"""Rates that are the same in all bins of a trial."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from napari_mtm.masking.tasks import Score
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.slow import SlowLevels
from napari_mtm.scoring.baselines.baseline import Floats, Hidden, Rates, Trials, mean_rates
from napari_mtm.scoring.baselines.levels import levels_of, rate_levels


@dataclass(frozen=True, eq=False)
class MeanRate:
    """Each unit's mean over the training trials, whatever its slow level."""

    name: ClassVar[str] = "mean-rate"
    n_bins: int
    mean: Floats

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Average over the training trials."""
        del slow_levels
        progress(1.0, "mean rates")
        return cls(session.n_bins, mean_rates(session, split.train))

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Repeat the means, whatever the test."""
        del score
        shape = (len(trials), self.n_bins, len(self.mean))
        return np.broadcast_to(self.mean.astype(np.float32), shape).copy()

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Repeat the means, whatever is hidden."""
        del hidden
        return self.rates("co-smoothing", trials)


@dataclass(frozen=True, eq=False)
class SlowRate:
    """Each unit's mean times its slow level around the trial."""

    name: ClassVar[str] = "slow-rate"
    mean: MeanRate
    levels: SlowLevels | None

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Average over the training trials, all and each."""
        levels = levels_of(session, split, slow_levels)
        progress(1.0, "slow rates")
        return cls(MeanRate.fit(session, split), levels)

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Repeat the trial's rates in all bins, whatever the test."""
        return self.mean.rates(score, trials) * rate_levels(self.levels, trials)

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Repeat the trial's rates in all bins, whatever is hidden."""
        del hidden
        return self.rates("co-smoothing", trials)
