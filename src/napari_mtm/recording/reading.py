"""Read the datasets of one IBL session into a recording.

Only spikes are needed; whatever else is missing is left out and said so.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import numbers
from napari_mtm.errors import SourceError
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.alf import Dataset, SessionFiles, find
from napari_mtm.recording.loading import load_array, load_table
from napari_mtm.recording.one_files import OneFiles
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import UNIT_COLUMNS, Probe, Recording, Truth
from napari_mtm.recording.sites import Places, Sites
from napari_mtm.recording.source import Content, Survey, choices
from napari_mtm.recording.spikes import called, mean_rates, spikes_per_cluster, usable
from napari_mtm.recording.traces import Trace
from napari_mtm.recording.trials import column
from napari_mtm.recording.windows import adjoining, cuts_adjoining

T = TypeVar("T")

Indices = npt.NDArray[np.int64]

_PARTS = ("times", "clusters")
_BOTH = set(_PARTS)
"""Of the spikes, what no unit can be counted without."""

_SORTERS = ("iblsorter", "pykilosort")
_PROBE = re.compile(r"(?:^|/)(probe[^/]*)")
_SIMULATION = ("simulation", "truth")
_SURVEYED = ("clusters", "channels", "electrodeSites", "trials")
"""Objects that tell what a session holds, without its spikes."""

_USED = {
    ("spikes", "times"),
    ("spikes", "clusters"),
    ("clusters", "channels"),
    ("clusters", "depths"),
    ("clusters", "metrics"),
    ("clusters", "uuids"),
    ("channels", "rawInd"),
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
class AlfSource:
    """A session in ALF datasets, in a folder or as ONE knows them."""

    files: SessionFiles
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What the session is keyed by."""
        return self.files.id

    @property
    def name(self) -> str:
        """What a person calls the session."""
        return self.files.name

    def fetch(self, progress: Progress = silent) -> None:
        """Have the datasets that are read on this disk, unless the spikes are not whole."""
        _Reader(self.files).spike_collections()
        self.files.fetch_all([d for d in self.files.datasets if used(d)], progress)

    def to_download(self) -> int:
        """Bytes that are still to be downloaded; 0 where all is here."""
        return self.files.to_download(filter(used, self.files.datasets))

    def downloaded(self, progress: Progress = silent) -> "AlfSource":
        """Return the session as it lies on this disk, for another process that has no server."""
        self.fetch(progress)
        if not isinstance(self.files, OneFiles):
            return self
        datasets = list(filter(used, self.files.datasets))
        return AlfSource(self.files.downloaded(datasets), self.notes)

    def content(self) -> Content:
        """Say which datasets are read."""
        found = []
        for dataset in sorted(filter(used, self.files.datasets), key=lambda d: d.path):
            stat = self.files.fetch(dataset).stat()
            found.append((dataset.path, stat.st_size, stat.st_mtime_ns))
        return found

    def survey(self, preparation: Preparation) -> Survey:
        """Count units and trials without reading spikes."""
        found = survey(self.files, preparation)
        return replace(found, notes=(*self.notes, *found.notes))

    def read(self, progress: Progress = silent) -> Recording:
        """Read the session."""
        return read_recording(self.files, progress=progress)


def read_recording(files: SessionFiles, *, progress: Progress = silent) -> Recording:
    """Read a session; raise SourceError where it has no spikes or a file is damaged."""
    reader = _Reader(files)
    collections = reader.spike_collections()
    reader.note_missing()
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


def whole_sortings(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Collection of the preferred spike sorting of each probe that has a whole one, by name."""
    parts: dict[str, dict[str, set[str]]] = {}
    for d in datasets:
        if d.object == "spikes" and d.attribute in _BOTH:
            parts.setdefault(_probe(d), {}).setdefault(d.collection, set()).add(d.attribute)
    whole = {name: [c for c, p in found.items() if p == _BOTH] for name, found in parts.items()}
    return {name: min(found, key=_preference) for name, found in sorted(whole.items()) if found}


def survey(files: SessionFiles, preparation: Preparation) -> Survey:
    """Count units and trials, and what a session of them would weigh.

    Spikes are read only where nothing else says how many clusters or windows there are, and never
    downloaded; the tables of units and trials are.
    """
    files.fetch_all([d for d in files.datasets if used(d) and d.object in _SURVEYED])
    reader = _Reader(files)
    collections = reader.spike_collections()
    reader.note_missing()
    spikes = [
        d
        for d in files.datasets
        if d.object == "spikes" and used(d) and d.collection in collections.values()
    ]
    here = files.to_download(spikes) == 0
    known = here or all(reader.n_clusters(c) for c in collections.values())
    tables = [reader.all_units(name, c) for name, c in collections.items()] if known else []
    trials = reader.trials()
    n_windows = None
    if trials is not None and not cuts_adjoining(trials, preparation):
        n_windows = len(trials)
    elif here:
        _, n_windows = adjoining(reader.spans(collections), preparation)
    if not known:
        reader.notes.append("How many units there are is seen once the spikes are downloaded.")
    return Survey(
        id=files.id,
        name=files.name,
        simulated=find(files.datasets, *_SIMULATION) is not None,
        probes=tuple(collections),
        n_trials=None if trials is None else len(trials),
        read_mb=sum(map(files.size, spikes)) / 1e6,
        choices=choices(pd.concat(tables, ignore_index=True), n_windows, preparation)
        if tables
        else (),
        notes=tuple(reader.notes),
    )


class _Reader:
    """Reads the objects of one session, gathering notes on what is missing."""

    def __init__(self, files: SessionFiles) -> None:
        self.files = files
        self.notes: list[str] = []

    def spike_collections(self) -> dict[str, str]:
        """Collection of the preferred whole spike sorting of each probe, by probe name.

        Raises SourceError where a probe has one of times and clusters of its spikes, but not
        both: half the units would be gone.
        """
        sortings = self._sortings()
        chosen = {}
        for name, collections in sorted(sortings.items()):
            whole = [c for c, parts in collections.items() if parts == _BOTH]
            if whole:
                chosen[name] = min(whole, key=_preference)
                self._note_sortings(name, chosen[name], collections)
                continue
            parts = {c: parts for c, parts in collections.items() if parts}
            if parts:
                collection = min(parts, key=_preference)
                (there,), (lacks,) = parts[collection], _BOTH - parts[collection]
                raise SourceError(
                    f"{self.files.name} has spikes.{there} but no spikes.{lacks} in "
                    f"{collection or 'its folder'}; the session is not complete. Download it again."
                )
            self.notes.append(f"{called(name)} has no spikes here, so its units are left out.")
        if not chosen:
            raise SourceError(
                f"{self.files.name} has no spikes.times.npy; it is no spike-sorted session, "
                "or not downloaded yet."
            )
        self._note_revisions(chosen)
        return chosen

    def _sortings(self) -> dict[str, dict[str, set[str]]]:
        """Which of times and clusters of spikes are there, by probe and collection."""
        found: dict[str, dict[str, set[str]]] = {}
        for d in (*self.files.datasets, *self.files.missing):
            if d.object in ("spikes", "clusters"):
                found.setdefault(_probe(d), {}).setdefault(d.collection, set())
        for d in self.files.datasets:
            if d.object == "spikes" and d.attribute in _BOTH:
                found[_probe(d)][d.collection].add(d.attribute)
        return found

    def _note_sortings(self, name: str, chosen: str, collections: Mapping[str, set[str]]) -> None:
        best = min(collections, key=_preference)
        if best != chosen:
            self.notes.append(
                f"{called(name)}: the spike sorting in {best} is not complete; the one in "
                f"{chosen} is used."
            )

    def _note_revisions(self, chosen: Mapping[str, str]) -> None:
        """Note the revisions of the spikes, where they have names."""
        of_probes = {}
        for name, collection in chosen.items():
            parts = (find(self.files.datasets, "spikes", what, collection) for what in _PARTS)
            of_probes[name] = tuple(part.revision if part else "" for part in parts)
        for name, revisions in of_probes.items():
            if len(set(revisions)) > 1:
                told = (
                    f"spikes.{what} of {f'revision {revision}' if revision else 'no revision'}"
                    for what, revision in zip(_PARTS, revisions, strict=True)
                )
                self.notes.append(f"{called(name)} has {' and '.join(told)}.")
        same = {name: r[0] for name, r in of_probes.items() if len(set(r)) == 1 and r[0]}
        if same.keys() == chosen.keys() and len(set(same.values())) == 1:
            self.notes.append(f"Spike sorting of revision {next(iter(same.values()))}.")
        else:
            self.notes.extend(
                f"{called(name)}: spike sorting of revision {revision}."
                for name, revision in same.items()
            )

    def note_missing(self) -> None:
        """Note what should be there beside the spikes, but is not."""
        lost = [d.path for d in self.files.missing if used(d) and d.object != "spikes"]
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            self.notes.append(f"These files are listed, but not here: {', '.join(lost[:3])}{more}.")

    def probe(self, name: str, collection: str) -> Probe:
        times = self._need("spikes", "times", collection, _real)
        clusters = self._need("spikes", "clusters", collection, _ids)
        if len(times) != len(clusters):
            raise SourceError(
                f"{self.files.name} {name} has {len(times)} spike times but {len(clusters)} "
                "spike clusters; one file is cut short or from another sorting."
            )
        number = spikes_per_cluster(clusters)
        highest = int(number.index[-1]) if len(number) else -1
        n = self.n_clusters(collection)
        if n and highest >= n:
            raise SourceError(
                f"{self.files.name} {name} has spikes of cluster {highest}, but only {n} clusters; "
                "its files are from different sortings."
            )
        ids = number.index.to_numpy()
        units = self.units(name, collection, ids)
        measured = mean_rates(times, clusters, ids)
        units = units.assign(
            firing_rate=units["firing_rate"].fillna(pd.Series(measured, index=ids))
        )
        return Probe(name, times, clusters, units)

    def all_units(self, name: str, collection: str) -> pd.DataFrame:
        """Table of the clusters that the tables describe, or else of those that fired."""
        n = self.n_clusters(collection)
        if n:
            return self.units(name, collection, np.arange(n))
        fired = spikes_per_cluster(self._need("spikes", "clusters", collection, _ids))
        return self.units(name, collection, fired.index.to_numpy())

    def spans(self, collections: Mapping[str, str]) -> list[Probe]:
        """Probes that know their spike times alone, to tell how long the recording is."""
        found = []
        for name, collection in collections.items():
            times = self._need("spikes", "times", collection, _real)
            nobody = np.zeros(len(times), dtype=np.uint8)
            units = pd.DataFrame(columns=list(UNIT_COLUMNS))
            found.append(usable(Probe(name, times, nobody, units), []))
        return found

    def n_clusters(self, collection: str) -> int:
        """Number of clusters that the tables describe; 0 without any."""
        for attribute in ("channels", "depths"):
            array = self._maybe("clusters", attribute, collection, _real)
            if array is not None:
                return len(array)
        metrics = self._maybe("clusters", "metrics", collection, load_table)
        return 0 if metrics is None else len(metrics)

    def units(self, name: str, collection: str, ids: Indices) -> pd.DataFrame:
        """Table of some clusters of a probe, by their ids."""
        n = self.n_clusters(collection)
        places = self._places(name, collection, ids)
        depth = self._maybe("clusters", "depths", collection, _real)
        if depth is not None and len(depth) != n:
            self._note_length(name, "clusters.depths", len(depth), n)
            depth = None
        label, rate = self._metrics(name, collection, ids)
        height = places.depth if depth is None else depth[ids].astype(np.float64)
        return pd.DataFrame(
            {
                "uuid": self._uuids(name, collection, ids, n),
                "region": places.region,
                "acronym": places.acronym,
                "depth": np.where(np.isfinite(height), height, np.nan),
                "label": label,
                "firing_rate": np.where(np.isfinite(rate) & (rate >= 0), rate, np.nan),
            },
            index=ids,
        )

    def _places(self, name: str, collection: str, ids: Indices) -> Places:
        """Where clusters lie, by the channels that they lie on."""
        channel = self._maybe("clusters", "channels", collection, _whole)
        sites = self._sites(name, collection)
        if channel is None or (sites.coordinates is None and sites.atlas_ids is None):
            self.notes.append(f"{called(name)} does not say on which channels its clusters lie.")
            return Places.unknown(len(ids))
        if len(channel) <= int(ids.max(initial=-1)):
            self._note_length(name, "clusters.channels", len(channel), int(ids.max()) + 1)
            return Places.unknown(len(ids))
        highest = int(channel.max()) if len(channel) else -1
        if highest >= sites.number:
            raise SourceError(
                f"{self.files.name} {name} has a cluster on channel {highest}, but only "
                f"{sites.number} channels; its files are from different sortings."
            )
        nowhere = int((channel < 0).sum())
        if nowhere:
            self.notes.append(
                f"{called(name)} has {nowhere} clusters on no channel, so where they lie is not "
                "known."
            )
        places, strange = sites.of(channel[ids])
        if strange:
            self.notes.append(
                f"{called(name)} has atlas ids that the atlas does not know: "
                f"{', '.join(strange[:5])}."
            )
        return places

    def _sites(self, name: str, collection: str) -> Sites:
        """What is known of the channels of a spike sorting, in their order.

        Electrode sites of the probe come before what the sorting says of its channels. They may
        be more than the sorting has channels: each channel is then looked up among them.
        """
        own = self._sites_of("channels", collection)
        raw = self._maybe("channels", "rawInd", collection, _whole)
        above = next(
            (
                d.collection
                for d in self.files.datasets
                if d.object == "electrodeSites" and d.collection.split("/")[-1] == name
            ),
            None,
        )
        if above is None:
            return own
        electrodes = self._sites_of("electrodeSites", above)
        if own.number == 0 and raw is None:
            return electrodes
        rows = electrodes.rows_of(own, raw)
        if rows is None:
            self.notes.append(
                f"{called(name)} has {electrodes.number} electrode sites and {own.number} "
                "channels, and nothing says which is which; regions are those of the channels."
            )
            return own
        return own.replaced_by(electrodes, rows)

    def _sites_of(self, object: str, collection: str) -> Sites:
        coordinates = self._maybe(object, "localCoordinates", collection, _pairs)
        atlas_ids = self._maybe(object, "brainLocationIds_ccf_2017", collection, _atlas_ids)
        lengths = {len(part) for part in (coordinates, atlas_ids) if part is not None}
        if len(lengths) > 1:
            raise SourceError(
                f"{self.files.name}: the {object} in {collection or 'its folder'} have "
                f"{' and '.join(map(str, sorted(lengths)))} rows; its files are from different "
                "sortings."
            )
        return Sites(max(lengths, default=0), coordinates, atlas_ids)

    def _metrics(
        self, name: str, collection: str, ids: Indices
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Quality label and firing rate of clusters, NaN where not known."""
        unknown = np.full(len(ids), np.nan)
        metrics = self._maybe("clusters", "metrics", collection, load_table)
        if metrics is None:
            return unknown, unknown
        if "cluster_id" in metrics:
            rows = numbers(
                metrics["cluster_id"], "clusters.metrics.cluster_id", SourceError, kind="whole"
            )
        else:
            rows = np.arange(len(metrics))
        if len(np.unique(rows)) < len(rows):
            self.notes.append(f"{called(name)}: clusters.metrics names clusters twice; left out.")
            return unknown, unknown
        label, rate = (
            pd.Series(column(metrics, what, "clusters.metrics"), index=rows).reindex(ids)
            for what in ("label", "firing_rate")
        )
        return np.array(label, dtype=np.float64), np.array(rate, dtype=np.float64)

    def _uuids(self, name: str, collection: str, ids: Indices, n: int) -> list[str]:
        table = self._maybe("clusters", "uuids", collection, load_table)
        rows = 0 if table is None or not len(table.columns) else len(table)
        if table is not None and rows > int(ids.max(initial=0)) and rows == (n or rows):
            uuids = [str(u) for u in table.iloc[:, 0]]
            return [uuids[i] for i in ids]
        if table is not None:
            self._note_length(name, "clusters.uuids", len(table), n)
        return [f"{self.files.id}/{name}/{i}" for i in ids]

    def _note_length(self, name: str, what: str, found: int, n: int) -> None:
        self.notes.append(
            f"{called(name)}: {what} has {found} rows for {n} clusters and is left out."
        )

    def trials(self) -> pd.DataFrame | None:
        """Trials table, merged from the table and the single columns."""
        parts = [d for d in self.files.datasets if d.object == "trials"]
        if not parts:
            return None
        collection = min((d.collection for d in parts), key=lambda c: (len(c), c))
        parts = [d for d in parts if d.collection == collection]
        table = self._maybe("trials", "table", collection, load_table)
        columns: dict[str, np.ndarray] = {}
        for d in parts:
            if d.attribute != "table" and d.extension == "npy":
                columns |= self._read(d, partial(_trial_columns, d.attribute))
        if table is None:
            lengths = [len(c) for c in columns.values()]
            if not lengths:
                return None
            table = pd.DataFrame(index=range(max(set(lengths), key=lengths.count)))
        for name, values in columns.items():
            if name in table:
                continue
            if len(values) != len(table):
                self.notes.append(
                    f"trials.{name} has {len(values)} values for {len(table)} trials "
                    "and is left out."
                )
            else:
                table = table.assign(**{name: values})
        return table

    def wheel(self) -> Trace | None:
        position = self._maybe("wheel", "position", None, _real)
        times = self._maybe("wheel", "timestamps", None, _real)
        if position is None or times is None:
            return None
        return self._trace("The wheel", times, position)

    def whisker(self) -> Trace | None:
        """Whisker motion energy of the left camera, or of the right one."""
        for camera in ("leftCamera", "rightCamera"):
            energy = self._maybe(camera, "ROIMotionEnergy", None, _real)
            times = self._maybe(camera, "times", None, _real)
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
        return read(self.files.verified(dataset))


def _probe(dataset: Dataset) -> str:
    """Name of the probe that a dataset is of, empty where its collection names none."""
    match = _PROBE.search(dataset.collection)
    return match[1] if match else ""


def _preference(collection: str) -> tuple[int, int, str]:
    sorter = collection.rsplit("/", maxsplit=1)[-1]
    rank = _SORTERS.index(sorter) if sorter in _SORTERS else len(_SORTERS)
    return rank, len(collection), collection


def _real(path: Path) -> npt.NDArray[Any]:
    return numbers(load_array(path), str(path), SourceError)


def _whole(path: Path) -> npt.NDArray[Any]:
    return numbers(load_array(path), str(path), SourceError, kind="whole")


def _ids(path: Path) -> npt.NDArray[Any]:
    return numbers(load_array(path), str(path), SourceError, kind="whole", least=0)


def _atlas_ids(path: Path) -> npt.NDArray[Any]:
    array = _real(path)
    known = array[np.isfinite(array)]
    if not (known == np.round(known)).all():
        raise SourceError(f"{path} must hold whole numbers; there are fractions.")
    return array


def _pairs(path: Path) -> npt.NDArray[Any]:
    array = numbers(load_array(path), str(path), SourceError, ndim=2)
    if array.shape[1] != 2:
        raise SourceError(f"{path} must have two columns; its shape is {array.shape}.")
    return array.astype(np.float64)


def _trial_columns(attribute: str, path: Path) -> dict[str, npt.NDArray[Any]]:
    """Columns of trials in a file of their own, one for each column of it."""
    values = numbers(load_array(path), str(path), SourceError, ndim=None)
    if values.ndim not in (1, 2):
        raise SourceError(f"{path} must have one axis or two; its shape is {values.shape}.")
    if values.ndim == 1:
        return {attribute: np.asarray(values)}
    return {f"{attribute}_{k}": np.asarray(values[:, k]) for k in range(values.shape[1])}


def _read_truth(path: Path) -> Truth:
    from napari_mtm.recording.simulation.truth import SimulatedTruth

    return SimulatedTruth.load(path)
