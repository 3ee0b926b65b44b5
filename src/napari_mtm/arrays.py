"""The one place where numbers that come from outside are checked: kind, shape, size, finiteness.

What comes from a file or a caller may be anything that numpy can hold: complex, masked, text,
another machine's byte order. What goes on from here is plain.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_mtm.errors import MtmError

Kind = Literal["real", "whole", "bool"]

_SAID = {"real": "numbers", "whole": "whole numbers", "bool": "true and false, or 1 and 0"}
_CHUNK = 1 << 22


def numbers(
    values: object,
    what: str,
    error: type[MtmError],
    *,
    kind: Kind = "real",
    ndim: int | None = 1,
    shape: tuple[int, ...] | None = None,
    least: float | None = None,
    most: float | None = None,
    finite: bool = False,
) -> npt.NDArray[Any]:
    """Return values as an array of plain numbers in this machine's byte order.

    Parameters
    ----------
    values
        Anything; an array that is plain already is returned as it is, without a copy.
    what
        What the values are, to begin a sentence with.
    error
        What is raised, with a sentence, where they are not as they must be.
    kind
        "real" numbers; "whole" ones, which may come as floats and are given as integers of
        at most 64 bits with a sign; or "bool", which may come as 1 and 0.
    ndim, shape
        How many axes, None for any number; or the whole shape.
    least, most
        Bounds, which NaN is never beyond.
    finite
        Whether NaN and infinite numbers are refused.

    """
    array = _plain(values, what, error, kind)
    if shape is not None and array.shape != shape:
        raise error(f"{what} must be of shape {shape}; this one is {array.shape}.")
    if shape is None and ndim is not None and array.ndim != ndim:
        axes = "one axis" if ndim == 1 else f"{ndim} axes"
        raise error(f"{what} must have {axes}; the shape is {array.shape}.")
    if kind == "bool":
        return _as_bool(array, what, error)
    if kind == "whole":
        array = _as_whole(array, what, error)
    _check_values(array, what, error, least=least, most=most, finite=finite)
    return array


def chosen(selection: object, n: int, what: str, error: type[MtmError]) -> npt.NDArray[np.intp]:
    """Return the indices of those of n things that a selection names, in its order.

    It is an index from 0 on, several of them, or a boolean for each thing; anything else
    raises `error`, in a sentence that begins with `what`, such as "Trials".
    """
    told = f"{what} are chosen by indices from 0 to {n - 1}, or by a boolean for each"
    try:
        given = np.atleast_1d(np.asarray(selection))
    except (TypeError, ValueError):
        raise error(f"{told}, all in one row.") from None
    if given.ndim != 1 or (given.dtype == bool and len(given) != n):
        raise error(f"{told}; what is given is of shape {given.shape}.")
    if given.dtype == bool:
        return np.flatnonzero(given)
    if given.size and given.dtype.kind not in "iu":
        raise error(f"{told}; what is given is of type {given.dtype}.")
    wrong = given[(given < 0) | (given >= n)] if given.size else given
    if len(wrong):
        raise error(f"{told}; there is no {wrong[0]}.")
    return given.astype(np.intp)


def _plain(values: object, what: str, error: type[MtmError], kind: Kind) -> npt.NDArray[Any]:
    """Take away masks that mask nothing and foreign byte orders; refuse what is no number."""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise error(f"{what} must not be masked; fill in or leave out what is.")
        values = values.data
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise error(f"{what} must be {_SAID[kind]}, as many in each row.") from None
    if array.dtype.kind not in "biuf":
        found = "text" if array.dtype.kind in "US" else f"of type {array.dtype}"
        raise error(f"{what} must be {_SAID[kind]}; what is there is {found}.")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):  # too narrow for bounds
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _as_bool(array: npt.NDArray[Any], what: str, error: type[MtmError]) -> npt.NDArray[Any]:
    if array.dtype == bool:
        return array
    if not np.isin(array, (0, 1)).all():
        raise error(f"{what} must be {_SAID['bool']}.")
    return array.astype(bool)


def _as_whole(array: npt.NDArray[Any], what: str, error: type[MtmError]) -> npt.NDArray[Any]:
    """Give floats that are whole, and what is too wide for 64 bits with a sign, as integers."""
    if array.dtype == bool:
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        # Beyond 2**53 a float no longer tells neighbours apart.
        if not (np.isfinite(array).all() and (np.abs(array) <= 2**53).all()):
            raise error(f"{what} must be whole numbers, without NaN and infinite ones.")
        whole = array.astype(np.int64)
        if not (whole == array).all():
            raise error(f"{what} must be whole numbers; there are fractions.")
        return whole
    if array.dtype == np.uint64:
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise error(f"{what} must be whole numbers below 2**63.")
        return array.astype(np.int64)
    return array


def _check_values(
    array: npt.NDArray[Any],
    what: str,
    error: type[MtmError],
    *,
    least: float | None,
    most: float | None,
    finite: bool,
) -> None:
    """Raise where a value is out of bounds; in pieces, as arrays may be larger than memory."""
    finite = finite and array.dtype.kind == "f"
    if not finite and least is None and most is None:
        return
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        if finite and not np.isfinite(part).all():
            raise error(f"{what} must be finite; there are NaN or infinite ones.")
        if least is not None and (part < least).any():
            raise error(f"{what} must be {least:g} or more; the least is {np.nanmin(part):g}.")
        if most is not None and (part > most).any():
            raise error(f"{what} must be at most {most:g}; the most is {np.nanmax(part):g}.")
