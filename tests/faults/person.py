"""A person who uses the program at random, with hands on the mouse, the keys and the buttons.

What is done (`acts`) follows from a seed and the number of the action alone; what comes of it
depends on how fast the model answers.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtCore import QEvent, QEventLoop, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDockWidget,
    QWidget,
)

from napari_mtm.recording.opening import SAMPLE
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.ui.canvas.frame import find_canvas
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.session.dock import show_dock
from napari_mtm.ui.docks.session.open_dialog import Request
from napari_mtm.ui.window import show_docks

PATIENCE = 120.0
"""Seconds in which everything must have come to rest."""

DOCKS = ("Session", "Units", "Predict", "Traces")

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
PLAIN = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CTRL = Qt.KeyboardModifier.ControlModifier


def settle(seconds: float) -> None:
    """Let Qt work for some time in a loop, as a program does, which deletes what is to go."""
    loop = QEventLoop()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def wait_until(fulfilled: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Let Qt work until something is so; return whether it became so."""
    end = time.monotonic() + seconds
    while not fulfilled():
        if time.monotonic() > end:
            return False
        settle(0.003)
    return True


class Person:
    """Uses one viewer with a window.

    Attributes
    ----------
    chance
        What is drawn from; replaced before each action.
    sessions
        What can be opened, beside the sample: sessions, and paths of stores.
    other
        Another person with a viewer of their own, while there is one.

    """

    def __init__(self, viewer: Any, sessions: Sequence[Session | Path]) -> None:
        self.viewer = viewer
        self.sessions = sessions
        self.coordinator = coordinator_of(viewer)
        self.chance = Random(0)
        self.canvas: QWidget = find_canvas(self.main)
        self.other: Person | None = None
        self.done = ""

    @property
    def main(self) -> Any:
        """Qt's window."""
        return self.viewer.window._qt_window

    @property
    def session(self) -> Session | None:
        """The session that is open."""
        return self.coordinator.session

    # -- hands ---------------------------------------------------------------------------

    def dock(self, name: str) -> QDockWidget | None:
        """A dock, if it is there."""
        return self.viewer.window._wrapped_dock_widgets.get(f"{name} (napari-mtm)")

    def bring(self, name: str) -> bool:
        """Bring a dock to the front; return whether it is there."""
        dock = self.dock(name)
        if dock is None:
            return False
        if not dock.widget().isVisible():
            dock.show()
            dock.raise_()
            settle(0)
        return True

    def part(self, dock: str, kind: type, name: str) -> Any:
        """A part of a dock that can be used now, or None."""
        if not self.bring(dock):
            return None
        found = self.dock(dock).widget().findChild(kind, name)
        return found if found is not None and found.isVisible() and found.isEnabled() else None

    def press(self, dock: str, name: str) -> bool:
        """Click a button or a box; return whether it could be clicked."""
        button = self.part(dock, QAbstractButton, name)
        if button is not None:
            button.click()
        return button is not None

    def choose(self, dock: str, name: str, index: int | None = None) -> None:
        """Choose an entry of a box at random, or this one."""
        box = self.part(dock, QComboBox, name)
        if box is not None and box.count():
            box.setCurrentIndex(self.chance.randrange(box.count()) if index is None else index)

    def place(self, *, outside: bool = False) -> QPoint:
        """A pixel of the canvas on the raster's first cell, mostly, or on another."""
        size = self.canvas.size()
        if self.session is None or outside:
            return QPoint(
                self.chance.randrange(max(size.width(), 1)),
                self.chance.randrange(max(size.height(), 1)),
            )
        views = self.coordinator.views
        view = views[0] if self.chance.random() < 0.8 else self.chance.choice(views)
        return QPoint(
            int(view.left + self.chance.random() * view.size[1]),
            int(self.chance.random() * view.size[0]),
        )

    def mouse(
        self,
        kind: QEvent.Type,
        at: QPoint,
        button: Qt.MouseButton = LEFT,
        keys: Qt.KeyboardModifier = PLAIN,
    ) -> None:
        """Send an event of the mouse to the canvas."""
        nothing = Qt.MouseButton.NoButton
        moving = kind == QEvent.Type.MouseMove
        held = nothing if kind == QEvent.Type.MouseButtonRelease else button
        where = QPointF(self.canvas.mapToGlobal(at))
        event = QMouseEvent(kind, QPointF(at), where, nothing if moving else button, held, keys)
        QApplication.sendEvent(self.canvas, event)

    def click(
        self,
        at: QPoint,
        button: Qt.MouseButton = LEFT,
        keys: Qt.KeyboardModifier = PLAIN,
    ) -> None:
        """Click on the canvas."""
        QTest.mouseMove(self.canvas, at)
        self.mouse(QEvent.Type.MouseButtonPress, at, button, keys)
        self.mouse(QEvent.Type.MouseButtonRelease, at, button, keys)

    def key(self, key: Qt.Key, keys: Qt.KeyboardModifier = PLAIN) -> None:
        """Press a key over the canvas."""
        QTest.keyClick(self.canvas, key, keys)

    def take(self, tool: str) -> None:
        """Take a tool: by its button, or as napari's own panel does."""
        if not self.press("Predict", f"tool_{tool}"):
            self.coordinator.masks.tool = tool

    # -- how it stands -------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way that was asked for."""
        live = self.coordinator.live
        engine = live._engine
        return not (
            live.stale
            or live.loading
            or live._news
            or live._throttle.isActive()
            or (engine is not None and engine.busy)
            or self.jobs_running
        )

    @property
    def jobs_running(self) -> bool:
        """Whether a session is being opened, sorted or fitted to."""
        session, predict = self.dock("Session"), self.dock("Predict")
        return (session is not None and session.widget().jobs.running) or (
            predict is not None and predict.widget().score_panel._jobs.running
        )

    def come_home(self) -> None:
        """Go back to where we began: the sample anew, nothing of one's own, all docks."""
        self.close_other()
        self.close_messages()
        menu = QApplication.activePopupWidget()
        if menu is not None:
            menu.close()
        coordinator = self.coordinator
        while coordinator.opened:
            coordinator.close(coordinator.opened[-1].session)
        for layer in list(self.viewer.layers):
            self.viewer.layers.remove(layer)
        show_dock(self.viewer)
        show_docks(self.viewer)
        for name in DOCKS:
            self.dock(name).setFloating(False)
            self.bring(name)
        self.bring("Predict")
        self.viewer.theme = "dark"
        self.viewer.window.resize(1366, 768)
        coordinator.live.set_on(True)
        coordinator.masks.everywhere = True
        show_dock(self.viewer).open(Request(SAMPLE, None, Preparation()))
        wait_until(lambda: self.session is not None and self.session.simulated)
        coordinator.models.choose("sample")
        wait_until(lambda: self.at_rest)

    def close_messages(self) -> None:
        """Close what napari says at the corner of the canvas, for good.

        It goes by itself in a window that is active, which none is without a window manager.
        """
        for message in self.main.findChildren(NapariQtNotification):
            message.close_button.click()

    def close_other(self) -> None:
        """Close the other person's viewer, whatever it is doing."""
        if self.other is not None:
            other, self.other = self.other, None
            other.viewer.close()
