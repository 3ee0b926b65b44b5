"""Behaviour traces on the clock of the bins: wheel, whisker motion energy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WHEEL_RATE = 1000.0
"""Samples per second of the interpolated wheel."""
_CORNER = 20.0
_ORDER = 8
_FEWEST_SAMPLES = 64

CAMERA_GAP = 0.25
"""Longest time in seconds between camera frames that is bridged."""


@dataclass(frozen=True)
class Trace:
    """Samples of one quantity: ascending `times` in seconds and `values`, without NaN."""

    times: Floats
    values: Floats

    @classmethod
    def clean(cls, times: npt.ArrayLike, values: npt.ArrayLike) -> "Trace":
        """Build a trace from raw samples: sorted, without NaN, one value per time.

        Raises ValueError where the two differ in length.
        """
        t = np.asarray(times, dtype=np.float64).ravel()
        v = np.asarray(values, dtype=np.float64).ravel()
        if len(t) != len(v):
            raise ValueError(f"{len(t)} times for {len(v)} values")
        good = np.isfinite(t) & np.isfinite(v)
        t, v = t[good], v[good]
        t, first = np.unique(t, return_index=True)
        return cls(t, v[first])


def wheel_velocity(position: Trace) -> Trace:
    """Velocity in rad/s as IBL computes it from the wheel's position in rad.

    Position is interpolated at 1 kHz, low-passed at 20 Hz (Butterworth of order
    8, forwards and backwards) and differenced. Fewer than a few dozen
    milliseconds of wheel give an empty trace.
    """
    from scipy.signal import butter, sosfiltfilt

    if len(position.times) < 2:
        return Trace(np.empty(0), np.empty(0))
    times = np.arange(position.times[0], position.times[-1], 1 / WHEEL_RATE)
    times = times[times <= position.times[-1]]
    if len(times) < _FEWEST_SAMPLES:
        return Trace(np.empty(0), np.empty(0))
    even = np.interp(times, position.times, position.values)
    sections = butter(_ORDER, _CORNER / WHEEL_RATE * 2, btype="lowpass", output="sos")
    smooth = sosfiltfilt(sections, even)
    return Trace(times, np.diff(smooth, prepend=smooth[0]) * WHEEL_RATE)


def bin_average(trace: Trace, edges: Floats, *, max_gap: float = np.inf) -> npt.NDArray[np.float32]:
    """Average the trace, drawn as straight lines between its samples, over each bin.

    `edges` is (windows, bins + 1) in seconds; the result is (windows, bins).
    Bins that reach beyond the samples, or into a stretch of more than `max_gap`
    seconds without any, are NaN.
    """
    n_windows, n_bins = edges.shape[0], edges.shape[1] - 1
    if len(trace.times) < 2:
        return np.full((n_windows, n_bins), np.nan, dtype=np.float32)
    t, v = trace.times, trace.values
    steps = np.diff(t)
    area = np.concatenate([[0.0], np.cumsum(steps * (v[1:] + v[:-1]) / 2)])
    segment = np.clip(np.searchsorted(t, edges, side="right") - 1, 0, len(t) - 2)
    into = edges - t[segment]
    slope = np.diff(v) / steps
    integral = area[segment] + into * (v[segment] + 0.5 * slope[segment] * into)
    averages = np.diff(integral, axis=1) / np.diff(edges, axis=1)
    missing = (edges[:, :-1] < t[0]) | (edges[:, 1:] > t[-1])
    if np.isfinite(max_gap):
        gaps_before = np.concatenate([[0], np.cumsum(steps > max_gap)])
        in_gap = steps[segment] > max_gap
        crossed = np.diff(gaps_before[segment], axis=1) > 0
        missing |= crossed | in_gap[:, :-1] | in_gap[:, 1:]
    averages[missing] = np.nan
    return averages.astype(np.float32)
