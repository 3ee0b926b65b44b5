"""The frame around napari's canvas: regions at the left, time below, events above.

The raster itself is drawn by napari; the frame follows its camera. The parts are
plain widgets beside the canvas and thin ones on it, so that stepping through
trials moves a few pixels and redraws no layer.
"""

from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QRectF, Qt, QTimer
from qtpy.QtGui import QColor, QCursor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QMenu, QToolTip, QVBoxLayout, QWidget

from napari_mtm.recording.regions import Region
from napari_mtm.ui.coordinator import Coordinator, Hover
from napari_mtm.ui.geometry import Band, View, nice_ticks, spread_labels
from napari_mtm.ui.mends import forget_old_grids, let_polygons_cross, use_own_context
from napari_mtm.ui.numbers import signed
from napari_mtm.ui.one_picture import OnePicture
from napari_mtm.ui.part_scores import region_score_words, region_scores, unit_score_words
from napari_mtm.ui.pointing import Choice
from napari_mtm.ui.set_aside import SetAside
from napari_mtm.ui.trial_text import Event, axis_title, trial_events

GUTTER_WIDTH = 78
_BAR_WIDTH = 12
_AXIS_HEIGHT = 34
_EVENTS_HEIGHT = 20
_TITLE_HEIGHT = 15
_PIXELS_PER_TICK = 70
_HOVER_OFFSET = 16


class _Strip(QWidget):
    """A part of the frame: paints in the colours of napari's theme."""

    def __init__(self, coordinator: Coordinator, parent: QWidget) -> None:
        super().__init__(parent)
        self.coordinator = coordinator
        self.setObjectName(f"napari-mtm {type(self).__name__.lower()}")

    def painter(self) -> QPainter:
        """Begin to paint on the theme's background, in the theme's text colour."""
        from napari.utils.theme import get_theme

        theme = get_theme(self.coordinator.viewer.theme)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.background.as_hex()))
        painter.setPen(QColor(theme.text.as_hex()))
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        return painter


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
        self.setFixedHeight(_AXIS_HEIGHT)

    def ticks(self) -> list[float]:
        """Times that are marked, in each cell."""
        view, session = self.coordinator.view, self.coordinator.session
        if session is None:
            return []
        low, high = (float(np.clip(x, *session.window)) for x in view.x_range)
        return nice_ticks(low, high, max(int(view.size[1]) // _PIXELS_PER_TICK, 1))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint ticks, numbers and what they count from."""
        painter = self.painter()
        session = self.coordinator.session
        if session is None:
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
            box = QRectF(view.left, 17, view.size[1], 15)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, axis_title(session))
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
        """Paint what each cell shows, and below, in the first, the names of events."""
        painter = self.painter()
        coordinator = self.coordinator
        first, *others = coordinator.views
        if others:
            titles = ("observed", *coordinator.cells.shown)
            for view, title in zip((first, *others), titles, strict=False):
                box = QRectF(view.left, 1, view.size[1], _TITLE_HEIGHT)
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, title)
        free_from = self._paint_names(painter, first)
        self._paint_warning(painter, free_from, first.right)
        painter.end()

    def _paint_names(self, painter: QPainter, view: View) -> float:
        """Paint names from left to right, each at its line or after the one before."""
        text_colour = painter.pen().color()
        metrics = QFontMetricsF(painter.font())
        free_from = view.left
        for mark in sorted(_events(self.coordinator), key=lambda e: e.time):
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
        coordinator = self.coordinator
        if coordinator.layer is None or coordinator.row_pixels >= 1:
            return
        text = f"{1 / coordinator.row_pixels:.1f} units per pixel: zoom in to see each"
        width = QFontMetricsF(painter.font()).horizontalAdvance(text)
        start = right - width - 4
        if start > free_from:
            painter.drawText(self._line(start, width), Qt.AlignmentFlag.AlignVCenter, text)


class _EventLine(QWidget):
    """A vertical line on the canvas."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._colour = QColor("white")

    def place(self, x: float, height: int, colour: str) -> None:
        """Move the line to a pixel column."""
        self._colour = QColor(colour)
        self._colour.setAlphaF(0.8)
        self.setGeometry(round(x), 0, 1, height)
        self.show()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the line."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._colour)
        painter.end()


class HoverLabel(QLabel):
    """What lies under the cursor, beside it."""

    def __init__(self, coordinator: Coordinator, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setObjectName("napari-mtm hover")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setMargin(4)
        self._coordinator = coordinator
        self.recolour()
        self.hide()

    def recolour(self) -> None:
        """Take the colours of napari's theme."""
        from napari.utils.theme import get_theme

        theme = get_theme(self._coordinator.viewer.theme)
        self.setStyleSheet(
            f"QLabel {{ background: {theme.foreground.as_hex()}; color: {theme.text.as_hex()};"
            f" border: 1px solid {theme.secondary.as_hex()}; border-radius: 3px;"
            " font-size: 11px; }"
        )

    def tell(self, hover: Hover | None, canvas: QWidget) -> None:
        """Show what is under the cursor, or nothing."""
        if hover is None or self._coordinator.session is None:
            self.hide()
            return
        lines = self._coordinator.unit_lines(hover.unit)
        score = unit_score_words(self._coordinator, hover.unit)
        self.setText("\n".join((*lines, hover_line(hover), *score)))
        self.adjustSize()
        cursor = canvas.mapFromGlobal(canvas.cursor().pos())
        x = min(cursor.x() + _HOVER_OFFSET, canvas.width() - self.width())
        y = cursor.y() + _HOVER_OFFSET
        if y + self.height() > canvas.height():
            y = cursor.y() - self.height() - _HOVER_OFFSET
        self.move(max(x, 0), max(y, 0))
        self.show()
        self.raise_()  # above the event lines


def hover_line(hover: Hover) -> str:
    """Say when the cursor is, and how many spikes are there."""
    return f"{hover.time:.2f} s: " + ("1 spike" if hover.count == 1 else f"{hover.count} spikes")


class CanvasFrame(QObject):
    """Puts the frame around the canvas of a napari window while a session is open."""

    def __init__(self, coordinator: Coordinator, canvas: QWidget) -> None:
        parent = canvas.parentWidget()
        assert parent is not None
        super().__init__(parent)
        layout = parent.layout()
        assert isinstance(layout, QVBoxLayout)
        self._coordinator = coordinator
        self._canvas = canvas
        self._layout = layout
        self.gutter = Gutter(coordinator, parent)
        self.events = EventStrip(coordinator, parent)
        self.axis = TimeAxis(coordinator, parent)
        self.hover = HoverLabel(coordinator, canvas)
        self.lines: list[_EventLine] = []
        place = layout.indexOf(canvas)
        layout.insertWidget(place, self.events)
        layout.insertWidget(place + 2, self.axis)
        canvas.installEventFilter(self)
        let_polygons_cross()
        self._one_picture = OnePicture(coordinator, canvas)
        self._set_aside = SetAside(coordinator, canvas)
        coordinator.session_changed.connect(self._on_session)
        coordinator.rows_changed.connect(self._on_rows)
        coordinator.trial_changed.connect(self._on_trial)
        coordinator.view_changed.connect(self._on_view)
        coordinator.theme_changed.connect(self._on_theme)
        coordinator.cells_changed.connect(self._on_cells)
        coordinator.time_changed.connect(self._place_lines)
        coordinator.live.answered.connect(self._on_scores)
        coordinator.live.scored.connect(self._on_scores)
        coordinator.hovered.connect(self._on_hover)
        coordinator.menu_wanted.connect(self._on_menu_wanted)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._tidy)
        layers = coordinator.viewer.layers
        layers.events.removing.connect(self._on_removing)
        for changed in (layers.events.inserted, layers.events.removed):
            changed.connect(self._tidy_later)
        coordinator.viewer.canvas.grid.events.connect(self._tidy_later)
        self._on_session()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the gutter beside the canvas, and hide the hover when the cursor leaves."""
        if event is not None and watched is self._canvas:
            if event.type() in (QEvent.Type.Resize, QEvent.Type.Move):
                self._tidy()
                self._place()
            elif event.type() == QEvent.Type.Leave:
                self.hover.hide()
        return False

    def _on_removing(self, event: Any = None) -> None:
        use_own_context(self._canvas)

    def _on_session(self) -> None:
        open_ = self._coordinator.session is not None
        for part in (self.gutter, self.events, self.axis):
            part.setVisible(open_)
        margins = self._layout.contentsMargins()
        self._layout.setContentsMargins(
            GUTTER_WIDTH if open_ else 0, margins.top(), margins.right(), margins.bottom()
        )
        self.hover.hide()
        self._place()
        self._on_view()

    def _on_scores(self) -> None:
        self.gutter.update()

    def _tidy(self) -> None:
        forget_old_grids(self._canvas)

    def _tidy_later(self, event: Any = None) -> None:
        """Tidy up once napari has heard, too, of what changes the grid."""
        self._later.start()

    def _on_cells(self) -> None:
        self._tidy()
        self.events.fit()
        self._coordinator.fit()
        self._on_view()

    def _on_rows(self) -> None:
        self.gutter.update()

    def _on_trial(self) -> None:
        self._place_lines()
        self.events.update()

    def _on_view(self) -> None:
        self._place_lines()
        for part in (self.gutter, self.events, self.axis):
            part.update()

    def _on_theme(self) -> None:
        self.hover.recolour()
        self._on_view()

    def _on_hover(self, hover: Hover | None) -> None:
        self.hover.tell(hover if self._canvas.underMouse() else None, self._canvas)

    def _on_menu_wanted(self, choices: tuple[Choice, ...]) -> None:
        self.hover.hide()
        menu = QMenu(self._canvas)
        menu.setObjectName("napari-mtm menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for choice in choices:
            menu.addAction(choice.text, choice.act)
        menu.popup(QCursor.pos())

    def _place(self) -> None:
        canvas = self._canvas.geometry()
        self.gutter.setGeometry(0, canvas.y(), GUTTER_WIDTH, canvas.height())
        self._place_lines()

    def _place_lines(self) -> None:
        marks = _lines(self._coordinator)
        views, height = self._coordinator.views, self._canvas.height()
        wanted = [(view, mark) for view in views for mark in marks]
        while len(self.lines) < len(wanted):
            self.lines.append(_EventLine(self._canvas))
        for line, (view, mark) in zip(self.lines, wanted, strict=False):
            x = view.to_x(mark.time)
            if view.left <= x < view.right:
                line.place(x, height, mark.colour)
            else:
                line.hide()
        for line in self.lines[len(wanted) :]:
            line.hide()


def _events(coordinator: Coordinator) -> list[Event]:
    if coordinator.session is None:
        return []
    return trial_events(coordinator.session, coordinator.trial)


def _lines(coordinator: Coordinator) -> list[Event]:
    """Events of the trial, and the time cursor."""
    if coordinator.session is None:
        return []
    cursor = Event("cursor", coordinator.time, "#ffffff" if coordinator.dark else "#202020")
    return [*_events(coordinator), cursor]


def frame_around(coordinator: Coordinator, window: Any) -> CanvasFrame | None:
    """Return the frame around a window's canvas; it is put there at the first call.

    It stays when docks are closed: who opens the session dock again finds it.
    """
    canvas = find_canvas(window)
    if canvas is None:
        return None
    parent = canvas.parentWidget()
    assert parent is not None
    there = parent.findChild(CanvasFrame)
    return there if there is not None else CanvasFrame(coordinator, canvas)


def find_canvas(window: Any) -> QWidget | None:
    """Find the canvas of a napari window, if it is laid out as we know it."""
    try:
        from qtpy.QtOpenGLWidgets import QOpenGLWidget
    except ImportError:  # Qt 5
        from qtpy.QtWidgets import QOpenGLWidget
    central = window.centralWidget()
    for canvas in central.findChildren(QOpenGLWidget) if central is not None else ():
        parent = canvas.parentWidget()
        if parent is not None and isinstance(parent.layout(), QVBoxLayout):
            return canvas
    return None
