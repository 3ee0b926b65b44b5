"""Which model is asked, when, and what is shown of its answers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGroupBox, QHBoxLayout, QMenu, QVBoxLayout

from napari_mtm.live.engine import Answer
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.layers.cells import USUAL, CellName
from napari_mtm.ui.models import NAMES
from napari_mtm.ui.qt.parts import button, text

if TYPE_CHECKING:
    from napari_mtm.model.model import Model


class ModelPanel(QGroupBox):
    """Chooses the model and the cells, and says how fast it answers."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("Model")
        self._coordinator = coordinator
        self.model_button = button("model", "Choose a model", "Which weights are asked")
        menu = QMenu(self.model_button)
        for source, name in NAMES.items():
            menu.addAction(name, partial(coordinator.models.choose, source))
        menu.addAction("Open weights…", self._on_open_weights)
        self.model_button.setMenu(menu)
        self.live = QCheckBox("Live", objectName="live")
        self.live.setToolTip("Ask the model with every change")
        self.once_button = button("once", "Ask once", "Ask the model now")
        self.status = text("status")
        self.cells = {name: QCheckBox(name, objectName=f"cell_{name}") for name in USUAL}
        rows = QVBoxLayout(self)
        rows.addWidget(self.model_button)
        row = QHBoxLayout()
        row.addWidget(self.live)
        row.addWidget(self.once_button)
        rows.addLayout(row)
        rows.addWidget(self.status)
        cells = QHBoxLayout()
        for box in self.cells.values():
            cells.addWidget(box)
        rows.addLayout(cells)
        self._connect()
        self._on_session()
        coordinator.models.begin()

    def _connect(self) -> None:
        coordinator, live = self._coordinator, self._coordinator.live
        self.live.toggled.connect(live.set_on)
        self.once_button.clicked.connect(live.once)
        for name, box in self.cells.items():
            box.toggled.connect(_shower(coordinator.cells.set_shown, name))
        coordinator.session_changed.connect(self._on_session)
        coordinator.cells_changed.connect(self._on_cells)
        live.status_changed.connect(self._on_status)

    def _on_session(self) -> None:
        self.setVisible(self._coordinator.session is not None)
        self._on_status()
        self._on_cells()

    def _on_cells(self) -> None:
        shown = self._coordinator.cells.shown
        for name, box in self.cells.items():
            with QSignalBlocker(box):
                box.setChecked(name in shown)

    def _on_status(self) -> None:
        live = self._coordinator.live
        with QSignalBlocker(self.live):
            self.live.setChecked(live.on)
        self.model_button.setText(live.name or "Choose a model")
        self.once_button.setEnabled(live.model is not None)
        for box in self.cells.values():
            box.setEnabled(live.model is not None)
        doing = live.doing or live.fitting
        self.status.setText(_status(doing, live.model, live.answer, live.dropped, live.stale))

    def _on_open_weights(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open weights", str(Path.home()), "Weights (*.safetensors)"
        )
        if path:
            self._coordinator.models.choose(path)


def _status(
    doing: str, model: "Model | None", answer: Answer | None, dropped: int, stale: bool
) -> str:
    if doing or model is None:
        return doing or "No model is loaded."
    parts = [f"{model.preset} on {model.device}"]
    if answer is not None:
        parts.append(f"{answer.seconds * 1e3:.0f} ms")
    if dropped:
        parts.append(f"{dropped} dropped")
    if stale:
        parts.append("asking…")
    return ", ".join(parts)


def _shower(show: Callable[[CellName, bool], None], name: CellName) -> Callable[[bool], None]:
    return lambda shown: show(name, shown)
