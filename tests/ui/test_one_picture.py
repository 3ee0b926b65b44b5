"""What was just hidden and the answer to it are drawn together, where the answer is quick."""

import time

import pytest
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from napari_mtm import load_model
from napari_mtm.ui.one_picture import MOST_MS, OnePicture

PATIENCE_MS = 20_000


@pytest.fixture
def canvas(qapp) -> QWidget:
    return QWidget()


@pytest.fixture
def live(coordinator, canvas, qtbot):
    """Live that has answered, with a canvas that waits for it."""
    model = load_model("sample", device="cpu")
    coordinator.one_picture = OnePicture(coordinator, canvas)
    coordinator.live.use(lambda: model)
    qtbot.waitUntil(
        lambda: coordinator.live.answer is not None and not coordinator.live.stale,
        timeout=PATIENCE_MS,
    )
    yield coordinator.live
    assert coordinator.live.close(PATIENCE_MS / 1000)


def test_the_canvas_waits_for_a_quick_answer(live, coordinator, canvas, qtbot):
    assert canvas.updatesEnabled()
    held = []
    live.asked.connect(lambda: held.append(canvas.updatesEnabled()))
    coordinator.masks.toggle_region("CA1")
    assert held == [False]
    drawn = []
    live.answered.connect(lambda: drawn.append(canvas.updatesEnabled()))
    qtbot.waitUntil(lambda: bool(drawn), timeout=PATIENCE_MS)
    assert drawn == [True]


def test_it_does_not_wait_long(live, coordinator, canvas, qtbot, monkeypatch):
    monkeypatch.setattr(live, "_on_news", lambda news: None)  # no answer is heard
    start = time.monotonic()
    coordinator.masks.toggle_region("CA1")
    assert not canvas.updatesEnabled()
    qtbot.waitUntil(canvas.updatesEnabled, timeout=PATIENCE_MS)
    assert 1e3 * (time.monotonic() - start) >= MOST_MS - 5


def test_a_stroke_is_drawn_while_it_goes_on(live, coordinator, canvas):
    layer = coordinator.masks.layer
    held = []
    live.asked.connect(lambda: held.append(coordinator.masks.stroke_goes_on))
    with layer.block_history():
        layer.paint((5, 5), 1)
        assert coordinator.masks.stroke_goes_on
        assert canvas.updatesEnabled()
    assert held[0]
    assert not coordinator.masks.stroke_goes_on


def test_a_canvas_that_is_gone_is_left_alone(live, coordinator, canvas, qtbot):
    canvas.deleteLater()
    qtbot.waitUntil(lambda: not isalive(canvas), timeout=PATIENCE_MS)
    coordinator.masks.toggle_region("CA1")
    qtbot.waitUntil(lambda: not live.stale, timeout=PATIENCE_MS)
