"""Strips around napari's canvas: regions left of it, events above, time and colours below.

They are plain widgets, painted in the colours of napari's theme, and follow the camera.
"""

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPolygonF,
)
from qtpy.QtWidgets import QToolTip, QWidget

from napari_mtm.recording.regions import Region
from napari_mtm.ui.canvas.geometry import Band, View, nice_ticks, spread_labels
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.text.numbers import number, signed
from napari_mtm.ui.text.part_scores import region_score_words, region_scores
from napari_mtm.ui.text.trial import Event, axis_title

GUTTER_WIDTH = 78
_BAR_WIDTH = 12
_MARK = 9
"""Pixels of what points at a row."""
AXIS_HEIGHT = 34
_EVENTS_HEIGHT = 20
_TITLE_HEIGHT = 15
_PIXELS_PER_TICK = 70
_FONT, _SMALL_FONT = 11, 9


class _Strip(QWidget):
    """A part of the frame: paints in the colours of napari's theme."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(parent)
        self.coordinator = coordinator
        self.setObjectName(f"napari-mtm {type(self).__name__.lower()}")

    def colour(self, name: str) -> QColor:
        """A colour of napari's theme."""
        from napari.utils.theme import get_theme

        return QColor(getattr(get_theme(self.coordinator.viewer.theme), name).as_hex())

    def painter(self) -> QPainter:
        """Begin to paint on the theme's background, in the theme's text colour."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.colour("background"))
        painter.setPen(self.colour("text"))
        painter.setFont(self.text_font())
        return painter

    def text_font(self) -> QFont:
        """The font that is painted with."""
        font = QFont(self.font())
        font.setPixelSize(_FONT)
        return font


class Gutter(_Strip):
    """Colours and names of the regions beside their rows."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(coordinator, parent)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def bands(self) -> list[Band]:
        """Regions of the rows as they lie on screen."""
        coordinator = self.coordinator
        if coordinator.session is None or coordinator.layer is None:
            return []
        view, height = coordinator.view, float(coordinator.layer.scale[-2])
        return [
            Band(
                b.name,
                b.colour,
                view.to_y((b.units.start - 0.5) * height),
                view.to_y((b.units.stop - 0.5) * height),
            )
            for b in coordinator.bands
        ]

    def region_at(self, y: float) -> Region | None:
        """Region of the row at a pixel of the gutter."""
        for region, band in zip(self.coordinator.bands, self.bands(), strict=True):
            if band.top <= y < band.bottom:
                return region
        return None

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint bars, names, and leaders from bars to names that had to move."""
        painter = self.painter()
        text = painter.pen().color()
        bands = self.bands()
        left = self.width() - _BAR_WIDTH
        for band in bands:
            top, bottom = max(band.top, 0.0), min(band.bottom, float(self.height()))
            if bottom > top:
                painter.fillRect(QRectF(left, top, _BAR_WIDTH, bottom - top), QColor(*band.colour))
        self._paint_selected(painter)
        line = QFontMetricsF(painter.font()).height()
        faint = QColor(text)
        faint.setAlphaF(0.5)
        if len(bands) > 2 * len({b.name for b in bands}):
            # Rows of all regions are mixed: only runs as tall as a name get one.
            bands = [b for b in bands if b.height >= line]
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scores = region_scores(self.coordinator)
        for band, centre in spread_labels(bands, line, self.height()):
            middle = (max(band.top, 0.0) + min(band.bottom, float(self.height()))) / 2
            painter.setPen(faint)
            painter.drawLine(left - 8, round(centre), left - 1, round(middle))
            painter.setPen(text)
            score = scores.get(band.name)
            if score is not None and band.height > 2.2 * line:
                painter.drawText(
                    QRectF(2, centre + line / 2, left - 12, line),
                    Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                    signed(score),
                )
            box = QRectF(2, centre - line / 2, left - 12, line)
            metrics = QFontMetricsF(painter.font())
            name = metrics.elidedText(band.name, Qt.TextElideMode.ElideRight, box.width())
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, name)
        painter.end()

    def selected_rows(self) -> list[float]:
        """Where the middles of rows of selected units lie, in pixels."""
        coordinator = self.coordinator
        if coordinator.layer is None:
            return []
        view, height = coordinator.view, float(coordinator.layer.scale[-2])
        rows = np.flatnonzero(np.isin(coordinator.rows, coordinator.selection))
        return [view.to_y(row * height) for row in rows]

    def _paint_selected(self, painter: QPainter) -> None:
        """Point at the rows of units that are selected."""
        text, right = painter.pen().color(), float(self.width())
        painter.setBrush(text)
        painter.setPen(self.colour("background"))
        for y in self.selected_rows():
            ends = [QPointF(right - _MARK, y + side) for side in (-_MARK / 2, _MARK / 2)]
            painter.drawPolygon(QPolygonF([QPointF(right, y), *ends]))
        painter.setPen(text)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Hide the region that is clicked; with Shift or Ctrl, beside what is hidden."""
        region = None if event is None else self.region_at(event.pos().y())
        if event is None or region is None or event.button() != Qt.MouseButton.LeftButton:
            return
        add = event.modifiers() & (
            Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
        )
        self.coordinator.masks.toggle_region(region.name, add=bool(add))

    def event(self, event: QEvent | None) -> bool:
        """Show a region's full name, size and score as a tooltip."""
        if event is not None and event.type() == QEvent.Type.ToolTip:
            region = self.region_at(event.pos().y())
            if region is None:
                QToolTip.hideText()
            else:
                whole = sum(b.size for b in self.coordinator.bands if b.name == region.name)
                text = f"{region.name}: {region.full_name}, {whole} units"
                text += f"\n{region_score_words(self.coordinator, region.name)}"
                QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)


class TimeAxis(_Strip):
    """Seconds from the event, below the canvas."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(coordinator, parent)
        self.setFixedHeight(AXIS_HEIGHT)

    def ticks(self) -> list[float]:
        """Times that are marked, in each cell."""
        view, session = self.coordinator.view, self.coordinator.session
        if session is None:
            return []
        low, high = (float(np.clip(x, *session.window)) for x in view.x_range)
        return nice_ticks(low, high, max(int(view.size[1]) // _PIXELS_PER_TICK, 1))

    def title(self) -> tuple[str, list[tuple[float, float]]]:
        """What the times count from, and from where to where it is written.

        Below each cell, or once below all of them where it is wider than one.
        """
        session, views = self.coordinator.session, self.coordinator.views
        if session is None:
            return "", []
        text = axis_title(session)
        spans = [(view.left, view.right) for view in views]
        width = QFontMetricsF(self.text_font()).horizontalAdvance(text)
        if any(stop - start < width for start, stop in spans):
            spans = [(spans[0][0], spans[-1][1])]
        return text, spans

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint ticks, numbers and what they count from."""
        painter = self.painter()
        if self.coordinator.session is None:
            painter.end()
            return
        ticks = self.ticks()
        for view in self.coordinator.views:
            for tick in ticks:
                x = view.to_x(tick)
                painter.drawLine(round(x), 0, round(x), 4)
                # The outermost numbers stay inside.
                centre = min(max(x, view.left + 14.0), view.right - 14.0)
                box = QRectF(centre - 30, 4, 60, 13)
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{tick:g}")
        text, spans = self.title()
        for start, stop in spans:
            box = QRectF(start, 17, stop - start, 15)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()


class EventStrip(_Strip):
    """Names of the trial's events, above their lines."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(coordinator, parent)
        self.fit()

    def fit(self) -> None:
        """Take as much height as there are lines."""
        titled = len(self.coordinator.views) > 1
        self.setFixedHeight(_EVENTS_HEIGHT + (_TITLE_HEIGHT if titled else 0))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint what each cell shows, and below, in the first, what its lines are."""
        painter = self.painter()
        coordinator = self.coordinator
        first, *others = coordinator.views
        if others:
            titles = ("observed", *coordinator.cells.shown)
            for view, title in zip((first, *others), titles, strict=False):
                box = QRectF(view.left, 1, view.size[1], _TITLE_HEIGHT)
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, title)
        crowded = coordinator.layer is not None and coordinator.row_pixels < 1
        marks = coordinator.events if crowded else coordinator.marks
        free_from = self._paint_names(painter, first, marks)
        if crowded:
            self._paint_warning(painter, free_from, first.right)
        painter.end()

    def _paint_names(self, painter: QPainter, view: View, marks: list[Event]) -> float:
        """Paint names from left to right, each at its line or after the one before."""
        text_colour = painter.pen().color()
        metrics = QFontMetricsF(painter.font())
        free_from = view.left
        for mark in sorted(marks, key=lambda e: e.time):
            x = view.to_x(mark.time)
            if not view.left - 1 <= x <= view.right + 1:
                continue
            width = metrics.horizontalAdvance(mark.name)
            start = max(x + 3, free_from)
            painter.setPen(QColor(mark.colour))
            painter.drawLine(round(x), self.height() - 4, round(x), self.height())
            if start + width > view.right:
                start = view.right - width
                if start < free_from:
                    continue  # no room for another name
            painter.drawText(self._line(start, width), Qt.AlignmentFlag.AlignVCenter, mark.name)
            free_from = start + width + 10
        painter.setPen(text_colour)
        return free_from

    def _line(self, start: float, width: float) -> QRectF:
        return QRectF(start, self.height() - _EVENTS_HEIGHT + 1, width + 2, _EVENTS_HEIGHT - 5)

    def _paint_warning(self, painter: QPainter, free_from: float, right: float) -> None:
        """Say so where there are more rows than pixels to draw them."""
        text = f"{1 / self.coordinator.row_pixels:.1f} units per pixel: zoom in to see each"
        width = QFontMetricsF(painter.font()).horizontalAdvance(text)
        start = right - width - 4
        if start > free_from:
            painter.drawText(self._line(start, width), Qt.AlignmentFlag.AlignVCenter, text)


class Scale(_Strip):
    """What the colours of the cells mean in spikes/s, below the gutter."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(coordinator, parent)
        self.setToolTip(
            "Brightness of all cells; below, of the residual:\n"
            "red where there were more spikes than predicted, blue where fewer"
        )

    def ends(self) -> tuple[float, float]:
        """Spikes/s of the first and the last colour."""
        session, layer = self.coordinator.session, self.coordinator.layer
        if session is None or layer is None:
            return 0.0, 0.0
        low, high = layer.contrast_limits
        return low / session.bin_size, high / session.bin_size

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint a bar of colours between its ends, one for the residual, and their unit."""
        painter = self.painter()
        coordinator, layer = self.coordinator, self.coordinator.layer
        if layer is None:
            painter.end()
            return
        font = painter.font()
        font.setPixelSize(_SMALL_FONT)
        painter.setFont(font)
        low, high = self.ends()
        line = self.height() / 3
        shares = np.linspace(0, 1, 33)
        self._paint_bar(painter, 0, line, (low, high), layer.colormap.map(shares**layer.gamma))
        residual = coordinator.cells.layer("residual")
        if residual is not None and residual.visible:
            colours = residual.colormap.map(shares)
            self._paint_bar(painter, line, line, (-high, high), colours)
        box = QRectF(0, 2 * line, self.width() - 2, line)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "spikes/s")
        painter.end()

    def _paint_bar(
        self,
        painter: QPainter,
        top: float,
        height: float,
        ends: tuple[float, float],
        colours: npt.NDArray[np.float32],
    ) -> None:
        first, last = (number(end, 0) for end in ends)
        widest = QFontMetricsF(painter.font()).horizontalAdvance(number(-ends[1], 0)) + 3
        bar = QRectF(widest, top + 2, self.width() - 2 * widest, height - 4)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for share, colour in zip(np.linspace(0, 1, len(colours)), colours, strict=True):
            gradient.setColorAt(share, QColor.fromRgbF(*map(float, colour)))
        painter.fillRect(bar, gradient)
        middle = Qt.AlignmentFlag.AlignVCenter
        left = QRectF(0, top, widest - 3, height)
        right = QRectF(bar.right() + 3, top, widest - 3, height)
        painter.drawText(left, middle | Qt.AlignmentFlag.AlignRight, first)
        painter.drawText(right, middle | Qt.AlignmentFlag.AlignLeft, last)
