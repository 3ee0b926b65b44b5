"""The runs that are kept of a session: found, looked at, copied."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from napari_mtm.errors import TrainingError
from napari_mtm.files import reading, replacing
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import save_session, store_of
from napari_mtm.training.comparison import Comparison, comparison_of
from napari_mtm.training.places import folder_of
from napari_mtm.training.run import About, Run, Status


def runs_of(session: str) -> list[Run]:
    """Return the runs on a session by its id, the newest first; those that are damaged are not."""
    found = []
    for path in folder_of(session).glob("*"):
        try:
            found.append(Run(path))
        except TrainingError:
            continue
    return sorted(found, key=lambda run: (run.about.begun, run.folder.name), reverse=True)


@dataclass(frozen=True)
class Entry:
    """A run as a list shows it."""

    folder: Path
    about: About
    status: Status
    comparison: Comparison | None

    @classmethod
    def of(cls, run: Run) -> "Entry":
        """Look at a run."""
        return cls(run.folder, run.about, run.status, comparison_of(run))

    @property
    def begun(self) -> datetime:
        """When it was begun, in a person's own time."""
        return datetime.fromisoformat(self.about.begun).astimezone()


def entries_of(session: str) -> list[Entry]:
    """Look at the runs on a session, the newest first."""
    found = []
    for run in runs_of(session):
        try:
            found.append(Entry.of(run))
        except TrainingError:  # its status is damaged, or it was removed meanwhile
            continue
    return found


def store_for(session: Session) -> Path:
    """Return a store that another process can open a session from; one is written if need be."""
    there = store_of(session)
    if there is not None:
        return there
    path = folder_of(session.id) / "session.mtm"
    save_session(session, path)
    return path


def export(run: Path, path: Path) -> None:
    """Copy the best weights of the run in a folder to a file.

    They can be loaded anywhere; raises StoreError where they cannot be written.
    """
    best = run / "best.safetensors"
    weights = best if best.exists() else run / "start.safetensors"
    with reading(weights, TrainingError) as source, replacing(path) as file:
        shutil.copyfileobj(source, file)
