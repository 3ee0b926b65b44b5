"""Forecasts from a unit's own past."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from napari_mtm.masking.tasks import Score
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Hidden, Rates, Trials, forward_bins
from napari_mtm.scoring.baselines.choosing import FLOORS, deviance
from napari_mtm.scoring.baselines.own_past import OwnPast, cuts
from napari_mtm.scoring.baselines.usual import Usual


@dataclass(frozen=True, eq=False)
class RidgeAr:
    """Ridge regression of each unit's near future on its own past, for forecasts.

    It predicts how far the next bins lie from the unit's average course, all of them alike, from
    its deviations in the last bins and in all before. What is hidden without a past of its own,
    or lies further ahead, gets the usual rates; so does what is visible.

    Attributes
    ----------
    session
        Where the counts to predict from are taken.
    usual, past, floor
        Usual rates; the regression; the least rate as a share of the mean.

    """

    name: ClassVar[str] = "ridge-ar"
    session: Session
    usual: Usual
    past: OwnPast
    floor: float

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Fit on the training trials, choosing penalties and floor on validation."""
        progress(0.0, "forecasts from the own past")
        usual = Usual.of(session, split, slow_levels)
        past = OwnPast.fit(session, split, usual, part(progress, 0.3, 0.9))
        cut, shown = cuts(session)[-1], split.validation
        change, usually = past.changes(usual, session, shown, cut)[:, None], usual.rates(shown)

        def cost(floor: float) -> float:
            rates = usual.changed(usually, change, floor, slice(cut, None))
            return float(deviance(session.counts[shown, cut:], rates).sum())

        progress(1.0, "forecasts from the own past")
        return cls(session, usual, past, min(FLOORS, key=cost))

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Forecast the last bins in "forward"; elsewhere the unit is hidden: usual rates."""
        hidden = np.zeros(self.session.counts.shape[1:], dtype=bool)
        if score == "forward":
            hidden[self.session.n_bins - forward_bins(self.session) :] = True
        return self.predict(hidden, trials)

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Forecast from where a unit begins to be hidden, as far as forward prediction goes."""
        usually = self.usual.rates(trials)
        rates = usually.copy()
        begins = hidden & ~np.vstack([np.zeros_like(hidden[:1]), hidden[:-1]])
        for cut in map(int, np.flatnonzero(begins.any(axis=1))):
            if cut >= cuts(self.session)[0]:
                bins = slice(cut, cut + forward_bins(self.session))
                change = self.past.changes(self.usual, self.session, trials, cut, ~hidden)
                found = self.usual.changed(usually, change[:, None], self.floor, bins)
                # As long as the unit stays hidden from here on.
                on = begins[cut] & np.logical_and.accumulate(hidden[bins], axis=0)
                rates[:, bins] = np.where(on, found, rates[:, bins])
        return rates
