"""How each unit's level drifts over a session, from the training trials around a trial."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.session import Session

Floats = npt.NDArray[np.float64]
Trials = npt.NDArray[np.intp]

SD = 12.0
"""Trials over which neighbours count: the standard deviation of their weights."""

PRIOR = 4.0
"""How many trials at the session's mean are added to the neighbours."""

_SILENT = 1e-4
"""Added to means, counts per bin, so that a unit without a spike has a level too."""
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class SlowLevels:
    """Each unit's level around a trial, relative to its mean over the training trials.

    Neighbouring training trials are averaged, the nearer the more; the trial that is asked
    about is never among them, even where it is a training trial.

    Attributes
    ----------
    trials
        The training trials.
    rates, roots
        Mean count, and mean square root of the count, of each training trial, (trials, units).

    """

    trials: Trials
    rates: Floats
    roots: Floats
    _known: dict[int, Floats] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, session: Session, trials: Trials | None = None) -> "SlowLevels":
        """Average the training trials of a session, or the trials that are given instead."""
        chosen = session.split().train if trials is None else np.asarray(trials, dtype=np.intp)
        shape = len(chosen), session.n_units
        rates, roots = np.empty(shape), np.empty(shape)
        for start in range(0, len(chosen), _CHUNK):
            part = session.counts[chosen[start : start + _CHUNK]].astype(np.float32)
            rates[start : start + _CHUNK] = part.mean(axis=1)
            roots[start : start + _CHUNK] = np.sqrt(part).mean(axis=1)
        return cls(chosen, rates, roots)

    def at(self, trials: Sequence[int] | Trials) -> tuple[Floats, Floats]:
        """Return levels of rates and of roots at some trials, each (trials, units); 1 is usual.

        They are kept: the same trials are asked about again and again.
        """
        asked = [int(trial) for trial in trials]
        new = [trial for trial in dict.fromkeys(asked) if trial not in self._known]
        self._known.update(zip(new, self._levels(np.array(new, dtype=np.intp)), strict=True))
        both = np.array([self._known[trial] for trial in asked]).reshape(
            len(asked), 2, self.rates.shape[1]
        )
        return both[:, 0], both[:, 1]

    def _levels(self, trials: Trials) -> Floats:
        """Work out levels (trials, 2, units)."""
        distance = trials[:, None] - self.trials
        weights = np.where(distance == 0, 0.0, np.exp(-0.5 * (distance / SD) ** 2))
        total = weights.sum(axis=1, keepdims=True) + PRIOR
        found = []
        for values in (self.rates, self.roots):
            mean = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
            near = (weights @ values + PRIOR * mean) / total
            found.append((near + _SILENT) / (mean + _SILENT))
        return np.stack(found, axis=1)
