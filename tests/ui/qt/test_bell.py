"""Ringing from any thread is heard on the Qt thread, once for several, and never after the end."""

import gc
import subprocess
import sys
import threading
from functools import partial
from weakref import ref

import pytest
from qtpy.QtCore import QTimer

from napari_mtm.ui.qt.bell import Bell


class Listener:
    """Hears a bell."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.bell = Bell(self.hear)

    def hear(self) -> None:
        self.threads.append(threading.current_thread())


@pytest.fixture
def listener(qapp, qtlog):
    listener = Listener()
    yield listener
    listener.bell.close()


def ring_elsewhere(bell: Bell, times: int = 1) -> None:
    ring = bell.ring

    def rings() -> None:
        for _ in range(times):
            ring()

    elsewhere(rings)


def elsewhere(act) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_it_is_heard_on_the_qt_thread(listener, qtbot):
    ring_elsewhere(listener.bell)
    assert listener.threads == []
    qtbot.waitUntil(lambda: bool(listener.threads))
    assert listener.threads == [threading.main_thread()]


def test_many_rings_are_heard_once_and_never_block(listener, qtbot):
    ring_elsewhere(listener.bell, times=100_000)  # more than a socket holds
    qtbot.waitUntil(lambda: bool(listener.threads))
    qtbot.wait(50)
    heard = len(listener.threads)
    assert heard < 100_000 / 1000
    ring_elsewhere(listener.bell)
    qtbot.waitUntil(lambda: len(listener.threads) > heard)


def test_what_is_rung_while_it_is_heard_is_heard_again(qtbot):
    class Again(Listener):
        def hear(self) -> None:
            super().hear()
            if len(self.threads) < 3:
                self.bell.ring()

    again = Again()
    again.bell.ring()
    qtbot.waitUntil(lambda: len(again.threads) == 3)
    qtbot.wait(20)
    assert len(again.threads) == 3
    again.bell.close()


def test_the_event_loop_has_its_turn_between_rings(qtbot):
    turns = []

    class Again(Listener):
        def hear(self) -> None:
            turns.append("heard")
            if turns.count("heard") < 50:
                self.bell.ring()

    again = Again()
    timer = QTimer()
    timer.timeout.connect(partial(turns.append, "timer"))
    timer.start(0)
    again.bell.ring()
    qtbot.waitUntil(lambda: turns.count("heard") == 50)
    timer.stop()
    again.bell.close()
    longest = max(len(run) for run in "".join(turn[0] for turn in turns).split("t"))
    assert longest <= 2


def test_a_closed_one_is_rung_in_vain(listener, qtbot):
    ring_elsewhere(listener.bell)
    listener.bell.close()
    ring_elsewhere(listener.bell)
    qtbot.wait(20)
    assert listener.threads == []
    listener.bell.close()


@pytest.mark.parametrize("where", [lambda act: act(), elsewhere], ids=["here", "elsewhere"])
def test_it_goes_with_whoever_hears_it(qtbot, qtlog, where):
    """Python lets go of things on any thread, where nothing of Qt's may be touched."""
    held = [Listener()]
    gone, ring, inside = ref(held[0]), held[0].bell.ring, held[0].bell._ear._inside

    def let_go() -> None:
        held.clear()
        gc.collect()

    where(let_go)
    assert gone() is None
    ring()
    qtbot.waitUntil(lambda: inside.fileno() == -1)
    assert [record.message for record in qtlog.records] == []


WITHOUT_APPLICATION = """
import gc
from qtpy.QtCore import QCoreApplication
from napari_mtm.ui.qt.bell import Bell

class Listener:
    def hear(self):
        raise AssertionError

assert QCoreApplication.instance() is None
listener = Listener()
bells = [Bell(listener.hear), Bell(listener.hear)]
for bell in bells:
    bell.ring()
bells.pop().close()
ring = bells.pop().ring
del bell
gc.collect()
ring()
"""


def test_without_an_application_it_is_rung_in_vain():
    """As in a viewer without a window, in a script."""
    given = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning"]
    command = [*given, "-c", WITHOUT_APPLICATION]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
