"""The list of open sessions in the session dock: shows, closes, and opens in another window."""

from dataclasses import replace

import numpy as np
import pytest
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_mtm import Mask, Session
from napari_mtm.recording.preparation import Preparation
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.session.dock import SessionDock, show_dock
from napari_mtm.ui.docks.session.open_dialog import Request
from napari_mtm.ui.docks.session.open_sessions import SessionList
from tests.ui.waiting import until


@pytest.fixture
def small() -> Session:
    counts = np.random.default_rng(1).poisson(0.3, (6, 100, 3))
    return Session.from_counts(counts, ["CA1", "LP", "LP"], id="small")


@pytest.fixture
def dock(coordinator, viewer, qtbot) -> SessionDock:
    dock = SessionDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(346, 700)
    dock.show()
    return dock


@pytest.fixture
def listed(dock, coordinator, small) -> SessionList:
    """The list with the sample, of which CA1 is hidden, and another, which is shown."""
    coordinator.masks.toggle_region("CA1")
    coordinator.show(small)
    return dock.sessions


def rows(listed: SessionList) -> list[str]:
    tree = listed.tree
    return [tree.topLevelItem(k).text(0) for k in range(tree.topLevelItemCount())]


def bold(listed: SessionList) -> list[bool]:
    tree = listed.tree
    return [tree.topLevelItem(k).font(0).bold() for k in range(tree.topLevelItemCount())]


def click(listed: SessionList, row: int) -> None:
    tree = listed.tree
    place = tree.visualItemRect(tree.topLevelItem(row)).center()
    place.setX(20)
    QTest.mouseClick(
        tree.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place
    )


def close_button(listed: SessionList, row: int) -> QPushButton:
    found = listed.tree.itemWidget(listed.tree.topLevelItem(row), 1)
    assert isinstance(found, QPushButton)
    return found


def test_one_session_needs_no_list(dock, coordinator):
    assert dock.sessions.isHidden()
    coordinator.close()
    assert dock.sessions.isHidden()
    assert "No session is open" in dock.title.text()


def test_several_are_listed_with_the_shown_one_marked(listed, sample):
    assert listed.isVisible()
    assert rows(listed) == [
        f"{sample.title}\n{sample.n_units} units, {sample.n_trials} trials",
        "small\n3 units, 6 trials",
    ]
    assert bold(listed) == [False, True]
    assert listed.tree.currentItem() is listed.tree.topLevelItem(1)
    tip = listed.tree.topLevelItem(0).toolTip(0)
    assert sample.id in tip
    assert "-0.5 to 1.5 s from stimOn_times, in bins of 20 ms" in tip
    room = listed.tree.viewport().width()
    assert listed.tree.visualItemRect(listed.tree.topLevelItem(0)).width() <= room


def test_a_click_shows_a_session_as_it_was_left(listed, dock, coordinator, sample):
    click(listed, 0)
    assert coordinator.session is sample
    assert coordinator.masks.mask == Mask.region(sample, "CA1")
    assert bold(listed) == [True, False]
    assert sample.title in dock.title.text()
    history = coordinator.masks.left().history
    click(listed, 0)  # it is shown already
    assert coordinator.masks.left().history is history


def test_the_keys_choose_show_and_close(listed, coordinator, sample):
    tree = listed.tree
    tree.setFocus()
    QTest.keyClick(tree, Qt.Key.Key_Up)
    assert coordinator.session.id == "small"  # not yet
    QTest.keyClick(tree, Qt.Key.Key_Return)
    assert coordinator.session is sample
    QTest.keyClick(tree, Qt.Key.Key_Down)
    QTest.keyClick(tree, Qt.Key.Key_Delete)
    assert [one.session for one in coordinator.opened] == [sample]
    assert listed.isHidden()


def test_a_button_closes_each(listed, dock, coordinator, sample, small):
    coordinator.show(replace(small, id="third", name="third"))
    QTest.mouseClick(close_button(listed, 0), Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    assert [text.split("\n")[0] for text in rows(listed)] == ["small", "third"]
    assert coordinator.session.id == "third"
    QTest.mouseClick(close_button(listed, 1), Qt.MouseButton.LeftButton)
    assert coordinator.session.id == "small"
    assert listed.isHidden()
    assert "small" in dock.title.text()


def test_others_can_be_shown_when_the_raster_was_deleted(listed, dock, coordinator, viewer, sample):
    viewer.layers.clear()
    assert "No session is shown" in dock.title.text()
    assert listed.isVisible()
    assert bold(listed) == [False]
    click(listed, 0)
    assert coordinator.session is sample
    assert coordinator.masks.hides_region("CA1")
    assert listed.isHidden()


def test_many_scroll(listed, coordinator, small):
    for k in range(8):
        coordinator.show(replace(small, id=f"session {k}"))
    assert len(rows(listed)) == 10
    assert listed.tree.height() < 6 * listed.tree.sizeHintForRow(0)
    shown = listed.tree.visualItemRect(listed.tree.topLevelItem(9))
    assert listed.tree.viewport().rect().contains(shown.center())


def test_what_is_opened_from_a_folder_is_listed_once(dock, coordinator, alf, own_cache):
    for _ in range(2):
        dock.open(Request(str(alf), None, Preparation()))
        until(lambda: not dock.jobs.running)
    assert len(rows(dock.sessions)) == 2
    dock.open(Request(str(alf), None, Preparation(units="all")))
    until(lambda: not dock.jobs.running)
    assert [text.split("\n")[1] for text in rows(dock.sessions)[1:]] == [
        "3 units, 12 trials",
        "5 units, 12 trials",
    ]


def test_controls_have_names_and_tool_tips(listed):
    for part in (listed.tree, listed.window_button, close_button(listed, 0)):
        assert part.objectName()
        assert part.toolTip()


# -- side by side, in real windows -------------------------------------------------------


def test_in_another_window(make_napari_viewer, sample, small, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 800)
    dock = show_dock(viewer)
    coordinator = coordinator_of(viewer)
    for session in (sample, small):
        coordinator.show(session)
    coordinator.masks.toggle_region("CA1")
    before = set(Viewer._instances)
    QTest.mouseClick(dock.sessions.window_button, Qt.MouseButton.LeftButton)
    (other,) = set(Viewer._instances) - before
    try:
        theirs = coordinator_of(other)
        assert theirs is not coordinator
        assert theirs.session is small
        assert other.window._qt_window.isVisible()
        first, second = viewer.window.geometry(), other.window.geometry()
        assert [b - a for a, b in zip(first, second, strict=True)] == [40, 40, 0, 0]
        assert not theirs.masks.mask.hidden.any()
        until(lambda: theirs.live.answer is not None)
        theirs.masks.toggle_region("LP")
        assert coordinator.session is small
        assert coordinator.masks.mask == Mask.region(small, "CA1")
        assert [one.session for one in theirs.opened] == [small]
        assert len(coordinator.opened) == 2
    finally:
        theirs.end(30.0)
        other.close()
        QApplication.processEvents()
    coordinator.show(sample)
    assert coordinator.session is sample
