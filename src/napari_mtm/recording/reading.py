"""Read the datasets of one IBL session into a recording.

Only spikes are needed; whatever else is missing is left out and said so.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.alf import Dataset, SessionFiles, find
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import Probe, Recording, Truth
from napari_mtm.recording.regions import UNKNOWN, locate
from napari_mtm.recording.session import titled
from napari_mtm.recording.spikes import called, mean_rates
from napari_mtm.recording.traces import Trace
from napari_mtm.recording.units import chosen

T = TypeVar("T")

_SORTERS = ("iblsorter", "pykilosort")
_PROBE = re.compile(r"(?:^|/)(probe[^/]*)")
_SIMULATION = ("simulation", "truth")
_USED = {
    ("spikes", "times"),
    ("spikes", "clusters"),
    ("clusters", "channels"),
    ("clusters", "depths"),
    ("clusters", "metrics"),
    ("clusters", "uuids"),
    *(
        (sites, what)
        for sites in ("channels", "electrodeSites")
        for what in ("localCoordinates", "brainLocationIds_ccf_2017")
    ),
    ("wheel", "position"),
    ("wheel", "timestamps"),
    *(
        (camera, what)
        for camera in ("leftCamera", "rightCamera")
        for what in ("times", "ROIMotionEnergy")
    ),
    _SIMULATION,
}


@dataclass(frozen=True)
class Choice:
    """What one choice of units would mean: how many, and the size of their counts in MB."""

    units: str
    n_units: int
    counts_mb: float


@dataclass(frozen=True)
class Survey:
    """What a session holds, found before its spikes are read.

    `n_trials` counts all trials, before any is left out; None without a trials
    table. `read_mb` is the size of the spike files in MB.
    """

    id: str
    name: str
    simulated: bool
    probes: tuple[str, ...]
    n_trials: int | None
    read_mb: float
    choices: tuple[Choice, ...]

    @property
    def title(self) -> str:
        """The name as a person should see it; it says when the session is simulated."""
        return titled(self.name, simulated=self.simulated)


def read_recording(files: SessionFiles, *, progress: Progress = silent) -> Recording:
    """Read a session; raise SourceError where it has no spikes or a file is damaged."""
    reader = _Reader(files)
    collections = reader.spike_collections()
    probes = []
    for k, (name, collection) in enumerate(collections.items()):
        progress(k / (len(collections) + 1), f"reading {name or 'spikes'}")
        probes.append(reader.probe(name, collection))
    progress(len(collections) / (len(collections) + 1), "reading trials and behaviour")
    truth = find(files.datasets, *_SIMULATION)
    return Recording(
        id=files.id,
        name=files.name,
        probes=tuple(probes),
        trials=reader.trials(),
        wheel_position=reader.wheel(),
        whisker=reader.whisker(),
        truth=_read_truth(files.fetch(truth)) if truth else None,
        simulated=truth is not None,
        notes=tuple(reader.notes),
    )


def used(dataset: Dataset) -> bool:
    """Whether a dataset can bear on the session that is read."""
    return dataset.object == "trials" or (dataset.object, dataset.attribute) in _USED


def survey(files: SessionFiles, preparation: Preparation) -> Survey:
    """Count units and trials, and what a session of them would weigh.

    Spikes are read only where nothing else says how many clusters or windows there are.
    """
    reader = _Reader(files)
    collections = reader.spike_collections()
    tables, size = [], 0
    for name, collection in collections.items():
        tables.append(reader.all_units(name, collection))
        for attribute in ("times", "clusters"):
            dataset = find(files.datasets, "spikes", attribute, collection)
            size += files.fetch(dataset).stat().st_size if dataset else 0
    units = pd.concat(tables, ignore_index=True)
    trials = reader.trials()
    length = preparation.window[1] - preparation.window[0]
    n_windows = int(reader.last_spike(collections) / length) if trials is None else len(trials)
    per_unit = n_windows * preparation.n_bins / 1e6
    choices = []
    for which in ("good", "all"):
        asked = Preparation(units=which, min_rate=preparation.min_rate)
        n = int(chosen(units, asked).sum())
        choices.append(Choice(which, n, n * per_unit))
    return Survey(
        id=files.id,
        name=files.name,
        simulated=find(files.datasets, *_SIMULATION) is not None,
        probes=tuple(collections),
        n_trials=None if trials is None else len(trials),
        read_mb=size / 1e6,
        choices=tuple(choices),
    )


class _Reader:
    """Reads the objects of one session, gathering notes on what is missing."""

    def __init__(self, files: SessionFiles) -> None:
        self.files = files
        self.notes: list[str] = []

    def spike_collections(self) -> dict[str, str]:
        """Collection of the preferred spike sorting of each probe, by probe name."""
        found: dict[str, list[str]] = {}
        for d in self.files.datasets:
            if (d.object, d.attribute) == ("spikes", "times"):
                match = _PROBE.search(d.collection)
                found.setdefault(match[1] if match else "", []).append(d.collection)
        if not found:
            raise SourceError(
                f"{self.files.name} has no spikes.times.npy; it is no spike-sorted session, "
                "or not downloaded yet."
            )
        return {name: min(found[name], key=_preference) for name in sorted(found)}

    def probe(self, name: str, collection: str) -> Probe:
        times = self._need("spikes", "times", collection, _array)
        clusters = self._need("spikes", "clusters", collection, _array)
        if len(times) != len(clusters):
            raise SourceError(
                f"{self.files.name} {name} has {len(times)} spike times but {len(clusters)} "
                "spike clusters; one file is cut short or from another sorting."
            )
        if not np.issubdtype(clusters.dtype, np.integer) or clusters.min(initial=0) < 0:
            raise SourceError(f"{self.files.name} {name}: spikes.clusters must hold ids from 0 on.")
        highest = int(clusters.max()) if len(clusters) else -1
        n = self.n_clusters(collection)
        if n and highest >= n:
            raise SourceError(
                f"{self.files.name} {name} has spikes of cluster {highest}, but only {n} clusters; "
                "its files are from different sortings."
            )
        units = self.units(name, collection, max(n, highest + 1))
        fired = np.bincount(clusters, minlength=len(units))[: len(units)] > 0
        units = units[fired]
        ids = units.index.to_numpy()
        measured = mean_rates(times, clusters, ids)
        units = units.assign(
            firing_rate=units["firing_rate"].fillna(pd.Series(measured, index=ids))
        )
        return Probe(name, times, clusters, units)

    def all_units(self, name: str, collection: str) -> pd.DataFrame:
        """Table of the clusters that the tables describe, or else of those that fired."""
        n = self.n_clusters(collection)
        if n:
            return self.units(name, collection, n)
        fired = np.unique(self._need("spikes", "clusters", collection, _array)).astype(np.int64)
        units = self.units(name, collection, int(fired.max(initial=-1)) + 1)
        return units.loc[fired[fired >= 0]]

    def last_spike(self, collections: Mapping[str, str]) -> float:
        """Time of the last spike of all probes, 0 without any."""
        times = [self._need("spikes", "times", c, _array) for c in collections.values()]
        return max((float(t[-1]) for t in times if len(t)), default=0.0)

    def n_clusters(self, collection: str) -> int:
        """Number of clusters that the tables describe; 0 without any."""
        for attribute in ("channels", "depths"):
            array = self._maybe("clusters", attribute, collection, _array)
            if array is not None:
                return len(array)
        metrics = self._maybe("clusters", "metrics", collection, _table)
        return 0 if metrics is None else len(metrics)

    def units(self, name: str, collection: str, n: int) -> pd.DataFrame:
        """Table of all clusters of a probe, whether they fired or not."""
        where = f"{self.files.name} {name}".strip()
        acronym, region, axial = self._places(where, name, collection, n)
        depth = self._maybe("clusters", "depths", collection, _array)
        label, rate = self._metrics(collection, n)
        return pd.DataFrame(
            {
                "uuid": self._uuids(name, collection, n),
                "region": region,
                "acronym": acronym,
                "depth": axial if depth is None or len(depth) != n else depth.astype(np.float64),
                "label": label,
                "firing_rate": rate,
            },
            index=np.arange(n),
        )

    def _places(
        self, where: str, name: str, collection: str, n: int
    ) -> tuple[list[str], list[str], np.ndarray]:
        """Finest acronym, Beryl name and depth along the probe of each cluster."""
        nowhere = [UNKNOWN] * n
        channel = self._maybe("clusters", "channels", collection, _array)
        positions = self._site("localCoordinates", name, collection)
        ids = self._site("brainLocationIds_ccf_2017", name, collection)
        if channel is None or (positions is None and ids is None):
            self.notes.append(f"{called(name)} does not say on which channels its clusters lie.")
            return nowhere, nowhere, np.full(n, np.nan)
        for sites in (positions, ids):
            if sites is not None and len(channel) and int(channel.max()) >= len(sites):
                raise SourceError(
                    f"{where} has a cluster on channel {int(channel.max())}, but only "
                    f"{len(sites)} channels; its files are from different sortings."
                )
        depth = np.full(n, np.nan) if positions is None else positions[channel, 1].astype(float)
        if ids is None:
            return nowhere, nowhere, depth
        known, index = np.unique(ids, return_inverse=True)
        acronyms, beryl = (np.array(a, dtype=object) for a in locate(known))
        missing = known[acronyms == UNKNOWN]
        if len(missing):
            self.notes.append(
                f"{called(name)} has atlas ids that the atlas does not know: "
                f"{', '.join(str(int(i)) for i in missing[:5])}."
            )
        site = index.ravel()[channel]
        return acronyms[site].tolist(), beryl[site].tolist(), depth

    def _site(self, attribute: str, name: str, collection: str) -> np.ndarray | None:
        """Read a channel attribute; the electrode sites of the probe come before the sorting's."""
        above = next(
            (
                d.collection
                for d in self.files.datasets
                if d.object == "electrodeSites" and d.collection.split("/")[-1] == name
            ),
            None,
        )
        sites = self._maybe("electrodeSites", attribute, above, _array) if above else None
        return self._maybe("channels", attribute, collection, _array) if sites is None else sites

    def _metrics(self, collection: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Quality label and firing rate of each cluster, NaN where not known."""
        metrics = self._maybe("clusters", "metrics", collection, _table)
        if metrics is None:
            return np.full(n, np.nan), np.full(n, np.nan)
        if "cluster_id" in metrics and metrics["cluster_id"].is_unique:
            metrics = metrics.set_index("cluster_id")
        elif len(metrics) != n:
            return np.full(n, np.nan), np.full(n, np.nan)
        metrics = metrics.reindex(range(n))
        label, rate = (
            metrics[c].to_numpy(dtype=np.float64) if c in metrics else np.full(n, np.nan)
            for c in ("label", "firing_rate")
        )
        return label, rate

    def _uuids(self, name: str, collection: str, n: int) -> list[str]:
        table = self._maybe("clusters", "uuids", collection, _table)
        if table is not None and len(table) == n:
            return [str(u) for u in table.iloc[:, 0]]
        return [f"{self.files.id}/{name}/{i}" for i in range(n)]

    def trials(self) -> pd.DataFrame | None:
        """Trials table, merged from the table and the single columns."""
        parts = [d for d in self.files.datasets if d.object == "trials"]
        if not parts:
            return None
        collection = min((d.collection for d in parts), key=lambda c: (len(c), c))
        parts = [d for d in parts if d.collection == collection]
        table = self._maybe("trials", "table", collection, _table)
        columns: dict[str, np.ndarray] = {}
        for d in parts:
            if d.attribute != "table" and d.extension == "npy":
                columns |= _columns(d.attribute, self._read(d, _array))
        if table is None:
            lengths = [len(c) for c in columns.values()]
            if not lengths:
                return None
            table = pd.DataFrame(index=range(max(set(lengths), key=lengths.count)))
        for column, values in columns.items():
            if column in table:
                continue
            if len(values) != len(table):
                self.notes.append(
                    f"trials.{column} has {len(values)} values for {len(table)} trials "
                    "and is left out."
                )
            else:
                table = table.assign(**{column: values})
        return table

    def wheel(self) -> Trace | None:
        position = self._maybe("wheel", "position", None, _array)
        times = self._maybe("wheel", "timestamps", None, _array)
        if position is None or times is None:
            return None
        return self._trace("The wheel", times, position)

    def whisker(self) -> Trace | None:
        """Whisker motion energy of the left camera, or of the right one."""
        for camera in ("leftCamera", "rightCamera"):
            energy = self._maybe(camera, "ROIMotionEnergy", None, _array)
            times = self._maybe(camera, "times", None, _array)
            if energy is None or times is None:
                continue
            if len(times) > len(energy):  # the first frames were timed but not kept
                times = times[len(times) - len(energy) :]
            trace = self._trace(f"The {camera}", times, energy)
            if trace is not None:
                return trace
        return None

    def _trace(self, what: str, times: np.ndarray, values: np.ndarray) -> Trace | None:
        try:
            return Trace.clean(times, values)
        except ValueError as error:
            self.notes.append(f"{what} has {error} and is left out.")
            return None

    def _maybe(
        self, object: str, attribute: str, collection: str | None, read: Callable[[Path], T]
    ) -> T | None:
        dataset = find(self.files.datasets, object, attribute, collection)
        return None if dataset is None else self._read(dataset, read)

    def _need(self, object: str, attribute: str, collection: str, read: Callable[[Path], T]) -> T:
        value = self._maybe(object, attribute, collection, read)
        if value is None:
            raise SourceError(
                f"{self.files.name} has no {object}.{attribute} in {collection or 'its folder'}; "
                "the session is not complete."
            )
        return value

    def _read(self, dataset: Dataset, read: Callable[[Path], T]) -> T:
        path = self.files.fetch(dataset)
        try:
            return read(path)
        except FileNotFoundError:
            raise SourceError(f"{path} is missing; download the session again.") from None
        except (ValueError, OSError, EOFError) as error:
            raise SourceError(
                f"{path} is damaged or cut short ({_first_line(error)}). Download it again."
            ) from None


def _preference(collection: str) -> tuple[int, int, str]:
    sorter = collection.rsplit("/", maxsplit=1)[-1]
    rank = _SORTERS.index(sorter) if sorter in _SORTERS else len(_SORTERS)
    return rank, len(collection), collection


def _array(path: Path) -> npt.NDArray[Any]:
    """Read an npy file, memory-mapped: the larger ones are read in part only."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim == 0:
        raise ValueError("it holds one number where there should be many")
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def _columns(attribute: str, values: np.ndarray) -> dict[str, np.ndarray]:
    if values.ndim == 1:
        return {attribute: np.asarray(values)}
    return {f"{attribute}_{k}": np.asarray(values[:, k]) for k in range(values.shape[1])}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:120] or type(error).__name__


def _read_truth(path: Path) -> Truth:
    from napari_mtm.recording.simulation.truth import SimulatedTruth

    return SimulatedTruth.load(path)
