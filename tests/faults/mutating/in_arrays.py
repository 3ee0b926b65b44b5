"""Damage within npy files: other numbers, types, lengths and axes."""

import ast
import io
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from tests.faults.mutating.mutations import rewriting

_ODD = (np.nan, np.inf, -np.inf, -1, 0, 1, 2**62, -(2**62), 1e300, -1e300, 0.5, 2**31, 1e9)
_TYPES = (
    ">f8",
    ">i4",
    "f4",
    "f2",
    "c16",
    "i1",
    "u8",
    "i8",
    "u2",
    "?",
    "U7",
    "S7",
    "M8[s]",
    "m8[s]",
)
_HEADERS = (
    ("'shape': (", "'shape': (4611686018427387904, "),
    ("'shape': (", "'shape': (-1, "),
    ("'shape': (", "'shape': (0, "),
    ("'shape': (", "'shape': ('a', "),
    ("'shape': (", "'shape': (1000000000, "),
    ("'shape': (", "'shape': (True, "),
    ("'fortran_order': False", "'fortran_order': True"),
    ("'fortran_order': False", "'fortran_order': None"),
    ("'descr': '<", "'descr': '>"),
    ("'descr': '<", "'descr': '|O"),
    ("'descr': ", "'descr': 3"),
    ("'descr': ", "'other': "),
    ("{", "{" * 60),
    ("{", "(" * 9000),
    ("}", ""),
    (",", "\0"),
)


def written(array: Any) -> bytes:
    """Return an array as an npy file; objects are pickled."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def as_another_type(array: np.ndarray, chance: Random) -> Any:
    kind = chance.choice((*_TYPES, "structured", "object", "named"))
    if kind == "structured":
        return np.array([(1, 2.0)] * len(array), dtype=[("a", "i4"), ("b", "f8")])
    if kind == "object":
        return np.array([{"a": 1}, None, *array.tolist()], dtype=object)
    if kind == "named":
        return np.array([f"word {value}" for value in array.ravel()])
    with np.errstate(all="ignore"):
        return array.astype(kind if kind[0] not in "Mm" else "i8").astype(kind)


def with_other_axes(array: np.ndarray, chance: Random) -> Any:
    made: Callable[[], Any] = chance.choice(
        (
            lambda: array[None],
            lambda: array[..., None],
            lambda: array[:, None, None],
            lambda: array.ravel()[0],
            lambda: np.stack([array, array], axis=-1),
            lambda: array.T,
            array.ravel,
            lambda: np.zeros((0, 3), array.dtype),
            lambda: np.zeros((3, 0), array.dtype),
            lambda: np.zeros((len(array), 0), array.dtype),
            lambda: np.asfortranarray(np.stack([array, array])),
            lambda: array.reshape((1,) * 20 + array.shape),
        )
    )
    return made()


def of_another_length(array: np.ndarray, chance: Random) -> Any:
    n = len(array)
    rows = chance.choice((0, 1, 2, n - 1, n + 1, 2 * n, n // 2))
    return np.resize(array, (rows, *array.shape[1:])) if rows > n else array[:rows]


def with_odd_numbers(array: np.ndarray, chance: Random) -> Any:
    odd = chance.choice(_ODD)
    if array.dtype.kind not in "fc" and not np.isfinite(odd):
        odd = chance.choice((-1, 2**62, np.iinfo(array.dtype).max))
    kind = array.dtype
    if kind.kind in "iu" and not np.iinfo(kind).min <= odd <= np.iinfo(kind).max:
        kind = np.dtype("i8" if abs(odd) < 2**63 else "f8")
    changed = array.astype(kind)
    flat = changed.reshape(-1)
    n = chance.choice((1, 1, 3, len(flat)))
    for place in range(n) if n == len(flat) else (chance.randrange(len(flat)) for _ in range(n)):
        flat[place] = odd
    return changed


def in_another_order(array: np.ndarray, chance: Random) -> Any:
    rows = list(range(len(array)))
    chance.shuffle(rows)
    return array[chance.choice((rows, rows[:1] * len(rows), rows[::-1], sorted(rows)[::-1]))]


def _of_array(change: Callable[[np.ndarray, Random], Any]) -> Callable[[bytes, Random], bytes]:
    def changed(data: bytes, chance: Random) -> bytes:
        return written(change(np.load(io.BytesIO(data)), chance))

    changed.__name__ = change.__name__
    return changed


def another_header(data: bytes, chance: Random) -> bytes:
    """Change the text of the header, and keep its length right."""
    length = int.from_bytes(data[8:10], "little")
    text = data[10 : 10 + length].decode("latin1").rstrip()
    assert isinstance(ast.literal_eval(text), dict)
    old, new = chance.choice(_HEADERS)
    text = text.replace(old, new, 1)
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return data[:8] + len(text).to_bytes(2, "little") + text.encode("latin1") + data[10 + length :]


def archive_of_arrays(data: bytes, chance: Random) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.load(io.BytesIO(data)))
    return file.getvalue()


ARRAYS = [
    *[rewriting(_of_array(as_another_type))] * 4,
    *[rewriting(_of_array(with_odd_numbers))] * 4,
    *[rewriting(_of_array(with_other_axes))] * 2,
    *[rewriting(_of_array(of_another_length))] * 2,
    rewriting(_of_array(in_another_order)),
    *[rewriting(another_header)] * 2,
    rewriting(archive_of_arrays),
]
