"""Small parts that several panels are made of."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QLabel, QPushButton


def button(name: str, text: str, tip: str) -> QPushButton:
    """Return a button that says what it does when pointed at."""
    made = QPushButton(text, objectName=name)
    made.setToolTip(tip)
    return made


def text(name: str) -> QLabel:
    """Return a text of several lines that can be copied."""
    label = QLabel(objectName=name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def swatch(colour: tuple[float, ...]) -> QIcon:
    """Return a small square of a colour, given as shares of red, green and blue."""
    pixmap = QPixmap(10, 10)
    pixmap.fill(QColor.fromRgbF(*colour))
    return QIcon(pixmap)
