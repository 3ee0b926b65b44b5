"""Files of BrainWideBench, written as the benchmark does."""

import datetime as dt
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from temporaldata import ArrayDict, Data, Interval, IrregularTimeSeries, RegularTimeSeries

from napari_mtm.recording.raw import Recording

EID = "0802ced5-33a3-405e-8336-b65ebc5cb07c"
PIDS = {
    "probe00": "f0000000-0000-4000-8000-000000000000",
    "probe01": "a0000000-0000-4000-8000-000000000001",
}
TRIALS = {
    "intervals_0": "start",
    "intervals_1": "end",
    "stimOn_times": "stim_on_time",
    "goCue_times": "go_cue_time",
    "firstMovement_times": "movement_onset_time",
    "response_times": "response_time",
    "feedback_times": "feedback_time",
    "probabilityLeft": "probability_left",
    "contrastLeft": "contrast_left",
    "contrastRight": "contrast_right",
    "rewardVolume": "reward_volume",
}


def as_data(recording: Recording) -> Data:
    """Put a recording together as `ibl_brain_wide_bench_2026` does."""
    tables = [probe.units.assign(probe_id=PIDS[probe.name]) for probe in recording.probes]
    offsets = np.cumsum([0, *(len(table) for table in tables)])
    units = pd.concat(tables, ignore_index=True)
    index = [
        offset + table.index.get_indexer(probe.clusters)
        for probe, table, offset in zip(recording.probes, tables, offsets, strict=False)
    ]
    spikes = IrregularTimeSeries(
        timestamps=np.concatenate([probe.times for probe in recording.probes]).astype(float),
        unit_index=np.concatenate(index).astype(np.int64),
        depth=units["depth"].to_numpy()[np.concatenate(index)],
        domain="auto",
    )
    spikes.sort()
    trials = recording.trials
    theirs = {new: trials[old].to_numpy() for old, new in TRIALS.items() if old in trials}
    choice = trials["choice"].map({1: 1, -1: 0, 0: 2}).to_numpy()
    reward = trials["feedbackType"].map({-1: 0, 1: 1}).to_numpy()
    grid = {"sampling_rate": 50, "domain_start": float(recording.wheel_position.times[0])}
    t = np.arange(grid["domain_start"], recording.wheel_position.times[-1], 0.02)
    wheel, whisker = recording.wheel_position, recording.whisker
    frames = np.arange(whisker.times[0], whisker.times[-1], 0.02)
    return Data(
        brainset=Data(id="ibl_brain_wide_bench_2026", derived_version="0.1.0"),
        subject=Data(id="SIM176-000", species="MUS_MUSCULUS"),
        session=Data(id=EID, recording_date=dt.datetime(2024, 1, 1)),
        lab="simulation",
        spikes=spikes,
        units=ArrayDict(
            id=units["uuid"].to_numpy().astype(str),
            region_allen=units["acronym"].to_numpy().astype(str),
            region_beryl=units["region"].to_numpy().astype(str),
            probe_id=units["probe_id"].to_numpy().astype(str),
            depths=units["depth"].to_numpy(),
            label=units["label"].to_numpy(),
            firing_rate=units["firing_rate"].to_numpy(),
        ),
        probes=ArrayDict(id=np.array(list(PIDS.values())), name=np.array(list(PIDS))),
        trials=Interval(
            **theirs, choice=choice, reward=reward, is_valid=np.isfinite(trials["choice"])
        ),
        wheel=RegularTimeSeries(**grid, wheel_pos=np.interp(t, wheel.times, wheel.values)),
        whisker=IrregularTimeSeries(
            timestamps=frames,
            whisker_motion_energy=np.interp(frames, whisker.times, whisker.values),
            domain="auto",
        ),
        licks=RegularTimeSeries(**grid, licking_rate=np.where(t % 2 < 1, 50.0, 0.0)),
        paws=IrregularTimeSeries(
            timestamps=t,
            left_paw_speed=np.full(len(t), 3.0),
            is_left_paw_confident=t < 100.0,
            domain="auto",
        ),
        domain=spikes.domain,
    )


def write_bench(recording: Recording, folder: Path) -> Path:
    """Write a recording as a file of the benchmark, and return its path."""
    path = folder / f"{EID}.h5"
    with h5py.File(path, "w") as file:
        as_data(recording).to_hdf5(file, serialize_fn_map={dt.datetime: lambda t, **_: str(t)})
    return path
