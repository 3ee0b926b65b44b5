"""Sessions that are dropped on the canvas, taken before napari hears of them.

Napari (0.9) asks which reader is meant for every folder that two of them take, and takes folders of
images itself: it would ask about each session. Files it gives to a reader by their names, which
for some formats (.npz, .h5) are names of anything.
"""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QDragLeaveEvent, QDropEvent, QGuiApplication
from qtpy.QtWidgets import QWidget

from napari_mtm.recording.opening import is_session


class SessionDrops(QObject):
    """Opens sessions that are dropped on a canvas; all else, and prepared ones, is left to napari.

    So is what is dropped with Alt, by which napari is told to ask.
    """

    def __init__(self, canvas: QWidget, open_session: Callable[[Path], None]) -> None:
        super().__init__(canvas)
        self._open = open_session
        for target in _targets(canvas):
            target.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a session that is dropped."""
        if not isinstance(event, QDropEvent) or event.type() != QEvent.Type.Drop:
            return False
        path = _session(event)
        if path is None:
            return False
        QCoreApplication.sendEvent(watched, QDragLeaveEvent())  # nothing hovers there any more
        self._open(path)
        return True


def take_sessions(canvas: QWidget, open_session: Callable[[Path], None]) -> None:
    """Let sessions that are dropped on a canvas be opened; once is enough."""
    if canvas.findChild(SessionDrops) is None:
        SessionDrops(canvas, open_session)


def _targets(canvas: QWidget) -> list[QWidget]:
    """Return what Qt tells of a drop on the canvas: what lies on it, and what it lies in."""
    around, parent = [], canvas.parentWidget()
    while parent is not None:
        around.append(parent)
        parent = parent.parentWidget()
    return [w for w in (*canvas.findChildren(QWidget), *around) if w.acceptDrops()]


def _session(event: QDropEvent) -> Path | None:
    """Return what is dropped, if it is one thing alone and a session."""
    data = event.mimeData()
    urls = data.urls() if data is not None else []
    alt = QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier
    if alt or len(urls) != 1 or not urls[0].isLocalFile():
        return None
    path = Path(urls[0].toLocalFile())
    return path if is_session(path) else None
