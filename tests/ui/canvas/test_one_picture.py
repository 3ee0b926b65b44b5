"""What was just hidden and the answer to it are drawn together, where the answer is quick."""

import time
from weakref import ref

import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_mtm import load_model
from napari_mtm.ui.canvas.one_picture import MOST_MS, QUICK_MS, OnePicture

PATIENCE_MS = 20_000


class Window(QWidget):
    """Counts how often it is drawn, with what is in it."""

    times = 0

    def event(self, event: QEvent) -> bool:
        self.times += event.type() == QEvent.Type.UpdateRequest
        return super().event(event)


@pytest.fixture
def window(qtbot):
    """A window with a canvas in it."""
    window = Window()
    window.canvas = QWidget(window)
    window.resize(60, 60)
    with qtbot.waitExposed(window):
        window.show()
    yield window
    if isalive(window):
        window.close()


@pytest.fixture
def live(coordinator, window, qtbot):
    """Live that has answered, with a window that waits for it."""
    model = load_model("sample", device="cpu")
    coordinator.one_picture = OnePicture(coordinator, window.canvas)
    coordinator.live.use(lambda: model)
    qtbot.waitUntil(
        lambda: coordinator.live.answer is not None and not coordinator.live.stale,
        timeout=PATIENCE_MS,
    )
    qtbot.wait(50)
    yield coordinator.live
    assert coordinator.live.close(PATIENCE_MS / 1000)


def change_until(window, qtbot, something) -> None:
    """Let there be something to draw in the window until something is so."""

    def change() -> bool:
        window.update()
        window.canvas.update()
        return something()

    qtbot.waitUntil(change, timeout=PATIENCE_MS)


def test_a_quick_answer_is_drawn_with_what_it_answers(live, coordinator, window, qtbot):
    drawn = []
    live.answered.connect(lambda answer: drawn.append(window.times))
    before = window.times
    coordinator.masks.toggle_region("CA1")
    change_until(window, qtbot, lambda: bool(drawn))
    assert drawn[0] == before
    change_until(window, qtbot, lambda: window.times > before + 3)  # as ever from then on


def test_once_it_is_there_all_is_drawn_at_once(live, coordinator, window, qtbot):
    drawn = []
    live.answered.connect(lambda answer: drawn.append(window.times))
    coordinator.masks.toggle_region("CA1")
    for _ in range(3):
        window.update()
        window.canvas.update()
        QApplication.processEvents()
    qtbot.waitUntil(lambda: bool(drawn), timeout=PATIENCE_MS)
    qtbot.wait(50)
    assert window.times == drawn[0] + 1


def test_it_does_not_wait_long(live, coordinator, window, qtbot, monkeypatch):
    monkeypatch.setattr(live, "_on_news", lambda news: None)  # no answer is heard
    start, drawn = time.monotonic(), window.times
    coordinator.masks.toggle_region("CA1")
    change_until(window, qtbot, lambda: window.times > drawn)
    assert 1e3 * (time.monotonic() - start) >= MOST_MS - 5


def test_a_model_that_is_slow_is_not_waited_for(live, coordinator, window, qtbot, monkeypatch):
    coordinator.one_picture._seconds.clear()
    coordinator.one_picture._seconds.append(1.1 * QUICK_MS / 1e3)
    monkeypatch.setattr(live, "_on_news", lambda news: None)
    start, drawn = time.monotonic(), window.times
    coordinator.masks.toggle_region("CA1")
    change_until(window, qtbot, lambda: window.times > drawn)
    assert 1e3 * (time.monotonic() - start) < MOST_MS


def test_a_stroke_is_drawn_while_it_goes_on(live, coordinator, window):
    layer = coordinator.masks.layer
    asked = []
    live.asked.connect(lambda: asked.append(coordinator.masks.stroke_goes_on))
    with layer.block_history():
        layer.paint((5, 5), 1)
        assert coordinator.masks.stroke_goes_on
        drawn = window.times
        window.update()
        QApplication.processEvents()
        assert window.times > drawn
    assert asked[0]
    assert not coordinator.masks.stroke_goes_on


def test_a_window_that_is_gone_is_left_alone(live, coordinator, window, qtbot):
    coordinator.masks.toggle_region("CA1")
    canvas = window.canvas
    window.close()
    window.deleteLater()
    qtbot.waitUntil(lambda: not isalive(canvas), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not live.stale, timeout=PATIENCE_MS)
    coordinator.masks.toggle_region("CA1")
    qtbot.waitUntil(lambda: not live.stale, timeout=PATIENCE_MS)
    gone = ref(coordinator.one_picture)
    del coordinator.one_picture
    assert gone() is None
