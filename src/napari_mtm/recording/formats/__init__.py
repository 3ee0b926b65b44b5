"""Sessions in files of other formats than ALF: each module finds and reads one.

A module's `find` returns the session at a path where the path is of its format, None where it is
not; it raises SourceError only where it is, and is damaged.
"""

from collections.abc import Callable
from pathlib import Path

from napari_mtm.recording.formats import nwb, phy, plain
from napari_mtm.recording.source import Source

_FORMATS: tuple[Callable[[Path], Source | None], ...] = (nwb.find, phy.find, plain.find)


def find(path: Path) -> Source | None:
    """Return the session in a file or folder of one of the formats, None where it is of none."""
    return next((found for look in _FORMATS if (found := look(path)) is not None), None)
