"""Sessions in files of other formats than ALF: each module finds and reads one.

A module's `find` returns the session at a path where the path is of its format, None where it is
not; it raises SourceError only where it is, and is damaged.
"""

from collections.abc import Callable
from pathlib import Path

from napari_mtm.errors import SourceError
from napari_mtm.recording.formats import brain_wide_bench, brain_wide_map, nwb, phy, plain
from napari_mtm.recording.source import Source

_FORMATS: tuple[Callable[[Path], Source | None], ...] = (
    nwb.find,
    brain_wide_bench.find,
    brain_wide_map.find,
    phy.find,
    plain.find,
)

_ENDINGS = (".nwb", ".h5", ".npz")
"""What files are called that are looked for in folders; any name will do for one that is named."""


def find(path: Path) -> Source | None:
    """Return the session in a file or folder of one of the formats, None where it is of none."""
    return next((found for look in _FORMATS if (found := look(path)) is not None), None)


def recognised(path: Path) -> bool:
    """Whether a file or folder is of one of the formats, damaged or not."""
    try:
        return find(path) is not None
    except SourceError:
        return True


def files_in(folder: Path) -> list[Path]:
    """Files at the top of a folder that hold a session each, by name."""
    found = (file for ending in _ENDINGS for file in folder.glob(f"*{ending}"))
    return sorted(filter(recognised, found))
