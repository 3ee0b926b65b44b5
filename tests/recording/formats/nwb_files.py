"""Write the simulated sample as NWB files, as a lab would with pynwb, and as IBL's on DANDI."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hdmf.common import VectorData, VectorIndex
from iblatlas.regions import BrainRegions
from pynwb import NWBHDF5IO, NWBFile, ProcessingModule, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units

from napari_mtm.recording.raw import Recording

EID = "0a018f12-ee06-4b11-97aa-bbbff5448e9f"


def write_as_a_lab(
    path: Path, animal: Recording, units: pd.DataFrame, trains: Sequence[np.ndarray]
) -> None:
    """Units say themselves where they lie; trials have IBL's names."""
    file = _new()
    _probes(file, units["probe"])
    file.units = _units(
        trains,
        10 * units["id"],
        electrode_group=[file.electrode_groups[name] for name in units["probe"]],
        location=units["acronym"].tolist(),
        quality=["good" if label == 1 else "mua" for label in units["label"]],
        depth=units["depth"].to_numpy(),
        uuids=units["uuid"].tolist(),
    )
    _trials(file, animal.trials.rename(columns=_INTERVALS))
    _write(file, path)


def write_as_ibl(
    path: Path, animal: Recording, units: pd.DataFrame, trains: Sequence[np.ndarray]
) -> None:
    """Units name their largest electrode; trials and behaviour have the names of DANDI 000409."""
    file = _new()
    _probes(file, units["probe"])
    atlas = BrainRegions()
    full = dict(zip(atlas.acronym, atlas.name, strict=True))
    file.add_electrode_column("rel_y", "along the probe, um")
    at = np.random.default_rng(3).permutation(len(units))
    for unit in units.iloc[at].itertuples():
        group = file.electrode_groups[unit.probe]
        file.add_electrode(group=group, location=full[unit.acronym], rel_y=unit.depth)
    file.units = _units(
        trains,
        units["id"],
        probe_name=units["probe"].tolist(),
        cluster_uuid=units["uuid"].tolist(),
        ibl_quality_score=units["label"].to_numpy(),
        kilosort2_label=["mua"] * len(units),
    )
    largest = np.argsort(at)
    file.units.add_column("max_electrode", "of unit", data=largest, table=file.electrodes)
    _trials(file, as_ibl_names_trials(animal.trials))
    _behaviour(file, animal)
    _write(file, path)


def as_ibl_names_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Write trials as IBL's files on DANDI have them, by IBL's own description of these."""
    left = trials["contrastLeft"].notna()
    return pd.DataFrame(
        {
            "start_time": trials["intervals_0"],
            "stop_time": trials["intervals_1"],
            "gabor_stimulus_onset_time": trials["stimOn_times"],
            "auditory_cue_time": trials["goCue_times"],
            "wheel_movement_onset_time": trials["firstMovement_times"],
            "choice_registration_time": trials["response_times"],
            "feedback_time": trials["feedback_times"],
            "gabor_stimulus_contrast": 100
            * trials["contrastLeft"].where(left, trials["contrastRight"]),
            "gabor_stimulus_side": np.where(left, "left", "right"),
            "mouse_wheel_choice": trials["choice"].map(
                {1: "clockwise", -1: "counter_clockwise", 0: "none"}
            ),
            "is_mouse_rewarded": trials["feedbackType"] == 1,
            "probability_left": trials["probabilityLeft"],
            "block_type": "block",
        }
    )


_INTERVALS = {"intervals_0": "start_time", "intervals_1": "stop_time"}


def _new() -> NWBFile:
    return NWBFile(
        session_description="simulated",
        identifier="made up",
        session_start_time=datetime(2024, 2, 3, tzinfo=UTC),
        subject=Subject(subject_id="MOUSE", species="Mus musculus", sex="U", age="P90D"),
    )


def _probes(file: NWBFile, names: pd.Series) -> None:
    for name in names.unique():
        device = file.create_device(name=f"device of {name}")
        file.create_electrode_group(name=name, description=name, location="", device=device)


def _units(trains: Sequence[np.ndarray], ids: pd.Series, **columns: Any) -> Units:
    """Make a table of units; column by column, which is far faster than unit by unit."""
    ends = np.cumsum([len(times) for times in trains])
    spikes = VectorData(name="spike_times", description="s", data=np.concatenate(trains))
    return Units(
        name="units",
        id=ids.tolist(),
        columns=[
            spikes,
            VectorIndex(name="spike_times_index", data=ends, target=spikes),
            *(VectorData(name=n, description="of unit", data=v) for n, v in columns.items()),
        ],
    )


def _trials(file: NWBFile, trials: pd.DataFrame) -> None:
    columns = [
        VectorData(name=n, description="of trial", data=v.tolist()) for n, v in trials.items()
    ]
    file.trials = TimeIntervals(name="trials", description="all", columns=columns)


def _behaviour(file: NWBFile, animal: Recording) -> None:
    wheel, energy = animal.wheel_position, animal.whisker
    for module, series in (
        (
            "wheel",
            SpatialSeries(
                name="WheelPosition",
                data=np.degrees(wheel.values) / 2,
                conversion=2.0,
                unit="degrees",
                timestamps=wheel.times,
                reference_frame="0 at the start",
            ),
        ),
        (
            "motion_energy",
            TimeSeries(
                name="LeftCameraMotionEnergy",
                data=energy.values,
                unit="a.u.",
                timestamps=energy.times,
            ),
        ),
    ):
        processing = ProcessingModule(name=module, description=module)
        processing.add(series)
        file.add_processing_module(processing)


def _write(file: NWBFile, path: Path) -> None:
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
