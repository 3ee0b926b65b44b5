"""A recording of real size, at random, as files of each kind that sessions are opened from."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

PROBES, CLUSTERS, SPIKES = 2, 1_500, 25_000_000
"""Probes, and clusters and spikes of each."""
TRIALS, SECONDS = 900, 4_800.0
GOOD = 0.1
"""Share of the clusters that are good."""
_CHANNELS, _RATE = 384, 30_000.0
_REGIONS = (-385, -382, 726, 218, 1020)  # VISp, CA1, DG, LP, PO
_EID = "5dcee0eb-b34d-4652-acc3-d10afc6eae68"


@dataclass(frozen=True)
class Large:
    """Spikes of each probe in order of time, which clusters are good, and the trials."""

    times: tuple[npt.NDArray[np.float64], ...]
    clusters: tuple[npt.NDArray[np.uint16], ...]
    good: npt.NDArray[np.bool_]
    trials: pd.DataFrame


def large(seed: int = 0) -> Large:
    """Draw a recording."""
    rng = np.random.default_rng(seed)
    times, clusters = [], []
    for _ in range(PROBES):
        gaps = rng.exponential(size=SPIKES)
        np.cumsum(gaps, out=gaps)
        times.append(gaps * (SECONDS / gaps[-1]))
        clusters.append(rng.integers(0, CLUSTERS, SPIKES).astype(np.uint16))
    on = np.linspace(10, SECONDS - 10, TRIALS)
    left = rng.random(TRIALS) < 0.5
    trials = pd.DataFrame(
        {
            "intervals_0": on - 1,
            "intervals_1": on + 3,
            "stimOn_times": on,
            "goCue_times": on,
            "firstMovement_times": on + 0.3,
            "response_times": on + 0.6,
            "feedback_times": on + 0.6,
            "choice": np.where(left, 1.0, -1.0),
            "feedbackType": 1.0,
            "probabilityLeft": 0.5,
            "contrastLeft": np.where(left, 1.0, np.nan),
            "contrastRight": np.where(left, np.nan, 1.0),
        }
    )
    good = np.arange(CLUSTERS) < GOOD * CLUSTERS
    return Large(tuple(times), tuple(clusters), good, trials)


def write_one(recording: Large, folder: Path) -> dict[str, str]:
    """Write a ONE cache; return what `open_session` takes, as for all of these."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    session = folder / "lab" / "Subjects" / "LARGE" / "2024-01-01" / "001"
    for k, (times, clusters) in enumerate(zip(recording.times, recording.clusters, strict=True)):
        sorting = session / "alf" / f"probe{k:02d}" / "pykilosort"
        sorting.mkdir(parents=True)
        axial = np.linspace(0, 3820, _CHANNELS)
        channel = np.arange(CLUSTERS) % _CHANNELS
        arrays: dict[str, npt.NDArray[Any]] = {
            "spikes.times": times,
            "spikes.clusters": clusters,
            "clusters.channels": channel,
            "clusters.depths": axial[channel],
            "channels.localCoordinates": np.column_stack([axial * 0, axial]),
            "channels.rawInd": np.arange(_CHANNELS),
            "channels.brainLocationIds_ccf_2017": np.resize(_REGIONS, _CHANNELS),
        }
        for name, array in arrays.items():
            np.save(sorting / f"{name}.npy", array)
        metrics = pd.DataFrame({"cluster_id": range(CLUSTERS), "label": recording.good * 1.0})
        metrics.to_parquet(sorting / "clusters.metrics.pqt")
    recording.trials.to_parquet(session / "alf" / "_ibl_trials.table.pqt")
    wheel = np.arange(0, SECONDS, 0.01)
    np.save(session / "alf" / "_ibl_wheel.timestamps.npy", wheel)
    np.save(session / "alf" / "_ibl_wheel.position.npy", np.sin(wheel))
    frames = np.arange(0, SECONDS, 1 / 60)
    np.save(session / "alf" / "_ibl_leftCamera.times.npy", frames)
    np.save(session / "alf" / "leftCamera.ROIMotionEnergy.npy", 5 + np.cos(frames))

    listed = []
    for file in sorted(p for p in session.rglob("*") if p.is_file()):
        path = file.relative_to(session).as_posix()
        listed.append(
            {
                "eid": _EID,
                "id": str(uuid.uuid3(uuid.UUID(_EID), path)),
                "rel_path": path,
                "file_size": file.stat().st_size,
                "hash": "",
                "exists": True,
                "default_revision": True,
            }
        )
    datasets = pd.DataFrame(listed).astype({"file_size": "UInt64"}).set_index(["eid", "id"])
    sessions = pd.DataFrame(
        {
            "lab": ["lab"],
            "subject": ["LARGE"],
            "date": [pd.Timestamp("2024-01-01").date()],
            "number": [1],
            "task_protocol": [""],
            "projects": [""],
        },
        index=pd.Index([_EID], name="id"),
    )
    about = json.dumps({"date_created": "2024-01-01 00:00", "origin": "benchmark"}).encode()
    for name, table in (("sessions", sessions), ("datasets", datasets.sort_index())):
        arrow = pa.Table.from_pandas(table)
        described = arrow.replace_schema_metadata({**arrow.schema.metadata, b"one_metadata": about})
        pq.write_table(described, folder / f"{name}.pqt")
    return {"source": _EID, "one": str(folder)}


def write_h5(recording: Large, folder: Path) -> dict[str, str]:
    """Write a file of BrainWideBench."""
    import h5py

    path = folder / "large.h5"
    n = PROBES * CLUSTERS
    with h5py.File(path, "w") as file:
        times, order = _merged(recording)
        file["spikes/timestamps"] = times
        file["spikes/unit_index"] = _units(recording)[order].astype(np.int64)
        file["units/id"] = np.array([f"unit-{k}" for k in range(n)], dtype="S16")
        file["units/probe_id"] = np.repeat(
            np.array([f"probe{k:02d}" for k in range(PROBES)], dtype="S16"), CLUSTERS
        )
        file["units/region_allen"] = np.resize(np.array(["VISp1", "CA1", "LP"], dtype="S8"), n)
        file["units/label"] = np.tile(recording.good * 1.0, PROBES)
        trials = recording.trials
        for name, column in (
            ("start", "intervals_0"),
            ("end", "intervals_1"),
            ("stim_on_time", "stimOn_times"),
            ("movement_onset_time", "firstMovement_times"),
            ("feedback_time", "feedback_times"),
            ("go_cue_time", "goCue_times"),
            ("probability_left", "probabilityLeft"),
            ("contrast_left", "contrastLeft"),
            ("contrast_right", "contrastRight"),
        ):
            file[f"trials/{name}"] = trials[column].to_numpy()
        file["trials/choice"] = (trials["choice"] == 1).to_numpy().astype(np.int64)
        file["trials/reward"] = np.ones(TRIALS, dtype=np.int64)
    return {"source": str(path)}


def write_nwb(recording: Large, folder: Path) -> dict[str, str]:
    """Write an NWB file, as far as it is read."""
    import h5py

    path = folder / "large.nwb"
    n = PROBES * CLUSTERS
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["identifier"] = "large"
        file["session_start_time"] = "2024-01-01T10:00:00+00:00"
        times, order = _merged(recording)
        units = _units(recording)[order]
        by_unit = np.argsort(units, kind="stable")
        table = file.create_group("units")
        table.attrs["colnames"] = ["spike_times", "location", "label"]
        table["spike_times"] = times[by_unit]
        table["spike_times_index"] = np.cumsum(np.bincount(units, minlength=n))
        table["id"] = np.arange(n)
        table["location"] = [("VISp1", "CA1", "LP")[k % 3] for k in range(n)]
        table["label"] = np.tile(recording.good * 1.0, PROBES)
        for name, column in {
            "start_time": "intervals_0",
            "stop_time": "intervals_1",
            "stimOn_times": "stimOn_times",
        }.items():
            file[f"intervals/trials/{name}"] = recording.trials[column].to_numpy()
        file["intervals/trials/id"] = np.arange(TRIALS)
    return {"source": str(path)}


def write_phy(recording: Large, folder: Path) -> dict[str, str]:
    """Write a Phy folder, which holds all probes as one."""
    place = folder / "large"
    place.mkdir()
    times, order = _merged(recording)
    np.save(place / "spike_times.npy", np.round(times * _RATE).astype(np.int64))
    np.save(place / "spike_clusters.npy", _units(recording)[order].astype(np.int32))
    (place / "params.py").write_text(f"sample_rate = {_RATE}\n", encoding="utf-8")
    good = np.tile(recording.good, PROBES)
    groups = pd.DataFrame(
        {"cluster_id": range(len(good)), "group": np.where(good, "good", "noise")}
    )
    groups.to_csv(place / "cluster_group.tsv", sep="\t", index=False)
    return {"source": str(place)}


DOORS: Mapping[str, Callable[[Large, Path], dict[str, Any]]] = {
    "one": write_one,
    "h5": write_h5,
    "nwb": write_nwb,
    "phy": write_phy,
}
"""How each kind of files is written."""


def _units(recording: Large) -> npt.NDArray[np.uint16]:
    """Number of the unit among those of all probes, spike by spike, probe after probe."""
    return np.concatenate(
        [c + np.uint16(k * CLUSTERS) for k, c in enumerate(recording.clusters)], dtype=np.uint16
    )


def _merged(recording: Large) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """All spike times in order, and the order."""
    times = np.concatenate(recording.times)
    order = np.argsort(times, kind="stable")
    return times[order], order
