"""One picture instead of several: what was just hidden and the answer are drawn together."""

from collections import deque

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_mtm.live.engine import Answer
from napari_mtm.ui.coordinator import Coordinator

QUICK_MS = 50
"""A model that takes longer is not waited for: a person sees that what they hid is hidden first."""

MOST_MS = 110
"""How long the window waits for an answer at most.

More than a quick model takes on two busy cores: where the wait ends too early, the window is
drawn twice, and the second picture, with the answer, comes later than it would have alone.
"""

_RECENT = 10


class OnePicture(QObject):
    """Puts off drawing the window of a canvas while an answer is about to come.

    Drawing any of it takes longer than a quick model does: all of the window is put together
    each time, on the cores that the model needs, and the Qt thread hears nothing meanwhile.
    What is to be drawn adds up until the answer is there. Nothing is blocked, and what is
    painted is drawn at once while the mouse is down.
    """

    def __init__(self, coordinator: Coordinator, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._live, self._masks, self._canvas = coordinator.live, coordinator.masks, canvas
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._window: QWidget | None = None
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setSingleShot(True)
        self._timer.setInterval(MOST_MS)
        self._timer.timeout.connect(self._draw)
        self._live.asked.connect(self._on_asked)
        self._live.answered.connect(self._on_answered)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the window from being drawn."""
        return event is not None and event.type() == QEvent.Type.UpdateRequest

    def _on_asked(self) -> None:
        if not isalive(self._canvas) or self._masks.stroke_goes_on or self._window is not None:
            return
        if 1e3 * min(self._seconds, default=1.0) < QUICK_MS:
            self._window = self._canvas.window()
            self._window.installEventFilter(self)
            self._timer.start()

    def _on_answered(self, answer: Answer) -> None:
        self._seconds.append(answer.seconds)
        self._draw()

    def _draw(self) -> None:
        window, self._window = self._window, None
        if window is None or not isalive(self) or not isalive(window):
            return
        self._timer.stop()
        window.removeEventFilter(self)
        # Qt takes a request that was kept from the window for one that is still on its way.
        request = QEvent(QEvent.Type.UpdateRequest)
        QApplication.postEvent(window, request, Qt.EventPriority.LowEventPriority.value)
