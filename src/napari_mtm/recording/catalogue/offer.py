"""What opening a session would mean, said before anything large is downloaded."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from napari_mtm.progress import Progress, silent
from napari_mtm.recording import cache
from napari_mtm.recording.bench import BenchSource
from napari_mtm.recording.catalogue.query import Found
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.source import Survey
from napari_mtm.recording.store import is_store


@dataclass(frozen=True)
class Offer:
    """What opening a session would mean.

    Attributes
    ----------
    session
        Which.
    survey
        What it holds; None for a prepared store, which opens as it is, and where that is known
        only after the download.
    download, free
        Bytes that would be downloaded, and that are free on the disk for them.

    """

    session: Found
    survey: Survey | None
    download: int
    free: int

    @property
    def fits(self) -> bool:
        """Whether the disk has room for what would be downloaded."""
        return self.download < self.free


def offer(session: Found, progress: Progress = silent) -> Offer:
    """Look at a session; of one on a server, only its small tables are downloaded."""
    free = _free(cache.folder())
    if session.one is None and is_store(Path(session.source)):
        return Offer(session, None, 0, free)
    progress(0.0, f"looking at {session.name}")
    source = find_source(session.source, one=session.one)
    if isinstance(source, BenchSource) and not source.is_here:
        return Offer(session, None, source.to_download(), free)
    return Offer(session, source.survey(Preparation()), source.to_download(), free)


def _free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
