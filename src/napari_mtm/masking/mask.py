"""The mask: what is kept from the model, and what of it is scored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_mtm.arrays import chosen, numbers
from napari_mtm.errors import MaskError
from napari_mtm.masking.tasks import FORWARD_SECONDS, Task
from napari_mtm.recording.session import Session

WITHIN_SHARE = 0.3
"""Of a region's units, those that `Mask.within_region` hides where none are named."""

_MOST_NAMES = 3


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """What of a trial is kept from the model, and what of that is scored.

    Masks of one session combine: `|` hides what either hides, `&` what both hide,
    `~` what was visible, and scores it. Masks are equal if they hide and score the
    same and are the same task.

    Attributes
    ----------
    hidden, scored
        (bins, units) bool, read-only. Only what is hidden can be scored.
    units, regions
        Uuid and region of each unit.
    window, bin_size
        As in `Session`.
    asked
        The task that was meant, for masks that are several tasks at once: the only
        unit of a region is both that region and that unit. Combining forgets it.

    """

    hidden: npt.NDArray[np.bool_]
    scored: npt.NDArray[np.bool_]
    units: tuple[str, ...]
    regions: tuple[str, ...]
    window: tuple[float, float]
    bin_size: float
    asked: Task | None = None

    def __post_init__(self) -> None:
        for name in ("hidden", "scored"):
            own = np.array(getattr(self, name), dtype=bool, order="C")
            own.setflags(write=False)
            object.__setattr__(self, name, own)
        shape = self.hidden.shape
        named = {len(self.units), len(self.regions)}
        if self.scored.shape != shape or len(shape) != 2 or named != {shape[1]}:
            raise MaskError(
                f"The parts of a mask disagree: hidden is {shape}, scored {self.scored.shape}, "
                f"{len(self.units)} units are named, and {len(self.regions)} regions of theirs."
            )
        visible = int((self.scored & ~self.hidden).sum())
        if visible:
            raise MaskError(f"Only what is hidden can be scored; {visible} entries are not hidden.")

    @classmethod
    def nothing(cls, session: Session) -> "Mask":
        """Hide nothing."""
        return cls._of_units(session, np.zeros(session.n_units, dtype=bool))

    @classmethod
    def neurons(cls, session: Session, units: npt.ArrayLike) -> "Mask":
        """Hide units in all bins: co-smoothing.

        `units` is an index or uuid, several of these, or a boolean per unit.
        """
        return cls._of_units(session, _chosen_units(session, units), asked="neuron")

    @classmethod
    def region(cls, session: Session, name: str | Iterable[str]) -> "Mask":
        """Hide one region, or several, in all bins."""
        names = [name] if isinstance(name, str) else list(name)
        return cls._of_units(session, _in_regions(session, names), asked="inter-region")

    @classmethod
    def within_region(
        cls, session: Session, name: str, units: npt.ArrayLike | None = None, *, seed: int = 0
    ) -> "Mask":
        """Hide everything outside a region, and some of its units, which are scored.

        `units` are named as for `neurons`, and must lie in the region. By default
        they are a random 30% of the region's units, at least one, the same for the
        same seed.
        """
        inside = _in_regions(session, [name])
        if units is None:
            chosen = _random_part(inside, seed)
        else:
            chosen = _chosen_units(session, units)
            if (chosen & ~inside).any():
                stray = int(np.argmax(chosen & ~inside))
                where = session.units["region"].iloc[stray]
                raise MaskError(f"Unit {stray} lies in {where}, not in {name}.")
        return cls._of_units(session, ~inside | chosen, chosen, asked="intra-region")

    @classmethod
    def forward(cls, session: Session, start: float | None = None) -> "Mask":
        """Hide all units from a time on, in seconds from the alignment event.

        The bin that holds `start` is hidden too. By default the last 0.2 s are hidden, or, of a
        window that has no more, its second half.
        """
        begin, end = session.window
        start = forecast_start(session) if start is None else start
        start = float(numbers(start, "The start of a forecast", MaskError, shape=()))
        # A start on the edge of a bin may fall just short of it in floating point.
        place = (start - begin) / session.bin_size + 1e-6
        if not 0 <= place < session.n_bins:
            raise MaskError(
                f"A forecast from {start:g} s is outside the window, "
                f"which goes from {begin:g} to {end:g} s."
            )
        later = np.arange(session.n_bins) >= int(place)
        hidden = np.repeat(later[:, None], session.n_units, axis=1)
        return cls._of(session, hidden, hidden, asked="causal")

    @classmethod
    def from_array(
        cls, session: Session, hidden: npt.ArrayLike, scored: npt.ArrayLike | None = None
    ) -> "Mask":
        """Hide what an array says, and score it, or the part of it that `scored` says.

        Arrays hold true and false, or 1 and 0, and are (bins, units), (units,),
        (1, units) or (bins, 1).
        """
        raster = _raster(session, hidden)
        return cls._of(session, raster, raster if scored is None else _raster(session, scored))

    @classmethod
    def _of(
        cls,
        session: Session,
        hidden: npt.NDArray[np.bool_],
        scored: npt.NDArray[np.bool_],
        asked: Task | None = None,
    ) -> "Mask":
        units, regions = (tuple(session.units[name].tolist()) for name in ("uuid", "region"))
        return cls(hidden, scored, units, regions, session.window, session.bin_size, asked)

    @classmethod
    def _of_units(
        cls,
        session: Session,
        hidden: npt.NDArray[np.bool_],
        scored: npt.NDArray[np.bool_] | None = None,
        asked: Task | None = None,
    ) -> "Mask":
        scored = hidden if scored is None else scored
        shape = (session.n_bins, session.n_units)
        return cls._of(
            session, np.broadcast_to(hidden, shape), np.broadcast_to(scored, shape), asked
        )

    def __or__(self, other: "Mask") -> "Mask":
        if not isinstance(other, Mask):
            return NotImplemented
        self._check_alike(other)
        return self._with(self.hidden | other.hidden, self.scored | other.scored)

    def __and__(self, other: "Mask") -> "Mask":
        if not isinstance(other, Mask):
            return NotImplemented
        self._check_alike(other)
        return self._with(self.hidden & other.hidden, self.scored & other.scored)

    def __invert__(self) -> "Mask":
        return self._with(~self.hidden, ~self.hidden)

    def _with(self, hidden: npt.NDArray[np.bool_], scored: npt.NDArray[np.bool_]) -> "Mask":
        return Mask(hidden, scored, self.units, self.regions, self.window, self.bin_size)

    def check(self, session: Session) -> None:
        """Raise MaskError unless the mask is of a session: of its bins, units and window."""
        differs = self._differs(Mask.nothing(session))
        if differs:
            bins, units = self.hidden.shape
            raise MaskError(
                f"The mask ({bins} bins, {units} units) is of another session than {session.title} "
                f"({session.n_bins} bins, {session.n_units} units): they differ in their {differs}."
            )

    def _check_alike(self, other: "Mask") -> None:
        differs = self._differs(other)
        if differs:
            raise MaskError(f"Only masks of one session combine; these differ in their {differs}.")

    def _differs(self, other: "Mask") -> str:
        """Say in which part another mask is of another session, nothing where in none."""
        parts = {
            "shape": (self.hidden.shape, other.hidden.shape),
            "units": (self.units, other.units),
            "regions": (self.regions, other.regions),
            "window": (self.window, other.window),
            "bin width": (self.bin_size, other.bin_size),
        }
        return next((part for part, (mine, theirs) in parts.items() if mine != theirs), "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return (
            np.array_equal(self.hidden, other.hidden)
            and np.array_equal(self.scored, other.scored)
            and all(
                getattr(self, name) == getattr(other, name)
                for name in ("units", "regions", "window", "bin_size", "task")
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Mask: {self.describe()}>"

    @property
    def fraction(self) -> float:
        """Share of the bins and units that is hidden."""
        return float(self.hidden.mean())

    @cached_property
    def task(self) -> Task | None:
        """Which of the paper's tasks the mask is, None if it is none of them.

        A mask that leaves nothing visible is none, save for `intra-region` of a
        unit that is alone in its region.
        """
        fits = self._fitting_tasks()
        if self.asked in fits:
            return self.asked
        return fits[0] if fits else None

    @property
    def prompt(self) -> Task:
        """The task, or for a mask that is none the task to prompt a model with."""
        if self.task is not None:
            return self.task
        if self._whole_regions():
            return "inter-region"
        return "causal" if self.hidden[-1].all() else "neuron"

    def describe(self) -> str:
        """Say in a short phrase what is hidden."""
        text = self._hidden_phrase()
        if self.task is None and self.scored.sum() < self.hidden.sum():
            share = self.scored.sum() / self.hidden.sum()
            text += f", of which {_percent(share)} is scored"
        return text

    @cached_property
    def _units(self) -> npt.NDArray[np.bool_]:
        """The units that are hidden in all bins."""
        return _in_all_bins(self.hidden)

    @property
    def _hides_units(self) -> bool:
        """Whether each unit is hidden in all bins or in none."""
        return bool((self.hidden == self._units).all())

    @property
    def _forward_bins(self) -> int:
        """Number of bins at the end, if all units are hidden there and only there, else 0."""
        n = int(self.hidden.all(axis=1).sum())
        return n if self.hidden[len(self.hidden) - n :].sum() == self.hidden.sum() else 0

    def _in(self, region: str) -> npt.NDArray[np.bool_]:
        return np.array([r == region for r in self.regions])

    def _regions_of(self, units: npt.NDArray[np.bool_]) -> list[str]:
        """Regions of some units, each once, in the order of the units."""
        return list(dict.fromkeys(r for r, here in zip(self.regions, units, strict=True) if here))

    def _whole_regions(self) -> list[str]:
        """Regions that are hidden whole."""
        seen = set(self._regions_of(~self._units))
        return [r for r in self._regions_of(self._units) if r not in seen]

    def _fitting_tasks(self) -> list[Task]:
        """Tasks that the mask is, the one most likely meant first."""
        fits: list[Task] = []
        if self.hidden.any() and not self.hidden.all() and np.array_equal(self.hidden, self.scored):
            if self._hides_units:
                one_region = len(self._regions_of(self._units)) == len(self._whole_regions()) == 1
                fits += ["inter-region", "neuron"] if one_region else ["neuron"]
            elif self._forward_bins:
                fits += ["causal"]
        if self._is_within_region():
            fits += ["intra-region"]
        return fits

    def _is_within_region(self) -> bool:
        scored = _in_all_bins(self.scored)
        homes = self._regions_of(scored)
        if len(homes) != 1 or not self._hides_units or not (self.scored == scored).all():
            return False
        inside = self._in(homes[0])
        something_is_left = inside.sum() == 1 or not scored[inside].all()
        return something_is_left and np.array_equal(self._units, scored | ~inside)

    def _hidden_phrase(self) -> str:
        if not self.hidden.any():
            return "nothing"
        if self.task == "intra-region" and len(set(self.regions)) > 1:
            return self._within_region_phrase()
        if self.hidden.all():
            return "everything"
        if self._forward_bins:
            return f"the last {self._forward_bins * self.bin_size * 1e3:g} ms of all units"
        if self._hides_units:
            return self._units_phrase()
        names = self._regions_of(~_in_all_bins(~self.hidden))
        where = f", in {_listed(names)}" if len(names) < len(set(self.regions)) else ""
        return f"{_percent(self.fraction)} of the raster{where}"

    def _within_region_phrase(self) -> str:
        scored = _in_all_bins(self.scored)
        home = self._regions_of(scored)[0]
        size = self._in(home).sum()
        units = "its only unit" if size == 1 else f"{scored.sum()} of its {size} units"
        return f"everything outside {home}, and {units}"

    def _units_phrase(self) -> str:
        names = self._regions_of(self._units)
        n = int(self._units.sum())
        count = "1 unit" if n == 1 else f"{n} units"
        whole = names == self._whole_regions()
        if len(names) > 1:
            return f"{_listed(names)} ({count})" if whole else count
        if whole:
            count = "the only unit" if n == 1 else f"all {count}"
        return f"{count} of {names[0]}"


def forecast_start(session: Session) -> float:
    """Return from when on a forecast hides all, in seconds, where nothing else is said."""
    begin, end = session.window
    long = end - begin > FORWARD_SECONDS + 1e-6
    return end - FORWARD_SECONDS if long else (begin + end) / 2


def _in_all_bins(raster: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(raster.all(axis=0))


def _chosen_units(session: Session, units: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Mark the units that indices, uuids or a boolean per unit name."""
    names = np.ravel(np.asarray(units, dtype=object)).tolist()
    uuids = [name for name in names if isinstance(name, str)]
    given = _indices_of(session, uuids) if uuids and len(uuids) == len(names) else units
    what = f"Units of session {session.id} that are not named by uuid"
    marked = np.zeros(session.n_units, dtype=bool)
    marked[chosen(given, session.n_units, what, MaskError)] = True
    return marked


def _indices_of(session: Session, uuids: Sequence[str]) -> list[int]:
    place = {uuid: i for i, uuid in enumerate(session.units["uuid"])}
    unknown = next((uuid for uuid in uuids if uuid not in place), None)
    if unknown is not None:
        raise MaskError(f"Session {session.id} has no unit {unknown!r}.")
    return [place[uuid] for uuid in uuids]


def _in_regions(session: Session, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Mark the units of some regions."""
    there = [r.name for r in session.regions]
    unknown = next((name for name in names if name not in there), None)
    if unknown is not None:
        raise MaskError(
            f"Session {session.id} has no region {unknown!r}; there are {', '.join(there)}."
        )
    return session.units["region"].isin(names).to_numpy(dtype=bool)


def _random_part(units: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    indices = np.flatnonzero(units)
    n = max(1, round(WITHIN_SHARE * len(indices)))
    part = np.zeros_like(units)
    part[np.random.default_rng(seed).choice(indices, n, replace=False)] = True
    return part


def _raster(session: Session, given: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    array = numbers(given, "A mask", MaskError, kind="bool", ndim=None)
    bins, units = session.n_bins, session.n_units
    if array.shape not in {(bins, units), (units,), (1, units), (bins, 1)}:
        raise MaskError(
            f"A mask of this session must be {bins} bins x {units} units; this one is "
            f"{array.shape}."
        )
    return np.broadcast_to(array, (bins, units))


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < share < 1 else f"{share:.0%}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMES:
        return f"{len(names)} regions"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
