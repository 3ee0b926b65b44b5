"""Further behaviour of the open session: what its files can give, read when it is asked for."""

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_mtm.recording.extra_behaviour import extend, is_available, offered
from napari_mtm.recording.session import Session
from napari_mtm.ui.qt.jobs import Jobs
from napari_mtm.ui.qt.parts import button, listen
from napari_mtm.ui.text.behaviour import words

if TYPE_CHECKING:
    from napari_mtm.ui.coordinator import Coordinator


class MoreBehaviour(QWidget):
    """A button with a menu of what can be read, in its place a bar while it is.

    Hidden where there is nothing: without ibllib, for sessions whose files are not known or hold
    no more, and once all of it is there.

    Attributes
    ----------
    names
        What can be read, in the order of the menu.

    """

    def __init__(self, coordinator: "Coordinator") -> None:
        super().__init__()
        self._coordinator = coordinator
        self.names: tuple[str, ...] = ()
        self.jobs = Jobs(self)
        self.button = button(
            "more_behaviour",
            "More behaviour…",
            "Licks, pupil and paws, read by IBL's own code from the files of this session",
        )
        self.menu = QMenu(self)
        self.button.setMenu(self.menu)
        self.bar = QProgressBar(objectName="more_behaviour_bar")
        self.bar.setRange(0, 100)
        self.cancel_button = QPushButton("Cancel", objectName="more_behaviour_cancel")
        self._busy = QWidget()
        busy = QHBoxLayout(self._busy)
        busy.setContentsMargins(0, 0, 0, 0)
        busy.addWidget(self.bar, 1)
        busy.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self._busy)
        self.cancel_button.clicked.connect(self.jobs.cancel)
        self.jobs.progressed.connect(self._on_progress)
        self.jobs.finished.connect(self._offer)
        listen(coordinator.session_changed, self._on_session)
        listen(coordinator.extended, self._offer)
        self._offer()

    def read(self, *names: str) -> None:
        """Read some traces off the Qt thread, then show the session with them."""
        coordinator, session = self._coordinator, self._coordinator.session
        if session is None:
            return
        source = coordinator.sources[session.id]

        def work(progress: Any) -> Session:
            return extend(session, source, names=names, progress=progress)

        self.jobs.run("reading behaviour", work, coordinator.extend)
        self._on_progress(0.0, "reading behaviour")
        self._offer()

    def _on_session(self) -> None:
        self.jobs.cancel()
        self._offer()

    def _offer(self) -> None:
        """Offer what can be read and is not there."""
        session = self._coordinator.session
        source = None if session is None else self._coordinator.sources.get(session.id)
        self.names = ()
        if session is not None and source is not None and is_available():
            self.names = tuple(n for n in offered(source) if n not in session.behaviour)
        self.menu.clear()
        for name in self.names:
            self.menu.addAction(words(name).menu, partial(self.read, name))
        if len(self.names) > 1:
            self.menu.addSeparator()
            self.menu.addAction("All of these", partial(self.read, *self.names))
        self.button.setHidden(self.jobs.running)
        self._busy.setVisible(self.jobs.running)
        self.setVisible(bool(self.names))

    def _on_progress(self, fraction: float, message: str) -> None:
        self.bar.setValue(round(100 * fraction))
        self.bar.setFormat(message)
