"""The session dock: what is open, how its raster is drawn, what lies under the cursor."""

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap, QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleRangeSlider

from napari_mtm.recording.opening import SAMPLE, find_source, open_source
from napari_mtm.recording.ordering import ORDERS
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.regions import OUTSIDE
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import is_store, open_store
from napari_mtm.ui.canvas.dropping import take_sessions
from napari_mtm.ui.canvas.frame import CanvasFrame, find_canvas, frame_around
from napari_mtm.ui.coordinator import Coordinator, Hover, coordinator_of
from napari_mtm.ui.docks.session.open_dialog import OpenDialog, Request
from napari_mtm.ui.docks.session.open_sessions import SessionList
from napari_mtm.ui.layers.raster import brightest
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.qt.activity import Activity
from napari_mtm.ui.qt.jobs import Jobs
from napari_mtm.ui.qt.parts import button, let_be_cut, scrolling
from napari_mtm.ui.text.part_scores import hover_line
from napari_mtm.ui.text.trial import trial_summary
from napari_mtm.ui.window import show_browser, show_docks

_SLIDER_HEIGHT = 44
_LIST_HEIGHT = 110

_ORDER_TIPS = {
    "region": "Regions along the Allen graph, the surface on top",
    "depth": "Each probe from the surface to its tip",
    "rate": "Most active on top",
    "similarity": "Units that fire together lie together",
}


class SessionDock(QWidget):
    """Opens sessions and controls how their raster is drawn."""

    def __init__(self, napari_viewer: "Any") -> None:
        super().__init__()
        self.setObjectName("napari-mtm session")
        self.coordinator: Coordinator = coordinator_of(napari_viewer)
        self.frame: CanvasFrame | None = None
        self.jobs = Jobs(self)
        Activity(self.jobs)

        self.find_button = button(
            "find_sessions", "Find sessions…", "Look for sessions on a server or on this disk"
        )
        self.open_button = QPushButton("Open session…", objectName="open")
        self.sample_button = QPushButton("Sample", objectName="open_sample")
        self.sessions = SessionList(self.coordinator)
        self.title = _label("title", selectable=True)
        self.facts = _label("facts")
        self.notes = _label("notes")
        self.trial = _label("trial")
        self.under = _label("under")
        self.bar = QProgressBar(objectName="progress")
        self.bar.setRange(0, 100)
        self.doing = _label("doing")
        let_be_cut(self.doing)  # a long path would widen the dock
        self.cancel_button = QPushButton("Cancel", objectName="cancel")
        self.order = QComboBox(objectName="order")
        for k, name in enumerate(ORDERS):
            self.order.addItem(name, name)
            self.order.setItemData(k, _ORDER_TIPS[name], Qt.ItemDataRole.ToolTipRole)
        self.limits = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.limits.setObjectName("limits")
        self.limits.setDecimals(0)
        self.limits_text = _label("limits_text")
        self.regions = QListWidget(objectName="regions")
        self.all_button = QPushButton("All", objectName="all_regions")
        self.named_button = QPushButton("Without root and void", objectName="named_regions")
        self._lay_out()
        self._connect()
        self._on_session()

    def open(self, request: Request) -> None:
        """Read and prepare a session off the Qt thread, then show it."""
        folder, sources = preferences().cache, self.coordinator.sources

        def work(progress: Any) -> Session:
            if is_store(Path(request.source)):
                return open_store(Path(request.source))
            source = find_source(request.source, one=request.one)
            sources[source.id] = source
            return open_source(source, request.preparation, cache_folder=folder, progress=progress)

        self.jobs.run(f"opening {request.source}", work, self._show)

    def _show(self, session: Session) -> None:
        self.coordinator.show(session)
        viewer = self.coordinator.viewer
        if hasattr(viewer, "window"):
            show_docks(viewer)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Put the frame around the canvas of the window that the dock is in, and take its drops."""
        super().showEvent(event)
        window = self.window()
        if self.frame is None and isinstance(window, QMainWindow):
            self.frame = frame_around(self.coordinator, window)
            canvas = find_canvas(window)
            if canvas is not None:
                take_sessions(canvas, partial(_open_dropped, self.coordinator))

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.find_button, 1)
        top.addWidget(self.open_button, 1)
        top.addWidget(self.sample_button)
        self._busy = QWidget()
        busy = QGridLayout(self._busy)
        busy.setContentsMargins(0, 0, 0, 0)
        busy.addWidget(self.bar, 0, 0)
        busy.addWidget(self.cancel_button, 0, 1)
        busy.addWidget(self.doing, 1, 0, 1, 2)

        self._raster_box = QGroupBox("Raster")
        form = QFormLayout(self._raster_box)
        form.addRow("Sort by", self.order)
        form.addRow("Brightness", self.limits)
        form.addRow("", self.limits_text)
        self._regions_box = QGroupBox("Regions")
        regions = QVBoxLayout(self._regions_box)
        regions.addWidget(self.regions)
        buttons = QHBoxLayout()
        buttons.addWidget(self.all_button)
        buttons.addWidget(self.named_button, 1)
        regions.addLayout(buttons)
        self._trial_box = _boxed("Trial", self.trial)
        self._under_box = _boxed("Under the cursor", self.under)

        body = QWidget()
        layout = QVBoxLayout(body)
        layout.addLayout(top)
        layout.addWidget(self._busy)
        layout.addWidget(self.sessions)
        layout.addWidget(self.title)
        layout.addWidget(self.facts)
        layout.addWidget(self.notes)
        for box in (self._trial_box, self._under_box, self._raster_box):
            layout.addWidget(box)
        layout.addWidget(self._regions_box, 1)
        self._spring = QWidget()
        self._spring.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Expanding)
        layout.addWidget(self._spring)
        self._busy.hide()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(body))
        self.limits.setMinimumHeight(_SLIDER_HEIGHT)
        self.regions.setMinimumHeight(_LIST_HEIGHT)
        self.setMinimumWidth(270)

    def _connect(self) -> None:
        self.find_button.clicked.connect(self._on_find_clicked)
        self.open_button.clicked.connect(self._on_open_clicked)
        self.sample_button.clicked.connect(self._on_sample_clicked)
        self.cancel_button.clicked.connect(self.jobs.cancel)
        self.order.currentIndexChanged.connect(self._on_order_chosen)
        self.limits.valueChanged.connect(self._on_limits_moved)
        self.regions.itemChanged.connect(self._on_region_checked)
        self.all_button.clicked.connect(lambda: self._check(lambda name: True))
        self.named_button.clicked.connect(lambda: self._check(lambda name: name not in OUTSIDE))
        self.jobs.started.connect(self._on_job_started)
        self.jobs.progressed.connect(self._on_job_progressed)
        self.jobs.finished.connect(self._busy.hide)
        coordinator = self.coordinator
        coordinator.session_changed.connect(self._on_session)
        coordinator.extended.connect(self._on_extended)
        coordinator.rows_changed.connect(self._on_rows)
        coordinator.trial_changed.connect(self._on_trial)
        coordinator.limits_changed.connect(self._on_limits)
        coordinator.hovered.connect(self._on_hover)

    def _on_find_clicked(self) -> None:
        viewer = self.coordinator.viewer
        if hasattr(viewer, "window"):
            show_browser(viewer)

    def _on_open_clicked(self) -> None:
        dialog = OpenDialog(self)
        dialog.accepted.connect(lambda: self.open(dialog.request()))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _on_sample_clicked(self) -> None:
        self.open(Request(SAMPLE, None, Preparation()))

    def _on_job_started(self, what: str) -> None:
        self.bar.setValue(0)
        self.doing.setText(what)
        self._busy.show()

    def _on_job_progressed(self, fraction: float, message: str) -> None:
        self.bar.setValue(round(fraction * 100))
        self.doing.setText(message)

    def _on_session(self) -> None:
        session = self.coordinator.session
        for part in (self._trial_box, self._under_box, self._raster_box, self._regions_box):
            part.setVisible(session is not None)
        self._spring.setVisible(session is None)
        if session is None and self.coordinator.opened:
            self.title.setText("<b>No session is shown.</b>")
            self.facts.setText("Choose one of those that are open, or open another.")
            self.notes.hide()
            return
        if session is None:
            self.title.setText("<b>No session is open.</b>")
            self.facts.setText(
                "Find one on a server, open one of yours, or the sample: a simulated recording "
                "that needs no download. "
                "Prepared stores and session folders can also be dropped on the window."
            )
            self.notes.hide()
            return
        self._describe(session)
        self._fill_regions(session)
        self._on_rows()
        self._on_trial()
        self._on_limits()
        self._on_hover(None)

    def _on_extended(self) -> None:
        session = self.coordinator.session
        if session is not None:
            self._describe(session)

    def _describe(self, session: Session) -> None:
        self.title.setText(f"<b>{session.title}</b>")
        self.title.setToolTip(session.id)
        self.facts.setText(_facts(session))
        self.facts.setToolTip(session.describe())
        self.notes.setText("\n".join(session.notes))
        self.notes.setVisible(bool(session.notes))

    def _fill_regions(self, session: Session) -> None:
        self.regions.blockSignals(True)
        self.regions.clear()
        for region in session.regions:
            item = QListWidgetItem(f"{region.name}  ({region.size})")
            swatch = QPixmap(12, 12)
            swatch.fill(QColor(*region.colour))
            item.setIcon(QIcon(swatch))
            item.setToolTip(region.full_name)
            item.setData(Qt.ItemDataRole.UserRole, region.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked)
            self.regions.addItem(item)
        self.regions.blockSignals(False)

    def _on_rows(self) -> None:
        coordinator = self.coordinator
        self.order.blockSignals(True)
        self.order.setCurrentIndex(self.order.findData(coordinator.order))
        self.order.blockSignals(False)
        self.regions.blockSignals(True)
        for k in range(self.regions.count()):
            item = self.regions.item(k)
            shown = item.data(Qt.ItemDataRole.UserRole) in coordinator.shown
            item.setCheckState(Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked)
        self.regions.blockSignals(False)
        session = coordinator.session
        if session is not None:
            hidden = session.n_units - len(coordinator.rows)
            shown_text = f"Regions: {len(coordinator.rows)} of {session.n_units} units shown"
            self._regions_box.setTitle(shown_text if hidden else "Regions")

    def _on_trial(self) -> None:
        session, trial = self.coordinator.session, self.coordinator.trial
        if session is not None:
            self._trial_box.setTitle(f"Trial {trial} (0 to {session.n_trials - 1})")
            self.trial.setText(trial_summary(session, trial))

    def _on_limits(self) -> None:
        session, layer = self.coordinator.session, self.coordinator.layer
        if session is None or layer is None:
            return
        low, high = layer.contrast_limits
        self.limits.blockSignals(True)
        self.limits.setRange(0, max(2 * brightest(session), high, 4))
        self.limits.setValue((low, high))
        self.limits.blockSignals(False)
        self.limits_text.setText(
            f"{low:.0f} to {high:.0f} spikes per bin"
            f" = {low / session.bin_size:.0f} to {high / session.bin_size:.0f} spikes/s"
        )

    def _on_hover(self, hover: Hover | None) -> None:
        session = self.coordinator.session
        if hover is None or session is None:
            self.under.setText("Point at the raster.\n\n")
            return
        lines = self.coordinator.unit_lines(hover.unit)
        self.under.setText("\n".join((*lines, hover_line(self.coordinator, hover))))
        self.under.setToolTip(str(session.units["uuid"].iloc[hover.unit]))

    def _on_order_chosen(self, index: int) -> None:
        name, session = self.order.itemData(index), self.coordinator.session
        if session is None:
            return
        if name != "similarity" or self.coordinator.has_order(name):
            self.coordinator.set_order(name)
            return

        def show(positions: Any) -> None:
            if self.coordinator.shows(session):
                self.coordinator.set_order(name, positions)

        self.jobs.run("sorting by similarity", lambda progress: ORDERS[name](session), show)

    def _on_limits_moved(self, values: tuple[float, float]) -> None:
        self.coordinator.set_limits(*values)

    def _on_region_checked(self, item: QListWidgetItem) -> None:
        shown = {
            self.regions.item(k).data(Qt.ItemDataRole.UserRole)
            for k in range(self.regions.count())
            if self.regions.item(k).checkState() == Qt.CheckState.Checked
        }
        if shown:
            self.coordinator.set_shown(shown)
        else:
            self._on_rows()  # one region stays

    def _check(self, wanted: Any) -> None:
        session = self.coordinator.session
        if session is not None:
            self.coordinator.set_shown(r.name for r in session.regions if wanted(r.name))


def _facts(session: Session) -> str:
    left_out = sum(session.excluded.values())
    trials = f"{session.n_trials} trials" + (f" ({left_out} left out)" if left_out else "")
    return f"{session.n_units} units in {len(session.regions)} regions, {trials}"


def _label(name: str, *, selectable: bool = False) -> QLabel:
    label = QLabel(objectName=name)
    label.setWordWrap(True)
    if selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _boxed(title: str, part: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.addWidget(part)
    return box


def _open_dropped(coordinator: Coordinator, path: Path) -> None:
    """Open a session in the dock that is there by then."""
    open_in_dock(coordinator.viewer, Request(str(path), None, Preparation()))


def open_in_dock(viewer: Any, request: Request) -> None:
    """Open a session in a viewer with a window; the session dock is shown with it."""
    show_dock(viewer).open(request)


def show_dock(viewer: Any) -> SessionDock:
    """Show the session dock of a viewer with a window, and return it."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mtm", "Session")
    dock.show()
    dock.raise_()
    return widget
