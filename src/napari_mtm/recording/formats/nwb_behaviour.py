"""The wheel and the whiskers in an NWB file, where it names them as IBL's files do."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from napari_mtm.arrays import numbers
from napari_mtm.errors import SourceError
from napari_mtm.recording.formats.hdf5 import Contents
from napari_mtm.recording.traces import Trace

Floats = npt.NDArray[np.float64]

_DEEPEST = 3
"""Groups below a processing module in which series are looked for."""


def wheel_position(file: Contents, notes: list[str]) -> Trace | None:
    """Return the wheel's position in rad; None where there is none."""
    found = _series(file, lambda name: "wheelposition" in name, lambda name: "smooth" in name)
    if found is None:
        return None
    unit = str(file.attribute(f"{found}/data", "unit") or "").casefold()
    if not unit.startswith(("rad", "deg")):
        notes.append(f"The wheel's position is in {unit or 'no unit'}, not rad, and is left out.")
        return None
    return _trace(file, found, "The wheel", notes, np.deg2rad if unit[0] == "d" else np.asarray)


def whisker(file: Contents, notes: list[str]) -> Trace | None:
    """Return the motion energy that the left camera saw, or the right one; None without any."""
    found = _series(
        file,
        lambda name: "motionenergy" in name and "body" not in name,
        lambda name: "left" not in name,
    )
    return None if found is None else _trace(file, found, "Motion energy", notes, np.asarray)


def _series(
    file: Contents, is_wanted: Callable[[str], bool], comes_later: Callable[[str], bool]
) -> str | None:
    """Path of the first series among processed data with a name, in small letters, as wanted."""
    found = [
        (comes_later(name), path)
        for path in _all_series(file, "processing", _DEEPEST + 1)
        if is_wanted(name := re.sub("[^a-z]", "", path.rpartition("/")[2].casefold()))
    ]
    return min(found)[1] if found else None


def _all_series(file: Contents, group: str, levels: int) -> Iterator[str]:
    names = file.names(group)
    if "data" in names:
        yield group
    elif levels:
        for name in names:
            yield from _all_series(file, f"{group}/{name}", levels - 1)


def _trace(
    file: Contents,
    series: str,
    what: str,
    notes: list[str],
    converted: Callable[[Floats], Floats],
) -> Trace | None:
    """A series as a trace; None, with a note, where it is none."""
    try:
        values = _numbers(file, f"{series}/data")
        factor, offset = (
            _factor(file, series, n, d) for n, d in (("conversion", 1), ("offset", 0))
        )
        with np.errstate(over="ignore", invalid="ignore"):  # values may be anything
            values = converted(values * factor + offset)
        return Trace.clean(_times(file, series, len(values)), values)
    except (SourceError, ValueError) as error:
        notes.append(f"{what} is left out: {str(error).rstrip('.')}.")
        return None


def _times(file: Contents, series: str, n: int) -> Floats:
    if f"{series}/timestamps" in file:
        return _numbers(file, f"{series}/timestamps")
    path = f"{series}/starting_time"
    first = numbers(file.values(path), "Its starting time", SourceError, shape=(), finite=True)
    rate = file.attribute(path, "rate")
    rate = numbers(rate, "Its rate", SourceError, shape=(), least=1e-6, finite=True)
    return float(first) + np.arange(n) / float(rate)


def _factor(file: Contents, series: str, name: str, default: float) -> float:
    """A number by which the values in a file differ from those that are meant."""
    number = file.attribute(f"{series}/data", name)
    return default if number is None else float(numbers(number, name, SourceError, shape=()))


def _numbers(file: Contents, path: str) -> Floats:
    values = file.values(path)
    if values is None:
        raise SourceError(f"{path} is not in the file")
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    return np.asarray(numbers(values, path, SourceError), dtype=np.float64)
