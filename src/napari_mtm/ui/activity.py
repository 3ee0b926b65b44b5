"""Jobs that take long, in napari's activity dock."""

from io import StringIO
from typing import Any

from qtpy.QtCore import QObject

from napari_mtm.ui.jobs import Jobs

_STEPS = 100


class Activity(QObject):
    """Shows the jobs of one `Jobs` in napari's activity dock while they run."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(jobs)
        self._bar: Any = None
        jobs.started.connect(self._on_started)
        jobs.progressed.connect(self._on_progressed)
        jobs.finished.connect(self._on_finished)

    def _on_started(self, what: str) -> None:
        from napari.utils import progress

        self._bar = progress(total=_STEPS, desc=what, file=StringIO())  # not to the terminal

    def _on_progressed(self, fraction: float, message: str) -> None:
        if self._bar is not None:
            self._bar.set_description(message)
            self._bar.update(round(_STEPS * fraction) - self._bar.n)

    def _on_finished(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
