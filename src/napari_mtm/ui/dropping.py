"""Session folders that are dropped on the canvas, taken before napari hears of them.

Napari (0.9) asks which reader is meant for every folder that two of them take, and takes folders of
images itself: it would ask about each session.
"""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QDragLeaveEvent, QDropEvent, QGuiApplication
from qtpy.QtWidgets import QWidget

from napari_mtm.recording.alf import holds_session


class FolderDrops(QObject):
    """Opens session folders that are dropped on a canvas; all else is left to napari.

    So is what is dropped with Alt, by which napari is told to ask.
    """

    def __init__(self, canvas: QWidget, open_folder: Callable[[Path], None]) -> None:
        super().__init__(canvas)
        self._open = open_folder
        for target in _targets(canvas):
            target.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a session folder that is dropped."""
        if not isinstance(event, QDropEvent) or event.type() != QEvent.Type.Drop:
            return False
        folder = _session_folder(event)
        if folder is None:
            return False
        QCoreApplication.sendEvent(watched, QDragLeaveEvent())  # nothing hovers there any more
        self._open(folder)
        return True


def take_folders(canvas: QWidget, open_folder: Callable[[Path], None]) -> None:
    """Let session folders that are dropped on a canvas be opened; once is enough."""
    if canvas.findChild(FolderDrops) is None:
        FolderDrops(canvas, open_folder)


def _targets(canvas: QWidget) -> list[QWidget]:
    """Return what Qt tells of a drop on the canvas: what lies on it, and what it lies in."""
    around, parent = [], canvas.parentWidget()
    while parent is not None:
        around.append(parent)
        parent = parent.parentWidget()
    return [w for w in (*canvas.findChildren(QWidget), *around) if w.acceptDrops()]


def _session_folder(event: QDropEvent) -> Path | None:
    """Return the folder that is dropped, if it is one alone and holds a session."""
    data = event.mimeData()
    urls = data.urls() if data is not None else []
    alt = QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier
    if alt or len(urls) != 1 or not urls[0].isLocalFile():
        return None
    folder = Path(urls[0].toLocalFile())
    return folder if holds_session(folder) else None
