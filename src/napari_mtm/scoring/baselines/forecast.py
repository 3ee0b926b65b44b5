"""Forecasts of all units from the past of all units, by regression of reduced rank."""

from dataclasses import dataclass, replace

import numpy as np

from napari_mtm.progress import Progress, part
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Floats, Hidden, Rates, Trials
from napari_mtm.scoring.baselines.choosing import FIRST_FLOOR, FLOORS, deviance, walked
from napari_mtm.scoring.baselines.own_past import OwnPast, cuts, learned, pasts_of
from napari_mtm.scoring.baselines.ridge import Ridge
from napari_mtm.scoring.baselines.usual import Usual, chunks

_USED = (0, -1)
"""Which windows of the past of other units tell more than they cost: the last and the whole."""
_RANKS = (4, 8, 16, 32)
_FIRST_LEVELS = (2, 3)
_LIMITS = (-4, 8)


@dataclass(frozen=True, eq=False)
class Forecast:
    """What each unit's own past says, and then the past of all units of what that leaves.

    Attributes
    ----------
    own
        The regression of each unit on its own past.
    weights
        On the past of all, (windows and units, units).
    floor
        The least rate as a share of the mean.

    """

    own: OwnPast
    weights: Rates
    floor: float

    @classmethod
    def fit(cls, session: Session, split: Split, usual: Usual, progress: Progress) -> "Forecast":
        """Fit on the training trials, choosing penalty, rank and floor on validation."""
        own = OwnPast.fit(session, split, usual, part(progress, 0.0, 0.3))
        ridge = _gathered(session, split, usual, own, part(progress, 0.3, 0.6))
        shown, cut = split.validation, cuts(session)[-1]
        past = pasts_of(usual, session, shown, cut)
        by_own, by_all = own.of(past), _columns(past)
        usually = usual.rates(shown)

        def cost(forecast: Forecast) -> Floats:
            change = (by_own + by_all @ forecast.weights)[:, None]
            rates = usual.changed(usually, change, forecast.floor, slice(cut, None))
            return deviance(session.counts[shown, cut:], rates)

        def total(forecast: Forecast) -> float:
            return float(cost(forecast).sum())

        def at(level: int) -> Forecast:
            progress(0.7, "reduced-rank regression, forward")
            return cls(own, ridge.solution(level).all_units(), FIRST_FLOOR)

        levels, deviances = walked(
            lambda level: cost(at(level))[None], usual.mean, first=_FIRST_LEVELS, limits=_LIMITS
        )
        best = levels[int(deviances[0].sum(axis=1).argmin())]
        # A rank does part of what a penalty does, so that with one less of the other is needed.
        candidates = [at(best)]
        groups = [np.arange(session.n_units)]
        for full in (candidates[0], at(best - 1)):
            lower = ridge.reduced(full.weights, groups, usual.mean, _RANKS)
            candidates += [replace(full, weights=weights) for weights in lower]
        found = min(candidates, key=total)
        progress(1.0, "reduced-rank regression, forward")
        return min((replace(found, floor=floor) for floor in FLOORS), key=total)

    def changes(
        self,
        usual: Usual,
        session: Session,
        trials: Trials,
        cut: int,
        visible: Hidden | None = None,
    ) -> Rates:
        """Predict the mean change ahead of a cut, (trials, units), from what is visible before."""
        past = pasts_of(usual, session, trials, cut, visible)
        return self.own.of(past) + _columns(past) @ self.weights


def _columns(past: Rates) -> Rates:
    """Put the past of all units, (windows, trials, units), as features, (trials, features)."""
    return np.concatenate([past[window] for window in _USED], axis=1)


def _gathered(
    session: Session, split: Split, usual: Usual, own: OwnPast, progress: Progress
) -> Ridge:
    """Add up what the past of all units and what the own past leaves of the future share."""
    n_features = len(_USED) * session.n_units
    gram = np.zeros((n_features, n_features))
    cross = np.zeros((n_features, session.n_units))
    for trials in chunks(split.train, progress, "reduced-rank regression, forward"):
        past, future = learned(usual, session, trials)
        features = np.concatenate([_columns(of_cut) for of_cut in past])
        left = np.concatenate(future) - np.concatenate([own.of(of_cut) for of_cut in past])
        gram += features.T @ features
        cross += features.T @ left
    return Ridge.of(gram, cross, len(split.train) * len(cuts(session)))
