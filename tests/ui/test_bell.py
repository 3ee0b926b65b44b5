"""Ringing from any thread is heard on the Qt thread, once for several, and never after closing."""

import threading
from functools import partial

import pytest
from qtpy.QtCore import QObject, QTimer

from napari_mtm.ui.bell import Bell


@pytest.fixture
def heard() -> list[threading.Thread]:
    """The threads on which it was heard."""
    return []


@pytest.fixture
def bell(heard, qapp):
    bell = Bell(lambda: heard.append(threading.current_thread()))
    yield bell
    bell.close()


def ring_elsewhere(bell: Bell, times: int = 1) -> None:
    ring = bell.ring

    def rings() -> None:
        for _ in range(times):
            ring()

    thread = threading.Thread(target=rings)
    thread.start()
    thread.join()


def test_it_is_heard_on_the_qt_thread(bell, heard, qtbot):
    ring_elsewhere(bell)
    assert heard == []
    qtbot.waitUntil(lambda: bool(heard))
    assert heard == [threading.main_thread()]


def test_many_rings_are_heard_once_and_never_block(bell, heard, qtbot):
    ring_elsewhere(bell, times=100_000)  # more than a socket holds
    qtbot.waitUntil(lambda: bool(heard))
    qtbot.wait(50)
    assert len(heard) < 100_000 / 1000
    before = len(heard)
    ring_elsewhere(bell)
    qtbot.waitUntil(lambda: len(heard) > before)


def test_what_is_rung_while_it_is_heard_is_heard_again(qtbot):
    left = [3]

    def hear() -> None:
        left[0] -= 1
        if left[0]:
            bell.ring()

    bell = Bell(hear)
    bell.ring()
    qtbot.waitUntil(lambda: left == [0])
    qtbot.wait(20)
    assert left == [0]
    bell.close()


def test_the_event_loop_has_its_turn_between_rings(qtbot):
    turns = []

    def hear() -> None:
        turns.append("heard")
        if turns.count("heard") < 50:
            bell.ring()

    bell = Bell(hear)
    timer = QTimer()
    timer.timeout.connect(partial(turns.append, "timer"))
    timer.start(0)
    bell.ring()
    qtbot.waitUntil(lambda: turns.count("heard") == 50)
    timer.stop()
    bell.close()
    longest = max(len(run) for run in "".join(turn[0] for turn in turns).split("t"))
    assert longest <= 2


def test_a_closed_one_is_rung_in_vain(bell, heard, qtbot):
    ring_elsewhere(bell)
    bell.close()
    ring_elsewhere(bell)
    qtbot.wait(20)
    assert heard == []
    bell.close()


def test_it_hears_no_more_once_its_parent_is_gone(heard, qtbot):
    parent = QObject()
    bell = Bell(lambda: heard.append(threading.current_thread()), parent)
    with qtbot.waitSignal(parent.destroyed):
        parent.deleteLater()
    ring_elsewhere(bell)
    qtbot.wait(20)
    assert heard == []
    bell.close()
