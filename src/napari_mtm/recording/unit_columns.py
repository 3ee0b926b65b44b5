"""What other programs' tables say of units, under the names that they use for it.

A table is its columns by name: text as objects, or numbers, one for each unit.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.regions import UNKNOWN, allen_acronyms, to_beryl

Columns = Mapping[str, npt.NDArray[Any]]

REGION = (
    "location",
    "brain_area",
    "brain_region",
    "allen_location",
    "beryl_location",
    "region",
    "acronym",
    "area",
    "structure_acronym",
    "ecephys_structure_acronym",
)
LABEL = ("ibl_quality_score", "label", "quality", "group", "kslabel", "kilosort2_label")
"""Here and below, names are in small letters, and of several columns the first counts."""
DEPTH = ("depth", "depths", "distance_from_probe_tip_um", "rel_y", "probe_vertical_position")
PROBE = ("probe_name", "probe")
UUID = ("cluster_uuid", "cluster_uuids", "uuid", "uuids")

_UNDECIDED = frozenset({"", "unsorted", "nan", "none"})
_QUALITY_WORDS = frozenset({"good", "mua", "noise", "unsorted", "artifact", "bad"})


def acronyms_in(*tables: Columns) -> list[str] | None:
    """Where each unit lies, as Allen acronyms; None where no column says it.

    Of several columns, the first with a place that the atlas knows counts; a name that it does
    not know stays as it is, and a missing one is `UNKNOWN`.
    """
    strange = None
    for values in (column for table in tables for column in _named(table, REGION)):
        if not _is_text(values) or not any(values):
            continue
        places = allen_acronyms([place or UNKNOWN for place in _texts(values)])
        if any(region != UNKNOWN for region in to_beryl(places)):
            return places
        strange = strange or places
    return strange


def labels_in(columns: Columns) -> npt.NDArray[np.float64] | None:
    """Quality of each unit as IBL gives it, where 1 is good and NaN not known; None without any.

    Numbers count where they are from 0 to 1; of words, "good" is 1 and others are 0.
    """
    found = (_quality(values) for values in _named(columns, LABEL))
    return next((quality for quality in found if quality is not None), None)


def depths_in(*tables: Columns) -> npt.NDArray[np.float64] | None:
    """Depth of each unit in micrometres, NaN where not known; None without any."""
    for values in (column for table in tables for column in _named(table, DEPTH)):
        depth = values.astype(np.float64) if values.dtype.kind in "iuf" else np.empty(0)
        if np.isfinite(depth).any():
            return np.where(np.isfinite(depth), depth, np.nan)
    return None


def probes_in(columns: Columns) -> list[str] | None:
    """Name of each unit's probe; None where no column of text says it."""
    return next((_texts(v) for v in _named(columns, PROBE) if _is_text(v)), None)


def uuids_in(columns: Columns) -> list[str] | None:
    """A name for each unit that no other has; None where no column gives one to all."""
    for values in _named(columns, UUID):
        names = _texts(values) if _is_text(values) else []
        if len(names) and all(names) and len(set(names)) == len(names):
            return names
    return None


def _named(columns: Columns, names: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    """Columns of some names, whatever their capitals, in the order of the names."""
    by_name = {name.casefold(): values for name, values in columns.items()}
    return (by_name[name] for name in names if name in by_name)


def _quality(values: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """A column as quality; None where it says something else, such as a number of a group."""
    if _is_text(values):
        words = [word.casefold() for word in _texts(values)]
        if not _QUALITY_WORDS.intersection(words):
            return None
        return np.array([np.nan if w in _UNDECIDED else float(w == "good") for w in words])
    known = values[np.isfinite(values)]
    if not known.any() or (known < 0).any() or (known > 1).any():
        return None
    return np.where(np.isfinite(values), values, np.nan).astype(np.float64)


def _is_text(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind in "OU"


def _texts(values: npt.NDArray[Any]) -> list[str]:
    return [str(value).strip() for value in values]
