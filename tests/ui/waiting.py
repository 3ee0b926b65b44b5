"""Letting Qt work while a test waits."""

import time
from collections.abc import Callable

from qtpy.QtWidgets import QApplication


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let Qt work until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.002)
