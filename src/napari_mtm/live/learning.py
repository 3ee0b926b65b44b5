"""The linear expert of a session, fitted beside the engine that answers meanwhile."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_mtm.errors import Cancelled
from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

PATIENCE = 1.0
"""Seconds for which it is worth waiting: an expert that is there by then changes no picture."""


class Learning:
    """Fits the linear expert that a model lacks of a session, on a thread of its own.

    The expert is kept where every model of the process finds it.

    Attributes
    ----------
    model, session
        Of which and of what it is.
    error
        Why there will be none, once that is so.

    """

    def __init__(
        self,
        model: "Model",
        session: Session,
        told: Callable[[float, str], None],
        ended: Callable[[], None],
    ) -> None:
        self.model, self.session = model, session
        self.error: Exception | None = None
        self._began = time.perf_counter()
        self._cancelled, self._over = threading.Event(), threading.Event()
        self._told, self._ended = told, ended
        self._thread = threading.Thread(target=self._run, name="napari-mtm expert", daemon=True)
        self._thread.start()

    def of(self, model: "Model", session: Session) -> bool:
        """Whether it is of this model and session."""
        return self.model is model and self.session is session

    def wait(self) -> None:
        """Wait until it is over, or takes too long to wait for.

        On a GPU it takes little, and what is recorded of passes there bears no second thread.
        """
        left = self._began + PATIENCE - time.perf_counter()
        self._over.wait(max(left, 0.0) if self.model.device.type == "cpu" else None)

    def cancel(self) -> None:
        """Give it up at its next report; nothing is told any more."""
        self._cancelled.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; return whether it ended within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        from napari_mtm.model.experts import expert_of

        model, session = self.model, self.session
        try:
            expert_of(session, model.trials_taught(session), model.device, self._progress)
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001  told by whoever asked for it
            self.error = error
        self._over.set()
        if not self._cancelled.is_set():
            self._ended()

    def _progress(self, fraction: float, message: str) -> None:
        if self._cancelled.is_set():
            raise Cancelled("The linear expert is not needed any more.")
        if time.perf_counter() - self._began > PATIENCE:
            self._told(fraction, message)
