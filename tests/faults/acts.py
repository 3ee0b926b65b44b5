"""What a person does, at random: each thing as often as it is done."""

from collections.abc import Callable
from random import Random

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QListWidget, QWidget

from napari_mtm.recording.opening import SAMPLE
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.ui.docks.session.dock import show_dock
from napari_mtm.ui.docks.session.open_dialog import Request
from napari_mtm.ui.launch import window
from napari_mtm.ui.layers.cells import USUAL
from napari_mtm.ui.window import show_docks
from tests.faults.person import CTRL, LEFT, PLAIN, RIGHT, SHIFT, Person, settle, wait_until

_KEYS = "HUJIKQWG"

Act = Callable[[Person], None]
ACTS: list[Act] = []
"""All that is done, as often in the list as it is done."""


def often(weight: int) -> Callable[[Act], Act]:
    """Do this so many times more often than what is done rarely."""

    def put(act: Act) -> Act:
        ACTS.extend([act] * weight)
        return act

    return put


def act(person: Person, seed: str) -> None:
    """Do something; in the other viewer, now and then, where there is one."""
    person.chance = chance = Random(seed)
    chosen = chance.choice(ACTS)
    if person.session is None and chance.random() < 0.4:
        chosen = open_a_session
    if person.other is not None and chance.random() < 0.3:
        person.done = f"other: {chosen.__name__}"
        if chosen not in (open_another_viewer, close_the_other_viewer):
            person.other.chance = chance
            chosen(person.other)
    else:
        person.done = chosen.__name__
        chosen(person)
    settle(chance.choice((0.0, 0.0, 0.01, 0.03, 0.2)))


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
        person.click(at, RIGHT)


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
        QTest.mouseClick(gutter, LEFT, person.chance.choice((PLAIN, PLAIN, SHIFT)), at)


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
            person.key(Qt.Key.Key_Z, CTRL if back else CTRL | SHIFT)


@often(6)
def press_a_key(person: Person) -> None:
    """Press one of our keys, wherever the cursor is."""
    chance = person.chance
    QTest.mouseMove(person.canvas, person.place(outside=chance.random() < 0.2))
    settle(0.01)
    key = chance.choice(_KEYS)
    shift = key == "H" and chance.random() < 0.3
    person.key(getattr(Qt.Key, f"Key_{key}"), SHIFT if shift else PLAIN)


@often(3)
def use_the_menu(person: Person) -> None:
    """Click with the right button, and take one of what is offered."""
    person.take("pan_zoom")
    person.click(person.place(), RIGHT)
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
        person.coordinator.models.choose(person.chance.choice(("sample", "pretrained")))


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
    name = person.chance.choice(USUAL)
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
                PLAIN,
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
        person.click(person.place(), keys=person.chance.choice((PLAIN, SHIFT)))
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


@often(4)
def close_messages(person: Person) -> None:
    """Close what napari says in a corner of the canvas."""
    person.close_messages()


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


@often(3)
def choose_among_the_open(person: Person) -> None:
    """Show a session that is open, or close it, whether it is shown or not."""
    coordinator, chance = person.coordinator, person.chance
    if coordinator.opened:
        chosen = chance.choice(coordinator.opened).session
        if chance.random() < 0.75:
            coordinator.show(chosen)
        else:
            coordinator.close(chosen)


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
    """Open a second window with the sample now and then, unless there is one.

    Seldom: each window leaves 0.5 MiB with napari and Qt, also one without a layer in it.
    """
    if person.other is None and person.chance.random() < 0.1:
        viewer = window(SAMPLE, one=None, preparation=Preparation())
        viewer.show()
        viewer.window.resize(900, 600)
        settle(0.05)
        person.other = Person(viewer, person.sessions)


@often(2)
def close_the_other_viewer(person: Person) -> None:
    """Close the second window, whatever it is doing."""
    person.close_other()
