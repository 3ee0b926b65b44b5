"""Small parts that several panels are made of."""

from collections.abc import Callable
from math import ceil
from typing import Any
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor, QFontMetricsF, QIcon, QPixmap
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QSizePolicy, QWidget


def button(name: str, text: str, tip: str) -> QPushButton:
    """Return a button that says what it does when pointed at."""
    made = QPushButton(text, objectName=name)
    made.setToolTip(tip)
    return made


class _Text(QLabel):
    """A text that never takes less height than some lines need."""

    def __init__(self, name: str, lines: int) -> None:
        super().__init__(objectName=name)
        self._lines = lines
        self._of = ""
        self._heights: dict[tuple[int, str], int] = {}

    def heightForWidth(self, width: int) -> int:
        """Height of the text where it is so wide; layouts ask a dozen times for each text."""
        if self.text() != self._of:
            self._of, self._heights = self.text(), {}
        asked = width, self.font().key()
        if asked not in self._heights:
            self._heights[asked] = self._height(width)
        return self._heights[asked]

    def _height(self, width: int) -> int:
        margins = self.contentsMargins()
        line = ceil(QFontMetricsF(self.font()).lineSpacing())
        least = self._lines * line + margins.top() + margins.bottom()
        return max(super().heightForWidth(width), least)


def text(name: str, *, lines: int = 1) -> QLabel:
    """Return a text of several lines that can be copied.

    It has room for so many `lines` also where it says less, so that nothing below it moves.
    """
    label = _Text(name, lines)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def let_be_cut(label: QLabel) -> None:
    """Let a text that is not broken into lines be cut: else what it is in would be widened."""
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


def swatch(colour: tuple[float, ...]) -> QIcon:
    """Return a small square of a colour, given as shares of red, green and blue."""
    pixmap = QPixmap(10, 10)
    pixmap.fill(QColor.fromRgbF(*colour))
    return QIcon(pixmap)


def scrolling(body: QWidget) -> QScrollArea:
    """Return an area in which something high scrolls: small windows do not squeeze it."""
    area = QScrollArea()
    area.setWidget(body)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


def listen(signal: SignalInstance, slot: Callable[[], Any]) -> None:
    """Let a method of a widget hear a signal of the coordinator's, for as long as Qt knows it.

    A dock that was closed may be gone from Qt while Python still holds it.
    """
    weak = WeakMethod(slot)

    def hear() -> None:
        bound = weak()
        if bound is not None and isalive(bound.__self__):
            bound()
        else:  # not in the middle of telling others
            QTimer.singleShot(0, lambda: signal.disconnect(hear, missing_ok=True))

    signal.connect(hear)
