"""A process that trains or measures, as the Qt thread looks at it."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod, finalize

from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_mtm.training.worker import Worker

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_mtm.training.messages import Assignment, News

_POLL_MS = 50


class Watched:
    """Starts a process, and hands on what it tells until it ends; `hear` is held weakly.

    With the viewer it is let go of: then it saves and ends.
    """

    def __init__(
        self, viewer: "ViewerModel", assignment: "Assignment", hear: Callable[["News"], None]
    ) -> None:
        self.worker = Worker(assignment)
        self._hear = WeakMethod(hear)
        self._poll = QTimer()
        self._poll.setInterval(_POLL_MS)
        self._poll.timeout.connect(self._look)
        self._poll.start()
        self._with_viewer = finalize(viewer, self.worker.close, 0.0)

    def let_go(self, timeout: float | None = 0.0) -> bool:
        """Hear no more; return whether it ended within `timeout` seconds."""
        if isalive(self._poll):
            self._poll.stop()
        self._with_viewer.detach()
        return self.worker.close(timeout)

    def _look(self) -> None:
        for news in self.worker.look():
            hear = self._hear()
            if hear is not None and self._poll.isActive():
                hear(news)
