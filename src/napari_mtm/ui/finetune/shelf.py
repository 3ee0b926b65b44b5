"""The runs on the open session, kept on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_mtm.training.places import folder_of
from napari_mtm.ui.qt.jobs import Jobs

if TYPE_CHECKING:
    from napari_mtm.training.runs import Entry
    from napari_mtm.ui.coordinator import Coordinator

Curves = tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]
"""Losses and validations by step."""


class Shelf:
    """Lists, reads, copies and deletes runs, off the Qt thread."""

    changed = Signal()

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self.entries: tuple[Entry, ...] = ()
        self._looking, self._reading, self._filing = Jobs(), Jobs(), Jobs()
        coordinator.session_changed.connect(self.refresh)

    @property
    def interrupted(self) -> "Entry | None":
        """The newest run, if something cut it off."""
        newest = next(iter(self.entries), None)
        return newest if newest is not None and newest.status.state == "interrupted" else None

    def at(self, folder: Path) -> "Entry | None":
        """Return the run in a folder."""
        return next((entry for entry in self.entries if entry.folder == folder), None)

    def refresh(self) -> None:
        """Look for runs again."""
        session = self._coordinator.session

        def look(progress: Any) -> Any:
            if session is None or not folder_of(session.id).exists():
                return ()  # known without torch
            from napari_mtm.training.runs import entries_of

            return tuple(entries_of(session.id))

        self._looking.run("looking for runs", look, self._on_found)

    def read(self, folder: Path, then: Callable[[Curves], None]) -> None:
        """Read how a run went."""

        def read(progress: Any) -> Any:
            from napari_mtm.training.run import Run

            run = Run(folder)
            return run.losses(), run.validations()

        self._reading.run("reading a run", read, then)

    def delete(self, folders: Sequence[Path]) -> None:
        """Delete runs."""

        def remove(progress: Any) -> None:
            from napari_mtm.training.run import Run

            for folder in folders:
                Run.remove(folder)

        self._filing.run("deleting runs", remove, lambda _: self.refresh())

    def export(self, folder: Path, path: Path, then: Callable[[Any], None]) -> None:
        """Write the best weights of a run to a file."""

        def write(progress: Any) -> None:
            from napari_mtm.training.runs import export

            export(folder, path)

        self._filing.run("saving weights", write, then)

    def close(self) -> None:
        """Look and read no more; what is being written or deleted is finished."""
        self._looking.cancel()
        self._reading.cancel()

    def _on_found(self, entries: "tuple[Entry, ...]") -> None:
        self.entries = entries
        self.changed.emit()
