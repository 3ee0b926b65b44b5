"""Hearing everything that goes wrong in a process with a window, wherever it is said."""

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari.utils.notifications import NotificationSeverity, notification_manager
from qtpy.QtCore import QtMsgType, qInstallMessageHandler

_MOST = 4000
"""Characters of a trouble that are kept: the end of a traceback says most."""

_NOT_OURS = (
    "Inconsistent units across layers",  # what napari says of a layer of one's own, in pixels
    "PydanticDeprecatedSince20",  # of napari and its libraries themselves
)


class Troubles(list[str]):
    """What went wrong, in the order in which it was heard; `at` says where we are."""

    at = "at the start"

    def hear(self, what: str) -> None:
        """Keep a trouble, and print it at once: the process may not live on."""
        if not any(ignored in what for ignored in _NOT_OURS):
            text = f"{self.at}: {what[-_MOST:]}"
            self.append(text)
            print(text, file=sys.stderr, flush=True)

    def hear_exception(self, error: BaseException) -> None:
        """Keep an exception with its traceback."""
        self.hear("".join(traceback.format_exception(error)))


class _LogHandler(logging.Handler):
    def __init__(self, troubles: Troubles) -> None:
        super().__init__(logging.WARNING)
        self._troubles = troubles

    def emit(self, record: logging.LogRecord) -> None:
        self._troubles.hear(f"{record.name} logs {self.format(record)}")


@contextmanager
def listening() -> Iterator[Troubles]:
    """Collect uncaught exceptions, warnings, and what Qt, napari and vispy complain of."""
    troubles = Troubles()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    handler, logger = _LogHandler(troubles), logging.getLogger()

    def on_qt(kind: QtMsgType, context: Any, message: str | None) -> None:
        if kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg):
            troubles.hear(f"Qt says {message}")

    def on_notification(event: Any) -> None:
        if event.severity >= NotificationSeverity.WARNING:
            troubles.hear(f"napari shows {event.severity}: {event.message}")

    def on_warning(message: Any, category: type, file: str, line: int, *_: Any) -> None:
        troubles.hear(f"warning: {file}:{line} {category.__name__}: {message}")

    sys.excepthook = lambda kind, error, trace: troubles.hear_exception(error)
    threading.excepthook = lambda args: troubles.hear_exception(args.exc_value)
    sys.unraisablehook = lambda args: troubles.hear_exception(args.exc_value)
    before = qInstallMessageHandler(on_qt)
    notification_manager.notification_ready.connect(on_notification)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = on_warning
            yield troubles
    finally:
        logger.removeHandler(handler)
        notification_manager.notification_ready.disconnect(on_notification)
        qInstallMessageHandler(before)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
