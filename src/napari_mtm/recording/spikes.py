"""Spikes as they come: checked, put in order, and made into a recording."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.recording.binning import check_times
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.regions import UNKNOWN, to_beryl
from napari_mtm.recording.traces import Trace

T = TypeVar("T")

_HIGHEST_ID = 2**63 - 1


def recording_from_spikes(
    times: np.ndarray,
    clusters: np.ndarray,
    *,
    regions: Mapping[int, str] | Sequence[str] | None = None,
    depths: Mapping[int, float] | Sequence[float] | None = None,
    trials: pd.DataFrame | None = None,
    wheel: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    id: str | None = None,
) -> Recording:
    """Make a recording of plain arrays; `regions` and `depths` are looked up by cluster id."""
    times, clusters = times.ravel(), clusters.ravel()
    _check_spikes(times, clusters, "The recording")
    ids = spikes_per_cluster(clusters).index.to_numpy()
    id = id or f"spikes-{_digest(times, clusters)}"
    acronyms = [_lookup(regions, i, UNKNOWN) or UNKNOWN for i in ids]
    units = pd.DataFrame(
        {
            "uuid": [f"{id}/{i}" for i in ids],
            "region": to_beryl(acronyms),
            "acronym": acronyms,
            "depth": np.array([_lookup(depths, i, np.nan) for i in ids], dtype=np.float64),
            "label": np.nan,
            "firing_rate": mean_rates(times, clusters, ids),
        },
        index=ids,
    )
    try:
        position = None if wheel is None else Trace.clean(*wheel)
    except ValueError as error:
        raise SourceError(f"The wheel has {error}; give one position per time.") from None
    return Recording(
        id=id,
        name=id,
        probes=(Probe("", times, clusters, units),),
        trials=trials,
        wheel_position=position,
    )


def usable(probe: Probe, notes: list[str]) -> Probe:
    """Check a probe's spikes; sort them and drop those before time 0 where need be."""
    where = called(probe.name)
    times, clusters = probe.times, probe.clusters
    _check_spikes(times, clusters, where)
    if not check_times(times, where):
        order = np.argsort(times, kind="stable")
        times, clusters = times[order], clusters[order]
        notes.append(f"{where}: spike times were not in order and have been sorted.")
    early = int(np.searchsorted(times, 0.0))
    if early:
        times, clusters = times[early:], clusters[early:]
        notes.append(f"{where}: {early} spikes before time 0 are left out.")
    if len(times) == 0:
        notes.append(f"{where} has no spikes.")
    return replace(probe, times=times, clusters=clusters)


def called(probe: str) -> str:
    """Return what to call a probe at the beginning of a sentence."""
    return f"Probe {probe}" if probe else "The recording"


def spikes_per_cluster(clusters: np.ndarray) -> pd.Series:
    """Number of spikes of each cluster that has any, by ascending id."""
    native = clusters.astype(clusters.dtype.newbyteorder("="), copy=False)
    number = pd.Series(native).value_counts(sort=False)
    number.index = number.index.astype(np.int64)
    return number.sort_index()


def mean_rates(times: np.ndarray, clusters: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Spikes/s of each cluster from the first to the last spike of all."""
    if len(times) < 2:
        return np.zeros(len(ids))
    number = spikes_per_cluster(clusters).reindex(ids, fill_value=0).to_numpy()
    duration = float(times.max()) - float(times.min())
    return number / duration if duration > 0 else np.zeros(len(ids))


def _check_spikes(times: np.ndarray, clusters: np.ndarray, where: str) -> None:
    if len(times) != len(clusters):
        raise SourceError(
            f"{where} has {len(times)} spike times but {len(clusters)} spike clusters; "
            "one of the two is cut short or from another sorting."
        )
    if not np.issubdtype(times.dtype, np.floating) and not np.issubdtype(times.dtype, np.integer):
        raise SourceError(f"{where} has spike times of type {times.dtype}; they must be seconds.")
    if not np.issubdtype(clusters.dtype, np.integer):
        raise SourceError(f"{where} has spike clusters of type {clusters.dtype}; they must be ids.")
    if clusters.min(initial=0) < 0:
        raise SourceError(f"{where} has negative spike clusters; ids begin at 0.")
    if clusters.max(initial=0) > _HIGHEST_ID:
        raise SourceError(
            f"{where} has spikes of cluster {clusters.max()}; ids end at 2**63 - 1. They may have "
            "been negative before they were stored without a sign."
        )


def _lookup(table: Mapping[int, T] | Sequence[T] | None, i: int, default: T) -> T:
    if table is None:
        return default
    if isinstance(table, Mapping):
        return table.get(int(i), default)
    return table[int(i)] if int(i) < len(table) else default


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
