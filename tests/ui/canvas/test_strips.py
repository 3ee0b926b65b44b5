"""Strips around the canvas without a window: what they paint and say."""

import numpy as np
import pytest
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from napari_mtm.ui.canvas.strips import AXIS_HEIGHT, GUTTER_WIDTH, Gutter, Scale, TimeAxis


@pytest.fixture
def scale(qtbot, coordinator):
    parent = QWidget()
    qtbot.addWidget(parent)
    scale = Scale(coordinator, parent)
    scale.resize(GUTTER_WIDTH, AXIS_HEIGHT)
    yield scale
    parent.close()


def colours(scale: Scale) -> set[str]:
    """All colours that are painted."""
    image = scale.grab().toImage()
    return {
        QColor(image.pixel(x, y)).name()
        for x in range(image.width())
        for y in range(image.height())
    }


def reddest(scale: Scale) -> int:
    """How much more red than blue there is in the reddest pixel."""
    return max(QColor(name).red() - QColor(name).blue() for name in colours(scale))


def test_its_ends_are_spikes_per_second(scale, coordinator, sample):
    coordinator.set_limits(1.0, 3.0)
    assert scale.ends() == (1 / sample.bin_size, 3 / sample.bin_size)


def test_it_has_the_colours_of_the_raster(scale, coordinator):
    def bluest() -> int:
        return max(QColor(name).blue() - QColor(name).red() for name in colours(scale))

    assert bluest() < 30
    coordinator.layer.colormap = "blue"
    assert bluest() > 240


def test_gamma_makes_its_middle_brighter(scale, coordinator):
    def brightness() -> float:
        image = scale.grab().toImage()
        y = AXIS_HEIGHT // 6
        row = [QColor(image.pixel(x, y)).value() for x in range(GUTTER_WIDTH)]
        return float(np.mean(row))

    coordinator.layer.gamma = 1.0
    before = brightness()
    coordinator.layer.gamma = 0.3
    assert brightness() > before


def test_the_residual_has_a_scale_while_it_is_shown(scale, coordinator):
    assert reddest(scale) < 60
    coordinator.cells.add()
    assert reddest(scale) > 120
    coordinator.cells.set_shown("residual", False)
    assert reddest(scale) < 60


def test_without_a_session_nothing_is_painted(scale, coordinator):
    coordinator.close()
    assert len(colours(scale)) == 1


def test_the_gutter_points_at_selected_units(qtbot, coordinator):
    parent = QWidget()
    qtbot.addWidget(parent)
    gutter = Gutter(coordinator, parent)
    gutter.resize(GUTTER_WIDTH, round(coordinator.view.size[0]))
    assert gutter.selected_rows() == []
    before = gutter.grab().toImage()
    rows = [3, 40]
    coordinator.select(coordinator.rows[rows].tolist())
    height = gutter.height() / len(coordinator.rows)
    assert gutter.selected_rows() == pytest.approx([(row + 0.5) * height for row in rows], abs=1)
    after = gutter.grab().toImage()
    x = GUTTER_WIDTH - 4
    differ = {y for y in range(gutter.height()) if before.pixel(x, y) != after.pixel(x, y)}
    assert differ
    assert all(min(abs(y - (row + 0.5) * height) for row in rows) < 6 for y in differ)
    coordinator.set_shown([coordinator.session.units["region"].iloc[coordinator.selection[0]]])
    assert len(gutter.selected_rows()) == 1
    parent.close()


def written(axis: TimeAxis) -> list[int]:
    """Columns of pixels in which something is written below the numbers."""
    image = axis.grab().toImage()
    ground = image.pixel(0, AXIS_HEIGHT - 1)
    lines = range(AXIS_HEIGHT // 2 + 1, AXIS_HEIGHT)
    return [x for x in range(image.width()) if any(image.pixel(x, y) != ground for y in lines)]


def test_what_times_count_from_is_not_cut_in_narrow_cells(qtbot, viewer, coordinator):
    parent = QWidget()
    qtbot.addWidget(parent)
    axis = TimeAxis(coordinator, parent)

    def columns(width: int) -> list[int]:
        viewer.canvas.size = (400, width)
        axis.resize(width, AXIS_HEIGHT)
        return written(axis)

    alone = columns(300)
    assert 50 < alone[-1] - alone[0] < 200
    coordinator.cells.add()
    wide = columns(900)
    assert len(coordinator.views) == 3
    for view in coordinator.views:
        inside = [x for x in wide if view.left <= x < view.right]
        assert inside[-1] - inside[0] == pytest.approx(alone[-1] - alone[0], abs=2)
    narrow = columns(240)
    assert narrow[-1] - narrow[0] == pytest.approx(alone[-1] - alone[0], abs=2)
    assert (narrow[0] + narrow[-1]) / 2 == pytest.approx(120, abs=3)
    parent.close()
