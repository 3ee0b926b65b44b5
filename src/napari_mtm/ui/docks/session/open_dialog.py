"""Choose a session to open, and see what each choice would mean before it is read."""

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.errors import MtmError
from napari_mtm.recording.alf import sessions_below
from napari_mtm.recording.opening import SAMPLE, survey_source
from napari_mtm.recording.preparation import DEFAULT_ALIGN, Preparation
from napari_mtm.recording.session import ANY_TIME
from napari_mtm.recording.source import Choice, Survey
from napari_mtm.recording.store import is_store
from napari_mtm.ui.qt.jobs import Jobs

_ALIGNMENTS = {
    "stimulus onset": DEFAULT_ALIGN,
    "first movement": "firstMovement_times",
    "feedback": "feedback_times",
    "any time, in adjoining windows": ANY_TIME,
}


@dataclass(frozen=True)
class Request:
    """What to open."""

    source: str
    one: str | None
    preparation: Preparation


class OpenDialog(QDialog):
    """Asks for a source, looks at it, and offers its choices."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Open an IBL session")
        self.setMinimumWidth(520)
        self._jobs = Jobs(self)
        self._survey: Survey | None = None

        self.source = QLineEdit(objectName="source")
        self.source.setPlaceholderText("session folder or file, prepared store, or eid with a ONE")
        self.one = QLineEdit(objectName="one")
        self.one.setPlaceholderText("folder or server, only to open a session by its eid")
        self.sessions = QComboBox(objectName="sessions")
        self.summary = QLabel("Choose a session to see what it holds.", objectName="summary")
        self.summary.setWordWrap(True)
        self.good = QRadioButton("Good units", objectName="good")
        self.all = QRadioButton("All units", objectName="all")
        self.good.setChecked(True)
        units = QButtonGroup(self)
        units.addButton(self.good)
        units.addButton(self.all)
        self.min_rate = _spin("min_rate", 0.0, 0.0, 100.0, 0.5, " spikes/s")
        self.align = QComboBox(objectName="align")
        for label, value in _ALIGNMENTS.items():
            self.align.addItem(label, value)
        self.start = _spin("start", -0.5, -60.0, 60.0, 0.1, " s")
        self.stop = _spin("stop", 1.5, -60.0, 60.0, 0.1, " s")
        self.bin_size = _spin("bin_size", 20.0, 1.0, 1000.0, 5.0, " ms")
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self._lay_out()

        self.source.editingFinished.connect(self._on_source)
        self.one.editingFinished.connect(self._on_source)
        self.sessions.activated.connect(self._on_session)
        self.min_rate.valueChanged.connect(self._look)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._enable(False)

    def request(self) -> Request:
        """What was asked for; raises PreparationError where the settings make no sense."""
        return Request(self.source.text().strip(), self._one(), self._preparation())

    def choose(self, source: str) -> None:
        """Fill in a source and look at it."""
        self.source.setText(source)
        self._on_source()

    def accept(self) -> None:
        """Close with a request, unless its settings make no sense."""
        try:
            self.request()
        except MtmError as error:
            self.summary.setText(str(error))
            return
        super().accept()

    def done(self, result: int) -> None:
        """Stop looking, and close."""
        self._jobs.cancel()
        super().done(result)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        folder = QPushButton("Folder…", clicked=self._browse_folder)
        store = QPushButton("Store…", clicked=self._browse_store)
        sample = QPushButton("Sample", clicked=lambda: self.choose(SAMPLE))
        form.addRow("Session", _row(self.source, folder, store, sample))
        form.addRow("ONE", _row(self.one, QPushButton("Folder…", clicked=self._browse_one)))
        form.addRow("Sessions in it", self.sessions)
        self._sessions_label = form.labelForField(self.sessions)
        self._show_sessions([])
        form.addRow(self.summary)
        form.addRow("Units", _column(self.good, self.all))
        form.addRow("At least", self.min_rate)
        form.addRow("Align to", self.align)
        form.addRow("Window", _row(self.start, QLabel("to"), self.stop))
        form.addRow("Bins of", self.bin_size)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.buttons)

    def _one(self) -> str | None:
        return self.one.text().strip() or None

    def _preparation(self) -> Preparation:
        return Preparation(
            units="all" if self.all.isChecked() else "good",
            min_rate=self.min_rate.value(),
            align=self.align.currentData(),
            window=(self.start.value(), self.stop.value()),
            bin_size=round(self.bin_size.value() / 1e3, 9),
        )

    def _on_source(self) -> None:
        folder = Path(self.source.text().strip() or ".")
        several = sessions_below(folder) if self.source.text().strip() else []
        self._show_sessions(several)
        if len(several) > 1:
            self._survey = None
            self._enable(False)
            self.summary.setText(f"{len(several)} sessions; choose one.")
        else:
            self._look()

    def _show_sessions(self, sessions: list[Path]) -> None:
        self.sessions.clear()
        for path in sessions if len(sessions) > 1 else ():
            self.sessions.addItem("/".join(path.parts[-3:]), str(path))
        self.sessions.setCurrentIndex(-1)
        for part in (self.sessions, self._sessions_label):
            part.setVisible(len(sessions) > 1)

    def _on_session(self, index: int) -> None:
        self.source.setText(self.sessions.itemData(index))
        self._look()

    def _look(self) -> None:
        source, one = self.source.text().strip(), self._one()
        self._enable(False)
        if not source:
            return
        if is_store(Path(source)):
            self._survey = None
            self.summary.setText("A prepared session; it opens as it was prepared.")
            self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(True)
            return
        try:
            preparation = self._preparation()
        except MtmError as error:
            self.summary.setText(str(error))
            return
        self.summary.setText("Looking…")

        def work(progress: object) -> Survey | MtmError:
            try:
                return survey_source(source, one=one, preparation=preparation)
            except MtmError as error:
                return error

        self._jobs.run("looking", work, self._on_survey)

    def _on_survey(self, found: Survey | MtmError) -> None:
        if isinstance(found, MtmError):
            self.summary.setText(str(found))
            return
        self._survey = found
        trials = "no trials table" if found.n_trials is None else f"{found.n_trials} trials"
        probes = f"{len(found.probes)} probe" + ("s" if len(found.probes) > 1 else "")
        self.summary.setText(
            f"<b>{found.title}</b><br>{probes}, {trials}, {found.read_mb:.1f} MB of spikes to read"
        )
        for button, name in ((self.good, "good"), (self.all, "all")):
            choice = next((c for c in found.choices if c.units == name), None)
            button.setText(_choice_text(name, choice))
        self._enable(True)

    def _enable(self, on: bool) -> None:
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(on)
        for part in (self.good, self.all, self.min_rate):
            part.setEnabled(on or self._survey is not None)

    def _browse_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Session folder or ONE cache")
        if folder:
            self.choose(folder)

    def _browse_store(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Prepared session", filter="Stores (*.mtm)")
        if file:
            self.choose(file)

    def _browse_one(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "ONE cache")
        if folder:
            self.one.setText(folder)
            self._on_source()


def _choice_text(units: str, choice: Choice | None) -> str:
    """What a choice of units would mean, as far as it is known before anything is downloaded."""
    name = {"good": "Good units", "all": "All units"}[units]
    if choice is None:
        return name
    size = "" if choice.counts_mb is None else f", {choice.counts_mb:.1f} MB of counts"
    return f"{name}: {choice.n_units}{size}"


def _spin(
    name: str, value: float, low: float, high: float, step: float, suffix: str
) -> QDoubleSpinBox:
    spin = QDoubleSpinBox(objectName=name)
    spin.setRange(low, high)
    spin.setSingleStep(step)
    spin.setDecimals(2)
    spin.setValue(value)
    spin.setSuffix(suffix)
    spin.setKeyboardTracking(False)
    return spin


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, 1 if isinstance(part, QLineEdit | QDoubleSpinBox) else 0)
    return row


def _column(*parts: QWidget) -> QVBoxLayout:
    column = QVBoxLayout()
    for part in parts:
        column.addWidget(part, alignment=Qt.AlignmentFlag.AlignLeft)
    return column
