"""Wheel and whiskers of the Brain-Wide Map, in a release of its behaviour: `bwm_behavior` 2.0.

Each session is a zip archive in the form "ibl_ai_agent_behavior_session_shard_v2": `meta.json`
says how each array is encoded. Of its kinds of encoding, those that 2.0.0 uses for the wheel and
for the motion energy of cameras are read.
"""

from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt

from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import must_be_regular
from napari_mtm.recording.formats.shards import Packed, checked, described, unpacked
from napari_mtm.recording.traces import Trace

Floats = npt.NDArray[np.float64]

_ENERGY = "whiskerMotionEnergy"
_CAMERAS = ("leftCamera", "rightCamera")
_MOST_SAMPLES = 100_000_000


class _Array(BaseModel):
    """How an array is stored; `encoding` is looked at when it is read."""

    dtype: str = ""
    shape: tuple[NonNegativeInt, ...] = ()
    entry: str = ""
    encoding: dict[str, Any] = {}


class _Arrays(BaseModel):
    arrays: dict[str, _Array]


class _FixedRate(BaseModel):
    start: FiniteFloat
    rate_hz: float = Field(ge=1e-3, le=1e6)
    count: int = Field(ge=0, le=_MOST_SAMPLES)


class _Ticks(BaseModel):
    start: FiniteFloat
    tick_s: FiniteFloat
    ticks_entry: str
    ticks_spec: Packed


class _Scaled(BaseModel):
    precision: FiniteFloat
    entry: str
    payload_spec: Packed


class _Matrix(BaseModel):
    columns: list[str]
    groups: list[dict[str, Any]]


def behaviour_of(release: Path, eid: str) -> Path | None:
    """Find the archive of a session in a release of behaviour in a release, or beside it.

    That is a folder whose name begins with "bwm_behavior", or one in it; the last by name counts.
    """
    places = (release, release.parent, release.parent.parent)
    found = [
        archive
        for place in places
        for form in ("bwm_behavior*", "bwm_behavior*/*")
        for archive in place.glob(f"{form}/sessions/{eid}.zip")
    ]
    return max(found, default=None)


def read_behaviour(path: Path, notes: list[str]) -> tuple[Trace | None, Trace | None]:
    """Return wheel position and whisker motion energy, None where the archive has none.

    What cannot be read is left out, and `notes` say why.
    """
    must_be_regular(path, SourceError)
    try:
        with ZipFile(path) as archive:
            session = _Session(path, archive)
            return session.wheel(), session.whisker()
    except SourceError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  damage may make zipfile raise anything
        reason = f"{path} is damaged or cut short ({in_short(error)}). Download it again."
    notes.append(f"Wheel and whiskers are left out. {reason}")
    return None, None


class _Session:
    """The arrays in the archive of one session."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._arrays = described(_Arrays, self._contents("meta.json"), f"{path}: meta.json").arrays

    def wheel(self) -> Trace | None:
        """Return the wheel's position in rad."""
        if not {"wheel.timestamps", "wheel.position"} <= self._arrays.keys():
            return None
        return self._trace("wheel", self._row("wheel.position"))

    def whisker(self) -> Trace | None:
        """Return whisker motion energy of the left camera, or of the right one."""
        for camera in _CAMERAS:
            if not {f"{camera}.timestamps", f"{camera}.features"} <= self._arrays.keys():
                continue
            values = self._column(f"{camera}.features", _ENERGY)
            if values is not None:
                return self._trace(camera, values)
        return None

    def _trace(self, what: str, values: Floats) -> Trace:
        times = self._row(f"{what}.timestamps")
        try:
            return Trace.clean(times, values)
        except ValueError as error:
            raise SourceError(f"{self._path}: {what} has {error}. Download it again.") from None

    def _row(self, name: str) -> Floats:
        """Return an array of one axis."""
        stored = self._arrays[name]
        said, where = stored.encoding, f"{self._path}: {name}"
        kind = said.get("kind", "raw_blosc")
        if kind == "raw_blosc":
            packed = checked(Packed, {"dtype": stored.dtype, "shape": stored.shape}, where)
            return self._unpacked(stored.entry, packed)
        if kind == "timestamp_fixed_rate":
            grid = checked(_FixedRate, said, where)
            return grid.start + np.arange(grid.count) / grid.rate_hz
        if kind == "timestamp_delta_ticks":
            ticks = checked(_Ticks, said, where)
            return ticks.start + self._unpacked(ticks.ticks_entry, ticks.ticks_spec) * ticks.tick_s
        if kind == "scaled_numeric":
            return self._scaled(checked(_Scaled, said, where))
        raise SourceError(f"{where} is stored as {kind}, which cannot be read.")

    def _column(self, name: str, column: str) -> Floats | None:
        """Return a column of the features of a camera, None where there is none of this name."""
        where = f"{self._path}: {name}"
        matrix = checked(_Matrix, self._arrays[name].encoding, where)
        if column not in matrix.columns:
            return None
        place = matrix.columns.index(column)
        for said in matrix.groups:
            if said.get("columns") == [place] and said.get("kind") == "scaled":
                return self._scaled(checked(_Scaled, said, where))
        raise SourceError(f"{where}: {column} is not stored as scaled numbers; it cannot be read.")

    def _scaled(self, stored: _Scaled) -> Floats:
        """Return numbers that are stored as multiples; the lowest number is none."""
        values = self._unpacked(stored.entry, stored.payload_spec) * stored.precision
        lowest = np.iinfo(stored.payload_spec.dtype).min * stored.precision
        values[values == lowest] = np.nan
        return values

    def _unpacked(self, entry: str, packed: Packed) -> Floats:
        return (
            unpacked(self._contents(entry), packed, f"{self._path}: {entry}")
            .ravel()
            .astype(np.float64)
        )

    def _contents(self, entry: str) -> bytes:
        """Return an entry as it lies in the archive, in which nothing is to be compressed again."""
        about = self._archive.getinfo(entry)
        if about.compress_type != ZIP_STORED or about.file_size > self._path.stat().st_size:
            raise SourceError(f"{self._path}: {entry} is stored in an unknown way.")
        return self._archive.read(about)
