"""The store: a prepared session in one file that opens memory-mapped.

A store is a safetensors file. The file is mapped, not read; the names, texts and
settings are JSON in its header, which has a checksum over all that is in it. Every
array has checksums, too; those of small arrays and of stores up to `CHECKED_BYTES`
are compared at each opening, those of larger ones when asked for, so that opening
takes the same time whatever the size.

A store is replaced, never written into: who has it open keeps the old file.
"""

import json
import math
import os
import re
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_mtm.arrays import numbers
from napari_mtm.errors import PreparationError, StoreError
from napari_mtm.files import is_folder, reading, replacing
from napari_mtm.recording.session import Session, titled
from napari_mtm.records import dump, parse

FORMAT = "napari-mtm session"
VERSION = 2
_MARK = b'{"__metadata__":{"format":"' + FORMAT.encode() + b'"'
SUFFIX = ".mtm"

_NOT_IN_NAMES = re.compile(r'[ /\\:*?"<>|]')
"""What names of files had better not hold, or cannot on Windows."""

CHECKED_BYTES = 100_000_000
"""Stores up to this size are compared with their checksums in full when opened."""

_BLOCK = 8_000_000
_LONGEST_HEADER = 100_000_000
_DTYPES = {
    "U8": "u1",
    "I8": "i1",
    "U16": "u2",
    "I16": "i2",
    "U32": "u4",
    "I32": "i4",
    "U64": "u8",
    "I64": "i8",
    "F16": "f2",
    "F32": "f4",
    "F64": "f8",
    "BOOL": "b1",
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class _Column(BaseModel):
    """A table's column: the name of its array, or its texts."""

    model_config = ConfigDict(extra="forbid")
    name: str
    array: str | None = None
    texts: list[str] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.array is None) == (self.texts is None):
            raise ValueError(f"column {self.name[:40]!r} must be an array or texts")
        return self


class _Tensor(BaseModel):
    """Where an array lies in the file, as safetensors has it."""

    model_config = ConfigDict(extra="forbid")
    dtype: str
    shape: list[Annotated[int, Field(ge=0)]]
    data_offsets: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class _Header(BaseModel):
    """What a store holds besides arrays."""

    model_config = ConfigDict(extra="forbid")
    id: str
    name: str
    window: tuple[float, float]
    bin_size: float
    align: str
    simulated: bool
    excluded: dict[str, int]
    saturated: int
    notes: list[str]
    n_trials: int
    units: list[_Column]
    trials: list[_Column]
    behaviour: list[str]
    checksums: dict[str, list[int]]


def save_session(session: Session, path: str | Path, *, origin: str = "") -> None:
    """Write a session as a store, beside `path` first and then in its place.

    `origin` names what the session was made of, for `store_origin`. Raises
    StoreError where it cannot be written; nothing half-written is left.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"counts": session.counts}
    if session.rates is not None:
        arrays["rates"] = session.rates
    for name, trace in session.behaviour.items():
        arrays[f"behaviour/{name}"] = trace
    units = _split("units", session.units, arrays)
    trials = _split("trials", session.trials, arrays)
    # Wider types first, so that every array is aligned.
    arrays = {
        name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<"))
        for name, a in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    }
    header = _Header(
        id=session.id,
        name=session.name,
        window=session.window,
        bin_size=session.bin_size,
        align=session.align,
        simulated=session.simulated,
        excluded=dict(session.excluded),
        saturated=session.saturated,
        notes=list(session.notes),
        n_trials=session.n_trials,
        units=units,
        trials=trials,
        behaviour=list(session.behaviour),
        checksums={name: _checksums(a) for name, a in arrays.items()},
    )
    head = _encode(header, arrays, origin)
    with replacing(Path(path)) as file:
        file.write(head)
        for array in arrays.values():
            file.write(_bytes(array))


def open_store(path: Path, *, verify: bool = False) -> Session:
    """Open a store; counts and rates are read-only maps of the file.

    With `verify`, every byte is compared with its checksum however large the
    store is. Raises StoreError where the file is damaged, from a newer version,
    or no store at all.
    """
    layout = _read_layout(path)
    header = layout.header
    everything = verify or layout.size <= CHECKED_BYTES
    arrays = {}
    for name, checksums in header.checksums.items():
        array = layout.array(name)
        compared = everything or array.nbytes <= _BLOCK
        if compared and _checksums(array) != checksums:
            raise StoreError(
                f"{path} is damaged: {name} does not match its checksum. Prepare it again."
            )
        if compared and name == "rates":
            numbers(array, f"{path} is damaged: rates", StoreError, ndim=3, least=0, finite=True)
        arrays[name] = array
    try:
        return Session(
            id=header.id,
            name=header.name,
            counts=arrays["counts"],
            units=_join(header.units, arrays, arrays["counts"].shape[2]),
            trials=_join(header.trials, arrays, header.n_trials),
            behaviour={name: arrays[f"behaviour/{name}"] for name in header.behaviour},
            window=header.window,
            bin_size=header.bin_size,
            align=header.align,
            rates=arrays.get("rates"),
            simulated=header.simulated,
            excluded=header.excluded,
            saturated=header.saturated,
            notes=tuple(header.notes),
        )
    except (KeyError, IndexError, ValueError, PreparationError) as error:
        raise StoreError(f"{path} is damaged: its parts do not fit ({error}).") from None


def store_of(session: Session) -> Path | None:
    """Return the store that a session was opened from, if all of the session is still there."""
    array: object = session.counts
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            path = Path(array.filename)
            return path if is_store(path) and _holds_all_of(path, session) else None
        array = array.base
    return None


def _holds_all_of(path: Path, session: Session) -> bool:
    try:
        layout = _read_layout(path)
        shape = layout.array("counts").shape
    except StoreError:
        return False
    behaviour = set(session.behaviour) <= set(layout.header.behaviour)
    return layout.header.id == session.id and shape == session.counts.shape and behaviour


def store_title(path: Path) -> str:
    """Name of the session in a store, from its header alone; raises StoreError as `open_store`."""
    header = _read_layout(path).header
    return titled(header.name, simulated=header.simulated)


def store_id(path: Path) -> str:
    """Id of the session in a store, from its header alone; raises StoreError as `open_store`."""
    return _read_layout(path).header.id


def store_origin(path: Path) -> str:
    """What a store's session was made of, as it was saved with it; empty if nothing was said."""
    return _read_layout(path).origin


def store_path(out: Path, name: str) -> Path:
    """Where to write a store: `out` itself, or in the folder `out` under the session's name."""
    return out / (_NOT_IN_NAMES.sub("_", name) + SUFFIX) if is_folder(out) else out


def is_store(path: Path) -> bool:
    """Whether a file is a store by its header; says nothing about its arrays."""
    try:
        with reading(path, StoreError) as file:
            return file.read(8 + len(_MARK))[8:] == _MARK
    except StoreError:
        return False


@dataclass(frozen=True)
class _Layout:
    """Where the arrays of a store lie in its file, which is `size` bytes long."""

    path: Path
    header: _Header
    origin: str
    tensors: Mapping[str, _Tensor]
    start: int
    size: int

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a read-only map of an array."""
        about = self.tensors.get(name)
        if about is None or about.dtype not in _DTYPES:
            raise StoreError(f"{self.path} is damaged: {name} is not described.")
        dtype = np.dtype(_DTYPES[about.dtype]).newbyteorder("<")
        first, last = about.data_offsets
        if last - first != math.prod(about.shape) * dtype.itemsize:
            raise StoreError(f"{self.path} is damaged: {name} has the wrong size.")
        if self.start + last > self.size:
            raise StoreError(
                f"{self.path} is cut short: {self.size} bytes of {self.start + last}. "
                "Prepare it again."
            )
        part = self._file[self.start + first : self.start + last]
        return part.view(dtype).reshape(about.shape)

    @cached_property
    def _file(self) -> npt.NDArray[np.uint8]:
        """The whole file: a map for each array would keep as many files open."""
        try:
            return np.memmap(self.path, np.uint8, "r", shape=(self.size,))
        except (OSError, ValueError) as error:
            raise StoreError(f"Cannot read {self.path}: {error}.") from None


def _encode(header: _Header, arrays: Mapping[str, npt.NDArray[Any]], origin: str) -> bytes:
    """Write what comes before the arrays: the length of a JSON text, and the text.

    The format is safetensors', written here so that arrays go to the file without
    a copy in memory, and so that the same session gives the same bytes.
    """
    tensors: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        tensors[name] = {
            "dtype": _NAMES[array.dtype.str.lstrip("<|=")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "session": dump(header).decode(),
        "origin": origin,
    }
    metadata["checksum"] = _checksum_of_header(metadata, tensors)
    text = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin aligned
    return len(text).to_bytes(8, "little") + text


def _checksum_of_header(metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    """Checksum of all that a header says, but for the checksum itself."""
    said = [{k: v for k, v in metadata.items() if k != "checksum"}, tensors]
    return str(zlib.crc32(json.dumps(said, sort_keys=True).encode()))


def _read_layout(path: Path) -> _Layout:
    with reading(path, StoreError) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        text = file.read(len(_MARK))
        if text != _MARK:
            raise StoreError(f"{path} is not a prepared session, or cut short.")
        if not len(_MARK) < length <= min(size - 8, _LONGEST_HEADER):
            raise StoreError(f"{path} is cut short. Prepare it again.")
        text += file.read(length - len(_MARK))
    try:
        tensors = json.loads(text)
        metadata = tensors.pop("__metadata__")
        version = int(metadata["version"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise StoreError(f"{path} is damaged: its header cannot be read.") from None
    if version != VERSION:
        age, mend = (
            ("newer", "Update napari-mtm, or prepare the session again.")
            if version > VERSION
            else ("older", "Prepare the session again.")
        )
        raise StoreError(
            f"{path} is from {'a' if version > VERSION else 'an'} {age} napari-mtm (store version "
            f"{version}, this one reads {VERSION}). {mend}"
        )
    if metadata.get("checksum") != _checksum_of_header(metadata, tensors):
        raise StoreError(f"{path} is damaged: its header does not match its checksum.")
    return _Layout(
        path=path,
        header=parse(_Header, str(metadata.get("session")), path, StoreError),
        origin=str(metadata.get("origin")),
        tensors=parse(dict[str, _Tensor], json.dumps(tensors), path, StoreError),
        start=8 + length,
        size=size,
    )


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    """The memory of a contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _checksums(array: npt.NDArray[Any]) -> list[int]:
    """CRC of each block of an array, computed on all cores."""
    if array.nbytes == 0:
        return []
    flat = _bytes(np.ascontiguousarray(array))
    blocks = [flat[i : i + _BLOCK] for i in range(0, len(flat), _BLOCK)]
    if len(blocks) == 1:
        return [zlib.crc32(blocks[0])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(zlib.crc32, blocks))


def _split(table: str, frame: pd.DataFrame, arrays: dict[str, Any]) -> list[_Column]:
    """Put a table's numeric columns among the arrays; describe all columns in order."""
    if not frame.columns.is_unique:
        raise StoreError(f"The {table} table has two columns of one name; rename one of them.")
    columns = []
    for name in frame:
        values = _values(frame[name])
        if values.dtype.kind in "iufb":
            arrays[f"{table}/{name}"] = values
            columns.append(_Column(name=str(name), array=f"{table}/{name}"))
        else:
            columns.append(_Column(name=str(name), texts=[str(v) for v in values]))
    return columns


def _values(column: "pd.Series[Any]") -> npt.NDArray[Any]:
    """Return a column's values, numbers as numpy has them: what is missing is NaN."""
    if pd.api.types.is_extension_array_dtype(column) and pd.api.types.is_numeric_dtype(column):
        missing = bool(column.isna().any())
        return np.array(column.astype("float64") if missing else column.tolist())
    values = column.to_numpy()
    return values.astype(np.float64) if values.dtype == np.longdouble else values


def _join(columns: list[_Column], arrays: Mapping[str, Any], n: int) -> pd.DataFrame:
    data = {c.name: np.array(arrays[c.array]) if c.array is not None else c.texts for c in columns}
    return pd.DataFrame(data, index=range(n))
