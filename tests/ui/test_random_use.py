"""A short run of the program used at random; `tests.faults.random_use` does it for an hour."""

import gc
import warnings

from napari._qt.qt_viewer import QtViewer
from qtpy.QtCore import QTimer, qWarning

from tests.faults.listening import listening
from tests.faults.person import settle
from tests.faults.random_use import use


def no_window_is_left() -> bool:
    gc.collect()
    return not QtViewer._instances


def test_random_use_breaks_nothing(qtbot):
    with listening() as troubles:
        figure = use(60, 11, troubles)
    assert list(figure.troubles) == []
    assert list(figure.threads) == []
    assert figure.actions == 60
    qtbot.waitUntil(no_window_is_left, timeout=20_000)


def test_what_goes_wrong_is_heard(qapp):
    def break_() -> None:
        raise RuntimeError("an exception")

    with listening() as troubles:
        QTimer.singleShot(0, break_)
        settle(0.01)
        warnings.warn("a warning", stacklevel=1)
        qWarning(b"a word of Qt")
    assert [
        any(what in trouble for trouble in troubles)
        for what in ("an exception", "a warning", "a word of Qt")
    ] == [True] * 3
