"""Forecasts of each unit from its own past, by ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_mtm.progress import Progress
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Hidden, Rates, Trials, forward_bins
from napari_mtm.scoring.baselines.choosing import FIRST_FLOOR, by_units_alike, deviance
from napari_mtm.scoring.baselines.usual import Usual, chunks

WHOLE_PAST = 1_000_000
WINDOWS = (3, 10, 30, WHOLE_PAST)
"""Bins over which a unit's own past is averaged."""
_LEVELS = range(-4, 5)
_FIRST_CUT = 5
_CUT_STEP = 5
_MOST_CUTS = 20


def cuts(session: Session) -> list[int]:
    """Bins, ascending, from which forecasts are learned; the last is the test's.

    From many places in the trial, for the last one alone has too few rows.
    """
    last = session.n_bins - forward_bins(session)
    first = min(_FIRST_CUT, last)
    step = max(_CUT_STEP, -(-(last - first) // _MOST_CUTS))
    return list(range(last, first - 1, -step))[::-1]


def _pasts(deviations: Rates, cuts: Sequence[int]) -> Rates:
    """Average (trials, bins, units) over windows before each cut.

    Return (cuts, windows, trials, units); a window that begins before the trial is cut short.
    """
    n_trials, n_bins, n_units = deviations.shape
    sums = np.zeros((n_bins + 1, n_trials, n_units), dtype=np.float32)
    np.cumsum(deviations.transpose(1, 0, 2), axis=0, out=sums[1:])
    means = [
        [(sums[cut] - sums[max(cut - w, 0)]) / max(min(w, cut), 1) for w in WINDOWS] for cut in cuts
    ]
    return np.asarray(means, dtype=np.float32)


def pasts_of(
    usual: Usual,
    session: Session,
    trials: Trials,
    cut: int,
    visible: Hidden | None = None,
) -> Rates:
    """Average what is visible before a cut, (windows, trials, units)."""
    deviations = usual.deviations(session.counts[trials, :cut], trials, visible)
    return np.asarray(_pasts(deviations, [cut])[0])


def learned(usual: Usual, session: Session, trials: Trials) -> tuple[Rates, Rates]:
    """Return what forecasts are learned from, by cut.

    Averages of the past, (cuts, windows, trials, units), and the mean change in the bins that
    are forecast, (cuts, trials, units).
    """
    counts, places = session.counts[trials], cuts(session)
    changes, n_ahead = usual.changes(counts, trials), forward_bins(session)
    futures = [changes[:, cut : cut + n_ahead].mean(axis=1) for cut in places]
    return _pasts(usual.deviations(counts, trials), places), np.stack(futures)


@dataclass(frozen=True, eq=False)
class OwnPast:
    """Weights of each unit's own past, (windows, units): they give its mean change ahead."""

    weights: Rates

    @classmethod
    def fit(cls, session: Session, split: Split, usual: Usual, progress: Progress) -> "OwnPast":
        """Fit on the training trials; each penalty is chosen on the other units of its rate."""
        n_windows, n_units = len(WINDOWS), session.n_units
        gram = np.zeros((n_units, n_windows, n_windows))
        cross = np.zeros((n_units, n_windows))
        for trials in chunks(split.train, progress, "forecasts from the own past"):
            past, future = learned(usual, session, trials)
            gram += np.einsum("cwru,cvru->uwv", past, past)
            cross += np.einsum("cwru,cru->uw", past, future)
        # Relative to the unit's own features, and to 1 for one that never changes.
        unit = np.trace(gram, axis1=1, axis2=2) / n_windows
        unit = np.where(unit > 0, unit, 1.0)[:, None, None] * np.eye(n_windows)
        tried = [
            np.linalg.solve(gram + 10 ** (level / 2) * unit, cross[..., None])[..., 0]
            for level in _LEVELS
        ]
        weights = np.stack(tried).astype(np.float32)  # (levels, units, windows)
        shown, cut = split.validation, cuts(session)[-1]
        past = pasts_of(usual, session, shown, cut)
        bins, usually = slice(cut, None), usual.rates(shown)
        deviances = []
        for of_level in weights:
            change = cls(of_level.T).of(past)[:, None]
            rates = usual.changed(usually, change, FIRST_FLOOR, bins)
            deviances.append(deviance(session.counts[shown, bins], rates))
        chosen = by_units_alike(np.stack(deviances), usual.mean)
        return cls(weights[chosen, np.arange(n_units)].T)

    def changes(
        self,
        usual: Usual,
        session: Session,
        trials: Trials,
        cut: int,
        visible: Hidden | None = None,
    ) -> Rates:
        """Predict the mean change ahead of a cut, (trials, units), from what is visible before."""
        return self.of(pasts_of(usual, session, trials, cut, visible))

    def of(self, past: Rates) -> Rates:
        """Predict the mean change ahead, (trials, units), from averages over `WINDOWS`."""
        return np.asarray((past * self.weights[:, None]).sum(axis=0))
