"""The level of the visible part of a trial, drawn towards the usual one."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from napari_mtm.masking.tasks import Score
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Floats, Hidden, Rates, Trials, forward_bins
from napari_mtm.scoring.baselines.choosing import by_units_alike, deviance
from napari_mtm.scoring.baselines.usual import Usual

_PRIORS = tuple(float(prior) for prior in np.geomspace(0.1, 1000.0, 17))


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """Each unit's usual rates times its level in the visible bins of the trial, for forecasts.

    With k spikes where e are usual, the level is (a + k) / (a + e): the mean of the visible
    window, drawn to the session's by a share of a / (a + e). What is visible gets the usual
    rates.

    Attributes
    ----------
    session
        Where the counts to predict from are taken.
    usual
        Usual rates.
    prior
        By unit, how many spikes the usual rates count for: a.

    """

    name: ClassVar[str] = "shrinkage"
    session: Session
    usual: Usual
    prior: Floats

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Average over the training trials; choose how far to shrink on the validation trials.

        Each unit's shrinkage is the best for the other units of about its rate.
        """
        progress(0.0, "levels of visible windows")
        usual = Usual.of(session, split, slow_levels)
        progress(0.5, "levels of visible windows")
        hidden, shown = _forward(session), split.validation
        bins = slice(session.n_bins - forward_bins(session), None)
        deviances = []
        for prior in _PRIORS:
            found = cls(session, usual, np.full(session.n_units, prior)).predict(hidden, shown)
            deviances.append(deviance(session.counts[shown, bins], found[:, bins]))
        chosen = by_units_alike(np.stack(deviances), usual.mean)
        progress(1.0, "levels of visible windows")
        return cls(session, usual, np.asarray(_PRIORS)[chosen])

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Take the level from the visible past in "forward"; elsewhere there is none to take."""
        if score != "forward":
            return self.usual.rates(trials).copy()
        return self.predict(_forward(self.session), trials)

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Multiply the hidden bins of each unit with its level in those that are visible."""
        usual = self.usual.rates(trials)
        prior = self.prior.astype(np.float32)
        spikes = (self.session.counts[trials] * ~hidden).sum(axis=1, dtype=np.float32)
        expected = (usual * ~hidden).sum(axis=1)
        level = (prior + spikes) / (prior + expected)
        return np.where(hidden, usual * level[:, None], usual)


def _forward(session: Session) -> Hidden:
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[session.n_bins - forward_bins(session) :] = True
    return hidden
