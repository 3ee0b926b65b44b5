"""Spike times to counts: trial-aligned, exact at the bin edges, saturating at 255.

Spike times are sorted, so the spikes of a bin are a slice. Looking up the bin
edges among the spikes (trials x bins searches) replaces looking up the spikes
among the edges, and no arithmetic on spike times can move one across an edge.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.progress import Progress, silent

MAX_COUNT = 255
_CHUNK = 1 << 22
_LARGEST_TABLE = 1 << 20


@dataclass(frozen=True)
class Binned:
    """`counts` (trials, bins, units) uint8; `saturated` entries held more than 255 spikes."""

    counts: npt.NDArray[np.uint8]
    saturated: int


def bin_edges(
    starts: npt.NDArray[np.floating], n_bins: int, bin_size: float
) -> npt.NDArray[np.float64]:
    """Edges (windows, bins + 1) in seconds of windows that begin at `starts`."""
    return np.asarray(starts, dtype=np.float64)[:, None] + np.arange(n_bins + 1) * bin_size


def bin_spikes(
    times: npt.NDArray[np.floating],
    clusters: npt.NDArray[np.integer],
    edges: npt.NDArray[np.float64],
    ids: npt.NDArray[np.integer],
    *,
    progress: Progress = silent,
) -> Binned:
    """Count the spikes of each unit in each bin of each window.

    Parameters
    ----------
    times, clusters
        Time in seconds, ascending, and cluster id (0 or more) of every spike.
    edges
        (windows, bins + 1) ascending in each row; windows may overlap. A spike
        at an edge belongs to the bin that begins there.
    ids
        The cluster id of each unit, none of them twice. Spikes of other clusters are not
        counted.

    """
    n_windows, n_bins, n_units = edges.shape[0], edges.shape[1] - 1, len(ids)
    counts = np.zeros((n_windows, n_bins, n_units), dtype=np.uint8)
    saturated = 0
    unit_of = _finder(ids)
    rows = np.arange(n_bins, dtype=np.intp) * n_units
    firsts = np.searchsorted(times, edges[:, 0])
    lasts = np.searchsorted(times, edges[:, -1])
    for k, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        per_bin = np.diff(np.searchsorted(times[first:last], edges[k]))
        units = unit_of(clusters[first:last].astype(np.int64, copy=False))
        entries = np.repeat(rows, per_bin)
        entries += units
        if units.min(initial=0) < 0:
            entries = entries[units >= 0]
        saturated += _add_counts(counts[k], entries, may_saturate=per_bin.max() > MAX_COUNT)
        if k % 64 == 0:
            progress(k / n_windows, "binning spikes")
    return Binned(counts, saturated)


def _finder(ids: npt.NDArray[np.integer]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what finds the unit of each of many clusters, -1 where it is none."""
    highest = int(ids.max(initial=-1))
    if highest >= _LARGEST_TABLE:  # slower than a table, but its memory does not grow with ids
        find: Callable[[np.ndarray], np.ndarray] = pd.Index(ids).get_indexer
        return find
    table = np.full(highest + 2, -1, dtype=np.intp)  # ids beyond the end are clipped to the -1
    table[ids] = np.arange(len(ids))
    return lambda clusters: table.take(clusters, mode="clip")


def _add_counts(counts: np.ndarray, entries: np.ndarray, *, may_saturate: bool) -> int:
    """Count flat `entries` into one window of zeros; return how many saturated."""
    if not may_saturate:  # no entry can pass 255: the fastest way, and the usual one
        np.add.at(counts.reshape(-1), entries, np.uint8(1))
        return 0
    found = np.bincount(entries, minlength=counts.size).reshape(counts.shape)
    counts[:] = np.minimum(found, MAX_COUNT)
    return int((found > MAX_COUNT).sum())


def check_times(times: npt.NDArray[np.floating], where: str) -> bool:
    """Return whether spike times ascend; raise SourceError if any is not finite.

    `where` names the place for the message. Reads in chunks, to need little memory.
    """
    ascending = True
    for start in range(0, len(times), _CHUNK):
        chunk = times[start : start + _CHUNK + 1]
        if not (chunk[1:] >= chunk[:-1]).all():  # also false where a time is NaN
            bad = np.flatnonzero(~np.isfinite(chunk))
            if len(bad):
                raise _not_finite(times, where, start + int(bad[0]))
            ascending = False
    ends = [0, -1] if len(times) else []
    for i in ends:
        if not np.isfinite(times[i]):
            raise _not_finite(times, where, i % len(times))
    return ascending


def _not_finite(times: npt.NDArray[np.floating], where: str, first: int) -> SourceError:
    n_bad = int((~np.isfinite(times)).sum())
    return SourceError(
        f"{where} holds {n_bad} spike times that are not numbers (the first at index {first}). "
        "The file is damaged or its spike sorting failed; fetch it again."
    )
