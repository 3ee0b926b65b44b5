"""Linear regression from what is visible to what is hidden."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.tasks import Score
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Hidden, Rates, Trials, forward_bins
from napari_mtm.scoring.baselines.coupling import weighed
from napari_mtm.scoring.baselines.couplings import Couplings
from napari_mtm.scoring.baselines.forecast import Forecast
from napari_mtm.scoring.baselines.own_past import cuts
from napari_mtm.scoring.baselines.ridge import Solution
from napari_mtm.scoring.baselines.usual import Usual


@dataclass(frozen=True, eq=False)
class ReducedRank:
    """Linear regression from the visible units to the hidden ones.

    It predicts how far each entry lies from what is usual of the unit at that time of a trial,
    its average course times its slow level, with an identity link.

    In co-smoothing and intra-region each unit has a regression of its own,
    without itself. Across regions the targets share one and may be held to a few
    directions. In forward prediction each unit is forecast from its own past, and
    what that leaves from the past of all units, in few directions.

    Attributes
    ----------
    session
        Where the counts to predict from are taken.
    usual, couplings, forecast
        What is usual, and the regressions.

    """

    name: ClassVar[str] = "reduced-rank"
    session: Session
    usual: Usual
    couplings: Couplings
    forecast: Forecast
    _solutions: dict[int, Solution] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Fit all four tests, choosing penalty, rank, gains and floor on validation."""
        progress(0.0, "averages")
        usual = Usual.of(session, split, slow_levels)
        couplings = Couplings.fit(session, split, usual, part(progress, 0.1, 0.75))
        forecast = Forecast.fit(session, split, usual, part(progress, 0.75, 1.0))
        return cls(session, usual, couplings, forecast)

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Predict every entry as the test has it; the visible past in "forward" is usual rates."""
        usually = self.usual.rates(trials)
        if score == "forward":
            rates, cut = usually.copy(), self.session.n_bins - forward_bins(self.session)
            rates[:, cut:] = self._ahead(trials, cut, slice(cut, None))
            return rates
        coupling = self.couplings.of_score[score]
        changes = coupling.changes(self.usual.deviations(self.session.counts[trials], trials))
        return self.usual.changed(usually, changes, coupling.floor, slice(None))

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Predict every entry from what is visible.

        Bins with a visible unit are predicted as in co-smoothing, each unit
        without itself. Bins without one are predicted from the past, as far
        ahead as forward prediction goes; where that ends they get usual rates.
        """
        coupling = self.couplings.of_score["co-smoothing"]
        deviations = self.usual.deviations(self.session.counts[trials], trials, ~hidden)
        smooth, means = coupling.features(deviations)
        usually = self.usual.rates(trials)
        rates = usually.copy()
        patterns, pattern_of = np.unique(hidden, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            if not pattern.all():
                bins = np.flatnonzero(pattern_of.ravel() == i)
                weights = self._weights(pattern) if pattern.any() else coupling.weights
                changes = weighed(smooth[:, bins], means, weights)
                rates[:, bins] = self.usual.changed(usually, changes, coupling.floor, bins)
        for start, stop in _runs(np.all(hidden, axis=1)):
            ahead = slice(start, min(stop, start + forward_bins(self.session)))
            if start >= cuts(self.session)[0]:
                rates[:, ahead] = self._ahead(trials, start, ahead, ~hidden)
        return rates

    def _weights(self, hidden: npt.NDArray[np.bool_]) -> Rates:
        """Weights of the visible units for all units, each without itself."""
        levels = self.couplings.levels
        weights = np.zeros_like(self.couplings.ridge.cross)
        for level in map(int, np.unique(levels)):
            if level not in self._solutions:
                self._solutions[level] = self.couplings.ridge.solution(level)
            found = self._solutions[level].without(np.flatnonzero(hidden)).each_unit()
            weights[:, levels == level] = found[:, levels == level]
        return weights

    def _ahead(self, trials: Trials, cut: int, bins: slice, visible: Hidden | None = None) -> Rates:
        """Predict bins from those before the cut."""
        change = self.forecast.changes(self.usual, self.session, trials, cut, visible)
        return self.usual.changed(
            self.usual.rates(trials), change[:, None], self.forecast.floor, bins
        )


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and stops of the runs of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
