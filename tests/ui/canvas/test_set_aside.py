"""What is there when a session is at rest is set aside for Python's search for garbage."""

import gc
from weakref import ref

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from napari_mtm import Session
from napari_mtm.ui.canvas.set_aside import REST_MS, SetAside
from napari_mtm.ui.coordinator import coordinator_of
from tests.going import until_gone

PATIENCE_MS = 20_000


@pytest.fixture
def canvas(qapp):
    assert gc.get_freeze_count() == 0
    canvas = QWidget()
    canvas.show()
    yield canvas
    gc.unfreeze()


def small_session(name: str) -> Session:
    counts = np.random.default_rng(0).poisson(0.5, (4, 10, 3))
    return Session.from_counts(counts, ["CA1", "CA1", "LP"], id=name)


def test_what_is_there_is_set_aside_once_a_session_rests(coordinator, canvas, qtbot):
    SetAside(coordinator, canvas)
    assert gc.get_freeze_count() == 0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 1000, timeout=PATIENCE_MS)


def test_it_waits_while_the_model_is_asked(coordinator, canvas, qtbot):
    SetAside(coordinator, canvas)
    for _ in range(6):
        qtbot.wait(REST_MS // 4)
        coordinator.live.answered.emit(None)
    assert gc.get_freeze_count() == 0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    gc.unfreeze()
    coordinator.live.answered.emit(None)
    qtbot.wait(2 * REST_MS)
    assert gc.get_freeze_count() == 0, "once for each session"


def test_it_waits_for_an_answer_that_takes_long(coordinator, canvas, qtbot, monkeypatch):
    SetAside(coordinator, canvas)
    with monkeypatch.context() as patched:
        patched.setattr(type(coordinator.live), "stale", True)
        qtbot.wait(2 * REST_MS)
        assert gc.get_freeze_count() == 0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)


def test_it_waits_for_the_end_of_a_stroke(coordinator, canvas, qtbot):
    SetAside(coordinator, canvas)
    with coordinator.masks.layer.block_history():
        coordinator.masks.layer.paint((5, 5), 1)
        qtbot.wait(2 * REST_MS)
        assert gc.get_freeze_count() == 0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)


def test_without_a_session_nothing_is(viewer, canvas, qtbot):
    SetAside(coordinator_of(viewer), canvas)
    qtbot.wait(2 * REST_MS)
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("waits", [False, True], ids=["shown", "not shown"])
def test_a_session_that_was_set_aside_can_go(coordinator, canvas, qtbot, waits):
    SetAside(coordinator, canvas)
    first = small_session("first")
    coordinator.show(first)
    object.__setattr__(first, "held", first)  # garbage that only a search finds
    first = ref(first)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    if waits:
        coordinator.show(small_session("second"))
        qtbot.wait(2 * REST_MS)  # what was set aside is looked through, and set aside again
        qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    coordinator.close(first())
    qtbot.waitUntil(lambda: first() is None, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)


def test_a_session_that_goes_before_it_was_set_aside_is_not_set_aside_with_the_next(
    coordinator, canvas, qtbot
):
    SetAside(coordinator, canvas)
    first = small_session("first")
    coordinator.show(first)
    object.__setattr__(first, "held", first)  # garbage that only a search finds
    first = ref(first)
    assert gc.get_freeze_count() == 0
    coordinator.close(first())
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    assert first() is None


def test_layers_that_were_set_aside_can_go(coordinator, canvas, qtbot):
    SetAside(coordinator, canvas)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    mask = ref(coordinator.masks.layer)
    coordinator.close()
    assert gc.get_freeze_count() == 0
    until_gone(mask)


def test_other_layers_that_go_change_nothing(coordinator, viewer, canvas, qtbot):
    SetAside(coordinator, canvas)
    own = viewer.add_image(np.zeros((4, 4)))
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    viewer.layers.remove(own)
    assert gc.get_freeze_count() > 0


def test_with_the_window_it_ends(coordinator, canvas, qtbot):
    held = SetAside(coordinator, canvas)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    canvas.deleteLater()
    qtbot.waitUntil(lambda: gc.get_freeze_count() == 0, timeout=PATIENCE_MS)
    assert not isalive(held)
    coordinator.show(small_session("second"))
    qtbot.wait(2 * REST_MS)
    assert gc.get_freeze_count() == 0


def test_what_another_window_leaves_goes_at_once(coordinator, canvas, qtbot):
    SetAside(coordinator, canvas)
    other, viewer = QWidget(), ViewerModel()
    SetAside(coordinator_of(viewer), other)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
    left = small_session("left")
    object.__setattr__(left, "held", left)  # garbage that only a search finds
    left = ref(left)
    gc.freeze()
    other.deleteLater()
    qtbot.waitUntil(lambda: left() is None, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0, timeout=PATIENCE_MS)
