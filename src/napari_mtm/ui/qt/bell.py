"""Calling the Qt thread from another one that touches no Qt object."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakMethod, finalize

from qtpy.QtCore import QCoreApplication, QSocketNotifier

_MOST = 4096


class Bell:
    """Calls `heard`, a method that is held weakly, on the Qt thread soon after it was rung.

    Rung often meanwhile, it is heard once. Who rings writes into a socket, and may outlive the
    window; Qt waits for it along with the mouse and the keys, so that nobody looks at intervals.
    Where there is no application, which is what waits, none is heard.

    Attributes
    ----------
    ring
        Rings, on any thread. It holds nothing of Qt's.

    """

    def __init__(self, heard: Callable[[], None]) -> None:
        inside, outside = socket.socketpair()
        for end in (inside, outside):
            end.setblocking(False)
        self.ring: Callable[[], None] = partial(_ring, outside)
        self._ear = _Ear(inside, WeakMethod(heard))
        # Python may let go of this on any thread, where Qt must not be touched: it hears of it.
        self._end = finalize(self, outside.close)

    def close(self) -> None:
        """Hear no more."""
        self._ear.deaf = True
        self._end()


class _Ear:
    """What Qt holds of a bell, until nobody can ring it any more."""

    def __init__(self, inside: socket.socket, heard: "WeakMethod[Callable[[], None]]") -> None:
        self.deaf = False
        self._inside, self._heard = inside, heard
        application = QCoreApplication.instance()
        if application is None:
            inside.close()
            return
        self._notifier = QSocketNotifier(inside.fileno(), QSocketNotifier.Type.Read, application)
        # Qt would hold a method of ours weakly.
        self._notifier.activated.connect(partial(_Ear._on_rung, self))

    def _on_rung(self, *_: Any) -> None:
        if not self._inside.recv(_MOST):
            self._notifier.setEnabled(False)
            self._notifier.deleteLater()
            self._inside.close()
            return
        heard = self._heard()
        if heard is not None and not self.deaf:
            heard()


def _ring(end: socket.socket) -> None:
    with suppress(OSError):  # where it is full it will be heard, where it is closed never
        end.send(b"!")
