"""Jobs that take long, in napari's activity dock."""

from io import StringIO
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_mtm.ui.qt.jobs import Jobs

_STEPS = 100
_TICK_MS = 300


class Activity(QObject):
    """Shows the jobs of one `Jobs` in napari's activity dock, those that take a moment.

    Napari's bars let all of Qt's events happen whenever they change. So they are changed by a
    timer, and never in the middle of what starts, reports or ends a job.
    """

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(jobs)
        self._bar: Any = None
        self._running = False
        self._reported = 0.0, ""
        self._changing = False
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        jobs.started.connect(self._on_started)
        jobs.progressed.connect(self._on_progressed)
        jobs.finished.connect(self._on_finished)

    def _on_started(self, what: str) -> None:
        self._running, self._reported = True, (0.0, what)
        self._timer.start()

    def _on_progressed(self, fraction: float, message: str) -> None:
        self._reported = fraction, message

    def _on_finished(self) -> None:
        self._running = False

    def _on_tick(self) -> None:
        if self._changing:  # within the change before
            return
        self._changing = True
        try:
            self._show() if self._running else self._end()
        finally:
            self._changing = False

    def _show(self) -> None:
        from napari.utils import progress

        fraction, message = self._reported
        if self._bar is None:
            self._bar = progress(total=_STEPS, desc=message, file=StringIO())  # not to the terminal
        self._bar.set_description(message)
        self._bar.update(round(_STEPS * fraction) - self._bar.n)

    def _end(self) -> None:
        self._timer.stop()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
