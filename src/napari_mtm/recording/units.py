"""Which units of a recording are kept, and why none are."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import PreparationError, SourceError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import UNIT_COLUMNS, Probe, Recording
from napari_mtm.recording.regions import UNKNOWN
from napari_mtm.recording.session import UNIT_TABLE_COLUMNS, anatomical_order
from napari_mtm.recording.spikes import called


def choose_units(
    recording: Recording, probes: Sequence[Probe], preparation: Preparation, notes: list[str]
) -> pd.DataFrame:
    """Table of the units that are kept, in anatomical order; adds to `notes`.

    Raises PreparationError where none is left, SourceError where two have one name.
    """
    tables = [
        probe.units[list(UNIT_COLUMNS)].assign(probe=probe.name, cluster=probe.units.index)
        for probe in probes
    ]
    units = pd.concat(tables, ignore_index=True)
    _check_uuids(units, recording)
    keep = chosen(units, preparation)
    if preparation.units == "good":
        notes.extend(_label_notes(units))
    if not keep.any():
        raise PreparationError(_no_units(recording, units, preparation))
    units = units[keep]
    unknown = int((units["region"] == UNKNOWN).sum())
    if unknown == len(units):
        notes.append("There are no region labels; units are in order of depth.")
    elif unknown:
        notes.append(f"{unknown} units have no region that the atlas knows; they come last.")
    units = units.iloc[anatomical_order(units)].reset_index(drop=True)
    return units[list(UNIT_TABLE_COLUMNS)]


def chosen(units: pd.DataFrame, preparation: Preparation) -> npt.NDArray[np.bool_]:
    """Which rows of a table with `label` and `firing_rate` a preparation keeps."""
    keep = np.ones(len(units), dtype=bool)
    labelled = units["label"].notna().any()
    if preparation.units == "good" and labelled:
        keep &= units["label"].to_numpy(dtype=np.float64) >= 1
    if preparation.min_rate > 0:
        keep &= units["firing_rate"].to_numpy(dtype=np.float64) >= preparation.min_rate
    return keep


def _label_notes(units: pd.DataFrame) -> list[str]:
    missing = units["label"].isna()
    if missing.all():
        return ["There are no quality labels, so all units are kept."] if len(units) else []
    return [
        f"{called(name)} has units without a quality label; they are left out."
        for name in units.loc[missing, "probe"].unique()
    ]


def _check_uuids(units: pd.DataFrame, recording: Recording) -> None:
    twice = units["uuid"][units["uuid"].duplicated()]
    if len(twice):
        raise SourceError(
            f"{recording.name} names unit {twice.iloc[0]} twice. Its probes disagree: "
            "one may be a copy of another."
        )


def _no_units(recording: Recording, units: pd.DataFrame, preparation: Preparation) -> str:
    if len(units) == 0:
        return f"{recording.name} has no units at all."
    wanted = f"None of the {len(units)} units of {recording.name} "
    if preparation.units == "all":
        return (
            f"{wanted}fires at {preparation.min_rate:g} spikes/s or more; lower the minimum rate."
        )
    rate = f" and {preparation.min_rate:g} spikes/s or more" if preparation.min_rate else ""
    return f'{wanted}has quality label 1 ("good"){rate}; try units="all".'
