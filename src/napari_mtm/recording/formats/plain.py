"""Read the plain format of docs/formats.md: arrays by name, in one npz or in a folder."""

import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import is_folder, is_regular
from napari_mtm.progress import Progress
from napari_mtm.recording.loading import load_array, load_table
from napari_mtm.recording.memory import must_be_plausible
from napari_mtm.recording.raw import Recording
from napari_mtm.recording.source import FileSource, path_id
from napari_mtm.recording.spikes import WHEEL, Samples, recording_from_spikes
from napari_mtm.recording.unit_columns import labels_in

_NEEDED = ("times", "clusters")
_OF_UNITS = ("ids", "regions", "depths", "labels", "probes", "uuids")
_ZIP = b"PK\x03\x04"


class _Arrays(Protocol):
    """Arrays by name, wherever they lie."""

    where: Path
    names: frozenset[str]

    def array(self, name: str) -> npt.NDArray[Any]: ...

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of trials that lie in one table."""
        ...


def find(path: Path) -> FileSource | None:
    """Return the session in an npz or a folder that has times and clusters, None for others."""
    id = path_id(path)
    if is_folder(path):
        folder = _Folder(path)
        if not folder.names.issuperset(_NEEDED):
            return None
        files = tuple(folder.files[name] for name in folder.names)
        return FileSource(id, path.resolve().name, path, files, partial(_read, folder, id))
    if not is_regular(path) or not _is_zip(path):
        return None
    npz = _Npz(path)
    if not npz.names.issuperset(_NEEDED):
        return None
    return FileSource(id, path.stem, path.parent, (path,), partial(_read, npz, id))


def _is_used(name: str) -> bool:
    return name in (*_NEEDED, *_OF_UNITS, "trials") or "." in name


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


class _Npz:
    """The arrays of an npz."""

    def __init__(self, path: Path) -> None:
        self.where = path
        try:
            with zipfile.ZipFile(path) as archive:
                sizes = {i.filename.removesuffix(".npy"): i.file_size for i in archive.infolist()}
        except Exception as error:  # noqa: BLE001  damage may make a library raise anything
            if path.suffix.lower() == ".npz":
                raise self._damaged(error) from None
            sizes = {}
        self.names = frozenset(filter(_is_used, sizes))
        self._size = sum(sizes[name] for name in self.names)

    def array(self, name: str) -> npt.NDArray[Any]:
        must_be_plausible(self._size, self.where.stat().st_size, f"What is in {self.where}")
        try:
            with np.load(self.where, allow_pickle=False) as arrays:
                return np.asarray(arrays[name])
        except Exception as error:  # noqa: BLE001  damage may make a library raise anything
            raise self._damaged(error, name) from None

    def table(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def _damaged(self, error: Exception, name: str = "its list of arrays") -> SourceError:
        return SourceError(
            f"{self.where} is damaged, or {name} in it is no array of numbers or text "
            f"({in_short(error)}). Write it again."
        )


class _Folder:
    """The arrays in the npy and csv files of a folder; a csv has a header and one column."""

    def __init__(self, path: Path) -> None:
        self.where = path
        self.files = {}
        # Any folder may come here, and be large: it is not listed where the names are missing.
        if all(is_regular(path / f"{n}.npy") or is_regular(path / f"{n}.csv") for n in _NEEDED):
            for file in (*path.glob("*.csv"), *path.glob("*.npy")):
                if _is_used(file.stem) and is_regular(file):
                    self.files[file.stem] = file
        self.names = frozenset(self.files)

    def array(self, name: str) -> npt.NDArray[Any]:
        file = self.files[name]
        if file.suffix == ".npy":
            return load_array(file)
        table = load_table(file)
        column = name if name in table else table.columns[0] if len(table.columns) == 1 else None
        if column is None:
            raise SourceError(f"{file} must have one column, or one that is called {name}.")
        return table[column].to_numpy()

    def table(self) -> dict[str, npt.NDArray[Any]]:
        if "trials" not in self.names or self.files["trials"].suffix != ".csv":
            return {}
        table = load_table(self.files["trials"])
        return {str(name): table[name].to_numpy() for name in table}


def _decoded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Text as objects of str, None where it is missing; anything else as it is."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "UOT":
        return array
    texts = [value if isinstance(value, str) and value else None for value in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _read(arrays: _Arrays, id: str, progress: Progress) -> Recording:
    progress(0.0, "reading spikes")
    times, clusters = _row(arrays, "times"), _row(arrays, "clusters", "whole", least=0)
    progress(0.7, "reading units, trials and behaviour")
    return recording_from_spikes(
        times,
        clusters,
        regions=_by_id(arrays, "regions", clusters),
        depths=_by_id(arrays, "depths", clusters),
        labels=_by_id(arrays, "labels", clusters),
        probes=_by_id(arrays, "probes", clusters),
        uuids=_by_id(arrays, "uuids", clusters),
        trials=_trials(arrays),
        behaviour=_behaviour(arrays),
        id=id,
    )


def _row(
    arrays: _Arrays, name: str, kind: Kind = "real", *, least: float | None = None
) -> npt.NDArray[Any]:
    what = f"{name} in {arrays.where}"
    return numbers(arrays.array(name), what, SourceError, kind=kind, least=least)


def _by_id(arrays: _Arrays, name: str, clusters: npt.NDArray[Any]) -> Mapping[int, Any] | None:
    """What an array says of units, by cluster id; None where there is no such array."""
    if name not in arrays.names:
        return None
    values = _decoded(arrays.array(name))
    if values.ndim != 1:
        raise SourceError(f"{name} in {arrays.where} must have one axis, not {values.ndim}.")
    if name == "labels" and values.dtype.kind == "O":
        values = _quality(values, arrays.where)
    listed = "ids" in arrays.names
    ids = _row(arrays, "ids", "whole", least=0) if listed else np.arange(len(values))
    if len(ids) != len(values) or len(np.unique(ids)) < len(ids):
        raise SourceError(
            f"{arrays.where} has {len(values)} {name} for {len(np.unique(ids))} ids; there must be "
            "one for each, and no id twice."
        )
    highest = int(clusters.max(initial=-1))
    if not listed and highest >= len(values):
        raise SourceError(
            f"{arrays.where} has spikes of cluster {highest}, but only {len(values)} {name}; give "
            "one for each cluster from 0 on, or say whose they are in ids."
        )
    return dict(zip(ids.tolist(), values.tolist(), strict=True))


def _quality(words: npt.NDArray[Any], where: Path) -> npt.NDArray[np.float64]:
    found = labels_in({"label": np.array([word or "" for word in words], dtype=object)})
    if found is None:
        raise SourceError(f'labels in {where} must be numbers, or words such as "good" and "mua".')
    return found


def _trials(arrays: _Arrays) -> pd.DataFrame | None:
    """Columns of numbers of the trials; None where there are no trials."""
    columns = arrays.table()
    for name in sorted(arrays.names):
        if name.startswith("trials."):
            columns[name.removeprefix("trials.")] = arrays.array(name)
    columns = {name: values for name, values in columns.items() if values.dtype.kind in "biuf"}
    shapes = {values.shape for values in columns.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise SourceError(
            f"The columns of trials in {arrays.where} must have one value for each trial; their "
            f"shapes are {' and '.join(map(str, sorted(shapes)))}."
        )
    table = pd.DataFrame({name: values.astype(np.float64) for name, values in columns.items()})
    return table if len(table) else None


def _behaviour(arrays: _Arrays) -> dict[str, Samples]:
    """Traces by name: the wheel's position, and others."""
    found: dict[str, Samples] = {}
    for full in sorted(arrays.names):
        trace, _, part = full.rpartition(".")
        values = f"{trace}.{'position' if trace == 'wheel' else 'values'}"
        if trace == "trials" or full not in (f"{trace}.times", values):
            continue
        for name in (f"{trace}.times", values):
            if name not in arrays.names:
                raise SourceError(f"{arrays.where} has {full} but no {name}.")
        if part == "times":
            samples = _row(arrays, full), _row(arrays, values)
            found[WHEEL if trace == "wheel" else trace] = samples
    return found
