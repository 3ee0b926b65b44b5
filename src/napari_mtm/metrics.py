"""How well rates explain counts: bits per spike, D², R² and their uncertainty.

Arrays are (trials, bins, units); rates are counts per bin. The Poisson scores
of any choice of trials follow from a few sums per trial and unit, a `Tally`,
so that they can be resampled without the rates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

FLOOR = 1e-9
"""Rates below it (counts per bin) are scored as if they were it."""

Floats: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Literal["bps", "bps_pooled", "d2"]

_CHUNK_ENTRIES = 4_000_000
_LN2 = float(np.log(2))


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the scored entries of each trial and unit, all (trials, units).

    Attributes
    ----------
    spikes, entries
        Spikes, and how many entries were scored.
    nll
        Poisson negative log-likelihood of the counts under the rates, in nats,
        without the factorial term (it cancels in every score).
    saturated
        The same under the best rates there are, the counts themselves.
    levels
        What the null of each trial is, relative to the unit's mean; None where it is the
        mean on all trials.

    Notes
    -----
    `weights` (..., trials) says how often each trial counts; every leading axis
    is one resample, and leads the result.

    """

    spikes: Floats
    entries: Floats
    nll: Floats
    saturated: Floats
    levels: Floats | None = None

    def above(self, levels: Floats) -> "Tally":
        """Return the same against a null that follows `levels` (trials, units), above 0.

        As the usual null it knows each unit's mean over the scored entries. Where the mean
        alone explains a unit better it stays the null, so that no score is above the usual.
        """
        return replace(self, levels=levels)

    def units(self, selection: npt.ArrayLike) -> "Tally":
        """Return the tally of some units, by index or mask."""
        chosen = np.asarray(selection)
        return Tally(
            self.spikes[:, chosen],
            self.entries[:, chosen],
            self.nll[:, chosen],
            self.saturated[:, chosen],
            None if self.levels is None else self.levels[:, chosen],
        )

    def bits_per_spike(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Bits per spike of each unit, (..., units), as published.

        The null is the unit's own mean count over the same entries, unless there are
        `levels`. NaN where a unit has no spike or the result is not finite.
        """
        spikes = _weighted(self.spikes, weights)
        return _ratio(self._gain(weights), spikes * _LN2)

    def mean_bits_per_spike(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Mean over the units that have a value, (...)."""
        return _nan_mean(self.bits_per_spike(weights))

    def pooled_bits_per_spike(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Gain of all units together over all their spikes, (...)."""
        spikes = _weighted(self.spikes, weights).sum(axis=-1)
        return _ratio(self._gain(weights).sum(axis=-1), spikes * _LN2)

    def d2(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Poisson D² of each unit, (..., units): 0 for its mean count, 1 for the counts.

        NaN where the counts of a unit do not vary or the result is not finite.
        """
        room = self._null(weights) - _weighted(self.saturated, weights)
        # Of counts that do not vary, rounding may leave a room that is not quite 0.
        room = np.where(room > 1e-9 * _weighted(self.spikes, weights), room, 0.0)
        return _ratio(self._gain(weights), room)

    def mean_d2(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Mean D² over the units that have a value, (...)."""
        return _nan_mean(self.d2(weights))

    def _null(self, weights: npt.ArrayLike | None) -> Floats:
        spikes, entries = _weighted(self.spikes, weights), _weighted(self.entries, weights)
        mean = np.maximum(spikes / np.maximum(entries, 1.0), FLOOR)
        null = spikes - spikes * np.log(mean)
        if self.levels is None:
            return np.asarray(null)
        # The rates are scaled so that they sum to the spikes, which is the best scale there is.
        sums = _weighted(self.entries * self.levels, weights)
        scale = np.maximum(spikes / np.where(entries > 0, sums, 1.0), FLOOR)
        logs = _weighted(self.spikes * np.log(self.levels), weights)
        return np.asarray(np.minimum(null, spikes - spikes * np.log(scale) - logs))

    def _gain(self, weights: npt.ArrayLike | None) -> Floats:
        return np.asarray(self._null(weights) - _weighted(self.nll, weights))


_STATISTICS: dict[Statistic, Callable[[Tally, npt.ArrayLike], Floats]] = {
    "bps": Tally.mean_bits_per_spike,
    "bps_pooled": Tally.pooled_bits_per_spike,
    "d2": Tally.mean_d2,
}


def tally(
    counts: npt.ArrayLike, rates: npt.ArrayLike, scored: npt.ArrayLike | None = None
) -> Tally:
    """Add up what Poisson scores need.

    Parameters
    ----------
    counts, rates
        (trials, bins, units); rates in counts per bin, floored at `FLOOR`.
    scored
        Which entries count, (bins, units) or (trials, bins, units); by default
        all. Rates elsewhere may be anything, NaN included.

    """
    counts, rates = _same_shape(counts, rates)
    n_trials, _, n_units = counts.shape
    mask = np.broadcast_to(True if scored is None else np.asarray(scored, bool), counts.shape)
    sums = Tally(*(np.zeros((n_trials, n_units)) for _ in range(4)))
    for part in _chunks(counts.shape):
        here = mask[part]
        k = np.where(here, counts[part], 0).astype(np.float64)
        rate = np.maximum(np.where(here, rates[part], 1.0).astype(np.float64), FLOOR)
        with np.errstate(invalid="ignore"):  # an infinite rate gives NaN, as it should
            nll = np.where(here, rate - k * np.log(rate), 0.0)
        sums.spikes[part] = k.sum(axis=1)
        sums.entries[part] = here.sum(axis=1)
        sums.nll[part] = nll.sum(axis=1)
        sums.saturated[part] = (k - k * np.log(np.maximum(k, 1.0))).sum(axis=1)
    return sums


def bootstrap(
    tally: Tally,
    statistic: Statistic,
    *,
    over: Tally | None = None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a score over resampled trials, or of its difference `over` another's.

    "bps" and "d2" are means over units, "bps_pooled" pools them. Both are resampled alike.
    Resamples without a value are left out; both ends are NaN where none has one.
    """
    score = _STATISTICS[statistic]
    n_trials, n_units = tally.spikes.shape
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK_ENTRIES // max(n_trials, n_units, 1))
    values = np.empty(n)
    for start in range(0, n, step):
        size = min(step, n - start)
        share = np.full(n_trials, 1 / max(n_trials, 1))
        weights = rng.multinomial(n_trials, share, size=size).astype(np.float64)
        values[start : start + size] = score(tally, weights)
        if over is not None:
            values[start : start + size] -= score(over, weights)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def r2_psth(counts: npt.ArrayLike, rates: npt.ArrayLike, conditions: npt.ArrayLike) -> Floats:
    """R² of each unit's averages by condition, (units,), as published.

    Counts and rates are averaged over the trials of each condition; R² is taken
    once over conditions and bins, and not clipped. Where the averages of a unit
    do not vary it is 1 if they are met exactly, otherwise 0.
    """
    counts, rates = _same_shape(counts, rates)
    labels = np.asarray(conditions)
    of_condition = [labels == label for label in np.unique(labels)]

    def averages(values: npt.NDArray[np.generic]) -> Floats:
        return np.concatenate([values[c].mean(axis=0, dtype=np.float64) for c in of_condition])

    truth = averages(counts)
    residual = ((truth - averages(rates)) ** 2).sum(axis=0)
    return _r2(residual, ((truth - truth.mean(axis=0)) ** 2).sum(axis=0))


def r2_trial(counts: npt.ArrayLike, rates: npt.ArrayLike) -> Floats:
    """R² of each unit over all trials and bins, (units,), as published.

    Not clipped. Where the counts of a unit do not vary it is 1 if they are met
    exactly, otherwise 0.
    """
    counts, rates = _same_shape(counts, rates)
    mean = counts.mean(axis=(0, 1), dtype=np.float64)
    residual, total = np.zeros(counts.shape[2]), np.zeros(counts.shape[2])
    for part in _chunks(counts.shape):
        residual += ((counts[part] - rates[part].astype(np.float64)) ** 2).sum(axis=(0, 1))
        total += ((counts[part] - mean) ** 2).sum(axis=(0, 1))
    return _r2(residual, total)


def conditions(trials: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Label each trial by its block, choice and reward, from 0.

    A column that the table lacks tells no trials apart; a missing value is a
    value of its own.
    """
    labels = np.zeros(len(trials), dtype=np.intp)
    for name in ("probabilityLeft", "choice", "feedbackType"):
        if name in trials:
            values = np.asarray(trials[name], dtype=np.float64)
            found, which = np.unique(values, return_inverse=True)
            labels = labels * len(found) + which
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp)


def _same_shape(
    counts: npt.ArrayLike, rates: npt.ArrayLike
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    counts, rates = np.asarray(counts), np.asarray(rates)
    if counts.ndim != 3 or counts.shape != rates.shape:
        raise ValueError(
            f"Counts and rates must both be (trials, bins, units); they are {counts.shape} "
            f"and {rates.shape}."
        )
    return counts, rates


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    n_trials, n_bins, n_units = shape
    step = max(1, _CHUNK_ENTRIES // max(n_bins * n_units, 1))
    for start in range(0, n_trials, step):
        yield slice(start, start + step)


def _weighted(values: Floats, weights: npt.ArrayLike | None) -> Floats:
    if weights is None:
        return np.asarray(values.sum(axis=0))
    with np.errstate(invalid="ignore"):  # a trial that is not finite makes its unit NaN
        return np.asarray(np.asarray(weights, dtype=np.float64) @ values)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide where that gives a finite number; NaN elsewhere."""
    valid = np.isfinite(top) & (bottom > 0)
    out = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=out, where=valid)
    return out


def _nan_mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _r2(residual: Floats, total: Floats) -> Floats:
    varies = total > 0
    score = np.where(residual == 0, 1.0, 0.0)
    score[varies] = 1 - residual[varies] / total[varies]
    return np.where(np.isnan(residual), np.nan, score)
