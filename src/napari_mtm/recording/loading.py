"""Load arrays and tables from files that may be damaged; nothing is unpickled."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import is_regular, must_be_regular


def load_array(path: Path) -> npt.NDArray[Any]:
    """Map an npy file: the larger ones are read in part only. A single column is as a row."""
    array: npt.NDArray[Any] = loaded(path, _mapped)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array


def _mapped(path: Path) -> npt.NDArray[Any]:
    from numpy.lib.format import open_memmap

    with path.open("rb") as file:
        start, size = file.read(12), path.stat().st_size
    # Of later versions four bytes tell how long the header is, and numpy makes room for as much.
    if start[6:7] in (b"\x02", b"\x03") and int.from_bytes(start[8:], "little") > size:
        raise ValueError("its header is longer than the file")
    return open_memmap(path, mode="r")


def load_numbers(
    path: Path, kind: Kind = "real", *, ndim: int = 1, least: float | None = None
) -> npt.NDArray[Any] | None:
    """Map an npy file of numbers, as `arrays.numbers` checks them; None where there is none."""
    if not is_regular(path):
        return None
    return numbers(load_array(path), str(path), SourceError, kind=kind, ndim=ndim, least=least)


def load_table(path: Path) -> pd.DataFrame:
    """Read a table: a csv with a header, or Parquet."""
    read = partial(pd.read_csv, low_memory=False) if path.suffix == ".csv" else pd.read_parquet
    table: pd.DataFrame = loaded(path, read)
    if not table.columns.is_unique:
        raise SourceError(f"{path} is damaged: two of its columns have one name.")
    return table


def loaded(path: Path, load: Callable[[Path], Any]) -> Any:
    """Load a file; what its library raises of damage becomes a SourceError."""
    must_be_regular(path, SourceError)
    try:
        return load(path)
    except Exception as error:  # noqa: BLE001  damage may make a library raise anything
        raise SourceError(
            f"{path} is damaged or cut short ({in_short(error)}). Download it again."
        ) from None
