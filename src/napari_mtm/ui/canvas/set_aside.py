"""Python looks for garbage among what is new, not each time among all that napari is made of."""

import gc
from typing import Any
from weakref import WeakSet

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_mtm.ui.coordinator import KEY, Coordinator

REST_MS = 1000
"""How long nothing may have been asked of the model."""


class SetAside(QObject):
    """Sets aside what is there once a session is open and at rest, until another is shown.

    Napari, torch and a session on screen are 700,000 objects. Going through them takes about
    half a second, in which the window is dead, and Python did so every few hundred strokes,
    napari with each layer that is removed. When another session is shown, or one is closed, or a
    window, so may all that was set aside: everything is looked through once.
    """

    def __init__(self, coordinator: Coordinator, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._coordinator, self._canvas = coordinator, canvas
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self._on_rest)
        coordinator.session_changed.connect(self._on_session)
        coordinator.opened_changed.connect(self._on_session)
        coordinator.live.answered.connect(self._on_answered)
        coordinator.viewer.layers.events.removing.connect(self._on_removing)
        self.destroyed.connect(_on_window_gone)
        _in_windows.add(self)
        self._done = False
        self._had_session = coordinator.session is not None
        self.begin()

    def _on_session(self) -> None:
        if self._had_session and isalive(self):
            # In a moment, when nobody holds the one before any more.
            QTimer.singleShot(0, self._on_gone)
        self._had_session = self._coordinator.session is not None
        self.begin()

    def _on_gone(self) -> None:
        # A window that was closed must go by itself: those who wait for its end do not hear of
        # it where the search finds it first.
        if isalive(self) and self._canvas.window().isVisible():
            _look_through()

    def begin(self) -> None:
        """Set aside what is there, once it is at rest."""
        self._done = False
        self._start()

    def _start(self) -> None:
        if isalive(self._timer):
            self._timer.start()

    def _on_answered(self, answer: object) -> None:
        if not self._done:
            self._start()

    def _on_removing(self, event: Any) -> None:
        if KEY in self._coordinator.viewer.layers[event.index].metadata:
            _let_go()
            self.begin()

    def _on_rest(self) -> None:
        coordinator = self._coordinator
        if coordinator.session is None:
            return
        live = coordinator.live
        if live.loading or live.stale or coordinator.masks.stroke_goes_on:
            self._start()
        else:
            self._done = True
            gc.freeze()


_in_windows: "WeakSet[SetAside]" = WeakSet()


def _let_go() -> None:
    gc.unfreeze()


def _look_through() -> None:
    _let_go()
    gc.collect()


def _on_window_gone() -> None:
    """Look for what a window leaves, which other windows would set aside."""
    _let_go()
    others = [one for one in _in_windows if isalive(one)]
    for one in others:
        one.begin()
    if others:
        # In a moment, when all that was in the window is gone as well.
        QTimer.singleShot(0, _look_through)
