"""The runs on the open session: open, compare, resume, export, delete."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QMessageBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.finetune.state import tell
from napari_mtm.ui.qt.parts import button, listen, text
from napari_mtm.ui.text.finetuning import (
    cut_off_words,
    entry_score,
    entry_state,
    entry_words,
    runs_words,
)
from napari_mtm.ui.text.numbers import number

if TYPE_CHECKING:
    from napari_mtm.training.runs import Entry

_HEIGHT = 120


class RunsPanel(QGroupBox):
    """Lists the runs; what is done is done with the one that is selected."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("Runs on this session")
        self._coordinator = coordinator
        self._finetuning = coordinator.finetuning
        self.offer = text("finetune_offer")
        self.offer_button = button("finetune_offer_resume", "Resume it", "Go on from its last save")
        self.tree = QTreeWidget(objectName="finetune_runs")
        self.tree.setHeaderLabels(["begun", "state", "inter-region"])
        self.tree.setRootIsDecorated(False)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.tree.setMinimumHeight(_HEIGHT)
        self.tree.headerItem().setToolTip(2, "Bits per spike on the test trials, after")
        self.beside = text("finetune_beside")
        self.open_button = button("finetune_open", "Open", "Ask its weights, and show what it did")
        self.compare_button = button(
            "finetune_compare",
            "Compare",
            "One: before and after on the test trials. Several: their scores side by side",
        )
        self.resume_button = button("finetune_resume_run", "Resume", "Go on from its last save")
        self.export_button = button("finetune_export", "Export…", "Write its weights to a file")
        self.delete_button = button("finetune_delete", "Delete…", "Delete it from disk")
        self._lay_out()
        self._connect()
        self._on_runs()

    @property
    def selected(self) -> "list[Entry]":
        """The runs that are selected, from top to bottom."""
        chosen = {i.data(0, Qt.ItemDataRole.UserRole) for i in self.tree.selectedItems()}
        return [e for e in self._finetuning.shelf.entries if str(e.folder) in chosen]

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        for part in (self.offer, self.offer_button, self.tree):
            layout.addWidget(part)
        grid = QGridLayout()
        buttons = (
            self.open_button,
            self.compare_button,
            self.resume_button,
            self.export_button,
            self.delete_button,
        )
        for k, made in enumerate(buttons):
            grid.addWidget(made, k // 3, k % 3)
        layout.addLayout(grid)
        layout.addWidget(self.beside)

    def _connect(self) -> None:
        finetuning = self._finetuning
        listen(finetuning.shelf.changed, self._on_runs)
        listen(finetuning.changed, self._on_select)
        self.tree.itemSelectionChanged.connect(self._on_select)
        self.tree.itemDoubleClicked.connect(self._on_open)
        self.offer_button.clicked.connect(self._on_offer)
        self.open_button.clicked.connect(self._on_open)
        self.compare_button.clicked.connect(self._on_compare)
        self.resume_button.clicked.connect(self._on_resume)
        self.export_button.clicked.connect(self._on_export)
        self.delete_button.clicked.connect(self._on_delete)

    def _on_runs(self) -> None:
        chosen = {e.folder for e in self.selected}
        self.tree.clear()
        for entry in self._finetuning.shelf.entries:
            score = entry_score(entry)
            shown = number(score, 3) if math.isfinite(score) else ""
            item = QTreeWidgetItem([f"{entry.begun:%d %b %H:%M}", entry_state(entry), shown])
            item.setData(0, Qt.ItemDataRole.UserRole, str(entry.folder))
            for column in range(3):
                item.setToolTip(column, entry_words(entry))
            self.tree.addTopLevelItem(item)
            item.setSelected(entry.folder in chosen)
        for column in range(2):
            self.tree.resizeColumnToContents(column)
        self._on_select()

    def _on_select(self) -> None:
        finetuning, selected = self._finetuning, self.selected
        self.setVisible(bool(finetuning.shelf.entries))
        free = not finetuning.at_work
        one = selected[0] if len(selected) == 1 else None
        self.open_button.setEnabled(free and one is not None)
        self.compare_button.setEnabled((free and one is not None) or len(selected) > 1)
        cut_short = one is not None and one.status.state not in ("finished", "running")
        self.resume_button.setEnabled(free and cut_short)
        self.export_button.setEnabled(one is not None)
        self.delete_button.setEnabled(free and bool(selected))
        self.beside.hide()
        interrupted = finetuning.shelf.interrupted if free else None
        self.offer.setVisible(interrupted is not None)
        self.offer_button.setVisible(interrupted is not None)
        if interrupted is not None:
            self.offer.setText(cut_off_words(interrupted))

    def _on_offer(self) -> None:
        entry = self._finetuning.shelf.interrupted
        if entry is not None:
            self._finetuning.resume(entry)

    def _on_open(self) -> None:
        if self.open_button.isEnabled() and self.selected:
            self._finetuning.open(self.selected[0])

    def _on_compare(self) -> None:
        selected = self.selected
        if len(selected) > 1:
            self.beside.setText(runs_words(selected))
            self.beside.show()
        elif selected and selected[0].comparison is not None:
            self._finetuning.open(selected[0])
        elif selected:
            self._finetuning.compare(selected[0])

    def _on_resume(self) -> None:
        if self.selected:
            self._finetuning.resume(self.selected[0])

    def _on_export(self) -> None:
        if not self.selected:
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Export weights", str(Path.home() / "fine-tuned.safetensors"), "*.safetensors"
        )
        if path:
            self._finetuning.shelf.export(
                self.selected[0].folder, Path(path), lambda _: tell(f"The weights are in {path}.")
            )

    def _on_delete(self) -> None:
        n = len(self.selected)
        what = "this run" if n == 1 else f"these {n} runs"
        asked = QMessageBox.question(self, "Delete", f"Delete {what} from disk?")
        if asked == QMessageBox.StandardButton.Yes:
            self._finetuning.shelf.delete([entry.folder for entry in self.selected])
