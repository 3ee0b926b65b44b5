"""Work off the Qt thread, one job at a time, with progress and a way to stop it."""

import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from napari_mtm.errors import Cancelled, MtmError
from napari_mtm.progress import Progress


class Jobs(QObject):
    """Runs one job after the other; a new one cancels the one that is running.

    Results and errors arrive on the Qt thread, those of cancelled jobs never.
    """

    started = Signal(str)
    progressed = Signal(float, str)
    finished = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop: threading.Event | None = None

    @property
    def running(self) -> bool:
        """Whether a job is running that was not cancelled."""
        return self._stop is not None

    def run(self, what: str, work: Callable[[Progress], Any], done: Callable[[Any], None]) -> None:
        """Call `work` with a progress callback on another thread, then `done` with its result."""
        self.cancel()
        stop = self._stop = threading.Event()

        def progress(fraction: float, message: str) -> None:
            if stop.is_set():
                raise Cancelled(f"{what} was cancelled.")
            self.progressed.emit(fraction, message)

        def returned(result: Any) -> None:
            if self._settle(stop):
                done(result)

        def errored(error: Exception) -> None:
            if self._settle(stop) and not isinstance(error, Cancelled):
                report(error)

        self.started.emit(what)
        create_worker(
            work,
            progress,
            _start_thread=True,
            _connect={"returned": returned, "errored": errored},
            _ignore_errors=True,
        )

    def cancel(self) -> None:
        """Stop the running job at its next report of progress, and forget its result."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            self.finished.emit()

    def _settle(self, stop: threading.Event) -> bool:
        """Whether the job that ended is the current one; if so there is none any more."""
        if self._stop is not stop:
            return False
        self._stop = None
        self.finished.emit()
        return True


def report(error: Exception) -> None:
    """Tell a person about an error: ours in its own words, others with their traceback."""
    from napari.utils.notifications import notification_manager, show_error

    if isinstance(error, MtmError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
