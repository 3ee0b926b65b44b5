"""The traces dock: behaviour on the raster's time axis, recorded and decoded.

Beside the plots stands what hiding costs over the test trials. The plots follow the
raster: its trial, its range of time, its time cursor. Nothing is drawn while the dock is
not on screen; it catches up when it is shown.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPixmap, QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QGridLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.recording.session import Session
from napari_mtm.recording.trials import chose_right
from napari_mtm.ui.coordinator import Coordinator, coordinator_of
from napari_mtm.ui.docks.traces.more_behaviour import MoreBehaviour
from napari_mtm.ui.docks.traces.rows import (
    CHOICE,
    LINES,
    ROWS,
    SPACING,
    ChoiceRow,
    Name,
    TraceRow,
    chance_band,
    line_pen,
    make_axis,
    recolour_axis,
    y_range,
)
from napari_mtm.ui.text.behaviour import shown
from napari_mtm.ui.text.hiding_cost import cost_words
from napari_mtm.ui.text.trial import axis_title

if TYPE_CHECKING:
    from napari_mtm.live.engine import Decoded
    from napari_mtm.ui.live import Live

OLD = 0.35
"""Opacity of decoded lines while newer ones are to come."""

_FONT = 11
_AXIS_HEIGHT = 24
_TITLE_WIDTH = 100
_SIDE_WIDTH = 320
_LEAST_HEIGHT, _ROW_HEIGHT = 140, 34
_NARROW = 620
"""Width of the dock in pixels under which the words go below the plots."""
_UNBOUNDED = 16777215  # Qt's own

_NO_SESSION = "No session is open."
_NO_BEHAVIOUR = "This session holds no behaviour: no wheel, no whiskers and no choices."


class TracesDock(QWidget):
    """Shows behaviour of the trial that is shown, what is decoded of it, and what hiding costs.

    Attributes
    ----------
    rows
        The plots by quantity: those of `ROWS`, and of further traces of the sessions that were
        open. Those that the session has nothing for are hidden.
    sentence
        What is said in place of the plots where there is nothing to plot.
    words
        What hiding costs over the test trials.
    legend
        What the lines are, and in its last row the events of the trial.
    more
        Offers what further behaviour can be read.

    """

    def __init__(self, napari_viewer: "Any") -> None:
        super().__init__()
        self.setObjectName("napari-mtm traces")
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.coordinator: Coordinator = coordinator_of(napari_viewer)
        self._session: Session | None = None
        self._times: npt.NDArray[np.float64] = np.empty(0)
        self._right: npt.NDArray[np.float64] = np.empty(0)
        self._decoded: Decoded | None = None
        self._drawn: Decoded | None = None

        self.plots = pg.GraphicsLayoutWidget()
        self.plots.setObjectName("traces_plots")
        grid = self.plots.ci
        grid.setContentsMargins(2, 2, 12, 2)
        grid.setSpacing(SPACING)
        self.rows: dict[str, TraceRow] = {}
        for name in ROWS:
            self._add_row(name)
        self.axis = make_axis("bottom", over_edge=20)
        self.axis.linkToView(self.rows[CHOICE].box)  # all have one range, shown or not
        self.axis.setHeight(_AXIS_HEIGHT)
        self.axis_label = Name(_TITLE_WIDTH)
        self.axis_label.setMaximumHeight(_AXIS_HEIGHT)
        self._put_axis()
        grid.layout.setColumnStretchFactor(2, 1)

        self.sentence = _label("traces_sentence")
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.legend = QWidget()
        self.words = _label("traces_words")
        self.words.setToolTip(
            "R² of a trace over all trials and bins; by chance, that of its mean course over\n"
            "the training trials. A choice is scored as it is read from the whole trial; the\n"
            "plot shows what each bin's past says of it."
        )
        self.more = MoreBehaviour(self.coordinator)
        self._lay_out()
        self._connect()
        self._take_session()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what changed while the dock was not on screen."""
        super().showEvent(event)
        self._draw_all()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put the words beside the plots, or below them where the dock is narrow."""
        super().resizeEvent(event)
        narrow = self.width() < _NARROW
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        self._body_layout.setDirection(direction)
        self._side.setMinimumWidth(0 if narrow else _SIDE_WIDTH)
        self._side.setMaximumWidth(_UNBOUNDED if narrow else _SIDE_WIDTH)

    def _lay_out(self) -> None:
        lines = QGridLayout(self.legend)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setVerticalSpacing(0)
        lines.setColumnStretch(1, 1)
        self._samples = {key: QLabel() for key in LINES}
        for place, (key, text) in enumerate(LINES.items()):
            lines.addWidget(self._samples[key], place, 0)
            lines.addWidget(QLabel(text), place, 1)
        self.event_names = _label("traces_events")
        lines.addWidget(self.event_names, len(LINES), 0, 1, 2)
        self._side = QWidget()
        self._side.setStyleSheet(f"QLabel {{ font-size: {_FONT}px; }}")
        side = QVBoxLayout(self._side)
        side.setContentsMargins(4, 2, 4, 2)
        side.setSpacing(4)
        side.addWidget(self.legend)
        side.addWidget(self.words)
        side.addWidget(self.more)
        side.addStretch(1)
        self._body = QWidget()
        self._body_layout = QBoxLayout(QBoxLayout.Direction.LeftToRight, self._body)
        self._body_layout.setContentsMargins(0, 0, 0, 0)
        self._body_layout.addWidget(self.plots, 1)
        self._body_layout.addWidget(self._side)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._body)
        outer.addWidget(self.sentence)

    def _add_row(self, name: str) -> None:
        grid, place = self.plots.ci, len(self.rows)
        row = ChoiceRow(grid, place) if name == CHOICE else TraceRow(name, grid, place)
        row.cursor.sigDragged.connect(self._on_dragged)
        self.rows[name] = row

    def _put_axis(self) -> None:
        """Put the axis of time below all rows."""
        self.plots.addItem(self.axis_label, row=len(self.rows), col=0, colspan=2)
        self.plots.addItem(self.axis, row=len(self.rows), col=2)

    def _add_further_rows(self, session: Session) -> None:
        """Add rows for traces of a session that have none yet, below those that are there."""
        new = [name for name in shown(session.traces) if name not in self.rows]
        if not new:
            return
        for item in (self.axis_label, self.axis):
            self.plots.removeItem(item)
        for name in new:
            self._add_row(name)
        self._put_axis()

    def _connect(self) -> None:
        coordinator = self.coordinator
        coordinator.session_changed.connect(self._on_session)
        coordinator.extended.connect(self._on_extended)
        coordinator.trial_changed.connect(self._on_trial)
        coordinator.time_changed.connect(self._on_time)
        coordinator.theme_changed.connect(self._on_theme)
        coordinator.view_changed.connect(self._on_view)
        coordinator.cells_changed.connect(self._on_view)  # the raster's cell is narrower then
        live = coordinator.live
        live.answered.connect(self._on_live)
        live.decoded.connect(self._on_live)
        live.status_changed.connect(self._on_status)
        live.scored.connect(self._on_scored)

    @property
    def _on_screen(self) -> bool:
        """Whether drawing is of use; a dock that is closed may be gone from Qt already."""
        return isalive(self) and self.isVisible()

    def _on_session(self) -> None:
        self._decoded = None
        self._on_extended()

    def _on_extended(self) -> None:
        if isalive(self):
            self._take_session()
        if self._on_screen:
            self._draw_all()

    def _on_trial(self) -> None:
        if self._on_screen and self._session is not None:
            self._draw_trial()
            self._draw_decoded()

    def _on_time(self) -> None:
        if self._on_screen:
            self._draw_cursor()

    def _on_theme(self) -> None:
        if self._on_screen:
            self._recolour()

    def _on_view(self) -> None:
        if self._on_screen and self._session is not None:
            self._draw_view()

    def _on_live(self) -> None:
        if self._on_screen:
            self._draw_decoded()

    def _on_status(self) -> None:
        if self._on_screen:
            self._draw_decoded()
            if self.coordinator.live.whole is None:
                self._draw_words()

    def _on_scored(self) -> None:
        if self._on_screen:
            self._draw_words()
            self._draw_decoded()  # another mask makes them old, also where the model is not asked

    def _on_dragged(self, line: pg.InfiniteLine) -> None:
        self.coordinator.set_time(line.value())

    def _draw_all(self) -> None:
        self._recolour()
        if self._session is not None:
            self._draw_trial()
            self._draw_view()
        self._draw_decoded()
        self._draw_cursor()
        self._draw_words()

    def _take_session(self) -> None:
        """Find what the session has, and ranges that hold for all its trials."""
        session = self._session = self.coordinator.session
        if session is not None:
            self._add_further_rows(session)
            start = session.window[0] + session.bin_size / 2
            self._times = start + session.bin_size * np.arange(session.n_bins)
            self._right = chose_right(session.trials)
            for name, row in self.rows.items():
                limits = y_range(session, name)
                row.set_visible(limits is not None)
                if limits is not None:
                    row.set_limits(*limits)
            self.axis_label.set_text(axis_title(session).replace("from ", "from\n"))
            choice = self.rows[CHOICE]
            assert isinstance(choice, ChoiceRow)
            choice.chance.setRegion(chance_band(self._right[session.split().train]))
        some = session is not None and any(row.visible for row in self.rows.values())
        further = sum(row.visible for name, row in self.rows.items() if name not in ROWS)
        self.setMinimumHeight(_LEAST_HEIGHT + further * _ROW_HEIGHT)
        self._body.setVisible(some or bool(self.more.names))
        for part in (self.plots, self.legend, self.words):
            part.setVisible(some)
        self.sentence.setVisible(not some)
        self.sentence.setText(_NO_SESSION if session is None else _NO_BEHAVIOUR)

    def _draw_trial(self) -> None:
        session, trial = self._session, self.coordinator.trial
        assert session is not None
        events = self.coordinator.events
        for name, row in self.rows.items():
            if not row.visible:
                continue
            row.set_events(events)
            if isinstance(row, ChoiceRow):
                row.set_choice(self._times, self._right[trial])
            else:
                row.lines["recorded"].setData(self._times, session.behaviour[name][trial])
        self.event_names.setText(
            "&nbsp; ".join(
                f'<b style="color: {event.colour}">|</b>&nbsp;{event.name}' for event in events
            )
        )

    def _draw_decoded(self) -> None:
        """Draw the newest decoded lines; older ones are faint until their successors come."""
        live = self.coordinator.live
        if live.behaviour is not None:
            self._decoded = live.behaviour
        decoded = self._decoded
        if decoded is not None and not self._may_stay(decoded):
            decoded = None
        if decoded is not self._drawn:
            self._drawn = decoded
            for row in self.rows.values():
                row.set_decoded(self._times, decoded)
        opacity = 1.0 if decoded is None or self._is_new(decoded) else OLD
        for row in self.rows.values():
            row.set_opacity(opacity)

    def _may_stay(self, decoded: "Decoded") -> bool:
        """Whether lines are of what is shown, or about to be replaced."""
        live, trial = self.coordinator.live, self.coordinator.trial
        if not self.coordinator.shows(decoded.request.session):
            return False
        awaited = live.stale or (live.answer is not None and live.answer.request.trial == trial)
        return decoded.request.trial == trial or awaited

    def _is_new(self, decoded: "Decoded") -> bool:
        coordinator, request = self.coordinator, decoded.request
        live = coordinator.live
        return (
            decoded is live.behaviour
            and not live.stale
            and request.trial == coordinator.trial
            and (live.on or np.array_equal(request.mask.hidden, coordinator.masks.mask.hidden))
        )

    def _draw_cursor(self) -> None:
        for row in self.rows.values():
            row.cursor.setValue(self.coordinator.time)

    def _draw_view(self) -> None:
        low, high = self.coordinator.view.x_range
        for row in self.rows.values():
            row.box.setXRange(low, high, padding=0)

    def _draw_words(self) -> None:
        session, live = self._session, self.coordinator.live
        if session is None:
            return
        if live.whole is None:
            self.words.setText(_waiting(live))
        else:
            self.words.setText(cost_words(session, live.whole))

    def _recolour(self) -> None:
        from napari.utils.theme import get_theme

        theme = get_theme(self.coordinator.viewer.theme)
        text = QColor(theme.text.as_hex())
        dark = self.coordinator.dark
        self.plots.setBackground(QColor(theme.background.as_hex()))
        for row in self.rows.values():
            row.recolour(text, dark=dark)
        recolour_axis(self.axis, text)
        self.axis_label.recolour(text)
        for key, sample in self._samples.items():
            sample.setPixmap(_sample(line_pen(key, text, dark=dark)))


def _waiting(live: "Live") -> str:
    """Say why there are no scores yet."""
    if live.doing or live.fitting:
        return live.doing or live.fitting
    if live.model is None:
        return "With a model, behaviour is decoded from the spikes that the mask leaves visible."
    return "Scoring the test trials…" if live.on else "Not scored on the test trials yet."


def _sample(pen: Any) -> QPixmap:
    """A short piece of a line, for the legend."""
    image = QPixmap(26, 12)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setPen(pen)
    painter.drawLine(1, 6, 25, 6)
    painter.end()
    return image


def _label(name: str) -> QLabel:
    label = QLabel(objectName=name)
    label.setWordWrap(True)
    return label
