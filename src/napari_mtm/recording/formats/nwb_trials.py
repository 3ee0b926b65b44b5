"""The trials of an NWB file, under IBL's names where they are IBL's."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.formats.hdf5 import Contents

Column = npt.NDArray[Any]

_TRIALS = "intervals/trials"
_NAMES = {
    "start_time": "intervals_0",
    "stop_time": "intervals_1",
    "quiescence_period": "quiescencePeriod",
    "gabor_stimulus_onset_time": "stimOn_times",
    "gabor_stimulus_offset_time": "stimOff_times",
    "auditory_cue_time": "goCue_times",
    "wheel_movement_onset_time": "firstMovement_times",
    "choice_registration_time": "response_times",
    "feedback_time": "feedback_times",
    "reward_volume_uL": "rewardVolume",
    "probability_left": "probabilityLeft",
}
"""What columns are called in IBL's files on DANDI (000409), and by IBL itself."""

_CHOICES = {
    "counter_clockwise": -1.0,
    "left": -1.0,
    "clockwise": 1.0,
    "right": 1.0,
    "none": 0.0,
    "no_response": 0.0,
    "no_go": 0.0,
}
"""Turns of the wheel as IBL's files name them, by direction or by sign, and IBL's number."""


def trials_table(file: Contents, notes: list[str]) -> pd.DataFrame | None:
    """Return the trials with their columns of numbers; None where there are no trials.

    Other columns keep their names, so that trials can be aligned to them. Text is left out,
    unless it is IBL's.
    """
    names = file.names(_TRIALS)
    n = file.length(f"{_TRIALS}/id") or file.length(f"{_TRIALS}/start_time")
    if not n:
        return None
    columns = _columns(file, names, n, notes)
    table = {}
    for name, values in columns.items():
        if values.dtype.kind in "biuf":
            called = _NAMES.get(name, name)
            table[name if called in columns else called] = values.astype(np.float64)
    table |= _choices(columns) | _feedback(columns) | _contrasts(columns)
    if "choice" in table and not _is_coded(table["choice"]):
        notes.append(
            "The trials' choice is not -1, 0 or 1 for right, none and left, as IBL has it, and is "
            "left out."
        )
        del table["choice"]
    return pd.DataFrame(table, index=range(n))


def _columns(file: Contents, names: list[str], n: int, notes: list[str]) -> dict[str, Column]:
    found = {}
    for name in names:
        if name == "id" or name.endswith("_index") or f"{name}_index" in names:
            continue
        length = file.length(f"{_TRIALS}/{name}")
        if length not in (n, None):
            notes.append(f"trials.{name} has {length} values for {n} trials and is left out.")
        values = file.values(f"{_TRIALS}/{name}") if length == n else None
        if values is not None:
            found[name] = values
    return found


def _choices(columns: dict[str, Column]) -> dict[str, Column]:
    words = columns.get("mouse_wheel_choice")
    if words is None or words.dtype.kind != "O":
        return {}
    return {"choice": np.array([_CHOICES.get(str(word), np.nan) for word in words])}


def _feedback(columns: dict[str, Column]) -> dict[str, Column]:
    rewarded = columns.get("is_mouse_rewarded")
    if rewarded is None or rewarded.dtype.kind not in "biu":
        return {}
    return {"feedbackType": np.where(rewarded.astype(bool), 1.0, -1.0)}


def _contrasts(columns: dict[str, Column]) -> dict[str, Column]:
    """IBL's contrasts, from 0 to 1 on one side and NaN on the other."""
    percent, side = columns.get("gabor_stimulus_contrast"), columns.get("gabor_stimulus_side")
    if percent is None or side is None or percent.dtype.kind not in "iuf":
        return {}
    return {
        name: np.where(side == word, percent / 100, np.nan)
        for name, word in (("contrastLeft", "left"), ("contrastRight", "right"))
    }


def _is_coded(choice: Column) -> bool:
    """Whether choices are IBL's: others would be taken for it, and left out as none made."""
    known = choice[~np.isnan(choice)]
    return bool(np.isin(known, (-1, 0, 1)).all() and (len(known) == 0 or (known == -1).any()))
