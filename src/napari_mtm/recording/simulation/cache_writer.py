"""Simulated sessions written as a ONE cache in true ALF form."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid3

import numpy as np
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.files import filling, remove_unfinished
from napari_mtm.processes import Death, share
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.simulation.animal import LAB, PROBES, Animal, Recipe, simulate_animal

_SORTER = "pykilosort"
_MOST_ANIMALS = 10_000


@dataclass(frozen=True)
class _Written:
    """One session as the tables of a ONE cache list it."""

    eid: str
    subject: str
    date: str
    folder: str
    datasets: tuple[tuple[str, int, str], ...]  # path, size, md5


def simulate(
    out: str | Path,
    recipe: Recipe,
    *,
    animals: int = 1,
    first: int = 0,
    processes: int | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Simulate sessions of several animals as a ONE cache; return their folders.

    Animals are numbered from `first`; the same recipe and number give the same
    files. `out` must be missing or empty, and is left so when anything fails.
    """
    if not 1 <= animals <= _MOST_ANIMALS:
        raise SourceError(f"A simulation needs at least one animal, and at most {_MOST_ANIMALS:,}.")
    out = Path(out)
    with filling(out) as folder:
        numbers = range(first, first + animals)
        written = []
        for k, done in enumerate(_simulate_all(folder, recipe, numbers, processes)):
            written.append(done)
            progress((k + 1) / animals, f"simulated {k + 1} of {animals} animals")
        written.sort(key=lambda w: w.subject)
        _write_tables(folder, written)
    return [out / w.folder for w in written]


def _simulate_all(
    folder: Path, recipe: Recipe, numbers: range, processes: int | None
) -> Iterator[_Written]:
    write = partial(_write_animal, folder, recipe)
    workers = min(processes or os.cpu_count() or 1, len(numbers))
    if workers == 1:
        yield from map(write, numbers)
        return

    for ended in share(numbers, write, workers, tidy=partial(_remove, folder)):
        if ended is None:
            continue
        _, written = ended
        if isinstance(written, Death):
            raise SourceError(
                "A process that simulated was killed, as happens where memory runs out; simulate "
                "again with fewer animals or units."
            )
        yield written


def _remove(folder: Path, _number: int, _process: int) -> None:
    remove_unfinished(folder)


def _write_animal(folder: Path, recipe: Recipe, number: int) -> _Written:
    animal = simulate_animal(recipe, number)
    relative = f"{LAB}/Subjects/{animal.subject}/{animal.date}/001"
    alf = _made(folder, f"{relative}/alf")
    _write_behaviour(alf, animal)
    for name in PROBES:
        _write_probe(_made(alf, f"{name}/{_SORTER}"), animal, name)
    files = sorted(p for p in alf.rglob("*") if p.is_file())
    return _Written(
        eid=animal.recording.id,
        subject=animal.subject,
        date=animal.date,
        folder=relative,
        datasets=tuple(
            (
                p.relative_to(folder / relative).as_posix(),
                p.stat().st_size,
                hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest(),
            )
            for p in files
        ),
    )


def _made(folder: Path, below: str) -> Path:
    """Make folders below one that must be there: who was cut off may have removed it."""
    for part in Path(below).parts:
        folder /= part
        folder.mkdir(exist_ok=True)
    return folder


def _write_behaviour(alf: Path, animal: Animal) -> None:
    behaviour = animal.behaviour
    behaviour.trials.to_parquet(alf / "_ibl_trials.table.pqt")
    np.save(alf / "_ibl_wheel.timestamps.npy", behaviour.wheel_times)
    np.save(alf / "_ibl_wheel.position.npy", behaviour.wheel_position)
    np.save(alf / "_ibl_leftCamera.times.npy", behaviour.camera_times)
    np.save(alf / "leftCamera.ROIMotionEnergy.npy", behaviour.motion_energy.astype(np.float32))
    animal.truth.save(alf / "_mtm_simulation.truth.safetensors")


def _write_probe(folder: Path, animal: Animal, name: str) -> None:
    probe = next(p for p in animal.recording.probes if p.name == name)
    clusters, sites = animal.clusters[name], animal.sites[name]
    n = len(clusters)
    np.save(folder / "spikes.times.npy", probe.times)
    np.save(folder / "spikes.clusters.npy", probe.clusters)
    np.save(folder / "clusters.channels.npy", clusters["channel"].to_numpy())
    np.save(folder / "clusters.depths.npy", clusters["depth"].to_numpy())
    pd.DataFrame({"uuids": clusters["uuid"].to_numpy()}).to_csv(
        folder / "clusters.uuids.csv", index=False
    )
    number = np.bincount(probe.clusters, minlength=n)
    rates = probe.units["firing_rate"].reindex(range(n), fill_value=0.0).to_numpy()
    pd.DataFrame(
        {
            "cluster_id": np.arange(n),
            "firing_rate": rates,
            "spike_count": number,
            "label": clusters["label"].to_numpy(),
        }
    ).to_parquet(folder / "clusters.metrics.pqt")
    left = name == PROBES[0]
    axial = sites["axial"].to_numpy()
    np.save(folder / "channels.rawInd.npy", np.arange(len(sites)))
    np.save(folder / "channels.localCoordinates.npy", sites[["lateral", "axial"]].to_numpy())
    # The atlas numbers the left hemisphere with negative ids.
    np.save(
        folder / "channels.brainLocationIds_ccf_2017.npy",
        sites["atlas_id"].to_numpy() * (-1 if left else 1),
    )
    ml = np.full(len(sites), -2243.0 if left else 2243.0)
    np.save(
        folder / "channels.mlapdv.npy",
        np.column_stack([ml, np.full(len(sites), -2000.0), axial - axial.max() - 300.0]),
    )


def _write_tables(folder: Path, written: list[_Written]) -> None:
    """Write the sessions and datasets tables that ONE reads in local mode."""
    sessions = pd.DataFrame(
        {
            "lab": LAB,
            "subject": [w.subject for w in written],
            "date": [np.datetime64(w.date, "D").astype(object) for w in written],
            "number": np.ones(len(written), dtype=np.uint16),
            "task_protocol": "simulated",
            "projects": "napari-mtm",
        },
        index=pd.Index([w.eid for w in written], name="id"),
    ).sort_index()
    rows = [
        {
            "eid": w.eid,
            "id": str(uuid3(UUID(w.eid), path)),
            "rel_path": path,
            "file_size": size,
            "hash": md5,
            "exists": True,
            "default_revision": True,
        }
        for w in written
        for path, size, md5 in w.datasets
    ]
    datasets = pd.DataFrame(rows).astype({"file_size": "UInt64"}).set_index(["eid", "id"])
    for name, table in (("sessions", sessions), ("datasets", datasets.sort_index())):
        _write_table(folder / f"{name}.pqt", table)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A fixed date: the same recipe gives the same bytes.
    about = {"date_created": "2024-01-01 00:00", "origin": "napari-mtm simulate"}
    arrow = pa.Table.from_pandas(table)
    metadata = {**(arrow.schema.metadata or {}), b"one_metadata": json.dumps(about).encode()}
    pq.write_table(arrow.replace_schema_metadata(metadata), path)
