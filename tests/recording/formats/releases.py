"""Releases of the Brain-Wide Map as folders, as their publisher writes them."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import blosc
import numpy as np
import pandas as pd

from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.traces import Trace

EID = "0802ced5-33a3-405e-8336-b65ebc5cb07c"
ABOUT = {"eid": EID, "subject": "SIM176-000", "date": "2024-01-01", "session_number": 1}
ABOUT |= {"lab": "simulation"}
PIDS = {
    "probe00": "f0000000-0000-4000-8000-000000000000",
    "probe01": "a0000000-0000-4000-8000-000000000001",
}
LOST = 1000
"""The sample of the wheel that is none."""


def on_ticks(recording: Recording) -> Recording:
    """Put spikes on ticks of 0.1 ms."""
    probes = [replace(p, times=ticks(p) * 100 / 1e6) for p in recording.probes]
    return replace(recording, probes=tuple(probes))


def ticks(probe: Probe) -> np.ndarray:
    return np.rint(probe.times.astype(float) * 1e6 / 100).astype(np.int64)


def packed(array: np.ndarray) -> tuple[bytes, dict]:
    """Compress an array, and say what it is."""
    payload = blosc.compress(
        array.tobytes(), typesize=array.itemsize, cname="zstd", clevel=7, shuffle=blosc.SHUFFLE
    )
    about = {"dtype": array.dtype.str, "shape": list(array.shape), "order": "C"}
    return payload, about | {"nbytes": array.nbytes, "compressed_nbytes": len(payload)}


def write_release(folder: Path, recording: Recording) -> None:
    """Write a release with the good units of one session; uuids are in the table of all."""
    (folder / "metadata").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"dataset_name": "bwm_ephys"}')
    insertions, units, clusters = [], [], []
    for probe in recording.probes:
        pid = PIDS[probe.name]
        table = probe.units.rename_axis("cluster_id").reset_index()
        table = table.rename(columns={"region": "beryl_acronym", "depth": "depths"})
        table = table.assign(pid=pid, probe_name=probe.name, **ABOUT)
        clusters.append(table[["pid", "eid", "cluster_id", "uuid"]])
        good = table[table["label"] >= 1].drop(columns="uuid")
        named = ~good["beryl_acronym"].isin(["root", "void", "unknown"])
        units.append(good.assign(beryl_acronym=good["beryl_acronym"].where(named, None)))
        insertions.append(
            {"pid": pid, "probe_name": probe.name, "n_good_units": len(good), **ABOUT}
        )
        write_spikes(folder / "spikes" / pid, probe, np.sort(good["cluster_id"].to_numpy()))
    pd.DataFrame(insertions).to_parquet(folder / "metadata" / "insertions.parquet")
    pd.concat(units).to_parquet(folder / "metadata" / "units.parquet")
    pd.concat(clusters).rename(columns={"uuid": "uuids"}).to_parquet(folder / "clusters.pqt")
    trials = recording.trials.assign(**ABOUT, trial_id=np.arange(len(recording.trials)))
    trials = trials.assign(bwm_include=True)
    other = trials.head(5).assign(eid="another")
    pd.concat([other, trials[::-1]]).to_parquet(folder / "metadata" / "trials.parquet")


def write_spikes(folder: Path, probe: Probe, ids: np.ndarray) -> None:
    """Write the spikes of some clusters; those of the second probe as if one step were long."""
    folder.mkdir(parents=True)
    kept = np.isin(probe.clusters, ids)
    index = np.searchsorted(ids, probe.clusters[kept]).astype(np.int32)
    when = ticks(probe)[kept]
    kind = np.uint16 if probe.name == "probe00" else np.uint32
    arrays = {
        "spike_times_delta_ticks": np.diff(when, prepend=when[:1]).astype(kind),
        "spike_clusters": index,
        "cluster_ids": ids.astype(np.int32),
        "cluster_spike_counts": np.bincount(index, minlength=len(ids)).astype(np.int32),
    }
    meta = {
        "format": "ibl_ai_agent_spike_shard_v2",
        "n_spikes": len(when),
        "n_good_units": len(ids),
        "time_encoding": "delta_int_ticks",
        "time_quantization_us": 100,
        "time_origin_ticks": int(when[0]) if len(when) else 0,
        "cluster_encoding": "dense_local_indices",
        "arrays": {},
    }
    for name, array in arrays.items():
        payload, about = packed(array)
        meta["arrays"][name] = about | {"entry": f"{name}.blosc"}
        (folder / f"{name}.blosc").write_bytes(payload)
    (folder / "meta.json").write_text(json.dumps(meta))


def write_behaviour(folder: Path, recording: Recording) -> Path:
    """Write wheel at 100 Hz and whiskers at 60 Hz as they are in `bwm_behavior` 2.0.0."""
    (folder / "sessions").mkdir(parents=True)
    path = folder / "sessions" / f"{EID}.zip"
    times = np.arange(recording.wheel_position.times[0], recording.wheel_position.times[-1], 0.01)
    frames = np.arange(recording.whisker.times[0], recording.whisker.times[-1], 1 / 60)
    wheel, energy = at(recording.wheel_position, times), at(recording.whisker, frames)
    turned = np.rint(wheel / 0.001).astype(np.int32)
    turned[LOST] = np.iinfo(np.int32).min  # how a sample is stored that is none
    arrays = {
        "wheel.timestamps": {
            "kind": "timestamp_delta_ticks",
            "start": times[0],
            "tick_s": 0.001,
            "ticks_entry": ("t", np.rint((times - times[0]) / 0.001).astype(np.uint32)),
        },
        "wheel.position": {
            "kind": "scaled_numeric",
            "precision": 0.001,
            "entry": ("w", turned),
        },
        "leftCamera.timestamps": {
            "kind": "timestamp_fixed_rate",
            "start": frames[0],
            "rate_hz": 60.0,
            "count": len(frames),
        },
        "leftCamera.features": {
            "kind": "feature_matrix",
            "columns": ["paw_l_x", "whiskerMotionEnergy"],
            "groups": [
                {"columns": [0], "kind": "delta_scaled", "precision": 0.5},
                {
                    "columns": [1],
                    "kind": "scaled",
                    "precision": 0.05,
                    "entry": ("e", np.rint(energy / 0.05).astype(np.int16)[:, None]),
                },
            ],
        },
    }
    with zipfile.ZipFile(path, "w") as archive:
        said = {name: {"encoding": stored(archive, about)} for name, about in arrays.items()}
        archive.writestr("meta.json", json.dumps({"arrays": said}))
    return path


def stored(archive: zipfile.ZipFile, about: dict) -> dict:
    """Put the arrays of an encoding into the archive, and their names in their places."""
    said = {}
    for key, value in about.items():
        said[key] = value
        if isinstance(value, tuple):
            payload, spec = packed(value[1])
            archive.writestr(value[0], payload)
            said |= {key: value[0], "ticks_spec" if key == "ticks_entry" else "payload_spec": spec}
        elif key == "groups":
            said[key] = [stored(archive, group) for group in value]
    return said


def at(trace: Trace, times: np.ndarray) -> np.ndarray:
    return np.interp(times, trace.times, trace.values)
