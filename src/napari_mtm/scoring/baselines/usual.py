"""What is usual of each unit at each time of a trial, and how far a trial lies from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.slow import SlowLevels
from napari_mtm.scoring.baselines.baseline import Counts, Floats, Hidden, Rates, Trials, mean_rates
from napari_mtm.scoring.baselines.condition_psth import ConditionPsth
from napari_mtm.scoring.baselines.levels import rate_levels, root_levels

_CHUNK_TRIALS = 64


@dataclass(frozen=True, eq=False)
class Usual:
    """Each unit's average course over the training trials, times its slow level.

    Attributes
    ----------
    average, roots
        Averages of counts, smoothed, and of their square roots, (bins, units).
    mean
        Mean rates, (units,).
    levels
        Slow levels, or None.

    """

    average: Rates
    roots: Rates
    mean: Floats
    levels: SlowLevels | None

    @classmethod
    def of(cls, session: Session, split: Split, slow_levels: bool) -> Self:
        """Average over the training trials; how smooth, validation trials say."""
        psth = ConditionPsth.fit(session, split, slow_levels=slow_levels)
        roots, weight = np.zeros(session.counts.shape[1:]), np.zeros((1, session.n_units))
        for trials in chunks(split.train):
            roots += np.sqrt(session.counts[trials], dtype=np.float32).sum(axis=0)
            level = root_levels(psth.levels, trials)
            weight += np.broadcast_to(level, (len(trials), 1, session.n_units)).sum(axis=0)
        average = psth.overall.astype(np.float32)
        mean = mean_rates(session, split.train)
        return cls(average, (roots / weight).astype(np.float32), mean, psth.levels)

    @property
    def spread(self) -> Rates:
        """How large the changes of a unit are at each bin, relative to each other, (bins, units).

        They grow with the square root of the rate, less than in proportion.
        """
        return np.sqrt(self.average / self.mean.astype(np.float32))

    def rates(self, trials: Trials) -> Rates:
        """Return usual rates, (trials, bins, units)."""
        rates = self.average * rate_levels(self.levels, trials)
        return np.broadcast_to(rates, (len(trials), *self.average.shape))

    def deviations(self, counts: Counts, trials: Trials, visible: Hidden | None = None) -> Rates:
        """Return how far square roots of counts lie from what is usual, (trials, bins, units).

        Square roots even out the noise of large and small counts. `counts` may lack the last
        bins. Entries that are not visible are taken to lie where they usually do.
        """
        shown = slice(counts.shape[1])
        deviations = np.sqrt(counts, dtype=np.float32)
        deviations -= self.roots[shown] * root_levels(self.levels, trials)
        return deviations if visible is None else deviations * visible[shown]

    def changes(self, counts: Counts, trials: Trials) -> Rates:
        """Return how far counts lie from usual rates, relative to the spread."""
        return (counts - self.rates(trials)) / self.spread

    def changed(
        self, rates: Rates, changes: Rates, floor: float, bins: npt.NDArray[np.intp] | slice
    ) -> Rates:
        """Return usual rates of some bins plus changes of usual spread, (trials, bins, units).

        Changes may be the same for all bins, (trials, 1, units). A rate is at least the share
        `floor` of the unit's mean: a sum may fall below 0, and a spike there would cost more
        than many others gain.
        """
        changed = changes * self.spread[bins] + rates[:, bins]
        np.maximum(changed, (floor * self.mean).astype(np.float32), out=changed)
        return changed


def chunks(trials: Trials, progress: Progress = silent, message: str = "") -> Iterator[Trials]:
    """Go through trials in parts whose arrays are small, reporting before each."""
    for start in range(0, len(trials), _CHUNK_TRIALS):
        progress(start / len(trials), message)
        yield trials[start : start + _CHUNK_TRIALS]
