"""Arrays of Brain-Wide Map releases: JSON that describes them, and bytes that `blosc` unpacks."""

import json
import math
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError

from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import reading
from napari_mtm.recording.spikes import spikes_per_cluster
from napari_mtm.records import LONGEST, first_problem

M = TypeVar("M", bound=BaseModel)

SPIKE_FILES = (
    "meta.json",
    "spike_times_delta_ticks.blosc",
    "spike_clusters.blosc",
    "cluster_ids.blosc",
    "cluster_spike_counts.blosc",
)
"""What lies in the folder of a probe."""

_NUMBERS = re.compile(r"[<|]([iu][1248]|f[248])")
_HEADER = 16
"""Bytes before the first that is packed."""
_LAST_TICK = 2**53


class Packed(BaseModel):
    """What a release says of an array: its type, in numpy's words, and its shape."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]


class _Spikes(BaseModel):
    """What matters of what a release says of a probe's spikes."""

    n_spikes: NonNegativeInt
    time_encoding: Literal["delta_int_ticks"]
    time_quantization_us: PositiveInt
    time_origin_ticks: int = Field(default=0, ge=-_LAST_TICK, le=_LAST_TICK)
    cluster_encoding: Literal["dense_local_indices"]
    arrays: dict[str, Packed]


def described(kind: type[M], text: bytes, where: object) -> M:
    """Return what a JSON text says, as `checked`."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(where, "it is no JSON") from None
    return checked(kind, said, where)


def checked(kind: type[M], said: object, where: object) -> M:
    """Return what somebody else's JSON says, of which only the fields of the model matter.

    Raises SourceError where one of them is missing or not as it must be.
    """
    try:
        return kind.model_validate(said)
    except ValidationError as problem:
        raise SourceError(
            f"{where} is damaged, or of another version: {first_problem(problem)}."
        ) from None


def unpacked(payload: bytes, packed: Packed, where: object) -> npt.NDArray[Any]:
    """Return the array in a payload; raise SourceError unless it is as large as is said of it."""
    if not _NUMBERS.fullmatch(packed.dtype):
        raise SourceError(f"{where} holds numbers of the unknown type {packed.dtype}.")
    dtype = np.dtype(packed.dtype)
    size = math.prod(packed.shape) * dtype.itemsize
    if size == 0:
        return np.empty(packed.shape, dtype=dtype)
    try:
        import blosc
    except ImportError:
        raise SourceError(
            'Brain-Wide Map releases are read with blosc: pip install "napari-mtm[bwm]".'
        ) from None
    try:
        whole = (
            len(payload) >= _HEADER
            and blosc.get_cbuffer_sizes(payload)[:2] == (size, len(payload))
            and blosc.cbuffer_validate(payload)
        )
        raw = blosc.decompress(payload) if whole else b""
    except Exception as error:  # noqa: BLE001  damage may make blosc raise anything
        raise _damaged(where, in_short(error)) from None
    if len(raw) != size:
        raise _damaged(where, f"it should unpack to {size} bytes")
    return np.frombuffer(raw, dtype=dtype).reshape(packed.shape)


def read_spikes(
    folder: Path,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.integer], pd.Series]:
    """Return times in seconds and clusters of a probe's spikes, and how many each cluster has."""
    with reading(folder / "meta.json", SourceError) as file:
        about = described(_Spikes, file.read(LONGEST), file.name)
    ids = _array(folder, about, "cluster_ids", "iu")
    counts = _array(folder, about, "cluster_spike_counts", "iu", len(ids))
    index = _array(folder, about, "spike_clusters", "iu", about.n_spikes)
    if len(index) and (index.min() < 0 or index.max() >= len(ids)):
        raise _damaged(folder / "spike_clusters.blosc", f"there are only {len(ids)} clusters")
    number = spikes_per_cluster(index).reindex(range(len(ids)), fill_value=0)
    if not (number.to_numpy() == counts).all():
        raise _damaged(folder / "cluster_spike_counts.blosc", "the spikes are others")
    number.index = pd.Index(ids.astype(np.int64))
    if not number.index.is_unique or (ids < 0).any():
        raise _damaged(folder / "cluster_ids.blosc", "it names a cluster twice, or below 0")
    clusters = ids.take(index)
    del index
    return _times(folder, about), clusters, number


def _times(folder: Path, about: _Spikes) -> npt.NDArray[np.float64]:
    """Return spike times, which are stored as differences and begin at an origin."""
    steps = _array(folder, about, "spike_times_delta_ticks", "u", about.n_spikes)
    times = np.cumsum(steps, dtype=np.float64)  # exact, as these are whole numbers
    if len(times) and times[-1] > _LAST_TICK:
        raise _damaged(folder / "spike_times_delta_ticks.blosc", "its times are too far apart")
    times += about.time_origin_ticks
    times *= about.time_quantization_us
    times /= 1e6
    return times


def _array(
    folder: Path, about: _Spikes, name: str, kinds: str, length: int | None = None
) -> npt.NDArray[Any]:
    """Return one array of a probe, in a row and as long as the others say."""
    path, packed = folder / f"{name}.blosc", about.arrays.get(name)
    if packed is None:
        raise SourceError(f"{folder / 'meta.json'} does not say what {path.name} holds.")
    if len(packed.shape) != 1 or length not in (None, packed.shape[0]):
        raise _damaged(path, f"its shape is {packed.shape} where {length} numbers should be")
    if packed.dtype[1:2] not in kinds:
        raise _damaged(path, f"its numbers are of type {packed.dtype}")
    with reading(path, SourceError) as file:
        return unpacked(file.read(), packed, path)


def _damaged(where: object, reason: str) -> SourceError:
    return SourceError(f"{where} is damaged or cut short: {reason}. Download it again.")
