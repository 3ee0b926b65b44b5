"""Work off the Qt thread, one job at a time, with progress and a way to stop it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mtm.errors import Cancelled, MtmError
from napari_mtm.progress import Progress
from napari_mtm.ui.qt.bell import Bell

_PROGRESS_MS = 30
"""From what is told of progress to the next, however often a job reports it."""


@dataclass
class _Job:
    """What the thread of a job and the Qt thread share: no Qt object among it.

    A thread may outlive the window that started it, and must not touch widgets then.
    """

    what: str
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    ring: Callable[[], None]
    stop: threading.Event = field(default_factory=threading.Event)
    rung: bool = False
    reported: tuple[float, str] | None = None
    told: tuple[float, str] | None = None
    outcome: tuple[str, Any] | None = None

    def give_up(self) -> None:
        """Stop, and let go of who waits: widgets that are gone would live on with it."""
        self.stop.set()
        self.done = self.failed = _unheard

    def progress(self, fraction: float, message: str) -> None:
        if self.stop.is_set():
            raise Cancelled(f"{self.what} was cancelled.")
        self.reported = fraction, message
        if not self.rung:  # else it is heard along with what was reported before
            self.rung = True
            self.ring()

    def work(self, function: Callable[[Progress], Any]) -> None:
        try:
            self.outcome = "result", function(self.progress)
        except Exception as error:  # noqa: BLE001  told on the Qt thread
            self.outcome = "error", error
        self.ring()


class Jobs(QObject):
    """Runs one job after the other; a new one cancels the one that is running.

    Results and errors arrive on the Qt thread, those of cancelled jobs never.
    """

    started = Signal(str)
    progressed = Signal(float, str)
    finished = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: _Job | None = None
        self._bell: Bell | None = None
        self._rest = QTimer(self)  # after progress was told
        self._rest.setSingleShot(True)
        self._rest.setInterval(_PROGRESS_MS)
        self._rest.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether a job is running that was not cancelled."""
        return self._job is not None

    def run(
        self,
        what: str,
        work: Callable[[Progress], Any],
        done: Callable[[Any], None],
        failed: "Callable[[Exception], None] | None" = None,
    ) -> None:
        """Call `work` with a progress callback on another thread, then `done` with its result.

        Errors are given to `failed`, by default to tell a person about them.
        """
        self.cancel()
        if self._bell is None:
            self._bell = Bell(self._look)
        job = self._job = _Job(what, done, failed or report, self._bell.ring)
        self.destroyed.connect(job.give_up)
        self.started.emit(what)
        # Not a daemon: Python waits for it at exit, which libraries with threads of
        # their own need. It stops when this object goes, with the window.
        threading.Thread(target=job.work, args=(work,), name=what).start()

    def cancel(self) -> None:
        """Stop the running job at its next report of progress, and forget its result."""
        if self._job is not None and isalive(self):  # else it was told to as this went
            self._job.give_up()
            self._settle()

    def _look(self) -> None:
        """Hear from the running job; of its progress, only the latest is told."""
        job = self._job
        if job is None or not isalive(self):
            return
        outcome = job.outcome  # first: what it reported until then is told before
        if self._rest.isActive() and outcome is None:
            return
        job.rung = False
        reported = job.reported
        if reported is not None and reported is not job.told:
            job.told = reported
            self._rest.start()
            self.progressed.emit(*reported)
        if self._job is not job or outcome is None:
            return
        self._settle()
        kind, value = outcome
        if kind == "result":
            job.done(value)
        elif not isinstance(value, Cancelled):
            job.failed(value)

    def _settle(self) -> None:
        assert self._job is not None
        self.destroyed.disconnect(self._job.give_up)
        self._job = None
        self.finished.emit()


def _unheard(outcome: object) -> None:
    """Tell nobody."""


def report(error: Exception) -> None:
    """Tell a person about an error: ours in its own words, others with their traceback."""
    from napari.utils.notifications import notification_manager, show_error

    if isinstance(error, MtmError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
