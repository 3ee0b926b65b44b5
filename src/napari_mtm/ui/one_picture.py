"""One picture instead of two: what was just hidden, and the answer to it, are drawn together."""

from collections import deque

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QWidget

from napari_mtm.live.engine import Answer
from napari_mtm.ui.coordinator import Coordinator

MOST_MS = 110
"""How long the canvas waits for an answer at most; a model that takes longer is not waited for.

More than an answer takes on two busy cores: where the wait ends too early, the canvas is drawn
twice, and the second picture, with the answer, comes later than it would have alone.
"""

_RECENT = 10


class OnePicture(QObject):
    """Puts off drawing the canvas of a window while an answer is about to come.

    Drawing takes longer than a quick model does, and the Qt thread hears nothing meanwhile:
    drawn without the answer first, it would come a whole picture later. Nothing is blocked,
    and what is painted is drawn at once while the mouse is down.
    """

    def __init__(self, coordinator: Coordinator, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._live, self._masks, self._canvas = coordinator.live, coordinator.masks, canvas
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setSingleShot(True)
        self._timer.setInterval(MOST_MS)
        self._timer.timeout.connect(self._draw)
        self._live.asked.connect(self._on_asked)
        self._live.answered.connect(self._on_answered)

    def _on_asked(self) -> None:
        if not isalive(self._canvas) or self._masks.stroke_goes_on:
            return
        quick = 1e3 * min(self._seconds, default=1.0) < MOST_MS
        if quick and not self._timer.isActive():
            self._canvas.setUpdatesEnabled(False)
            self._timer.start()

    def _on_answered(self, answer: Answer) -> None:
        self._seconds.append(answer.seconds)
        self._draw()

    def _draw(self) -> None:
        if isalive(self._canvas):
            self._timer.stop()
            self._canvas.setUpdatesEnabled(True)
