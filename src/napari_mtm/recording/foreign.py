"""Spikes that another library holds in memory: a TsGroup of pynapple, a sorting of SpikeInterface.

They are known by what they can be asked, so that neither library is needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import numbers
from napari_mtm.errors import SourceError, in_short
from napari_mtm.recording.unit_columns import (
    acronyms_in,
    depths_in,
    labels_in,
    probes_in,
    uuids_in,
)


@dataclass(frozen=True)
class Spikes:
    """Spike times in seconds, ascending, the cluster of each, and what is known of clusters.

    `units` has some of `regions`, `depths`, `labels`, `probes` and `uuids`, each by cluster id,
    as `spikes.recording_from_spikes` takes them.
    """

    times: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.int64]
    units: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)


def spikes_of(thing: Any) -> Spikes | None:
    """Return the spikes that a TsGroup or a sorting holds, None for anything else."""
    if _can(thing, "get_unit_ids", "get_unit_spike_train", "get_num_segments"):
        read: Callable[[Any], Spikes] = _of_sorting
    elif _can(thing, "keys", "get_info", "metadata_columns"):
        read = _of_group
    else:
        return None
    try:
        return read(thing)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SourceError(
            f"This {type(thing).__name__} is not as those that are known here "
            f"({in_short(error)}); give times and clusters as arrays."
        ) from None


def _can(thing: Any, *names: str) -> bool:
    return not isinstance(thing, type) and all(hasattr(thing, name) for name in names)


def _of_group(group: Any) -> Spikes:
    """Spikes of a TsGroup; its metadata are the columns."""
    ids = list(group.keys())
    columns = {str(name): group.get_info(name) for name in group.metadata_columns}
    return _together(ids, [group[i].times() for i in ids], columns)


def _of_sorting(sorting: Any) -> Spikes:
    """Spikes of a sorting in one segment; its properties are the columns."""
    segments = sorting.get_num_segments()
    if segments != 1:
        raise SourceError(
            f"The sorting has {segments} segments, which have a clock each; choose one of them, "
            "for example with select_segments."
        )
    ids = list(sorting.get_unit_ids())
    trains = [sorting.get_unit_spike_train(i, segment_index=0, return_times=True) for i in ids]
    columns = {str(name): sorting.get_property(name) for name in sorting.get_property_keys()}
    return _together(ids, trains, columns)


def _together(ids: list[Any], trains: list[Any], columns: Mapping[str, Any]) -> Spikes:
    """Spikes of all units in order of time. Names that are no numbers become uuids."""
    rows = [
        numbers(train, f"Times of unit {i}", SourceError)
        for i, train in zip(ids, trains, strict=True)
    ]
    whole = all(isinstance(i, (int, np.integer)) and i >= 0 for i in ids)
    clusters = np.array(ids if whole else range(len(ids)), dtype=np.int64)
    times = np.concatenate([np.empty(0), *rows])
    order = np.argsort(times, kind="stable")
    table = {name: _column(values) for name, values in columns.items()}
    table = {name: values for name, values in table.items() if values.shape == (len(ids),)}
    known = {
        "regions": acronyms_in(table),
        "depths": depths_in(table),
        "labels": labels_in(table),
        "probes": probes_in(table),
        "uuids": uuids_in(table) or (None if whole else [str(i) for i in ids]),
    }
    return Spikes(
        times[order],
        np.repeat(clusters, [len(row) for row in rows])[order],
        {
            what: dict(zip(clusters.tolist(), list(values), strict=True))
            for what, values in known.items()
            if values is not None
        },
    )


def _column(values: Any) -> npt.NDArray[Any]:
    """A column as numbers, or as text, empty where it is missing."""
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array
    return np.array(["" if _is_missing(v) else str(v) for v in array.ravel()], dtype=object)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
