"""The units of an NWB file: where they lie, how good they are, and of which probe they are."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.formats.hdf5 import Contents
from napari_mtm.recording.regions import UNKNOWN, to_beryl
from napari_mtm.recording.unit_columns import (
    acronyms_in,
    depths_in,
    labels_in,
    probes_in,
    uuids_in,
)

Columns = dict[str, npt.NDArray[Any]]

_EPHYS = "general/extracellular_ephys"
_ELECTRODES = f"{_EPHYS}/electrodes"


def units_table(
    file: Contents, id: str, ids: npt.NDArray[np.int64], notes: list[str]
) -> pd.DataFrame:
    """Return the table of units that `spikes.probes_of` takes; `id` is that of the session."""
    columns = _columns(file, "units", len(ids))
    sites = _sites(file, columns, len(ids), notes)
    acronyms = acronyms_in(columns, sites) or [UNKNOWN] * len(ids)
    probes = _probes(file, columns, sites) or [""] * len(ids)
    depth, label = depths_in(columns, sites), labels_in(columns)
    own = [f"{id}/{probe}/{i}" for probe, i in zip(probes, ids, strict=True)]
    return pd.DataFrame(
        {
            "uuid": uuids_in(columns) or own,
            "region": to_beryl(acronyms),
            "acronym": acronyms,
            "depth": np.nan if depth is None else depth,
            "label": np.nan if label is None else label,
            "probe": probes,
        },
        index=ids,
    )


def _columns(file: Contents, table: str, n: int) -> Columns:
    """Columns of a table that hold one number, text or reference for each of its n rows."""
    names = file.names(table)
    plain = (
        name
        for name in names
        if f"{name}_index" not in names and file.length(f"{table}/{name}") == n
    )
    columns = {name: file.values(f"{table}/{name}") for name in plain}
    return {
        name: values
        for name, values in columns.items()
        if values is not None and values.dtype.kind in "Obiuf"
    }


def _sites(file: Contents, columns: Columns, n: int, notes: list[str]) -> Columns:
    """Columns of the electrodes table, each at the electrode that a unit is largest on."""
    n_electrodes = file.length(f"{_ELECTRODES}/id") or 0
    electrodes = _columns(file, _ELECTRODES, n_electrodes)
    rows = _rows(file, columns, electrodes, n)
    if rows is None:
        return {}
    beyond = (rows < 0) | (rows >= n_electrodes)
    if beyond.any():
        notes.append(
            f"{beyond.sum()} units name no electrode that the file has, so where they lie is not "
            "known."
        )
    if beyond.all():
        return {}
    found = {}
    for name, values in electrodes.items():
        text = values.dtype.kind == "O"
        at = values[np.where(beyond, 0, rows)] if text else values[rows * ~beyond].astype(float)
        at[beyond] = "" if text else np.nan
        found[name] = at
    return found


def _rows(
    file: Contents, columns: Columns, electrodes: Columns, n: int
) -> npt.NDArray[np.int64] | None:
    """Row of the electrodes table for each unit, -1 where none is said; None where none is at all.

    It is the largest one where the file says which that is, else the first.
    """
    for name in ("max_electrode", "electrodes"):
        if name in columns and columns[name].dtype.kind in "iu":
            return columns[name].astype(np.int64)
    ragged, ends = file.values("units/electrodes"), file.values("units/electrodes_index")
    if ragged is not None and ends is not None and ends.shape == (n,):
        return _firsts(ragged, ends)
    if "peak_channel_id" in columns and "id" in electrodes:  # as the Allen Institute writes it
        return pd.Index(electrodes["id"]).get_indexer(pd.Index(columns["peak_channel_id"]))
    return None


def _firsts(ragged: npt.NDArray[Any], ends: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """First of each unit's electrodes, -1 where it has none; None where the index is damaged."""
    if ragged.dtype.kind not in "iu" or ends.dtype.kind not in "iu":
        return None
    stops = ends.astype(np.int64)
    starts = np.concatenate([[0], stops])[:-1]
    if (stops < starts).any() or (stops > len(ragged)).any():
        return None
    padded = np.append(ragged.astype(np.int64), -1)
    return np.where(stops > starts, padded[starts], -1)


def _probes(file: Contents, columns: Columns, sites: Columns) -> list[str] | None:
    """Name of each unit's probe: its electrode group, or the device that has several of these."""
    groups = columns.get("electrode_group")
    if groups is not None and groups.dtype.kind == "O":
        return _devices(file, groups.tolist())
    named = probes_in(columns)
    if named is None and "group_name" in sites and sites["group_name"].dtype.kind == "O":
        return _devices(file, [f"/{_EPHYS}/{name}" if name else "" for name in sites["group_name"]])
    return named


def _devices(file: Contents, groups: Sequence[str]) -> list[str]:
    """Name of the probe of each electrode group; shanks or tetrodes of one device are one probe."""
    device = {group: file.place(f"{group}/device") if group else None for group in set(groups)}
    sharing = Counter(device.values())
    name = {
        group: (place if place and sharing[place] > 1 else group).rpartition("/")[2]
        for group, place in device.items()
    }
    return [name[group] for group in groups]
