"""Calling the Qt thread from another one that touches no Qt object."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import finalize

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QSocketNotifier

_MOST = 4096


class Bell:
    """Calls `heard` on the Qt thread soon after it was rung; once where it was rung often.

    Who rings writes into a socket, and may outlive the window; Qt waits for it along with the
    mouse and the keys, so that nobody looks at intervals. With its `parent` it hears no more.

    Attributes
    ----------
    ring
        Rings, on any thread. It holds nothing of Qt's.

    """

    def __init__(self, heard: Callable[[], None], parent: QObject | None = None) -> None:
        self._heard = heard
        self._inside, self._outside = socket.socketpair()
        for end in (self._inside, self._outside):
            end.setblocking(False)
        self._close = finalize(self, _close, self._inside, self._outside)
        self.ring: Callable[[], None] = partial(_ring, self._outside)
        self._notifier = QSocketNotifier(self._inside.fileno(), QSocketNotifier.Type.Read, parent)
        self._notifier.activated.connect(self._on_rung)

    def close(self) -> None:
        """Hear no more."""
        if isalive(self._notifier):
            self._notifier.setEnabled(False)
        self._close()

    def _on_rung(self, *_: Any) -> None:
        try:
            self._inside.recv(_MOST)
        except OSError:  # closed by what Qt heard just before
            return
        self._heard()


def _ring(end: socket.socket) -> None:
    with suppress(OSError):  # where it is full it will be heard, where it is closed never
        end.send(b"!")


def _close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()
