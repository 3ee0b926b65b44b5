"""Spikes as they come: checked, put in order, and made into a recording."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import SourceError
from napari_mtm.recording.binning import check_times
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.regions import UNKNOWN, to_beryl
from napari_mtm.recording.traces import Trace

WHEEL, WHISKER = "wheel-position", "whisker-motion-energy"
"""Names of behaviour that has a place of its own in a recording: position in rad, and energy."""

Samples = tuple[npt.ArrayLike, npt.ArrayLike]
"""Times in seconds, and as many values."""

_HIGHEST_ID = 2**63 - 1


def recording_from_spikes(
    times: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    regions: Mapping[int, str] | Sequence[str] | None = None,
    depths: Mapping[int, float] | Sequence[float] | None = None,
    labels: Mapping[int, float] | Sequence[float] | None = None,
    probes: Mapping[int, str] | Sequence[str] | None = None,
    uuids: Mapping[int, str] | None = None,
    trials: pd.DataFrame | None = None,
    wheel: Samples | None = None,
    behaviour: Mapping[str, Samples] | None = None,
    id: str | None = None,
) -> Recording:
    """Make a recording of plain arrays; what is known of units is looked up by cluster id.

    `behaviour` is times in s and values by name; `WHEEL` and `WHISKER` are those of IBL's task.
    Raises SourceError where something is not as it must be.
    """
    times = _row(times, "Spike times")
    clusters = _row(clusters, "Spike clusters", "whole")
    _check_spikes(times, clusters, "The recording")
    if trials is not None and not isinstance(trials, pd.DataFrame):
        raise SourceError("Trials must be a pandas table with a row for each trial.")
    ids = spikes_per_cluster(clusters).index.to_numpy()
    id = id or f"spikes-{_digest(times, clusters)}"
    acronyms = _texts(regions, ids, "Regions", "Allen acronyms", UNKNOWN)
    given = _by_cluster(uuids, ids, "The names of units")
    units = pd.DataFrame(
        {
            "uuid": [uuid or f"{id}/{i}" for uuid, i in zip(given, ids, strict=True)],
            "region": to_beryl(acronyms),
            "acronym": acronyms,
            "depth": _reals(depths, ids, "Depths"),
            "label": _reals(labels, ids, "Labels"),
            "probe": _texts(probes, ids, "Probes", "names", ""),
        },
        index=ids,
    )
    if behaviour is not None and not isinstance(behaviour, Mapping):
        raise SourceError("Behaviour must be a dictionary of times and values by name.")
    traces = {
        name: _trace(f"Behaviour {name}", samples) for name, samples in (behaviour or {}).items()
    }
    if wheel is not None:
        traces[WHEEL] = _trace("The wheel", wheel)
    return Recording(
        id=id,
        name=id,
        probes=probes_of(times, clusters, units),
        trials=trials,
        wheel_position=traces.pop(WHEEL, None),
        whisker=traces.pop(WHISKER, None),
        traces=traces,
    )


def probes_of(
    times: npt.NDArray[Any], clusters: npt.NDArray[Any], units: pd.DataFrame
) -> tuple[Probe, ...]:
    """Split spikes and units of a whole recording by probe, as the column `probe` of units says.

    `units` is as in `Probe`, but without `firing_rate`; its ids are unique over all probes.
    """
    names = sorted(set(units["probe"])) or [""]
    probes = []
    for name in names:
        mine = units[units["probe"] == name].drop(columns="probe")
        if len(names) == 1:
            t, c = times, clusters
        else:
            of_probe = np.isin(clusters, mine.index.to_numpy())
            t, c = times[of_probe], clusters[of_probe]
        ids = mine.index.to_numpy()
        probes.append(Probe(name, t, c, mine.assign(firing_rate=mean_rates(t, c, ids))))
    return tuple(probes)


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


def _row(values: object, what: str, kind: Kind = "real") -> npt.NDArray[Any]:
    """Return numbers in a row, which may come as a column or a row of a matrix."""
    found = numbers(values, what, SourceError, kind=kind, ndim=None)
    if found.ndim == 2 and 1 in found.shape:
        found = found.ravel()
    if found.ndim != 1:
        raise SourceError(f"{what} must have one axis; the shape is {found.shape}.")
    return found


def _texts(table: object, ids: np.ndarray, what: str, of: str, otherwise: str) -> list[str]:
    """Text for each cluster, `otherwise` where none is given."""
    found = _by_cluster(table, ids, what)
    for text in found:
        if not (text is None or isinstance(text, str)):
            raise SourceError(f"{what} must be {of}; {text!r} is none.")
    return [text or otherwise for text in found]


def _reals(table: object, ids: np.ndarray, what: str) -> npt.NDArray[np.float64]:
    """Number for each cluster, NaN where none is given."""
    found = [np.nan if number is None else number for number in _by_cluster(table, ids, what)]
    return numbers(found, what, SourceError).astype(np.float64)


def _by_cluster(table: object, ids: np.ndarray, what: str) -> list[Any]:
    """Look clusters up in a mapping, or in a sequence by position; None where nothing is said."""
    if isinstance(table, pd.Series):
        table = table.to_dict()
    if table is None:
        found = [None] * len(ids)
    elif isinstance(table, Mapping):
        for key in table:
            if not isinstance(key, Real):
                raise SourceError(f"{what} must be given by cluster id; {key!r} is none.")
        found = [table.get(i) for i in ids.tolist()]
    else:
        values = np.asarray(table, dtype=object)
        if values.ndim != 1 or np.ma.is_masked(table):
            raise SourceError(
                f"{what} must be given by cluster id: in a dictionary, or in a list in the order "
                "of ids from 0 on, with nothing masked."
            )
        found = [values[i] if i < len(values) else None for i in ids]
    return [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in found]


def _trace(what: str, samples: object) -> Trace:
    """Samples as a trace; `what` begins a sentence."""
    times: Any
    values: Any
    try:
        times, values = samples  # type: ignore[misc]
    except (TypeError, ValueError):
        raise SourceError(f"{what} must be two arrays: times in s, and values.") from None
    try:
        return Trace.clean(_row(times, f"{what}: times"), _row(values, f"{what}: values"))
    except ValueError as error:
        raise SourceError(f"{what} has {error}; give one value per time.") from None


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
