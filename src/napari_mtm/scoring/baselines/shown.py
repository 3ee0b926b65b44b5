"""How well weights of units on units do on the validation trials, and how they are best used."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Counts, Floats, Rates
from napari_mtm.scoring.baselines.choosing import FIRST_FLOOR, FLOORS, deviance
from napari_mtm.scoring.baselines.coupling import Coupling
from napari_mtm.scoring.baselines.in_time import cosines, filtered
from napari_mtm.scoring.baselines.usual import Usual

_BANDS = 7
_MOST_GAIN = 3.0


@dataclass(frozen=True, eq=False)
class Shown:
    """The validation trials, as cosines in time.

    Attributes
    ----------
    counts, usual, usually
        Counts, what is usual, and usual rates of these trials.
    smoothing, waves
        What each cosine of a feature was multiplied with, (cosines,), and the cosines,
        (bins, cosines).
    features, means, changes
        Smoothed deviations (trials, cosines, units), the mean ones as far as a constant has
        them (trials, units), and how counts change (trials, cosines, units).

    """

    counts: Counts
    usual: Usual
    usually: Rates
    smoothing: Floats
    waves: Floats
    features: Rates
    means: Rates
    changes: Rates

    @classmethod
    def of(cls, session: Session, split: Split, usual: Usual, smoothing: Floats) -> Self:
        """Take the validation trials apart into cosines."""
        trials, waves = split.validation, cosines(session.n_bins)
        counts = session.counts[trials]
        features = filtered(usual.deviations(counts, trials), waves.T)
        return cls(
            counts,
            usual,
            usual.rates(trials),
            smoothing,
            waves,
            features * smoothing[:, None].astype(np.float32),
            features[:, 0],
            filtered(usual.changes(counts, trials), waves.T),
        )

    def cost(self, weights: Rates) -> Floats:
        """Return the deviance of each unit, (units,), with the best gains."""
        predicted = self._predicted(weights)
        return self._deviance(predicted, self._gains(predicted), FIRST_FLOOR)

    def coupling(self, weights: Rates) -> Coupling:
        """Return how to use weights: the best gains, and then the best floor."""
        predicted = self._predicted(weights)
        gains = self._gains(predicted)

        def total(floor: float) -> float:
            return float(self._deviance(predicted, gains, floor).sum())

        kernel = self.waves * (self.smoothing * gains) @ self.waves.T
        return Coupling(weights, kernel, float(gains[0]), min(FLOORS, key=total))

    def _predicted(self, weights: Rates) -> Rates:
        n_units = weights.shape[1]
        predicted = self.features.reshape(-1, n_units) @ weights[:n_units]
        predicted = predicted.reshape(self.features.shape)
        predicted[:, 0] += self.means @ weights[n_units:]
        return predicted

    def _gains(self, predicted: Rates) -> Floats:
        """Least squares by bands of frequency, units weighed by the inverse of their noise."""
        noise = self.usual.mean.astype(np.float32)
        top = (self.changes * predicted / noise).sum(axis=(0, 2), dtype=np.float64)
        bottom = (predicted**2 / noise).sum(axis=(0, 2), dtype=np.float64)
        gains = np.zeros(len(top))
        n_bins = len(top)
        edges = np.unique(np.round(np.geomspace(1, n_bins, _BANDS)).astype(int))
        for start, stop in zip([0, *edges], edges, strict=False):
            band = slice(start, stop)
            if bottom[band].sum() > 0:
                gains[band] = np.clip(top[band].sum() / bottom[band].sum(), 0.0, _MOST_GAIN)
        return gains

    def _deviance(self, predicted: Rates, gains: Floats, floor: float) -> Floats:
        changes = filtered(predicted, self.waves * gains)
        return deviance(self.counts, self.usual.changed(self.usually, changes, floor, slice(None)))
