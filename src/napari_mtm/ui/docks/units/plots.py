"""Plots of one unit: averages by condition, and images of single trials.

Everything is in spikes/s and in seconds from the event. The plots let the mouse through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_mtm.scoring.psth import Group, averages
from napari_mtm.ui.canvas.geometry import nice_ticks

AXIS_WIDTH = 46
"""Left of everything that is plotted, in pixels."""

_COLUMNS = 3
_PSTH_HEIGHT = 84
_AXIS_HEIGHT = 17
_GAP = 8
_OVER = 6
_IMAGE_HEIGHTS = 66, 180
_PIXELS_PER_TRIAL = 1.5
_GROUP_BAR = 0.02

_LEFT, _RIGHT, _NEITHER = "#4ea3f5", "#f5a623", "#9a9da3"
_COLOURS = {
    ("choice", "left"): _LEFT,
    ("choice", "right"): _RIGHT,
    ("block", "left"): _LEFT,
    ("block", "50:50"): _NEITHER,
    ("block", "right"): _RIGHT,
    ("reward", "reward"): "#5fc36b",
    ("reward", "error"): "#e0559a",
}

Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Look:
    """Colours of a theme."""

    dark: bool
    background: str
    text: str
    faint: str
    cursor: str

    @classmethod
    def of(cls, theme: Any) -> "Look":
        """Take the colours of one of napari's themes."""
        dark = theme.type == "dark"
        return cls(
            dark=dark,
            background=theme.background.as_hex(),
            text=theme.text.as_hex(),
            faint=theme.highlight.as_hex(),
            cursor="#ffd60a" if dark else "#c2185b",
        )

    def of_group(self, by: str, name: str) -> str:
        """Colour of a condition."""
        colour = QColor(_COLOURS.get((by, name), self.text))
        return (colour if self.dark else colour.darker(135)).name()

    @property
    def scale(self) -> npt.NDArray[np.uint8]:
        """Colours from no spikes to many, (256, 3), as in the raster."""
        ramp = np.arange(256) if self.dark else np.arange(255, -1, -1)
        return np.repeat(ramp[:, None], 3, axis=1).astype(np.uint8)

    @property
    def two_sided(self) -> npt.NDArray[np.uint8]:
        """Colours from fewer spikes than expected to more, (256, 3)."""
        dark = ((70, 150, 255), (0, 0, 0), (255, 95, 60))
        light = ((20, 80, 200), (255, 255, 255), (200, 45, 20))
        stops = np.array(dark if self.dark else light)
        place = np.linspace(0, 2, 256)
        return np.stack([np.interp(place, (0, 1, 2), s) for s in stops.T], axis=1).astype(np.uint8)


@dataclass(frozen=True)
class Time:
    """The time axis of all plots: seconds, width of a bin, title, and whether 0 is an event."""

    start: float
    stop: float
    bin_size: float
    title: str
    has_event: bool

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middle of each bin."""
        n = round((self.stop - self.start) / self.bin_size)
        return self.start + self.bin_size * (np.arange(n) + 0.5)


class _Lines:
    """The event and the time cursor in a plot."""

    def __init__(self, box: Any) -> None:
        self._event = pg.InfiniteLine(0.0)
        self._cursor = pg.InfiniteLine(0.0)
        for line in (self._event, self._cursor):
            line.setZValue(10)
            box.addItem(line, ignoreBounds=True)

    def set_look(self, look: Look, time: Time) -> None:
        self._event.setPen(pg.mkPen(look.faint, width=1))
        self._event.setVisible(time.has_event)
        self._cursor.setPen(pg.mkPen(look.cursor, width=1))

    def set_time(self, time: float) -> None:
        self._cursor.setValue(time)


class PsthPlots(QWidget):
    """Averages by condition, side by side on one scale: recorded solid, predicted dashed."""

    def __init__(self) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        unit = _plain_label("psth_unit")
        unit.setText("spikes/s")
        layout.addWidget(unit, 0, 0, Qt.AlignmentFlag.AlignBottom)
        layout.setColumnMinimumWidth(0, AXIS_WIDTH)
        self._view = pg.GraphicsLayoutWidget()
        self._view.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._view.ci.layout.setContentsMargins(0, _OVER, 4, 0)
        self._view.ci.layout.setSpacing(0)
        self._view.setFixedHeight(_OVER + _PSTH_HEIGHT + _AXIS_HEIGHT)
        layout.addWidget(self._view, 1, 0, 1, 2 * _COLUMNS)
        self._rates = _axis("left", AXIS_WIDTH)
        self._view.addItem(self._rates, 0, 0)
        self.legends: list[QLabel] = []
        self._boxes: list[Any] = []
        self._times: list[Any] = []
        self._lines: list[_Lines] = []
        for k in range(_COLUMNS):
            self._add_column(layout, k)
        self._rates.linkToView(self._boxes[0])
        self.curves: dict[tuple[str, str, str], Values] = {}

    def draw(
        self,
        groups: Mapping[str, Sequence[Group]],
        recorded: Values,
        predicted: Values | None,
        time: Time,
        look: Look,
    ) -> None:
        """Average what was recorded, and predicted, over each group of trials.

        Both are (trials, bins). What is drawn is kept in `curves`, by grouping, name of the
        group and "recorded" or "predicted".
        """
        self._view.setBackground(look.background)
        _dress(self._rates, look)
        self.curves = {}
        for by, some in groups.items():
            for what, values in (("recorded", recorded), ("predicted", predicted)):
                if values is not None:
                    rows = averages(values, some)
                    named = zip(some, rows, strict=True)
                    self.curves.update({(by, g.name, what): row for g, row in named})
        top = max((float(c.max()) for c in self.curves.values()), default=0.0) * 1.08 or 1.0
        self._rates.setTicks([[(t, f"{t:g}") for t in nice_ticks(0, top, 4)]])
        names = [*groups, *[""] * _COLUMNS]
        for k, box in enumerate(self._boxes):
            self._lines[k].set_look(look, time)
            _dress(self._times[k], look)
            ticks = nice_ticks(time.start, time.stop, 3)
            self._times[k].setTicks([[(t, f"{t:g}") for t in ticks]])
            box.setRange(xRange=(time.start, time.stop), yRange=(0, top), padding=0)
            self._draw_box(k, names[k], groups.get(names[k], ()), time, look)

    def set_time(self, time: float) -> None:
        """Move the time cursor."""
        for lines in self._lines:
            lines.set_time(time)

    def _add_column(self, layout: QGridLayout, k: int) -> None:
        legend = _plain_label(f"legend_{k}")
        legend.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        place = 2 * k + 1
        layout.addWidget(legend, 0, place)
        layout.setColumnStretch(place, 1)
        box = self._view.addViewBox(0, place, enableMouse=False, enableMenu=False)
        axis = _axis("bottom", _AXIS_HEIGHT)
        axis.linkToView(box)
        self._view.addItem(axis, 1, place)
        self._view.ci.layout.setColumnStretchFactor(place, 1)
        if k:
            layout.setColumnMinimumWidth(place - 1, _GAP)
            self._view.ci.layout.setColumnFixedWidth(place - 1, _GAP)
        self.legends.append(legend)
        self._boxes.append(box)
        self._times.append(axis)
        self._lines.append(_Lines(box))

    def _draw_box(self, k: int, by: str, groups: Sequence[Group], time: Time, look: Look) -> None:
        box = self._boxes[k]
        for item in [i for i in box.addedItems if isinstance(i, pg.PlotCurveItem)]:
            box.removeItem(item)
        lines = [f"<b>{by}</b>"]
        for group in groups:
            colour = look.of_group(by, group.name)
            lines.append(f'<span style="color:{colour}">━</span> {group.name} {len(group.trials)}')
            for what, style in (("recorded", None), ("predicted", [3, 2])):
                curve = self.curves.get((by, group.name, what))
                if curve is not None:
                    pen = pg.mkPen(colour, width=1.4, dash=style)
                    box.addItem(pg.PlotCurveItem(time.centres, curve, pen=pen, antialias=True))
        self.legends[k].setText("<br>".join(lines))


_ONE_SCALE = "Each row is a trial. Recorded and predicted have one scale; more has its last colour."
_TIPS = {
    "recorded": _ONE_SCALE,
    "predicted": _ONE_SCALE,
    "residual": "Recorded less predicted: red where there were more spikes than expected.",
}


class TrialImage(QWidget):
    """Trials of one unit as an image, the first of them on top, under a title.

    Its name is "recorded", "predicted" or "residual".
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(_TIPS[name])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.title = _plain_label(f"{name}_title")
        self.title.setContentsMargins(AXIS_WIDTH, 0, 0, 1)
        self._plot = pg.PlotWidget(enableMenu=False)
        self._plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._plot.plotItem.hideButtons()
        self._plot.plotItem.layout.setContentsMargins(0, 0, 4, 0)
        self._plot.setAxisItems(
            {"left": _axis("left", AXIS_WIDTH), "bottom": _axis("bottom", _AXIS_HEIGHT)}
        )
        self._plot.setMouseEnabled(False, False)
        self._plot.invertY(True)
        self._image = pg.ImageItem(axisOrder="row-major", autoDownsample=True)
        self._plot.addItem(self._image)
        self._bars: list[Any] = []
        self._lines = _Lines(self._plot)
        self._row = pg.InfiniteLine(0.0, angle=0)
        self._row.setZValue(9)
        self._plot.addItem(self._row, ignoreBounds=True)
        self._time_title = _plain_label(f"{name}_time")
        self._time_title.setContentsMargins(AXIS_WIDTH, 0, 0, 0)
        self._time_title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        for part in (self.title, self._plot, self._time_title):
            layout.addWidget(part)
        self.values: Values = np.empty((0, 0))

    @property
    def levels(self) -> tuple[float, float]:
        """Spikes/s of the first and the last colour."""
        low, high = self._image.getLevels()
        return float(low), float(high)

    @property
    def marked(self) -> int | None:
        """The row that is marked."""
        return int(self._row.value()) if self._row.isVisible() else None

    def draw(
        self,
        values: Values,
        levels: tuple[float, float],
        rows: Sequence[tuple[str, str, int]],
        time: Time,
        look: Look,
        *,
        axis: bool,
    ) -> None:
        """Show `values` (trials, bins), whose rows are runs of (name, colour, how many).

        With `axis` there is a time axis below. Negative levels are drawn in two colours.
        """
        self.values = values
        n = len(values)
        self._plot.setBackground(look.background)
        table = look.two_sided if levels[0] < 0 else look.scale
        self._image.setImage(values, levels=levels, lut=table)
        self._image.setRect(QRectF(time.start, 0, time.stop - time.start, max(n, 1)))
        bar = _GROUP_BAR * (time.stop - time.start)
        self._plot.setRange(xRange=(time.start - bar, time.stop), yRange=(0, n), padding=0)
        self._draw_runs(rows, time.start - bar, bar, look)
        self._lines.set_look(look, time)
        colour = QColor(look.cursor)
        colour.setAlphaF(0.75)
        self._row.setPen(pg.mkPen(colour, width=1))
        self._draw_axis(time, look, shown=axis)
        height = round(float(np.clip(n * _PIXELS_PER_TRIAL, *_IMAGE_HEIGHTS)))
        self._plot.setFixedHeight(height + (_AXIS_HEIGHT if axis else 2))

    def set_title(self, text: str, look: Look) -> None:
        """Write a title, followed by the colours between both levels."""
        low, high = self.levels
        table = look.two_sided if low < 0 else look.scale
        cells = "".join(
            f'<span style="color:{QColor(*map(int, table[k])).name()}">█</span>'
            for k in np.linspace(0, 255, 9).astype(int)
        )
        ends = f"{low:g}".replace("-", "−"), f"{high:g}"
        self.title.setText(f"<b>{text}</b> &nbsp; {ends[0]} {cells} {ends[1]} spikes/s")

    def set_time(self, time: float) -> None:
        """Move the time cursor."""
        self._lines.set_time(time)

    def mark(self, row: int | None) -> None:
        """Mark a row, or none."""
        self._row.setVisible(row is not None)
        if row is not None:
            self._row.setValue(row + 0.5)

    def _draw_runs(
        self, rows: Sequence[tuple[str, str, int]], left: float, width: float, look: Look
    ) -> None:
        for bar in self._bars:
            self._plot.removeItem(bar)
        self._bars = []
        ticks = []
        start = 0
        for name, colour, n in rows:
            bar = pg.BarGraphItem(
                x0=[left], width=width, y0=[start], height=[n], brush=colour, pen=None
            )
            self._plot.addItem(bar)
            self._bars.append(bar)
            ticks.append((start + n / 2, name))
            start += n
        self._plot.getAxis("left").setTicks([ticks])
        _dress(self._plot.getAxis("left"), look)

    def _draw_axis(self, time: Time, look: Look, *, shown: bool) -> None:
        self._plot.showAxis("bottom", shown)
        self._time_title.setVisible(shown)
        self._time_title.setText(time.title)
        axis = self._plot.getAxis("bottom")
        _dress(axis, look)
        axis.setTicks([[(t, f"{t:g}") for t in nice_ticks(time.start, time.stop, 6)]])


def _plain_label(name: str) -> QLabel:
    """Make a label of small print that never asks for more room than there is."""
    label = QLabel(objectName=name)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setStyleSheet("font-size: 10px; background: transparent;")
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def _axis(side: str, extent: int) -> Any:
    axis = pg.AxisItem(side)
    font = QFont()
    font.setPixelSize(10)
    axis.setStyle(tickFont=font, tickLength=3, tickTextOffset=3, autoExpandTextSpace=False)
    axis.enableAutoSIPrefix(False)
    (axis.setWidth if side == "left" else axis.setHeight)(extent)
    return axis


def _dress(axis: Any, look: Look) -> None:
    axis.setPen(pg.mkPen(look.faint))
    axis.setTextPen(pg.mkPen(look.text))
