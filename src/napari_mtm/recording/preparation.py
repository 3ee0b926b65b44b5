"""From a recording to a session: which units, which trials, which bins."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import PreparationError, SourceError
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.binning import bin_edges, bin_spikes, check_times
from napari_mtm.recording.raw import UNIT_COLUMNS, Probe, Recording
from napari_mtm.recording.regions import UNKNOWN, to_beryl
from napari_mtm.recording.session import ANY_TIME, Session, anatomical_order
from napari_mtm.recording.traces import CAMERA_GAP, Trace, bin_average, wheel_velocity
from napari_mtm.recording.trials import column, select_trials, signed_contrast

DEFAULT_ALIGN = "stimOn_times"

T = TypeVar("T")

_EDGE_SPIKES = 20
_SAME_LENGTH = 0.95


@dataclass(frozen=True)
class Preparation:
    """How a recording is cut into a session.

    Attributes
    ----------
    units
        "good" keeps units of quality label 1, "all" keeps every cluster.
    min_rate
        Least spikes/s, over the whole recording, of a unit that is kept.
    align
        Trials column to align to, or "any-time" for adjoining windows.
    window, bin_size
        Seconds around the event, and seconds per bin; the window must be a whole
        number of bins.

    """

    units: Literal["good", "all"] = "good"
    min_rate: float = 0.0
    align: str = DEFAULT_ALIGN
    window: tuple[float, float] = (-0.5, 1.5)
    bin_size: float = 0.02

    def __post_init__(self) -> None:
        start, stop = (float(t) for t in self.window)
        object.__setattr__(self, "window", (start, stop))
        if self.units not in ("good", "all"):
            raise PreparationError(f'Units must be "good" or "all", not {self.units!r}.')
        if not self.min_rate >= 0:
            raise PreparationError(f"The minimum rate must be 0 or more, not {self.min_rate}.")
        if not (np.isfinite([start, stop]).all() and start < stop and self.bin_size > 0):
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s in bins of {self.bin_size:g} s is empty."
            )
        bins = (stop - start) / self.bin_size
        if round(bins) < 1 or abs(bins - round(bins)) > 1e-6 * bins:
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s is not a whole number of bins of "
                f"{self.bin_size:g} s; change one of them."
            )

    @property
    def n_bins(self) -> int:
        """Number of bins in the window."""
        return round((self.window[1] - self.window[0]) / self.bin_size)


def prepare(
    recording: Recording, preparation: Preparation, *, progress: Progress = silent
) -> Session:
    """Cut a recording into windows and bin it.

    Raises PreparationError where no unit or no trial is left, SourceError where
    spike times are damaged.
    """
    notes = list(recording.notes)
    probes = [_usable(probe, notes) for probe in recording.probes]
    units = _chosen_units(recording, probes, preparation, notes)
    cut = _cut(recording, probes, preparation, notes)
    edges = bin_edges(cut.starts, preparation.n_bins, preparation.bin_size)

    counts = np.zeros((len(edges), preparation.n_bins, len(units)), dtype=np.uint8)
    saturated = 0
    for k, probe in enumerate(probes):
        mine = np.flatnonzero(units["probe"].to_numpy() == probe.name)
        ids = units["cluster"].to_numpy()[mine]
        columns = np.full(int(ids.max(initial=-1)) + 1, -1)
        columns[ids] = np.arange(len(mine))
        share = part(progress, 0.8 * k / len(probes), 0.8 * (k + 1) / len(probes))
        binned = bin_spikes(probe.times, probe.clusters, edges, columns, len(mine), progress=share)
        if len(mine) == len(units):
            counts = binned.counts
        else:
            counts[:, :, mine] = binned.counts
        saturated += binned.saturated
    progress(0.8, "reading behaviour")
    if saturated:
        notes.append(f"{saturated} counts were above 255 and are stored as 255; use smaller bins.")
    behaviour = _behaviour(recording, edges, notes)
    progress(0.9, "finding true rates" if recording.truth else "putting it together")
    truth = recording.truth
    return Session(
        id=recording.id,
        name=recording.name,
        counts=counts,
        units=units,
        trials=cut.trials,
        behaviour=behaviour,
        window=cut.window,
        bin_size=preparation.bin_size,
        align=cut.align,
        rates=truth.rates(edges, units["uuid"].tolist()) if truth else None,
        simulated=recording.simulated,
        excluded=cut.excluded,
        saturated=saturated,
        notes=tuple(notes),
    )


def recording_from_spikes(
    times: np.ndarray,
    clusters: np.ndarray,
    *,
    regions: Mapping[int, str] | Sequence[str] | None = None,
    depths: Mapping[int, float] | Sequence[float] | None = None,
    trials: pd.DataFrame | None = None,
    wheel: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    id: str | None = None,
) -> Recording:
    """Make a recording of plain arrays; `regions` and `depths` are looked up by cluster id."""
    times, clusters = times.ravel(), clusters.ravel()
    _check_spikes(times, clusters, "The recording")
    ids = np.unique(clusters)
    id = id or f"spikes-{_digest(times, clusters)}"
    acronyms = [_lookup(regions, i, UNKNOWN) or UNKNOWN for i in ids]
    units = pd.DataFrame(
        {
            "uuid": [f"{id}/{i}" for i in ids],
            "region": to_beryl(acronyms),
            "acronym": acronyms,
            "depth": np.array([_lookup(depths, i, np.nan) for i in ids], dtype=np.float64),
            "label": np.nan,
            "firing_rate": mean_rates(times, clusters, ids),
        },
        index=ids.astype(np.int64),
    )
    try:
        position = None if wheel is None else Trace.clean(*wheel)
    except ValueError as error:
        raise SourceError(f"The wheel has {error}; give one position per time.") from None
    return Recording(
        id=id,
        name=id,
        probes=(Probe("", times, clusters, units),),
        trials=trials,
        wheel_position=position,
    )


def called(probe: str) -> str:
    """Return what to call a probe at the beginning of a sentence."""
    return f"Probe {probe}" if probe else "The recording"


def mean_rates(times: np.ndarray, clusters: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Spikes/s of each cluster from the first to the last spike of all."""
    if len(times) < 2:
        return np.zeros(len(ids))
    number = np.bincount(clusters, minlength=int(ids.max(initial=0)) + 1)[ids]
    duration = float(times.max() - times.min())
    return number / duration if duration > 0 else np.zeros(len(ids))


def _lookup(table: Mapping[int, T] | Sequence[T] | None, i: int, default: T) -> T:
    if table is None:
        return default
    if isinstance(table, Mapping):
        return table.get(int(i), default)
    return table[int(i)] if int(i) < len(table) else default


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _check_spikes(times: np.ndarray, clusters: np.ndarray, where: str) -> None:
    if len(times) != len(clusters):
        raise SourceError(
            f"{where} has {len(times)} spike times but {len(clusters)} spike clusters; "
            "one of the two is cut short or from another sorting."
        )
    if not np.issubdtype(times.dtype, np.floating) and not np.issubdtype(times.dtype, np.integer):
        raise SourceError(f"{where} has spike times of type {times.dtype}; they must be seconds.")
    if not np.issubdtype(clusters.dtype, np.integer):
        raise SourceError(f"{where} has spike clusters of type {clusters.dtype}; they must be ids.")
    if clusters.min(initial=0) < 0:
        raise SourceError(f"{where} has negative spike clusters; ids begin at 0.")


def _usable(probe: Probe, notes: list[str]) -> Probe:
    """Check a probe's spikes; sort them and drop those before time 0 where need be."""
    where = called(probe.name)
    times, clusters = probe.times, probe.clusters
    _check_spikes(times, clusters, where)
    if not check_times(times, where):
        order = np.argsort(times, kind="stable")
        times, clusters = times[order], clusters[order]
        notes.append(f"{where}: spike times were not in order and have been sorted.")
    early = int(np.searchsorted(times, 0.0))
    if early:
        times, clusters = times[early:], clusters[early:]
        notes.append(f"{where}: {early} spikes before time 0 are left out.")
    if len(times) == 0:
        notes.append(f"{where} has no spikes.")
    return replace(probe, times=times, clusters=clusters)


def _chosen_units(
    recording: Recording, probes: Sequence[Probe], preparation: Preparation, notes: list[str]
) -> pd.DataFrame:
    tables = [
        probe.units[list(UNIT_COLUMNS)].assign(probe=probe.name, cluster=probe.units.index)
        for probe in probes
    ]
    units = pd.concat(tables, ignore_index=True)
    _check_uuids(units, recording)
    keep = chosen(units, preparation)
    if preparation.units == "good":
        notes.extend(_label_notes(units))
    if not keep.any():
        raise PreparationError(_no_units(recording, units, preparation))
    units = units[keep]
    unknown = int((units["region"] == UNKNOWN).sum())
    if unknown == len(units):
        notes.append("There are no region labels; units are in order of depth.")
    elif unknown:
        notes.append(f"{unknown} units have no region that the atlas knows; they come last.")
    units = units.iloc[anatomical_order(units)].reset_index(drop=True)
    return units[["uuid", "probe", "cluster", "region", "acronym", "depth", "label", "firing_rate"]]


def _label_notes(units: pd.DataFrame) -> list[str]:
    missing = units["label"].isna()
    if missing.all():
        return ["There are no quality labels, so all units are kept."] if len(units) else []
    return [
        f"{called(name)} has units without a quality label; they are left out."
        for name in units.loc[missing, "probe"].unique()
    ]


def chosen(units: pd.DataFrame, preparation: Preparation) -> npt.NDArray[np.bool_]:
    """Which rows of a table with `label` and `firing_rate` a preparation keeps."""
    keep = np.ones(len(units), dtype=bool)
    labelled = units["label"].notna().any()
    if preparation.units == "good" and labelled:
        keep &= units["label"].to_numpy(dtype=np.float64) >= 1
    if preparation.min_rate > 0:
        keep &= units["firing_rate"].to_numpy(dtype=np.float64) >= preparation.min_rate
    return keep


def _check_uuids(units: pd.DataFrame, recording: Recording) -> None:
    twice = units["uuid"][units["uuid"].duplicated()]
    if len(twice):
        raise SourceError(
            f"{recording.name} names unit {twice.iloc[0]} twice. Its probes disagree: "
            "one may be a copy of another."
        )


def _no_units(recording: Recording, units: pd.DataFrame, preparation: Preparation) -> str:
    if len(units) == 0:
        return f"{recording.name} has no units at all."
    wanted = f"None of the {len(units)} units of {recording.name} "
    if preparation.units == "all":
        return (
            f"{wanted}fires at {preparation.min_rate:g} spikes/s or more; lower the minimum rate."
        )
    rate = f" and {preparation.min_rate:g} spikes/s or more" if preparation.min_rate else ""
    return f'{wanted}has quality label 1 ("good"){rate}; try units="all".'


@dataclass(frozen=True)
class _Cut:
    """Where the windows lie: their trials and starts, and the trials left out by reason."""

    align: str
    window: tuple[float, float]
    trials: pd.DataFrame
    starts: npt.NDArray[np.floating]
    excluded: dict[str, int]


def _cut(
    recording: Recording, probes: Sequence[Probe], preparation: Preparation, notes: list[str]
) -> _Cut:
    trials, align = recording.trials, preparation.align
    recorded = _recorded(probes, notes)
    if trials is None and align == DEFAULT_ALIGN:
        notes.append("There is no trials table; the recording is cut into adjoining windows.")
        align = ANY_TIME
    if align == ANY_TIME:
        return _adjoining(recording, preparation, recorded)
    if trials is None:
        raise PreparationError(
            f'{recording.name} has no trials to align to {align}; use align="{ANY_TIME}".'
        )
    if align not in trials:
        raise PreparationError(
            f"{recording.name} has no trials column {align!r}. "
            f"There are: {', '.join(map(str, trials))}."
        )
    selection = select_trials(trials, align, preparation.window, recorded)
    if not selection.keep.any():
        why = ", ".join(f"{n} {reason}" for reason, n in selection.excluded.items())
        raise PreparationError(
            f"None of the {len(trials)} trials of {recording.name} can be used: {why}."
            if why
            else f"The trials table of {recording.name} is empty."
        )
    kept = trials[selection.keep].reset_index(drop=True)
    if {"contrastLeft", "contrastRight"} <= set(kept):
        kept = kept.assign(signed_contrast=signed_contrast(kept))
    starts = column(kept, align) + preparation.window[0]
    return _Cut(align, preparation.window, kept, starts, selection.excluded)


def _recorded(probes: Sequence[Probe], notes: list[str]) -> tuple[float, float]:
    """First and last second at which every probe was recording.

    A probe records for as long beyond its last spike as twenty more would have
    taken at its mean rate: next to nothing on a real probe.
    """
    spans = []
    for probe in probes:
        if len(probe.times) < 2:
            continue
        first, last = float(probe.times[0]), float(probe.times[-1])
        slack = _EDGE_SPIKES * (last - first) / len(probe.times)
        spans.append((max(0.0, first - slack), last + slack))
    if not spans:
        return 0.0, np.inf
    lasts = [last for _, last in spans]
    if min(lasts) < _SAME_LENGTH * max(lasts):
        notes.append(
            f"The probes disagree on the length of the recording ({min(lasts):.0f} and "
            f"{max(lasts):.0f} s); only trials that all of them recorded are used."
        )
    return max(first for first, _ in spans), min(lasts)


def _adjoining(
    recording: Recording, preparation: Preparation, recorded: tuple[float, float]
) -> _Cut:
    """Cut the whole recording; there is no event, so time runs from each window's start."""
    length = preparation.n_bins * preparation.bin_size
    first = recorded[0]
    last = max((float(p.times[-1]) for p in recording.probes if len(p.times)), default=first)
    n = int((min(last, recorded[1]) - first) / length + 1e-9)
    if n < 1:
        raise PreparationError(
            f"{recording.name} is shorter than one window of {length:g} s; use a shorter window."
        )
    starts = first + np.arange(n) * length
    trials = pd.DataFrame({"intervals_0": starts, "intervals_1": starts + length})
    return _Cut(ANY_TIME, (0.0, round(length, 9)), trials, starts, {})


def _behaviour(
    recording: Recording, edges: np.ndarray, notes: list[str]
) -> dict[str, npt.NDArray[np.float32]]:
    nothing = Trace(np.empty(0), np.empty(0))
    velocity = wheel_velocity(recording.wheel_position) if recording.wheel_position else nothing
    whisker = recording.whisker or nothing
    if len(velocity.times) == 0:
        notes.append("There is no wheel trace.")
    if len(whisker.times) == 0:
        notes.append("There is no whisker motion energy.")
    return {
        "wheel-velocity": bin_average(velocity, edges),
        "wheel-speed": bin_average(Trace(velocity.times, np.abs(velocity.values)), edges),
        "whisker-motion-energy": bin_average(whisker, edges, max_gap=CAMERA_GAP),
    }
