"""Read an HDF5 file that may be damaged, or made to lead elsewhere.

Nothing outside the file is read: links to other files, and datasets whose values lie in other
files, are as if they were not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_mtm.errors import MtmError, SourceError, in_short
from napari_mtm.files import must_be_regular
from napari_mtm.recording.memory import must_be_plausible

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_LINKS = 16

C = TypeVar("C", bound="Contents")


def is_hdf5(path: Path) -> bool:
    """Whether a regular file begins as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


class Contents:
    """What an open HDF5 file holds, by path within it such as "units/id".

    What its library raises of damage becomes a SourceError.
    """

    def __init__(self, path: Path, file: "h5py.File") -> None:
        self.path = path
        self._file = file
        self._size = path.stat().st_size

    def __contains__(self, path: str) -> bool:
        """Whether there is a group or a dataset."""
        with telling_damage(self.path):
            return self._at(path) is not None

    def names(self, path: str) -> list[str]:
        """Names of what is in a group, in order; nothing where there is none."""
        import h5py

        with telling_damage(self.path):
            found = self._at(path)
            return sorted(found) if isinstance(found, h5py.Group) else []

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of a group or a dataset; None where there is none."""
        with telling_damage(self.path):
            found = self._at(path)
            value = None if found is None else found.attrs.get(name)
            return value.decode(errors="replace") if isinstance(value, bytes) else value

    def text(self, path: str) -> str:
        """The text in a dataset of one text; empty where there is none."""
        found = self.values(path)
        single = found is not None and found.ndim == 0 and found.dtype.kind in "OU"
        return str(found[()]).strip() if found is not None and single else ""

    def length(self, path: str) -> int | None:
        """Length of a dataset with one axis; None where there is none."""
        with telling_damage(self.path):
            found = self._dataset(path)
            return len(found) if found is not None and found.ndim == 1 else None

    def values(self, path: str) -> npt.NDArray[Any] | None:
        """All values of a dataset; None where there is none.

        Text is objects of str. Of references, it is the place that each leads to, empty where it
        leads nowhere.
        """
        import h5py

        with telling_damage(self.path):
            found = self._dataset(path)
            if found is None:
                return None
            if h5py.check_string_dtype(found.dtype) is not None:
                return np.asarray(found.asstr(errors="replace")[()], dtype=object)
            if h5py.check_ref_dtype(found.dtype) is h5py.Reference:
                places = [self._leads_to(r) for r in np.ravel(found[()])]
                return np.array(places, dtype=object)
            return np.asarray(found[()])

    def place(self, path: str) -> str | None:
        """Where a path leads in the file, links in it followed; None where it leads nowhere."""
        with telling_damage(self.path):
            found = self._at(path)
            return None if found is None else str(found.name)

    def _leads_to(self, reference: "h5py.Reference") -> str:
        return str(self._file[reference].name or "") if reference else ""

    def _dataset(self, path: str) -> "h5py.Dataset | None":
        """The dataset at a path, which holds no more than the file can."""
        import h5py

        found = self._at(path)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            return None
        if found.external or found.is_virtual:
            return None
        size = found.size * found.dtype.itemsize
        must_be_plausible(size, self._size, f"{path} in {self.path}")
        return found

    def _at(self, path: str) -> "h5py.Group | h5py.Dataset | None":
        return _followed(self._file, path, _MOST_LINKS)


@contextmanager
def opened(path: Path, kind: type[C]) -> Iterator[C]:
    """Open an HDF5 file to read, as a kind of `Contents`; raise SourceError where it is damaged."""
    import h5py

    must_be_regular(path, SourceError)
    with telling_damage(path):
        try:
            file = h5py.File(path, "r")
        except OSError:  # there are disks on which no file can be locked, nor need be to be read
            file = h5py.File(path, "r", locking=False)
    with file:
        yield kind(path, file)


@contextmanager
def telling_damage(path: Path) -> Iterator[None]:
    """Make a SourceError of what the library raises of damage, which may be anything."""
    try:
        yield
    except MtmError:
        raise
    except Exception as error:  # noqa: BLE001
        raise SourceError(
            f"{path} is damaged or cut short ({in_short(error)}). Download it again."
        ) from None


def _followed(start: "h5py.Group", path: str, links: int) -> "h5py.Group | h5py.Dataset | None":
    """What lies at a path, by links that stay in the file, of which there are not too many."""
    import h5py

    here: Any = start.file["/"] if path.startswith("/") else start
    for name in filter(None, path.split("/")):
        link = here.get(name, getlink=True) if isinstance(here, h5py.Group) else None
        if isinstance(link, h5py.HardLink):
            here = here[name]
        elif isinstance(link, h5py.SoftLink) and links > 0:
            here = _followed(here, link.path, links - 1)
        else:
            return None
    return here
