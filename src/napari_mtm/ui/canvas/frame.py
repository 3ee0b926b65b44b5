"""The frame around napari's canvas: regions at the left, time below, events above.

The raster itself is drawn by napari; the frame follows its camera. The parts are
plain widgets beside the canvas and thin ones on it, so that stepping through
trials moves a few pixels and redraws no layer.
"""

from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QColor, QCursor, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QMenu, QVBoxLayout, QWidget

from napari_mtm.ui.canvas.one_picture import OnePicture
from napari_mtm.ui.canvas.pointing import Choice
from napari_mtm.ui.canvas.set_aside import SetAside
from napari_mtm.ui.canvas.strips import (
    AXIS_HEIGHT,
    GUTTER_WIDTH,
    EventStrip,
    Gutter,
    Scale,
    TimeAxis,
)
from napari_mtm.ui.compat.canvas import (
    forget_old_clicks,
    forget_old_grids,
    leave_out_while_empty,
    let_polygons_cross,
    use_own_context,
)
from napari_mtm.ui.coordinator import Coordinator, Hover
from napari_mtm.ui.text.part_scores import hover_line, unit_score_words

_HOVER_OFFSET = 16


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
        self.setText("\n".join((*lines, hover_line(self._coordinator, hover), *score)))
        self._fit(canvas.width())
        cursor = canvas.mapFromGlobal(canvas.cursor().pos())
        x = min(cursor.x() + _HOVER_OFFSET, canvas.width() - self.width())
        y = cursor.y() + _HOVER_OFFSET
        if y + self.height() > canvas.height():
            y = cursor.y() - self.height() - _HOVER_OFFSET
        self.move(max(x, 0), max(y, 0))
        self.show()
        self.raise_()  # above the event lines

    def _fit(self, width: int) -> None:
        """Take as much room as the text does, in longer lines than `width` on several."""
        self.setWordWrap(False)
        self.adjustSize()
        if self.width() > width:
            self.setWordWrap(True)
            self.resize(width, self.heightForWidth(width))


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
        self.scale = Scale(coordinator, parent)
        self.hover = HoverLabel(coordinator, canvas)
        self.lines: list[_EventLine] = []
        place = layout.indexOf(canvas)
        layout.insertWidget(place, self.events)
        layout.insertWidget(place + 2, self.axis)
        canvas.installEventFilter(self)
        forget_old_clicks(canvas)
        let_polygons_cross()
        self._left_out: WeakSet[object] = WeakSet()  # masks that are not drawn while they are empty
        self._one_picture = OnePicture(coordinator, canvas)
        self._set_aside = SetAside(coordinator, canvas)
        coordinator.session_changed.connect(self._on_session)
        coordinator.rows_changed.connect(self._on_gutter)
        coordinator.selected.connect(self._on_gutter)
        coordinator.trial_changed.connect(self._on_marks)
        coordinator.view_changed.connect(self._on_view)
        coordinator.theme_changed.connect(self._on_theme)
        coordinator.cells_changed.connect(self._on_cells)
        coordinator.time_changed.connect(self._on_marks)
        coordinator.limits_changed.connect(self._on_limits)
        coordinator.live.answered.connect(self._on_scores)
        coordinator.live.scored.connect(self._on_scores)
        coordinator.masks.tool_changed.connect(self._on_mask_layer)
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
        self._on_mask_layer()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the gutter beside the canvas, and hide the hover when the cursor leaves."""
        # Where Python lets go of a whole window at once, Qt still tells of its end.
        if event is not None and vars(self) and watched is self._canvas:
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
        for part in (self.gutter, self.events, self.axis, self.scale):
            part.setVisible(open_)
        margins = self._layout.contentsMargins()
        self._layout.setContentsMargins(
            GUTTER_WIDTH if open_ else 0, margins.top(), margins.right(), margins.bottom()
        )
        self.hover.hide()
        self._place()
        self._on_view()

    def _on_mask_layer(self) -> None:
        layer = self._coordinator.masks.layer
        if layer is not None and layer not in self._left_out:
            self._left_out.add(layer)
            leave_out_while_empty(self._coordinator.viewer, layer)

    def _on_gutter(self) -> None:
        self.gutter.update()

    def _on_scores(self) -> None:
        self.gutter.update()
        if self.hover.isVisible():  # it says how well the unit is predicted
            self._on_hover(self._coordinator.last_hover)

    def _on_limits(self) -> None:
        self.scale.update()

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

    def _on_marks(self) -> None:
        self._place_lines()
        self.events.update()

    def _on_view(self) -> None:
        self._place_lines()
        for part in (self.gutter, self.events, self.axis, self.scale):
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
        self.scale.setGeometry(0, canvas.y() + canvas.height(), GUTTER_WIDTH, AXIS_HEIGHT)
        self._place_lines()

    def _place_lines(self) -> None:
        marks = self._coordinator.marks
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
