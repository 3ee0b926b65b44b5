"""After a fine-tuning: before and after, side by side, and what becomes of the new weights."""

from pathlib import Path

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.qt.parts import button, listen, text
from napari_mtm.ui.text.finetuning import comparison_words, ended_words


class ResultPanel(QWidget):
    """Says what came of a fine-tuning, shows either weights live, keeps or discards it."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._finetuning = coordinator.finetuning
        self.words = text("finetune_result")
        self.table = text("finetune_comparison")
        self.before = QRadioButton("before", objectName="finetune_before")
        self.after = QRadioButton("after", objectName="finetune_after")
        self._which = QButtonGroup(self)
        for choice in (self.before, self.after):
            choice.setToolTip("Which weights the live view asks; the key N flips between them")
            self._which.addButton(choice)
        self.resume_button = button("finetune_resume", "Resume", "Go on from the last save")
        self.keep_button = button(
            "finetune_keep", "Keep", "Go on with the weights that are shown; the run stays listed"
        )
        self.save_button = button("finetune_save", "Save as…", "Write the new weights to a file")
        self.discard_button = button(
            "finetune_discard", "Discard…", "Go back to the weights before, and delete the run"
        )
        self._lay_out()
        self._connect()
        self._on_change()

    def _lay_out(self) -> None:
        self._switch = QWidget()
        switch = QHBoxLayout(self._switch)
        switch.setContentsMargins(0, 0, 0, 0)
        label = text("finetune_live_label")
        label.setText("Live (key N):")
        for part in (label, self.before, self.after):
            switch.addWidget(part)
        switch.addStretch()
        buttons = QGridLayout()
        buttons.addWidget(self.keep_button, 0, 0, 1, 2)
        buttons.addWidget(self.save_button, 1, 0)
        buttons.addWidget(self.discard_button, 1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.words, self._switch, self.table, self.resume_button):
            layout.addWidget(part)
        layout.addLayout(buttons)

    def _connect(self) -> None:
        finetuning = self._finetuning
        listen(finetuning.changed, self._on_change)
        listen(finetuning.weights.changed, self._on_weights)
        listen(finetuning.shelf.changed, self._on_change)
        self.before.clicked.connect(lambda: finetuning.weights.show("before"))
        self.after.clicked.connect(lambda: finetuning.weights.show("after"))
        self.resume_button.clicked.connect(self._on_resume)
        self.keep_button.clicked.connect(finetuning.put_away)
        self.save_button.clicked.connect(self._on_save)
        self.discard_button.clicked.connect(self._on_discard)

    def _on_change(self) -> None:
        finetuning, course = self._finetuning, self._finetuning.course
        if course is None or finetuning.phase not in ("finished", "failed"):
            return
        finished = finetuning.phase == "finished"
        self.words.setText(ended_words(course))
        comparison = course.comparison
        self.table.setVisible(comparison is not None)
        self.table.setText("" if comparison is None else comparison_words(comparison))
        entry = finetuning.shelf.at(course.folder)
        unfinished = entry is not None and entry.status.state != "finished"
        self.resume_button.setVisible(unfinished)
        self.keep_button.setText("Keep" if finished else "Close")
        self.save_button.setVisible(finished)
        self.discard_button.setVisible(finished or entry is not None)
        self._on_weights()

    def _on_weights(self) -> None:
        weights = self._finetuning.weights
        self._switch.setVisible(weights.there)
        for choice, which in ((self.before, "before"), (self.after, "after")):
            with QSignalBlocker(choice):
                self._which.setExclusive(False)  # else none could be without a mark
                choice.setChecked(weights.shown == which)
                self._which.setExclusive(True)

    def _on_resume(self) -> None:
        course = self._finetuning.course
        entry = None if course is None else self._finetuning.shelf.at(course.folder)
        if entry is not None:
            self._finetuning.resume(entry)

    def _on_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save weights", str(Path.home() / "fine-tuned.safetensors"), "*.safetensors"
        )
        if path:
            self._finetuning.save_as(Path(path))

    def _on_discard(self) -> None:
        asked = QMessageBox.question(
            self, "Discard", "Delete this run, and go back to the weights before it?"
        )
        if asked == QMessageBox.StandardButton.Yes:
            self._finetuning.discard()
