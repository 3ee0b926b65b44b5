"""The session: what was recorded, cut into windows and binned."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import chosen, numbers
from napari_mtm.errors import PreparationError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.regions import (
    OUTSIDE,
    UNKNOWN,
    Region,
    region_order,
    runs_of_regions,
    to_beryl,
)
from napari_mtm.recording.trials import chose_right

ANY_TIME = "any-time"
"""Value of `Session.align` where windows adjoin each other and no event aligns them."""

UNIT_TABLE_COLUMNS = (
    "uuid",
    "probe",
    "cluster",
    "region",
    "acronym",
    "depth",
    "label",
    "firing_rate",
)
"""Columns of `Session.units`."""

SHARES = (0.7, 0.1, 0.2)
"""Of the trials, those for training, validation and test."""

_USUAL = ("wheel-velocity", "wheel-speed", "whisker-motion-energy")
_OF_TRIALS = ("choice", "choice-by-trial", "block")
"""How what is decoded of a whole trial is called, so that no trace can be."""

_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Split:
    """Ascending trial indices for training, validation and test."""

    train: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]

    def part_of(self, trial: int) -> str:
        """Return which part a trial is in: "training", "validation" or "test"."""
        if trial in self.test:
            return "test"
        return "validation" if trial in self.validation else "training"


@dataclass(frozen=True, eq=False, repr=False)
class Session:
    """A recording cut into windows: counts, units, trials and behaviour.

    Attributes
    ----------
    id, name
        What the session is keyed by, and what a person calls it.
    counts
        Spikes (trials, bins, units), uint8. May be memory-mapped and read-only.
    units
        One row per unit in anatomical order (Beryl order, then depth): `uuid`,
        `probe`, `cluster`, `region` (Beryl), `acronym` (finest label), `depth`
        (micrometres from the probe's tip), `label` (quality, 1 is good),
        `firing_rate` (spikes/s over the whole recording).
    trials
        One row per trial in IBL's columns.
    behaviour
        `wheel-velocity`, `wheel-speed` (rad/s), `whisker-motion-energy`
        (camera units) and any others, each (trials, bins) float32, NaN where missing.
    window, bin_size, align
        Seconds around the alignment event, bin width, and the name of the event.
    rates
        True rates (trials, bins, units) in counts per bin, or None.
    excluded
        Number of trials left out, by reason.
    simulated
        Whether the session was made up by `napari-mtm simulate`.
    saturated
        Entries of `counts` that held more than 255 spikes.
    notes
        Sentences that a person should read before trusting the data.

    """

    id: str
    name: str
    counts: npt.NDArray[np.uint8]
    units: pd.DataFrame
    trials: pd.DataFrame
    behaviour: Mapping[str, npt.NDArray[np.float32]]
    window: tuple[float, float]
    bin_size: float
    align: str
    rates: npt.NDArray[np.float32] | None = None
    simulated: bool = False
    excluded: Mapping[str, int] = field(default_factory=dict)
    saturated: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.counts.ndim != 3 or self.counts.dtype != np.uint8:
            raise PreparationError(
                f"Counts must be (trials, bins, units) uint8; these are {self.counts.dtype} "
                f"with {self.counts.ndim} axes."
            )
        _check_not_empty(self.counts.shape, self.id)
        lacking = [name for name in UNIT_TABLE_COLUMNS if name not in self.units]
        if lacking:
            raise PreparationError(f"The units table of session {self.id} lacks {lacking[0]}.")
        if Preparation(window=self.window, bin_size=self.bin_size).n_bins != self.n_bins:
            raise PreparationError(
                f"A window of {self.window[0]:g} to {self.window[1]:g} s does not hold "
                f"{self.n_bins} bins of {self.bin_size:g} s."
            )
        self._check_sizes()
        for name in ("depth", "label"):
            numbers(self.units[name], f"Column {name} of the units", PreparationError)
        rates = self.units["firing_rate"]
        numbers(rates, "The firing rates of units", PreparationError, least=0, finite=True)
        uuids = self.units["uuid"]
        if not all(isinstance(uuid, str) and uuid for uuid in uuids) or not uuids.is_unique:
            raise PreparationError(f"Each unit of session {self.id} must have a uuid of its own.")

    def _check_sizes(self) -> None:
        """Raise PreparationError where a part has another size than the counts have."""
        n_trials, n_bins, n_units = self.counts.shape
        sizes: list[tuple[str, object, object]] = [
            ("the units table", len(self.units), n_units),
            ("the trials table", len(self.trials), n_trials),
            *((name, trace.shape, (n_trials, n_bins)) for name, trace in self.behaviour.items()),
        ]
        if self.rates is not None:
            sizes.append(("rates", self.rates.shape, self.counts.shape))
        wrong = [
            f"{what} has {found} where counts has {expected}"
            for what, found, expected in sizes
            if found != expected
        ]
        if wrong:
            raise PreparationError(f"The parts of session {self.id} disagree: {wrong[0]}.")
        floats = [*self.behaviour.values(), *([] if self.rates is None else [self.rates])]
        if any(array.dtype.kind != "f" for array in floats):
            raise PreparationError(f"Behaviour and rates of session {self.id} must be floats.")

    @classmethod
    def from_counts(
        cls,
        counts: npt.ArrayLike,
        regions: Sequence[str | None],
        *,
        trials: pd.DataFrame | None = None,
        behaviour: Mapping[str, npt.ArrayLike] | None = None,
        rates: npt.ArrayLike | None = None,
        id: str | None = None,
        window: tuple[float, float] | None = None,
        bin_size: float = 0.02,
    ) -> "Session":
        """Make a session of counts that are already binned.

        Raises PreparationError where something is not as it must be.

        Parameters
        ----------
        counts
            (trials, bins, units), whole numbers; above 255 they saturate.
        regions
            An Allen acronym per unit, None where it is not known. Units are put in
            anatomical order; the column `cluster` says which column of `counts` each was.
        trials, behaviour, rates
            As in `Session`, in the order of `counts`.
        id
            Key of the session; by default one derived from the counts.
        window, bin_size
            Seconds from the event, by default from -0.5 on, and seconds per bin; they must
            give as many bins as `counts` has.

        """
        given = numbers(
            counts, "Counts (trials, bins, units)", PreparationError, kind="whole", ndim=3, least=0
        )
        _check_not_empty(given.shape, id or "this one")
        n_trials, n_bins, n_units = given.shape
        acronyms = _acronyms(regions, n_units)
        clipped = np.minimum(given, 255).astype(np.uint8)
        id = id or f"counts-{hashlib.sha256(clipped.tobytes()).hexdigest()[:16]}"
        width = float(numbers(bin_size, "The bin size", PreparationError, shape=(), finite=True))
        if window is None:
            window = -0.5, round(-0.5 + n_bins * width, 9)
        start, stop = Preparation(window=window, bin_size=width).window
        units = pd.DataFrame(
            {
                "uuid": [f"{id}/{i}" for i in range(n_units)],
                "probe": "",
                "cluster": np.arange(n_units),
                "region": to_beryl(acronyms),
                "acronym": acronyms,
                "depth": np.nan,
                "label": np.nan,
                "firing_rate": clipped.mean(axis=(0, 1), dtype=np.float64) / bin_size,
            }
        )
        order = anatomical_order(units)
        return cls(
            id=id,
            name=id,
            counts=np.ascontiguousarray(clipped[:, :, order]),
            units=units.iloc[order].reset_index(drop=True),
            trials=_table(trials, n_trials),
            behaviour={
                name: _floats(trace, f"Trace {name}", (n_trials, n_bins))
                for name, trace in (behaviour or {}).items()
            },
            window=(start, stop),
            bin_size=width,
            align="stimOn_times",
            rates=None
            if rates is None
            else _floats(rates, "Rates", given.shape, least=0, finite=True)[:, :, order],
            saturated=int((given > 255).sum()),
        )

    @classmethod
    def from_spikes(
        cls,
        times: Any,
        clusters: npt.ArrayLike | None = None,
        *,
        regions: Mapping[int, str] | Sequence[str] | None = None,
        depths: Mapping[int, float] | Sequence[float] | None = None,
        trials: pd.DataFrame | None = None,
        wheel: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        behaviour: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
        id: str | None = None,
        **preparation: Any,
    ) -> "Session":
        """Make a session of spike times.

        Parameters
        ----------
        times, clusters
            Seconds, and a cluster id (0 or more) per spike. Or alone, instead of times, a
            `TsGroup` of pynapple or a sorting of SpikeInterface: where its units lie and how
            good they are is then taken from its metadata or properties. Units whose names are
            text are numbered, and keep them as `uuid`.
        regions, depths
            Allen acronym and micrometres from the tip, by cluster id.
        trials
            A table with IBL's columns; without one the recording is cut into
            adjoining windows.
        wheel
            Times in seconds and positions in rad.
        behaviour
            Times in seconds and values by name. "wheel-position" is as `wheel`, and
            "whisker-motion-energy" that of IBL; others become traces of their name.
        id
            Key of the session; by default one derived from the spikes.
        preparation
            As for `open_session`: `min_rate`, `align`, `window`, `bin_size`.

        """
        from napari_mtm.recording.foreign import spikes_of
        from napari_mtm.recording.prepare import prepare
        from napari_mtm.recording.spikes import recording_from_spikes

        units: dict[str, Any] = {}
        found = spikes_of(times) if clusters is None else None
        if found is not None:
            times, clusters, units = found.times, found.clusters, dict(found.units)
        if clusters is None:
            raise PreparationError(
                "Spike times need clusters, one for each; only a TsGroup of pynapple or a sorting "
                "of SpikeInterface has its own."
            )
        units |= {k: v for k, v in {"regions": regions, "depths": depths}.items() if v is not None}
        recording = recording_from_spikes(
            times, clusters, **units, trials=trials, wheel=wheel, behaviour=behaviour, id=id
        )
        return prepare(recording, Preparation(**{"units": "all", **preparation}))

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return int(self.counts.shape[0])

    @property
    def n_bins(self) -> int:
        """Number of bins in a trial."""
        return int(self.counts.shape[1])

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.counts.shape[2])

    @property
    def title(self) -> str:
        """The name as a person should see it; it says when the session is simulated."""
        return titled(self.name, simulated=self.simulated)

    @property
    def traces(self) -> tuple[str, ...]:
        """Names of the behaviour that can be decoded: the usual three first, others by name."""
        others = sorted(set(self.behaviour) - {*_USUAL, *_OF_TRIALS})
        return (*(name for name in _USUAL if name in self.behaviour), *others)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions in the order of the units: name, order, colour, unit slice."""
        return runs_of_regions(self.units["region"].tolist())

    def split(self, seed: int = 42) -> Split:
        """Split the trials 70/10/20, stratified by choice; the same for the same seed.

        With three trials or more, none of the parts is empty. What is returned is kept, and
        cannot be written to.
        """
        what = "The seed of a split"
        seed = int(numbers(seed, what, PreparationError, kind="whole", shape=(), least=0))
        if seed not in self._splits:
            self._splits[seed] = self._split(seed)
        return self._splits[seed]

    @cached_property
    def _splits(self) -> dict[int, Split]:
        return {}

    def _split(self, seed: int) -> Split:
        choice = chose_right(self.trials)
        strata = [choice == 1, choice == 0, np.isnan(choice)]
        rng = np.random.default_rng(seed)
        # Shuffled within strata, trials are dealt along one line, so that each part
        # takes its share of every stratum and the totals come out exact.
        line = np.concatenate([rng.permutation(np.flatnonzero(s)) for s in strata])
        part = _dealt(len(line), rng)
        parts = [np.sort(line[part == k]) for k in range(3)]
        for trials in parts:
            trials.flags.writeable = False
        return Split(*parts)

    def select(
        self,
        *,
        trials: npt.ArrayLike | None = None,
        units: npt.ArrayLike | None = None,
        regions: str | Iterable[str] | None = None,
    ) -> "Session":
        """Return the session with some trials, units (indices or masks) or regions only.

        Units keep their order. `regions` and `units` may be given together. Raises
        PreparationError where something is chosen that is not there, or nothing is.
        """
        rows = _indices(trials, self.n_trials, "Trials")
        columns = _indices(units, self.n_units, "Units")
        if regions is not None:
            names = [regions] if isinstance(regions, str) else list(regions)
            known = [region.name for region in self.regions]
            unknown = [name for name in names if name not in known]
            if unknown:
                raise PreparationError(
                    f"Session {self.id} has no region {unknown[0]!r}; there are {', '.join(known)}."
                )
            columns = columns[self.units["region"].isin(names).to_numpy()[columns]]
        columns = np.sort(columns)
        if len(rows) == 0 or len(columns) == 0:
            raise PreparationError(f"Nothing of session {self.id} is left by this selection.")
        return replace(
            self,
            counts=self.counts[np.ix_(rows, np.arange(self.n_bins), columns)],
            units=self.units.iloc[columns].reset_index(drop=True),
            trials=self.trials.iloc[rows].reset_index(drop=True),
            behaviour={name: trace[rows] for name, trace in self.behaviour.items()},
            rates=None
            if self.rates is None
            else self.rates[np.ix_(rows, np.arange(self.n_bins), columns)],
        )

    def drop_outside(self) -> "Session":
        """Return the session without units outside any region (root, void, unknown)."""
        return self.select(units=~self.units["region"].isin(OUTSIDE).to_numpy())

    def drop_probes(self, *names: str) -> "Session":
        """Return the session without the units of some probes.

        Raises PreparationError where there is no such probe, or none is left.
        """
        probes = self.units["probe"]
        unknown = [name for name in names if name not in set(probes)]
        if unknown:
            raise PreparationError(
                f"Session {self.id} has no probe {unknown[0]!r}; there are "
                f"{', '.join(sorted(set(probes)))}."
            )
        return self.select(units=~probes.isin(names).to_numpy())

    def describe(self) -> str:
        """Say in a few lines what the session holds."""
        start, stop = self.window
        rates = self.units["firing_rate"]
        lines = {
            "session": self.title,
            "id": self.id,
            "counts": f"{self.n_trials} trials x {self.n_bins} bins x {self.n_units} units "
            f"({self.counts.nbytes / 1e6:.1f} MB)",
            "window": f"{start:g} to {stop:g} s"
            + (", any time, " if self.align == ANY_TIME else f" from {self.align}, ")
            + f"bins of {self.bin_size * 1e3:g} ms",
            "excluded": ", ".join(f"{n} {why}" for why, n in self.excluded.items()) or "no trials",
            "regions": ", ".join(f"{r.name} {r.size}" for r in self.regions),
            "rates": f"{rates.min():.2f} to {rates.max():.2f} spikes/s, "
            f"median {rates.median():.2f}",
            "behaviour": ", ".join(self._behaviour_lines()) or "none",
            "true rates": "known" if self.rates is not None else "not known",
        }
        if self.saturated:
            lines["saturated"] = f"{self.saturated} counts were above 255"
        text = [f"{key:<11}{value}" for key, value in lines.items()]
        return "\n".join(text + [f"{'note':<11}{note}" for note in self.notes])

    def _behaviour_lines(self) -> Iterable[str]:
        for name, trace in self.behaviour.items():
            incomplete = int(np.isnan(trace).any(axis=1).sum())
            if incomplete == self.n_trials:
                yield f"{name} (missing)"
            else:
                yield f"{name} ({incomplete} trials incomplete)" if incomplete else name

    def __repr__(self) -> str:
        return (
            f"<Session {self.title!r}: {self.n_trials} trials x {self.n_bins} bins x "
            f"{self.n_units} units, {len(self.regions)} regions, id {self.id!r}>"
        )

    def __eq__(self, other: object) -> bool:
        """Whether two sessions hold the same data, wherever it is kept."""
        if not isinstance(other, Session):
            return NotImplemented
        plain = ("id", "name", "window", "bin_size", "align", "simulated", "saturated", "notes")
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and dict(self.excluded) == dict(other.excluded)
            and np.array_equal(self.counts, other.counts)
            and self.units.equals(other.units)
            and self.trials.equals(other.trials)
            and self.behaviour.keys() == other.behaviour.keys()
            and all(
                np.array_equal(trace, other.behaviour[name], equal_nan=True)
                for name, trace in self.behaviour.items()
            )
            and _same_rates(self.rates, other.rates)
        )

    __hash__ = None  # type: ignore[assignment]


def titled(name: str, *, simulated: bool) -> str:
    """Return the name of a session as a person should see it."""
    return f"{name} (simulated)" if simulated else name


def anatomical_order(units: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Order of units along the Allen graph, then by depth, probe and cluster."""
    probes = units["probe"].astype("category").cat.codes
    depth = units["depth"].to_numpy(dtype=np.float64)
    return np.lexsort((units["cluster"], probes, depth, region_order(units["region"])))


def _dealt(n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Deal n places to parts 0, 1, 2 in their shares, evenly along the line."""
    sizes = np.floor(np.array(SHARES) * n).astype(int)
    if n >= len(SHARES):
        sizes = np.maximum(sizes, 1)
    sizes[0] += n - sizes.sum()
    where = np.concatenate([(np.arange(k) + rng.random()) / max(k, 1) for k in sizes])
    return np.repeat(np.arange(3), sizes)[np.argsort(where, kind="stable")]


def _check_not_empty(shape: tuple[int, ...], name: str) -> None:
    if 0 in shape:
        n_trials, n_bins, n_units = shape
        raise PreparationError(
            f"A session needs at least one trial, bin and unit; {name} has {n_trials}, {n_bins} "
            f"and {n_units}."
        )


def _indices(selection: npt.ArrayLike | None, n: int, what: str) -> npt.NDArray[np.intp]:
    return np.arange(n) if selection is None else chosen(selection, n, what, PreparationError)


def _acronyms(regions: Sequence[str | None], n_units: int) -> list[str]:
    """Return an acronym per unit, `UNKNOWN` where there is none."""
    if isinstance(regions, str):
        raise PreparationError(f"Regions must be one for each unit, not the text {regions!r}.")
    if len(regions) != n_units:
        raise PreparationError(f"{len(regions)} regions were given for {n_units} units.")
    return [_acronym(region) for region in regions]


def _acronym(region: object) -> str:
    if isinstance(region, str):
        return region or UNKNOWN
    if region is None or region is pd.NA or (isinstance(region, float) and math.isnan(region)):
        return UNKNOWN
    raise PreparationError(f"Regions must be Allen acronyms; {region!r} is none.")


def _table(trials: pd.DataFrame | None, n_trials: int) -> pd.DataFrame:
    if trials is None:
        return pd.DataFrame(index=range(n_trials))
    if not isinstance(trials, pd.DataFrame):
        raise PreparationError("Trials must be a pandas table with a row for each trial.")
    return trials.reset_index(drop=True)


def _floats(
    values: npt.ArrayLike,
    what: str,
    shape: tuple[int, ...],
    *,
    least: float = -_MOST,
    finite: bool = False,
) -> npt.NDArray[np.float32]:
    found = numbers(
        values, what, PreparationError, shape=shape, least=least, most=_MOST, finite=finite
    )
    return found.astype(np.float32)


def _same_rates(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
