"""Letting Qt work while a test waits."""

import gc
import time
from collections.abc import Callable
from weakref import ref

from qtpy.QtWidgets import QApplication


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let Qt work until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.002)


def until_gone(*things: "ref[object]") -> None:
    """Search for garbage until they are among what is found.

    A search returns at once where another thread is in one, such as that of an engine that an
    earlier test left to end by itself.
    """
    until(lambda: gc.collect() >= 0 and all(thing() is None for thing in things), 10.0)
