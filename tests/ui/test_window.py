"""The docks of a real window: they open together, are driven by mouse, and close for good."""

import gc
import threading

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mtm import Mask
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.session.dock import show_dock
from napari_mtm.ui.window import show_docks
from tests.ui.docks.test_predict import another
from tests.ui.waiting import until


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 800)
    return viewer


@pytest.fixture
def live(viewer, sample):
    """A window with all docks, the sample, and its model's first answer."""
    show_docks(viewer)
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    until(lambda: coordinator.live.answer is not None)
    yield coordinator
    coordinator.live.close()


def names(viewer) -> list[str]:
    return sorted(viewer.window.dock_widgets)


def test_all_docks_are_there(viewer):
    show_docks(viewer)
    assert names(viewer) == [
        f"{name} (napari-mtm)" for name in ("Fine-tune", "Predict", "Session", "Traces", "Units")
    ]
    show_docks(viewer)
    assert len(names(viewer)) == 5


def test_a_session_is_found_and_opened(viewer, alf, own_cache):
    dock = show_dock(viewer)
    QTest.mouseClick(dock.find_button, Qt.MouseButton.LeftButton)
    assert "Find sessions (napari-mtm)" in names(viewer)
    browser = viewer.window.dock_widgets["Find sessions (napari-mtm)"]
    browser.place.setEditText(str(alf.parent))
    QTest.mouseClick(browser.find_button, Qt.MouseButton.LeftButton)
    until(lambda: browser.table.model().rowCount() == 1)
    browser.table.selectRow(0)
    until(lambda: "nothing to download" in browser.offer.text())
    QTest.mouseClick(browser.open_button, Qt.MouseButton.LeftButton)
    coordinator = coordinator_of(viewer)
    until(lambda: coordinator.session is not None)
    assert coordinator.session.name == "MOUSE 2024-02-03 002"
    QTest.mouseClick(dock.find_button, Qt.MouseButton.LeftButton)
    assert browser.isVisible()


def test_a_click_on_a_region_predicts_it(viewer, live, sample):
    frame = show_dock(viewer).frame
    band = max(frame.gutter.bands(), key=lambda b: b.height)
    place = QPoint(30, int((band.top + band.bottom) / 2))
    QTest.mouseClick(frame.gutter, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    mask = Mask.region(sample, band.name)
    assert live.masks.mask == mask
    until(lambda: not live.live.stale)
    expected = live.live.model.reconstruct(sample, mask, [0])
    assert live.live.scores.bps_pooled == pytest.approx(expected.scores().bps_pooled)
    QTest.mouseClick(frame.gutter, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    assert not live.masks.mask.hidden.any()


def test_a_stroke_of_the_brush_changes_the_reconstruction_and_undo_restores_it(viewer, live):
    canvas = show_dock(viewer).frame._canvas
    image = live.cells.layer("reconstructed")
    before = image.data.copy()
    live.masks.tool = "paint"
    view, row = live.view, float(live.layer.scale[-2])
    places = [QPoint(int(view.to_x(0.1 * k)), int(view.to_y((20 + k) * row))) for k in range(8)]
    QTest.mouseMove(canvas, places[0])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mousePress(canvas, left, none, places[0])
    for place in places:
        QTest.mouseMove(canvas, place)
        QApplication.processEvents()
    QTest.mouseRelease(canvas, left, none, places[-1])
    until(lambda: live.masks.can_undo and not live.live.stale)
    hidden = live.masks.mask.hidden[:, live.rows].T
    assert hidden.any()
    changed = image.data != before
    assert changed[hidden].all()
    assert not changed[~hidden].any()
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    until(lambda: not live.live.stale)
    assert (image.data == before).all()
    assert not live.masks.mask.hidden.any()


def test_another_trial_is_reconstructed(viewer, live):
    viewer.dims.set_current_step(0, 5)
    until(lambda: live.live.answer.request.trial == 5)


def test_cells_lie_where_the_frame_says(viewer, live):
    """The pixel that a cell's view names is where napari finds that place."""
    found = []
    viewer.mouse_move_callbacks.append(lambda _, event: found.append(event.position))
    canvas = show_dock(viewer).frame._canvas
    row = float(live.layer.scale[-2])
    assert len(live.views) == 3
    for view in live.views:
        x, y = view.to_x(0.7), view.to_y(30 * row)
        QTest.mouseMove(canvas, QPoint(round(x) - 5, round(y)))
        until(lambda: bool(found))
        found.clear()  # moves that follow each other fast are told of as one
        QTest.mouseMove(canvas, QPoint(round(x), round(y)))
        until(lambda: bool(found))
        assert found[-1][-1] == pytest.approx(0.7, abs=1.5 / view.zoom)
        assert found[-1][-2] == pytest.approx(30 * row, abs=1.5 / view.zoom)
        found.clear()


@pytest.mark.parametrize("found_first", [False, True], ids=["deleted", "found by Python"])
def test_a_closed_window_leaves_nothing_running(viewer, live, found_first):
    live.masks.invert()  # a request is on its way
    viewer.close()
    if found_first:
        gc.collect()  # before Qt deletes it
    until(lambda: not any(t.name.startswith("napari-mtm") for t in threading.enumerate()))


def test_docks_that_were_closed_hear_no_more_and_open_as_things_are(viewer, live, sample):
    for session, source in ((sample, "sample"), (None, "sample"), (another(sample), "pretrained")):
        for name in names(viewer):
            viewer.window.dock_widgets[name].parent().destroyOnClose()  # as its button does
            QApplication.processEvents()
        assert names(viewer) == []
        if session is None:
            live.close()
        else:
            live.show(session)
        show_docks(viewer)
        until(lambda source=source: live.live.source == source and not live.live.stale)
        predict = viewer.window.dock_widgets["Predict (napari-mtm)"]
        assert predict.closed.isHidden() == (session is not None)
        for panel in (predict.hide_panel, predict.score_panel, predict.model_panel):
            assert panel.isHidden() == (session is None)
