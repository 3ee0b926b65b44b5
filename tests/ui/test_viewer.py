"""In a real napari window: the frame, the mouse, themes, two viewers, closing."""

import gc

import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_mtm import Session
from napari_mtm.ui.canvas.frame import HoverLabel
from napari_mtm.ui.canvas.strips import GUTTER_WIDTH
from napari_mtm.ui.coordinator import Hover, coordinator_of
from napari_mtm.ui.docks.session.dock import show_dock


@pytest.fixture
def viewer(make_napari_viewer):
    """A real viewer on screen, with the session dock."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 800)
    show_dock(viewer)
    QApplication.processEvents()
    return viewer


@pytest.fixture
def dock(viewer):
    return show_dock(viewer)


@pytest.fixture
def frame(viewer, dock, sample):
    """The frame around the canvas, with the sample open."""
    coordinator_of(viewer).show(sample)
    for _ in range(5):
        QApplication.processEvents()
    return dock.frame


def pixel(widget, x: int, y: int) -> tuple[int, int, int]:
    colour = widget.grab().toImage().pixelColor(x, y)
    return colour.red(), colour.green(), colour.blue()


def test_the_manifest_opens_the_dock(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mtm", "Session")
    assert type(widget).__name__ == "SessionDock"
    assert show_dock(viewer) is widget


def test_the_canvas_is_framed_while_a_session_is_open(viewer, dock, sample):
    frame = dock.frame
    parts = (frame.gutter, frame.events, frame.axis)
    assert not any(p.isVisible() for p in parts)
    coordinator_of(viewer).show(sample)
    QApplication.processEvents()
    assert all(p.isVisible() for p in parts)
    canvas = frame._canvas.geometry()
    gutter = frame.gutter.geometry()
    assert gutter.right() < canvas.left()
    assert (gutter.top(), gutter.height()) == (canvas.top(), canvas.height())
    assert frame.axis.geometry().left() == canvas.left()
    assert frame.axis.width() == canvas.width()
    viewer.layers.clear()
    QApplication.processEvents()
    assert not any(p.isVisible() for p in parts)
    assert frame._canvas.geometry().left() < GUTTER_WIDTH


def test_the_session_dock_finds_the_frame_when_it_is_opened_again(viewer, dock, frame, qtbot):
    opened = viewer.window.dock_widgets["Session (napari-mtm)"].parent()
    opened.destroyOnClose()
    again = show_dock(viewer)
    qtbot.waitUntil(lambda: again.frame is not None)
    assert again is not dock
    assert again.frame is frame
    window = viewer.window._qt_window
    for part in (frame.gutter, frame.events, frame.axis):
        assert window.findChildren(type(part)) == [part]
        assert part.isVisible()


def test_the_raster_fills_the_real_canvas_and_follows_its_size(viewer, frame, sample):
    coordinator = coordinator_of(viewer)
    for size in ((1300, 800), (1000, 600)):
        viewer.window.resize(*size)
        for _ in range(10):
            QApplication.processEvents()
        view = coordinator.view
        assert view.size == (frame._canvas.height(), frame._canvas.width())
        assert view.to_x(sample.window[0]) == pytest.approx(0, abs=1)
        assert view.to_x(sample.window[1]) == pytest.approx(frame._canvas.width(), abs=1)
        bands = frame.gutter.bands()
        assert bands[0].top == pytest.approx(0, abs=1)
        assert bands[-1].bottom == pytest.approx(frame.gutter.height(), abs=1)


def test_the_gutter_shows_each_region_in_its_colour(frame, sample):
    x = frame.gutter.width() - 4
    for band, region in zip(frame.gutter.bands(), sample.regions, strict=True):
        assert pixel(frame.gutter, x, int((band.top + band.bottom) / 2)) == region.colour
        assert frame.gutter.region_at((band.top + band.bottom) / 2).name == region.name
    assert frame.gutter.region_at(-5) is None


def test_gutter_and_axis_follow_the_camera(viewer, frame):
    coordinator = coordinator_of(viewer)
    before = [b.height for b in frame.gutter.bands()]
    viewer.scene.camera.zoom *= 3
    assert [b.height for b in frame.gutter.bands()] == pytest.approx([3 * h for h in before])
    ticks = frame.axis.ticks()
    low, high = coordinator.view.x_range
    assert all(low <= t <= high for t in ticks)
    assert 2 <= len(ticks) <= frame.axis.width() / 50


def test_event_lines_stand_where_the_events_were_and_one_at_the_cursor(viewer, frame, sample):
    coordinator = coordinator_of(viewer)
    for trial, time in ((0, 1.0), (5, -0.25), (9, 0.75)):
        viewer.dims.set_current_step(0, trial)
        coordinator.set_time(time)
        row = sample.trials.iloc[trial]
        expected = [
            coordinator.view.to_x(row[name] - row["stimOn_times"])
            for name in ("stimOn_times", "firstMovement_times", "feedback_times")
            if row[name] - row["stimOn_times"] <= 1.5
        ]
        shown = [line.x() for line in frame.lines if line.isVisible()]
        assert shown == pytest.approx([*expected, coordinator.view.to_x(time)], abs=1)


def test_hovering_with_the_mouse_tells_the_unit(viewer, dock, frame, qtbot, sample, monkeypatch):
    coordinator = coordinator_of(viewer)
    canvas = frame._canvas
    monkeypatch.setattr(canvas, "underMouse", lambda: True)
    place = QPoint(canvas.width() // 3, canvas.height() // 2)
    qtbot.mouseMove(canvas, place)
    qtbot.waitUntil(frame.hover.isVisible)
    height = coordinator.layer.scale[-2]
    view = coordinator.view
    row = int((place.y() - view.to_y(-0.5 * height)) / (height * view.zoom))
    unit = sample.units.iloc[coordinator.rows[row]]
    assert unit["uuid"][:8] in frame.hover.text()
    assert unit["region"] in dock.under.text()
    assert canvas.rect().contains(frame.hover.geometry())


def test_what_is_under_the_cursor_is_not_cut_off_on_a_narrow_canvas(viewer, frame, qtbot):
    hover, heights = Hover(unit=3, bin=10, time=-0.3, count=1), []
    for width in (900, 120):
        canvas = QWidget()
        qtbot.addWidget(canvas)
        canvas.resize(width, 400)
        label = HoverLabel(coordinator_of(viewer), canvas)
        label.tell(hover, canvas)
        assert canvas.rect().contains(label.geometry())
        room = label.contentsRect().adjusted(4, 4, -4, -4)
        flags = Qt.TextFlag.TextWordWrap.value if label.wordWrap() else 0
        needed = label.fontMetrics().boundingRect(room, flags, label.text())
        assert needed.width() <= room.width()
        assert needed.height() <= room.height()
        heights.append(label.height())
    assert heights[1] > heights[0]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_frame_takes_the_colours_of_the_theme(viewer, frame, theme):
    viewer.theme = theme
    QApplication.processEvents()
    background = get_theme(theme).background.as_rgb_tuple()
    assert pixel(frame.axis, 1, frame.axis.height() - 1) == tuple(background)
    assert pixel(frame.gutter, 0, 0) == tuple(background)


@pytest.mark.parametrize("n_units", [20, 2000])
@pytest.mark.parametrize("n_regions", [5, 40])
def test_the_gutter_is_readable_at_any_size(viewer, dock, n_units, n_regions):
    from napari_mtm.recording import regions

    names = [n for n in regions._beryl() if n not in regions.OUTSIDE][40 : 40 + n_regions]
    rng = np.random.default_rng(0)
    chosen = [names[k % n_regions] for k in rng.permutation(n_units)]
    session = Session.from_counts(rng.poisson(0.2, (2, 20, n_units)), chosen)
    coordinator_of(viewer).show(session)
    QApplication.processEvents()
    gutter = dock.frame.gutter
    assert len(gutter.bands()) == min(n_regions, n_units)
    image = gutter.grab().toImage()
    colours = {image.pixelColor(gutter.width() - 4, y).rgb() for y in range(gutter.height())}
    assert len(colours) >= 0.9 * min(n_regions, n_units, 30)


def test_mixed_orders_still_draw(viewer, frame):
    coordinator = coordinator_of(viewer)
    coordinator.set_order("rate")
    assert len(frame.gutter.bands()) > 20
    frame.gutter.grab()
    coordinator.set_shown(["CA1"])
    assert [b.name for b in frame.gutter.bands()] == ["CA1"]


def test_too_many_rows_for_the_pixels_is_said(viewer, dock, qtbot):
    session = Session.from_counts(np.zeros((1, 10, 3000)), ["CA1"] * 3000)
    coordinator = coordinator_of(viewer)
    coordinator.show(session)
    assert coordinator.row_pixels < 0.5
    plain = dock.frame.events.grab().toImage()
    viewer.scene.camera.zoom *= 20
    assert coordinator.row_pixels > 1
    QApplication.processEvents()
    assert dock.frame.events.grab().toImage() != plain


def test_the_sample_from_the_menu(viewer, sample):
    viewer.open_sample("napari-mtm", "sample")
    assert coordinator_of(viewer).session == sample
    assert show_dock(viewer).frame.gutter.isVisible()


def test_the_command_asks_which_session(viewer, dock):
    from napari_mtm.ui.docks.session.open_dialog import OpenDialog
    from napari_mtm.ui.plugin import open_dialog

    open_dialog()
    (dialog,) = dock.findChildren(OpenDialog)
    assert dialog.isVisible()
    dialog.reject()


def test_two_viewers_do_not_mix(make_napari_viewer, sample):
    one, two = make_napari_viewer(show=True), make_napari_viewer(show=True)
    docks = [show_dock(v) for v in (one, two)]
    QApplication.processEvents()
    coordinator_of(one).show(sample)
    assert coordinator_of(two).session is None
    assert docks[0].frame.gutter.isVisible()
    assert not docks[1].frame.gutter.isVisible()
    one.dims.set_current_step(0, 6)
    assert coordinator_of(one).trial == 6


def test_closing_the_window_while_a_session_opens(make_napari_viewer, alf, own_cache, qtbot):
    from napari_mtm.recording.preparation import Preparation
    from napari_mtm.ui.docks.session.open_dialog import Request

    viewer = make_napari_viewer(show=True)
    dock = show_dock(viewer)
    dock.open(Request(str(alf), None, Preparation()))
    viewer.close()
    qtbot.wait(300)
    gc.collect()


def test_closing_the_dock_keeps_the_frame(viewer, dock, frame):
    viewer.window.remove_dock_widget(dock)
    QApplication.processEvents()
    viewer.dims.set_current_step(0, 3)
    viewer.layers.clear()
