"""Behaviour traces on the clock of the bins: wheel, whisker motion energy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WHEEL_RATE = 1000.0
"""Samples per second of the interpolated wheel."""
_CORNER = 20.0
_ORDER = 8
_FEWEST_SAMPLES = 64
_MARGIN = 60.0
"""Seconds around the windows that are filtered with them. The filter needs two; with a
minute, most recordings are filtered in one piece, as IBL does."""

CAMERA_GAP = 0.25
"""Longest time in seconds between camera frames that is bridged."""
WHEEL_GAP = 1.0
"""Longest time in seconds that is bridged although the wheel turned meanwhile."""
_STILL_TICKS = 2.5
"""Ticks by which a wheel that is at rest may have moved from one sample to the next."""

_LARGEST = 1e30
"""Values beyond are no measurements, and could not be squared or summed."""


@dataclass(frozen=True)
class Trace:
    """Samples of one quantity: ascending `times` in seconds and `values`, without NaN.

    Between samples the quantity runs along a straight line, but `breaks` are
    samples (ascending indices) from which on nothing is known until the next one.
    """

    times: Floats
    values: Floats
    breaks: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    @classmethod
    def clean(cls, times: npt.ArrayLike, values: npt.ArrayLike) -> "Trace":
        """Build a trace from raw samples: sorted, without NaN, one value per time.

        Raises ValueError where the two differ in length.
        """
        t = np.asarray(times, dtype=np.float64).ravel()
        v = np.asarray(values, dtype=np.float64).ravel()
        if len(t) != len(v):
            raise ValueError(f"{len(t)} times for {len(v)} values")
        good = np.isfinite(t) & (np.abs(v) <= _LARGEST)
        t, v = t[good], v[good]
        t, first = np.unique(t, return_index=True)
        return cls(t, v[first])

    def broken(self, max_gap: float) -> "Trace":
        """Return the trace with breaks where samples are more than `max_gap` seconds apart."""
        return replace(self, breaks=_gaps(self.times, max_gap))


def wheel_velocity(position: Trace, edges: Floats) -> Trace:
    """Velocity in rad/s as IBL computes it from the wheel's position in rad.

    Position is interpolated at 1 kHz, low-passed at 20 Hz (Butterworth of order
    8, forwards and backwards) and differenced: in the windows, whose bin edges
    (windows, bins + 1) are given, and around them. A wheel that sends no samples
    rests; but where it has turned meanwhile, samples are lost, and the velocity
    has a break. Stretches of less than a few dozen milliseconds are left out.
    """
    from scipy.signal import butter, sosfiltfilt

    sections = butter(_ORDER, _CORNER / WHEEL_RATE * 2, btype="lowpass", output="sos")
    times, values = [np.empty(0)], [np.empty(0)]
    for even in _interpolated(position, edges):
        smooth = sosfiltfilt(sections, even.values)
        times.append(even.times)
        values.append(np.diff(smooth, prepend=smooth[0]) * WHEEL_RATE)
    last = np.cumsum([len(t) for t in times])[1:-1] - 1
    return Trace(np.concatenate(times), np.concatenate(values), last)


def bin_average(trace: Trace, edges: Floats) -> npt.NDArray[np.float32]:
    """Average the trace, drawn as straight lines between its samples, over each bin.

    `edges` is (windows, bins + 1) in seconds; the result is (windows, bins).
    Bins that reach beyond the samples, or into a break, are NaN.
    """
    n_windows, n_bins = edges.shape[0], edges.shape[1] - 1
    if len(trace.times) < 2:
        return np.full((n_windows, n_bins), np.nan, dtype=np.float32)
    t, v, breaks = trace.times, trace.values, trace.breaks
    known = np.ones(len(t) - 1, dtype=bool)
    known[breaks] = False
    # Breaks have no length here: they may be so long that sums over them lose all else.
    steps = np.subtract(t[1:], t[:-1], out=np.zeros(len(t) - 1), where=known)
    area = np.concatenate([[0.0], np.cumsum(steps * (v[1:] + v[:-1]) / 2)])
    segment = np.clip(np.searchsorted(t, edges, side="right") - 1, 0, len(t) - 2)
    step = steps[segment]
    into = np.clip(edges - t[segment], 0, step)
    share = np.divide(into, step, out=np.zeros_like(into), where=step > 0)
    integral = area[segment] + into * (v[segment] + 0.5 * (v[segment + 1] - v[segment]) * share)
    averages = np.diff(integral, axis=1) / np.diff(edges, axis=1)
    before = np.searchsorted(breaks, segment[:, :-1], side="left")
    until = np.searchsorted(breaks, segment[:, 1:], side="right")
    missing = (edges[:, :-1] < t[0]) | (edges[:, 1:] > t[-1]) | (before < until)
    averages[missing] = np.nan
    return averages.astype(np.float32)


def bin_further(traces: Mapping[str, Trace], edges: Floats) -> dict[str, npt.NDArray[np.float32]]:
    """Average further traces, such as a camera's, over each bin; longer gaps are not bridged."""
    return {name: bin_average(trace.broken(CAMERA_GAP), edges) for name, trace in traces.items()}


def _interpolated(position: Trace, edges: Floats) -> Iterator[Trace]:
    """Stretches of a wheel near the windows, between its breaks, with even steps of time."""
    t, v = position.times, position.values
    if len(t) == 0:
        return
    breaks = _lost(position)
    begins, ends = t[np.append(0, breaks + 1)], t[np.append(breaks, len(t) - 1)]
    for low, high in _spans(edges):
        near = slice(np.searchsorted(ends, low), np.searchsorted(begins, high))
        for begin, end in zip(begins[near], ends[near], strict=True):
            # What begins too early is cut so that the times that are left stay the same.
            start = begin if begin >= low else low - (low - begin) % (1 / WHEEL_RATE)
            stop = min(end, high)
            times = np.arange(start, stop, 1 / WHEEL_RATE)
            times = times[times <= stop]
            if len(times) < _FEWEST_SAMPLES:
                continue
            first = np.searchsorted(t, max(start, begin), side="right") - 1
            inside = slice(first, np.searchsorted(t, stop) + 1)
            yield Trace(times, np.interp(times, t[inside], v[inside]))


def _lost(position: Trace) -> npt.NDArray[np.intp]:
    """Samples of a wheel's position after which some are missing.

    An encoder sends a sample for each tick, so it is silent for as long as the
    wheel rests. A silence over which the position has jumped is none of those.
    """
    gaps = _gaps(position.times, WHEEL_GAP)
    moved = np.abs(np.diff(position.values))
    tick = np.median(moved[moved > 0]) if moved.any() else 0.0
    return gaps[moved[gaps] > _STILL_TICKS * tick]


def _gaps(times: Floats, longest: float) -> npt.NDArray[np.intp]:
    """Samples after which the next one is more than `longest` seconds away."""
    return np.flatnonzero(times[1:] > times[:-1] + longest)


def _spans(edges: Floats) -> Iterator[tuple[float, float]]:
    """First and last second of each group of windows that are near each other, with a margin."""
    ascending = edges[np.argsort(edges[:, 0])]
    low = ascending[:, 0] - _MARGIN
    high = np.maximum.accumulate(ascending[:, -1]) + _MARGIN
    apart = low[1:] > high[:-1]
    return zip(low[np.append(True, apart)], high[np.append(apart, True)], strict=True)
