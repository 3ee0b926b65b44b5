"""The fine-tune dock: what will be done, how it goes, what came of it, and the runs before."""

from typing import Any

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QMainWindow, QVBoxLayout, QWidget

from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.finetune.closing import watch_closing
from napari_mtm.ui.docks.finetune.monitor import Monitor
from napari_mtm.ui.docks.finetune.plan_panel import PlanPanel
from napari_mtm.ui.docks.finetune.result_panel import ResultPanel
from napari_mtm.ui.docks.finetune.runs_panel import RunsPanel
from napari_mtm.ui.qt.parts import listen, scrolling


class FinetuneDock(QWidget):
    """Shows the panel that belongs to what goes on."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.setObjectName("napari-mtm fine-tune")
        self.coordinator = coordinator_of(napari_viewer)
        self.plan = PlanPanel(self.coordinator)
        self.monitor = Monitor(self.coordinator)
        self.result = ResultPanel(self.coordinator)
        self.runs = RunsPanel(self.coordinator)
        body = QWidget()
        layout = QVBoxLayout(body)
        for part in (self.plan, self.result, self.monitor, self.runs):
            layout.addWidget(part)
        layout.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(body))
        self.setMinimumWidth(352)  # the table of results, and a scroll bar
        listen(self.coordinator.finetuning.changed, self._on_change)
        self._on_change()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Ask before the window is closed while a training goes on; look for runs again."""
        super().showEvent(event)
        self.coordinator.finetuning.shelf.refresh()  # one that was left alone may have ended
        window = self.window()
        if isinstance(window, QMainWindow):
            watch_closing(window, self.coordinator.finetuning)

    def _on_change(self) -> None:
        finetuning = self.coordinator.finetuning
        self.plan.setVisible(finetuning.phase == "idle")
        self.monitor.setVisible(finetuning.phase != "idle")
        self.result.setVisible(finetuning.phase in ("finished", "failed"))
