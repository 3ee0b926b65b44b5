"""How far ahead forecasts reach: their score at each bin after what is visible.

There are two forecasts. One is the forward test. Where the window is long enough, the other
starts in the middle of it, and goes on to its end.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.masking.mask import Mask
from napari_mtm.metrics import FLOOR, tally
from napari_mtm.recording.session import Session

Floats: TypeAlias = npt.NDArray[np.float64]
Rates: TypeAlias = npt.NDArray[np.float32]
Forecast: TypeAlias = Callable[[npt.NDArray[np.bool_]], Rates]
"""Predicts (trials, bins, units) from what is not hidden, (bins, units)."""

COLUMNS = ("predictor", "start", "seconds_ahead", "bps_pooled", "spikes")


def bits_per_spike_by_bin(
    counts: npt.NDArray[np.uint8], rates: Rates
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return bits per spike of each bin, all units together, and its spikes, each (bins,).

    Both arrays are (trials, bins, units), of the bins that are predicted. The null is each
    unit's mean over all of them. A mean of its own for each bin would be fitted to one count a
    trial, and hard to beat for chance alone; and so the scores of the bins, weighed by their
    spikes, average to that of the whole forecast. NaN where no spike came.
    """
    bins = [tally(counts[:, [b]], rates[:, [b]]) for b in range(counts.shape[1])]
    spikes = np.array([found.spikes.sum(axis=0) for found in bins])
    nll = np.array([found.nll.sum() for found in bins])
    mean = np.maximum(spikes.mean(axis=0) / len(counts), FLOOR)
    null = len(counts) * mean.sum() - spikes @ np.log(mean)
    n = spikes.sum(axis=1)
    some = (n > 0) & np.isfinite(nll)
    bits = np.divide(null - nll, n * np.log(2), out=np.full(len(n), np.nan), where=some)
    return bits, n.astype(np.intp)


def curves(
    predictor: str,
    session: Session,
    counts: npt.NDArray[np.uint8],
    forward: Rates,
    forecast: Forecast,
) -> Iterator[pd.DataFrame]:
    """Yield the curve of the forward test, and that of the longer forecast where there is one.

    Parameters
    ----------
    predictor
        Its name.
    counts, forward
        What was recorded on the test trials, and the rates of the forward test,
        (trials, bins, units).
    forecast
        Predicts the same trials.

    """
    yield _curve(predictor, session, counts, forward, Mask.forward(session))
    early = longer(session)
    if early is not None:
        yield _curve(predictor, session, counts, forecast(early.hidden), early)


def longer(session: Session) -> Mask | None:
    """Hide the second half of the window; None where that is no more than the forward test."""
    start = session.window[0] + session.n_bins // 2 * session.bin_size
    mask = Mask.forward(session, start)
    return mask if mask.hidden.sum() > Mask.forward(session).hidden.sum() else None


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one record per forecast for JSON: scores by predictor beside seconds and spikes."""
    records = []
    for start, rows in table.groupby("start", sort=False):
        by_predictor = {
            str(name): some["bps_pooled"].tolist()
            for name, some in rows.groupby("predictor", sort=False)
        }
        first = rows[rows["predictor"] == rows["predictor"].iloc[0]]
        records.append(
            {
                "start": start,
                "seconds_ahead": first["seconds_ahead"].tolist(),
                "spikes": first["spikes"].tolist(),
                "bps_pooled": by_predictor,
            }
        )
    return records


def in_words(table: pd.DataFrame) -> str:
    """Say what the model's forecasts score soon, halfway and at last; nothing without any."""
    parts = []
    for start, rows in table[table["predictor"] == "model"].groupby("start", sort=False):
        shown = rows.iloc[sorted({0, (len(rows) - 1) // 2, len(rows) - 1})]
        each = zip(shown["bps_pooled"], shown["seconds_ahead"], strict=True)
        said = ", ".join(f"{bits:.3f} after {ahead:g} s" for bits, ahead in each)
        parts.append(f"from {start:g} s on {said}")
    return "; ".join(parts)


def joined(some: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """Put curves together; without one there is an empty table."""
    return pd.concat(some, ignore_index=True) if some else pd.DataFrame(columns=list(COLUMNS))


def _curve(
    predictor: str, session: Session, counts: npt.NDArray[np.uint8], rates: Rates, mask: Mask
) -> pd.DataFrame:
    bins = np.flatnonzero(mask.scored.any(axis=1))
    bits, spikes = bits_per_spike_by_bin(counts[:, bins], rates[:, bins])
    values = (
        predictor,
        round(session.window[0] + bins[0] * session.bin_size, 9),
        np.round((bins - bins[0] + 1) * session.bin_size, 9),
        bits,
        spikes,
    )
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))
