"""What napari leaves undone around its canvas."""

import gc
from weakref import ref

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from vispy.scene.widgets import Grid

from napari_mtm import Mask, load_model
from napari_mtm.ui.canvas.frame import find_canvas
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.session.dock import show_dock
from tests.going import until_gone
from tests.ui.waiting import until


def overlay_of(viewer, overlay):
    """What napari draws an overlay with."""
    drawn = viewer.window._qt_viewer.canvas._layer_overlay_to_visual
    return next(one for kept in drawn.values() for key, one in kept.items() if key is overlay)


def n_grids() -> int:
    gc.collect()
    return sum(type(one) is Grid for one in gc.get_objects())


def test_cells_that_come_and_go_leave_no_grids(make_napari_viewer, sample):
    viewer = make_napari_viewer(show=True)
    show_dock(viewer)
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.live.use(lambda: load_model("sample", device="cpu"))
    until(lambda: coordinator.live.answer is not None)
    cells, before = coordinator.cells, n_grids()
    for _ in range(3):
        for name in ("baseline", "residual"):
            for shown in (True, False):
                cells.set_shown(name, shown)
                QApplication.processEvents()
    assert n_grids() <= before
    # Those that are hidden lie in no grid that is gone.
    viewer.layers.remove(cells.layer("residual"))
    viewer.layers.remove(cells.layer("baseline"))
    QApplication.processEvents()
    assert cells.shown == ("reconstructed",)
    coordinator.show(sample)
    QApplication.processEvents()
    assert n_grids() <= before
    coordinator.live.close()


def test_layers_of_ones_own_leave_no_grids(make_napari_viewer, sample):
    viewer = make_napari_viewer(show=True)
    show_dock(viewer)
    coordinator_of(viewer).show(sample)
    viewer.canvas.grid.enabled = True
    QApplication.processEvents()
    before = n_grids()
    for _ in range(3):
        own = viewer.add_image(np.zeros((4, 5)), name="own")
        QApplication.processEvents()
        viewer.layers.remove(own)
        QApplication.processEvents()
    assert n_grids() <= before
    for stride in (2, 1, 2, 1):
        viewer.canvas.grid.stride = stride
        QApplication.processEvents()
    assert n_grids() <= before


@pytest.mark.parametrize(
    "corners",
    [
        [(47, 49), (51, 24), (6, 49), (6, 0), (6, 21), (15, 4)],  # crosses itself
        [(6, 9), (6, 9), (53, 20), (44, 30)],  # a corner clicked twice
    ],
)
def test_any_polygon_can_be_drawn(make_napari_viewer, sample, corners):
    viewer = make_napari_viewer(show=True)
    show_dock(viewer)
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.masks.tool = "polygon"
    layer, around = coordinator.masks.layer, [(2, 2), (2, 9), (9, 9)]
    QApplication.processEvents()
    overlay = layer._overlays["polygon"]
    drawn = overlay_of(viewer, overlay)._polygon
    for points, cut in ((around, True), (corners, False), (around, True)):
        overlay.points = [list(map(float, point)) for point in points]
        QApplication.processEvents()
        assert drawn._mesh.visible == cut
        assert np.allclose(drawn._border.pos[: len(points)], np.array(points)[:, ::-1])
    coordinator.live.close()


def test_clicks_are_not_kept(make_napari_viewer, sample):
    viewer = make_napari_viewer(show=True)
    show_dock(viewer)
    coordinator_of(viewer).show(sample)
    QApplication.processEvents()
    canvas = find_canvas(viewer.window._qt_window)
    clicks: list[ref] = []
    canvas._vispy_canvas.events.mouse_press.connect(lambda press: clicks.append(ref(press)))
    for k in range(8):
        QTest.mouseMove(canvas, QPoint(60 + 20 * k, 60))
        QTest.qWait(20)  # vispy hears of no more than a hundred moves a second
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(60 + 20 * k, 60))
    assert len(clicks) == 8
    until_gone(*clicks[:6])  # of the last two some is in use


def painted(viewer, layer) -> bool:
    """Whether the colour of a hidden part is on the canvas."""
    QApplication.processEvents()
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    r, g, b = np.rint(255 * np.array(layer.colormap.map(1)[:3])).astype(int)
    # It is drawn half transparent over black.
    share = np.array([r, g, b]) * layer.opacity
    return bool((np.abs(shot - share) < 12).all(axis=-1).sum() > 200)


@pytest.mark.parametrize("dock_first", [True, False])
def test_the_mask_is_drawn_only_while_it_shows_something(make_napari_viewer, sample, dock_first):
    viewer = make_napari_viewer(show=True)
    coordinator = coordinator_of(viewer)
    if dock_first:
        show_dock(viewer)
    coordinator.show(sample)
    show_dock(viewer)
    masks = coordinator.masks
    layer = masks.layer
    node = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node

    def drawn() -> bool:
        QApplication.processEvents()
        assert node.visible or not painted(viewer, layer)
        return node.visible

    assert not drawn()
    for trial in (1, 2, 0):
        viewer.dims.set_current_step(0, trial)
        assert not drawn()
    masks.toggle_region(sample.regions[0].name)
    assert drawn()
    assert painted(viewer, layer)
    viewer.dims.set_current_step(0, 3)
    assert painted(viewer, layer)
    layer.visible = False
    assert not drawn()
    masks.invert()
    assert not drawn()
    layer.visible = True
    assert painted(viewer, layer)
    masks.clear()
    assert not drawn()
    masks.undo()
    assert painted(viewer, layer)
    masks.clear()
    masks.tool = "polygon"  # its corners are drawn with the layer
    assert drawn()
    masks.tool = "pan_zoom"
    assert not drawn()
    coordinator.close()
    coordinator.show(sample)
    layer = masks.layer
    node = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node
    assert not drawn()
    masks.everywhere = False
    masks.put(Mask.region(sample, sample.regions[-1].name))
    assert painted(viewer, layer)
    viewer.dims.set_current_step(0, 1)  # nothing is hidden on it
    assert not drawn()
    viewer.dims.set_current_step(0, 0)
    assert painted(viewer, layer)
    viewer.layers.remove(layer)  # an empty one takes its place
    layer = masks.layer
    node = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node
    assert not drawn()
    masks.invert()
    assert painted(viewer, layer)
    coordinator.live.close()
