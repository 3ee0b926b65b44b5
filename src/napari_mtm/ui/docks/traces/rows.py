"""The plots of the traces dock: a quantity over one trial, recorded and decoded."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QFont, QPainter

from napari_mtm.recording.session import Session
from napari_mtm.recording.trials import chose_right
from napari_mtm.ui.canvas.geometry import nice_ticks
from napari_mtm.ui.text.behaviour import words
from napari_mtm.ui.text.trial import Event

if TYPE_CHECKING:
    from napari_mtm.live.engine import Decoded

CHOICE = "choice"
ROWS = ("wheel-speed", "whisker-motion-energy", CHOICE)
"""Quantities that always have a row, from top to bottom; further ones come below."""

LINES = {
    "recorded": "recorded",
    "masked": "decoded, with the mask",
    "visible": "decoded, nothing hidden",
}

SPACING = 4
"""Pixels between rows."""

_DARK = {"masked": "#ffa028", "visible": "#86a4ff"}
_LIGHT = {"masked": "#c96400", "visible": "#3450d0"}
_PERCENTILES = (0.1, 99.9)
_MARGIN = 0.05
_NARROWEST_BAND = 0.04
_MOST_TICKS = 3
_FONT = 10
_LABEL_WIDTH = 84
_AXIS_WIDTH = 26
_UNBOUNDED = 16777215  # Qt's own


class Name(pg.GraphicsWidget):
    """Words beside an axis, at the right of their cell."""

    def __init__(self, width: float = _LABEL_WIDTH) -> None:
        super().__init__()
        self.setMinimumWidth(width)
        self.setMaximumWidth(width)
        self._text, self._colour = "", QColor()

    @property
    def text(self) -> str:
        """What is said."""
        return self._text

    def set_text(self, text: str) -> None:
        """Say something else."""
        self._text = text
        self.update()

    def recolour(self, colour: QColor) -> None:
        """Say it in another colour."""
        self._colour = colour
        self.update()

    def paint(self, painter: QPainter, *args: object) -> None:
        """Paint the words."""
        painter.setPen(self._colour)
        painter.setFont(_small())
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(self.rect(), flags | Qt.TextFlag.TextWordWrap, self._text)


class TraceRow:
    """One plot: a quantity over the trial that is shown.

    Attributes
    ----------
    box
        The view box; its range of y is the same for all trials of a session.
    lines
        Curves by the keys of `LINES`.
    cursor
        The time cursor, which can be dragged.
    events
        Lines of the trial's events; those that are not needed are hidden.

    """

    def __init__(self, name: str, layout: pg.GraphicsLayout, place: int) -> None:
        self.name = name
        self._layout, self._place = layout.layout, place
        self.box = pg.ViewBox(enableMouse=False, enableMenu=False, defaultPadding=0)
        self.box.disableAutoRange()
        self.label = Name()
        self.label.set_text(words(name).axis)
        self.axis = make_axis("left", over_edge=5)
        self.axis.setWidth(_AXIS_WIDTH)
        self.axis.linkToView(self.box)
        for column, item in enumerate((self.label, self.axis, self.box)):
            layout.addItem(item, row=place, col=column)
        self.lines = {key: pg.PlotDataItem(connect="finite", antialias=True) for key in LINES}
        for z, key in enumerate(("visible", "recorded", "masked")):
            self.lines[key].setZValue(z)
            self.box.addItem(self.lines[key])
        self.events: list[pg.InfiniteLine] = []
        self.cursor = pg.InfiniteLine(movable=True)
        self.cursor.setZValue(10)
        self.cursor.setCursor(Qt.CursorShape.SplitHCursor)
        self.box.addItem(self.cursor)

    @property
    def visible(self) -> bool:
        """Whether the session has what this row shows."""
        return bool(self.box.isVisible())

    def set_visible(self, visible: bool) -> None:
        """Show the row, or give its place to the others."""
        for item in (self.label, self.axis, self.box):
            item.setVisible(visible)
        self._layout.setRowStretchFactor(self._place, int(visible))
        self._layout.setRowMaximumHeight(self._place, _UNBOUNDED if visible else 0)
        self._layout.setRowSpacing(self._place, SPACING if visible else 0)

    def set_limits(self, low: float, high: float) -> None:
        """Set the range of y."""
        self.box.setYRange(low, high, padding=0)
        self.axis.setTicks([[(y, f"{y:g}") for y in nice_ticks(low, high, _MOST_TICKS)]])

    def set_events(self, events: list[Event]) -> None:
        """Mark other events."""
        while len(self.events) < len(events):
            line = pg.InfiniteLine()
            line.setZValue(-5)
            self.events.append(line)
            self.box.addItem(line)
        for line, event in zip(self.events, events, strict=False):
            colour = QColor(event.colour)
            colour.setAlphaF(0.8)
            line.setPen(colour)
            line.setValue(event.time)
            line.show()
        for line in self.events[len(events) :]:
            line.hide()

    def set_decoded(self, times: npt.NDArray[np.float64], decoded: "Decoded | None") -> None:
        """Draw what was decoded; None for nothing."""
        for key in ("masked", "visible"):
            found = None if decoded is None else getattr(decoded, key).get(self.name)
            if found is None:
                self.lines[key].clear()
            else:
                self.lines[key].setData(times, found[0])

    def set_opacity(self, opacity: float) -> None:
        """Let the decoded lines be fainter, or not."""
        for key in ("masked", "visible"):
            self.lines[key].setOpacity(opacity)

    def recolour(self, text: QColor, *, dark: bool) -> None:
        """Take the colours of a theme."""
        self.label.recolour(text)
        recolour_axis(self.axis, text)
        for key, line in self.lines.items():
            line.setPen(line_pen(key, text, dark=dark))
        self.cursor.setPen(pg.mkPen(text, width=1))
        self.cursor.setHoverPen(pg.mkPen(_faint(text, 0.4), width=9))  # as wide as it can be caught


class ChoiceRow(TraceRow):
    """The probability of choosing right, the choice that was made, and a band of chance."""

    def __init__(self, layout: pg.GraphicsLayout, place: int) -> None:
        super().__init__(CHOICE, layout, place)
        self.chance = pg.LinearRegionItem(orientation="horizontal", movable=False, pen=None)
        self.chance.setZValue(-10)
        for edge in self.chance.lines:
            edge.hide()
        self.box.addItem(self.chance)

    def set_choice(self, times: npt.NDArray[np.float64], right: float) -> None:
        """Say and draw what the animal chose: 1 for right, 0 for left, NaN for neither."""
        made = {1.0: "chose right", 0.0: "chose left"}.get(right, "no choice")
        self.label.set_text(f"{words(CHOICE).axis}\n{made}")
        self.lines["recorded"].setData(times[[0, -1]], np.full(2, right))

    def recolour(self, text: QColor, *, dark: bool) -> None:
        """Take the colours of a theme."""
        super().recolour(text, dark=dark)
        self.chance.setBrush(_faint(text, 0.15))


def y_range(session: Session, name: str) -> tuple[float, float] | None:
    """Return lowest and highest y of a row for all trials; None where there is nothing to show.

    Of a trace these are robust: one bin in a thousand may lie above, and one below.
    """
    if name == CHOICE:
        known = np.isfinite(chose_right(session.trials)).any()
        return (-0.1, 1.1) if known else None
    trace = session.behaviour.get(name)
    values = np.empty(0) if trace is None else trace[np.isfinite(trace)]
    if not len(values):
        return None
    low, high = np.percentile(values.astype(np.float64), _PERCENTILES)
    margin = _MARGIN * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def chance_band(right: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Probabilities of right that the share of right choices alone would give, either way.

    From the smaller to the larger share of the two sides over some trials (1 right, 0
    left, NaN neither), and never narrower than 0.48 to 0.52, so that it can be seen.
    """
    known = right[np.isfinite(right)]
    share = float(known.mean()) if len(known) else 0.5
    half = max(abs(share - 0.5), _NARROWEST_BAND / 2)
    return 0.5 - half, 0.5 + half


def line_pen(key: str, text: QColor, *, dark: bool) -> Any:
    """Return the pen of a line by its key in `LINES`; `text` is the theme's colour of text."""
    colours = _DARK if dark else _LIGHT
    if key == "recorded":
        return pg.mkPen(text, width=1)
    if key == "masked":
        return pg.mkPen(colours[key], width=2)
    return pg.mkPen(colours[key], width=1, dash=(5, 3))


def make_axis(side: str, *, over_edge: int) -> pg.AxisItem:
    """Make an axis whose numbers may reach out of it by some pixels."""
    axis = pg.AxisItem(side, maxTickLength=-3)
    axis.enableAutoSIPrefix(False)
    axis.setStyle(
        tickFont=_small(), tickTextOffset=3, maxTickLevel=0, hideOverlappingLabels=over_edge
    )
    return axis


def recolour_axis(axis: pg.AxisItem, text: QColor) -> None:
    """Draw an axis in the theme's colour of text."""
    axis.setPen(_faint(text, 0.5))
    axis.setTextPen(text)


def _faint(colour: QColor, alpha: float) -> QColor:
    fainter = QColor(colour)
    fainter.setAlphaF(alpha)
    return fainter


def _small() -> QFont:
    font = QFont()
    font.setPixelSize(_FONT)
    return font
