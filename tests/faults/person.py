"""A person who uses the program at random, with hands on the mouse, the keys and the buttons.

What is done follows from a seed and the number of the action alone; what comes of it
depends on how fast the model answers.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QEventLoop, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDockWidget,
    QListWidget,
    QWidget,
)

from napari_mtm.recording.opening import SAMPLE
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.ui.cells import CELLS
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks import show_docks
from napari_mtm.ui.frame import find_canvas
from napari_mtm.ui.launch import window
from napari_mtm.ui.models import load
from napari_mtm.ui.open_dialog import Request
from napari_mtm.ui.session_dock import show_dock

PATIENCE = 120.0
"""Seconds in which everything must have come to rest."""

DOCKS = ("Session", "Units", "Predict", "Traces")

_LEFT, _RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
_PLAIN = Qt.KeyboardModifier.NoModifier
_SHIFT = Qt.KeyboardModifier.ShiftModifier
_CTRL = Qt.KeyboardModifier.ControlModifier
_KEYS = "HUJIKQWG"

Act = Callable[["Person"], None]
ACTS: list[Act] = []
"""All that is done, as often in the list as it is done."""


def often(weight: int) -> Callable[[Act], Act]:
    """Do this so many times more often than what is done rarely."""

    def put(act: Act) -> Act:
        ACTS.extend([act] * weight)
        return act

    return put


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

    def act(self, seed: str) -> None:
        """Do something."""
        self.chance = chance = Random(seed)
        act = chance.choice(ACTS)
        if self.session is None and chance.random() < 0.4:
            act = open_a_session
        if self.other is not None and chance.random() < 0.3:
            self.done = f"other: {act.__name__}"
            if act not in (open_another_viewer, close_the_other_viewer):
                self.other.chance = chance
                act(self.other)
        else:
            self.done = act.__name__
            act(self)
        settle(chance.choice((0.0, 0.0, 0.01, 0.03, 0.2)))

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
        button: Qt.MouseButton = _LEFT,
        keys: Qt.KeyboardModifier = _PLAIN,
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
        button: Qt.MouseButton = _LEFT,
        keys: Qt.KeyboardModifier = _PLAIN,
    ) -> None:
        """Click on the canvas."""
        QTest.mouseMove(self.canvas, at)
        self.mouse(QEvent.Type.MouseButtonPress, at, button, keys)
        self.mouse(QEvent.Type.MouseButtonRelease, at, button, keys)

    def key(self, key: Qt.Key, keys: Qt.KeyboardModifier = _PLAIN) -> None:
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
            or live._poll.isActive()
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
        if self.other is not None:
            close_the_other_viewer(self)
        menu = QApplication.activePopupWidget()
        if menu is not None:
            menu.close()
        coordinator = self.coordinator
        coordinator.close()
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
        load(coordinator, "sample")
        wait_until(lambda: self.at_rest)


# -- painting ----------------------------------------------------------------------------


@often(14)
def drag_a_brush(person: Person) -> None:
    """Paint, or wipe away, and do something else meanwhile now and then."""
    chance, layer = person.chance, person.coordinator.masks.layer
    person.take("paint" if chance.random() < 0.75 else "erase")
    if layer is not None:
        layer.brush_size = chance.choice((1, 2, 4, 8, 20))
    at = person.place(outside=chance.random() < 0.1)
    QTest.mouseMove(person.canvas, at)
    person.mouse(QEvent.Type.MouseButtonPress, at)
    meanwhile = chance.randrange(12) if chance.random() < 0.15 else -1
    for k in range(chance.randrange(12)):
        at = at + QPoint(chance.randint(-30, 30), chance.randint(-20, 20))
        person.mouse(QEvent.Type.MouseMove, at)
        settle(chance.choice((0.0, 0.0, 0.005, 0.03)))
        if k == meanwhile:
            chance.choice((undo_or_redo, step_a_trial, press_a_key, live_on_or_off))(person)
    person.mouse(QEvent.Type.MouseButtonRelease, at)


@often(3)
def paint_by_program(person: Person) -> None:
    """Paint, fill or draw a polygon through napari's functions."""
    chance, layer = person.chance, person.coordinator.masks.layer
    if layer is None:
        return
    rows, bins = layer.data.shape
    label = chance.choice((0, 1, 1, 2))

    def anywhere() -> tuple[int, int]:
        return chance.randrange(rows), chance.randrange(bins)

    how = chance.choice(("paint", "fill", "polygon"))
    if how == "paint":
        layer.paint(anywhere(), label)
    elif how == "fill":
        layer.fill(anywhere(), label)
    else:
        layer.paint_polygon([anywhere() for _ in range(chance.randint(3, 6))], label)


@often(3)
def fill_by_click(person: Person) -> None:
    """Fill what touches a place."""
    person.take("fill")
    person.click(person.place())


@often(4)
def click_a_polygon(person: Person) -> None:
    """Click around something, and close it, or think better of it."""
    chance = person.chance
    person.take("polygon")
    at = person.place()
    for _ in range(chance.randint(1, 6)):
        at = person.place()
        person.click(at)
        settle(chance.choice((0.0, 0.01)))
    end = chance.random()
    if end < 0.7:
        person.mouse(QEvent.Type.MouseButtonDblClick, at)
        person.mouse(QEvent.Type.MouseButtonRelease, at)
    elif end < 0.8:
        person.key(Qt.Key.Key_Escape)
    elif end < 0.9:
        person.click(at, _RIGHT)


@often(3)
def choose_a_label(person: Person) -> None:
    """Paint with the other label, by our buttons or napari's box."""
    layer = person.coordinator.masks.layer
    if person.chance.random() < 0.8:
        person.press("Predict", f"label_{person.chance.choice((1, 2))}")
    elif layer is not None:
        layer.selected_label = person.chance.randrange(5)


# -- hiding by a click -------------------------------------------------------------------


@often(8)
def click_the_gutter(person: Person) -> None:
    """Hide a region, or show it again, beside the rest or alone."""
    gutter = person.main.findChild(QWidget, "napari-mtm gutter")
    if gutter is not None and gutter.isVisible():
        at = QPoint(40, person.chance.randrange(max(gutter.height(), 1)))
        QTest.mouseClick(gutter, _LEFT, person.chance.choice((_PLAIN, _PLAIN, _SHIFT)), at)


@often(8)
def press_a_preset(person: Person) -> None:
    """Hide as one of the paper's tasks does."""
    if person.chance.random() < 0.5:
        person.choose("Predict", "region")
    names = ("whole_region", "within_region", "neurons", "forward")
    person.press("Predict", person.chance.choice(names))


@often(2)
def invert(person: Person) -> None:
    """Hide what is visible."""
    person.press("Predict", "invert")


@often(3)
def clear(person: Person) -> None:
    """Hide nothing."""
    person.press("Predict", "clear")


@often(8)
def undo_or_redo(person: Person) -> None:
    """Go back or forward some steps, by button or key."""
    chance = person.chance
    back = chance.random() < 0.6
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.5:
            person.press("Predict", "undo" if back else "redo")
        else:
            person.key(Qt.Key.Key_Z, _CTRL if back else _CTRL | _SHIFT)


@often(6)
def press_a_key(person: Person) -> None:
    """Press one of our keys, wherever the cursor is."""
    chance = person.chance
    QTest.mouseMove(person.canvas, person.place(outside=chance.random() < 0.2))
    settle(0.01)
    key = chance.choice(_KEYS)
    shift = key == "H" and chance.random() < 0.3
    person.key(getattr(Qt.Key, f"Key_{key}"), _SHIFT if shift else _PLAIN)


@often(3)
def use_the_menu(person: Person) -> None:
    """Click with the right button, and take one of what is offered."""
    person.take("pan_zoom")
    person.click(person.place(), _RIGHT)
    settle(0.03)
    menu = QApplication.activePopupWidget()
    if menu is None:
        return
    acts = menu.actions()
    if acts and person.chance.random() < 0.8:
        person.chance.choice(acts).trigger()
    menu.close()


# -- what is asked -----------------------------------------------------------------------


@often(3)
def choose_a_prompt(person: Person) -> None:
    """Tell the model to do another task."""
    person.choose("Predict", "prompt")


@often(3)
def all_trials_or_one(person: Person) -> None:
    """Let edits apply to all trials, or to the one that is shown."""
    person.press("Predict", "everywhere")


@often(3)
def live_on_or_off(person: Person) -> None:
    """Switch live, and mostly on."""
    live = person.coordinator.live
    if live.on and person.chance.random() < 0.5:
        return
    person.press("Predict", "live")


@often(2)
def ask_once(person: Person) -> None:
    """Ask now."""
    person.press("Predict", "once")


@often(2)
def choose_a_baseline(person: Person) -> None:
    """Compare with the other baseline; the slow one seldom."""
    slow = person.chance.random() < 0.1 and (person.session is None or person.session.n_units < 30)
    person.choose("Predict", "baseline", int(slow))


@often(1)
def change_the_model(person: Person) -> None:
    """Ask other weights."""
    if person.chance.random() < 0.3:
        load(person.coordinator, person.chance.choice(("sample", "pretrained")))


# -- what is shown -----------------------------------------------------------------------


@often(10)
def step_a_trial(person: Person) -> None:
    """Go to another trial, or through several."""
    chance, session = person.chance, person.session
    if session is None:
        return
    if chance.random() < 0.5:
        person.viewer.dims.set_current_step(0, chance.randrange(session.n_trials))
        return
    key = chance.choice((Qt.Key.Key_Left, Qt.Key.Key_Right))
    for _ in range(chance.randint(1, 8)):
        person.key(key)
        settle(chance.choice((0.0, 0.02)))


@often(4)
def order_the_rows(person: Person) -> None:
    """Put the rows in another order."""
    person.choose("Session", "order")


@often(5)
def show_other_regions(person: Person) -> None:
    """Hide rows of regions, or show them again."""
    chance = person.chance
    if chance.random() < 0.3:
        person.press("Session", chance.choice(("all_regions", "all_regions", "named_regions")))
        return
    regions = person.part("Session", QListWidget, "regions")
    if regions is None or not regions.count():
        return
    item = regions.item(chance.randrange(regions.count()))
    on = item.checkState() == Qt.CheckState.Checked
    item.setCheckState(Qt.CheckState.Unchecked if on else Qt.CheckState.Checked)


@often(5)
def show_other_cells(person: Person) -> None:
    """Show or hide a cell, by our box or in napari's list of layers."""
    name = person.chance.choice(CELLS)
    if person.chance.random() < 0.7:
        person.press("Predict", f"cell_{name}")
        return
    layer = person.coordinator.cells.layer(name)
    if layer is not None:
        layer.visible = not layer.visible


@often(2)
def change_the_limits(person: Person) -> None:
    """Draw counts brighter or darker."""
    chance, layer = person.chance, person.coordinator.layer
    if chance.random() < 0.5:
        person.coordinator.set_limits(chance.choice((0, 1)), chance.randint(2, 8))
    elif layer is not None:
        layer.contrast_limits = (0, chance.randint(1, 6))


@often(6)
def zoom_or_move(person: Person) -> None:
    """Turn the wheel, drag the raster, or show all of it."""
    chance = person.chance
    how = chance.random()
    if how < 0.5:
        at = person.place()
        for _ in range(chance.randint(1, 5)):
            person.canvas.setFocus()
            event = QWheelEvent(
                QPointF(at),
                QPointF(person.canvas.mapToGlobal(at)),
                QPoint(0, 0),
                QPoint(0, chance.choice((-120, 120))),
                Qt.MouseButton.NoButton,
                _PLAIN,
                Qt.ScrollPhase.NoScrollPhase,
                False,
            )
            QApplication.sendEvent(person.canvas, event)
    elif how < 0.8:
        person.take("pan_zoom")
        at = person.place()
        person.mouse(QEvent.Type.MouseButtonPress, at)
        for _ in range(chance.randint(1, 6)):
            at = at + QPoint(chance.randint(-40, 40), chance.randint(-40, 40))
            person.mouse(QEvent.Type.MouseMove, at)
        person.mouse(QEvent.Type.MouseButtonRelease, at)
    elif how < 0.9:
        person.coordinator.fit()
    else:
        person.viewer.reset_view()


@often(4)
def move_the_mouse(person: Person) -> None:
    """Point at things."""
    for _ in range(person.chance.randint(1, 6)):
        QTest.mouseMove(person.canvas, person.place(outside=person.chance.random() < 0.2))
        settle(0.01)


@often(6)
def select_units(person: Person) -> None:
    """Click a unit, alone or beside others."""
    person.take("pan_zoom")
    for _ in range(person.chance.randint(1, 3)):
        person.click(person.place(), keys=person.chance.choice((_PLAIN, _SHIFT)))
        settle(0.01)


@often(2)
def use_the_cards(person: Person) -> None:
    """Look at the cards, pin one or let it go, sort trials otherwise."""
    if not person.bring("Units"):
        return
    settle(person.chance.choice((0.0, 0.1, 0.5)))
    pins = [b for b in person.main.findChildren(QAbstractButton, "pin") if b.isVisible()]
    if pins and person.chance.random() < 0.6:
        person.chance.choice(pins).click()
    person.choose("Units", "sort_trials")


@often(2)
def drag_the_time(person: Person) -> None:
    """Move the time cursor."""
    if person.session is not None:
        start, stop = person.session.window
        person.coordinator.set_time(person.chance.uniform(start - 0.2, stop + 0.2))


# -- the window --------------------------------------------------------------------------


@often(5)
def use_a_dock(person: Person) -> None:
    """Hide a dock, close it for good, open it again, let it float."""
    chance = person.chance
    name = chance.choice(("Predict", "Traces", "Units", "Units", "Session"))
    dock = person.dock(name)
    how = chance.choice(("hide", "close", "open", "open", "float"))
    if how == "open" or dock is None:
        found, _ = person.viewer.window.add_plugin_dock_widget("napari-mtm", name)
        found.show()
        found.raise_()
    elif how == "hide":
        dock.hide()
    elif how == "close":
        dock.destroyOnClose()
    else:
        dock.setFloating(not dock.isFloating())


@often(2)
def open_what_is_closed(person: Person) -> None:
    """Open all docks that were closed."""
    show_docks(person.viewer)


@often(2)
def switch_the_theme(person: Person) -> None:
    """Change between dark and light."""
    person.viewer.theme = person.chance.choice(("dark", "light"))


@often(2)
def resize_the_window(person: Person) -> None:
    """Make the window larger or smaller."""
    person.viewer.window.resize(person.chance.randint(700, 1366), person.chance.randint(500, 768))


# -- layers and sessions -----------------------------------------------------------------


@often(5)
def open_a_session(person: Person) -> None:
    """Open the sample or another session in place of what is open, or the same once more."""
    chance = person.chance
    what = chance.choice((SAMPLE, SAMPLE, *person.sessions))
    if isinstance(what, Session):
        person.coordinator.show(what)
    else:
        show_dock(person.viewer).open(Request(str(what), None, Preparation()))
        if chance.random() < 0.8:
            wait_until(lambda: not person.jobs_running)


@often(1)
def close_the_session(person: Person) -> None:
    """Close what is open, by removing the raster or all layers."""
    chance, layers = person.chance, person.viewer.layers
    how = chance.choice(("close", "raster", "clear", "all"))
    if how == "close":
        person.coordinator.close()
    elif how == "raster" and person.coordinator.layer is not None:
        layers.remove(person.coordinator.layer)
    elif how == "clear":
        layers.clear()
    else:
        layers.select_all()
        layers.remove_selected()


@often(2)
def delete_a_layer(person: Person) -> None:
    """Delete the mask or a cell's image or outline by hand."""
    chance, layers = person.chance, person.viewer.layers
    ours = [layer for layer in layers if layer is not person.coordinator.layer]
    if not ours:
        return
    chosen = chance.sample(ours, min(len(ours), chance.choice((1, 1, 1, 2, 3))))
    if chance.random() < 0.5:
        layers.selection = set(chosen)
        layers.remove_selected()
    else:
        for layer in chosen:
            if layer in layers:
                layers.remove(layer)


@often(2)
def add_a_layer_of_ones_own(person: Person) -> None:
    """Add an image or points that have nothing to do with the session."""
    chance, viewer = person.chance, person.viewer
    if len([layer for layer in viewer.layers if layer.name.startswith("own")]) > 3:
        return
    draw = np.random.default_rng(chance.randrange(1000))
    if chance.random() < 0.5:
        viewer.add_image(draw.random((64, 64)), name="own image")
    else:
        viewer.add_points(draw.random((20, 2)), name="own points", size=0.05)


@often(3)
def remove_ones_own(person: Person) -> None:
    """Remove a layer that was added."""
    own = [layer for layer in person.viewer.layers if layer.name.startswith("own")]
    if own:
        person.viewer.layers.remove(person.chance.choice(own))


@often(2)
def choose_a_layer(person: Person) -> None:
    """Make another layer the active one."""
    layers = person.viewer.layers
    if len(layers):
        layers.selection.active = person.chance.choice(list(layers))


@often(1)
def open_another_viewer(person: Person) -> None:
    """Open a second window with the sample, unless there is one."""
    if person.other is None and person.chance.random() < 0.5:
        viewer = window(SAMPLE, one=None, preparation=Preparation())
        viewer.show()
        viewer.window.resize(900, 600)
        settle(0.05)
        person.other = Person(viewer, person.sessions)


@often(2)
def close_the_other_viewer(person: Person) -> None:
    """Close the second window, whatever it is doing."""
    if person.other is not None:
        other, person.other = person.other, None
        other.viewer.close()
