"""One session of BrainWideBench: an HDF5 file of all its probes and behaviour.

What is read is what `ibl_brain_wide_bench_2026` writes as version 0.1.0 with `temporaldata` 0.1.6:
a group for each object. Times are seconds on the session's clock, text is bytes of a fixed
length, behaviour lies on a grid of 50 Hz, and what a session lacks is a group that is not there.
"""

import hashlib
from collections.abc import Iterator, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import SourceError
from napari_mtm.files import is_regular
from napari_mtm.progress import Progress
from napari_mtm.recording.alf import is_eid
from napari_mtm.recording.formats.hdf5 import Contents, is_hdf5, opened, telling_damage
from napari_mtm.recording.formats.labels import named_places
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.source import FileSource
from napari_mtm.recording.spikes import called
from napari_mtm.recording.traces import Trace

if TYPE_CHECKING:
    import h5py

T = TypeVar("T", bound=Sized)

_NEEDED = ("spikes/timestamps", "spikes/unit_index", "units/id")
_PIECE = 1 << 22
_SLOWEST, _FASTEST = 1e-3, 1e6
"""Samples per second that a regular series can have."""

_TRIALS = {
    "start": "intervals_0",
    "end": "intervals_1",
    "stim_on_time": "stimOn_times",
    "stim_off_time": "stimOff_times",
    "go_cue_trigger_time": "goCueTrigger_times",
    "go_cue_time": "goCue_times",
    "movement_onset_time": "firstMovement_times",
    "response_time": "response_times",
    "feedback_time": "feedback_times",
    "probability_left": "probabilityLeft",
    "contrast_left": "contrastLeft",
    "contrast_right": "contrastRight",
    "reward_volume": "rewardVolume",
}
"""Columns of trials that have only another name in IBL's tables."""

_CHOICES = {1: 1.0, 0: -1.0, 2: 0.0}
"""IBL's choice by the file's: left, right, none."""
_REWARDS = {1: 1.0, 0: -1.0}
"""IBL's type of feedback by the file's reward."""

_TRACES = {
    "lick-rate": ("licks", "licking_rate", ""),
    "paw-speed-left": ("paws", "left_paw_speed", "is_left_paw_confident"),
    "paw-speed-right": ("paws", "right_paw_speed", "is_right_paw_confident"),
}
"""Group and dataset of further behaviour, and of what says which samples are to be trusted."""


def find(path: Path) -> FileSource | None:
    """Return the session in a file, None where it is none of BrainWideBench.

    Raises SourceError where it is an HDF5 file that cannot be opened.
    """
    if not is_regular(path):
        return None
    if not is_hdf5(path):
        return None
    with opened(path, _File) as file:
        if not all(file.has(name) for name in _NEEDED):
            return None
        said, subject = file.said("session", "id"), file.said("subject", "id")
        date = file.said("session", "recording_date")[:10]
    known = path.stem.lower() if is_eid(path.stem) else said
    return FileSource(
        id=known or f"path-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}",
        name=f"{subject} {date}" if subject and date else path.stem,
        folder=path.parent,
        files=(path,),
        reader=partial(_read, path),
    )


def _read(path: Path, progress: Progress) -> Recording:
    """Read a session; `find` says its id and name."""
    notes: list[str] = []
    with opened(path, _File) as file:
        probes = _probes(file, notes, progress)
        progress(0.9, "reading trials and behaviour")
        traces = {
            name: trace
            for name, (group, values, trusted) in _TRACES.items()
            if (trace := _trace(file, group, values, trusted)) is not None
        }
        return Recording(
            id="",
            name="",
            probes=probes,
            trials=_trials(file, notes),
            wheel_position=_trace(file, "wheel", "wheel_pos"),
            whisker=_trace(file, "whisker", "whisker_motion_energy"),
            traces=traces,
            notes=tuple(notes),
        )


class _File(Contents):
    """An open session file, whose groups and datasets are what the benchmark makes them."""

    def has(self, name: str) -> bool:
        """Whether there is a dataset of this name, in this file itself."""
        with telling_damage(self.path):
            return self._dataset(name) is not None

    def array(self, name: str, kind: Kind = "real", **rules: Any) -> npt.NDArray[Any]:
        """Return a whole dataset of plain numbers, by the rules of `arrays.numbers`."""
        with telling_damage(self.path):
            values = self._need(name)[()]
        return numbers(values, f"{self.path}: {name}", SourceError, kind=kind, **rules)

    def pieces(
        self, name: str, kind: Kind = "real", **rules: Any
    ) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        """Return a dataset of numbers in a row piece by piece, and where each piece lies."""
        dataset = self._need(name)
        for start in range(0, self.count(name), _PIECE):
            with telling_damage(self.path):
                values = dataset[start : start + _PIECE]
            piece = numbers(values, f"{self.path}: {name}", SourceError, kind=kind, **rules)
            yield slice(start, start + len(piece)), piece

    def count(self, name: str) -> int:
        """Return how many values lie in a row."""
        shape = self._need(name).shape
        if len(shape) != 1:
            raise SourceError(f"{self.path}: {name} must have one axis; its shape is {shape}.")
        return int(shape[0])

    def texts(self, name: str) -> list[str]:
        """Return a dataset of text."""
        self.count(name)
        with telling_damage(self.path):
            values = self._need(name)[()].tolist()
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
        if not all(isinstance(text, str) for text in texts):
            raise SourceError(f"{self.path}: {name} must be text; there is something else.")
        return texts

    def said(self, group: str, name: str) -> str:
        """Return a text that describes a group, "" where there is none."""
        said = self.attribute(group, name)
        return said.strip() if isinstance(said, str) else ""

    def number(self, group: str, name: str) -> float:
        """Return a number that describes a group."""
        what = f"{self.path}: {name} of {group}"
        return float(numbers(self.attribute(group, name), what, SourceError, ndim=0, finite=True))

    def _need(self, name: str) -> "h5py.Dataset":
        with telling_damage(self.path):
            found = self._dataset(name)
        if found is None:
            raise SourceError(f"{self.path} has no {name}; it is not complete. Download it again.")
        return found


def _probes(file: _File, notes: list[str], progress: Progress) -> tuple[Probe, ...]:
    """Read spikes and units, and take them apart by probe."""
    n = len(file.texts("units/id"))
    if n == 0:
        raise SourceError(f"{file.path} has no units.")
    names, probe_of = _probe_names(file, n)
    unit, number = _unit_of_spikes(file, n, progress)
    times, clusters = _by_probe(file, unit, number, probe_of, progress)
    units = _units(file, number, notes)
    spans = [float(t[-1]) - float(t[0]) if len(t) else 0.0 for t in times]
    duration = np.array(spans)[probe_of]
    mean = np.divide(number, duration, out=np.zeros(n), where=duration > 0)
    units["firing_rate"] = units["firing_rate"].fillna(pd.Series(mean))
    probes = []
    for k, name in enumerate(names):
        if len(times[k]) == 0:
            notes.append(f"{called(name)} has no spikes here, so its units are left out.")
            continue
        mine = units[(probe_of == k) & (number > 0)]
        probes.append(Probe(name, times[k], clusters[k], mine))
    if not probes:
        raise SourceError(f"{file.path} has no spikes.")
    return tuple(probes)


def _probe_names(file: _File, n: int) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the names of the probes in their order, and which of them each unit is of.

    A probe is called as the file calls it, such as "probe00", or by its id.
    """
    if not file.has("units/probe_id"):
        return [""], np.zeros(n, dtype=np.intp)
    of_units = _as_many(file, "units/probe_id", file.texts("units/probe_id"), n)
    names: dict[str, str] = {}
    if file.has("probes/id") and file.has("probes/name"):
        called_so = file.texts("probes/name")
        names = dict(zip(file.texts("probes/id"), called_so, strict=False))
    ids = set(of_units)
    if len({names.get(i) for i in ids}) < len(ids) or not ids <= names.keys():
        names = {i: i for i in ids}
    order = sorted(ids, key=lambda i: names[i])
    place = {i: k for k, i in enumerate(order)}
    return [names[i] for i in order], np.array([place[i] for i in of_units], dtype=np.intp)


def _unit_of_spikes(
    file: _File, n: int, progress: Progress
) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
    """Return the unit of each spike, in as few bytes as will do, and how many each unit has."""
    total, n_times = file.count("spikes/unit_index"), file.count("spikes/timestamps")
    if total != n_times:
        raise SourceError(
            f"{file.path} has {n_times} spike times but the units of {total} spikes; it is "
            "damaged. Download it again."
        )
    unit = np.empty(total, dtype=np.min_scalar_type(n - 1))
    number = np.zeros(n, dtype=np.int64)
    for where, piece in file.pieces("spikes/unit_index", "whole", least=0, most=n - 1):
        progress(0.4 * where.start / total, "reading units of spikes")
        unit[where] = piece
        number += np.bincount(piece, minlength=n)
    return unit, number


def _by_probe(
    file: _File,
    unit: npt.NDArray[np.unsignedinteger],
    number: npt.NDArray[np.int64],
    probe_of: npt.NDArray[np.intp],
    progress: Progress,
) -> tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.unsignedinteger]]]:
    """Return times and units of the spikes of each probe; there is never a second copy of all."""
    totals = np.bincount(probe_of, weights=number).astype(np.int64)
    times = [np.empty(total) for total in totals]
    clusters = [np.empty(total, dtype=unit.dtype) for total in totals]
    filled = np.zeros(len(totals), dtype=np.int64)
    for where, piece in file.pieces("spikes/timestamps", finite=True):
        progress(0.4 + 0.5 * where.start / len(unit), "reading spikes")
        units = unit[where]
        probe = probe_of[units]
        for k in range(len(totals)):
            here = np.flatnonzero(probe == k)
            next_ones = slice(filled[k], filled[k] + len(here))
            times[k][next_ones], clusters[k][next_ones] = piece.take(here), units.take(here)
            filled[k] = next_ones.stop
    return times, clusters


def _units(file: _File, number: npt.NDArray[np.int64], notes: list[str]) -> pd.DataFrame:
    """Table of all units, by their index."""
    n = len(number)
    lacking = [w for w in ("region_allen", "region_beryl") if not file.has(f"units/{w}")]
    if len(lacking) == 2:
        notes.append("The file does not say in which regions its units lie.")
    acronym, region = named_places(
        *(
            [""] * n
            if what in lacking
            else _as_many(file, f"units/{what}", file.texts(f"units/{what}"), n)
            for what in ("region_allen", "region_beryl")
        )
    )
    rate = _of_units(file, "firing_rate", n)
    depth = _of_units(file, "depths", n)
    if np.isnan(depth).all() and file.has("spikes/depth"):
        depth = _mean_depth(file, number)
    return pd.DataFrame(
        {
            "uuid": file.texts("units/id"),
            "region": region,
            "acronym": acronym,
            "depth": depth,
            "label": _of_units(file, "label", n),
            "firing_rate": np.where(rate >= 0, rate, np.nan),
        }
    )


def _of_units(file: _File, what: str, n: int) -> npt.NDArray[np.float64]:
    """Return a number of each unit, NaN where it is not known."""
    name = f"units/{what}"
    if not file.has(name):
        return np.full(n, np.nan)
    values = np.array(_as_many(file, name, file.array(name), n), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _mean_depth(file: _File, number: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean depth of the spikes of each unit in micrometres."""
    if file.count("spikes/depth") != number.sum():
        raise SourceError(
            f"{file.path} has {file.count('spikes/depth')} depths for {number.sum()} spikes; it "
            "is damaged. Download it again."
        )
    sums, known = np.zeros(len(number)), np.zeros(len(number))
    n = len(number)
    units = file.pieces("spikes/unit_index", "whole", least=0, most=n - 1)
    for (_, unit), (_, depth) in zip(units, file.pieces("spikes/depth"), strict=True):
        good = np.isfinite(depth)
        sums += np.bincount(unit[good], weights=depth[good], minlength=n)
        known += np.bincount(unit[good], minlength=n)
    means: npt.NDArray[np.float64] = np.full(n, np.nan)
    np.divide(sums, known, out=means, where=known > 0)
    return means


def _as_many(file: _File, name: str, values: T, n: int) -> T:
    """Return values, one for each of n; raise SourceError where they are more or fewer."""
    if len(values) != n:
        raise SourceError(
            f"{file.path} has {len(values)} values in {name} where there are {n} "
            f"{name.partition('/')[0]}; it is damaged. Download it again."
        )
    return values


def _trials(file: _File, notes: list[str]) -> pd.DataFrame | None:
    """Return the trials in IBL's columns and IBL's signs, None where the file has none."""
    columns = {
        ours: file.array(f"trials/{theirs}").astype(np.float64)
        for theirs, ours in _TRIALS.items()
        if file.has(f"trials/{theirs}")
    }
    if file.has("trials/choice"):
        columns["choice"] = _decoded(file, "trials/choice", _CHOICES)
    if file.has("trials/reward"):
        columns["feedbackType"] = _decoded(file, "trials/reward", _REWARDS)
    if file.has("trials/is_valid"):
        columns["is_valid"] = file.array("trials/is_valid", "bool")
    if not columns:
        return None
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise SourceError(
            f"{file.path} has columns of {' and '.join(map(str, sorted(lengths)))} trials; it is "
            "damaged. Download it again."
        )
    trials = pd.DataFrame(columns)
    if {"contrastLeft", "contrastRight"} <= columns.keys():
        twice = int(trials[["contrastLeft", "contrastRight"]].notna().all(axis=1).sum())
        if twice:
            notes.append(
                f"{twice} trials have a contrast on both sides; the one on the right is taken."
            )
    return trials


def _decoded(file: _File, name: str, meaning: dict[int, float]) -> npt.NDArray[np.float64]:
    """Return what the codes of trials mean, NaN where there is none."""
    codes = file.array(name).astype(np.float64)
    found = np.full(len(codes), np.nan)
    for code, value in meaning.items():
        found[codes == code] = value
    strange = codes[np.isnan(found) & ~np.isnan(codes)]
    if len(strange):
        raise SourceError(
            f"{file.path}: {name} must be one of {', '.join(map(str, sorted(meaning)))}; there is "
            f"{strange[0]:g}."
        )
    return found


def _trace(file: _File, group: str, values: str, trusted: str = "") -> Trace | None:
    """Return a series of samples, None where the file has none."""
    name = f"{group}/{values}"
    if not file.has(name):
        return None
    samples = file.array(name).astype(np.float64)
    if trusted and file.has(f"{group}/{trusted}"):
        samples[~file.array(f"{group}/{trusted}", "bool", shape=samples.shape)] = np.nan
    if file.has(f"{group}/timestamps"):
        times = file.array(f"{group}/timestamps")
    else:
        times, real = _grid(file, group, len(samples))
        samples[~real] = np.nan
    try:
        return Trace.clean(times, samples)
    except ValueError as error:
        raise SourceError(f"{file.path}: {name} has {error}. Download it again.") from None


def _grid(file: _File, group: str, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the times of a regular series, and which samples are no filling of gaps."""
    rate = file.number(group, "sampling_rate")
    if not _SLOWEST <= rate <= _FASTEST:
        raise SourceError(f"{file.path}: sampling_rate of {group} cannot be {rate:g} Hz.")
    starts = file.array(f"{group}/domain/start", finite=True)
    ends = file.array(f"{group}/domain/end", finite=True, shape=starts.shape)
    if len(starts) == 0:
        return np.arange(n) / rate, np.zeros(n, dtype=bool)
    times = starts[0] + np.arange(n) / rate
    middle = times + 0.5 / rate
    return times, middle < ends[np.searchsorted(starts, middle, side="right") - 1]
