"""The predict dock: what is hidden, which model is asked, and how well it does."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from napari_mtm.ui.canvas.keys import table
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.predict.hide_panel import HidePanel
from napari_mtm.ui.docks.predict.model_panel import ModelPanel
from napari_mtm.ui.docks.predict.score_panel import ScorePanel
from napari_mtm.ui.qt.parts import button, scrolling, text


class PredictDock(QWidget):
    """Hides parts of the raster, asks the model, and says how well it does."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.setObjectName("napari-mtm predict")
        self.coordinator = coordinator_of(napari_viewer)
        self.hide_panel = HidePanel(self.coordinator)
        self.score_panel = ScorePanel(self.coordinator)
        self.model_panel = ModelPanel(self.coordinator)
        self.closed = text("closed")
        self.closed.setText("Open a session to hide parts of it.")
        self.keys_button = button("keys", "Keys…", "Keys that hide, undo and ask")
        self.keys_button.clicked.connect(self._on_keys)
        body = QWidget()
        layout = QVBoxLayout(body)
        panels = (self.hide_panel, self.score_panel, self.model_panel)
        for part in (self.closed, *panels, self.keys_button):
            layout.addWidget(part)
        layout.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(body))
        self.setMinimumWidth(346)  # what is in it, and a scroll bar
        self.coordinator.session_changed.connect(self._on_session)
        self._on_session()

    def _on_keys(self) -> None:
        box = QMessageBox(self)
        box.setWindowTitle("Keys of napari-mtm")
        rows = "".join(
            f"<tr><td><b>{key}</b>&nbsp;</td><td>{what}</td></tr>" for key, what in table()
        )
        box.setText(f"<table>{rows}</table>")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _on_session(self) -> None:
        self.closed.setVisible(self.coordinator.session is None)
