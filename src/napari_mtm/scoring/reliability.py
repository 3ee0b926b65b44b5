"""What of a unit can be predicted: how regular its spikes are, and how much of it repeats.

No model is asked. Both numbers describe the recording and are taken over all its trials.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.metrics import conditions
from napari_mtm.recording.session import ANY_TIME, Session

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint8]

FANO_SECONDS = 0.1
"""What spikes are counted over for the Fano factor."""

LOW_CEILING = 0.1
"""Chance alone gives a unit whose averages repeat nothing about so much."""

_CHUNK = 64


def with_reliability(session: Session) -> pd.DataFrame:
    """Return the units of a session with two columns more, `fano` and `ceiling`."""
    fano, ceiling = reliability(session)
    return session.units.assign(fano=fano, ceiling=ceiling)


def reliability_lines(units: pd.DataFrame) -> list[str]:
    """Say how many units are very regular, and how many repeat little, where there are any."""
    found = {
        "vary less than Poisson spikes (Fano factor below 1)": units["fano"] < 1,
        f"repeat little by condition (ceiling below {LOW_CEILING:g})": units["ceiling"]
        < LOW_CEILING,
    }
    return [f"{here.sum()} units {what}" for what, here in found.items() if here.any()]


def reliability(session: Session, units: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Return the Fano factors and the ceilings of some units, by default of all.

    Windows at any time repeat nothing: there the ceiling is NaN.
    """
    counts = session.counts if units is None else session.counts[:, :, units]
    fano = fano_factors(counts, round(FANO_SECONDS / session.bin_size))
    if session.align == ANY_TIME:
        return fano, np.full(len(fano), np.nan)
    return fano, ceilings(counts, conditions(session.trials))


def fano_factors(counts: Counts, width: int) -> Floats:
    """Return the variance of spike counts over trials, over their mean, (units,).

    Spikes are counted over adjoining windows of `width` bins, or over whole trials where those
    are shorter; bins that are left over at the end are left out. Each window has its own
    variance, so that what a unit does alike on every trial is no part of it, and variances and
    means are averaged over windows. NaN where a unit has no spike, or there is one trial.
    """
    n_trials, n_bins, n_units = counts.shape
    width = min(max(width, 1), n_bins)
    n_windows = n_bins // width
    sums, squares = np.zeros((n_windows, n_units)), np.zeros((n_windows, n_units))
    for start in range(0, n_trials, _CHUNK):
        some = counts[start : start + _CHUNK, : n_windows * width]
        windows = some.reshape(len(some), n_windows, width, n_units).sum(axis=2, dtype=np.float64)
        sums += windows.sum(axis=0)
        squares += (windows**2).sum(axis=0)
    if n_trials < 2:
        return np.full(n_units, np.nan)
    variance = (squares - sums**2 / n_trials) / (n_trials - 1)
    return _ratio(variance.sum(axis=0), sums.sum(axis=0) / n_trials)


def ceilings(counts: Counts, labels: npt.NDArray[np.intp]) -> Floats:
    """Return the share of the variance of averages by condition that repeats, (units,).

    What repeats is the covariance between averages of one half of the trials and of the other,
    over conditions and bins, as its mean over all ways of halving the conditions. Over the
    variance of the averages of all trials it is the correlation of halves, corrected by
    Spearman and Brown: the R² of these averages that is to be expected of whoever knows the
    unit's true ones, and nothing of single trials.

    Parameters
    ----------
    counts
        (trials, bins, units).
    labels
        Condition of each trial, from 0. One with a single trial is left out.

    Returns
    -------
    Between 0 and 1; NaN where the averages do not vary, or no condition is left.

    """
    held = np.flatnonzero(np.bincount(labels) > 1)
    if not len(held):
        return np.full(counts.shape[2], np.nan)
    found = [_of_condition(counts, np.flatnonzero(labels == condition)) for condition in held]
    averages, product, square = (np.array(part) for part in zip(*found, strict=True))
    means = averages.mean(axis=1)
    # Two conditions always have different trials; within one, only different ones may meet.
    squared_mean = means.mean(axis=0) ** 2 + (square - means**2).mean(axis=0) / len(held)
    repeats = product.mean(axis=0) - squared_mean
    return np.asarray(np.clip(_ratio(repeats, averages.var(axis=(0, 1))), 0.0, 1.0))


def _of_condition(counts: Counts, trials: npt.NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    """Return the average of some trials, and two means over pairs of different ones.

    The average is (bins, units); the product of two trials, averaged over bins, and the product
    of their means over bins are (units,). Over all ways of halving the trials, averages of
    either half, multiplied, have the mean over pairs.
    """
    n, (n_bins, n_units) = len(trials), counts.shape[1:]
    sums = np.zeros((n_bins, n_units))
    squares, totals = np.zeros(n_units), np.zeros(n_units)
    for start in range(0, n, _CHUNK):
        some = counts[trials[start : start + _CHUNK]].astype(np.float32)
        sums += some.sum(axis=0)
        squares += (some**2).sum(axis=(0, 1), dtype=np.float64)
        totals += (some.sum(axis=1, dtype=np.float64) ** 2).sum(axis=0)
    pairs = n * (n - 1)
    return (
        sums / n,
        ((sums**2).sum(axis=0) - squares) / (pairs * n_bins),
        (sums.sum(axis=0) ** 2 - totals) / (pairs * n_bins**2),
    )


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide where the bottom is above what rounding leaves of 0; NaN elsewhere."""
    out = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 1e-12)
    return out
