"""One unit predicted from all others, a few trials at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_mtm.metrics import conditions, r2_psth, tally
from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

_CHUNK = 4
"""Trials a piece: what a live request has to wait for at most."""


@dataclass(frozen=True, eq=False)
class UnitPrediction:
    """What a model expects of a unit that alone is hidden (co-smoothing), so far.

    Attributes
    ----------
    session, unit
        The session, and the index of its unit.
    trials
        Those that are done, in order.
    n_trials
        How many there will be.
    rates
        Counts per bin (done trials, bins).

    """

    session: Session
    unit: int
    trials: npt.NDArray[np.intp]
    n_trials: int
    rates: npt.NDArray[np.float32]

    @property
    def uuid(self) -> str:
        """Name of the unit."""
        return str(self.session.units["uuid"].iloc[self.unit])

    @property
    def done(self) -> bool:
        """Whether no trial is left."""
        return len(self.trials) == self.n_trials

    @property
    def counts(self) -> npt.NDArray[np.uint8]:
        """What was recorded on the same trials (done trials, bins)."""
        return np.asarray(self.session.counts[self.trials, :, self.unit])

    def bits_per_spike(self) -> float:
        """Bits per spike over these trials; NaN where the unit has no spike."""
        counted = tally(self.counts[..., None], self.rates[..., None])
        return float(counted.bits_per_spike()[0])

    def r2_psth(self) -> float:
        """R² of the averages by block, choice and reward, as published."""
        labels = conditions(self.session.trials.iloc[self.trials])
        return float(r2_psth(self.counts[..., None], self.rates[..., None], labels)[0])


def predict_unit(
    model: "Model", session: Session, unit: int, trials: npt.NDArray[np.intp]
) -> Iterator[UnitPrediction]:
    """Predict a unit from all others, yielding what is known after every few trials."""
    hidden = np.zeros((session.n_bins, session.n_units), dtype=bool)
    hidden[:, unit] = True
    rates = np.empty((0, session.n_bins), np.float32)
    for start in range(0, len(trials), _CHUNK):
        some = trials[start : start + _CHUNK]
        log_rates = model.predict(
            session.counts[some], hidden, task="neuron", session=session, trials=some
        )
        rates = np.concatenate([rates, np.exp(log_rates[:, :, unit])])
        yield UnitPrediction(session, unit, trials[: len(rates)], len(trials), rates)
